// The façade as a command: options, sockets, server.
#pragma once

#include <string>

#include "base/error.h"

namespace CLI {
class App;
}

namespace cairn::rest {

struct ProgramOptions {
  std::string bind = "127.0.0.1:8006", features = "resource", profile = "p1", cdh_address, aa_address, config_file;
};
// `options` must outlive the parsing of `app`.
void declare(CLI::App& app, ProgramOptions& options);
// Serves until SIGTERM.
[[nodiscard]] Result<void> run(const ProgramOptions& options);

}  // namespace cairn::rest
