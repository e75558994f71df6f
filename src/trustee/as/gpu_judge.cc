#include "trustee/as/gpu_judge.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "base/file.h"
#include "evidence/nvidia/claims.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/nras.h"
#include "trustee/limits.h"

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

  [[nodiscard]] Outcome<Json> verify(const Json& evidence, const Binding& binding, Time now,
                                     Pending* pending) const override {
    if (!binding.report_data)
      return reject(Code::invalid_argument, "report_data", "GPU evidence must be bound to runtime data",
                    "runtime_data");
    const auto judged = judge_->judge(evidence, *binding.report_data, now, pending);
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

net::Task<> awaited(net::Task<> fetch) { return net::with_timeout(std::move(fetch), limits::kCollateralWait); }

std::unexpected<Rejection> wait_for(std::string what) {
  return reject(Code::unavailable, std::move(what), "what the GPU evidence is judged with is being fetched; ask again");
}
std::unexpected<Rejection> nothing_from(std::string what, const Error& error) {
  return reject(Code::unavailable, std::move(what), "the GPU evidence cannot be judged: " + error.text());
}

// What a verdict rests on, and what it lacks, of documents that bundles do not have.
struct Needs {
  nvidia::Wanted wanted;                        // manifests; and answers, where one was not there or had ended
  std::set<std::string> documents, mismatched;  // ids of all that were used; of manifests that a report differs from
};
class NeedsOf {
 public:
  NeedsOf(const nvidia::Collateral& bundles, const nvidia::Policy& policy) : bundles_(bundles), policy_(policy) {}
  Needs out;
  bool answers = false;  // some are lacking

  void add(const nvidia::DeviceVerdict& device) {
    if (!device.authentic) return;
    const auto& a = *device.authentic;
    const bool differs = std::ranges::any_of(device.findings, [](const nvidia::Finding& f) {
      return f.failure == nvidia::Failure::measurement || f.failure == nvidia::Failure::security_version ||
             f.failure == nvidia::Failure::rim_version;
    });
    answers |= std::ranges::any_of(device.findings, [](const nvidia::Finding& f) {
      return f.failure == nvidia::Failure::ocsp_absent || f.failure == nvidia::Failure::ocsp_stale;
    });
    used(a.chain);
    for (const nvidia::RimFacts* rim : {&a.driver, &a.firmware}) {
      if (rim->chain) used(*rim->chain);
      if (rim->id.empty() || bundles_.rims.contains(rim->id) || policy_.enrolled.contains(rim->id)) continue;
      out.wanted.rims.insert(rim->id);
      out.documents.insert(rim->id);
      if (differs) out.mismatched.insert(rim->id);
    }
  }

 private:
  void used(const nvidia::ChainFacts& chain) { out.documents.insert(chain.answers.begin(), chain.answers.end()); }
  const nvidia::Collateral& bundles_;
  const nvidia::Policy& policy_;
};

}  // namespace

struct GpuJudge::State {
  GpuOptions options;
  std::mutex mutex;
  std::vector<GpuBundle> files;
  std::shared_ptr<const nvidia::Collateral> collateral = std::make_shared<nvidia::Collateral>();
  std::pair<std::shared_ptr<const nvidia::Collateral>, std::shared_ptr<const nvidia::Collateral>> merged_of;
  std::shared_ptr<const nvidia::Collateral> merged;
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
  // Bundles and what was fetched. A manifest in a bundle is meant to be used; an answer in one may be older.
  std::shared_ptr<const nvidia::Collateral> with_fetched(const std::shared_ptr<const nvidia::Collateral>& bundles) {
    auto held = options.fetched->held();
    const std::scoped_lock lock(mutex);
    if (merged && merged_of == std::pair(bundles, held)) return merged;
    auto all = std::make_shared<nvidia::Collateral>(*bundles);
    all->rims.insert(held->rims.begin(), held->rims.end());
    for (const auto& [id, answer] : held->ocsp) all->ocsp.insert_or_assign(id, answer);
    merged_of = {bundles, std::move(held)};
    return merged = std::move(all);
  }

