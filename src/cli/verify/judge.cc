#include "cli/verify/judge.h"

#include "base/encoding.h"
#include "base/log.h"
#include "cli/verify/binding.h"
#include "evidence/eventlog/aael.h"
#include "evidence/eventlog/dstack.h"
#include "evidence/eventlog/eventlog.h"

namespace cairn::cli {
namespace {

using tdx::Finding;

// The first `count` registers against the quote.
Result<void> same_registers(const eventlog::Rtmrs& rtmrs, const tdx::TdReport& td, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    if (rtmrs[i] != td.rtmr[i])
      return fail(ErrorCode::evidence_rejected, "RTMR" + std::to_string(i),
                  "the log replays to " + hex(rtmrs[i]) + ", the quote has " + hex(td.rtmr[i]));
  return {};
}

Result<void> check_ccel(ByteView bytes, const tdx::TdReport& td, std::size_t count) {
  CAIRN_TRY(const eventlog::Log log, eventlog::parse_ccel(bytes));
  CAIRN_TRY(const eventlog::Rtmrs rtmrs, eventlog::replay_rtmrs(log));
  return same_registers(rtmrs, td, count);
}

Result<void> check_text_log(std::string_view text, const tdx::TdReport& td) {
  CAIRN_TRY(const eventlog::TextLog log, eventlog::parse_text_log(text));
  CAIRN_TRY(const Bytes rtmr3, eventlog::replay_text_log(log));
  if (equal(rtmr3, td.rtmr[3])) return {};
  return fail(ErrorCode::evidence_rejected, "RTMR3",
              "the log replays to " + hex(rtmr3) + ", the quote has " + hex(td.rtmr[3]));
}

void judge_gpus(const char* member, const Json& evidence, const Result<nvidia::Nonce>& nonce, Time at, GpuSetup& setup,
                Judgement& out) {
  if (out.gpu) return out.findings.push_back({member, "there is GPU evidence in another place too"});
  auto judged = nonce.and_then([&](const nvidia::Nonce& n) { return judge_gpu(evidence, setup, n, at); });
  if (judged)
    out.gpu = *std::move(judged);
  else
    out.findings.push_back({member, judged.error().text()});
}

// What evidence beside the quote answers: the session's runtime data, by the hash that binds the quote to the same and
// to that evidence.
Result<nvidia::Nonce> session_nonce(const Evidence& evidence, const std::optional<crypto::Hash>& hash,
                                    const GpuSetup& setup) {
  if (!hash && setup.nonce) return *setup.nonce;
  if (!hash)
    return fail(
        ErrorCode::evidence_rejected,
        "no runtime data to which quote and devices are bound stands beside them (--nonce says what they answer)");
  CAIRN_TRY(const std::string text, canonical_json(evidence.device_data));
  return nvidia::nonce_of_report_data(crypto::digest(*hash, as_bytes(text)));
}

Result<void> check_dstack_log(std::string_view json, const tdx::TdReport& td) {
  CAIRN_TRY(const auto events, eventlog::parse_dstack_log(json));
  return same_registers(eventlog::replay_dstack_log(events), td, 4);
}

// What the file says that the quote answers; the hash by which it is bound to runtime data.
std::optional<crypto::Hash> check_bindings(const Evidence& evidence, ByteView report_data, Judgement& out) {
  if (evidence.report_data && !equal(*evidence.report_data, report_data))
    out.findings.push_back({"report_data", "the quote does not answer the report data that stands beside it"});
  if (evidence.runtime_data.is_null()) return std::nullopt;
  const auto hash = bound_by(evidence.runtime_data, report_data);
  if (hash)
    out.bindings.push_back("runtime data by " + std::string(crypto::hash_name(*hash)));
  else
    out.findings.push_back({"runtime_data", "the report data is not the hash of the runtime data beside the quote"});
  return hash;
}

void judge_devices(const Evidence& evidence, const std::optional<crypto::Hash>& hash, Time at, GpuSetup& setup,
                   Judgement& out) {
  // Beside a quote in its own evidence: the quote's report data, so only an authentic quote has any.
  if (!evidence.gpu.is_null())
    judge_gpus("gpu_evidence", evidence.gpu, nvidia::nonce_of_report_data(out.verdict.quote->report_data()), at, setup,
               out);
  for (const auto& [tee, value] : evidence.devices)
    if (tee == "nvidia")
      judge_gpus("additional_evidence", value, session_nonce(evidence, hash, setup), at, setup, out);
    else
      out.findings.push_back({"additional_evidence", "evidence of \"" + printable(tee, 32) + "\" is not judged here"});
}

Result<void> take_values(const Json& value, std::string_view name, std::vector<tdx::Register>& out) {
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    const Result<tdx::Register> r =
        !item.is_string()
            ? fail(ErrorCode::malformed, "not a string")
            : from_hex(item.get<std::string>()).and_then([](const Bytes& b) { return tdx::Register::from(b); });
    if (!r) return fail(ErrorCode::malformed, "$." + std::string(name), "must be 48 bytes of hex, or a list of such");
    out.push_back(*r);
  }
  return {};
}

}  // namespace

