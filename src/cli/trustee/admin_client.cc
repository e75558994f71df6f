#include "cli/trustee/admin_client.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/limits.h"
#include "base/log.h"
#include "crypto/jose.h"

namespace cairn::cli {
namespace {

constexpr std::int64_t kTokenLife = 300;

net::ClientOptions client_options(const AdminOptions& options) {
  net::ClientOptions out;
  out.extra_roots_pem = options.extra_roots_pem;
  return out;
}

Result<std::string> token(const crypto::PrivateKey& key) {
  const auto at = now().seconds;
  const Json claims = {{"iat", at}, {"nbf", at}, {"exp", at + kTokenLife}};
  return crypto::sign_jws({{"typ", "JWT"}}, as_bytes(compact_json(claims)), key, crypto::JwsAlg::eddsa);
}

// The server's words: "detail" or "error" of a JSON object, else the text.
std::string words(const net::Response& response) {
  if (const auto json = parse_json(response.body); json && json->is_object())
    for (const char* name : {"detail", "error"})
      if (json->contains(name) && (*json)[name].is_string())
        return printable((*json)[name].get_ref<const std::string&>(), 1024);
  const auto text = printable(response.body, 256);
  return text.empty() ? std::string(net::status_text(response.status)) : text;
}

ErrorCode code_of(int status) {
  switch (status) {
    case 400: return ErrorCode::malformed;
    case 401: return ErrorCode::unauthenticated;
    case 403: return ErrorCode::permission_denied;
    case 404: return ErrorCode::not_found;
    case 502:
    case 503: return ErrorCode::unavailable;
    default: return ErrorCode::internal;
  }
}

net::Task<Json> as_json(net::Task<std::string> text) {
  CAIRN_CO_TRY(const std::string body, co_await std::move(text));
  co_return parse_json(body, {.bytes = kFileMax});
}

net::Task<std::string> decoded(net::Task<std::string> text) {
  CAIRN_CO_TRY(const std::string body, co_await std::move(text));
  CAIRN_CO_TRY(const Bytes bytes, from_base64url(body));
  co_return std::string(as_text(bytes));
}

net::Task<> ignoring_answer(net::Task<std::string> text) {
  CAIRN_CO_TRY(const std::string body, co_await std::move(text));
  (void)body;
  co_return Result<>{};
}

}  // namespace

AdminClient::AdminClient(AdminOptions options, std::optional<crypto::PrivateKey> key)
    : options_(std::move(options)), key_(std::move(key)), http_(client_options(options_)) {
  while (options_.url.ends_with('/')) options_.url.pop_back();
}

net::Task<std::string> AdminClient::ask(std::string method, std::string path, std::string body) {
  net::ClientRequest request{.method = std::move(method), .url = options_.url + path, .body = std::move(body)};
  if (!request.body.empty()) request.headers.set("Content-Type", "application/json");
  if (key_) {
    CAIRN_CO_TRY(const std::string jwt, token(*key_));
    request.headers.set("Authorization", "Bearer " + jwt);
  }
  auto response = co_await http_.send(std::move(request));
  if (!response) co_return fail(std::move(response.error()).in("the Trustee at " + options_.url));
  if (response->status / 100 != 2)
    co_return fail(code_of(response->status), "http_" + std::to_string(response->status),
                   "the Trustee refuses: " + words(*response));
  co_return std::move(response->body);
}

net::Task<> AdminClient::set_resource(std::string path, const Secret& bytes) {
  return ignoring_answer(ask("POST", "/kbs/v0/resource/" + path, std::string(as_text(bytes.view()))));
}
net::Task<> AdminClient::delete_resource(std::string path) {
  return ignoring_answer(ask("DELETE", "/kbs/v0/resource/" + path, {}));
}
net::Task<Json> AdminClient::list_resources(std::string repository, std::string type) {
  std::string query;
  if (!repository.empty()) query += "?repository=" + percent_encode(repository);
  if (!type.empty()) query += (query.empty() ? "?type=" : "&type=") + percent_encode(type);
  return as_json(ask("GET", "/kbs/v0/resources" + query, {}));
}

net::Task<> AdminClient::set_resource_policy(std::string text) {
  return ignoring_answer(ask("POST", "/kbs/v0/resource-policy", compact_json({{"policy", base64url(as_bytes(text))}})));
}
net::Task<std::string> AdminClient::resource_policy() { return decoded(ask("GET", "/kbs/v0/resource-policy", {})); }

net::Task<> AdminClient::set_attestation_policy(std::string id, std::string text) {
  const Json body = {{"policy_id", id}, {"type", "rego"}, {"policy", base64url(as_bytes(text))}};
  return ignoring_answer(ask("POST", "/kbs/v0/attestation-policy", compact_json(body)));
}
net::Task<std::string> AdminClient::attestation_policy(std::string id) {
  return decoded(ask("GET", "/kbs/v0/attestation-policy/" + percent_encode(id), {}));
}
net::Task<> AdminClient::delete_attestation_policy(std::string id) {
  return ignoring_answer(ask("DELETE", "/kbs/v0/attestation-policy/" + percent_encode(id), {}));
}
net::Task<Json> AdminClient::list_attestation_policies() {
  return as_json(ask("GET", "/kbs/v0/attestation-policies", {}));
}

net::Task<> AdminClient::register_reference_values(Json values, bool merge) {
  // Extractor `sample` is what every Trustee knows; `cairn` only ours, and only it merges.
  const Json message =
      merge ? Json{{"version", "0.1.0"},
                   {"type", "cairn"},
                   {"payload", compact_json({{"values", values}, {"mode", "merge"}})}}
            : Json{{"version", "0.1.0"}, {"type", "sample"}, {"payload", base64(as_bytes(compact_json(values)))}};
  return ignoring_answer(ask("POST", "/rvps/register", compact_json({{"message", compact_json(message)}})));
}
net::Task<Json> AdminClient::reference_values() { return as_json(ask("GET", "/rvps/query", {})); }
net::Task<> AdminClient::delete_reference_value(std::string name) {
  return ignoring_answer(ask("DELETE", "/rvps/delete/" + percent_encode(name), {}));
}

net::Task<Json> AdminClient::health() { return as_json(ask("GET", "/services-health", {})); }

}  // namespace cairn::cli
