// The outer frame of the guest's programs: options, logging, exit status, sockets.
#pragma once

#include <functional>
#include <string>

#include "net/ttrpc.h"

namespace CLI {
class App;
}

namespace cairn::guest {

// Parses options (adds -V/--version), starts logging, runs `body`. Exit status: 0, 1 after an error of `body`, which
// is printed as one line "<program>: <error>", 2 for a usage error. `log_level` and `json_logs` are read after parsing.
[[nodiscard]] int run_program(CLI::App& app, int argc, char** argv, const std::string& program,
                              const std::string& log_level, const bool& json_logs,
                              const std::function<Result<void>()>& body);

// Binds "unix:///path" (nothing else) for a ttrpc server: makes the folder (0700), removes a stale socket, mode 0600.
[[nodiscard]] Result<net::Endpoint> listen_unix(net::TtrpcServer& server, std::string_view address);

}  // namespace cairn::guest
