// The inference engine: which files it consists of, how it is started. Never ours, never modified.
#pragma once

#include <string>
#include <vector>

#include "cli/up/session.h"

namespace cairn::cli {

// Where the program is on this machine.
[[nodiscard]] std::filesystem::path engine_program(const UpOptions& options);
// Absolute paths (on this machine) of the program and of every shared library of its root folder, sorted.
[[nodiscard]] Result<std::vector<std::filesystem::path>> engine_files(const UpOptions& options);
// The arguments it is started with, [0] being the program as its root folder names it.
[[nodiscard]] std::vector<std::string> engine_arguments(const Session& session);
// Name of the engine as measured: "llama-server".
[[nodiscard]] std::string engine_name(const UpOptions& options);

}  // namespace cairn::cli
