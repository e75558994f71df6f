// JSON Object Signing and Encryption: JWK (RFC 7517), compact JWS (RFC 7515), JWT times (RFC 7519), and the two
// encrypted answers of the Key Broker Service (spec/trustee.md §3.4). Nothing here decides whom to trust.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "crypto/keys.h"
#include "crypto/x509.h"

namespace cairn::crypto {

struct JoseLimits {
  static constexpr std::size_t token_bytes = 1U << 20;    // compact JWS; tokens that carry event logs reach 55 KiB
  static constexpr std::size_t header_bytes = 64U << 10;  // decoded
  static constexpr std::size_t depth = 32;
  static constexpr std::size_t x5c_certificates = 8;
  static constexpr std::size_t jwk_set_keys = 64;
  static constexpr std::size_t jwe_plaintext = 4U << 20;
};

// Signature algorithms of RFC 7518 and RFC 8037. "none" and the HMAC family do not exist here.
enum class JwsAlg { rs256, rs384, rs512, ps256, ps384, ps512, es256, es384, es512, eddsa };
[[nodiscard]] std::string_view jws_alg_name(JwsAlg alg);              // "RS384"
[[nodiscard]] Result<JwsAlg> jws_alg_by_name(std::string_view name);  // unsupported for every other name
[[nodiscard]] bool key_fits(KeyType key, JwsAlg alg);                 // ES256 with P-256 only, and so on

// ------------------------------------------------------------------------------------------------------------ JWK

// A public key as a JWK names it. Members for private keys are refused by parse_jwk.
struct Jwk {
  PublicKey key;
  std::string alg;               // "" when absent
  std::string kid;               // "" when absent
  std::vector<Certificate> x5c;  // leaf first; not verified here
};

// kty RSA (2048 to 8192 bits), EC (P-256, P-384, P-521; coordinates left-padded where a producer dropped zeros) or
// OKP/Ed25519. x5c entries in either base64 alphabet, padding optional (producers disagree, spec §3.11).
[[nodiscard]] Result<Jwk> parse_jwk(const Json& jwk);
// {"keys":[…]}: keys of unknown type are left out (RFC 7517 §5), broken ones of known type are errors.
[[nodiscard]] Result<std::vector<Jwk>> parse_jwk_set(const Json& set);

enum class X5cForm { base64, base64url };  // RFC 7517; what Trustee 1.5.2 to 1.9 emits
// Coordinates are emitted at field length; `alg` is left out when empty.
[[nodiscard]] Json emit_jwk(const PublicKey& key, std::string_view alg, const std::vector<Certificate>& x5c = {},
                            X5cForm form = X5cForm::base64url);
// RFC 7638 thumbprint with SHA-256, base64url.
[[nodiscard]] std::string jwk_thumbprint(const PublicKey& key);
// A private EC or RSA JWK (for test vectors and key files). The caller wipes `jwk`.
[[nodiscard]] Result<PrivateKey> parse_private_jwk(const Json& jwk);

// ------------------------------------------------------------------------------------------------------------ JWS

// The three parts of a compact JWS, decoded but not verified.
struct Jws {
  JwsAlg alg;
  Json header;  // an object without "crit" and "b64"
  Bytes payload;
  Bytes signature;
  std::string signing_input;  // "header.payload" as received
  // The payload as a JSON object: what a JWT carries.
  [[nodiscard]] Result<Json> claims() const;
};
[[nodiscard]] Result<Jws> parse_jws(std::string_view compact);
// crypto_failed unless the signature is `key`'s under the header's algorithm. The caller must know that it may trust
// `key`, and passes `only` where the key belongs to one algorithm.
[[nodiscard]] Result<void> verify_jws(const Jws& jws, const PublicKey& key, std::optional<JwsAlg> only = std::nullopt);
// header.alg is set from `alg`; members are written in the order typ, alg, then the rest sorted.
[[nodiscard]] Result<std::string> sign_jws(const Json& header, ByteView payload, const PrivateKey& key, JwsAlg alg);

// ----------------------------------------------------------------------------------------------------- JWT times

struct TimeRules {
  std::int64_t leeway = 60;  // seconds, for exp, and for nbf and iat in the future
  bool require_exp = true;
  bool check_nbf = true;   // when present
  bool check_iat = false;  // when present: not in the future
};
// unauthenticated with `where` "exp", "nbf" or "iat"; malformed when a claim present is not a number of seconds.
[[nodiscard]] Result<void> check_times(const Json& claims, Time now, TimeRules rules = {});

// ------------------------------------------------------------------------------------ answers of the Key Broker

// The two shapes of an encrypted resource (spec/trustee.md §3.4, spec/guest.md §4.5).
enum class AnswerForm {
  kbs_0_1_0,  // five strings, "protected" is JSON text, tag appended to the ciphertext, RSA1_5 only
  rfc7516,    // flattened JWE: RSA-OAEP-256, ECDH-ES+A256KW (P-256, P-521), and RSA1_5 for old keys
};
// Encrypts for the TEE key, whose "alg" must be one of the form's. The content key is random; A256GCM.
[[nodiscard]] Result<Json> encrypt_answer(const Jwk& tee, ByteView plaintext, AnswerForm form);
[[nodiscard]] Result<Json> encrypt_answer(const Json& tee_pubkey, ByteView plaintext, AnswerForm form);
// Opens either form (told apart by "protected"). `alg` is the algorithm that the holder announced in its own
// tee-pubkey: an answer under another one is refused, so nobody chooses RSA1_5 for a key made for ECDH (but RSA-OAEP,
// in the 0.1.0 form, for one made for RSA1_5: spec/guest.md §4.5). With RSA1_5 a wrong padding is indistinguishable
// from a wrong content key: crypto_failed.
[[nodiscard]] Result<Secret> decrypt_answer(const Json& answer, const PrivateKey& tee_key, std::string_view alg);
// The "tee-pubkey" of a key pair: alg "RSA1_5", "RSA-OAEP-256" or "ECDH-ES+A256KW".
[[nodiscard]] Result<Json> tee_pubkey(const PublicKey& key, std::string_view alg);

}  // namespace cairn::crypto
