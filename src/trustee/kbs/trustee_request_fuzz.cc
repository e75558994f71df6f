// Every body that strangers or administrators send to the Trustee, up to where evidence reaches its verifier.
#include "trustee/as/request.h"
#include "trustee/as/sample_verifier.h"
#include "trustee/kbs/handshake.h"
#include "trustee/kbs/resources.h"
#include "trustee/rvps/extract.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  using namespace cairn::trustee;
  const auto text = as_text({data, size});
  (void)as::parse_attestation_request(text);
  (void)trustee::kbs::parse_auth(text);
  (void)trustee::kbs::parse_resource_name(text);
  (void)rvps::extract(text, {1'800'000'000});
  static const auto verifier = as::sample_verifier();
  for (const auto protocol : {trustee::kbs::Protocol::v0_1_0, trustee::kbs::Protocol::v0_4_0}) {
    const trustee::kbs::Session session{"id", "sample", "n", protocol, {}, nullptr};
    const auto request = trustee::kbs::parse_attest(text, session);
    if (!request) continue;
    for (const auto& evidence : request->evidences)
      (void)verifier->verify(evidence.evidence, {evidence.runtime.expected, evidence.init.expected}, {}, nullptr);
  }
  return 0;
}
