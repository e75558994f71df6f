// One server for HTTP/1.1 and HTTP/2 (prior knowledge on clear text, ALPN on TLS) on TCP and unix sockets.
//
// Strict on purpose: conflicting or repeated Content-Length, Content-Length with Transfer-Encoding, codings other than
// chunked, folded lines, bare CR, bad Host: 400 and the connection closed. Limits: net/limits.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/acceptor.h"
#include "net/http.h"
#include "net/stream.h"
#include "net/tls.h"

namespace cairn::net {

// One request and its response. Lives as long as the handler runs; used on the handler's loop only.
class Exchange {
 public:
  virtual ~Exchange() = default;

  [[nodiscard]] virtual const RequestHead& request() const = 0;
  [[nodiscard]] virtual const Endpoint& peer() const = 0;
  [[nodiscard]] virtual const Stream& connection() const = 0;  // the transport, for credentials and socket options
  [[nodiscard]] virtual const TlsInfo* tls() const = 0;        // nullptr on clear text
  // Path parameters, decoded, filled by the Router.
  [[nodiscard]] const std::string& parameter(std::string_view name) const;  // empty if there is none

  // The request body. "100 Continue" is sent at the first of these calls when the client waits for it.
  [[nodiscard]] virtual Task<std::size_t> read_some(std::span<std::uint8_t> into) = 0;  // 0: complete
  [[nodiscard]] Task<std::string> body();  // whole; too_large past the server's max_body
  [[nodiscard]] Task<std::string> body(std::size_t limit);
  [[nodiscard]] virtual const Headers& trailers() const = 0;  // after the body's end

  // The response, whole. Content-Length, Date and Connection are the server's business. Once per exchange.
  [[nodiscard]] virtual Task<> respond(Response response) = 0;
  // The response as a stream: begin, any number of writes, end. Without a Content-Length in `head` it is chunked.
  // write() returns when the transport has taken the bytes: that is the back-pressure. For HEAD requests, and 204 and
  // 304, bodies are swallowed.
  [[nodiscard]] virtual Task<> begin(ResponseHead head) = 0;
  [[nodiscard]] virtual Task<> write(ByteView bytes) = 0;
  [[nodiscard]] Task<> write(std::string_view text) { return write(as_bytes(text)); }
  [[nodiscard]] virtual Task<> end(Headers trailers = {}) = 0;
  // An interim response (100, 103) before the final one.
  [[nodiscard]] virtual Task<> interim(ResponseHead head) = 0;
  // Answers with `head` (HTTP/1: 101 after an Upgrade request, 2xx after CONNECT; HTTP/2: 2xx) and hands out the raw
  // bytes of the connection or stream, both ways. The stream may outlive the exchange, not the server's connection:
  // finish with it before the handler returns.
  [[nodiscard]] virtual Task<StreamPtr> tunnel(ResponseHead head) = 0;

  [[nodiscard]] virtual bool started() const = 0;  // a final response head was sent
  // Calls back, at most once and never after the handler has returned, when the client has gone away before the
  // response was complete. Typical: close the upstream stream. Call after the request body was read.
  virtual void on_gone(std::function<void()> callback) = 0;

  std::map<std::string, std::string, std::less<>> parameters;  // written by the Router
  std::size_t max_body = limits::kBody;
};

// Answers one request. Returning an error before started() sends status_for(error) with a JSON body
// {"error": <message>}, after it cuts the connection (HTTP/1) or resets the stream. Returning without an answer is 500.
using Handler = std::function<Task<>(Exchange&)>;
// For the common case of a whole response.
[[nodiscard]] Handler responder(std::function<Task<Response>(Exchange&)> fn);

// Methods and path patterns: "/kbs/v0/resource/{repository}/{type}/{tag}", "/api/rvps/{rest*}" (the remainder, with
// its slashes). Literal segments win over parameters. Segments are decoded once before they are compared; "." and ".."
// segments, "%2F" and NUL are 404. Unknown path: `fallback` (default 404 text "not found"); known path, other
// method: 405 with Allow. HEAD is answered by GET's handler.
class Router {
 public:
  Router& add(std::string_view method, std::string_view pattern, Handler handler);  // method "*": any
  Router& fallback(Handler handler);
  [[nodiscard]] Task<> operator()(Exchange& exchange) const;
  // Several routers may share a tree: patterns of `other` under `prefix`.
  Router& mount(std::string_view prefix, const Router& other);

 private:
  struct Route {
    std::string method;
    std::vector<std::string> segments;
    Handler handler;
  };
  std::vector<Route> routes_;
  Handler fallback_;
};

struct ServerOptions {
  std::string server_header = {};  // empty: none is sent
  bool http1 = true, http2 = true;
  std::size_t max_connections = limits::kConnections;  // past it: accepted and closed
  std::size_t max_body = limits::kBody;                // of Exchange::body(); streaming is not limited
  std::size_t max_head = limits::kHeadBytes;
  Milliseconds head_timeout = limits::kHeadTimeout;
  Milliseconds idle_timeout = limits::kIdleTimeout;
  Milliseconds stall_timeout = limits::kStallTimeout;
  std::size_t max_requests = 0;  // per connection; 0: any number
};

// Any number of listeners for one handler. Handlers run on all loops of the runtime at once.
class HttpServer {
 public:
  HttpServer(Runtime& runtime, Handler handler, ServerOptions options = {});
  ~HttpServer();  // after stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds and begins to accept; returns the address bound. For HTTP/2 over TLS give the context the ALPN list
  // {"h2", "http/1.1"}. Once per listener, from any loop, before stop().
  [[nodiscard]] Result<Endpoint> listen(const Endpoint& endpoint, std::shared_ptr<const TlsContext> tls = nullptr,
                                        ListenOptions options = {});
  // Stops accepting, closes idle connections, lets running exchanges finish for at most `grace`, cuts the rest.
  [[nodiscard]] Task<> stop(Milliseconds grace);
  [[nodiscard]] std::size_t connections() const;  // any thread

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Serves one connection, whatever it comes from, until it ends: for gateways that accept and look first. The protocol
// is chosen by ALPN where `stream` is a TlsStream with one, else by the first bytes.
[[nodiscard]] Task<> serve_connection(StreamPtr stream, const Handler& handler, const ServerOptions& options,
                                      Drain* drain = nullptr);

}  // namespace cairn::net
