// GPU evidence: reports inside TDX evidence, and the separate evidence of TEE "nvidia". Judged by evidence/nvidia with
// reference manifests and OCSP answers from bundle files and services, or with the word of NVIDIA's remote service on
// these. spec/nvidia-gpu.md §5, §6, §10.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "device/collateral/gpu_cache.h"
#include "device/collateral/nras_client.h"
#include "evidence/nvidia/verify.h"
#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

struct GpuOptions {
  nvidia::TrustRoots roots;  // NVIDIA's, and those the configuration names
  nvidia::Policy policy;
  std::vector<std::filesystem::path> bundles;      // evidence/nvidia/evidence.h; each is read again when it has changed
  std::shared_ptr<device::GpuCache> fetched = {};  // where what bundles lack comes from; null: nowhere
  std::shared_ptr<device::NrasCache> remote = {};  // judges in place of documents; null: documents are used
};

// Any thread.
class GpuJudge {
 public:
  explicit GpuJudge(GpuOptions options);
  ~GpuJudge();

  struct Judged {
    nvidia::Evidence evidence;
    nvidia::Verdict verdict;
  };
  // Every report must answer the first 32 bytes of `report_data`. Rejected only where the evidence cannot be read, and
  // as unavailable where something has to be fetched (which `pending`, if given, then awaits) or cannot be.
  [[nodiscard]] Outcome<Judged> judge(const Json& evidence, ByteView report_data, Time now, Pending* pending) const;
  // {"files", "verifier", "held": {kind: {"held", "oldest_seconds"}}, "last_error"}
  [[nodiscard]] Json status(Time now) const;
  // By kind: "gpu_rim" and "gpu_ocsp", "gpu_remote".
  [[nodiscard]] std::vector<std::pair<std::string, device::CollateralCounts>> counts(Time now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Claims of GPU evidence beside a quote's: "nvidia_gpu.<index>" for each device, "gpu" for all, and
// "gpu_evidence_unverified" where not every device is verified.
void add_gpu_claims(const GpuJudge::Judged& judged, Json& claims);

// TEE "nvidia". A device whose report is not authentic is a rejection; what a policy may except becomes claims.
[[nodiscard]] std::unique_ptr<TeeVerifier> nvidia_verifier(std::shared_ptr<const GpuJudge> judge);

}  // namespace cairn::trustee::as
