// cairn-aa: the attestation agent. docs/cairn-aa.md.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "device/quote_queue.h"
#include "guest/aa/agent.h"
#include "guest/aa/gpu_ready.h"
#include "guest/aa/instance_info.h"
#include "guest/aa/limits.h"
#include "guest/aa/service.h"
#include "guest/common/daemon.h"
#include "kbs_protocol/aa_client.h"

namespace cairn::aa {
namespace {

struct Options {
  std::string socket{agent::default_address};
  std::string config_file, initdata_digest, initdata_toml, profile = "p1", tee = "auto", simulator_state, event_log,
                                                           log_level, gpu = "auto";
  bool enable_event_log = false, loose_content = false, json_logs = false, probe = false;
};

void declare(CLI::App& app, Options& o) {
  app.add_option("-a,--attestation_sock,--attestation-sock", o.socket, "socket to serve, unix:///path")
      ->capture_default_str();
  app.add_option("-c,--config-file", o.config_file, "configuration, TOML (or .json, .yaml)");
  app.add_option("-i,--initdata-digest", o.initdata_digest, "base64 digest that MRCONFIGID must hold");
  app.add_option("-t,--initdata-toml", o.initdata_toml,
                 "initdata document that MRCONFIGID must be bound to; wins over -i");
  app.add_option("--profile", o.profile, "wire formats: p1 (Trustee 1.5, agents up to 1.3) or p2 (later)")
      ->capture_default_str();
  app.add_option("--tee", o.tee, "auto, tdx, simulated or sample")->capture_default_str();
  app.add_option("--simulator-state", o.simulator_state, "state folder of the TD simulator (with --tee simulated)");
  app.add_option("--gpu", o.gpu, "evidence of NVIDIA GPUs: auto, off or required")->capture_default_str();
  app.add_option("--event-log", o.event_log, "event log file; default $AAEL_PATH or /run/attestation-agent/eventlog");
  app.add_flag("--enable-event-log", o.enable_event_log, "as eventlog_config.enable_eventlog = true");
  app.add_flag("--event-log-loose", o.loose_content, "accept event contents that some verifiers refuse (spaces)");
  app.add_option("--log-level", o.log_level, "trace, debug, info, warn, error; default $CAIRN_LOG, $RUST_LOG or info");
  app.add_flag("--log-json", o.json_logs, "log lines as JSON");
  app.add_flag("--probe", o.probe, "ask the agent on the socket for its TEE type, print it and exit: a health check");
}

Result<void> probe(const Options& o) {
  CAIRN_TRY(const auto tee, net::run_to_end<std::string>([&o](net::Runtime&) -> net::Task<std::string> {
              CAIRN_CO_TRY(auto client, agent::Client::at(o.socket, std::chrono::seconds(5)));
              co_return co_await client.tee_type();
            }));
  std::puts(tee.c_str());
  return {};
}

Result<Config> load_config(const Options& o, kbs::Profile profile) {
  Config config;
  if (!o.config_file.empty()) {
    CAIRN_TRY(const Json json, guest::load_config_file(o.config_file, limits::config_bytes));
    auto read = read_config(json, profile);
    if (!read) return fail(std::move(read.error()).in(o.config_file));
    config = *std::move(read);
  } else {
    const auto command_line = read_text("/proc/cmdline");
    CAIRN_TRY(const auto params, guest::find_kbc_params(guest::process_environment, command_line.value_or("")));
    config = config_of(params);
  }
  CAIRN_CHECK(apply_environment(config, guest::process_environment));
  config.eventlog = config.eventlog || o.enable_event_log;
  return config;
}

// Device, event log and attester, in the order they depend on each other. Everybody asks through the queue: one quote
// at a time, equal questions answered once.
struct Machine {
  std::unique_ptr<device::Tee> tee;
  std::unique_ptr<device::QuoteQueue> queue;
  std::unique_ptr<EventLog> log;
  std::unique_ptr<Gpu> gpu;
  std::unique_ptr<Attester> attester;
};

Result<Machine> open_machine(const Options& o, const Config& config, kbs::Profile profile) {
  Machine m;
  if (guest::process_environment("SYSTEM_ATTESTATION") == "true")
    return fail(ErrorCode::unsupported, "SYSTEM_ATTESTATION",
                "the \"system\" attester proves nothing and is not offered");
  if (o.tee == "sample") {
    spdlog::warn("the sample TEE proves nothing; it is for tests");
    if (config.eventlog)
      return fail(ErrorCode::conflict, "eventlog_config", "the sample TEE has no registers for an event log");
    m.attester = sample_attester();
    return m;
  }
  CAIRN_TRY(const auto choice, device::tee_choice_named(o.tee));
  CAIRN_TRY(m.tee, device::open_tee({.choice = choice, .simulator_dir = o.simulator_state}));
  spdlog::info("TEE: {}", m.tee->description());
  m.queue = std::make_unique<device::QuoteQueue>(*m.tee);
  if (m.tee->simulated()) spdlog::warn("this TEE is simulated: no hardware vouches for its evidence");
  if (config.eventlog) {
    EventLogOptions options{.form = profile == kbs::Profile::p1 ? LogForm::text : LogForm::tcg2,
                            .init_pcr = config.init_pcr};
    if (const auto path = guest::process_environment("AAEL_PATH")) options.path = *path;
    if (!o.event_log.empty()) options.path = o.event_log;
    if (o.loose_content) options.rule = eventlog::ContentRule::line_feed_only;
    CAIRN_TRY(m.log, EventLog::open(std::move(options), *m.queue));
  }
  CAIRN_TRY(const auto gpu_mode, gpu_mode_named(o.gpu));
  CAIRN_TRY(m.gpu, Gpu::open(gpu_mode));
  m.attester = tdx_attester(*m.queue, m.log.get(), profile, m.gpu.get());
  return m;
}

Result<std::optional<InitData>> bind_init_data(const Options& o, Attester& attester) {
  if (!o.initdata_toml.empty()) {
    CAIRN_TRY(std::string text, read_text(o.initdata_toml, limits::init_data_bytes));
    CAIRN_TRY(InitData data, read_init_data(std::move(text)));
    CAIRN_CHECK(attester.check_init_data(data.digest));
    return data;
  }
  if (!o.initdata_digest.empty()) {
    CAIRN_TRY(const Bytes digest, from_base64_lenient(o.initdata_digest));
    CAIRN_CHECK(attester.check_init_data(digest));
  }
  return std::nullopt;
}

// Instance info and the first TEE key; then signs of life, where configured.
net::Task<> prepare_and_beat(Agent& agent) {
  CAIRN_CO_CHECK(co_await agent.start());
  const Config& config = agent.options().config;
  if (!config.heartbeat.enabled || config.heartbeat.trustee_url.empty()) co_return Result<>{};
  co_return co_await heartbeat(config.heartbeat.trustee_url, agent.instance_info(), config.kbs ? config.kbs->cert : "",
                               std::chrono::minutes(config.heartbeat.interval_minutes));
}

net::Task<> serve(net::Runtime& runtime, const Options& o, const Machine& machine, AgentOptions options) {
  if (machine.gpu)
    CAIRN_CO_CHECK(co_await make_gpus_ready(runtime, *machine.gpu, machine.log.get(), options.config.gpu, now()));
  Attester& attester = *machine.attester;
  Agent agent(runtime, attester, std::move(options));
  net::TtrpcServer server(runtime);
  register_service(server, agent);
  CAIRN_CO_TRY(const auto endpoint, guest::listen_unix(server, o.socket));
  spdlog::info("serving {} as TEE {}", endpoint.text(), attester.tee());
  net::TaskGroup background(co_await net::this_loop());
  background.spawn(prepare_and_beat(agent), "background");
  CAIRN_CO_CHECK(co_await runtime.stop_requested());
  spdlog::info("stopping");
  auto stopped = co_await server.stop(limits::drain_timeout);
  co_await background.stop();
  co_return stopped;
}

Result<void> run(const Options& o) {
  if (o.probe) return probe(o);
  CAIRN_TRY(const auto profile, kbs::parse_profile(o.profile));
  CAIRN_TRY(Config config, load_config(o, profile));
  CAIRN_TRY(const Machine machine, open_machine(o, config, profile));
  CAIRN_TRY(auto init_data, bind_init_data(o, *machine.attester));
  const bool sample_device =
      profile == kbs::Profile::p2 && guest::process_environment("ENABLE_SAMPLE_DEVICE").has_value();
  AgentOptions options{.profile = profile,
                       .config = std::move(config),
                       .init_data = std::move(init_data),
                       .sample_device = sample_device};
  net::Runtime runtime({.loops = 1, .workers = 8, .signals = true});
  return runtime.run([&](net::Runtime& r) { return serve(r, o, machine, std::move(options)); });
}

}  // namespace
}  // namespace cairn::aa

int main(int argc, char** argv) {
  cairn::harden_process();
  CLI::App app("Attestation agent: evidence, tokens and runtime measurements of this TEE over a ttrpc socket.",
               "cairn-aa");
  cairn::aa::Options options;
  cairn::aa::declare(app, options);
  return cairn::guest::run_program(app, argc, argv, "cairn-aa", options.log_level, options.json_logs,
                                   [&] { return cairn::aa::run(options); });
}
