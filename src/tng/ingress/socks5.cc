#include <algorithm>
#include <array>

#include "base/secret.h"
#include "tng/http_forward.h"
#include "tng/ingress/ingress.h"
#include "tng/ingress/socks5_wire.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

// Bytes as they come, messages as they complete.
class Negotiation {
 public:
  explicit Negotiation(net::Stream& stream) : stream_(stream) {}
  template <class T>
  net::Task<T> next(Result<std::optional<socks5::Parsed<T>>> (*parse)(ByteView)) {
    for (;;) {
      CAIRN_CO_TRY(auto parsed, parse(buffer_));
      if (parsed) {
        buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(parsed->size));
        co_return std::move(parsed->message);
      }
      std::array<std::uint8_t, 1024> bytes;
      CAIRN_CO_TRY(const std::size_t n, co_await stream_.read_some(bytes));
      if (n == 0) co_return fail(ErrorCode::malformed, "the SOCKS5 client left during negotiation");
      append(buffer_, ByteView(bytes).first(n));
    }
  }
  // What the client sent after its request.
  [[nodiscard]] Bytes take_rest() { return std::move(buffer_); }

 private:
  net::Stream& stream_;
  Bytes buffer_;
};

bool same(std::string_view a, std::string_view b) { return constant_time_equal(as_bytes(a), as_bytes(b)); }

net::Task<> authenticate(Negotiation& talk, net::Stream& stream, const std::optional<ProxyAuth>& auth) {
  CAIRN_CO_TRY(const auto greeting, co_await talk.next(socks5::parse_greeting));
  const std::uint8_t wanted = auth ? socks5::method_password : socks5::method_none;
  const bool offered = std::ranges::contains(greeting.methods, wanted);
  CAIRN_CO_CHECK(co_await stream.write(Bytes{5, offered ? wanted : socks5::method_unacceptable}));
  if (!offered)
    co_return fail(ErrorCode::unauthenticated,
                   auth ? "the SOCKS5 client offers no password" : "the SOCKS5 client insists on authentication");
  if (!auth) co_return Result<>{};
  CAIRN_CO_TRY(const auto given, co_await talk.next(socks5::parse_password));
  const bool user = same(given.username, auth->username), pass = same(given.password, auth->password);
  CAIRN_CO_CHECK(co_await stream.write(Bytes{1, static_cast<std::uint8_t>(user && pass ? 0 : 1)}));
  if (!user || !pass) co_return fail(ErrorCode::unauthenticated, "wrong SOCKS5 user name or password");
  co_return Result<>{};
}

net::Task<> answer(net::Stream& stream, socks5::Reply code) {
  const Bytes bytes = socks5::reply(code);
  co_return co_await stream.write(bytes);
}

socks5::Reply reply_for(const Error& error) {
  switch (error.code) {
    case ErrorCode::permission_denied: return socks5::Reply::not_allowed;
    case ErrorCode::timed_out:
    case ErrorCode::not_found: return socks5::Reply::host_unreachable;
    case ErrorCode::unavailable: return socks5::Reply::refused;
    default: return socks5::Reply::general_failure;
  }
}

}  // namespace

net::Task<> serve_socks5(IngressShard& shard, net::StreamPtr stream) {
  const auto& config = std::get<Socks5Ingress>(shard.config().mode);
  stream->set_deadline(limits::head);
  Negotiation talk(*stream);
  CAIRN_CO_CHECK(co_await authenticate(talk, *stream, config.auth));
  CAIRN_CO_TRY(const auto request, co_await talk.next(socks5::parse_request));
  if (request.command != 1) {
    CAIRN_CO_CHECK(co_await answer(*stream, socks5::Reply::command_unsupported));
    co_return fail(ErrorCode::unsupported,
                   "SOCKS5 command " + std::to_string(request.command) + "; only CONNECT is served");
  }
  if (request.host.empty() || request.port == 0) {
    CAIRN_CO_CHECK(co_await answer(*stream, socks5::Reply::address_unsupported));
    co_return fail(ErrorCode::malformed, "the SOCKS5 request names no address");
  }
  stream->set_deadline(std::nullopt);
  const auto to = net::Endpoint::tcp(request.host, request.port);
  auto upstream = co_await shard.open(route(config.dst_filters, config.unmatched_direct, to), to, to.text());
  if (!upstream) {
    CAIRN_CO_CHECK(co_await answer(*stream, reply_for(upstream.error())));
    co_return fail(std::move(upstream).error());
  }
  const Busy busy(shard.status());
  CAIRN_CO_CHECK(co_await answer(*stream, socks5::Reply::succeeded));
  if (Bytes rest = talk.take_rest(); !rest.empty()) stream = net::with_prefix(std::move(rest), std::move(stream));
  co_return co_await counted_relay(*stream, **upstream, shard.status());
}

}  // namespace cairn::tng
