#include "trustee/api.h"

#include "crypto/jose.h"

namespace cairn::trustee {

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    const auto segment = take_segment(path);
    if (!segment.empty()) out.push_back(segment);
  }
  return out;
}

std::string_view take_segment(std::string_view& path) {
  const auto begin = path.find_first_not_of('/');
  if (begin == std::string_view::npos) {
    path = {};
    return {};
  }
  const auto end = path.find('/', begin);
  const auto segment = path.substr(begin, end == std::string_view::npos ? end : end - begin);
  path = end == std::string_view::npos ? std::string_view{} : path.substr(end);
  return segment;
}

std::optional<std::string> text_member(const Json& object, std::string_view name) {
  if (!object.is_object()) return std::nullopt;
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return std::nullopt;
  return it->get<std::string>();
}

std::string_view bearer(const net::RequestHead& head) {
  constexpr std::string_view scheme = "Bearer ";
  const auto value = head.headers.get("Authorization").value_or(std::string_view{});
  if (value.size() <= scheme.size() || !net::equal_ignoring_case(value.substr(0, scheme.size()), scheme)) return {};
  return value.substr(scheme.size());
}

Result<void> Admin::check(const net::RequestHead& head, Time now) const {
  const auto token = bearer(head);
  if (token.empty())
    return fail(ErrorCode::unauthenticated,
                "Failed to parse HTTP Auth Bearer header: an administrator's token is needed");
  const auto refused = [](const Error& error) {
    return fail(ErrorCode::unauthenticated, "Admin Token verification failed: " + error.message);
  };
  const auto jws = crypto::parse_jws(token);
  if (!jws) return refused(jws.error());
  if (auto verified = crypto::verify_jws(*jws, key_, crypto::JwsAlg::eddsa); !verified)
    return refused(verified.error());
  const auto claims = jws->claims();
  if (!claims) return refused(claims.error());
  if (auto timely = crypto::check_times(*claims, now, {.check_iat = true}); !timely) return refused(timely.error());
  return {};
}

net::Response admin_refused(const Error& error) {
  const Json body = {{"type", "https://github.com/confidential-containers/kbs/errors/AdminAuth"},
                     {"detail", "Admin auth error: " + error.message}};
  return {401, {}, compact_json(body)};
}

Result<std::string> admin_token(const crypto::PrivateKey& key, Time now, std::int64_t life_seconds) {
  const Json claims = {{"iat", now.seconds}, {"nbf", now.seconds}, {"exp", now.seconds + life_seconds}};
  return crypto::sign_jws({{"typ", "JWT"}}, as_bytes(compact_json(claims)), key, crypto::JwsAlg::eddsa);
}

}  // namespace cairn::trustee
