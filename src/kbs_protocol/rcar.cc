#include "kbs_protocol/rcar.h"

#include <algorithm>
#include <cctype>

#include "base/encoding.h"
#include "base/log.h"
#include "kbs_protocol/limits.h"

namespace cairn::kbs {
namespace {

constexpr JsonLimits kAnswer{.bytes = limits::response_bytes, .depth = 16};

Json offered_hashes(Profile profile) {
  Json names = Json::array({"sha256", "sha384", "sha512"});
  if (profile == Profile::p2) names.push_back("sm3");
  return Json{{"supported-hash-algorithms", std::move(names)}};
}

// The value of extra-params; P1 wraps it in a string, which may be empty or anything.
Json extra_params(Profile profile, const Json& challenge) {
  const auto it = challenge.find("extra-params");
  if (it == challenge.end()) return {};
  if (!it->is_string()) return profile == Profile::p2 ? *it : Json();
  return parse_json(it->get_ref<const std::string&>(), kAnswer).value_or(Json());
}

Result<crypto::Hash> selected_hash(Profile profile, const Json& challenge) {
  const Json extra = extra_params(profile, challenge);
  if (!extra.is_object() || !extra.contains("selected-hash-algorithm")) return crypto::Hash::sha384;
  const Json& selected = extra["selected-hash-algorithm"];
  if (!selected.is_string())
    return fail(ErrorCode::malformed, "extra-params", "the KBS's selected-hash-algorithm is not a string");
  std::string name = selected.get<std::string>();
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  const Json offered = offered_hashes(profile);
  for (const auto& one : offered["supported-hash-algorithms"])
    if (one == name) return *crypto::hash_by_name(name);
  return fail(ErrorCode::unsupported, "extra-params",
              "the KBS selected hash algorithm \"" + printable(name) + "\", which was not offered");
}

Result<Json> parse_evidence(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return fail(std::move(value.error()).in("the evidence of the TEE is not JSON"));
  return value;
}

// What a server said, fit for one line of a terminal: cut, control characters escaped, quotes kept as they are.
std::string one_line(std::string_view text, std::size_t limit = limits::error_body_bytes) {
  const bool cut = text.size() > limit;
  text = text.substr(0, limit);
  while (cut && !text.empty() && !is_utf8(text) && (static_cast<unsigned char>(text.back()) & 0x80) != 0)
    text.remove_suffix(1);
  if (!is_utf8(text)) return printable(text, limit);
  std::string out;
  for (const char c : text) {
    const auto b = static_cast<std::uint8_t>(c);
    if (b < 0x20 || b == 0x7F)
      out += "\\x" + hex(ByteView(&b, 1));
    else
      out.push_back(c);
  }
  return cut ? out + "…" : out;
}

bool is_base64url(std::string_view s) {
  return !s.empty() && std::ranges::all_of(s, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; });
}

bool is_compact_jws(std::string_view s) {
  const std::size_t first = s.find('.');
  const std::size_t second = first == std::string_view::npos ? first : s.find('.', first + 1);
  return second != std::string_view::npos && is_base64url(s.substr(0, first)) &&
         is_base64url(s.substr(first + 1, second - first - 1)) && is_base64url(s.substr(second + 1));
}

}  // namespace

std::string_view protocol_version(Profile profile) { return profile == Profile::p1 ? "0.1.0" : "0.4.0"; }

Result<Profile> parse_profile(std::string_view text) {
  if (text == "p1" || text == "0.1.0") return Profile::p1;
  if (text == "p2" || text == "0.4.0") return Profile::p2;
  return fail(ErrorCode::invalid_argument, "profile", "unknown wire profile \"" + printable(text) + "\"; p1 or p2");
}

std::string auth_body(Profile profile, std::string_view tee) {
  const Json extra = offered_hashes(profile);
  return compact_json({{"version", protocol_version(profile)},
                       {"tee", tee},
                       {"extra-params", profile == Profile::p1 ? Json(compact_json(extra)) : extra}});
}

