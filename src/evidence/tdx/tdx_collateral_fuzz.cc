// Any text as a collateral bundle, and any bytes as each of its parts: a verdict comes out, never authentic. What
// stands behind a NUL is a quote, judged with the bundle under the root that the bundle brings: seeds pass every check
// so.
#include <algorithm>
#include <cstdlib>

#include "evidence/pki/certificate.h"
#include "evidence/tdx/verify.h"

namespace {

void judge_under_own_root(const cairn::tdx::Collateral& c, cairn::ByteView quote) {
  using namespace cairn;
  constexpr Time kSeedsHold{1795392000};  // 2026-11-23
  const auto chain = pki::parse_pem_chain(c.tcb_signing_chain);
  if (!chain || chain->empty()) return;
  const auto root = tdx::trust_root("own", chain->back());
  if (!root) return;
  tdx::Verifier verifier({*root});
  const tdx::Options options{.time = kSeedsHold};
  const tdx::Verdict verdict = verifier.verify(quote, c, options);
  if (verdict.outcome().empty()) std::abort();
  // Caches change nothing.
  if (verifier.verify(quote, c, options).outcome() != verdict.outcome()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t nul = std::min(text.find('\0'), size);
  static tdx::Verifier verifier({tdx::intel_root()});
  const tdx::Options options{.time = {1781481600}};
  if (const auto c = tdx::parse_collateral(text.substr(0, nul))) {
    judge_under_own_root(*c, ByteView(data, size).subspan(std::min(nul + 1, size)));
    if (tdx::parse_collateral(tdx::serialise(*c)).value() != *c) std::abort();
    if (verifier.verify_collateral(*c, options).outcome().empty()) std::abort();
  }
  const std::string part(text);
  const Bytes bytes(data, data + size);
  const tdx::Collateral c{.tcb_info = part,
                          .tcb_signing_chain = part,
                          .qe_identity = part,
                          .qe_signing_chain = part,
                          .root_crl = bytes,
                          .pck_crl = bytes,
                          .pck_crl_issuer_chain = part,
                          .pck_chain = part};
  if (verifier.verify(bytes, c, options).authentic()) std::abort();
  (void)tdx::crl_to_der(bytes);
  return 0;
}
