// GPU evidence: reports inside TDX evidence, and the separate evidence of TEE "nvidia". Judged by evidence/nvidia with
// reference manifests and OCSP answers from bundle files. spec/nvidia-gpu.md §5, §10.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "evidence/nvidia/verify.h"
#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

struct GpuOptions {
  nvidia::TrustRoots roots;  // NVIDIA's, and those the configuration names
  nvidia::Policy policy;
  std::vector<std::filesystem::path> bundles;  // evidence/nvidia/evidence.h; each is read again when it has changed
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
  // Every report must answer the first 32 bytes of `report_data`. Rejected only where the evidence cannot be read.
  [[nodiscard]] Outcome<Judged> judge(const Json& evidence, ByteView report_data, Time now) const;

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
