// cairn-tng, also installed as tng: `launch` runs the gateway, `check` reads a configuration.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/task.h"
#include "tng/limits.h"
#include "tng/service/gateway.h"

namespace {

using namespace cairn;

struct Arguments {
  std::string file, content, compat;
  bool strict = false, lenient = false, json_logs = false, console = false;
};

void add_configuration(CLI::App& command, Arguments& a) {
  auto* file = command.add_option("-c,--config-file", a.file, "JSON file to read the configuration from");
  auto* content = command.add_option("--config-content", a.content, "the configuration itself, as JSON text");
  file->excludes(content);
  command
      .add_option("--compat", a.compat,
                  "whose defaults hold: 2.2.4 or latest (default: the configuration's, else 2.2.4)")
      ->check(CLI::IsMember({"2.2.4", "latest"}));
  command.add_flag("--strict", a.strict, "refuse choices that weaken protection instead of warning about them");
  command.add_flag("--lenient-config", a.lenient, "ignore unknown configuration keys");
}

Result<tng::Config> load(const Arguments& a) {
  if (a.file.empty() == a.content.empty())
    return fail(ErrorCode::invalid_argument, "give exactly one of --config-file and --config-content");
  std::string text = a.content;
  if (!a.file.empty()) {
    CAIRN_TRY(text, read_text(a.file, tng::limits::config_file));
  }
  tng::ConfigOptions options;
  if (!a.compat.empty()) options.compat = a.compat == "latest" ? tng::Compat::latest : tng::Compat::v2_2_4;
  options.strict = a.strict;
  options.lenient = a.lenient;
  auto config = tng::parse_config(text, options);
  if (!config) return fail(std::move(config).error().in("configuration"));
  return config;
}

int failed(const Error& error) {
  spdlog::error("{}", error.text());
  return 1;
}

int check(const Arguments& a) {
  auto config = load(a);
  if (!config) {
    std::cerr << config.error().text() << "\n";
    return 1;
  }
  for (const auto& warning : config->warnings) std::cerr << "warning: " << warning << "\n";
  std::cout << "the configuration is valid: " << config->ingress.size() << " ingress, " << config->egress.size()
            << " egress\n";
  return 0;
}

int launch(const Arguments& a) {
  auto config = load(a);
  if (!config) return failed(config.error());
  net::Runtime runtime;
  auto end = runtime.run([&](net::Runtime& r) { return tng::run_gateway(r, *std::move(config)); });
  return end ? 0 : failed(end.error());
}

}  // namespace

int main(int argc, char** argv) {
  harden_process();
  CLI::App app{"Trusted network gateway: carries an application's connections over attested TLS."};
  app.name(std::filesystem::path(argv[0]).filename().string());
  app.set_version_flag("--version", std::string("cairn-tng " CAIRN_VERSION " (wire and configuration of TNG 2.2.4)"));
  app.require_subcommand(1);
  Arguments a;
  CLI::App* run = app.add_subcommand("launch", "run the gateway in the foreground until SIGTERM or Ctrl-C");
  add_configuration(*run, a);
  run->add_flag("--json-logs", a.json_logs, "log lines as JSON objects");
  run->add_flag("--tokio-console", a.console, "accepted for compatibility, without effect");
  CLI::App* look = app.add_subcommand("check", "read a configuration, report every problem, run nothing");
  add_configuration(*look, a);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (auto ok = start_logging("cairn-tng", {}, a.json_logs ? LogFormat::json : LogFormat::text); !ok) {
    std::cerr << ok.error().text() << "\n";
    return 2;
  }
  return look->parsed() ? check(a) : launch(a);
}
