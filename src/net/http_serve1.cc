// The server's HTTP/1.1 engine: one connection, exchange after exchange.
#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <charconv>

#include "base/log.h"
#include "net/http1.h"
#include "net/http_serve.h"

namespace cairn::net::serving {

namespace {

constexpr std::size_t kWriteStep = 256U << 10;  // each step of a long write has the whole stall timeout
constexpr auto kLinger = Milliseconds(1000);    // for a client still sending when we have answered and close

// Reads ahead while a handler runs, to notice that the client has gone.
class Watch {
 public:
  void start(http1::Input& input, const Executor& loop, std::function<void()> callback) {
    if (state_) return;
    state_ = std::make_shared<State>();
    state_->callback = std::move(callback);
    asio::co_spawn(loop, look(input, *state_),
                   asio::bind_cancellation_slot(state_->stop.slot(), [state = state_](std::exception_ptr, Result<>) {
                     state->running = false;
                     state->ended.set();
                   }));
  }
  // Ends the reading; nothing is lost of what it read.
  asio::awaitable<void> stop() {
    if (!state_) co_return;
    state_->callback = nullptr;
    while (state_->running) {
      state_->stop.emit(asio::cancellation_type::terminal);
      (void)co_await state_->ended.wait();
    }
    asio::post(co_await this_loop(), [keep = std::move(state_)] {});
    state_.reset();
  }

 private:
  struct State {
    asio::cancellation_signal stop;
    std::function<void()> callback;
    bool running = true;
    Event ended;
  };
  static Task<> look(http1::Input& input, State& state) {
    for (;;) {
      auto more = co_await input.peek();
      if (more && *more) continue;
      const bool full = more && !input.buffered().empty();
      const bool stopped = !more && more.error().code == ErrorCode::cancelled;
      if (!full && !stopped && state.callback) std::exchange(state.callback, nullptr)();
      co_return Result<>{};
    }
  }
  std::shared_ptr<State> state_;
};

class Http1Exchange final : public Exchange {
 public:
  Http1Exchange(Stream& stream, http1::Input& input, http1::Request request, const ServerOptions& options)
      : stream_(stream), input_(input), request_(std::move(request)), options_(options) {
    if (tls() != nullptr && !request_.head.absolute_form) request_.head.scheme = "https";
    max_body = options.max_body;
    keep_alive_ = request_.keep_alive;
    input_.begin_body(request_.framing, request_.length);
  }

  const RequestHead& request() const override { return request_.head; }
  const Endpoint& peer() const override { return stream_.peer(); }
  const Stream& connection() const override { return stream_; }
  const TlsInfo* tls() const override { return stream_.tls(); }
  const Headers& trailers() const override { return input_.trailers(); }
  bool started() const override { return started_; }

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    if (input_.complete()) co_return 0U;
    if (request_.expects_continue && !started_) {
      request_.expects_continue = false;
      CAIRN_CO_CHECK(co_await interim({100, {}}));
    }
    stream_.set_deadline(options_.stall_timeout);
    auto n = co_await input_.read_some(into);
    stream_.set_deadline(std::nullopt);
    co_return n;
  }

  Task<> respond(Response response) override {
    CAIRN_CO_CHECK(claim());
    ResponseHead head{response.status, std::move(response.headers)};
    const bool bodyless = has_no_body(head.status), swallowed = request_.head.method == "HEAD";
    head.headers.remove("transfer-encoding");
    if (bodyless)
      head.headers.remove("content-length");
    else if (!swallowed || !response.body.empty() || !head.headers.has("content-length"))
      head.headers.set("Content-Length", std::to_string(response.body.size()));
    CAIRN_CO_TRY(const std::string text, format(head));
    ended_ = true;
    const ByteView pieces[] = {as_bytes(text), bodyless || swallowed ? ByteView{} : as_bytes(response.body)};
    co_return co_await send(pieces);
  }

  Task<> begin(ResponseHead head) override {
    CAIRN_CO_CHECK(claim());
    head.headers.remove("transfer-encoding");
    if (has_no_body(head.status)) head.headers.remove("content-length");
    if (has_no_body(head.status) || request_.head.method == "HEAD") {
      mode_ = Mode::swallow;
    } else if (const auto length = head.headers.get("content-length")) {
      mode_ = Mode::sized;
      const auto [end, ec] = std::from_chars(length->data(), length->data() + length->size(), left_);
      if (ec != std::errc() || end != length->data() + length->size())
        co_return fail(ErrorCode::invalid_argument, "http", "the response's Content-Length is no number");
    } else if (request_.head.version == HttpVersion::http1_1) {
      mode_ = Mode::chunked;
      head.headers.add("Transfer-Encoding", "chunked");
    } else {
      mode_ = Mode::until_close;
      keep_alive_ = false;
    }
    CAIRN_CO_TRY(const std::string text, format(head));
    const ByteView pieces[] = {as_bytes(text)};
    co_return co_await send(pieces);
  }

