// Any text as a collateral bundle, and any bytes as each of its parts: a verdict comes out, never authentic.
#include <cstdlib>

#include "evidence/tdx/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static tdx::Verifier verifier({tdx::intel_root()});
  const tdx::Options options{.time = {1781481600}};
  if (const auto c = tdx::parse_collateral(text)) {
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