Result<Challenge> parse_challenge(Profile profile, std::string_view body) {
  CAIRN_TRY(const Json json, parse_json(body, kAnswer));
  if (!json.is_object() || !json.contains("nonce") || !json["nonce"].is_string())
    return fail(ErrorCode::malformed, "challenge", "the KBS's challenge has no nonce");
  Challenge challenge{.nonce = json["nonce"].get<std::string>()};
  if (challenge.nonce.empty() || challenge.nonce.size() > limits::nonce_bytes)
    return fail(ErrorCode::malformed, "challenge", "the KBS's nonce is empty or too long");
  CAIRN_TRY(challenge.hash, selected_hash(profile, json));
  return challenge;
}

Result<std::string> device_runtime_data(const Challenge& challenge, const Json& tee_pubkey) {
  return canonical_json({{"nonce", challenge.nonce}, {"tee-pubkey", tee_pubkey}});
}

Result<std::string> runtime_data(Profile profile, const Challenge& challenge, const Json& tee_pubkey,
                                 std::string_view additional_evidence) {
  if (profile == Profile::p1) return device_runtime_data(challenge, tee_pubkey);
  return canonical_json(
      {{"additional-evidence", additional_evidence}, {"nonce", challenge.nonce}, {"tee-pubkey", tee_pubkey}});
}

Result<std::string> attest_body(Profile profile, const Challenge& challenge, const Json& tee_pubkey,
                                const Attestation& attestation) {
  if (profile == Profile::p1) return compact_json({{"tee-pubkey", tee_pubkey}, {"tee-evidence", attestation.evidence}});
  CAIRN_TRY(Json primary, parse_evidence(attestation.evidence));
  Json init_data;
  if (attestation.init_data_toml) init_data = {{"format", "toml"}, {"body", *attestation.init_data_toml}};
  return compact_json(
      {{"init-data", std::move(init_data)},
       {"runtime-data", {{"nonce", challenge.nonce}, {"tee-pubkey", tee_pubkey}}},
       {"tee-evidence",
        {{"primary_evidence", std::move(primary)}, {"additional_evidence", attestation.additional_evidence}}}});
}

Result<std::string> parse_attest_answer(std::string_view body) {
  CAIRN_TRY(const Json json, parse_json(body, kAnswer));
  if (!json.is_object() || !json.contains("token") || !json["token"].is_string())
    return fail(ErrorCode::malformed, "attest", "the KBS's answer holds no token");
  std::string token = json["token"].get<std::string>();
  if (!is_compact_jws(token)) return fail(ErrorCode::malformed, "attest", "the KBS's token is not a signed token");
  return token;
}

Result<std::string> attestation_service_body(Profile profile, const AttestationRequest& request) {
  if (profile == Profile::p1)
    return compact_json({{"tee", request.tee},
                         {"evidence", base64url(as_bytes(request.evidence))},
                         {"policy_ids", request.policy_ids}});
  Json entry = {{"tee", request.tee}, {"evidence", base64url(as_bytes(request.evidence))}};
  if (request.additional_data) entry["additional_data"] = *request.additional_data;
  Json entries = Json::array({std::move(entry)});
  if (!request.additional_evidence.empty()) {
    CAIRN_TRY(const Json devices, parse_evidence(request.additional_evidence));
    if (!devices.is_object()) return fail(ErrorCode::malformed, "additional evidence", "not an object of devices");
    for (const auto& [tee, evidence] : devices.items())
      entries.push_back({{"tee", tee}, {"evidence", base64url(as_bytes(compact_json(evidence)))}});
  }
  return compact_json({{"verification_requests", std::move(entries)}, {"policy_ids", request.policy_ids}});
}

std::string Refusal::text() const {
  std::string out = "HTTP " + std::to_string(status);
  if (!type.empty()) out += " " + type;
  return detail.empty() ? out : out + ": " + detail;
}

Refusal parse_refusal(int status, std::string_view body) {
  Refusal refusal{.status = status};
  const auto json = parse_json(body, {.bytes = limits::response_bytes, .depth = 8});
  if (!json || !json->is_object()) {
    refusal.detail = one_line(body);
    return refusal;
  }
  const auto member = [&](const char* key) -> std::string {
    const auto it = json->find(key);
    return it != json->end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const std::string type = member("type"), detail = member("detail");
  refusal.type = one_line(std::string_view(type).substr(type.rfind('/') + 1), 64);
  refusal.detail = one_line(!detail.empty() ? detail : !type.empty() ? member("message") : std::string(body));
  return refusal;
}

}  // namespace cairn::kbs
