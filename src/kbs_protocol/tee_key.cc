#include "kbs_protocol/tee_key.h"

#include <array>

#include "base/encoding.h"
#include "base/log.h"
#include "crypto/jose.h"
#include "kbs_protocol/limits.h"

namespace cairn::kbs {
namespace {

struct KindNames {
  TeeKeyKind kind;
  std::string_view configured, alg;
};
constexpr std::array kKinds{
    KindNames{TeeKeyKind::rsa1_5, "RSA1_5", "RSA1_5"},
    KindNames{TeeKeyKind::ecdh_p256, "ECDH-ES+A256KW-P256", "ECDH-ES+A256KW"},
    KindNames{TeeKeyKind::ecdh_p521, "ECDH-ES+A256KW-P521", "ECDH-ES+A256KW"},
    KindNames{TeeKeyKind::rsa_oaep_256, "RSA-OAEP-256", "RSA-OAEP-256"},
};

std::string_view alg_of(TeeKeyKind kind) {
  for (const auto& names : kKinds)
    if (names.kind == kind) return names.alg;
  return {};
}

}  // namespace

Result<TeeKeyKind> tee_key_kind(std::string_view name) {
  for (const auto& names : kKinds)
    if (names.configured == name) return names.kind;
  return fail(ErrorCode::invalid_argument, "tee_key_algorithm",
              "unknown TEE key algorithm \"" + printable(name) +
                  "\"; ECDH-ES+A256KW-P256, ECDH-ES+A256KW-P521, RSA-OAEP-256 or RSA1_5");
}

TeeKeyKind default_tee_key(Profile profile) {
  return profile == Profile::p1 ? TeeKeyKind::rsa1_5 : TeeKeyKind::ecdh_p256;
}

Result<TeeKey> TeeKey::adopt(crypto::PrivateKey key, TeeKeyKind kind) {
  CAIRN_TRY(Json jwk, crypto::tee_pubkey(key.public_key(), alg_of(kind)));
  return TeeKey(std::move(key), kind, std::move(jwk));
}

Result<TeeKey> TeeKey::generate(TeeKeyKind kind) {
  const auto type = kind == TeeKeyKind::ecdh_p256   ? crypto::KeyType::ec_p256
                    : kind == TeeKeyKind::ecdh_p521 ? crypto::KeyType::ec_p521
                                                    : crypto::KeyType::rsa;
  CAIRN_TRY(auto key, crypto::PrivateKey::generate(type, 2048));
  return adopt(std::move(key), kind);
}

Result<TeeKey> TeeKey::from_pem(Profile profile, std::string_view pem) {
  CAIRN_TRY(auto key, crypto::PrivateKey::from_pem(pem));
  switch (key.type()) {
    case crypto::KeyType::rsa:
      return adopt(std::move(key), profile == Profile::p1 ? TeeKeyKind::rsa1_5 : TeeKeyKind::rsa_oaep_256);
    case crypto::KeyType::ec_p256: return adopt(std::move(key), TeeKeyKind::ecdh_p256);
    case crypto::KeyType::ec_p521: return adopt(std::move(key), TeeKeyKind::ecdh_p521);
    default: return fail(ErrorCode::unsupported, "tee key", "a TEE key must be RSA, P-256 or P-521");
  }
}

Secret TeeKey::pem() const { return key_.type() == crypto::KeyType::rsa ? key_.traditional_pem() : key_.pkcs8_pem(); }

Result<Secret> TeeKey::open(std::string_view answer_body) const {
  CAIRN_TRY(const Json answer, parse_json(answer_body, {.bytes = limits::response_bytes * 2, .depth = 4}));
  return crypto::decrypt_answer(answer, key_, alg_of(kind_));
}

}  // namespace cairn::kbs