  Task<> write(ByteView bytes) override {
    if (!started_ || ended_) co_return fail(ErrorCode::internal, "http", "write() outside of begin() and end()");
    if (bytes.empty() || mode_ == Mode::swallow) co_return Result<>{};
    if (mode_ == Mode::sized) {
      if (bytes.size() > left_) co_return fail(ErrorCode::internal, "http", "more bytes than Content-Length says");
      left_ -= bytes.size();
    }
    std::array<char, 20> size{};
    std::size_t digits = 0;
    if (mode_ == Mode::chunked) {
      char* end = std::to_chars(size.data(), size.data() + 16, bytes.size(), 16).ptr;
      *end++ = '\r';
      *end++ = '\n';
      digits = static_cast<std::size_t>(end - size.data());
    }
    const ByteView pieces[] = {as_bytes({size.data(), digits}), bytes,
                               mode_ == Mode::chunked ? as_bytes("\r\n") : ByteView{}};
    co_return co_await send(pieces);
  }

  Task<> end(Headers trailers) override {
    if (!started_ || ended_) co_return fail(ErrorCode::internal, "http", "end() without begin()");
    ended_ = true;
    if (mode_ == Mode::sized && left_ > 0) {
      cut_ = true;
      co_return fail(ErrorCode::internal, "http", "fewer bytes than Content-Length says");
    }
    if (mode_ != Mode::chunked) co_return Result<>{};
    CAIRN_CO_TRY(const std::string tail, http1::format_trailers(trailers));
    const ByteView pieces[] = {as_bytes("0\r\n"), as_bytes(tail)};
    co_return co_await send(pieces);
  }

  Task<> interim(ResponseHead head) override {
    if (started_ || head.status < 100 || head.status > 199 || head.status == 101)
      co_return fail(ErrorCode::internal, "http", "an interim response is 1xx and comes before the final one");
    if (request_.head.version != HttpVersion::http1_1) co_return Result<>{};
    if (head.status == 100) request_.expects_continue = false;
    CAIRN_CO_TRY(const std::string text, http1::format_response(head, {}));
    const ByteView pieces[] = {as_bytes(text)};
    co_return co_await send(pieces);
  }

  Task<StreamPtr> tunnel(ResponseHead head) override {
    const bool connect = request_.head.method == "CONNECT";
    if (connect ? head.status / 100 != 2 : head.status != 101 || !request_.head.headers.has("upgrade"))
      co_return fail(ErrorCode::invalid_argument, "http", "a tunnel needs CONNECT and 2xx, or Upgrade and 101");
    CAIRN_CO_CHECK(claim());
    ended_ = true;
    keep_alive_ = false;
    tunnelled_ = true;
    head.headers.remove("transfer-encoding");
    head.headers.remove("content-length");
    if (!connect) head.headers.set("Connection", "Upgrade");
    Headers extra;
    add_standard(extra, head.headers, options_);
    CAIRN_CO_TRY(const std::string text, http1::format_response(head, extra));
    co_await watch_.stop();
    const ByteView pieces[] = {as_bytes(text)};
    CAIRN_CO_CHECK(co_await send(pieces));
    co_return with_prefix(input_.take_buffered(), stream_);  // whose end is the server's business
  }

  void on_gone(std::function<void()> callback) override {
    if (!tunnelled_ && input_.complete()) watch_.start(input_, stream_.loop(), std::move(callback));
  }

  // After the handler: completes what it left open. true: the connection can serve another request.
  Task<bool> finish(const Result<>& result) {
    co_await watch_.stop();
    if (!started_) CAIRN_CO_CHECK(co_await respond(answer_for(result)));
    if (tunnelled_ || !ended_ || cut_) co_return false;
    if (!input_.complete() && keep_alive_) keep_alive_ = !request_.expects_continue && co_await drain();
    co_return keep_alive_;
  }
  // Instead of finish(), when the server cuts the connection.
  asio::awaitable<void> abandon() { return watch_.stop(); }
  bool tunnelled() const { return tunnelled_; }
  bool complete_answer() const { return ended_ && !cut_; }
  void last() { keep_alive_ = false; }

 private:
  enum class Mode { chunked, sized, until_close, swallow };

  Result<> claim() {
    if (started_) return fail(ErrorCode::internal, "http", "the exchange was answered already");
    started_ = true;
    return {};
  }

  Result<std::string> format(const ResponseHead& head) {
    Headers extra;
    add_standard(extra, head.headers, options_);
    if (request_.expects_continue) keep_alive_ = false;  // we do not know whether the body will come
    if (!keep_alive_ && !head.headers.has_token("connection", "close")) extra.add("Connection", "close");
    if (head.headers.has_token("connection", "close")) keep_alive_ = false;
    if (keep_alive_ && request_.head.version == HttpVersion::http1_0) extra.add("Connection", "keep-alive");
    auto text = http1::format_response(head, extra);
    if (text) return text;
    started_ = false;  // nothing was sent: the failure can still be told
    return fail(ErrorCode::internal, "http", text.error().message);
  }

