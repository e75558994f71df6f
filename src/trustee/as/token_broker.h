// Attestation tokens written: Simple (RS384) and EAR (ES256). spec/trustee.md §5.
#pragma once

#include <string>
#include <vector>

#include "trustee/as/authority.h"
#include "trustee/as/policies.h"
#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

// One piece of evidence after its verifier: the claims, and what the request bound to it.
struct Appraised {
  std::string tee;
  DeviceClass device = DeviceClass::cpu;
  Json claims;          // with report_data and init_data
  Json runtime_claims;  // structured runtime data, or null
  Json init_claims;     // of the init data, or null
};

struct TokenOptions {
  std::int64_t duration_seconds = 300;
  crypto::X5cForm x5c = crypto::X5cForm::base64url;
  std::string issuer = "CoCo-Attestation-Service";
  std::string developer = "https://confidentialcontainers.org";
  std::string build = "attestation-service 0.1.0";
  std::string profile = "tag:github.com,2024:confidential-containers/Trustee";
};

// §5.1: objects become dotted keys below the tee's name, arrays stay whole; report_data and init_data unprefixed.
[[nodiscard]] Json flatten(const std::vector<Appraised>& evidences);
// §5.2: the annotated evidence of one submodule, which is also its policy's input.
[[nodiscard]] Json annotated_evidence(const Appraised& appraised);
// §5.2: the worst tier of a trust vector: "none", "affirming", "warning", "contraindicated".
[[nodiscard]] std::string_view ear_status(const Json& trust_vector);

// Evaluates every policy on the flat claims; each must allow. The claims of the token.
[[nodiscard]] Outcome<Json> simple_claims(const std::vector<Appraised>& evidences,
                                          const std::vector<std::shared_ptr<const LoadedPolicy>>& policies,
                                          const PolicyData::View& data, const TokenOptions& options, Time now);
// Evaluates the policy once per submodule; a bad verdict is still a token. Submodules carry "cairn.reasons" where the
// policy gives reasons.
[[nodiscard]] Outcome<Json> ear_claims(const std::vector<Appraised>& evidences, const LoadedPolicy& policy,
                                       const PolicyData::View& data, const TokenOptions& options, Time now);
[[nodiscard]] Result<std::string> sign(const Json& claims, const Signer& signer);

}  // namespace cairn::trustee::as