  Outcome<> judge_here(nvidia::Verifier& verifier, const nvidia::Options& at, Pending* pending, Judged& out) {
    const auto bundles = current();
    const auto all = options.fetched ? with_fetched(bundles) : bundles;
    out.verdict = verifier.verify(out.evidence, *all, at, options.policy);
    if (!options.fetched) return {};
    NeedsOf needs(*bundles, options.policy);
    for (const auto& device : out.verdict.devices) needs.add(device);
    if (needs.answers) needs.out.wanted.ocsp = verifier.wanted(out.evidence, *all).ocsp;
    nvidia::Wanted lacking = options.fetched->missing(needs.out.wanted, at.time);
    bool fresh = false;
    if (!lacking.empty()) {
      if (const auto error = options.fetched->failure(lacking, at.time)) return nothing_from("gpu_collateral", *error);
      if (!pending) return wait_for("gpu_collateral");
    } else if (pending) {
      lacking = options.fetched->aged(needs.out.mismatched, at.time);  // the maker may have issued them anew
      fresh = true;
    }
    if (lacking.empty()) {
      options.fetched->used(needs.out.documents, at.time);
      return {};
    }
    pending->add([cache = options.fetched, lacking, time = at.time, fresh] {
      return awaited(cache->fetch(lacking, time, fresh));
    });
    return wait_for("gpu_collateral");
  }

  // Nothing is asked about devices that are not authentic.
  Outcome<> judge_there(nvidia::Verifier& verifier, const nvidia::Options& at, Pending* pending, Judged& out) {
    out.verdict = verifier.verify_remote(out.evidence, {}, at, options.policy);
    auto requests = nvidia::nras_requests(out.evidence, out.verdict);
    if (requests.empty()) return {};
    const auto answer = options.remote->find(requests, at.time);
    if (!answer) {
      if (pending)
        pending->add([remote = options.remote, requests = std::move(requests), time = at.time] {
          return awaited(remote->ask(requests, time));
        });
      return wait_for("gpu_verifier");
    }
    if (!*answer) return nothing_from("gpu_verifier", answer->error());
    out.verdict = verifier.verify_remote(out.evidence, **answer, at, options.policy);
    return {};
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

Outcome<GpuJudge::Judged> GpuJudge::judge(const Json& evidence, ByteView report_data, Time now,
                                          Pending* pending) const {
  auto parsed = nvidia::parse_evidence(evidence);
  if (!parsed)
    return reject(Code::invalid_format, "nvidia.EvidenceFormat", "GPU evidence: " + parsed.error().text(),
                  "gpu_evidence");
  const auto nonce = nvidia::nonce_of_report_data(report_data);
  if (!nonce) return reject(Code::invalid_argument, "report_data", nonce.error().message, "runtime_data");
  const auto verifier = state_->take();
  Judged out{*std::move(parsed), {}};
  const nvidia::Options at{.time = now, .nonce = *nonce};
  const auto judged = state_->options.remote ? state_->judge_there(*verifier, at, pending, out)
                                             : state_->judge_here(*verifier, at, pending, out);
  state_->give_back(verifier);
  if (!judged) return std::unexpected(judged.error());
  return out;
}

std::vector<std::pair<std::string, device::CollateralCounts>> GpuJudge::counts(Time now) const {
  std::vector<std::pair<std::string, device::CollateralCounts>> out;
  const GpuOptions& o = state_->options;
  if (o.fetched) {
    out.emplace_back("gpu_rim", o.fetched->rims(now));
    out.emplace_back("gpu_ocsp", o.fetched->answers(now));
  }
  if (o.remote) out.emplace_back("gpu_remote", o.remote->counts(now));
  return out;
}

Json GpuJudge::status(Time now) const {
  const GpuOptions& o = state_->options;
  Json held = Json::object();
  for (const auto& [kind, counts] : counts(now))
    held[kind] = {{"held", counts.held}, {"oldest_seconds", counts.oldest}};
  return {{"files", state_->files.size()},
          {"verifier", o.remote ? Json(o.remote->url()) : Json("here")},
          {"held", std::move(held)},
          {"last_error", o.fetched  ? o.fetched->last_error()
                         : o.remote ? o.remote->last_error()
                                    : std::string()}};
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
