#include "trustee/kbs/api.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "base/encoding.h"
#include "base/log.h"
#include "trustee/kbs/errors.h"
#include "trustee/kbs/handshake.h"
#include "trustee/limits.h"

namespace cairn::trustee::kbs {
namespace {

constexpr std::string_view kCookie = "kbs-session-id";

net::Response ok_empty() { return {200, {{"Content-Type", "text/xml"}}, {}}; }

net::Response with_cookie(net::Response response, const Session& session) {
  response.headers.add("Set-Cookie",
                       std::string(kCookie) + "=" + session.id + "; Expires=" + net::http_date(session.expires));
  return response;
}

net::Response policy_error(const Error& failed) {
  spdlog::warn("policy: {}", failed.text());
  const bool callers = failed.code == ErrorCode::malformed || failed.code == ErrorCode::invalid_argument ||
                       failed.code == ErrorCode::too_large;
  return error(callers ? 400 : 500, "PolicyEngine", "Policy engine error: " + failed.text());
}

// The text of member "policy": base64url of UTF-8.
Result<std::string> policy_text(const Result<Json>& body) {
  if (!body) return fail(body.error());
  const auto encoded = text_member(*body, "policy");
  if (!encoded) return fail(ErrorCode::malformed, "policy", "the body lacks the text \"policy\"");
  CAIRN_TRY(const Bytes bytes, from_base64url(*encoded));
  return std::string(as_text(bytes));
}

}  // namespace

Api::Api(Options options, as::AttestationService& attestation, rvps::Api& references, const Admin& admin,
         Resources& resources, ResourcePolicy& policy)
    : options_(std::move(options)),
      attestation_(&attestation),
      references_(&references),
      admin_(&admin),
      resources_(&resources),
      policy_(&policy),
      sessions_(options_.session_seconds) {}

net::Response Api::handle(const Call& call) {
  const auto& method = call.head.method;
  if (method != "GET" && method != "POST" && method != "DELETE") return net::Response::empty(405);
  std::string_view argument = call.path;
  const auto operation = take_segment(argument);
  if (operation == "auth" && argument.empty() && method == "POST") return auth(call);
  if (operation == "attest" && argument.empty() && method == "POST") return attest(call);
  if (operation == "resource") return resource(call, argument);
  return administer(call, operation, argument);
}

// What only administrators may do; upstream forgot to ask for some of it.
net::Response Api::administer(const Call& call, std::string_view operation, std::string_view argument) {
  const bool known = operation == "resources" || operation == "resource-policy" || operation == "attestation-policy" ||
                     operation == "attestation-policies" || operation == "rvps" || operation == "reference-value";
  if (operation.empty() || operation == "auth" || operation == "attest")
    return error(404, "InvalidRequestPath", "Request path " + printable(call.head.path()) + " is invalid");
  if (!known) return error(404, "PluginNotFound", "Plugin " + printable(operation, 64) + " not found");
  if (auto admin = admin_->check(call.head, call.now); !admin) return admin_refused(admin.error());
  if (operation == "resources" && argument.empty() && call.head.method == "GET") return list_resources();
  if (operation == "resource-policy" && argument.empty()) return resource_policy(call);
  if (operation == "attestation-policy") return attestation_policy(call, take_segment(argument));
  if (operation == "attestation-policies" && argument.empty() && call.head.method == "GET")
    return attestation_policies();
  if (operation == "rvps") return references_->handle_admin({call.head, argument, call.body, call.now});
  if (operation == "reference-value") return references_->handle_upstream({call.head, argument, call.body, call.now});
  return error(404, "InvalidRequestPath", "Request path " + printable(call.head.path()) + " is invalid");
}

net::Response Api::auth(const Call& call) {
  auto request = parse_auth(call.body);
  if (!request)  // 401: clients of every generation read the detail of that
    return error(401, "AttestationError", "Attestation error: " + request.error().message, "KBS.AUTH.REFUSED",
                 request.error().where);
  const auto session = sessions_.begin(std::move(request->tee), request->protocol, call.now);
  if (!session) return error(503, "AttestationError", "Attestation error: " + session.error().message);
  return with_cookie(net::Response::json(200, compact_json({{"nonce", session->nonce}, {"extra-params", ""}})),
                     *session);
}

net::Response Api::attest(const Call& call) {
  const auto id = call.head.cookie(kCookie);
  const auto session = id ? sessions_.find(*id, call.now) : std::nullopt;
  if (!session)
    return error(401, "AttestationError",
                 "Attestation error: RCAR handshake Attest failed: there is no such session, or it has expired",
                 "KBS.SESSION.UNKNOWN", "session");
  if (session->token)
    return with_cookie(net::Response::json(200, compact_json({{"token", session->token->jwt}})), *session);
  return attest_session(call, *session);
}

net::Response Api::attest_session(const Call& call, const Session& session) {
  const int status = failure_status(session.protocol);
  const auto request = parse_attest(call.body, session);
  if (!request) return error(status, request.error());
  auto issued = attestation_->evaluate(*request, call.now, call.pending);
  if (!issued) {
    if (call.waits()) return net::Response::empty(503);
    spdlog::info("attestation of {} refused: {} {}: {}", session.tee, as::code_name(issued.error().code),
                 issued.error().reason, issued.error().detail);
    return error(status, issued.error());
  }
  auto verified = token::own(std::move(issued->claims), call.now);
  auto token = verified ? keep(issued->jwt, *std::move(verified)) : std::unexpected(verified.error());
  if (!token) {
    spdlog::error("the token just issued cannot be used: {}", token.error().text());
    return error(500, "AttestationError", "Attestation error: the token just issued cannot be used; the log says more");
  }
  if (!sessions_.attested(session.id, *token))
    return error(401, "AttestationError", "Attestation error: the session has expired");
  return with_cookie(net::Response::json(200, compact_json({{"token", issued->jwt}})), session);
}

Result<std::shared_ptr<const AttestedToken>> Api::verify_token(std::string_view jwt, Time now) {
  if (auto known = tokens_.find(jwt, now)) return known;
  CAIRN_TRY(auto verified, token::verify(jwt, options_.tokens, now));
  return keep(jwt, std::move(verified));
}

Result<std::shared_ptr<const AttestedToken>> Api::keep(std::string_view jwt, token::Verified verified) {
  CAIRN_TRY(auto claims, policy::Document::from_json(verified.claims));
  auto key = tee_key(verified);
  auto made = std::make_shared<const AttestedToken>(
      AttestedToken{std::string(jwt), std::move(verified), std::move(claims), std::move(key)});
  tokens_.put(made);
  return made;
}

// A session's token, or one that the client shows: header Attestation before Authorization.
std::expected<Api::Client, net::Response> Api::client_of(const Call& call) {
  const auto id = call.head.cookie(kCookie);
  const auto session = id ? sessions_.find(*id, call.now) : std::nullopt;
  std::string_view jwt;
  if (session && session->token)
    jwt = session->token->jwt;
  else if (const auto shown = call.head.headers.get("Attestation"))
    jwt = *shown;
  else
    jwt = bearer(call.head);
  if (jwt.empty()) return std::unexpected(error(401, "TokenNotFound", "Attestation Token not found"));
  auto token = verify_token(jwt, call.now);
  if (!token) {
    spdlog::info("attestation token refused: {}", token.error().text());
    return std::unexpected(error(401, "TokenVerifierError", "Token Verifier error: " + token.error().message,
                                 "KBS.TOKEN.REFUSED", token.error().where));
  }
  const bool session_form = session && session->token;
  const auto alg = text_member((*token)->verified.tee_pubkey(), "alg").value_or("");
  const bool old_form = session_form ? session->protocol == Protocol::v0_1_0
                                     : (*token)->verified.kind == token::Kind::simple && alg == "RSA1_5";
  return Client{*std::move(token), old_form ? crypto::AnswerForm::kbs_0_1_0 : crypto::AnswerForm::rfc7516};
}

Result<crypto::Jwk> Api::tee_key(const token::Verified& token) const {
  for (const auto& path : options_.extra_teekey_paths) {
    const Json::json_pointer pointer(path);
    if (token.claims.contains(pointer)) return crypto::parse_jwk(token.claims.at(pointer));
  }
  if (token.tee_pubkey().is_object()) return crypto::parse_jwk(token.tee_pubkey());
  return fail(ErrorCode::not_found, "tee-pubkey", "the token names no TEE key to encrypt to");
}

net::Response Api::resource(const Call& call, std::string_view name) {
  if (name.starts_with('/')) name.remove_prefix(1);
  const auto parsed = parse_resource_name(name);
  const bool get = call.head.method == "GET";
  if (!get)
    if (auto admin = admin_->check(call.head, call.now); !admin) return admin_refused(admin.error());
  if (!parsed) return error(500, "PluginInternalError", "Plugin internal error: " + parsed.error().message);
  if (get) return get_resource(call, *parsed);
  const auto done =
      call.head.method == "POST" ? resources_->write(*parsed, as_bytes(call.body)) : resources_->remove(*parsed);
  if (done) return ok_empty();
  spdlog::warn("resource {}: {}", parsed->text(), done.error().text());
  return error(500, "PluginInternalError", "Plugin internal error: " + done.error().message);
}

net::Response Api::get_resource(const Call& call, const ResourceName& name) {
  auto client = client_of(call);
  if (!client) return std::move(client.error());
  const auto decision = policy_->decide(client->token->claims, "resource/" + name.text(), call.now);
  if (!decision) {
    spdlog::error("resource policy: {}", decision.error().text());
    return error(500, "PolicyEngine", "Policy engine error: " + decision.error().message);
  }
  if (!decision->allow) {
    std::string detail = "Access denied by policy";
    std::string_view before = ": ";
    for (const auto& reason : decision->reasons) detail.append(std::exchange(before, "; ")).append(reason);
    const std::string first = decision->reasons.empty() ? "policy" : decision->reasons.front();
    spdlog::info("resource {} refused: {}", name.text(), detail);
    return error(403, "PolicyDeny", detail, "KBS.POLICY.DENIED", first.substr(0, first.find(':')));
  }
  const auto secret = resources_->read(name);
  if (!secret) {
    spdlog::warn("resource {}: {}", name.text(), secret.error().text());
    return error(500, "PluginInternalError", "Plugin internal error: there is no resource " + name.text(),
                 "KBS.RESOURCE.NOT_FOUND", "resource");
  }
  const auto& key = client->token->tee_key;
  if (!key && key.error().code == ErrorCode::not_found)
    return error(401, "TokenVerifierError", "Token Verifier error: " + key.error().message);
  const auto answer =
      key.and_then([&](const crypto::Jwk& to) { return crypto::encrypt_answer(to, secret->view(), client->form); });
  if (!answer) return error(400, "JweError", "JWE failed: " + answer.error().message);
  return net::Response::json(200, compact_json(*answer));
}

net::Response Api::list_resources() {
  const auto all = resources_->list();
  if (!all) return error(500, "PluginInternalError", "Plugin internal error: " + all.error().message);
  Json out = Json::array();
  for (const auto& name : *all)
    out.push_back({{"repository_name", name.repository}, {"resource_type", name.type}, {"resource_tag", name.tag}});
  return net::Response::json(200, compact_json(out));
}

net::Response Api::resource_policy(const Call& call) {
  if (call.head.method == "GET") {
    const auto text = policy_->text();
    if (!text) return policy_error(text.error());
    return {200, {{"Content-Type", "text/xml"}}, base64url(as_bytes(*text))};
  }
  if (call.head.method != "POST") return net::Response::empty(405);
  const auto text = policy_text(parse_json(call.body));
  if (!text) return error(400, "SerdeError", "Serialize/Deserialize failed: " + text.error().text());
  if (auto set = policy_->set(*text); !set) return policy_error(set.error());
  return ok_empty();
}

net::Response Api::attestation_policy(const Call& call, std::string_view id) {
  auto& policies = attestation_->policies();
  if (call.head.method == "POST" && id.empty()) {
    const auto body = parse_json(call.body);
    const auto text = policy_text(body);
    const auto name = body ? text_member(*body, "policy_id") : std::nullopt;
    if (!text || !name)
      return error(400, "SerdeError",
                   "Serialize/Deserialize failed: the body is {\"policy_id\": …, \"policy\": base64url}");
    if (auto set = policies.set(*name, *text); !set) return policy_error(set.error());
    return net::Response::empty(200);
  }
  if (call.head.method == "DELETE") {
    if (auto removed = policies.remove(std::string(id)); !removed) return policy_error(removed.error());
    return net::Response::empty(200);
  }
  if (call.head.method != "GET") return net::Response::empty(405);
  const auto text = policies.get(std::string(id));
  if (!text) return policy_error(text.error());
  return net::Response::json(200, base64url(as_bytes(*text)));
}

net::Response Api::attestation_policies() {
  const auto all = attestation_->policies().list();
  if (!all) return policy_error(all.error());
  Json out = Json::object();
  for (const auto& entry : *all) out[entry.id] = base64url(entry.sha384.view());
  return net::Response::json(200, compact_json(out));
}

}  // namespace cairn::trustee::kbs
