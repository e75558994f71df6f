#include "trustee/as/gpu_judge.h"

#include <spdlog/spdlog.h>

#include <mutex>

#include "base/file.h"
#include "evidence/nvidia/claims.h"
#include "evidence/nvidia/limits.h"

namespace cairn::trustee::as {
namespace {

// A bundle and when it was written.
struct GpuBundle {
  std::filesystem::path path;
  std::filesystem::file_time_type changed{};
  nvidia::Collateral collateral;
};

// Whether the file was read anew.
Result<bool> read_again(GpuBundle& file) {
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(file.path, error);
  if (error) return fail(ErrorCode::unavailable, file.path, "the bundle cannot be read: " + error.message());
  if (changed == file.changed) return false;
  CAIRN_TRY(const std::string text, read_text(file.path, nvidia::kMaxBundleJson));
  CAIRN_TRY(file.collateral, nvidia::parse_collateral(text));
  file.changed = changed;
  return true;
}

class Nvidia final : public TeeVerifier {
 public:
  explicit Nvidia(std::shared_ptr<const GpuJudge> judge) : judge_(std::move(judge)) {}
  [[nodiscard]] std::string_view tee() const override { return "nvidia"; }
  [[nodiscard]] DeviceClass device() const override { return DeviceClass::gpu; }

  [[nodiscard]] Outcome<Json> verify(const Json& evidence, const Binding& binding, Time now, Pending*) const override {
    if (!binding.report_data)
      return reject(Code::invalid_argument, "report_data", "GPU evidence must be bound to runtime data",
                    "runtime_data");
    const auto judged = judge_->judge(evidence, *binding.report_data, now);
    if (!judged) return std::unexpected(judged.error());
    for (const auto& device : judged->verdict.devices)
      if (!device.authentic) {
        const Error error = nvidia::to_error(device.findings.front());
        return reject(Code::verification_failed, error.where, device.label + ": " + error.message, "evidence");
      }
    return nvidia::set_claims(judged->verdict);
  }

 private:
  std::shared_ptr<const GpuJudge> judge_;
};

}  // namespace

struct GpuJudge::State {
  GpuOptions options;
  std::mutex mutex;
  std::vector<GpuBundle> files;
  std::shared_ptr<const nvidia::Collateral> collateral = std::make_shared<nvidia::Collateral>();
  std::vector<std::shared_ptr<nvidia::Verifier>> stock;  // each keeps caches and belongs to one thread at a time

  // What the bundles hold now; what one held before stays where it cannot be read.
  std::shared_ptr<const nvidia::Collateral> current() {
    const std::scoped_lock lock(mutex);
    bool changed = false;
    for (GpuBundle& file : files) {
      const auto read = read_again(file);
      if (!read) spdlog::error("GPU collateral: {}", read.error().text());
      changed |= read.value_or(false);
    }
    if (!changed) return collateral;
    auto all = std::make_shared<nvidia::Collateral>();
    for (const GpuBundle& file : files) {
      all->rims.insert(file.collateral.rims.begin(), file.collateral.rims.end());
      all->ocsp.insert(file.collateral.ocsp.begin(), file.collateral.ocsp.end());
    }
    return collateral = std::move(all);
  }
  std::shared_ptr<nvidia::Verifier> take() {
    const std::scoped_lock lock(mutex);
    if (stock.empty()) return std::make_shared<nvidia::Verifier>(options.roots);
    auto out = std::move(stock.back());
    stock.pop_back();
    return out;
  }
  void give_back(std::shared_ptr<nvidia::Verifier> verifier) {
    const std::scoped_lock lock(mutex);
    stock.push_back(std::move(verifier));
  }
};

GpuJudge::GpuJudge(GpuOptions options) : state_(std::make_unique<State>()) {
  for (auto& path : options.bundles) state_->files.push_back({std::move(path), {}, {}});
  state_->options = std::move(options);
}
GpuJudge::~GpuJudge() = default;

Outcome<GpuJudge::Judged> GpuJudge::judge(const Json& evidence, ByteView report_data, Time now) const {
  auto parsed = nvidia::parse_evidence(evidence);
  if (!parsed)
    return reject(Code::invalid_format, "nvidia.EvidenceFormat", "GPU evidence: " + parsed.error().text(),
                  "gpu_evidence");
  const auto nonce = nvidia::nonce_of_report_data(report_data);
  if (!nonce) return reject(Code::invalid_argument, "report_data", nonce.error().message, "runtime_data");
  const auto collateral = state_->current();
  const auto verifier = state_->take();
  Judged out{*std::move(parsed), {}};
  out.verdict = verifier->verify(out.evidence, *collateral, {.time = now, .nonce = *nonce}, state_->options.policy);
  state_->give_back(verifier);
  return out;
}

void add_gpu_claims(const GpuJudge::Judged& judged, Json& claims) {
  for (std::size_t i = 0; i < judged.verdict.devices.size(); ++i)
    claims["nvidia_gpu." + std::to_string(i)] =
        nvidia::gpu_claims(judged.evidence.devices[i], judged.verdict.devices[i]);
  Json all = nvidia::set_claims(judged.verdict);
  all.erase("devices");
  claims["gpu"] = std::move(all);
  if (judged.verdict.simulated) claims["simulated"] = true;
  if (!judged.verdict.affirming()) claims["gpu_evidence_unverified"] = true;
}

std::unique_ptr<TeeVerifier> nvidia_verifier(std::shared_ptr<const GpuJudge> judge) {
  return std::make_unique<Nvidia>(std::move(judge));
}

}  // namespace cairn::trustee::as
