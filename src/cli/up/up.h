// `cairn up`: the main job, end to end.
#pragma once

#include "cli/up/session.h"

namespace CLI {
class App;
}

namespace cairn::cli {

// Adds the options of `cairn up` to its subcommand; `options` is filled by parsing.
void add_up_options(CLI::App& app, UpOptions& options);
// Runs until the first answer (`once`) or until SIGINT/SIGTERM. Returns the exit code: 0 as asked, 1 error, 3 refused
// by attestation or integrity.
[[nodiscard]] int run_up(UpOptions options);

}  // namespace cairn::cli
