#include "crypto/jose.h"

#include <array>
#include <cmath>

#include "base/encoding.h"

namespace cairn::crypto {
namespace {

struct AlgInfo {
  JwsAlg alg;
  std::string_view name;
  Signature signature;
  Hash hash;
};
constexpr std::array<AlgInfo, 10> kAlgs{{
    {JwsAlg::rs256, "RS256", Signature::rsa_pkcs1, Hash::sha256},
    {JwsAlg::rs384, "RS384", Signature::rsa_pkcs1, Hash::sha384},
    {JwsAlg::rs512, "RS512", Signature::rsa_pkcs1, Hash::sha512},
    {JwsAlg::ps256, "PS256", Signature::rsa_pss, Hash::sha256},
    {JwsAlg::ps384, "PS384", Signature::rsa_pss, Hash::sha384},
    {JwsAlg::ps512, "PS512", Signature::rsa_pss, Hash::sha512},
    {JwsAlg::es256, "ES256", Signature::ecdsa_raw, Hash::sha256},
    {JwsAlg::es384, "ES384", Signature::ecdsa_raw, Hash::sha384},
    {JwsAlg::es512, "ES512", Signature::ecdsa_raw, Hash::sha512},
    {JwsAlg::eddsa, "EdDSA", Signature::eddsa, Hash::sha512},
}};

const AlgInfo& info(JwsAlg alg) { return kAlgs[static_cast<std::size_t>(alg)]; }

Result<Json> parse_object(ByteView bytes, std::size_t limit, std::string_view what) {
  auto value = parse_json(as_text(bytes), {.bytes = limit, .depth = JoseLimits::depth});
  if (!value) return fail(std::move(value.error()).in(what));
  if (!value->is_object()) return fail(ErrorCode::malformed, std::string(what) + " is not a JSON object");
  return value;
}

// The number of seconds in claim `name`, nullopt where absent. NumericDate may carry a fraction (RFC 7519 §2).
Result<std::optional<std::int64_t>> seconds(const Json& claims, const char* name) {
  const auto it = claims.find(name);
  if (it == claims.end()) return std::optional<std::int64_t>{};
  constexpr double limit = 253402300800.0;  // year 10000
  if (it->is_number()) {
    const double value = it->get<double>();
    if (std::isfinite(value) && value >= 0 && value < limit) return static_cast<std::int64_t>(std::floor(value));
  }
  return fail(ErrorCode::malformed, name, "the claim is not a time in seconds since 1970");
}

}  // namespace

std::string_view jws_alg_name(JwsAlg alg) { return info(alg).name; }

Result<JwsAlg> jws_alg_by_name(std::string_view name) {
  for (const auto& entry : kAlgs)
    if (entry.name == name) return entry.alg;
  return fail(
      ErrorCode::unsupported, "alg",
      "signature algorithm \"" + std::string(name.substr(0, 32)) + "\" is not accepted; RS*, PS*, ES* and EdDSA are");
}

bool key_fits(KeyType key, JwsAlg alg) {
  switch (alg) {
    case JwsAlg::es256: return key == KeyType::ec_p256;
    case JwsAlg::es384: return key == KeyType::ec_p384;
    case JwsAlg::es512: return key == KeyType::ec_p521;
    case JwsAlg::eddsa: return key == KeyType::ed25519;
    default: return key == KeyType::rsa;
  }
}

Result<Json> Jws::claims() const { return parse_object(payload, JoseLimits::token_bytes, "the token's payload"); }

Result<Jws> parse_jws(std::string_view compact) {
  if (compact.size() > JoseLimits::token_bytes)
    return fail(ErrorCode::too_large, "the token is larger than " + std::to_string(JoseLimits::token_bytes) + " bytes");
  const auto first = compact.find('.');
  const auto second = first == std::string_view::npos ? first : compact.find('.', first + 1);
  if (second == std::string_view::npos || compact.find('.', second + 1) != std::string_view::npos)
    return fail(ErrorCode::malformed, "a compact token has three parts separated by dots");
  CAIRN_TRY(const Bytes header, from_base64url(compact.substr(0, first)));
  CAIRN_TRY(Json parsed, parse_object(header, JoseLimits::header_bytes, "the token's header"));
  for (const char* refused : {"crit", "b64"})
    if (parsed.contains(refused))
      return fail(ErrorCode::unsupported, refused, "the token's header demands an extension that is not supported");
  const auto alg_name = parsed.find("alg");
  if (alg_name == parsed.end() || !alg_name->is_string())
    return fail(ErrorCode::malformed, "alg", "the token's header names no algorithm");
  CAIRN_TRY(const JwsAlg alg, jws_alg_by_name(alg_name->get_ref<const std::string&>()));
  CAIRN_TRY(Bytes payload, from_base64url(compact.substr(first + 1, second - first - 1)));
  CAIRN_TRY(Bytes signature, from_base64url(compact.substr(second + 1)));
  return Jws{alg, std::move(parsed), std::move(payload), std::move(signature), std::string(compact.substr(0, second))};
}

Result<void> verify_jws(const Jws& jws, const PublicKey& key, std::optional<JwsAlg> only) {
  if (only && *only != jws.alg)
    return fail(ErrorCode::crypto_failed, "alg",
                "the token is signed with " + std::string(jws_alg_name(jws.alg)) + ", its key is for " +
                    std::string(jws_alg_name(*only)));
  if (!key_fits(key.type(), jws.alg))
    return fail(ErrorCode::crypto_failed, "alg", "the token's algorithm does not belong to its key");
  const auto& how = info(jws.alg);
  if (!key.verify(how.signature, how.hash, as_bytes(jws.signing_input), jws.signature))
    return fail(ErrorCode::crypto_failed, "signature", "the token's signature does not verify");
  return {};
}

Result<std::string> sign_jws(const Json& header, ByteView payload, const PrivateKey& key, JwsAlg alg) {
  if (!header.is_object()) return fail(ErrorCode::invalid_argument, "a token header is an object");
  if (!key_fits(key.type(), alg))
    return fail(ErrorCode::invalid_argument, "alg", "the signing key does not fit the algorithm");
  Json rest = header;
  std::string text = "{";
  if (const auto typ = rest.find("typ"); typ != rest.end()) {
    text += "\"typ\":" + compact_json(*typ) + ",";
    rest.erase("typ");
  }
  rest.erase("alg");
  text += "\"alg\":\"" + std::string(jws_alg_name(alg)) + "\"";
  if (!rest.empty())
    text += "," + compact_json(rest).substr(1);
  else
    text += "}";
  std::string token = base64url(as_bytes(text)) + "." + base64url(payload);
  const auto& how = info(alg);
  CAIRN_TRY(const Bytes signature, key.sign(how.signature, how.hash, as_bytes(token)));
  token += "." + base64url(signature);
  return token;
}

Result<void> check_times(const Json& claims, Time now, TimeRules rules) {
  if (!claims.is_object()) return fail(ErrorCode::malformed, "the claims are not an object");
  CAIRN_TRY(const auto exp, seconds(claims, "exp"));
  CAIRN_TRY(const auto nbf, seconds(claims, "nbf"));
  CAIRN_TRY(const auto iat, seconds(claims, "iat"));
  if (!exp && rules.require_exp)
    return fail(ErrorCode::unauthenticated, "exp", "the token does not say when it expires");
  if (exp && *exp + rules.leeway <= now.seconds)
    return fail(ErrorCode::unauthenticated, "exp", "the token expired at " + rfc3339({*exp}));
  if (nbf && rules.check_nbf && *nbf > now.seconds + rules.leeway)
    return fail(ErrorCode::unauthenticated, "nbf", "the token is not valid before " + rfc3339({*nbf}));
  if (iat && rules.check_iat && *iat > now.seconds + rules.leeway)
    return fail(ErrorCode::unauthenticated, "iat", "the token was issued in the future, at " + rfc3339({*iat}));
  return {};
}

}  // namespace cairn::crypto
