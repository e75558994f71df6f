#include "trustee/as/tdx_verifier.h"

#include <spdlog/spdlog.h>

#include <mutex>

#include "base/encoding.h"
#include "crypto/x509.h"
#include "evidence/eventlog/claims.h"
#include "evidence/eventlog/limits.h"
#include "evidence/eventlog/measure.h"
#include "evidence/nvidia/claims.h"
#include "evidence/tdx/verdict_json.h"
#include "evidence/tdx/verify.h"

namespace cairn::trustee::as {
namespace {

using eventlog::AaelEvent;

// Text member `name` of the evidence; "" where absent, null or empty.
Outcome<std::string> text_member(const Json& evidence, const char* name) {
  const auto it = evidence.find(name);
  if (it == evidence.end() || it->is_null()) return std::string();
  if (!it->is_string()) return reject(Code::invalid_format, "tdx", std::string(name) + " is not text", name);
  return it->get<std::string>();
}
Outcome<Bytes> base64_member(const Json& evidence, const char* name) {
  const auto text = text_member(evidence, name);
  if (!text) return std::unexpected(text.error());
  auto bytes = from_base64(*text);
  if (!bytes) return reject(Code::invalid_encoding, "tdx", std::string(name) + " is not base64", name);
  return *std::move(bytes);
}

Bytes padded(Bytes value, std::size_t size) {
  value.resize(size);
  return value;
}

std::unexpected<Rejection> rejected_log(std::string reason, std::string detail) {
  return reject(Code::verification_failed, std::move(reason), std::move(detail), "cc_eventlog");
}

// What the logs of one piece of evidence prove.
struct Logs {
  Json claims = Json::object();
  std::vector<AaelEvent> events;        // of RTMR3, each covered by the register
  std::optional<Digest<48>> inventory;  // of GPUs, where the agent recorded one
};

std::unexpected<Rejection> register_mismatch(std::size_t index, std::string_view log) {
  return rejected_log("rtmr_mismatch",
                      "the " + std::string(log) + " does not replay to RTMR" + std::to_string(index) +
                          " of the quote: the log is incomplete or something was measured outside of it");
}

Outcome<> check_ccel(const eventlog::Log& log, const tdx::TdReport& td, std::size_t registers) {
  const auto replayed = eventlog::replay_rtmrs(log);
  if (!replayed) return rejected_log("eventlog_replay", "the event log does not replay: " + replayed.error().message);
  for (std::size_t i = 0; i < registers; ++i)
    if ((*replayed)[i] != td.rtmr[i]) return register_mismatch(i, "event log");
  return {};
}

// P1: the text log of the agent covers RTMR3 from a register that was zero.
Outcome<> read_text_log(const std::string& text, const tdx::TdReport& td, Logs& out) {
  const auto log = eventlog::parse_text_log(text);
  if (!log) return rejected_log("aael_format", "the agent's event log does not parse: " + log.error().text());
  if (log->algorithm != eventlog::Algorithm::sha384)
    return rejected_log("aael_algorithm", "the agent's event log is not a SHA-384 log");
  if (std::ranges::any_of(log->initial, [](auto byte) { return byte != 0; }))
    return rejected_log("aael_initial",
                        "the agent's event log does not start from a zero register: something was measured before it");
  const auto state = eventlog::replay_text_log(*log);
  if (!state) return rejected_log("eventlog_replay", "the agent's event log does not replay: " + state.error().message);
  if (!equal(*state, td.rtmr[3].view())) return register_mismatch(3, "agent's event log");
  out.events = log->events;
  return {};
}

Outcome<> read_ccel(ByteView bytes, const tdx::TdReport& td, bool with_rtmr3, Logs& out) {
  const auto log = eventlog::parse_ccel(bytes);
  if (!log) return rejected_log("eventlog_format", "the event log does not parse: " + log.error().text());
  if (auto checked = check_ccel(*log, td, with_rtmr3 ? 4 : 3); !checked) return checked;
  auto entries = eventlog::uefi_event_logs(*log);
  if (!entries) return rejected_log("eventlog_format", "the event log does not parse: " + entries.error().text());
  out.claims["uefi_event_logs"] = *std::move(entries);
  out.claims["ccel"] = eventlog::ccel_claims(*log);
  if (!with_rtmr3) return {};
  auto events = eventlog::aael_events(*log);
  if (!events)
    return rejected_log("aael_format", "the agent's events are not what their digests say: " + events.error().text());
  out.events = *std::move(events);
  return {};
}

// Domain measure.cairn.v1 as claims: every subject with its reference key, whether the last run is complete.
Outcome<Json> measure_claims(const std::vector<AaelEvent>& events, std::optional<Digest<48>>& inventory) {
  const auto read = eventlog::read_measurements(events, false);
  if (!read) return rejected_log("measurements", "the measurement events break their scheme: " + read.error().text());
  inventory = read->inventory;
  Json subjects = Json::array();
  std::size_t runs = 0;
  for (const auto& event : events) {
    if (event.domain != eventlog::measure_domain) continue;
    const auto measurement = eventlog::from_event(event);
    if (!measurement) return rejected_log("measurements", measurement.error().text());
    if (measurement->kind == eventlog::Kind::begin) ++runs;
    subjects.push_back({{"kind", eventlog::name(measurement->kind)},
                        {"name", measurement->name},
                        {"key", measurement->reference_key()},
                        {"content", measurement->content()}});
  }
  return Json{{"events", std::move(subjects)}, {"runs", runs}, {"ready", !read->complete.empty() && !read->open}};
}

Outcome<Logs> read_logs(const Json& evidence, const tdx::TdReport& td) {
  const auto ccel = base64_member(evidence, "cc_eventlog");
  if (!ccel) return std::unexpected(ccel.error());
  const auto text = text_member(evidence, "aa_eventlog");
  if (!text) return std::unexpected(text.error());
  if (ccel->size() > eventlog::limits::ccel_bytes || text->size() > eventlog::limits::aael_bytes)
    return rejected_log("eventlog_size", "the event log is larger than allowed");
  Logs out;
  if (!ccel->empty())
    if (auto read = read_ccel(*ccel, td, text->empty(), out); !read) return std::unexpected(read.error());
  if (!text->empty())
    if (auto read = read_text_log(*text, td, out); !read) return std::unexpected(read.error());
  const bool extended = td.rtmr[3] != tdx::Register{};
  if (ccel->empty() && text->empty() && extended)
    return rejected_log("rtmr3_without_log",
                        "RTMR3 was extended, but the evidence brings no log of what was measured into it");
  auto measured = measure_claims(out.events, out.inventory);
  if (!measured) return std::unexpected(measured.error());
  out.claims["measure"] = *std::move(measured);
  out.claims["eventlog_present"] = !ccel->empty();
  out.claims.update(eventlog::aael_claims(out.events));
  return out;
}

std::unexpected<Rejection> quote_rejected(const tdx::Verdict& verdict) {
  using tdx::Failure;
  const std::string reason = "tdx." + std::string(tdx::name(verdict.failure));
  std::string detail(tdx::sentence(verdict.failure));
  if (!verdict.detail.empty() && verdict.detail != detail) detail += " (" + verdict.detail + ")";
  switch (verdict.failure) {
    case Failure::format:
    case Failure::unsupported_quote:
    case Failure::unsupported_cert_data: return reject(Code::invalid_quote, reason, detail, "quote");
    default: return reject(Code::verification_failed, reason, detail, "quote");
  }
}

std::unexpected<Rejection> untrusted() {
  return reject(Code::verification_failed, "tdx.Untrusted",
                "the quote's certificates lead to a root that is not trusted here (a simulator's, or another maker's)",
                "quote");
}

// The quote cannot be judged: its own fault, its platform's, or the collateral service's.
std::unexpected<Rejection> no_collateral(const Error& error) {
  switch (error.code) {
    case ErrorCode::evidence_rejected: return reject(Code::verification_failed, error.where, error.message, "quote");
    case ErrorCode::unsupported: return reject(Code::invalid_quote, "tdx.UnsupportedCertData", error.message, "quote");
    case ErrorCode::not_found:
      return reject(Code::verification_failed, "tdx.UnknownPlatform",
                    "the collateral service does not know this platform: " + error.message, "quote");
    case ErrorCode::malformed:
    case ErrorCode::too_large:
    case ErrorCode::crypto_failed:
      return reject(Code::unavailable, "collateral", "the collateral service's answer is of no use: " + error.text());
    default: return reject(Code::unavailable, "collateral", error.text());
  }
}

Json attribute_names(std::uint64_t attributes) {
  const auto bit = [&](std::uint64_t mask) { return (attributes & mask) != 0; };
  return {{"debug", bit(tdx::td_attribute::kDebug)},
          {"septve_disable", bit(tdx::td_attribute::kSeptVeDisable)},
          {"protection_keys", bit(tdx::td_attribute::kProtectionKeys)},
          {"key_locker", bit(tdx::td_attribute::kKeyLocker)},
          {"perfmon", bit(tdx::td_attribute::kPerfmon)}};
}

Outcome<> check_binding(const tdx::TdReport& td, const Binding& binding) {
  if (binding.report_data && binding.report_data->size() > td.report_data.size())
    return reject(Code::invalid_argument, "report_data", "a quote binds at most 64 bytes of raw runtime data",
                  "runtime_data");
  if (binding.report_data && !equal(padded(*binding.report_data, td.report_data.size()), td.report_data.view()))
    return reject(Code::binding_mismatch, "report_data",
                  "the quote answers another nonce or key: its report data is not the hash of this runtime data");
  if (binding.init_data && !equal(padded(*binding.init_data, 48), td.mr_config_id.view()))
    return reject(Code::binding_mismatch, "init_data",
                  "the TD was launched with other init data than the request names");
  return {};
}

class Tdx final : public TeeVerifier {
 public:
  explicit Tdx(TdxOptions options) : options_(std::move(options)) {}
  [[nodiscard]] std::string_view tee() const override { return "tdx"; }

