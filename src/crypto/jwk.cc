#include <algorithm>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "crypto/jose.h"

namespace cairn::crypto {
namespace {

// The text of member `name`; malformed where absent or not a string.
Result<std::string> text_of(const Json& jwk, const char* name) {
  const auto it = jwk.find(name);
  if (it == jwk.end() || !it->is_string())
    return fail(ErrorCode::malformed, name, "the key lacks this member, or it is not text");
  return it->get<std::string>();
}
Result<std::string> optional_text_of(const Json& jwk, const char* name) {
  if (!jwk.contains(name)) return std::string();
  return text_of(jwk, name);
}
Result<Bytes> number_of(const Json& jwk, const char* name) {
  CAIRN_TRY(const std::string text, text_of(jwk, name));
  auto bytes = from_base64url(text);
  if (!bytes || bytes->empty()) return fail(ErrorCode::malformed, name, "not a base64url number");
  return bytes;
}
// As number_of, at exactly `size` bytes: shorter values are padded on the left.
Result<Bytes> field_of(const Json& jwk, const char* name, std::size_t size) {
  CAIRN_TRY(Bytes bytes, number_of(jwk, name));
  if (bytes.size() > size) return fail(ErrorCode::malformed, name, "longer than the curve's field");
  bytes.insert(bytes.begin(), size - bytes.size(), 0);
  return bytes;
}

struct NamedCurve {
  std::string_view name;
  KeyType type;
  std::size_t size;
};
constexpr NamedCurve kNamedCurves[] = {
    {"P-256", KeyType::ec_p256, 32}, {"P-384", KeyType::ec_p384, 48}, {"P-521", KeyType::ec_p521, 66}};

Result<NamedCurve> curve_of(const Json& jwk) {
  CAIRN_TRY(const std::string name, text_of(jwk, "crv"));
  for (const auto& curve : kNamedCurves)
    if (curve.name == name) return curve;
  return fail(ErrorCode::unsupported, "crv", "curves are P-256, P-384 and P-521");
}

Result<PublicKey> key_of(const Json& jwk, std::string_view kty) {
  if (kty == "RSA") {
    CAIRN_TRY(const Bytes n, number_of(jwk, "n"));
    CAIRN_TRY(const Bytes e, number_of(jwk, "e"));
    return PublicKey::from_rsa(n, e);
  }
  if (kty == "EC") {
    CAIRN_TRY(const NamedCurve curve, curve_of(jwk));
    CAIRN_TRY(const Bytes x, field_of(jwk, "x", curve.size));
    CAIRN_TRY(const Bytes y, field_of(jwk, "y", curve.size));
    return PublicKey::from_ec_point(curve.type, x, y);
  }
  if (kty == "OKP") {
    CAIRN_TRY(const std::string crv, text_of(jwk, "crv"));
    if (crv != "Ed25519") return fail(ErrorCode::unsupported, "crv", "of the OKP curves only Ed25519 is supported");
    CAIRN_TRY(const Bytes x, number_of(jwk, "x"));
    return PublicKey::from_ed25519(x);
  }
  return fail(ErrorCode::unsupported, "kty", "key types are RSA, EC and OKP");
}

Result<std::vector<Certificate>> chain_of(const Json& jwk) {
  std::vector<Certificate> chain;
  const auto it = jwk.find("x5c");
  if (it == jwk.end()) return chain;
  if (!it->is_array()) return fail(ErrorCode::malformed, "x5c", "not an array");
  if (it->size() > JoseLimits::x5c_certificates) return fail(ErrorCode::too_large, "x5c", "too many certificates");
  for (const auto& entry : *it) {
    if (!entry.is_string()) return fail(ErrorCode::malformed, "x5c", "an entry is not text");
    CAIRN_TRY(const Bytes der, from_base64_lenient(entry.get_ref<const std::string&>()));
    CAIRN_TRY(Certificate certificate, Certificate::from_der(der));
    chain.push_back(std::move(certificate));
  }
  return chain;
}

// The members that name the key itself (RFC 7638 §3.2).
Json required_members(const PublicKey& key) {
  if (key.type() == KeyType::rsa) {
    const auto numbers = key.rsa_numbers();
    return {{"kty", "RSA"}, {"n", base64url(numbers->modulus)}, {"e", base64url(numbers->exponent)}};
  }
  for (const auto& curve : kNamedCurves)
    if (curve.type == key.type()) {
      const auto point = key.ec_point();
      return {{"kty", "EC"}, {"crv", curve.name}, {"x", base64url(point->x)}, {"y", base64url(point->y)}};
    }
  return {{"kty", "OKP"},
          {"crv", key.type() == KeyType::ed25519 ? "Ed25519" : "X25519"},
          {"x", base64url(key.raw().value_or(Bytes{}))}};
}

void der_integer(Bytes& out, ByteView number) {
  while (number.size() > 1 && number[0] == 0) number = number.subspan(1);
  const bool pad = number.empty() || number[0] >= 0x80;
  const std::size_t size = number.size() + (pad ? 1 : 0);
  out.push_back(0x02);
  if (size >= 0x80) {
    out.push_back(0x82);
    out.push_back(static_cast<std::uint8_t>(size >> 8));
  }
  out.push_back(static_cast<std::uint8_t>(size));
  if (pad) out.push_back(0);
  append(out, number);
}

Result<PrivateKey> rsa_private(const Json& jwk) {
  Bytes body;
  der_integer(body, Bytes{0});
  for (const char* name : {"n", "e", "d", "p", "q", "dp", "dq", "qi"}) {
    CAIRN_TRY(const Bytes number, number_of(jwk, name));
    if (number.size() > 1024) return fail(ErrorCode::too_large, name, "RSA keys have at most 8192 bits");
    der_integer(body, number);
  }
  Bytes der{0x30, 0x82, static_cast<std::uint8_t>(body.size() >> 8), static_cast<std::uint8_t>(body.size())};
  append(der, body);
  std::string pem = "-----BEGIN RSA PRIVATE KEY-----\n";
  std::string text = base64(der);
  for (std::size_t at = 0; at < text.size(); at += 64) pem += text.substr(at, 64) + "\n";
  pem += "-----END RSA PRIVATE KEY-----\n";
  auto key = PrivateKey::from_pem(pem);
  for (auto* secret : {&pem, &text}) wipe(secret->data(), secret->size());
  wipe(body.data(), body.size());
  wipe(der.data(), der.size());
  return key;
}

}  // namespace

Result<Jwk> parse_jwk(const Json& jwk) {
  if (!jwk.is_object()) return fail(ErrorCode::malformed, "a key is a JSON object");
  for (const char* secret : {"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
    if (jwk.contains(secret))
      return fail(ErrorCode::malformed, secret, "a public key was expected, this is a private one");
  CAIRN_TRY(const std::string kty, text_of(jwk, "kty"));
  CAIRN_TRY(PublicKey key, key_of(jwk, kty));
  CAIRN_TRY(std::string alg, optional_text_of(jwk, "alg"));
  CAIRN_TRY(std::string kid, optional_text_of(jwk, "kid"));
  CAIRN_TRY(auto chain, chain_of(jwk));
  return Jwk{std::move(key), std::move(alg), std::move(kid), std::move(chain)};
}

Result<std::vector<Jwk>> parse_jwk_set(const Json& set) {
  const auto keys = set.is_object() ? set.find("keys") : set.end();
  if (!set.is_object() || keys == set.end() || !keys->is_array())
    return fail(ErrorCode::malformed, "keys", "a key set is an object with an array \"keys\"");
  if (keys->size() > JoseLimits::jwk_set_keys) return fail(ErrorCode::too_large, "keys", "too many keys");
  std::vector<Jwk> out;
  for (const auto& entry : *keys) {
    auto key = parse_jwk(entry);
    if (key)
      out.push_back(*std::move(key));
    else if (key.error().code != ErrorCode::unsupported)
      return fail(std::move(key.error()).in("a key of the set"));
  }
  return out;
}

Json emit_jwk(const PublicKey& key, std::string_view alg, const std::vector<Certificate>& x5c, X5cForm form) {
  Json out = required_members(key);
  if (!alg.empty()) out["alg"] = alg;
  if (!x5c.empty()) {
    Json entries = Json::array();
    for (const auto& certificate : x5c)
      entries.push_back(form == X5cForm::base64 ? base64(certificate.der()) : base64url(certificate.der()));
    out["x5c"] = std::move(entries);
  }
  return out;
}

std::string jwk_thumbprint(const PublicKey& key) {
  return base64url(sha256(as_bytes(compact_json(required_members(key)))).view());
}

Result<PrivateKey> parse_private_jwk(const Json& jwk) {
  if (!jwk.is_object()) return fail(ErrorCode::malformed, "a key is a JSON object");
  CAIRN_TRY(const std::string kty, text_of(jwk, "kty"));
  if (kty == "RSA") return rsa_private(jwk);
  if (kty != "EC") return fail(ErrorCode::unsupported, "kty", "private keys are RSA or EC");
  CAIRN_TRY(const NamedCurve curve, curve_of(jwk));
  CAIRN_TRY(Bytes d, field_of(jwk, "d", curve.size));
  auto key = PrivateKey::from_ec_scalar(curve.type, d);
  wipe(d.data(), d.size());
  return key;
}

}  // namespace cairn::crypto
