#include "kbs_protocol/token/token.h"

#include <algorithm>

namespace cairn::token {
namespace {

using crypto::Jwk;
using crypto::Jws;

constexpr std::size_t kMaxSubmodules = 32, kMaxPolicies = 64, kMaxReasons = 32;

const Json& null_json() {
  static const Json null;
  return null;
}
// Member `name` of an object, or null.
const Json& at(const Json& object, std::string_view name) {
  if (!object.is_object()) return null_json();
  const auto it = object.find(name);
  return it == object.end() ? null_json() : *it;
}
Result<std::string> text(const Json& object, std::string_view name) {
  const Json& value = at(object, name);
  if (!value.is_string())
    return fail(ErrorCode::malformed, std::string(name), "the token lacks this claim, or it is not text");
  return value.get<std::string>();
}

std::unexpected<Error> signer(std::string message) {
  return fail(ErrorCode::crypto_failed, "signer", std::move(message));
}

// The key that the token names, and whether something in `trust` vouches for it.
struct Signer {
  Jwk key;
  bool trusted;
};

Result<Signer> embedded_signer(const Json& jwk, const Trust& trust, Time now) {
  CAIRN_TRY(Jwk key, crypto::parse_jwk(jwk));
  if (trust.roots.empty()) {
    if (trust.embedded_key) return Signer{std::move(key), false};
    return signer("the token brings its own key, and no certificate authority for tokens is configured");
  }
  if (key.x5c.empty()) return signer("the token's key comes without certificates (x5c)");
  CAIRN_TRY(const auto leaf, key.x5c.front().public_key());
  if (leaf != key.key) return signer("the token's key is not the one in its certificate");
  if (auto chain = crypto::verify_chain(key.x5c, trust.roots, now); !chain)
    return signer("the token's certificates do not lead to a trusted authority: " + chain.error().message);
  return Signer{std::move(key), true};
}

Result<Signer> find_signer(const Jws& jws, const Json& claims, const Trust& trust, Time now) {
  if (const Json& jwk = at(jws.header, "jwk"); !jwk.is_null()) return embedded_signer(jwk, trust, now);
  if (const Json& kid = at(jws.header, "kid"); kid.is_string()) {
    for (const auto& key : trust.keys)
      if (key.kid == kid.get_ref<const std::string&>()) return Signer{key, true};
    return signer("the token's key id is not among the trusted keys");
  }
  if (const Json& jwk = at(claims, "jwk"); !jwk.is_null()) return embedded_signer(jwk, trust, now);  // before 1.5.2
  return signer("the token names no key");
}

bool says_simulated(const Json& value) { return !value.is_null() && value != Json(false); }

Result<void> read_simple(Verified& out) {
  out.kind = Kind::simple;
  CAIRN_TRY(out.tee, text(out.claims, "tee"));
  const Json& reports = at(out.claims, "evaluation-reports");
  if (!reports.is_array() || reports.size() > kMaxPolicies)
    return fail(ErrorCode::malformed, "evaluation-reports", "not a list of policies");
  Submodule module{
      .name = out.tee, .status = "affirming", .policy_ids = {}, .trust_vector = Json::object(), .reasons = {}};
  for (const auto& report : reports) {
    CAIRN_TRY(std::string id, text(report, "policy-id"));
    module.policy_ids.push_back(std::move(id));
  }
  out.submodules.push_back(std::move(module));
  CAIRN_TRY(const std::string status, text(out.claims, "tcb-status"));
  CAIRN_TRY(out.evidence,
            parse_json(status, {.bytes = crypto::JoseLimits::token_bytes, .depth = crypto::JoseLimits::depth}));
  if (!out.evidence.is_object()) return fail(ErrorCode::malformed, "tcb-status", "not an object");
  for (const auto& [key, value] : out.evidence.items())
    if (key.ends_with(".simulated") && says_simulated(value)) out.simulated = true;
  out.runtime_data = at(at(out.claims, "customized_claims"), "runtime_data");
  return {};
}

// The tee whose claims `annotated` holds: its one object besides the members that every cpu submodule has.
std::string tee_of(const Json& annotated) {
  for (const auto& [key, value] : annotated.items())
    if (value.is_object() && key != "runtime_data_claims" && key != "init_data_claims") return key;
  return {};
}

std::vector<std::string> reasons_of(const Json& module) {
  std::vector<std::string> out;
  const Json& reasons = at(module, "cairn.reasons");
  if (!reasons.is_array()) return out;
  for (const auto& reason : reasons)
    if (const Json& detail = at(reason, "detail"); detail.is_string() && out.size() < kMaxReasons)
      out.push_back(detail.get<std::string>());
  return out;
}

Result<Submodule> read_submodule(const std::string& name, const Json& module) {
  Submodule out{.name = name,
                .status = {},
                .policy_ids = {},
                .trust_vector = at(module, "ear.trustworthiness-vector"),
                .reasons = reasons_of(module)};
  CAIRN_TRY(out.status, text(module, "ear.status"));
  static constexpr std::string_view known[] = {"affirming", "warning", "contraindicated", "none"};
  if (std::ranges::find(known, out.status) == std::end(known))
    return fail(ErrorCode::malformed, "ear.status", "submodule " + name + " has an unknown status");
  if (const Json& id = at(module, "ear.appraisal-policy-id"); id.is_string())
    out.policy_ids.push_back(id.get<std::string>());
  return out;
}

Result<void> read_ear(Verified& out) {
  out.kind = Kind::ear;
  const Json& modules = at(out.claims, "submods");
  if (!modules.is_object() || modules.empty() || modules.size() > kMaxSubmodules)
    return fail(ErrorCode::malformed, "submods", "the token names no submodule, or too many");
  for (const auto& [name, module] : modules.items()) {
    CAIRN_TRY(Submodule read, read_submodule(name, module));
    out.submodules.push_back(std::move(read));
    const Json& annotated = at(module, "ear.veraison.annotated-evidence");
    if (!annotated.is_object()) continue;
    const std::string tee = tee_of(annotated);
    if (!tee.empty() && says_simulated(at(annotated.at(tee), "simulated"))) out.simulated = true;
    if (!out.tee.empty() || !name.starts_with("cpu")) continue;
    out.tee = tee;
    out.evidence = annotated;
    out.runtime_data = at(annotated, "runtime_data_claims");
  }
  return {};
}

Result<Verified> read(Json claims, bool signer_trusted, Time now, std::int64_t leeway) {
  Verified out{};
  out.claims = std::move(claims);
  out.signer_trusted = signer_trusted;
  CAIRN_CHECK(crypto::check_times(out.claims, now, {.leeway = leeway}));
  out.expires = {static_cast<std::int64_t>(out.claims.at("exp").get<double>())};
  if (const Json& iat = at(out.claims, "iat"); iat.is_number())
    out.issued = {static_cast<std::int64_t>(iat.get<double>())};
  if (out.claims.contains("eat_profile"))
    CAIRN_CHECK(read_ear(out));
  else
    CAIRN_CHECK(read_simple(out));
  return out;
}

bool contains(const Json& whole, const Json& part) {
  if (!part.is_object()) return whole == part;
  if (!whole.is_object()) return false;
  return std::ranges::all_of(part.items(), [&](const auto& entry) {
    const auto it = whole.find(entry.key());
    return it != whole.end() && contains(*it, entry.value());
  });
}

std::unexpected<Error> rejected(std::string where, std::string message) {
  return fail(ErrorCode::evidence_rejected, std::move(where), std::move(message));
}

Result<void> check_policies(const Verified& token, const std::vector<std::string>& wanted) {
  if (wanted.empty()) return {};
  if (token.kind == Kind::simple) {
    for (const auto& id : wanted)
      if (std::ranges::find(token.submodules.front().policy_ids, id) == token.submodules.front().policy_ids.end())
        return rejected("policy", "the token was not appraised under policy \"" + id + "\"");
    return {};
  }
  for (const auto& module : token.submodules)
    if (module.policy_ids.size() != 1 || std::ranges::find(wanted, module.policy_ids.front()) == wanted.end() ||
        module.policy_ids != token.submodules.front().policy_ids)
      return rejected("policy", module.name + " was not appraised under the policy that was asked for");
  return {};
}

}  // namespace

const Json& Verified::tee_pubkey() const { return at(runtime_data, "tee-pubkey"); }

Result<Verified> verify(std::string_view jwt, const Trust& trust, Time now, std::int64_t leeway) {
  CAIRN_TRY(const Jws jws, crypto::parse_jws(jwt));
  CAIRN_TRY(Json claims, jws.claims());
  CAIRN_TRY(const Signer by, find_signer(jws, claims, trust, now));
  auto alg = crypto::jws_alg_by_name(by.key.alg);
  if (!alg) return fail(std::move(alg.error()).in("the token's key"));
  CAIRN_CHECK(crypto::verify_jws(jws, by.key.key, *alg));
  return read(std::move(claims), by.trusted, now, leeway);
}

Result<Verified> own(Json claims, Time now) { return read(std::move(claims), true, now, 0); }

Result<void> satisfies(const Verified& token, const Demands& demands) {
  for (const auto& module : token.submodules)
    if (module.status != "affirming")
      return rejected("status", "the verdict on " + module.name + " is \"" + module.status + "\", not affirming" +
                                    (module.reasons.empty() ? "" : ": " + module.reasons.front()));
  CAIRN_CHECK(check_policies(token, demands.policy_ids));
  if (demands.runtime_data) {
    const bool same = demands.runtime_data_subset ? contains(token.runtime_data, *demands.runtime_data)
                                                  : token.runtime_data == *demands.runtime_data;
    if (!same) return rejected("runtime_data", "the evidence is not bound to the expected runtime data");
  }
  if (token.simulated && !demands.allow_simulated)
    return rejected("simulated", "the evidence comes from a simulator, which was not allowed");
  return {};
}

}  // namespace cairn::token