  [[nodiscard]] Outcome<Json> verify(const Json& evidence, const Binding& binding, Time now,
                                     Pending* pending) const override {
    if (!evidence.is_object()) return reject(Code::invalid_format, "tdx", "TDX evidence is a JSON object", "evidence");
    const auto quote = base64_member(evidence, "quote");
    if (!quote) return std::unexpected(quote.error());
    if (quote->empty()) return reject(Code::invalid_format, "tdx", "the evidence holds no quote", "quote");
    const auto verdict = judge(*quote, now, pending);
    if (!verdict) return std::unexpected(verdict.error());
    const auto& td = *verdict->quote->td();
    if (auto bound = check_binding(td, binding); !bound) return std::unexpected(bound.error());
    const auto logs = read_logs(evidence, td);
    if (!logs) return std::unexpected(logs.error());
    Json out = claims(*verdict, td, *logs);
    const auto gpu = evidence.find("gpu_evidence");
    if (logs->inventory) out["gpu_inventory"] = "not compared";
    if (gpu == evidence.end() || gpu->is_null()) return out;
    const auto judged = options_.gpu->judge(*gpu, td.report_data, now, pending);
    if (!judged) return std::unexpected(judged.error());
    add_gpu_claims(*judged, out);
    const auto devices = nvidia::inventory(judged->verdict);
    if (logs->inventory && devices) out["gpu_inventory"] = *devices == *logs->inventory ? "as recorded" : "differs";
    return out;
  }

