#include "guest/aa/instance_info.h"

#include "base/encoding.h"
#include "base/log.h"
#include "guest/aa/limits.h"
#include "net/http_client.h"

namespace cairn::aa {
namespace {

Json or_null(std::optional<std::string> value) { return value ? Json(std::move(*value)) : Json(); }

class Metadata {
 public:
  explicit Metadata(std::string url) : url_(std::move(url)), http_(options()) {}

  net::Task<> authenticate() {
    net::ClientRequest request{.method = "PUT", .url = url_ + "/latest/api/token"};
    request.headers.add("X-aliyun-ecs-metadata-token-ttl-seconds", "300");
    CAIRN_CO_TRY(auto answer, co_await http_.send(std::move(request)));
    if (answer.status != 200 || !net::valid_field_value(answer.body))
      co_return fail(ErrorCode::unavailable, "metadata", "no token, HTTP " + std::to_string(answer.status));
    token_ = std::move(answer.body);
    co_return Result<>{};
  }

  net::asio::awaitable<Json> member(std::string name) {
    net::ClientRequest request{.url = url_ + "/latest/meta-data/" + name};
    request.headers.add("X-aliyun-ecs-metadata-token", token_);
    auto answer = co_await http_.send(std::move(request));
    const bool usable = answer && answer->status == 200 && is_utf8(answer->body);
    co_return usable ? Json(std::move(answer->body)) : Json();
  }

 private:
  static net::ClientOptions options() {
    net::ClientOptions o;
    o.connect_timeout = o.timeout = limits::metadata_timeout;
    o.max_body = limits::metadata_bytes;
    return o;
  }
  std::string url_, token_;
  net::HttpClient http_;
};

net::asio::awaitable<Json> ecs_info(std::string metadata_url) {
  Json info = {
      {"instance_id", nullptr}, {"instance_name", nullptr}, {"owner_account_id", nullptr}, {"image_id", nullptr}};
  Metadata metadata(std::move(metadata_url));
  if (const auto authenticated = co_await metadata.authenticate(); !authenticated) {
    spdlog::warn("no instance metadata: {}", authenticated.error().text());
    co_return info;
  }
  info["instance_id"] = co_await metadata.member("instance-id");
  info["instance_name"] = co_await metadata.member("instance/instance-name");
  info["owner_account_id"] = co_await metadata.member("owner-account-id");
  info["image_id"] = co_await metadata.member("image-id");
  co_return info;
}

// Headers hold visible ASCII: everything else of a JSON text can be escaped.
std::string header_json(const Json& value) { return value.dump(-1, ' ', true, Json::error_handler_t::replace); }

}  // namespace

net::Task<std::string> collect_instance_info(std::string type, guest::Environment environment,
                                             std::string metadata_url) {
  if (type == "aliyun_ecs") {
    const Json info = co_await ecs_info(std::move(metadata_url));
    co_return header_json(info);
  }
  if (type == "aliyun_eas")
    co_return header_json({{"eas_model_id", or_null(environment("EAS_MODEL_ID"))},
                           {"eas_instance_id", or_null(environment("EAS_INSTANCE_ID"))},
                           {"eas_pod_name", or_null(environment("POD_NAME"))}});
  co_return std::string();
}

net::Task<> heartbeat(std::string url, std::string instance_info, std::string extra_roots, net::Milliseconds interval) {
  while (url.ends_with('/')) url.pop_back();
  net::ClientOptions options;
  options.extra_roots_pem = std::move(extra_roots);
  net::HttpClient http(std::move(options));
  for (;;) {
    net::ClientRequest request{.method = "POST", .url = url + "/aa-instance/heartbeat"};
    if (!instance_info.empty()) request.headers.add("AAInstanceInfo", instance_info);
    const auto answer = co_await http.send(std::move(request));
    if (!answer)
      spdlog::warn("heartbeat: {}", answer.error().text());
    else if (answer->status >= 300)
      spdlog::warn("heartbeat: HTTP {} {}", answer->status, printable(answer->body));
    CAIRN_CO_CHECK(co_await net::sleep_for(interval));
  }
}

}  // namespace cairn::aa
