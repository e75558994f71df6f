#include "tng/ingress/http_proxy.h"

#include "base/encoding.h"
#include "base/log.h"
#include "base/secret.h"
#include "tng/http_forward.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

constexpr const char* loop_header = "X-Tng-Http-Forward";
// How long an idle tunnel stream is taken for alive. Backends close theirs after a few seconds; a request that cannot
// be sent twice must not be the one to find out.
constexpr std::int64_t reuse_ms = 3000, reuse_once_ms = 500;

bool idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" || method == "PUT" ||
         method == "DELETE";
}

net::Response problem(int status, std::string_view code, std::string message) {
  return net::Response::json(
      status,
      compact_json({{"code", std::string(code)}, {"message", std::move(message)}, {"attestation_error", nullptr}}) +
          "\n");
}

}  // namespace

HttpProxy::HttpProxy(IngressShard& shard) : shard_(shard), config_(std::get<HttpProxyIngress>(shard.config().mode)) {
  if (config_.auth) authorization_ = "Basic " + base64(as_bytes(config_.auth->username + ":" + config_.auth->password));
}
HttpProxy::~HttpProxy() = default;

net::Task<> HttpProxy::serve(net::StreamPtr stream) {
  net::ServerOptions options;
  options.stall_timeout = std::chrono::minutes(15);  // models may think for long before they speak
  const net::Handler handler = [this](net::Exchange& exchange) { return handle(exchange); };
  co_return co_await net::serve_connection(std::move(stream), handler, options, &drain_);
}

// Why this request is not served at all.
std::optional<net::Response> HttpProxy::refusal(const net::Exchange& exchange) const {
  const auto& head = exchange.request();
  if (!config_.allow_cidrs.empty() &&
      std::ranges::none_of(config_.allow_cidrs, [&](const IpNetwork& n) { return n.contains(exchange.peer().host); }))
    return problem(403, "permission_denied", "this address may not use the proxy (allow_cidrs)");
  if (head.headers.has(loop_header) || head.headers.has("tng"))
    return problem(508, "conflict", "recursion is detected: the request already went through this gateway");
  if (!authorization_.empty()) {
    const auto given = head.headers.get("Proxy-Authorization").value_or("");
    if (!constant_time_equal(as_bytes(given), as_bytes(authorization_))) {
      auto response = problem(407, "unauthenticated", "the proxy asks for a user name and password");
      response.headers.add("Proxy-Authenticate", "Basic realm=\"tng\"");
      return response;
    }
  }
  return std::nullopt;
}

Result<HttpProxy::Target> HttpProxy::target(const net::RequestHead& head) const {
  if (head.authority.empty()) return fail(ErrorCode::malformed, "the request names no host");
  const std::uint16_t standard = head.scheme == "https" && head.absolute_form ? 443 : 80;
  CAIRN_TRY(auto parsed, net::parse_authority(head.authority, standard));
  if (head.absolute_form && head.version != net::HttpVersion::http2) {
    // RFC 9112 §3.2.2: the absolute target wins; a Host that says something else is an attempt to confuse.
    const auto host = head.headers.get("Host");
    const auto other =
        host ? net::parse_authority(*host, standard) : Result<std::pair<std::string, std::uint16_t>>(parsed);
    if (!other || !net::equal_ignoring_case(other->first, parsed.first) || other->second != parsed.second)
      return fail(ErrorCode::malformed, "Host and the request target name different hosts");
  }
  auto to = net::Endpoint::tcp(std::move(parsed.first), parsed.second);
  const Route how = route(config_.dst_filters, config_.unmatched_direct, to);
  return Target{std::move(to), head.authority, how};
}

net::Task<> HttpProxy::handle(net::Exchange& exchange) {
  const Busy busy(shard_.status());
  if (auto no = refusal(exchange)) co_return co_await exchange.respond(*std::move(no));
  if (exchange.request().method == "CONNECT") co_return co_await connect(exchange);
  co_return co_await request(exchange);
}

net::Task<> HttpProxy::connect(net::Exchange& exchange) {
  auto where = target(exchange.request());
  if (!where) co_return co_await exchange.respond(problem(400, "malformed", where.error().message));
  auto upstream = co_await shard_.open(where->how, where->to, where->authority);
  if (!upstream && upstream.error().code == ErrorCode::permission_denied)
    co_return co_await exchange.respond(problem(403, "permission_denied", upstream.error().message));
  if (!upstream) co_return co_await respond_failure(exchange, upstream.error());
  CAIRN_CO_TRY(auto downstream, co_await exchange.tunnel({.status = 200}));
  co_return co_await counted_relay(*downstream, **upstream, shard_.status());
}

net::Task<> HttpProxy::request(net::Exchange& exchange) {
  auto where = target(exchange.request());
  if (!where) co_return co_await exchange.respond(problem(400, "malformed", where.error().message));
  net::RequestHead head = upstream_head(exchange.request());
  head.headers.set(loop_header, "true");
  CAIRN_CO_TRY(const Forwardable what, co_await read_ahead(exchange, std::move(head)));
  const std::string path(exchange.request().path());
  const std::string key = where->key(shard_.wrapping_path(path));
  const bool repeatable = idempotent(what.head.method) && (what.body == net::BodyKind::none || what.buffered);
  for (auto connection = take_idle(key, repeatable);;) {
    const bool reused = connection != nullptr;
    if (!reused) {
      auto stream = co_await shard_.open(where->how, where->to, where->authority, path);
      if (!stream && stream.error().code == ErrorCode::permission_denied)
        co_return co_await exchange.respond(problem(403, "permission_denied", stream.error().message));
      if (!stream) co_return co_await respond_failure(exchange, stream.error());
      connection = std::make_unique<net::Http1Connection>(*std::move(stream));
    }
    auto end = co_await forward(exchange, *connection, what, shard_.status());
    if (end) {
      if (connection->reusable()) keep(key, std::move(connection));
      co_return Result<>{};
    }
    if (exchange.started()) co_return fail(std::move(end).error());
    if (!reused || !repeatable) co_return co_await respond_failure(exchange, end.error());
    connection.reset();
  }
}

std::unique_ptr<net::Http1Connection> HttpProxy::take_idle(const std::string& key, bool repeatable) {
  const auto it = idle_.find(key);
  if (it == idle_.end()) return nullptr;
  const std::int64_t oldest = monotonic_ms() - (repeatable ? reuse_ms : reuse_once_ms);
  std::unique_ptr<net::Http1Connection> out;
  while (!it->second.empty() && !out) {
    Idle last = std::move(it->second.back());
    it->second.pop_back();
    --idle_count_;
    if (last.since_ms >= oldest && last.connection->reusable()) out = std::move(last.connection);
  }
  if (it->second.empty()) idle_.erase(it);
  return out;
}

void HttpProxy::keep(const std::string& key, std::unique_ptr<net::Http1Connection> connection) {
  const std::int64_t t = monotonic_ms();
  // The oldest stand in front; what nobody took back in time is closed here.
  for (auto it = idle_.begin(); it != idle_.end();) {
    auto& queue = it->second;
    while (!queue.empty() && queue.front().since_ms < t - reuse_ms) {
      queue.pop_front();
      --idle_count_;
    }
    it = queue.empty() ? idle_.erase(it) : std::next(it);
  }
  if (idle_count_ >= limits::idle_streams) return;
  idle_[key].push_back({std::move(connection), t});
  ++idle_count_;
}

}  // namespace cairn::tng
