#include "cli/attest/attest.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "device/simulator/simulator.h"
#include "evidence/eventlog/aael.h"
#include "evidence/eventlog/limits.h"
#include "kbs_protocol/aa_client.h"
#include "net/task.h"

namespace cairn::cli {
namespace {

constexpr int kUnusable = 1, kNoEvidence = 2;

// The platform's log; null where it has none.
Result<Json> ccel_member(device::Tee& tee) {
  const auto ccel = tee.ccel();
  if (ccel) return Json(base64(*ccel));
  if (ccel.error().code == ErrorCode::not_found) return Json(nullptr);
  return fail(ccel.error());
}

Result<Bytes> evidence_p1(device::Tee& tee, ByteView quote, ByteView aael) {
  CAIRN_TRY(auto ccel, ccel_member(tee));
  if (!aael.empty()) {
    CAIRN_TRY([[maybe_unused]] const auto checked, eventlog::parse_text_log(as_text(aael)));
  }
  const Json evidence{{"quote", base64(quote)},
                      {"cc_eventlog", std::move(ccel)},
                      {"aa_eventlog", aael.empty() ? Json(nullptr) : Json(std::string(as_text(aael)))},
                      {"gpu_evidence", nullptr}};
  return to_bytes(compact_json(evidence));
}

Result<Bytes> evidence_p2(device::Tee& tee, ByteView quote, ByteView aael) {
  const auto ccel = tee.ccel();
  if (!ccel && ccel.error().code != ErrorCode::not_found) return fail(ccel.error());
  CAIRN_TRY(const auto log, eventlog::evidence_log(ccel ? ByteView(*ccel) : ByteView(), aael));
  return to_bytes(compact_json({{"quote", base64(quote)}, {"cc_eventlog", base64(log)}}));
}

Result<Bytes> from_agent(const AttestOptions& options, const ReportData& data) {
  return net::run_to_end<std::string>([&](net::Runtime&) -> net::Task<std::string> {
           CAIRN_CO_TRY(auto client, agent::Client::at(options.agent));
           co_return co_await client.evidence(to_bytes(data.view()));
         })
      .transform([](const std::string& text) { return to_bytes(text); });
}

Result<void> set_scenario(const AttestOptions& options, device::TeeChoice choice) {
  if (options.scenario.empty()) return {};
  if (choice != device::TeeChoice::simulated)
    return fail(ErrorCode::invalid_argument, "--scenario", "only the simulator can be broken: --tee simulated");
  CAIRN_TRY(const auto scenario, device::scenario_named(options.scenario));
  CAIRN_TRY(const auto simulator, device::Simulator::open(options.simulator));
  return simulator->set_scenario(scenario);
}

Result<Bytes> from_device(const AttestOptions& options, const ReportData& data) {
  CAIRN_TRY(const auto choice, device::tee_choice_named(options.tee));
  CAIRN_CHECK(set_scenario(options, choice));
  CAIRN_TRY(const auto tee,
            device::open_tee({.choice = choice, .simulator_dir = options.simulator, .force_simulator = false}));
  Bytes aael;
  if (!options.event_log.empty()) {
    CAIRN_TRY(aael, read_file(options.event_log, eventlog::limits::aael_bytes));
  }
  return make_evidence(*tee, data, options.format, aael);
}

}  // namespace

Result<ReportData> report_data_of(const AttestOptions& options) {
  ReportData out{};
  if (!options.report_data.empty() && !options.nonce.empty())
    return fail(ErrorCode::invalid_argument, "--nonce", "give either --report-data or --nonce");
  Bytes bytes;
  if (!options.report_data.empty()) {
    CAIRN_TRY(bytes, from_hex(options.report_data));
  } else if (!options.nonce.empty()) {
    bytes = to_bytes(crypto::sha512(as_bytes(options.nonce)).view());
  } else {
    bytes = crypto::random_bytes(out.size());
  }
  if (bytes.size() > out.size()) return fail(ErrorCode::too_large, "--report-data", "report data has at most 64 bytes");
  std::ranges::copy(bytes, out.begin());
  return out;
}

Result<Bytes> make_evidence(device::Tee& tee, const ReportData& report_data, std::string_view format, ByteView aael) {
  if (format != "evidence" && format != "evidence-p2" && format != "quote")
    return fail(ErrorCode::invalid_argument, "--format", "the format is evidence, evidence-p2 or quote");
  CAIRN_TRY(auto quote, tee.quote(report_data));
  if (format == "quote") return quote;
  return format == "evidence" ? evidence_p1(tee, quote, aael) : evidence_p2(tee, quote, aael);
}

int run_attest(const AttestOptions& options, std::ostream& out, std::ostream& err) {
  const auto complain = [&](const Error& error, int code) {
    err << "cairn attest: " << error.text() << '\n';
    return code;
  };
  const auto data = report_data_of(options);
  if (!data) return complain(data.error(), kUnusable);
  const auto evidence = options.agent.empty() ? from_device(options, *data) : from_agent(options, *data);
  if (!evidence)
    return complain(evidence.error(), evidence.error().code == ErrorCode::invalid_argument ? kUnusable : kNoEvidence);
  if (options.output.empty()) {
    out << as_text(*evidence);
    if (options.format != "quote") out << '\n';
    return 0;
  }
  const auto written = write_file(options.output, *evidence);
  return written ? 0 : complain(written.error(), kUnusable);
}

void add_attest(CLI::App& app, int& exit_code) {
  auto* verb = app.add_subcommand("attest", "make evidence of this machine");
  auto o = std::make_shared<AttestOptions>();
  verb->add_option("--tee", o->tee, "auto, tdx or simulated")->capture_default_str();
  verb->add_option("--simulator", o->simulator, "the simulator's state folder");
  verb->add_option("--scenario", o->scenario,
                   "break the simulated platform this way (stays in force; none repairs it)");
  verb->add_option("--agent", o->agent, "ask this attestation agent (unix:///…) instead of the device");
  verb->add_option("--report-data", o->report_data, "hex, at most 64 bytes; zero-padded");
  verb->add_option("--nonce", o->nonce, "text whose SHA-512 becomes the report data; random bytes without either");
  verb->add_option("--event-log", o->event_log, "the agent's event log to put in");
  verb->add_option("--format", o->format, "evidence, evidence-p2 or quote")->capture_default_str();
  verb->add_option("-o,--output", o->output, "file; standard output by default");
  verb->callback([o, &exit_code] { exit_code = run_attest(*o, std::cout, std::cerr); });
}

}  // namespace cairn::cli
