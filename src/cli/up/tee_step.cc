// The machine: its TEE, the agent in front of it, and the measurement of what will run, before anything is released.
#include <unistd.h>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "cli/measure/files.h"
#include "cli/up/agent.h"
#include "cli/up/engine.h"
#include "cli/up/owner.h"
#include "cli/up/session.h"
#include "crypto/random.h"
#include "device/simulator/simulator.h"
#include "device/tee.h"
#include "evidence/eventlog/measure.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kAgentStartMs = 30'000;

device::Scenario scenario_of(Tamper tamper) {
  switch (tamper) {
    case Tamper::quote: return device::Scenario::quote_flip;
    case Tamper::replay: return device::Scenario::quote_replay;
    case Tamper::tcb: return device::Scenario::tcb_revoked;
    default: return device::Scenario::none;
  }
}

// Manifest of the engine's files, paths relative to its root folder.
Result<std::string> engine_manifest(const Session& s) {
  CAIRN_TRY(const auto files, engine_files(s.options));
  eventlog::Manifest manifest{.kind = "engine", .name = engine_name(s.options), .files = {}};
  const fs::path root = s.options.engine_root.empty() ? "/" : s.options.engine_root;
  for (const auto& path : files) {
    const bool replaced = !s.engine_replacement.empty() && path == engine_program(s.options);
    CAIRN_TRY(const auto digests, hash_file(replaced ? s.engine_replacement : path));
    manifest.files.push_back({.path = path.lexically_relative(root).string(),
                              .size = digests.size,
                              .sha384 = digests.sha384,
                              .verity = {},
                              .executable = ::access(path.c_str(), X_OK) == 0});
  }
  return eventlog::manifest_text(manifest);
}

Result<std::string> configuration(const Session& s) {
  eventlog::ConfigDocument document;
  document.ports = {s.options.port};
  document.trustee_address = s.trustee_url();
  if (s.options.engine_url.empty()) {
    // The engine's own port is drawn anew each time and reachable from inside only: not part of what is promised.
    for (const auto& argument : engine_arguments(s))
      document.argv.push_back(argument == std::to_string(s.engine_port) ? "PORT" : argument);
    document.read_only_mounts = {s.options.engine_root.empty() ? "model" : "/model"};
    document.model_decryption_key_id = std::string(kKeyId);
  } else {
    document.argv = {"external", s.options.engine_url};
  }
  return eventlog::config_text(document);
}

struct Subject {
  eventlog::Kind kind;
  std::string name;
  Digest<48> digest;
};
Result<std::vector<Subject>> subjects(const Session& s) {
  std::vector<Subject> out;
  if (s.model.files > 0) {
    CAIRN_TRY(const Bytes digest, from_hex(s.model.manifest_digest));
    CAIRN_TRY(const auto model, Digest<48>::from(digest));
    CAIRN_TRY(const auto model_name, eventlog::measurement_name(s.model.name));
    out.push_back({eventlog::Kind::model, model_name, model});
  }
  if (s.options.engine_url.empty()) {
    CAIRN_TRY(const auto manifest, engine_manifest(s));
    out.push_back({eventlog::Kind::engine, engine_name(s.options), eventlog::subject_digest(manifest)});
  }
  CAIRN_TRY(const auto text, configuration(s));
  out.push_back({eventlog::Kind::config, "engine", eventlog::subject_digest(text)});
  return out;
}

Result<void> extend(const Session& s, const eventlog::AaelEvent& e) {
  return ask_agent<int>(s.agent_socket().string(),
                        [&](agent::Client& client) -> net::Task<int> {
                          CAIRN_CO_CHECK(co_await client.extend(e.domain, e.operation, e.content));
                          co_return 0;
                        })
      .transform([](int) {});
}

Result<void> measure(Session& s, const std::vector<Subject>& what) {
  CAIRN_TRY(const auto boot, boot_id());
  CAIRN_TRY(auto measurer, Measurer::begin([&](const eventlog::AaelEvent& e) { return extend(s, e); }, boot));
  for (const auto& subject : what) CAIRN_CHECK(measurer.subject(subject.kind, subject.name, subject.digest));
  return measurer.ready();
}

