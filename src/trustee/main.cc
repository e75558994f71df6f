// cairn-trustee: the owner's root of trust.
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/log.h"
#include "base/secret.h"
#include "trustee/server.h"

namespace {

using namespace cairn;

struct Flags {
  std::string data, listen, config, log_level, log_format = "text";
};

Result<trustee::Config> config_of(const Flags& flags) {
  trustee::Config config;
  if (!flags.config.empty()) {
    CAIRN_TRY(config, trustee::load_config(flags.config));
  }
  if (!flags.data.empty()) config.data = flags.data;
  if (!flags.listen.empty()) config.listen = flags.listen;
  return config;
}

Result<void> run(const Flags& flags) {
  CAIRN_CHECK(
      start_logging("cairn-trustee", flags.log_level, flags.log_format == "json" ? LogFormat::json : LogFormat::text));
  CAIRN_TRY(const auto config, config_of(flags));
  net::Runtime runtime;
  return runtime.run([&](net::Runtime& r) { return trustee::serve(r, config); });
}

}  // namespace

int main(int argc, char** argv) {
  harden_process();
  CLI::App app{"Trustee of Cairn: gateway, key broker, attestation service and reference values behind one port.",
               "cairn-trustee"};
  Flags flags;
  app.add_option("--data", flags.data,
                 "Folder of keys, resources, policies and reference values (default /opt/trustee)");
  app.add_option("--listen", flags.listen, "Address of the gateway, HOST:PORT (default 0.0.0.0:8081)");
  app.add_option("-c,--config", flags.config, "Configuration file (TOML)")->check(CLI::ExistingFile);
  app.add_option("--log-level", flags.log_level, "trace, debug, info, warn or error");
  app.add_option("--log-format", flags.log_format, "text or json")->check(CLI::IsMember({"text", "json"}));
  app.set_version_flag("--version", "cairn-trustee " CAIRN_VERSION);
  CLI11_PARSE(app, argc, argv);
  if (const auto done = run(flags); !done) {
    std::fprintf(stderr, "cairn-trustee: %s\n", done.error().text().c_str());
    return 1;
  }
  return 0;
}
