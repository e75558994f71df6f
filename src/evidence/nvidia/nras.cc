#include "evidence/nvidia/nras.h"

#include <algorithm>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "evidence/nvidia/limits.h"

namespace cairn::nvidia {
namespace {

constexpr std::string_view kClaimsVersion = "3.0";

std::unexpected<Error> no(std::string where, std::string message) {
  return fail(ErrorCode::evidence_rejected, std::move(where), std::move(message));
}

// A short text of the answer for a reader; what is long or not plain is not repeated.
std::string in_words(const Json& value) {
  if (!value.is_string()) return "(none)";
  const auto& text = value.get_ref<const std::string&>();
  const bool plain = text.size() <= 96 && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
  return plain ? text : "(unreadable)";
}

// The key that a token names. A certificate beside it must be of the same key.
Result<const crypto::Jwk*> key_of(const crypto::Jws& jws, const std::vector<crypto::Jwk>& keys) {
  const Json kid = jws.header.value("kid", Json());
  const auto key = std::ranges::find_if(keys, [&](const auto& one) { return !one.kid.empty() && kid == one.kid; });
  if (key == keys.end()) return no("signer", "key " + in_words(kid) + " is in no trusted key set");
  if (key->x5c.empty()) return &*key;
  const auto certified = key->x5c.front().public_key();
  if (!certified || !(*certified == key->key))
    return no("signer", "key " + in_words(kid) + " is not the one of its certificate");
  return &*key;
}

// Signature, issuer and times of one token.
Result<Json> claims_of(const Json& jwt, const std::vector<crypto::Jwk>& keys, std::string_view issuer, Time now) {
  if (!jwt.is_string()) return fail(ErrorCode::malformed, "token", "not a text");
  CAIRN_TRY(const crypto::Jws jws, crypto::parse_jws(jwt.get_ref<const std::string&>()));
  CAIRN_TRY(const crypto::Jwk* key, key_of(jws, keys));
  CAIRN_CHECK(crypto::verify_jws(jws, key->key, crypto::JwsAlg::es384));
  CAIRN_TRY(Json claims, jws.claims());
  if (claims.value("iss", Json()) != issuer)
    return no("iss", "the issuer is " + in_words(claims.value("iss", Json())) + ", not " + std::string(issuer));
  CAIRN_CHECK(crypto::check_times(claims, now, {.check_iat = true}));
  return claims;
}

Time seconds_of(const Json& claims, const char* name) {
  const Json value = claims.value(name, Json());
  return {value.is_number() ? static_cast<std::int64_t>(value.get<double>()) : 0};
}

Result<std::string> nonce_of(const Json& claims) {
  const Json nonce = claims.value("eat_nonce", Json());
  const auto bytes = nonce.is_string() ? from_hex(nonce.get_ref<const std::string&>()) : Result<Bytes>(Bytes());
  if (!bytes || bytes->size() != Nonce::length) return no("eat_nonce", "a token answers no nonce of 32 bytes");
  return hex(*bytes);
}

// ["DIGEST", ["SHA-256", hex]] of this compact token.
bool digest_matches(const Json& entry, const std::string& jwt) {
  if (!entry.is_array() || entry.size() != 2 || entry[0] != "DIGEST" || !entry[1].is_array() || entry[1].size() != 2)
    return false;
  const Json &name = entry[1][0], &value = entry[1][1];
  if ((name != "SHA-256" && name != "SHA256") || !value.is_string()) return false;
  const auto digest = from_hex(value.get_ref<const std::string&>());
  return digest && equal(*digest, crypto::sha256(as_bytes(jwt)).view());
}

std::string label(Kind kind, std::size_t index) {
  return (kind == Kind::nvswitch ? "SWITCH-" : "GPU-") + std::to_string(index);
}

}  // namespace

bool looks_like_nras(const Json& json) {
  return json.is_array() && json.size() == 2 && json[0].is_array() && json[0].size() == 2 && json[0][0] == "JWT" &&
         json[0][1].is_string() && json[1].is_object();
}

Result<NrasAnswer> verify_nras(const Json& answer, const std::vector<crypto::Jwk>& keys, std::string_view issuer,
                               Time now) {
  if (!looks_like_nras(answer)) return fail(ErrorCode::malformed, "token", "not an answer of the service");
  const Json& tokens = answer[1];
  if (tokens.empty() || tokens.size() > kMaxDevices)
    return fail(ErrorCode::malformed, "token",
                "tokens of 1 to " + std::to_string(kMaxDevices) + " devices are expected");
  NrasAnswer out;
  CAIRN_TRY(out.overall, claims_of(answer[0][1], keys, issuer, now));
  out.issued = seconds_of(out.overall, "iat");
  out.expires = seconds_of(out.overall, "exp");
  out.positive = out.overall.value("x-nvidia-overall-att-result", Json()) == true;
  CAIRN_TRY(out.nonce, nonce_of(out.overall));
  const Json named = out.overall.value("submods", Json());
  if (!named.is_object() || named.size() != tokens.size())
    return no("submods", "the devices are not those that the token names");
  for (const auto& [name, jwt] : tokens.items()) {
    if (!named.contains(name) || !jwt.is_string() || !digest_matches(named[name], jwt.get_ref<const std::string&>()))
      return no("submods", "the token of " + in_words(name) + " is not the one that the whole names");
    CAIRN_TRY(Json claims, claims_of(jwt, keys, issuer, now));
    CAIRN_TRY(const std::string nonce, nonce_of(claims));
    if (nonce != out.nonce) return no("eat_nonce", in_words(name) + " answers another nonce");
    out.expires = std::min(out.expires, seconds_of(claims, "exp"));
    out.devices.emplace(name, std::move(claims));
  }
  return out;
}

std::vector<NrasRequest> nras_requests(const Evidence& evidence, const Verdict& local) {
  std::map<Architecture, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < local.devices.size(); ++i) {
    if (!local.devices[i].authentic) return {};
    groups[local.devices[i].authentic->identity.arch].push_back(i);
  }
  std::vector<NrasRequest> out;
  for (const auto& [arch, positions] : groups) {
    const Json nonce = hex(local.devices[positions.front()].authentic->nonce);
    Json list = Json::array();
    for (const std::size_t i : positions)
      list.push_back({{"evidence", base64(evidence.devices[i].report)},
                      {"certificate", base64(as_bytes(evidence.devices[i].certificate))}});
    const Json body{
        {"nonce", nonce}, {"arch", name(arch)}, {"claims_version", kClaimsVersion}, {"evidence_list", std::move(list)}};
    out.push_back({arch == Architecture::ls10 ? "/switch" : "/gpu", positions, compact_json(body)});
  }
  return out;
}

Result<void> take_nras(const NrasRequest& request, const NrasAnswer& answer, Remote& out) {
  if (answer.devices.size() != request.devices.size())
    return no("submods", "the answer is of " + std::to_string(answer.devices.size()) + " devices, asked were " +
                             std::to_string(request.devices.size()));
  const Kind kind = request.path == "/switch" ? Kind::nvswitch : Kind::gpu;
  for (std::size_t i = 0; i < request.devices.size(); ++i) {
    const auto found = answer.devices.find(label(kind, i));
    if (found == answer.devices.end()) return no("submods", "the answer has no token of " + label(kind, i));
    out.insert_or_assign(request.devices[i], RemoteResult{found->second, answer.positive, answer.expires});
  }
  return {};
}

}  // namespace cairn::nvidia