// The owner's side: what the machine must be for the key to be released. An engine once registered is not replaced by
// another one in silence.
Result<void> register_expected(Session& s, const std::vector<Subject>& what, device::Simulator* simulator) {
  CAIRN_TRY(const Json known, registered_references(s));
  Json values = Json::object();
  for (const auto& subject : what) {
    const eventlog::Measurement m{subject.kind, subject.name, subject.digest};
    const std::string key = m.reference_key();
    if (subject.kind == eventlog::Kind::engine && known.contains(key) && !s.options.trust_new_engine) continue;
    values[key] = Json::array({m.content()});
  }
  if (simulator != nullptr) {
    CAIRN_TRY(const auto mrtd, simulator->mr_td());
    values["tdx.quote.body.mr_td"] = Json::array({hex(mrtd)});
    for (unsigned i = 0; i < 3; ++i) {
      CAIRN_TRY(const auto rtmr, simulator->read_rtmr(i));
      values["tdx.quote.body.rtmr_" + std::to_string(i)] = Json::array({hex(rtmr)});
    }
  }
  return register_references(s, values);
}

// Another binary under the same name: the program's bytes and one more.
Result<void> replace_engine(Session& s) {
  CAIRN_TRY(Bytes program, read_file(engine_program(s.options), std::size_t{1} << 30));
  program.push_back(0);
  s.engine_replacement = s.run / "other-engine";
  return write_file(s.engine_replacement, program, 0755);
}

Result<void> start_agent(Session& s) {
  std::vector<std::string> arguments = {"--attestation-sock",
                                        "unix://" + s.agent_socket().string(),
                                        "--tee",
                                        s.options.tee,
                                        "--event-log",
                                        (s.run / "aael").string(),
                                        "--enable-event-log"};
  if (s.options.tee == "simulated")
    arguments.insert(arguments.end(), {"--simulator-state", s.simulator_dir().string()});
  CAIRN_CHECK(s.start("cairn-aa", arguments, {"TRUSTEE_URL=" + s.trustee_url()}));
  return s.wait_until("the attestation agent", kAgentStartMs, [&] {
    return ask_agent<std::string>(
               s.agent_socket().string(), [](agent::Client& c) { return c.tee_type(); }, net::Milliseconds(1000))
        .has_value();
  });
}

// The agent holds its log in memory: it reads a changed one when it starts again.
Result<void> restart_with_an_event_dropped(Session& s) {
  s.processes.back().stop();
  s.processes.pop_back();
  CAIRN_CHECK(drop_an_event(s.run / "aael"));
  return start_agent(s);
}

}  // namespace

Result<void> start_tee(Session& s) {
  s.screen->begin("Trusted execution environment");
  CAIRN_TRY(const auto choice, device::tee_choice_named(s.options.tee));
  std::unique_ptr<device::Simulator> simulator;
  if (choice == device::TeeChoice::simulated) {
    CAIRN_TRY(simulator, device::Simulator::open(s.simulator_dir()));
    CAIRN_CHECK(simulator->set_scenario(scenario_of(s.options.tamper)));
    CAIRN_CHECK(simulator->boot());
    s.outcome.simulated = true;
  } else {
    if (s.options.tamper == Tamper::measurement || scenario_of(s.options.tamper) != device::Scenario::none)
      return fail(ErrorCode::unsupported, "--tamper", "this way of tampering needs --tee simulated");
    CAIRN_TRY(const auto tee, device::open_tee({.choice = choice, .simulator_dir = {}, .force_simulator = false}));
  }
  // What the owner expects comes from what the owner has; what is measured, from what is there.
  CAIRN_TRY(const auto expected, subjects(s));
  CAIRN_CHECK(register_expected(s, expected, simulator.get()));
  if (s.options.tamper == Tamper::engine) CAIRN_CHECK(replace_engine(s));

  CAIRN_CHECK(start_agent(s));
  CAIRN_TRY(const auto measured,
            s.options.tamper == Tamper::engine ? subjects(s) : Result<std::vector<Subject>>(expected));
  CAIRN_CHECK(measure(s, measured));

  if (s.options.tamper == Tamper::measurement) {
    const Bytes unlogged = crypto::random_bytes(48);
    CAIRN_TRY(const auto value, Digest<48>::from(unlogged));
    CAIRN_CHECK(simulator->extend_rtmr(3, value));
  }
  if (s.options.tamper == Tamper::eventlog) CAIRN_CHECK(restart_with_an_event_dropped(s));
  s.screen->done(simulator ? simulator->description() : "Intel TDX");
  return {};
}

}  // namespace cairn::cli
