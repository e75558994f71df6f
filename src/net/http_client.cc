#include "net/http_client.h"

#include <sys/socket.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "net/http1.h"

namespace cairn::net {

Task<std::string> ClientExchange::body(std::size_t limit) {
  std::string out;
  std::size_t size = 0;
  for (;;) {
    if (out.size() - size < 4096) out.resize(std::max<std::size_t>(size + 4096, std::min(size * 2, limit + 1)));
    CAIRN_CO_TRY(const std::size_t n,
                 co_await read_some({reinterpret_cast<std::uint8_t*>(out.data()) + size, out.size() - size}));
    size += n;
    if (size > limit) {
      close();
      co_return fail(ErrorCode::too_large, "http",
                     "the response body is larger than " + std::to_string(limit) + " bytes");
    }
    if (n == 0) break;
  }
  out.resize(size);
  co_return out;
}

// ---- one connection

struct Http1Connection::State {
  explicit State(StreamPtr s) : stream(std::move(s)), input(*stream) {}
  StreamPtr stream;  // empty once a tunnel took it
  http1::Input input;
  bool busy = false;
  bool usable = true;  // no exchange left it in the middle of something
  std::size_t exchanges = 0;

  [[nodiscard]] bool idle() const { return stream && usable && !busy && input.buffered().empty(); }
  // A server that closed an idle connection, or talked without being asked, makes it useless.
  [[nodiscard]] bool reusable() const { return idle() && stream->quiet(); }
};

namespace {

using Interim = std::function<void(const ResponseHead&)>;

class Http1ClientExchange final : public ClientExchange {
 public:
  Http1ClientExchange(std::shared_ptr<Http1Connection> keep, Stream& stream, http1::Input& input, bool& busy,
                      bool& usable, StreamPtr& owner, std::string method, BodyKind kind, Interim interim)
      : keep_(std::move(keep)),
        stream_(stream),
        input_(input),
        busy_(busy),
        usable_(usable),
        owner_(owner),
        method_(std::move(method)),
        kind_(kind),
        interim_(std::move(interim)),
        sent_(kind == BodyKind::none) {
    busy_ = true;
    usable_ = false;
  }
  ~Http1ClientExchange() override {
    if (tunnelled_) return;
    if (answered_ && sent_ && keep_alive_ && input_.complete())
      usable_ = true;
    else
      stream_.close();
    busy_ = false;
    if (on_done) on_done(usable_);
  }

  Task<> write(ByteView bytes) override {
    if (sent_) co_return fail(ErrorCode::internal, "http", "no request body was announced, or it has ended");
    if (bytes.empty()) co_return Result<>{};
    if (kind_ == BodyKind::sized) co_return co_await stream_.write(bytes);
    std::array<char, 20> size{};
    const int n = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
    const ByteView pieces[] = {as_bytes({size.data(), static_cast<std::size_t>(n)}), bytes, as_bytes("\r\n")};
    co_return co_await stream_.write(pieces);
  }

  Task<> end(Headers trailers) override {
    if (sent_) co_return Result<>{};
    sent_ = true;
    if (kind_ != BodyKind::chunked) co_return Result<>{};
    CAIRN_CO_TRY(const std::string tail, http1::format_trailers(trailers));
    const ByteView pieces[] = {as_bytes("0\r\n"), as_bytes(tail)};
    co_return co_await stream_.write(pieces);
  }

  Task<ResponseHead> head() override {
    for (std::size_t interims = 0;; ++interims) {
      if (interims > limits::kInterim) co_return fail(ErrorCode::too_large, "http", "too many interim responses");
      CAIRN_CO_TRY(const bool more, co_await input_.wait());
      if (!more)
        co_return fail(ErrorCode::unavailable, stream_.peer().text(),
                       "the server closed the connection without an answer");
      heard_ = true;
      CAIRN_CO_TRY(const std::string_view text, co_await input_.head(limits::kHeadBytes));
      CAIRN_CO_TRY(http1::ResponseMessage message, http1::parse_response(text, method_));
      if (message.head.status / 100 == 1 && message.head.status != 101) {
        if (interim_) interim_(message.head);
        continue;
      }
      status_ = message.head.status;
      answered_ = true;
      keep_alive_ = message.keep_alive && status_ != 101;
      input_.begin_body(message.framing, message.length);
      co_return std::move(message.head);
    }
  }

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    if (!answered_) co_return fail(ErrorCode::internal, "http", "read_some() before head()");
    co_return co_await input_.read_some(into);
  }
  const Headers& trailers() const override { return input_.trailers(); }

