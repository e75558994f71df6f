// cairn: the person's tool. Each verb is a library of its own folder.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/log.h"
#include "base/secret.h"
#include "cli/attest/attest.h"
#include "cli/measure/measure.h"
#include "cli/model/model.h"
#include "cli/policy/policy.h"
#include "cli/trustee/trustee.h"
#include "cli/up/up.h"
#include "cli/verify/verify.h"

int main(int argc, char** argv) {
  using namespace cairn;
  harden_process();
  CLI::App app("Cairn: confidential inference for large language models, attested before anything is released.",
               "cairn");
  app.set_version_flag("--version", "cairn " CAIRN_VERSION);
  app.require_subcommand(1);
  // Verbs run while the line is parsed, so logging stands before it.
  (void)start_logging("cairn", "warn");
  app.add_option_function<std::string>(
         "--log-level", [](const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); },
         "trace, debug, info, warn (default), error, off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));

  cli::UpOptions up;
  CLI::App* up_command =
      app.add_subcommand("up", "encrypt a model, attest this machine, serve, and ask a first question");
  cli::add_up_options(*up_command, up);

  int exit_code = 0;
  cli::add_attest(app, exit_code);
  cli::add_model(app, exit_code);
  cli::add_policy(app, exit_code);
  cli::add_trustee(app, exit_code);
  cli::add_verify(app, exit_code);
  cli::add_measure(app, exit_code);

  CLI11_PARSE(app, argc, argv);
  if (up_command->parsed()) return cli::run_up(std::move(up));
  return exit_code;
}
