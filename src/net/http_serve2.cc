// The server's HTTP/2 engine: each stream an exchange.
#include <charconv>

#include "net/http2.h"
#include "net/http_serve.h"

namespace cairn::net::serving {

namespace {

class Http2Exchange final : public Exchange {
 public:
  Http2Exchange(Http2StreamPtr stream, const Stream& transport, const ServerOptions& options)
      : stream_(std::move(stream)), transport_(transport), options_(options) {
    max_body = options.max_body;
  }

  const RequestHead& request() const override { return stream_ ? stream_->request() : request_; }
  const Endpoint& peer() const override { return transport_.peer(); }
  const Stream& connection() const override { return transport_; }
  const TlsInfo* tls() const override { return transport_.tls(); }
  const Headers& trailers() const override {
    static const Headers none;
    return stream_ ? stream_->trailers() : none;
  }
  bool started() const override { return started_; }

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    if (tunnelled_) co_return fail(ErrorCode::internal, "http", "the exchange became a tunnel");
    if (!started_ && !continued_ && request().headers.has_token("expect", "100-continue")) {
      continued_ = true;
      CAIRN_CO_CHECK(co_await interim({100, {}}));
    }
    stream_->set_deadline(options_.stall_timeout);
    auto n = co_await stream_->read_some(into);
    stream_->set_deadline(std::nullopt);
    co_return n;
  }

  Task<> respond(Response response) override {
    const bool bodyless = has_no_body(response.status), swallowed = request().method == "HEAD";
    if (bodyless)
      response.headers.remove("content-length");
    else if (!swallowed || !response.body.empty() || !response.headers.has("content-length"))
      response.headers.set("Content-Length", std::to_string(response.body.size()));
    const bool empty = bodyless || swallowed || response.body.empty();
    CAIRN_CO_CHECK(co_await send_head({response.status, std::move(response.headers)}, empty));
    ended_ = true;
    if (empty) co_return Result<>{};
    CAIRN_CO_CHECK(co_await send(as_bytes(response.body)));
    co_return co_await stream_->shutdown_write();
  }

  Task<> begin(ResponseHead head) override {
    if (has_no_body(head.status)) head.headers.remove("content-length");
    swallow_ = has_no_body(head.status) || request().method == "HEAD";
    return send_head(std::move(head), false);
  }

  Task<> write(ByteView bytes) override {
    if (!started_ || ended_ || tunnelled_)
      co_return fail(ErrorCode::internal, "http", "write() outside of begin() and end()");
    if (swallow_ || bytes.empty()) co_return Result<>{};
    co_return co_await send(bytes);
  }

  Task<> end(Headers trailers) override {
    if (!started_ || ended_) co_return fail(ErrorCode::internal, "http", "end() without begin()");
    ended_ = true;
    if (tunnelled_) co_return fail(ErrorCode::internal, "http", "the exchange became a tunnel");
    if (trailers.empty()) co_return co_await stream_->shutdown_write();
    co_return co_await stream_->send_trailers(std::move(trailers));
  }

  Task<> interim(ResponseHead head) override {
    if (started_ || head.status < 100 || head.status > 199 || head.status == 101)
      co_return fail(ErrorCode::internal, "http", "an interim response is 1xx and comes before the final one");
    co_return co_await stream_->respond(std::move(head));
  }

  Task<StreamPtr> tunnel(ResponseHead head) override {
    if (head.status / 100 != 2) co_return fail(ErrorCode::invalid_argument, "http", "a tunnel begins with 2xx");
    CAIRN_CO_CHECK(co_await send_head(std::move(head), false));
    tunnelled_ = true;
    request_ = stream_->request();
    co_return std::move(stream_);
  }

  void on_gone(std::function<void()> callback) override {
    if (stream_) stream_->on_reset(std::move(callback));
  }

  Task<> finish(const Result<>& result) {
    if (stream_) stream_->on_reset({});
    if (tunnelled_) co_return Result<>{};
    if (!started_) co_return co_await respond(answer_for(result));
    if (!ended_) stream_->reset(Http2Error::internal);
    co_return Result<>{};
  }

 private:
  Task<> send_head(ResponseHead head, bool end_now) {
    if (started_) co_return fail(ErrorCode::internal, "http", "the exchange was answered already");
    Headers extra;
    add_standard(extra, head.headers, options_);
    for (const auto& f : extra) head.headers.add(f.name, f.value);
    started_ = true;
    auto sent = co_await stream_->respond(std::move(head), end_now);
    if (sent || sent.error().code != ErrorCode::invalid_argument) co_return sent;
    started_ = false;  // nothing was sent: the failure can still be told
    co_return fail(ErrorCode::internal, "http", sent.error().message);
  }
  Task<> send(ByteView bytes) {
    constexpr std::size_t kStep = 256U << 10;
    Result<> result;
    while (result && !bytes.empty()) {
      const ByteView step = bytes.first(std::min(kStep, bytes.size()));
      bytes = bytes.subspan(step.size());
      stream_->set_deadline(options_.stall_timeout);
      result = co_await stream_->write(step);
    }
    stream_->set_deadline(std::nullopt);
    co_return result;
  }

  Http2StreamPtr stream_;  // empty once it is a tunnel
  RequestHead request_;    // then
  const Stream& transport_;
  const ServerOptions& options_;
  bool started_ = false, ended_ = false, swallow_ = false, tunnelled_ = false, continued_ = false;
};

}  // namespace

Task<> http2(StreamPtr stream, Context context) {
  co_await finish_when_cancelled();
  Http2Options options;
  options.max_head = context.options.max_head;
  const Stream* transport = stream.get();
  const Handler& handler = context.handler;
  const ServerOptions& server = context.options;
  const auto serve = [&handler, &server, transport](Http2StreamPtr one) -> Task<> {
    return [](Http2StreamPtr s, const Stream& t, const Handler& h, const ServerOptions& o) -> Task<> {
      Http2Exchange exchange(std::move(s), t, o);
      const Result<> result = co_await guarded(h, exchange);
      (void)co_await exchange.finish(result);
      co_return Result<>{};
    }(std::move(one), *transport, handler, server);
  };
  const auto session = Http2Session::server(std::move(stream), serve, options);
  const Drain::Hook hook(context.drain, [&] { session->shutdown(); });
  if (context.drain != nullptr && context.drain->started()) session->shutdown();
  // A connection without streams ends like an idle HTTP/1.1 one.
  TaskGroup idle(co_await this_loop());
  const auto watch = [](Http2Session& s, Milliseconds limit) -> Task<> {
    for (;;) {
      CAIRN_CO_CHECK(co_await sleep_for(std::max(Milliseconds(100), limit - s.idle_for())));
      if (s.idle_for() >= limit) s.shutdown();
    }
  };
  idle.spawn(watch(*session, server.idle_timeout), "idle");
  auto result = co_await session->run();
  co_await idle.stop();
  co_return result;
}

}  // namespace cairn::net::serving
