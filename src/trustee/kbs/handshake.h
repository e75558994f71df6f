// Bodies of the handshake, both protocol versions: parsed, and turned into a request to the attestation service.
// spec/trustee.md §3.2, §3.3; spec/guest.md §4.2-§4.4. No state.
#pragma once

#include <string_view>

#include "trustee/as/request.h"
#include "trustee/kbs/sessions.h"

namespace cairn::trustee::kbs {

struct AuthRequest {
  Protocol protocol;
  std::string tee;
};
// invalid_argument for another version than 0.1.0 and 0.4.0, or an unknown TEE.
[[nodiscard]] Result<AuthRequest> parse_auth(std::string_view body);

// The attest body of `session` as a request whose evidences are bound to the session's nonce and the client's key.
[[nodiscard]] as::Outcome<as::AttestationRequest> parse_attest(std::string_view body, const Session& session);

// How a failed handshake is answered: 500 in 0.1.0, 401 in 0.4.0 (clients read the detail of 401).
[[nodiscard]] int failure_status(Protocol protocol);

}  // namespace cairn::trustee::kbs
