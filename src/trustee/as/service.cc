#include "trustee/as/service.h"

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/random.h"
#include "trustee/as/default_policy.h"

namespace cairn::trustee::as {
namespace {

constexpr std::int64_t kChallengeLife = 300;

}  // namespace

Result<std::unique_ptr<AttestationService>> AttestationService::open(
    ServiceOptions options, std::vector<std::unique_ptr<TeeVerifier>> verifiers, const rvps::Store& references,
    Time now) {
  auto out = std::unique_ptr<AttestationService>(new AttestationService(std::move(options), references));
  const auto& folder = out->options_.folder;
  CAIRN_TRY(out->policies_, PolicyStore::open(folder / "policies" / "opa", default_attestation_policy()));
  CAIRN_TRY(out->authority_, Authority::open(folder / "token", now, out->options_.token.x5c));
  CAIRN_CHECK(make_dirs(folder / "nonce_token_issuer", 0700));
  CAIRN_TRY(out->nonce_key_, load_or_make_key(folder / "nonce_token_issuer" / "key.pem", crypto::KeyType::rsa));
  out->verifiers_ = std::move(verifiers);
  return out;
}

std::vector<std::string> AttestationService::tees() const {
  std::vector<std::string> out;
  for (const auto& verifier : verifiers_) out.emplace_back(verifier->tee());
  return out;
}

bool AttestationService::wants_ear(Form form) const {
  if (options_.kind == TokenKind::by_form) return form == Form::new_form;
  return options_.kind == TokenKind::ear;
}

Outcome<> AttestationService::check_challenge_token(const Json& runtime_claims, Time now) {
  const auto it = runtime_claims.is_object() ? runtime_claims.find("challenge_token") : runtime_claims.end();
  if (!runtime_claims.is_object() || it == runtime_claims.end()) return {};
  const auto refused = [](const std::string& why) {
    return reject(Code::invalid_token, "challenge_token", "the challenge token is not valid: " + why, "runtime_data");
  };
  if (!it->is_string()) return refused("it is not text");
  const auto jws = crypto::parse_jws(it->get_ref<const std::string&>());
  if (!jws) return refused(jws.error().message);
  if (!crypto::verify_jws(*jws, nonce_key_.public_key(), crypto::JwsAlg::rs384))
    return refused("another service signed it");
  const auto claims = jws->claims();
  if (!claims) return refused(claims.error().message);
  if (auto timely = crypto::check_times(*claims, now, {.leeway = 0}); !timely) return refused(timely.error().message);
  return {};
}

Outcome<Appraised> AttestationService::appraise(const Evidence& evidence, Time now, Pending* pending) {
  const TeeVerifier* verifier = nullptr;
  for (const auto& candidate : verifiers_)
    if (candidate->tee() == evidence.tee) verifier = candidate.get();
  if (!verifier)
    return reject(Code::unsupported_tee, "tee",
                  "evidence of TEE \"" + printable(evidence.tee, 32) + "\" is not accepted here", "tee");
  if (auto fresh = check_challenge_token(evidence.runtime.claims, now); !fresh) return std::unexpected(fresh.error());
  auto claims = verifier->verify(evidence.evidence, {evidence.runtime.expected, evidence.init.expected}, now, pending);
  if (!claims) return std::unexpected(claims.error());
  return Appraised{evidence.tee, verifier->device(), *std::move(claims), evidence.runtime.claims, evidence.init.claims};
}

Outcome<IssuedToken> AttestationService::issue(const std::vector<Appraised>& appraised,
                                               const AttestationRequest& request, Time now) {
  std::vector<std::shared_ptr<const LoadedPolicy>> policies;
  for (const auto& id : request.policy_ids) {
    auto policy = policies_->load(id);
    if (policy)
      policies.push_back(*std::move(policy));
    else if (policy.error().code == ErrorCode::not_found)
      return reject(Code::invalid_argument, "policy_not_found", policy.error().message, "policy_ids");
    else
      return reject(policy.error());
  }
  const auto data = data_.view(now);
  if (!data) return reject(data.error());
  const bool ear = wants_ear(request.form);
  if (ear && policies.size() != 1)
    return reject(Code::invalid_argument, "policy_ids", "an EAR is appraised under exactly one policy", "policy_ids");
  auto claims = ear ? ear_claims(appraised, *policies.front(), **data, options_.token, now)
                    : simple_claims(appraised, policies, **data, options_.token, now);
  if (!claims) return std::unexpected(claims.error());
  auto jwt = sign(*claims, ear ? *authority_->ear(now) : *authority_->simple(now));
  if (!jwt) return reject(jwt.error());
  return IssuedToken{*std::move(jwt), *std::move(claims)};
}

Outcome<IssuedToken> AttestationService::evaluate(const AttestationRequest& request, Time now, Pending* pending) {
  std::vector<Appraised> appraised;
  std::optional<Rejection> refused;
  for (const auto& evidence : request.evidences) {
    auto one = appraise(evidence, now, pending);
    if (one)
      appraised.push_back(*std::move(one));
    else if (!refused)
      refused = std::move(one.error());
    // While something has to be fetched, the rest may add to it.
    if (refused && (!pending || pending->empty())) break;
  }
  if (refused) return std::unexpected(*std::move(refused));
  return issue(appraised, request, now);
}

Result<Json> AttestationService::challenge(Time now) {
  const std::string nonce = base64(crypto::random_bytes(32));
  const Json claims = {{"nonce", nonce}, {"iat", now.seconds}, {"exp", now.seconds + kChallengeLife}};
  CAIRN_TRY(const std::string jwt,
            crypto::sign_jws({{"typ", "JWT"}}, as_bytes(compact_json(claims)), nonce_key_, crypto::JwsAlg::rs384));
  return Json{{"nonce", nonce}, {"extra-params", {{"jwt", jwt}}}};
}

}  // namespace cairn::trustee::as
