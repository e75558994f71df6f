// Attestation tokens as a relying party reads them: who signed, until when, about which evidence, with which verdict
// (spec/trustee.md §3.11 and §5, spec/tng.md §5.3). Pure: time and trust come as arguments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/jose.h"

namespace cairn::token {

// Where the authority to sign tokens comes from.
struct Trust {
  std::vector<crypto::Certificate> roots =
      {};                              // the header's jwk.x5c must lead to one of these, and carry the jwk's key
  std::vector<crypto::Jwk> keys = {};  // for tokens whose header names a `kid` and no jwk; each needs an alg
  // Accept a header's jwk that nothing vouches for. Only where the token came straight from an attestation service over
  // a connection that is trusted by itself, and then said loudly: anybody can sign such a token.
  bool embedded_key = false;
};

enum class Kind { simple, ear };

// One appraised component: "cpu0", "gpu0", ... of an EAR; a Simple token has one, named after its tee.
struct Submodule {
  std::string name;
  std::string status;  // "affirming", "warning", "contraindicated", "none"; Simple: "affirming"
  std::vector<std::string> policy_ids;
  Json trust_vector;                 // EAR: object of integers; Simple: {}
  std::vector<std::string> reasons;  // EAR: why it is not affirming, a sentence each, where the issuer says
};

// A token whose signature, signer and times were checked.
struct Verified {
  Kind kind;
  bool signer_trusted = false;  // false only under Trust::embedded_key
  Json claims;
  Time issued, expires;    // issued 0 when the token has no iat
  std::string tee;         // "tdx", "sample", ...: of the first cpu component
  bool simulated = false;  // evidence under a simulator's root: never shown as genuine
  std::vector<Submodule> submodules;
  Json runtime_data;  // the structured runtime data that the evidence is bound to; null when none
  Json evidence;      // claims about the cpu evidence: EAR annotated evidence; Simple: flattened map
  // The TEE key that answers are encrypted to (runtime_data."tee-pubkey"), or null.
  [[nodiscard]] const Json& tee_pubkey() const;
};

// Three parts, algorithm of the key, signature, signer under `trust`, `exp` required and in the future, kind
// recognised. Errors: malformed; crypto_failed ("signature", "signer"); unauthenticated ("exp", "nbf").
[[nodiscard]] Result<Verified> verify(std::string_view jwt, const Trust& trust, Time now, std::int64_t leeway = 60);

// The same for the claims of a token that the caller has just signed itself: only times and kind are looked at.
[[nodiscard]] Result<Verified> own(Json claims, Time now);

// What a relying party demands of a verified token.
struct Demands {
  std::vector<std::string> policy_ids =
      {};                              // Simple: all must be reported; EAR: every submodule's policy is one of them
  const Json* runtime_data = nullptr;  // the evidence must be bound to exactly this (all members, by value)
  bool runtime_data_subset = false;    // ... to at least these members, at every level
  bool allow_simulated = false;
};
// EAR: every submodule is affirming. The message gives the issuer's first reason. evidence_rejected with `where`
// "status", "policy", "runtime_data" or "simulated".
[[nodiscard]] Result<void> satisfies(const Verified& token, const Demands& demands);

}  // namespace cairn::token
