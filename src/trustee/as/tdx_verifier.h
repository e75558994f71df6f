// TDX evidence: the quote (evidence/tdx), its bindings, the event logs (evidence/eventlog), and the claims of every
// profile together. spec/trustee.md §9.1-§9.3, spec/guest.md §5.2, §11.4.
#pragma once

#include <memory>
#include <vector>

#include "evidence/tdx/trust_root.h"
#include "trustee/as/collateral_store.h"
#include "trustee/as/gpu_judge.h"
#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

struct TdxOptions {
  std::vector<tdx::TrustRoot> roots;  // Intel's, and those the configuration names
  FindCollateral collateral;
  bool accept_expired_collateral = false;  // expiry becomes the claim collateral_expired instead of a failure
  std::uint32_t min_tcb_eval_num = 0;
  std::shared_ptr<const GpuJudge> gpu;  // of GPU evidence beside quotes; required
};
[[nodiscard]] std::unique_ptr<TeeVerifier> tdx_verifier(TdxOptions options);

}  // namespace cairn::trustee::as
