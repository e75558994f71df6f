// RCAR (Request, Challenge, Attestation, Response) as data, both wire profiles: what the client sends, what it hashes
// into the evidence, what it accepts. No I/O. spec/guest.md §4.2-§4.4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/json.h"
#include "crypto/hash.h"

namespace cairn::kbs {

enum class Profile {
  p1,  // protocol 0.1.0: Trustee 1.5, RSA1_5 key wrapping
  p2,  // protocol 0.4.0: canonical runtime data, several devices, RFC 7516 responses
};
[[nodiscard]] std::string_view protocol_version(Profile profile);  // "0.1.0", "0.4.0"
// "p1", "0.1.0", "p2", "0.4.0".
[[nodiscard]] Result<Profile> parse_profile(std::string_view text);

// Body of POST auth.
[[nodiscard]] std::string auth_body(Profile profile, std::string_view tee);

struct Challenge {
  std::string nonce = {};
  crypto::Hash hash = crypto::Hash::sha384;
};
// The answer to auth. `extra-params` empty, absent or not JSON means no preference, hence SHA-384; a selected
// algorithm that is not a string or not one we offered is unsupported.
[[nodiscard]] Result<Challenge> parse_challenge(Profile profile, std::string_view body);

// The exact text whose hash goes into the report data of the primary TEE. `additional_evidence` is the text sent in
// P2 ("" without devices) and is ignored in P1.
[[nodiscard]] Result<std::string> runtime_data(Profile profile, const Challenge& challenge, const Json& tee_pubkey,
                                               std::string_view additional_evidence);
// P2: the text bound by each additional device.
[[nodiscard]] Result<std::string> device_runtime_data(const Challenge& challenge, const Json& tee_pubkey);

struct Attestation {
  std::string evidence = {};                       // the primary TEE's evidence JSON text
  std::string additional_evidence = {};            // P2: JSON text of tee -> evidence, or ""
  std::optional<std::string> init_data_toml = {};  // P2
};
// Body of POST attest. P2 refuses evidence that is not JSON (malformed): it travels as a JSON value.
[[nodiscard]] Result<std::string> attest_body(Profile profile, const Challenge& challenge, const Json& tee_pubkey,
                                              const Attestation& attestation);
// The token of the answer to attest: a compact JWS by shape (three base64url parts).
[[nodiscard]] Result<std::string> parse_attest_answer(std::string_view body);

// Body of POST {as}/attestation for a token straight from the attestation service (§4.7). The P1 evidence binds no
// runtime data, as the wire of that profile has no member for it.
struct AttestationRequest {
  std::string tee = {};
  std::string evidence = {};             // evidence JSON text
  std::string additional_evidence = {};  // P2
  std::optional<std::string> additional_data = {};
  std::vector<std::string> policy_ids = {};
};
[[nodiscard]] Result<std::string> attestation_service_body(Profile profile, const AttestationRequest& request);

// What a refusing server said: {"type":…,"detail":…} or plain text, cut and made printable, as one sentence such as
// "HTTP 403 PolicyDeny: Access denied by policy".
struct Refusal {
  int status = 0;
  std::string type = {};    // last segment of the type URI, e.g. "PolicyDeny"; "" when the body was not such an object
  std::string detail = {};  // the detail, or the printable start of the body
  [[nodiscard]] std::string text() const;
};
[[nodiscard]] Refusal parse_refusal(int status, std::string_view body);

}  // namespace cairn::kbs