 private:
  [[nodiscard]] Outcome<tdx::Verdict> judge(ByteView quote, Time now, Pending* pending) const {
    const auto parsed = tdx::parse_quote(quote);
    if (!parsed)
      return reject(Code::invalid_quote, "tdx.Format", "the quote does not parse: " + parsed.error().text(), "quote");
    if (!parsed->quote.td())
      return reject(Code::invalid_quote, "tdx.Format", "the quote is an SGX enclave's, not a TD's", "quote");
    const auto collateral = options_.collateral(quote, now, pending);
    if (!collateral) return leads_to_root(parsed->quote) ? no_collateral(collateral.error()) : untrusted();
    const auto verifier = take_verifier();
    const auto verdict =
        verifier->verify(quote, **collateral,
                         {.time = now,
                          .expiry = options_.accept_expired_collateral ? tdx::Expiry::flag : tdx::Expiry::strict,
                          .min_tcb_eval_num = options_.min_tcb_eval_num});
    give_back(verifier);
    if (!verdict.authentic()) {
      if (!leads_to_root(parsed->quote)) return untrusted();
      return quote_rejected(verdict);
    }
    if (verdict.tcb->status == tdx::TcbStatus::revoked)
      return reject(Code::verification_failed, "tcb_revoked", "the platform's TCB level is revoked", "quote");
    return verdict;
  }

  // Collateral of a root that is not trusted fails before the quote's own chain is looked at: name the true cause.
  [[nodiscard]] bool leads_to_root(const tdx::Quote& quote) const {
    if (quote.cert.type != tdx::CertDataType::pck_chain) return true;
    const auto chain = crypto::Certificate::from_pem(as_text(quote.cert.data));
    if (!chain || chain->empty()) return true;
    const auto point = chain->back().public_key().and_then([](const auto& key) { return key.ec_point(); });
    if (!point) return false;
    Bytes encoded{4};
    append(encoded, point->x);
    append(encoded, point->y);
    return std::ranges::any_of(options_.roots, [&](const auto& root) { return equal(root.point, encoded); });
  }

  static Json claims(const tdx::Verdict& verdict, const tdx::TdReport& td, const Logs& logs) {
    Json out = logs.claims;
    out.update(tdx::supplemental_claims(verdict));
    out["quote"] = tdx::quote_claims(*verdict.quote);
    out["td_attributes"] = attribute_names(td.td_attributes);
    out["simulated"] = verdict.simulated;
    out["root"] = verdict.root_name;
    out["report_data"] = hex(td.report_data.view());
    out["init_data"] = hex(td.mr_config_id.view());
    return out;
  }

  // A verifier keeps caches and belongs to one thread at a time: a stock of them serves all.
  [[nodiscard]] std::shared_ptr<tdx::Verifier> take_verifier() const {
    const std::scoped_lock lock(mutex_);
    if (stock_.empty()) return std::make_shared<tdx::Verifier>(options_.roots);
    auto verifier = std::move(stock_.back());
    stock_.pop_back();
    return verifier;
  }
  void give_back(std::shared_ptr<tdx::Verifier> verifier) const {
    const std::scoped_lock lock(mutex_);
    stock_.push_back(std::move(verifier));
  }

  TdxOptions options_;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<tdx::Verifier>> stock_;
};

}  // namespace

std::unique_ptr<TeeVerifier> tdx_verifier(TdxOptions options) { return std::make_unique<Tdx>(std::move(options)); }

}  // namespace cairn::trustee::as
