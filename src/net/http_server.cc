#include "net/http_server.h"

#include <array>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"
#include "net/http2.h"
#include "net/http_serve.h"

namespace cairn::net {

const std::string& Exchange::parameter(std::string_view name) const {
  static const std::string none;
  const auto at = parameters.find(name);
  return at == parameters.end() ? none : at->second;
}

Task<std::string> Exchange::body() { return body(max_body); }

Task<std::string> Exchange::body(std::size_t limit) {
  const auto too_large = [&] {
    return fail(ErrorCode::too_large, "http", "the request body is larger than " + std::to_string(limit) + " bytes");
  };
  std::string out;
  if (const auto length = request().headers.get("content-length")) {
    if (length->size() > 18 || std::strtoull(std::string(*length).c_str(), nullptr, 10) > limit) co_return too_large();
  }
  std::size_t size = 0;
  for (;;) {
    if (out.size() - size < 4096) out.resize(std::max<std::size_t>(size + 4096, std::min(size * 2, limit + 1)));
    CAIRN_CO_TRY(const std::size_t n,
                 co_await read_some({reinterpret_cast<std::uint8_t*>(out.data()) + size, out.size() - size}));
    size += n;
    if (size > limit) co_return too_large();
    if (n == 0) break;
  }
  out.resize(size);
  co_return out;
}

// ---- shared by the engines

namespace serving {

Task<> guarded(const Handler& handler, Exchange& exchange) {
  try {
    co_return co_await handler(exchange);
  } catch (const std::exception& e) {
    co_return fail(ErrorCode::internal, "handler", e.what());
  }
}

namespace {
std::string json_text(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const std::string safe = is_utf8(text) ? std::string(text) : printable(text, 2048);
  std::string out = "\"";
  for (const char c : safe) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\';
    if (u >= ' ')
      out += c;
    else
      (out += "\\u00").append({kHex[u >> 4], kHex[u & 15]});
  }
  return out + "\"";
}
}  // namespace

Response answer_for(const Result<>& result) {
  if (result) {
    spdlog::error("a handler returned without an answer");
    return Response::json(500, R"({"error":"internal error"})");
  }
  const Error& error = result.error();
  const int status = status_for(error.code);
  if (status != 500) return Response::json(status, "{\"error\":" + json_text(error.message) + "}");
  spdlog::error("request failed: {}", printable(error.text(), 1024));
  return Response::json(500, R"({"error":"internal error"})");
}

void add_standard(Headers& extra, const Headers& given, const ServerOptions& options) {
  thread_local std::int64_t second = 0;
  thread_local std::string date;
  const Time time = now();
  if (time.seconds != second) {
    second = time.seconds;
    date = http_date(time);
  }
  if (!given.has("date")) extra.add("Date", date);
  if (!options.server_header.empty() && !given.has("server")) extra.add("Server", options.server_header);
}

bool has_no_body(int status) { return status / 100 == 1 || status == 204 || status == 304; }

}  // namespace serving

// ---- one connection

namespace {

// Reads until the bytes are the HTTP/2 preface or cannot become it. The bytes read are in `first`.
Task<bool> is_http2(Stream& stream, Bytes& first, const ServerOptions& options) {
  const ByteView preface = as_bytes(http2_preface());
  std::array<std::uint8_t, 512> scratch;
  stream.set_deadline(options.idle_timeout);
  while (first.size() < preface.size()) {
    if (!equal(first, preface.first(first.size()))) break;
    CAIRN_CO_TRY(const std::size_t n, co_await stream.read_some(scratch));
    if (n == 0) break;
    append(first, ByteView(scratch).first(n));
    stream.set_deadline(options.head_timeout);
  }
  stream.set_deadline(std::nullopt);
  co_return first.size() >= preface.size() && equal(ByteView(first).first(preface.size()), preface);
}

}  // namespace

Task<> serve_connection(StreamPtr stream, const Handler& handler, const ServerOptions& options, Drain* drain) {
  const serving::Context context{handler, options, drain};
  if (const TlsInfo* tls = stream->tls(); tls != nullptr && !tls->alpn.empty()) {
    if (tls->alpn == "h2" && options.http2) co_return co_await serving::http2(std::move(stream), context);
    if (tls->alpn == "http/1.1" && options.http1) co_return co_await serving::http1(std::move(stream), context);
    co_return fail(ErrorCode::unsupported, "alpn", "the protocol agreed on is not served here");
  }
  if (!options.http2) co_return co_await serving::http1(std::move(stream), context);
  Bytes first;
  bool http2 = false;
  {
    const Drain::Hook hook(drain, [&] { stream->close(); });
    CAIRN_CO_TRY(http2, co_await is_http2(*stream, first, options));
  }
  stream = with_prefix(std::move(first), std::move(stream));
  if (http2) co_return co_await serving::http2(std::move(stream), context);
  if (!options.http1) co_return fail(ErrorCode::unsupported, "http", "only HTTP/2 is served here");
  co_return co_await serving::http1(std::move(stream), context);
}

// ---- the server

struct HttpServer::State {
  State(Runtime& runtime, Handler h, ServerOptions o)
      : handler(std::move(h)), options(std::move(o)), acceptor(runtime, options.max_connections) {}
  Handler handler;
  ServerOptions options;
  Acceptor acceptor;
};

HttpServer::HttpServer(Runtime& runtime, Handler handler, ServerOptions options)
    : state_(std::make_shared<State>(runtime, std::move(handler), std::move(options))) {}
HttpServer::~HttpServer() = default;
std::size_t HttpServer::connections() const { return state_->acceptor.connections(); }
Task<> HttpServer::stop(Milliseconds grace) { return state_->acceptor.stop(grace); }

Result<Endpoint> HttpServer::listen(const Endpoint& endpoint, std::shared_ptr<const TlsContext> tls,
                                    ListenOptions options) {
  static constexpr auto serve = [](std::shared_ptr<const TlsContext> context, State& state, StreamPtr stream,
                                   Drain& drain) -> Task<> {
    if (context) {
      auto secured = co_await tls_accept(std::move(stream), context);
      if (!secured) co_return fail(std::move(secured).error());
      stream = std::move(*secured);
    }
    co_return co_await serve_connection(std::move(stream), state.handler, state.options, &drain);
  };
  return state_->acceptor.listen(
      endpoint,
      [state = state_.get(), tls](StreamPtr stream, Drain& drain) {
        return serve(tls, *state, std::move(stream), drain);
      },
      options);
}

}  // namespace cairn::net
