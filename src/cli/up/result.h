// What a run says at its end: the verdict table for a person, the JSON document for a program.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/up/session.h"

namespace cairn::cli {

// Exit codes of `cairn up`.
inline constexpr int kExitOk = 0, kExitError = 1, kExitUsage = 2, kExitRefused = 3;

[[nodiscard]] Json result_json(const Session& session, const std::optional<Error>& error);
[[nodiscard]] std::vector<std::pair<std::string, std::string>> verdict_table(const Session& session);
[[nodiscard]] std::vector<std::string> next_commands(const Session& session);

}  // namespace cairn::cli