  Task<StreamPtr> tunnel() override {
    if (!answered_ || !(status_ == 101 || (method_ == "CONNECT" && status_ / 100 == 2)))
      co_return fail(ErrorCode::internal, "http", "the server agreed to no tunnel");
    tunnelled_ = true;
    co_return with_prefix(input_.take_buffered(), std::move(owner_));
  }
  void close() noexcept override {
    if (!tunnelled_) stream_.close();
  }
  void set_deadline(std::optional<Milliseconds> duration) override {
    if (!tunnelled_) stream_.set_deadline(duration);
  }
  [[nodiscard]] bool heard() const { return heard_; }

  std::function<void(bool usable)> on_done;

 private:
  std::shared_ptr<Http1Connection> keep_;
  Stream& stream_;
  http1::Input& input_;
  bool &busy_, &usable_;
  StreamPtr& owner_;
  std::string method_;
  BodyKind kind_;
  Interim interim_;
  bool sent_, answered_ = false, keep_alive_ = false, tunnelled_ = false, heard_ = false;
  int status_ = 0;
};

using Http1ClientExchangePtr = std::unique_ptr<Http1ClientExchange>;

}  // namespace

Http1Connection::Http1Connection(StreamPtr stream) : state_(std::make_shared<State>(std::move(stream))) {}
Http1Connection::~Http1Connection() = default;
bool Http1Connection::reusable() const { return state_->reusable(); }
void Http1Connection::close() noexcept {
  if (state_->stream) state_->stream->close();
}

Task<ClientExchangePtr> Http1Connection::start(const RequestHead& head, BodyKind kind, Interim interim) {
  State& s = *state_;
  if (!s.idle()) co_return fail(ErrorCode::unavailable, "http", "the connection is in use or at its end");
  Headers extra;
  if (kind == BodyKind::chunked) extra.add("Transfer-Encoding", "chunked");
  CAIRN_CO_TRY(const std::string text, http1::format_request(head, extra));
  auto exchange = std::make_unique<Http1ClientExchange>(nullptr, *s.stream, s.input, s.busy, s.usable, s.stream,
                                                        head.method, kind, std::move(interim));
  ++s.exchanges;
  CAIRN_CO_CHECK(co_await s.stream->write(text));
  co_return exchange;
}

// ---- the pool

struct HttpClient::State {
  using Connection = std::shared_ptr<Http1Connection>;
  struct Idle {
    Connection connection;
    Executor loop;
    std::chrono::steady_clock::time_point since;
  };

  ClientOptions options;
  std::mutex mutex;
  std::map<std::string, std::vector<Idle>> idle;
  CookieJar jar;
  std::shared_ptr<const TlsContext> tls;

  static Http1Connection::State& of(const Connection& c) { return *c->state_; }
  ~State() {
    for (auto& [key, list] : idle)
      for (Idle& one : list) retire(std::move(one));
  }
  // A connection ends on its own loop, whichever thread lets go of it.
  static void retire(Idle one) {
    const Executor loop = one.loop;
    post(loop, [keep = std::move(one.connection)] {});
  }

  Result<std::shared_ptr<const TlsContext>> context() {
    const std::lock_guard lock(mutex);
    if (!tls && options.tls) tls = options.tls;
    if (!tls) {
      TlsOptions made;
      made.extra_roots_pem = options.extra_roots_pem;
      made.alpn = {"http/1.1"};
      CAIRN_TRY(tls, TlsContext::client(std::move(made)));
    }
    return tls;
  }

  // An idle connection of this loop that still stands.
  Connection take(const std::string& key, const Executor& loop) {
    const std::lock_guard lock(mutex);
    auto& list = idle[key];
    const auto oldest = std::chrono::steady_clock::now() - limits::kClientIdle;
    for (std::size_t i = list.size(); i-- > 0;) {
      if (list[i].loop != loop) continue;
      Idle found = std::move(list[i]);
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      if (found.since >= oldest && found.connection->reusable()) return found.connection;
    }
    return nullptr;
  }
  void clear() {
    const std::lock_guard lock(mutex);
    for (auto& [key, list] : std::exchange(idle, {}))
      for (Idle& one : list) retire(std::move(one));
  }

  void give(const std::string& key, Connection connection, const Executor& loop) {
    const std::lock_guard lock(mutex);
    auto& list = idle[key];
    const auto time = std::chrono::steady_clock::now();
    while (!list.empty() && (list.size() >= options.idle_per_host || list.front().since < time - limits::kClientIdle)) {
      retire(std::move(list.front()));
      list.erase(list.begin());
    }
    list.push_back({std::move(connection), loop, time});
  }
};

