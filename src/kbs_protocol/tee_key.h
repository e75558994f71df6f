// The key pair to which a key broker encrypts what it releases. It lives in the TEE and as long as its client.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/secret.h"
#include "crypto/keys.h"
#include "kbs_protocol/rcar.h"

namespace cairn::kbs {

enum class TeeKeyKind {
  rsa1_5,        // P1: RSA-2048, PKCS#1 v1.5 key wrapping
  ecdh_p256,     // P2 default
  ecdh_p521,     // P2
  rsa_oaep_256,  // P2: RSA-2048
};
// "ECDH-ES+A256KW-P256", "ECDH-ES+A256KW-P521", "RSA-OAEP-256" (configuration of AA) and "RSA1_5".
[[nodiscard]] Result<TeeKeyKind> tee_key_kind(std::string_view name);
[[nodiscard]] TeeKeyKind default_tee_key(Profile profile);

class TeeKey {
 public:
  // RSA generation takes about a tenth of a second: not on an event loop.
  [[nodiscard]] static Result<TeeKey> generate(TeeKeyKind kind);
  // The pair of AA's GetToken("kbs"): the algorithm follows from the key's type and the profile.
  [[nodiscard]] static Result<TeeKey> from_pem(Profile profile, std::string_view pem);

  // "tee-pubkey" as it is sent and hashed.
  [[nodiscard]] const Json& public_jwk() const { return jwk_; }
  // P1: PKCS#1 (RSA); P2: PKCS#8 (EC), PKCS#1 (RSA).
  [[nodiscard]] Secret pem() const;
  // Opens the body of a resource answer in either form (spec/guest.md §4.5). malformed, or crypto_failed where it was
  // not made for this key or was altered.
  [[nodiscard]] Result<Secret> open(std::string_view answer_body) const;

 private:
  TeeKey(crypto::PrivateKey key, TeeKeyKind kind, Json jwk) : key_(std::move(key)), kind_(kind), jwk_(std::move(jwk)) {}
  [[nodiscard]] static Result<TeeKey> adopt(crypto::PrivateKey key, TeeKeyKind kind);
  crypto::PrivateKey key_;
  TeeKeyKind kind_;
  Json jwk_;
};

}  // namespace cairn::kbs
