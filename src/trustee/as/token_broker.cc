#include "trustee/as/token_broker.h"

#include <array>

#include "crypto/random.h"

namespace cairn::trustee::as {
namespace {

constexpr std::array<std::string_view, 4> kTiers{"none", "affirming", "warning", "contraindicated"};

std::size_t tier(std::int64_t value) {
  if (value >= -1 && value <= 1) return 0;
  if (value >= -32 && value <= 31) return 1;
  if (value >= -96 && value <= 95) return 2;
  return 3;
}

void flatten_into(Json& out, const std::string& prefix, const Json& value) {
  if (!value.is_object()) {
    out[prefix] = value;
    return;
  }
  for (const auto& [key, member] : value.items()) flatten_into(out, prefix + "." + key, member);
}

Json without_lifted(const Json& claims) {
  Json out = claims;
  out.erase("report_data");
  out.erase("init_data");
  return out;
}

std::string token_id() {
  static constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string out;
  while (out.size() < 10)
    for (const auto byte : crypto::random_bytes(16))
      if (byte < 248 && out.size() < 10) out += alphabet[byte % alphabet.size()];
  return out;
}

Rejection denied(const LoadedPolicy& policy, const std::vector<Reason>& reasons) {
  Rejection out{Code::policy_denied, "policy", "Reject by policy " + policy.id, "", reasons};
  if (!reasons.empty()) {
    out.reason = reasons.front().code;
    out.detail += ": " + reasons.front().detail;
  }
  return out;
}

std::string_view class_name(DeviceClass device) { return device == DeviceClass::cpu ? "cpu" : "gpu"; }

}  // namespace

Json flatten(const std::vector<Appraised>& evidences) {
  Json out = Json::object();
  for (const auto& evidence : evidences)
    for (const auto& [key, value] : evidence.claims.items())
      if (key != "report_data" && key != "init_data") flatten_into(out, evidence.tee + "." + key, value);
  const Json& first = evidences.front().claims;
  for (const char* name : {"report_data", "init_data"}) out[name] = first.value(name, Json(""));
  return out;
}

Json annotated_evidence(const Appraised& appraised) {
  Json out = {{appraised.tee, without_lifted(appraised.claims)}};
  if (appraised.device != DeviceClass::cpu) return out;
  out["report_data"] = appraised.claims.value("report_data", Json(""));
  out["init_data"] = appraised.claims.value("init_data", Json(""));
  out["runtime_data_claims"] = appraised.runtime_claims;
  out["init_data_claims"] = appraised.init_claims;
  return out;
}

std::string_view ear_status(const Json& trust_vector) {
  std::size_t worst = 0;
  for (const auto& value : trust_vector) worst = std::max(worst, tier(value.get<std::int64_t>()));
  return kTiers[worst];
}

Outcome<Json> simple_claims(const std::vector<Appraised>& evidences,
                            const std::vector<std::shared_ptr<const LoadedPolicy>>& policies,
                            const PolicyData::View& data, const TokenOptions& options, Time now) {
  const Json flat = flatten(evidences);
  Json reports = Json::array();
  for (const auto& policy : policies) {
    const auto verdict = evaluate(*policy, Rules::allow, flat, data, now);
    if (!verdict) return std::unexpected(verdict.error());
    if (!verdict->allow.value_or(false)) return std::unexpected(denied(*policy, verdict->reasons));
    reports.push_back({{"policy-id", policy->id}, {"policy-hash", policy->sha384_hex}});
  }
  const auto& first = evidences.front();
  return Json{{"iss", options.issuer},
              {"iat", now.seconds},
              {"nbf", now.seconds},
              {"exp", now.seconds + options.duration_seconds},
              {"jti", token_id()},
              {"tee", first.tee},
              {"evaluation-reports", std::move(reports)},
              {"tcb-status", compact_json(flat)},
              {"customized_claims", {{"init_data", first.init_claims}, {"runtime_data", first.runtime_claims}}}};
}

Outcome<Json> ear_claims(const std::vector<Appraised>& evidences, const LoadedPolicy& policy,
                         const PolicyData::View& data, const TokenOptions& options, Time now) {
  Json modules = Json::object();
  std::array<std::size_t, 2> counts{};
  for (const auto& evidence : evidences) {
    Json annotated = annotated_evidence(evidence);
    const auto verdict = evaluate(policy, Rules::trust_vector, annotated, data, now);
    if (!verdict) return std::unexpected(verdict.error());
    Json module = {{"ear.status", ear_status(verdict->trust_vector)},
                   {"ear.trustworthiness-vector", verdict->trust_vector},
                   {"ear.appraisal-policy-id", policy.id},
                   {"ear.veraison.annotated-evidence", std::move(annotated)}};
    if (!verdict->reasons.empty()) module["cairn.reasons"] = to_json(verdict->reasons);
    const auto number = counts[static_cast<std::size_t>(evidence.device)]++;
    modules[std::string(class_name(evidence.device)) + std::to_string(number)] = std::move(module);
  }
  return Json{{"eat_profile", options.profile},
              {"iat", now.seconds},
              {"exp", now.seconds + options.duration_seconds},
              {"ear.verifier-id", {{"developer", options.developer}, {"build", options.build}}},
              {"submods", std::move(modules)}};
}

Result<std::string> sign(const Json& claims, const Signer& signer) {
  return crypto::sign_jws({{"typ", "JWT"}, {"jwk", signer.jwk}}, as_bytes(compact_json(claims)), signer.key,
                          signer.alg);
}

}  // namespace cairn::trustee::as
