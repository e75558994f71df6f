// Collateral whose signatures have been verified under one root: what the second and later quotes are judged against.
#pragma once

#include <memory>

#include "evidence/tdx/chain.h"
#include "evidence/tdx/tcb.h"

namespace cairn::tdx {

// Immutable once made; everything points into `source` and the chains' own bytes.
struct CollateralSet {
  explicit CollateralSet(const Collateral& c) : source(c) {}
  CollateralSet(const CollateralSet&) = delete;
  CollateralSet& operator=(const CollateralSet&) = delete;

  const Collateral source;
  const RootKey* root = nullptr;
  pki::Crl root_crl, pck_crl;
  Chain tcb_signing, pck_crl_issuer;
  std::optional<Chain> other_qe_signing;  // where it is another text than the TCB signing chain
  TcbInfo tcb_info;
  QeIdentity qe_identity;

  [[nodiscard]] const Chain& qe_signing() const { return other_qe_signing ? *other_qe_signing : tcb_signing; }
};

// Steps 1 to 5 of §2.5. `roots` must outlive the set.
[[nodiscard]] Checked<std::unique_ptr<const CollateralSet>> load_collateral(const std::vector<RootKey>& roots,
                                                                            const Collateral& source,
                                                                            AuthorityKeys& keys, TimeJudge& time);
// What of steps 1 to 5 depends on the time, for a set loaded before.
[[nodiscard]] Checked<> judge_times(const CollateralSet& set, TimeJudge& time);
// Dates and numbers of §2.11; `pck` is the quote's chain, if any.
[[nodiscard]] CollateralFacts facts(const CollateralSet& set, const Chain* pck, const TimeJudge& time);

}  // namespace cairn::tdx
