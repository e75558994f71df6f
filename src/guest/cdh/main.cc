// cairn-cdh: the confidential data hub. docs/cairn-cdh.md.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "guest/cdh/config.h"
#include "guest/cdh/limits.h"
#include "guest/cdh/service.h"
#include "guest/common/daemon.h"
#include "guest/rest/program.h"
#include "net/retry.h"

namespace cairn::cdh {
namespace {

struct Options {
  std::string config_file, profile = "p1", trustee_url, aa_socket, log_level, tee_key;
  unsigned retry = 3;
  bool accept_unsigned = false, json_logs = false;
  std::string resource_uri, resource_path, secret_path, annotation_path, storage_path, image_url, bundle_path;
};

struct Commands {
  CLI::App *get_resource, *unseal, *unwrap, *mount, *pull, *rest;
};

Commands declare(CLI::App& app, Options& o, rest::ProgramOptions& rest_options) {
  app.add_option("-c,--config", o.config_file, "configuration, TOML (or .json, .yaml); else $CDH_CONFIG_PATH");
  app.add_option("-r,--retry", o.retry, "one-shot commands: attempts after the first")
      ->capture_default_str()
      ->check(CLI::Range(0U, limits::retries_max));
  app.add_option("--profile", o.profile, "wire format towards the key broker: p1 (0.1.0) or p2 (0.4.0)")
      ->capture_default_str();
  app.add_option("--tee-key", o.tee_key, "p2: ECDH-ES+A256KW-P256 (default), ECDH-ES+A256KW-P521 or RSA-OAEP-256");
  app.add_option("--trustee-url", o.trustee_url, "key broker base URL instead of the configuration's");
  app.add_option("--aa-socket", o.aa_socket, "socket of the attestation agent instead of the configuration's");
  app.add_flag("--accept-unsigned-secrets", o.accept_unsigned, "open sealed secrets without verifying their signature");
  app.add_option("--log-level", o.log_level, "trace, debug, info, warn, error; default $CAIRN_LOG, $RUST_LOG or info");
  app.add_flag("--log-json", o.json_logs, "log lines as JSON");
  app.require_subcommand(0, 1);
  app.footer("Without a command it serves its ttrpc socket until SIGTERM.");
  Commands c{};
  c.get_resource = app.add_subcommand("get-resource", "print a resource as one line of base64");
  c.get_resource->add_option("-r,--resource-uri", o.resource_uri, "kbs:///<repository>/<type>/<tag>")->required();
  c.get_resource->add_option("--resource-path", o.resource_path,
                             "write the decoded bytes to this file (0600) and print nothing");
  c.unseal = app.add_subcommand("unseal-secret", "print a sealed secret's plaintext as base64");
  c.unseal->add_option("-s,--secret-path", o.secret_path, "file with the sealed secret")->required();
  c.unwrap = app.add_subcommand("unwrap-key", "print an image layer's key as base64");
  c.unwrap->add_option("-a,--annotation-path", o.annotation_path, "file with the annotation packet")->required();
  c.mount = app.add_subcommand("secure-mount", "refused: cairn-cachefs mounts encrypted models");
  c.mount->add_option("-s,--storage-path", o.storage_path, "file with the mount request as JSON")->required();
  c.pull = app.add_subcommand("pull-image", "refused: images are not pulled here");
  c.pull->add_option("-i,--image-url", o.image_url)->required();
  c.pull->add_option("-b,--bundle-path", o.bundle_path)->required();
  c.rest = app.add_subcommand("rest", "serve the agent and the hub as HTTP on 127.0.0.1:8006");
  rest::declare(*c.rest, rest_options);
  return c;
}

Result<Config> effective_config(const Options& o) {
  const auto command_line = read_text("/proc/cmdline");
  const bool only_options = o.config_file.empty() && !o.trustee_url.empty();
  const guest::Environment environment = only_options ? [](const char* name) {
    return std::string_view(name) == "SKIP_SEALED_SECRET_VERIFICATION" ? guest::process_environment(name) : std::nullopt;
  } : guest::Environment(guest::process_environment);
  CAIRN_TRY(Config config, load_config(o.config_file, environment, only_options ? "" : command_line.value_or("")));
  if (!o.trustee_url.empty()) config.kbc_name = "cc_kbc", config.kbc_url = o.trustee_url;
  if (!o.aa_socket.empty()) config.aa_socket = o.aa_socket;
  if (o.accept_unsigned) config.accept_unsigned_secrets = true;
  return config;
}

// Everything a command needs, alive for as long as it runs.
struct Parts {
  Config config;
  agent::Client agent;
  kbs::AgentEvidence evidence;
  std::unique_ptr<ResourceSource> source;
  std::unique_ptr<Hub> hub;
  Parts(Config c, agent::Client a) : config(std::move(c)), agent(std::move(a)), evidence(agent) {}
};

Result<std::unique_ptr<Parts>> assemble(net::Runtime& runtime, const Options& o) {
  CAIRN_TRY(Config config, effective_config(o));
  CAIRN_TRY(const auto profile, kbs::parse_profile(o.profile));
  CAIRN_TRY(auto agent, agent::Client::at(config.aa_socket));
  auto parts = std::make_unique<Parts>(std::move(config), std::move(agent));
  if (parts->config.kbc_name == "offline_fs_kbc") {
    CAIRN_TRY(parts->source, offline_source());
  } else {
    KbsSourceOptions source{.client = {.url = parts->config.kbc_url,
                                       .profile = profile,
                                       .extra_roots = parts->config.kbs_cert,
                                       .api_key = guest::process_environment("TRUSTEE_API_KEY"),
                                       .instance_info = guest::process_environment("AA_INSTANCE_INFO"),
                                       .init_data_toml = {}},
                            .key = kbs::default_tee_key(profile)};
    if (!o.tee_key.empty()) {
      CAIRN_TRY(source.key, kbs::tee_key_kind(o.tee_key));
    }
    parts->source = kbs_source(runtime, parts->agent, std::move(source));
  }
  HubOptions hub{.accept_unsigned_secrets = parts->config.accept_unsigned_secrets};
  parts->hub = std::make_unique<Hub>(*parts->source, &parts->evidence, std::move(hub));
  return parts;
}

// Attempts with growing pauses while the cause may pass (nobody answers); a refusal is final at once.
net::Task<Secret> with_retries(unsigned retry, std::function<net::Task<Secret>()> attempt) {
  const net::RetryPolicy policy{
      .attempts = retry + 1, .first = limits::retry_first, .factor = 2.0, .most = limits::retry_most, .jitter = 0.2};
  unsigned failures = 0;
  co_return co_await net::retry<Secret>(policy, std::move(attempt), [&failures, retry](const Error& error) {
    const bool again = net::transient(error);
    if (again && failures++ < retry) spdlog::warn("attempt {} failed, trying again: {}", failures, error.text());
    return again;
  });
}

Result<void> print_base64(const Secret& secret) {
  std::string line = base64(secret.view()) + "\n";
  const auto written = write_all(1, as_bytes(line));
  wipe(line.data(), line.size());
  return written;
}

net::Task<> one_shot(net::Runtime& runtime, const Options& o, std::function<net::Task<Secret>(Hub&)> command) {
  CAIRN_CO_TRY(const auto parts, assemble(runtime, o));
  CAIRN_CO_TRY(const Secret secret, co_await with_retries(o.retry, [&] { return command(*parts->hub); }));
  if (o.resource_path.empty()) co_return print_base64(secret);
  co_return write_file(o.resource_path, secret.view(), 0600);
}

Result<void> run_one_shot(const Options& o, std::function<net::Task<Secret>(Hub&)> command) {
  return net::run_task([&](net::Runtime& runtime) { return one_shot(runtime, o, command); });
}

net::Task<> serve(net::Runtime& runtime, const Options& o) {
  CAIRN_CO_TRY(const auto parts, assemble(runtime, o));
  CAIRN_CO_CHECK(co_await parts->hub->fetch_credentials(parts->config.credentials));
  net::TtrpcServer server(runtime);
  register_services(server, *parts->hub);
  CAIRN_CO_TRY(const auto endpoint, guest::listen_unix(server, parts->config.socket));
  spdlog::info("serving {} for {} {}", endpoint.text(), parts->config.kbc_name, parts->config.kbc_url);
  CAIRN_CO_CHECK(co_await runtime.stop_requested());
  spdlog::info("stopping");
  co_return co_await server.stop(limits::drain_timeout);
}

Result<void> refuse_mount(const Options& o) {
  CAIRN_TRY(const std::string text, read_text(o.storage_path, limits::annotation_bytes));
  CAIRN_TRY(const Json json, parse_json(text));
  Problems problems;
  Fields fields(json, "$", problems);
  api::SecureMountRequest request{
      .volume_type = fields.required<std::string>("volume_type"), .options = {}, .flags = {}, .mount_point = {}};
  for (const char* member : {"options", "flags", "mount_point"}) (void)fields.raw(member);
  fields.done();
  CAIRN_CHECK(problems.result());
  return run_one_shot(o,
                      [request](Hub& hub) -> net::Task<Secret> { co_return fail(hub.secure_mount(request).error()); });
}

Result<void> run(const Options& o, const Commands& c, const rest::ProgramOptions& rest_options) {
  if (*c.rest) return rest::run(rest_options);
  if (*c.get_resource) {
    CAIRN_CHECK(kbs::ResourceUri::parse(o.resource_uri));
    return run_one_shot(o, [&o](Hub& hub) { return hub.resource(o.resource_uri); });
  }
  if (*c.unseal) {
    CAIRN_TRY(const std::string text, read_text(o.secret_path, limits::sealed_secret_bytes));
    return run_one_shot(o, [&text](Hub& hub) { return hub.unseal(text); });
  }
  if (*c.unwrap) {
    CAIRN_TRY(const std::string text, read_text(o.annotation_path, limits::annotation_bytes));
    return run_one_shot(o, [&text](Hub& hub) { return hub.unwrap_annotation(text); });
  }
  if (*c.mount) return refuse_mount(o);
  if (*c.pull) return fail(ErrorCode::unsupported, "pull-image", "this data hub does not pull images");
  net::Runtime runtime({.loops = 1, .workers = 2, .signals = true});
  return runtime.run([&](net::Runtime& r) { return serve(r, o); });
}

}  // namespace
}  // namespace cairn::cdh

int main(int argc, char** argv) {
  cairn::harden_process();
  CLI::App app("Confidential data hub: keys and secrets for this TEE, released by a key broker after attestation.",
               "cairn-cdh");
  cairn::cdh::Options options;
  cairn::rest::ProgramOptions rest_options;
  const auto commands = cairn::cdh::declare(app, options, rest_options);
  return cairn::guest::run_program(app, argc, argv, "cairn-cdh", options.log_level, options.json_logs,
                                   [&] { return cairn::cdh::run(options, commands, rest_options); });
}