namespace {

using Clock = std::chrono::steady_clock;

Milliseconds until(Clock::time_point end) {
  return std::max(Milliseconds(1), std::chrono::duration_cast<Milliseconds>(end - Clock::now()));
}

bool excluded(std::string_view host, std::string_view no_proxy) {
  while (!no_proxy.empty()) {
    const auto cut = no_proxy.find(',');
    std::string_view entry = no_proxy.substr(0, cut);
    while (entry.starts_with(' ') || entry.starts_with('.')) entry.remove_prefix(1);
    if (entry == "*") return true;
    if (!entry.empty() && host.ends_with(entry) &&
        (host.size() == entry.size() || host[host.size() - entry.size() - 1] == '.'))
      return true;
    if (cut == std::string_view::npos) return false;
    no_proxy.remove_prefix(cut + 1);
  }
  return false;
}

std::string environment(const char* lower, const char* upper) {
  for (const char* name : {lower, upper})
    if (const char* value = name == nullptr ? nullptr : std::getenv(name); value != nullptr) return value;
  return {};
}

// The proxy for a URL; nothing: go straight.
Result<std::optional<Url>> proxy_for(const Url& url, const ClientOptions& options) {
  std::string text = options.proxy;
  if (text.empty() && options.proxy_from_environment) {
    if (excluded(url.host, environment("no_proxy", "NO_PROXY"))) return std::nullopt;
    text = url.secure() ? environment("https_proxy", "HTTPS_PROXY") : environment("http_proxy", nullptr);
  }
  if (text.empty() || url.scheme == "http+unix") return std::nullopt;
  CAIRN_TRY(Url proxy, Url::parse(text));
  if (proxy.scheme != "http") return fail(ErrorCode::unsupported, "proxy", "only http:// proxies are supported");
  return proxy;
}

// Through a proxy to the server itself, for https.
Task<StreamPtr> through_proxy(StreamPtr stream, const Url& url, Clock::time_point end) {
  Http1Connection connection(std::move(stream));
  RequestHead head;
  head.method = "CONNECT";
  head.authority = url.authority();
  if (url.port == 443) head.authority += ":443";
  CAIRN_CO_TRY(ClientExchangePtr exchange, co_await connection.start(head, BodyKind::none));
  exchange->set_deadline(until(end));
  CAIRN_CO_TRY(const ResponseHead answer, co_await exchange->head());
  if (answer.status / 100 != 2)
    co_return fail(ErrorCode::unavailable, url.authority(),
                   "the proxy answered CONNECT with " + std::to_string(answer.status));
  exchange->set_deadline(std::nullopt);
  co_return co_await exchange->tunnel();
}

bool idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

}  // namespace

HttpClient::HttpClient(ClientOptions options) : state_(std::make_shared<State>()) {
  state_->options = std::move(options);
}
HttpClient::~HttpClient() = default;

void HttpClient::close_idle() { state_->clear(); }
CookieJar HttpClient::cookies() const {
  const std::lock_guard lock(state_->mutex);
  return state_->jar;
}
void HttpClient::clear_cookies() {
  const std::lock_guard lock(state_->mutex);
  state_->jar.clear();
}

// One request to one URL, up to the response head.
struct HttpClient::Attempt {
  std::shared_ptr<State> state;
  const ClientRequest& request;
  Url url;
  std::optional<Url> proxy;
  Clock::time_point end;

  std::string key() const {
    return url.scheme + "://" + (url.scheme == "http+unix" ? url.host : url.authority()) +
           (proxy ? "|" + proxy->authority() : "");
  }

  Task<State::Connection> dial() const {
    const Endpoint endpoint = url.scheme == "http+unix" ? Endpoint::local(url.host)
                              : proxy                   ? Endpoint::tcp(proxy->host, proxy->port)
                                                        : Endpoint::tcp(url.host, url.port);
    CAIRN_CO_TRY(StreamPtr stream,
                 co_await connect(endpoint, {.timeout = std::min(until(end), state->options.connect_timeout)}));
    if (url.secure()) {
      if (proxy) {
        auto tunnelled = co_await through_proxy(std::move(stream), url, end);
        if (!tunnelled) co_return fail(std::move(tunnelled).error());
        stream = std::move(*tunnelled);
      }
      CAIRN_CO_TRY(const auto context, state->context());
      CAIRN_CO_TRY(stream, co_await tls_connect(std::move(stream), context, url.host,
                                                std::min<Milliseconds>(until(end), limits::kTlsHandshake)));
    }
    co_return std::make_shared<Http1Connection>(std::move(stream));
  }

  RequestHead head() const {
    RequestHead out;
    out.method = request.method;
    out.scheme = url.scheme;
    out.authority = url.authority();
    out.target = url.target;
    out.absolute_form = proxy && !url.secure();
    out.headers = request.headers;
    if (!out.headers.has("user-agent")) out.headers.add("User-Agent", state->options.user_agent);
    if (!out.headers.has("accept")) out.headers.add("Accept", "*/*");
    const bool body = !request.body.empty() || out.method == "POST" || out.method == "PUT" || out.method == "PATCH";
    if (body) out.headers.set("Content-Length", std::to_string(request.body.size()));
    if (state->options.cookies) {
      const std::lock_guard lock(state->mutex);
      if (const std::string line = state->jar.header(url, now()); !line.empty()) out.headers.add("Cookie", line);
    }
    return out;
  }

