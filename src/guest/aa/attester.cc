#include "guest/aa/attester.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "guest/aa/config.h"
#include "guest/aa/limits.h"

namespace cairn::aa {
namespace {

Json base64_or_null(ByteView bytes) { return bytes.empty() ? Json() : Json(base64(bytes)); }

class TdxAttester final : public Attester {
 public:
  TdxAttester(device::Tee& tee, EventLog* log, kbs::Profile profile, Gpu* gpu)
      : tee_(tee), log_(log), profile_(profile), gpu_(gpu) {}

  std::string tee() const override { return std::string(tee_.type()); }

  Result<std::string> evidence(ByteView runtime_data) override {
    CAIRN_TRY(const ReportData report_data, as_report_data(runtime_data));
    auto ccel = tee_.ccel();
    if (!ccel && ccel.error().code == ErrorCode::not_found) ccel = Bytes{};
    CAIRN_CHECK(ccel);
    const auto make_quote = [&] { return tee_.quote(report_data); };
    EventLog::Consistent state;
    if (log_ != nullptr) {
      CAIRN_TRY(state, log_->consistent(make_quote));
    } else {
      CAIRN_TRY(state.quote, make_quote());
    }
    Json gpu;
    if (gpu_ != nullptr && profile_ == kbs::Profile::p1) {
      CAIRN_TRY(const auto collection, gpu_->collect(report_data.view()));
      if (collection) gpu = gpu_evidence(*collection, now());
    }
    return encode(state, *ccel, gpu);
  }

  Result<Json> devices(ByteView runtime_data) override {
    Json out = Json::object();
    if (gpu_ == nullptr) return out;
    CAIRN_TRY(const auto collection, gpu_->collect(runtime_data));
    if (collection) out["nvidia"] = nvidia_evidence(*collection);
    return out;
  }
  std::vector<std::string> device_names() const override {
    return gpu_ == nullptr ? std::vector<std::string>{} : std::vector<std::string>{"nvidia"};
  }

  Result<void> extend(const eventlog::AaelEvent& event, std::optional<std::uint64_t> pcr) override {
    if (log_ == nullptr)
      return fail(ErrorCode::unsupported, "eventlog_config.enable_eventlog", "the event log is not enabled");
    return log_->extend(event, pcr);
  }

  Result<void> check_init_data(ByteView digest) override {
    CAIRN_TRY(const auto bound, tee_.mr_config_id());
    if (as_config_id(digest) == bound) return {};
    return fail(ErrorCode::evidence_rejected, "MRCONFIGID",
                "the machine was started with MRCONFIGID " + hex(bound.view()) + ", not with this init data");
  }

 private:
  Result<std::string> encode(const EventLog::Consistent& state, ByteView ccel, const Json& gpu) const {
    std::string text;
    if (profile_ == kbs::Profile::p1) {
      text = tdx_evidence_p1(state.quote, ccel, state.log, gpu);
    } else {
      CAIRN_TRY(text, tdx_evidence_p2(state.quote, ccel, state.log));
    }
    if (text.size() > limits::evidence_bytes)
      return fail(ErrorCode::too_large, "evidence",
                  "the evidence exceeds " + std::to_string(limits::evidence_bytes) + " bytes");
    return text;
  }

  device::Tee& tee_;
  EventLog* log_;
  kbs::Profile profile_;
  Gpu* gpu_;
};

class SampleAttester final : public Attester {
 public:
  std::string tee() const override { return "sample"; }
  Result<Json> devices(ByteView) override { return Json::object(); }
  std::vector<std::string> device_names() const override { return {}; }
  Result<std::string> evidence(ByteView runtime_data) override {
    CAIRN_CHECK(as_report_data(runtime_data));
    return sample_evidence("1", runtime_data);
  }
  Result<void> extend(const eventlog::AaelEvent&, std::optional<std::uint64_t>) override {
    return fail(ErrorCode::unsupported, "sample", "the sample TEE has no registers");
  }
  Result<void> check_init_data(ByteView) override { return {}; }
};

}  // namespace

std::string tdx_evidence_p1(ByteView quote, ByteView ccel, ByteView log, const Json& gpu) {
  return compact_json({{"quote", base64(quote)},
                       {"cc_eventlog", base64_or_null(ccel)},
                       {"aa_eventlog", log.empty() ? Json() : Json(as_text(log))},
                       {"gpu_evidence", gpu}});
}

Result<std::string> tdx_evidence_p2(ByteView quote, ByteView ccel, ByteView log) {
  Bytes merged;  // GPUs travel as an additional TEE
  if (!ccel.empty() || !log.empty()) {
    // A log on a machine without CCEL begins with a header of its own; evidence_log wants bare records.
    const std::size_t header = ccel.empty() ? eventlog::synthetic_header().size() : 0;
    CAIRN_TRY(merged, eventlog::evidence_log(ccel, log.subspan(std::min(header, log.size()))));
  }
  return compact_json({{"quote", base64(quote)}, {"cc_eventlog", base64_or_null(merged)}, {"gpu_evidence", nullptr}});
}

std::string sample_evidence(std::string_view svn, ByteView report_data) {
  return compact_json({{"svn", svn}, {"report_data", base64(report_data)}});
}

Result<ReportData> as_report_data(ByteView runtime_data) {
  if (runtime_data.size() > limits::runtime_data_bytes)
    return fail(ErrorCode::invalid_argument, "RuntimeData",
                std::to_string(runtime_data.size()) + " bytes do not fit into the 64 of report data");
  ReportData out{};
  std::ranges::copy(runtime_data, out.begin());
  return out;
}

std::unique_ptr<Attester> tdx_attester(device::Tee& tee, EventLog* log, kbs::Profile profile, Gpu* gpu) {
  return std::make_unique<TdxAttester>(tee, log, profile, gpu);
}
std::unique_ptr<Attester> sample_attester() { return std::make_unique<SampleAttester>(); }

}  // namespace cairn::aa
