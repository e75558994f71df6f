// TDX evidence: the quote (evidence/tdx), its bindings, the event logs (evidence/eventlog), and the claims of every
// profile together. spec/trustee.md §9.1-§9.3, spec/guest.md §5.2, §11.4.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "evidence/tdx/collateral.h"
#include "evidence/tdx/trust_root.h"
#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

// The collateral to judge a quote with. `unavailable` where there is none. Any thread.
using FindCollateral = std::function<Result<std::shared_ptr<const tdx::Collateral>>(ByteView quote)>;

// Collateral bundles (evidence/tdx/collateral.h) in files, one per platform; each is read again when it has changed.
// The one whose TCB info names the quote's FMSPC is chosen.
[[nodiscard]] FindCollateral collateral_files(std::vector<std::filesystem::path> files);

struct TdxOptions {
  std::vector<tdx::TrustRoot> roots;  // Intel's, and those the configuration names
  FindCollateral collateral;
  bool accept_expired_collateral = false;  // expiry becomes the claim collateral_expired instead of a failure
  std::uint32_t min_tcb_eval_num = 0;
};
[[nodiscard]] std::unique_ptr<TeeVerifier> tdx_verifier(TdxOptions options);

}  // namespace cairn::trustee::as