  Task<Open> exchange_on(State::Connection connection, bool& heard) const {
    Http1Connection::State& c = State::of(connection);
    const RequestHead out = head();
    CAIRN_CO_TRY(const std::string text, http1::format_request(out, {}));
    auto exchange = std::make_unique<Http1ClientExchange>(connection, *c.stream, c.input, c.busy, c.usable, c.stream,
                                                          out.method, BodyKind::none, Interim{});
    ++c.exchanges;
    exchange->on_done = [pool = state, name = key(), link = std::weak_ptr(connection),
                         loop = c.stream->loop()](bool usable) {
      if (auto alive = link.lock(); alive && usable) pool->give(name, std::move(alive), loop);
    };
    exchange->set_deadline(until(end));
    const ByteView pieces[] = {as_bytes(text), as_bytes(request.body)};
    const Result<> sent = co_await c.stream->write(pieces);
    // Even if sending failed there may be an answer that says why.
    auto answer = co_await exchange->head();
    heard = exchange->heard();
    if (!answer) co_return fail(sent || heard ? std::move(answer).error() : sent.error());
    if (state->options.cookies) {
      const std::lock_guard lock(state->mutex);
      state->jar.store(url, answer->headers, now());
    }
    if (!sent) exchange->close();
    co_return Open{std::move(*answer), std::move(exchange)};
  }

  Task<Open> run() const {
    const Executor loop = co_await this_loop();
    if (auto pooled = state->take(key(), loop)) {
      bool heard = false;
      auto result = co_await exchange_on(std::move(pooled), heard);
      if (result || heard || result.error().code != ErrorCode::unavailable || !idempotent(request.method))
        co_return result;
    }
    CAIRN_CO_TRY(auto fresh, co_await dial());
    bool heard = false;
    co_return co_await exchange_on(std::move(fresh), heard);
  }
};

namespace {

// Where a redirection leads, if it is one we follow: same host, never from https to http.
std::optional<Url> redirection(const Url& from, const ResponseHead& head) {
  const int s = head.status;
  const auto location = head.headers.get("location");
  if (!location || (s != 301 && s != 302 && s != 303 && s != 307 && s != 308)) return std::nullopt;
  Url to = from;
  if (location->starts_with('/') && !location->starts_with("//")) {
    auto parsed = Url::parse(from.scheme + "://x" + std::string(*location));
    if (from.scheme == "http+unix" || !parsed) return std::nullopt;
    to.target = parsed->target;
    return to;
  }
  auto parsed = Url::parse(*location);
  if (!parsed || parsed->host != from.host || (from.secure() && !parsed->secure())) return std::nullopt;
  return std::move(*parsed);
}

}  // namespace

Task<HttpClient::Open> HttpClient::open(ClientRequest request) {
  const auto state = state_;
  const Milliseconds limit = request.timeout.value_or(state->options.timeout);
  const auto end = Clock::now() + limit;
  CAIRN_CO_TRY(Url url, Url::parse(request.url));
  for (unsigned followed = 0;; ++followed) {
    CAIRN_CO_TRY(auto proxy, proxy_for(url, state->options));
    const Attempt attempt{state, request, url, std::move(proxy), end};
    auto result = co_await attempt.run();
    if (!result) {
      if (result.error().code == ErrorCode::timed_out)
        co_return fail(ErrorCode::timed_out, url.authority(),
                       "no answer within " + std::to_string(limit.count()) + " ms");
      co_return result;
    }
    const auto next = redirection(url, result->head);
    const bool follow =
        next && followed < state->options.max_redirects && (request.method == "GET" || request.method == "HEAD");
    if (!follow) {
      result->exchange->set_deadline(std::nullopt);
      co_return result;
    }
    (void)co_await result->exchange->body(limits::kDrainForReuse);
    url = *next;
  }
}

Task<Response> HttpClient::send(ClientRequest request) {
  const auto end = Clock::now() + request.timeout.value_or(state_->options.timeout);
  const std::size_t limit = request.max_body.value_or(state_->options.max_body);
  CAIRN_CO_TRY(Open opened, co_await open(std::move(request)));
  opened.exchange->set_deadline(until(end));
  CAIRN_CO_TRY(std::string body, co_await opened.exchange->body(limit));
  opened.exchange->set_deadline(std::nullopt);
  co_return Response{opened.head.status, std::move(opened.head.headers), std::move(body)};
}

}  // namespace cairn::net
