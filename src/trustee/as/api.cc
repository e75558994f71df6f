#include "trustee/as/api.h"

#include "base/encoding.h"

namespace cairn::trustee::as {
namespace {

net::Response not_found() { return net::Response::text(404, "404 page not found"); }
net::Response method_not_allowed() { return net::Response::text(405, "405 method not allowed"); }

net::Response policy_failure(const Error& error) {
  const bool callers = error.code == ErrorCode::invalid_argument || error.code == ErrorCode::malformed ||
                       error.code == ErrorCode::too_large || error.code == ErrorCode::permission_denied ||
                       error.code == ErrorCode::not_found;
  if (!callers) return problem(reject(error).error());
  auto response = problem({Code::invalid_argument, "policy", error.text(), "policy", {}});
  if (error.code == ErrorCode::not_found) response.status = 404;
  return response;
}

}  // namespace

net::Response Api::handle(const Call& call) {
  const auto parts = segments(call.path);
  if (parts.empty() || parts.size() > 2) return not_found();
  const auto name = parts[0];
  const bool get = call.head.method == "GET", post = call.head.method == "POST";
  const bool alone = parts.size() == 1;
  if (alone && name == "attestation") return post ? attestation(call) : method_not_allowed();
  if (alone && name == "challenge") return post ? challenge(call) : method_not_allowed();
  if (alone && name == "certificate") {
    if (!get) return method_not_allowed();
    return {200, {{"Content-Type", "application/x-pem-file"}}, service_->authority().ca().pem()};
  }
  if (alone && name == "jwks") return get ? jwks(call.now) : method_not_allowed();
  if (alone && name == "status") return get ? status(call.now) : method_not_allowed();
  if (name == "policy" || (alone && name == "policies")) {
    if (auto admin = admin_->check(call.head, call.now); !admin) return admin_refused(admin.error());
    if (alone && post && name == "policy") return set_policy(call);
    if (alone) return get ? list_policies() : method_not_allowed();
    return policy(call, parts[1]);
  }
  return not_found();
}

net::Response Api::attestation(const Call& call) {
  const auto request = parse_attestation_request(call.body);
  if (!request) return problem(request.error());
  auto token = service_->evaluate(*request, call.now, call.pending);
  if (!token) return problem(token.error());
  return net::Response::text(200, std::move(token->jwt));
}

net::Response Api::challenge(const Call& call) {
  const auto body = call.body.empty() ? Result<Json>(Json::object()) : parse_json(call.body);
  if (!body || !body->is_object())
    return problem({Code::invalid_json, "json", "the body is not a JSON object", "", {}});
  if (body->contains("tee")) return net::Response::text(200, "");  // the old form: no TEE served here needs a challenge
  auto made = service_->challenge(call.now);
  if (!made) return problem(reject(made.error()).error());
  return net::Response::json(200, compact_json(*made));
}

net::Response Api::policy(const Call& call, std::string_view id) {
  if (call.head.method == "DELETE") {
    if (auto removed = service_->policies().remove(std::string(id)); !removed) return policy_failure(removed.error());
    return net::Response::empty(200);
  }
  if (call.head.method != "GET") return method_not_allowed();
  const auto text = service_->policies().get(std::string(id));
  if (!text) return policy_failure(text.error());
  return net::Response::text(200, base64url(as_bytes(*text)));
}

net::Response Api::set_policy(const Call& call) {
  const auto body = parse_json(call.body);
  const auto id = body ? text_member(*body, "policy_id") : std::nullopt;
  const auto encoded = body ? text_member(*body, "policy") : std::nullopt;
  if (!id || !encoded)
    return problem(
        {Code::invalid_json, "json", "the body is {\"policy_id\": …, \"policy\": base64url of Rego}", "", {}});
  const auto text = from_base64url(*encoded);
  if (!text)
    return problem({Code::invalid_argument, "policy", "the policy is not base64url without padding", "policy", {}});
  if (auto set = service_->policies().set(*id, std::string(as_text(*text))); !set) return policy_failure(set.error());
  return net::Response::empty(200);
}

net::Response Api::list_policies() {
  const auto all = service_->policies().list();
  if (!all) return policy_failure(all.error());
  Json out = Json::array();
  for (const auto& entry : *all)
    out.push_back({{"policy-id", entry.id}, {"policy-hash", base64url(entry.sha384.view())}});
  return net::Response::json(200, compact_json(out));
}

net::Response Api::jwks(Time now) {
  Json keys = Json::array();
  for (const auto& signer : {service_->authority().simple(now), service_->authority().ear(now)}) {
    Json key = signer->jwk;
    key["kid"] = crypto::jwk_thumbprint(signer->key.public_key());
    key["use"] = "sig";
    keys.push_back(std::move(key));
  }
  return net::Response::json(200, compact_json({{"keys", std::move(keys)}}));
}

net::Response Api::status(Time now) {
  Json dependencies = Json::array();
  for (const auto& tee : service_->tees())
    dependencies.push_back(
        {{"kind", "verifier"}, {"name", tee}, {"status", "ok"}, {"message", ""}, {"details", nullptr}});
  Json collateral = collateral_->status(now);
  std::string trouble;
  for (const auto& platform : collateral["platforms"])
    if (const auto& error = platform["last_error"].get_ref<const std::string&>(); !error.empty())
      trouble = platform["platform"].get<std::string>() + ": " + error;
  const auto add = [&](const char* name, const std::string& message, Json details) {
    dependencies.push_back({{"kind", "collateral"},
                            {"name", name},
                            {"status", message.empty() ? "ok" : "error"},
                            {"message", message},
                            {"details", std::move(details)}});
  };
  add("tdx", trouble, std::move(collateral));
  Json gpu = gpu_->status(now);
  const auto gpu_trouble = gpu["last_error"].get<std::string>();
  add("nvidia", gpu_trouble, std::move(gpu));
  return net::Response::json(
      200, compact_json({{"service", "attestation-service"}, {"status", "ok"}, {"dependencies", dependencies}}));
}

}  // namespace cairn::trustee::as
