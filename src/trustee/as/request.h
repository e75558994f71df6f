// Attestation requests in the forms of both generations. spec/trustee.md §4.1, §4.2, §4.4.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crypto/hash.h"
#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

enum class Form { old_form, new_form };  // one TEE per request; verification_requests[]

// What the evidence is bound to, and the claims it gives.
struct Bound {
  std::optional<Bytes> expected;  // nullopt: the request named nothing
  Json claims;                    // structured data, or null
};
struct Evidence {
  std::string tee;
  Json evidence;
  Bound runtime, init;
};
struct AttestationRequest {
  Form form = Form::new_form;
  std::vector<Evidence> evidences;      // at least one
  std::vector<std::string> policy_ids;  // at least one; "default" where the request named none
};

// The body of POST /attestation; the form is decided by the presence of "verification_requests".
[[nodiscard]] Outcome<AttestationRequest> parse_attestation_request(std::string_view body);

// The hash of structured data's canonical JSON.
[[nodiscard]] Outcome<Bound> bind_structured(const Json& data, crypto::Hash hash);
// TOML init data: digest of the whole text with its own algorithm; the claims are its table [data].
[[nodiscard]] Outcome<Bound> bind_init_toml(std::string_view text);

}  // namespace cairn::trustee::as