  Task<> send(std::span<const ByteView> pieces) {
    std::size_t size = 0;
    for (const ByteView piece : pieces) size += piece.size();
    Result<> result;
    if (size <= kWriteStep) {
      stream_.set_deadline(options_.stall_timeout);
      result = co_await stream_.write(pieces);
    } else {
      for (ByteView piece : pieces) {
        while (result && !piece.empty()) {
          const ByteView step = piece.first(std::min(kWriteStep, piece.size()));
          piece = piece.subspan(step.size());
          stream_.set_deadline(options_.stall_timeout);
          result = co_await stream_.write(step);
        }
      }
    }
    stream_.set_deadline(std::nullopt);
    if (!result) cut_ = true;
    co_return result;
  }

  // Reads what the handler left of a small body. false: too much of it.
  asio::awaitable<bool> drain() {
    std::array<std::uint8_t, 4096> scratch;
    for (std::size_t seen = 0; seen <= limits::kDrainForReuse;) {
      stream_.set_deadline(kLinger);
      auto n = co_await input_.read_some(scratch);
      if (!n) co_return false;
      stream_.set_deadline(std::nullopt);
      if (*n == 0) co_return true;
      seen += *n;
    }
    co_return false;
  }

  Stream& stream_;
  http1::Input& input_;
  http1::Request request_;
  const ServerOptions& options_;
  bool keep_alive_ = true, started_ = false, ended_ = false, tunnelled_ = false;
  bool cut_ = false;  // the response cannot be completed
  Mode mode_ = Mode::sized;
  std::uint64_t left_ = 0;
  Watch watch_;
};

// Answers and waits a moment for the client to read it: closing with bytes unread would reset the connection.
asio::awaitable<void> linger(Stream& stream) {
  stream.set_deadline(kLinger);
  if (!co_await stream.shutdown_write()) co_return;
  std::array<std::uint8_t, 4096> scratch;
  for (std::size_t seen = 0; seen < kWriteStep;) {
    const auto n = co_await stream.read_some(scratch);
    if (!n || *n == 0) co_return;
    seen += *n;
  }
}

Task<> refuse(Stream& stream, http1::Refusal refusal, const ServerOptions& options) {
  Headers extra{{"Connection", "close"},
                {"Content-Type", "text/plain; charset=utf-8"},
                {"Content-Length", std::to_string(refusal.reason.size())}};
  add_standard(extra, {}, options);
  CAIRN_CO_TRY(const std::string head, http1::format_response({refusal.status, {}}, extra));
  stream.set_deadline(kLinger);
  const ByteView pieces[] = {as_bytes(head), as_bytes(refusal.reason)};
  CAIRN_CO_CHECK(co_await stream.write(pieces));
  co_await linger(stream);
  co_return Result<>{};
}

// The next request, a refusal to answer, or an error: the connection has simply ended.
Task<std::expected<http1::Request, http1::Refusal>> next_request(Stream& stream, http1::Input& input,
                                                                 const ServerOptions& options, bool& idle) {
  using Outcome = std::expected<http1::Request, http1::Refusal>;
  stream.set_deadline(options.idle_timeout);
  idle = true;
  CAIRN_CO_TRY(const bool more, co_await input.wait());
  idle = false;
  if (!more) co_return fail(ErrorCode::cancelled, "the client ended the connection");
  stream.set_deadline(options.head_timeout);
  const auto text = co_await input.head(options.max_head);
  stream.set_deadline(std::nullopt);
  if (text) co_return http1::parse_request(*text);
  switch (text.error().code) {
    case ErrorCode::malformed: co_return Outcome(std::unexpected(http1::Refusal{400, text.error().message}));
    case ErrorCode::too_large: co_return Outcome(std::unexpected(http1::Refusal{431, text.error().message}));
    case ErrorCode::timed_out:
      co_return Outcome(std::unexpected(http1::Refusal{408, "the request head did not come in time"}));
    default: co_return fail(text.error());
  }
}

}  // namespace

Task<> http1(StreamPtr owned, Context context) {
  Stream& stream = *owned;
  const ServerOptions& options = context.options;
  http1::Input input(stream);
  co_await finish_when_cancelled();
  bool idle = false;
  const Drain::Hook hook(context.drain, [&] {
    if (idle) stream.close();
  });
  for (std::size_t count = 1;; ++count) {
    CAIRN_CO_TRY(auto request, co_await next_request(stream, input, options, idle));
    if (!request) co_return co_await refuse(stream, std::move(request).error(), options);
    Http1Exchange exchange(stream, input, std::move(*request), options);
    const bool last = (options.max_requests != 0 && count >= options.max_requests) ||
                      (context.drain != nullptr && context.drain->started());
    if (last) exchange.last();
    const Result<> result = co_await guarded(context.handler, exchange);
    if (co_await cancelled()) {
      co_await exchange.abandon();
      co_return fail(ErrorCode::cancelled, "the server stops");
    }
    const auto more = co_await exchange.finish(result);
    if (more && *more && !(context.drain != nullptr && context.drain->started())) continue;
    if (more && exchange.complete_answer() && !exchange.tunnelled()) co_await linger(stream);
    co_return Result<>{};
  }
}

}  // namespace cairn::net::serving
