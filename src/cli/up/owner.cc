#include "cli/up/owner.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "crypto/jose.h"
#include "net/http_client.h"

namespace cairn::cli {
namespace {

constexpr std::int64_t kTokenSeconds = 300;

Result<net::Headers> admin_headers(const Session& s) {
  CAIRN_TRY(const Secret pem, read_secret(s.trustee_dir() / "private.key"));
  CAIRN_TRY(const auto key, crypto::PrivateKey::from_pem(as_text(pem.view())));
  const Time t = now();
  const Json claims = {{"iat", t.seconds}, {"nbf", t.seconds}, {"exp", t.seconds + kTokenSeconds}};
  CAIRN_TRY(const auto token, crypto::sign_jws({{"typ", "JWT"}}, as_bytes(claims.dump()), key, crypto::JwsAlg::eddsa));
  return net::Headers{{"Authorization", "Bearer " + token}};
}

Result<net::Response> admin(Session& s, std::string method, const std::string& path, std::string body,
                            std::string content_type) {
  CAIRN_TRY(auto headers, admin_headers(s));
  if (!body.empty()) headers.set("Content-Type", std::move(content_type));
  CAIRN_TRY(auto response, http(std::move(method), s.trustee_url() + path, std::move(body), std::move(headers)));
  if (response.status / 100 != 2)
    return fail(ErrorCode::permission_denied, path,
                "the trustee answered " + std::to_string(response.status) + ": " + response.body.substr(0, 300));
  return response;
}

}  // namespace

Result<net::Response> http(std::string method, std::string url, std::string body, net::Headers headers,
                           std::int64_t timeout_ms) {
  return net::run_to_end<net::Response>([&](net::Runtime&) -> net::Task<net::Response> {
    net::HttpClient client;
    net::ClientRequest request{
        .method = method, .url = url, .headers = headers, .body = body, .timeout = net::Milliseconds(timeout_ms)};
    co_return co_await client.send(std::move(request));
  });
}

Result<void> store_key(Session& s, std::string_view path, const Secret& key) {
  CAIRN_CHECK(admin(s, "POST", "/kbs/v0/resource/" + std::string(path), std::string(as_text(key.view())),
                    "application/octet-stream"));
  if (!key_is_stored(s, path))
    return fail(ErrorCode::internal, std::string(path), "the trustee accepted the key but does not hold it");
  return {};
}

bool key_is_stored(const Session& s, std::string_view path) {
  std::error_code ec;
  return std::filesystem::file_size(s.trustee_dir() / "kbs" / "repository" / path, ec) > 0 && !ec;
}

Result<void> register_references(Session& s, const Json& values) {
  const Json message = {{"version", "0.1.0"}, {"type", "sample"}, {"payload", base64(as_bytes(values.dump()))}};
  CAIRN_CHECK(admin(s, "POST", "/rvps/register", Json{{"message", message.dump()}}.dump(), "application/json"));
  return {};
}

Result<Json> registered_references(Session& s) {
  CAIRN_TRY(const auto response, admin(s, "GET", "/rvps/query", {}, {}));
  return parse_json(response.body);
}

}  // namespace cairn::cli
