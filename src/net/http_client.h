// The one HTTP client: HTTP/1.1 with pooled connections, http, https and unix sockets; a proxy if told to.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/http.h"
#include "net/stream.h"
#include "net/tls.h"

namespace cairn::net {

// One request and its response on one connection. Finish reading the body to let the connection be used again;
// destroying the exchange earlier closes it. One loop.
class ClientExchange {
 public:
  virtual ~ClientExchange() = default;

  // The request body, if it was announced: bytes, then end().
  [[nodiscard]] virtual Task<> write(ByteView bytes) = 0;
  [[nodiscard]] virtual Task<> end(Headers trailers = {}) = 0;
  // Waits for the final response head. May be called while the body is still being written (from another coroutine).
  [[nodiscard]] virtual Task<ResponseHead> head() = 0;
  [[nodiscard]] virtual Task<std::size_t> read_some(std::span<std::uint8_t> into) = 0;  // 0: complete
  [[nodiscard]] Task<std::string> body(std::size_t limit = limits::kResponseBody);      // too_large past it
  [[nodiscard]] virtual const Headers& trailers() const = 0;
  // After 101, or 2xx to CONNECT: the raw connection.
  [[nodiscard]] virtual Task<StreamPtr> tunnel() = 0;
  // Aborts: reads and writes under way end with `cancelled`.
  virtual void close() noexcept = 0;
  virtual void set_deadline(std::optional<Milliseconds> duration) = 0;
};
using ClientExchangePtr = std::unique_ptr<ClientExchange>;

enum class BodyKind {
  none,
  sized,   // the head has Content-Length
  chunked  // Transfer-Encoding: chunked is added
};

// HTTP/1.1 client side of one connection over any stream; one exchange at a time, in sequence.
class Http1Connection {
 public:
  explicit Http1Connection(StreamPtr stream);
  ~Http1Connection();
  Http1Connection(const Http1Connection&) = delete;
  Http1Connection& operator=(const Http1Connection&) = delete;

  // Sends the head: origin form, or absolute form if head.absolute_form. Host is taken from head.authority unless
  // the headers have one. `interim`, if given, is called for 1xx heads (but 101). The connection must outlive the
  // exchange.
  [[nodiscard]] Task<ClientExchangePtr> start(const RequestHead& head, BodyKind body,
                                              std::function<void(const ResponseHead&)> interim = {});
  [[nodiscard]] bool reusable() const;  // idle, and the last exchange left it clean
  void close() noexcept;

 private:
  friend class HttpClient;
  struct State;
  std::shared_ptr<State> state_;
};

struct ClientOptions {
  std::string user_agent = "cairn";
  std::string extra_roots_pem = {};            // trusted in addition to the system's roots
  std::shared_ptr<const TlsContext> tls = {};  // instead of one made from extra_roots_pem
  bool cookies = false;                        // keep a cookie jar
  std::string proxy = {};                      // "http://host:port"; http in absolute form, https through CONNECT
  bool proxy_from_environment = false;         // http_proxy, https_proxy, no_proxy
  Milliseconds connect_timeout = limits::kConnectTimeout;
  Milliseconds timeout = limits::kRequestTimeout;  // send(): everything; open(): until the response head
  std::size_t max_body = limits::kResponseBody;
  std::size_t idle_per_host = limits::kIdlePerHost;
  unsigned max_redirects = 0;  // followed for GET and HEAD, same scheme or better, same host only
};

struct ClientRequest {
  std::string method = "GET";
  std::string url = {};
  Headers headers = {};
  std::string body = {};
  std::optional<Milliseconds> timeout = {};  // instead of ClientOptions::timeout
  std::optional<std::size_t> max_body = {};
};

// Any thread, within the life of the runtime: a connection is only reused on the loop that made it. Retries nothing but
// an idempotent request, once, that met a pooled connection which the server had closed before it said a byte.
class HttpClient {
 public:
  explicit HttpClient(ClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // A whole response, of any status. Errors: malformed URL or answer, unavailable (connect, reset), timed_out,
  // too_large, crypto_failed (TLS).
  [[nodiscard]] Task<Response> send(ClientRequest request);
  [[nodiscard]] Task<Response> get(std::string url) { return send({.url = std::move(url)}); }
  // A response head, its body left to be read: for streams. The request body is in `request`.
  struct Open {
    ResponseHead head;
    ClientExchangePtr exchange;
  };
  [[nodiscard]] Task<Open> open(ClientRequest request);
  void close_idle();
  [[nodiscard]] CookieJar cookies() const;  // a copy
  void clear_cookies();

 private:
  struct State;
  struct Attempt;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::net