std::vector<Finding> check_event_logs(const Evidence& evidence, const tdx::TdReport& td,
                                      std::vector<std::string>& matched) {
  std::vector<Finding> out;
  const auto take = [&](const char* rule, const char* what, const Result<void>& checked) {
    if (checked)
      matched.emplace_back(what);
    else
      out.push_back({rule, checked.error().where + ": " + checked.error().message});
  };
  const bool text = !evidence.aa_eventlog.empty();
  if (!evidence.cc_eventlog.empty())
    take("cc_eventlog", text ? "CCEL to RTMR0-2" : "CCEL to RTMR0-3",
         check_ccel(evidence.cc_eventlog, td, text ? 3 : 4));
  if (text) take("aa_eventlog", "AAEL to RTMR3", check_text_log(evidence.aa_eventlog, td));
  if (!evidence.dstack_log.empty())
    take("event_log", "dstack log to RTMR0-3", check_dstack_log(evidence.dstack_log, td));
  return out;
}

Judgement judge(const Evidence& evidence, const tdx::Collateral& collateral, tdx::Verifier& verifier,
                const tdx::Options& options, const tdx::Policy& policy, GpuSetup& gpu) {
  Judgement out;
  out.verdict = verifier.verify(evidence.quote, evidence.collateral.value_or(collateral), options);
  out.findings = tdx::appraise(out.verdict, policy, options.time);
  if (!out.verdict.authentic()) return out;
  const auto hash = check_bindings(evidence, out.verdict.quote->report_data().view(), out);
  const bool logs = !evidence.cc_eventlog.empty() || !evidence.aa_eventlog.empty() || !evidence.dstack_log.empty();
  if (const tdx::TdReport* td = out.verdict.quote->td()) {
    for (Finding& f : check_event_logs(evidence, *td, out.logs)) out.findings.push_back(std::move(f));
  } else if (logs) {
    out.findings.push_back({"event_log", "an enclave has no event log"});
  }
  judge_devices(evidence, hash, options.time, gpu, out);
  return out;
}

Result<void> add_reference_values(std::string_view json, tdx::Policy& policy) {
  CAIRN_TRY(const Json values, parse_json(json));
  if (!values.is_object()) return fail(ErrorCode::malformed, "$", "reference values are a JSON object");
  const std::pair<const char*, std::vector<tdx::Register>*> known[] = {
      {"mrtd", &policy.mr_td},    {"mrseam", &policy.mr_seam}, {"rtmr0", &policy.rtmr[0]},
      {"rtmr1", &policy.rtmr[1]}, {"rtmr2", &policy.rtmr[2]},  {"rtmr3", &policy.rtmr[3]},
  };
  std::size_t found = 0;
  for (const auto& [name, list] : known) {
    if (!values.contains(name)) continue;
    ++found;
    CAIRN_CHECK(take_values(values.at(name), name, *list));
  }
  if (found == 0) return fail(ErrorCode::malformed, "$", "no reference value: mrtd, mrseam or rtmr0 to rtmr3");
  return {};
}

}  // namespace cairn::cli
