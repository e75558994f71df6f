#include "net/http2.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "net/deadline.h"

namespace cairn::net {

namespace {

constexpr std::size_t kQueued = 256U << 10;     // bytes of a stream that write() leaves behind at most
constexpr std::size_t kDataFrame = 128U << 10;  // longest DATA frame sent, where the peer takes it
constexpr std::size_t kGather = 256U << 10;     // bytes handed to the transport at a time
constexpr std::size_t kReceive = 256U << 10;
constexpr auto kGoodbye = Milliseconds(1000);  // for telling a peer what it did wrong

struct Core;

// Header fields in nghttp2's form; owns the lower-cased names.
class Fields {
 public:
  void add(std::string_view name, std::string_view value) {
    names_.push_back(lowered(name));
    values_.emplace_back(value);
  }
  void add(const Headers& headers) {
    for (const auto& f : headers) {
      static constexpr std::string_view kNotInHttp2[] = {"connection",        "keep-alive", "proxy-connection",
                                                         "transfer-encoding", "upgrade",    "host"};
      if (std::ranges::any_of(kNotInHttp2, [&](std::string_view n) { return equal_ignoring_case(n, f.name); }))
        continue;
      valid_ = valid_ && valid_field_name(f.name) && valid_field_value(f.value);
      add(f.name, f.value);
    }
  }
  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] std::vector<nghttp2_nv> view() {
    std::vector<nghttp2_nv> out;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const auto bytes = [](std::string& s) { return reinterpret_cast<std::uint8_t*>(s.data()); };
      out.push_back({bytes(names_[i]), bytes(values_[i]), names_[i].size(), values_[i].size(), NGHTTP2_NV_FLAG_NONE});
    }
    return out;
  }

 private:
  std::deque<std::string> names_, values_;
  bool valid_ = true;
};

// One stream, shared by its handle and the session.
struct StreamState {
  std::int32_t id = 0;
  Core* core = nullptr;  // empty once the session is gone
  RequestHead request;
  std::optional<ResponseHead> response;
  Headers trailers;
  ResponseHead incoming;  // head or trailers being received
  std::size_t head_size = 0;
  bool has_final_head = false;  // further header blocks are trailers

  Bytes in;  // received, not yet read
  std::size_t in_at = 0;
  std::span<std::uint8_t>* waiting = nullptr;  // where a reader wants them
  std::size_t delivered = 0;
  bool remote_ended = false;

  std::deque<Bytes> out;  // written, not yet framed
  std::size_t out_at = 0, queued = 0;
  bool local_ended = false, end_framed = false, deferred = false;
  std::optional<Fields> last_words;  // trailers to be sent

  bool closed = false, abandoned = false;  // abandoned: nobody reads or writes it any more
  std::optional<Error> failure;
  bool credit_returned = false;
  Event head_ready, readable, writable;
  std::function<void()> on_reset;

  void fail_with(Error error) {
    if (!failure) failure = std::move(error);
    closed = true;
    core = nullptr;
    head_ready.set();
    readable.set();
    writable.set();
    if (on_reset && !(remote_ended && end_framed)) std::exchange(on_reset, nullptr)();
  }
  void close_orderly() {
    closed = true;
    core = nullptr;
    head_ready.set();
    readable.set();
    writable.set();
  }
};
using StatePtr = std::shared_ptr<StreamState>;

std::unexpected<Error> bad_field() {
  return fail(ErrorCode::invalid_argument, "http2",
              "a header field to be sent holds characters that do not belong there");
}
Error gone(std::string message) { return {ErrorCode::unavailable, "http2", std::move(message)}; }

// The protocol state of a connection, without its loops.
struct Core {
  nghttp2_session* ng = nullptr;
  Http2Options options;
  bool server = false;
  std::unordered_map<std::int32_t, StatePtr> streams;
  std::function<void(const StatePtr&)> on_request;
  Event work;                    // the writer has something to do
  std::vector<ByteView> pieces;  // being gathered for the transport
  std::size_t gathered = 0;
  std::deque<Bytes> small, in_flight;  // what `pieces` points to, beside the streams' queues
  bool credit_returned = false;
  bool goaway_received = false;
  std::chrono::steady_clock::time_point last_stream = std::chrono::steady_clock::now();

  Core(bool is_server, const Http2Options& o);
  ~Core() { nghttp2_session_del(ng); }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  void kick() { work.set(); }
  StatePtr find(std::int32_t id) const {
    const auto at = streams.find(id);
    return at == streams.end() ? nullptr : at->second;
  }
  void gather_small(ByteView bytes) {
    if (small.empty() || small.back().capacity() - small.back().size() < bytes.size()) {
      small.emplace_back();
      small.back().reserve(std::max<std::size_t>(bytes.size(), 4096));
    }
    Bytes& arena = small.back();
    const std::size_t at = arena.size();
    append(arena, bytes);
    pieces.emplace_back(arena.data() + at, bytes.size());
    gathered += bytes.size();
  }
  // Moves `length` bytes of the stream's queue into the gathering.
  void gather_data(StreamState& s, std::size_t length) {
    gathered += length;
    s.queued -= length;
    while (length > 0) {
      Bytes& block = s.out.front();
      const std::size_t n = std::min(length, block.size() - s.out_at);
      pieces.emplace_back(block.data() + s.out_at, n);
      s.out_at += n;
      length -= n;
      if (s.out_at < block.size()) break;
      in_flight.push_back(std::move(block));  // moving keeps the bytes where they are
      s.out.pop_front();
      s.out_at = 0;
    }
    if (s.queued <= kQueued) s.writable.set();
  }
  void forget(const StatePtr& s) {
    for (Bytes& block : s->out) in_flight.push_back(std::move(block));  // may be in `pieces`
    s->out.clear();
    s->queued = s->out_at = 0;
    streams.erase(s->id);
    if (streams.empty()) last_stream = std::chrono::steady_clock::now();
  }
  void resume(StreamState& s) {
    if (std::exchange(s.deferred, false)) nghttp2_session_resume_data(ng, s.id);
    kick();
  }
  void consumed(StreamState& s, std::size_t n) {
    if (n == 0) return;
    if (s.core != nullptr)
      nghttp2_session_consume(ng, s.id, n);
    else
      nghttp2_session_consume_connection(ng, n);
    kick();
  }
};

Core& of(void* user) { return *static_cast<Core*>(user); }

// ---- callbacks

nghttp2_ssize read_data(nghttp2_session*, std::int32_t id, std::uint8_t*, std::size_t length, std::uint32_t* flags,
                        nghttp2_data_source*, void* user) {
  const StatePtr s = of(user).find(id);
  if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const std::size_t n = std::min(length, s->queued);
  if (n == 0 && !s->local_ended) {
    s->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (s->local_ended && n == s->queued) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->last_words) {  // submitted here, so that they follow the last DATA
      const auto nv = s->last_words->view();
      if (nghttp2_submit_trailer(of(user).ng, id, nv.data(), nv.size()) == 0) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
  }
  return static_cast<nghttp2_ssize>(n);
}

int send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t length,
              nghttp2_data_source*, void* user) {
  constexpr std::size_t kFrameHeader = 9;
  Core& core = of(user);
  const StatePtr s = core.find(frame->hd.stream_id);
  if (!s || frame->data.padlen > 0 || length > s->queued) return NGHTTP2_ERR_CALLBACK_FAILURE;
  core.gather_small({header, kFrameHeader});
  core.gather_data(*s, length);
  return core.gathered >= kGather ? static_cast<int>(NGHTTP2_ERR_PAUSE) : 0;
}

nghttp2_ssize data_frame_size(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t session_window,
                              std::int32_t stream_window, std::uint32_t max_frame, void*) {
  return std::min<nghttp2_ssize>(
      {session_window, stream_window, static_cast<nghttp2_ssize>(max_frame), static_cast<nghttp2_ssize>(kDataFrame)});
}

int begin_headers(nghttp2_session* ng, const nghttp2_frame* frame, void* user) {
  Core& core = of(user);
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  StatePtr s = core.find(frame->hd.stream_id);
  if (!s) {
    if (!core.server) return 0;
    s = std::make_shared<StreamState>();
    s->id = frame->hd.stream_id;
    s->core = &core;
    s->request.version = HttpVersion::http2;
    core.streams.emplace(s->id, s);
    nghttp2_session_set_stream_user_data(ng, s->id, s.get());
  }
  s->incoming = {0, {}};
  s->head_size = 0;
  return 0;
}

int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
              const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
  Core& core = of(user);
  const StatePtr s = core.find(frame->hd.stream_id);
  if (!s || frame->hd.type != NGHTTP2_HEADERS) return 0;
  s->head_size += name_size + value_size + 32;
  if (s->head_size > core.options.max_head || s->incoming.headers.size() >= limits::kHeaders) {
    s->head_size = core.options.max_head + 1;  // the rest is skipped; answered when the head is complete
    return 0;
  }
  const std::string_view key = as_text({name, name_size}), text = as_text({value, value_size});
  if (!key.starts_with(':')) {
    s->incoming.headers.add(std::string(key), std::string(text));
    return 0;
  }
  if (key == ":status")
    s->incoming.status = std::atoi(std::string(text).c_str());
  else if (key == ":method")
    s->request.method = text;
  else if (key == ":scheme")
    s->request.scheme = text;
  else if (key == ":authority")
    s->request.authority = text;
  else if (key == ":path")
    s->request.target = text;
  return 0;
}

// A status for a request that is not passed on, or 0.
int refusal(const StreamState& s, const Http2Options& options) {
  if (s.head_size > options.max_head) return 431;
  const RequestHead& r = s.request;
  if (r.target.size() > limits::kTarget) return 414;
  if (!r.authority.empty() && !parse_authority(r.authority, 80)) return 400;
  if (r.method == "CONNECT") return r.authority.empty() ? 400 : 0;
  const bool plain = std::ranges::all_of(r.target, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  return plain && (r.target.starts_with('/') || (r.target == "*" && r.method == "OPTIONS")) ? 0 : 400;
}

void request_complete(Core& core, const StatePtr& s) {
  s->request.headers = std::move(s->incoming.headers);
  if (s->request.authority.empty())
    if (const auto host = s->request.headers.get("host")) s->request.authority = *host;
  s->has_final_head = true;
  if (const int status = refusal(*s, core.options); status != 0) {
    Fields fields;
    fields.add(":status", std::to_string(status));
    const auto nv = fields.view();
    s->abandoned = s->local_ended = true;  // on_sent() ends the stream when the answer is out
    nghttp2_submit_response2(core.ng, s->id, nv.data(), nv.size(), nullptr);
    return;
  }
  core.on_request(s);
}

void headers_complete(Core& core, const StatePtr& s) {
  if (s->has_final_head) {
    s->trailers = std::move(s->incoming.headers);
  } else if (core.server) {
    request_complete(core, s);
  } else if (s->head_size > core.options.max_head) {
    nghttp2_submit_rst_stream(core.ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    s->failure = Error{ErrorCode::too_large, "http2", "the response head is too large"};
    s->head_ready.set();
  } else if (s->incoming.status / 100 != 1) {
    s->has_final_head = true;
    s->response = std::move(s->incoming);
    s->head_ready.set();
  }
}

int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  Core& core = of(user);
  if (frame->hd.type == NGHTTP2_GOAWAY) core.goaway_received = true;
  const StatePtr s = core.find(frame->hd.stream_id);
  if (frame->hd.type == NGHTTP2_WINDOW_UPDATE) {
    (frame->hd.stream_id == 0 ? core.credit_returned : s ? s->credit_returned : core.credit_returned) = true;
    return 0;
  }
  if (!s) return 0;
  if (frame->hd.type == NGHTTP2_HEADERS) headers_complete(core, s);
  if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    s->remote_ended = true;
    s->readable.set();
  }
  return 0;
}

int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void* user) {
  Core& core = of(user);
  const StatePtr s = core.find(id);
  if (!s || s->abandoned) {
    nghttp2_session_consume(core.ng, id, size);
    return 0;
  }
  ByteView bytes{data, size};
  if (s->waiting != nullptr && s->in.empty() && s->delivered < s->waiting->size()) {
    const std::size_t n = std::min(bytes.size(), s->waiting->size() - s->delivered);
    std::copy_n(bytes.begin(), n, s->waiting->begin() + static_cast<std::ptrdiff_t>(s->delivered));
    s->delivered += n;
    bytes = bytes.subspan(n);
  }
  append(s->in, bytes);
  s->readable.set();
  return 0;
}

int on_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  const bool data = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
  if (!data || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  const StatePtr s = of(user).find(frame->hd.stream_id);
  if (!s) return 0;
  s->end_framed = true;
  // What was answered in full needs no more of the request: that is no error (RFC 9113 §8.1).
  if (s->abandoned && !s->remote_ended)
    nghttp2_submit_rst_stream(of(user).ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
  return 0;
}

int on_stream_end(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
  Core& core = of(user);
  const StatePtr s = core.find(id);
  if (!s) return 0;
  core.forget(s);
  if (code == NGHTTP2_NO_ERROR && s->remote_ended && s->end_framed)
    s->close_orderly();
  else
    s->fail_with(gone(code == NGHTTP2_NO_ERROR ? "the stream was closed early"
                                               : std::string("the stream was reset: ") + nghttp2_http2_strerror(code)));
  return 0;
}

const nghttp2_session_callbacks* callbacks() {
  static nghttp2_session_callbacks* const all = [] {
    nghttp2_session_callbacks* c = nullptr;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback2(c, data_frame_size);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_end);
    return c;
  }();
  return all;
}

Core::Core(bool is_server, const Http2Options& o) : options(o), server(is_server) {
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, 100);
  if (server)
    nghttp2_session_server_new2(&ng, callbacks(), this, option);
  else
    nghttp2_session_client_new2(&ng, callbacks(), this, option);
  nghttp2_option_del(option);
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, std::clamp(options.max_frame, 16384U, 16777215U)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(options.max_head)}};
  if (server)
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_streams});
  else
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(options.connection_window));
}

// ---- the session

class Session final : public Http2Session, public std::enable_shared_from_this<Session> {
 public:
  Session(StreamPtr transport, bool server, OnStream on_stream, const Http2Options& options)
      : transport_(std::move(transport)),
        core_(server, options),
        on_stream_(std::move(on_stream)),
        handlers_(transport_->loop()),
        silence_(transport_->loop(), [this] { silent(); }) {
    core_.on_request = [this](const StatePtr& s) { accept(s); };
    if (options.ping_interval.count() > 0) silence_.set(options.ping_interval);
  }
  ~Session() override { fail_streams(gone("the connection was closed")); }

  Task<> run() override {
    const auto self = shared_from_this();
    co_await finish_when_cancelled();
    const Result<> result = co_await both(receive(), send());
    silence_.set(std::nullopt);
    transport_->close();
    fail_streams(gone("the connection ended"));
    co_await handlers_.stop(limits::kStallTimeout);
    ended_ = true;
    if (failure_) co_return fail(*failure_);
    co_return result;
  }

  Task<Http2StreamPtr> open(RequestHead head, bool end) override;
  bool can_open() const override {
    return !ended_ && !stopping_ && !core_.goaway_received && nghttp2_session_check_request_allowed(core_.ng) == 1;
  }
  std::size_t streams() const override { return core_.streams.size(); }
  Milliseconds idle_for() const override {
    if (!core_.streams.empty()) return Milliseconds(0);
    return std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - core_.last_stream);
  }
  void shutdown() override {
    if (std::exchange(stopping_, true)) return;
    nghttp2_submit_goaway(core_.ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(core_.ng),
                          NGHTTP2_NO_ERROR, nullptr, 0);
    core_.kick();
  }
  void close() noexcept override {
    stopping_ = closed_ = true;
    transport_->close();
    core_.kick();
  }
  const Stream& transport() const override { return *transport_; }
  std::int64_t send_credit() const override { return nghttp2_session_get_remote_window_size(core_.ng); }
  bool credit_ever_returned() const override { return core_.credit_returned; }

  Core& core() { return core_; }

 private:
  bool done() const { return nghttp2_session_want_read(core_.ng) == 0 && nghttp2_session_want_write(core_.ng) == 0; }
  void accept(const StatePtr& s);

  void broke(Error error) {
    if (!failure_ && !closed_) failure_ = std::move(error);
    transport_->close();
    core_.kick();
    receiving_ = false;
  }
  void fail_streams(const Error& error) {
    while (!core_.streams.empty()) {
      const StatePtr s = core_.streams.begin()->second;
      core_.forget(s);
      s->fail_with(error);
    }
  }
  void silent() {
    if (ping_sent_)
      return broke({ErrorCode::timed_out, transport_->peer().text(), "the HTTP/2 peer does not answer pings"});
    ping_sent_ = true;
    nghttp2_submit_ping(core_.ng, NGHTTP2_FLAG_NONE, nullptr);
    silence_.set(core_.options.ping_timeout);
    core_.kick();
  }

  Task<> receive() {
    std::size_t size = limits::kReadBuffer;
    auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(size);
    while (receiving_) {
      auto n = co_await transport_->read_some({buffer.get(), size});
      if (!receiving_) break;
      if (!n || *n == 0) {
        // Without streams nothing is lost, however abruptly the peer went.
        const bool quiet = core_.streams.empty() && (n || n.error().code == ErrorCode::unavailable);
        if (quiet || (!n && closed_))
          receiving_ = false;
        else
          broke(n ? gone("the HTTP/2 peer ended the connection") : std::move(n).error());
        break;
      }
      if (core_.options.ping_interval.count() > 0) silence_.set(core_.options.ping_interval);
      ping_sent_ = false;
      const nghttp2_ssize taken = nghttp2_session_mem_recv2(core_.ng, buffer.get(), *n);
      core_.kick();
      if (taken < 0) {
        failure_ = Error{ErrorCode::malformed, transport_->peer().text(),
                         std::string("HTTP/2: ") + nghttp2_strerror(static_cast<int>(taken))};
        receiving_ = false;
        transport_->set_deadline(kGoodbye);
      }
      if (*n == size && size < kReceive) buffer = std::make_unique_for_overwrite<std::uint8_t[]>(size = kReceive);
    }
    core_.kick();
    co_return Result<>{};
  }

  // Gathers frames until there is a good load or no more; false: nghttp2 gave up.
  bool gather() {
    while (core_.gathered < kGather) {
      const std::uint8_t* data = nullptr;
      const std::size_t before = core_.gathered;
      const nghttp2_ssize n = nghttp2_session_mem_send2(core_.ng, &data);
      if (n < 0) return false;
      if (n > 0) core_.gather_small({data, static_cast<std::size_t>(n)});
      if (core_.gathered == before) break;
    }
    return true;
  }

  Task<> send() {
    for (;;) {
      if (!gather()) {
        broke({ErrorCode::internal, "http2", "frames cannot be made"});
        break;
      }
      if (core_.gathered > 0) {
        const Result<> sent = co_await transport_->write(std::span<const ByteView>(core_.pieces));
        core_.pieces.clear();
        core_.small.clear();
        core_.in_flight.clear();
        core_.gathered = 0;
        if (!sent) {
          if (receiving_) broke(sent.error());
          break;
        }
        continue;
      }
      if (!receiving_ || done()) break;
      if (!co_await core_.work.wait()) break;
    }
    if (receiving_) {  // all is said: wait for the peer's end no longer
      receiving_ = false;
      closed_ = true;
      (void)co_await transport_->shutdown_write();
      transport_->close();
    }
    co_return Result<>{};
  }

  StreamPtr transport_;
  Core core_;
  OnStream on_stream_;
  TaskGroup handlers_;
  Deadline silence_;
  bool ping_sent_ = false, receiving_ = true, stopping_ = false, closed_ = false, ended_ = false;
  std::optional<Error> failure_;
};

// ---- a stream's handle

class StreamHandle final : public Http2Stream {
 public:
  StreamHandle(StatePtr state, std::weak_ptr<Session> session, Executor loop, Endpoint peer)
      : s_(std::move(state)),
        session_(std::move(session)),
        loop_(std::move(loop)),
        peer_(std::move(peer)),
        deadline_(loop_, [this] {
          s_->head_ready.set();
          s_->readable.set();
          s_->writable.set();
        }) {}
  ~StreamHandle() override {
    s_->on_reset = nullptr;
    const auto session = session_.lock();
    if (session) session->core().consumed(*s_, s_->in.size() - s_->in_at);
    s_->abandoned = true;
    if (!s_->local_ended)
      end(Http2Error::cancel);  // else the rest is sent, and then on_sent() ends it
    else if (s_->core != nullptr && s_->end_framed)
      end(Http2Error::no_error);
  }

  std::int32_t id() const override { return s_->id; }
  const RequestHead& request() const override { return s_->request; }
  const Headers& trailers() const override { return s_->trailers; }
  Executor loop() const override { return loop_; }
  const Endpoint& peer() const override { return peer_; }
  void set_deadline(std::optional<Milliseconds> duration) override { deadline_.set(duration); }
  bool credit_ever_returned() const override { return s_->credit_returned; }
  void on_reset(std::function<void()> callback) override {
    if (callback && s_->failure) return callback();
    s_->on_reset = std::move(callback);
  }
  bool quiet() const override { return !s_->failure && !s_->closed && !s_->remote_ended && s_->in_at == s_->in.size(); }
  std::int64_t send_credit() const override {
    if (s_->core == nullptr) return 0;
    const std::int64_t window = std::min(nghttp2_session_get_stream_remote_window_size(s_->core->ng, s_->id),
                                         nghttp2_session_get_remote_window_size(s_->core->ng));
    return std::max<std::int64_t>(0, window - static_cast<std::int64_t>(s_->queued));
  }

  Task<ResponseHead> response() override {
    const StatePtr s = s_;
    while (!s->response) {
      CAIRN_CO_CHECK(usable());
      if (s->closed) co_return fail(gone("the stream ended without an answer"));
      CAIRN_CO_CHECK(co_await s->head_ready.wait());
    }
    co_return *s->response;
  }

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    const StatePtr s = s_;
    while (s->in_at == s->in.size()) {
      if (deadline_.expired()) co_return fail(expired());
      if (s->remote_ended) co_return 0U;
      CAIRN_CO_CHECK(usable());
      if (s->closed) co_return fail(gone("the stream was closed"));
      struct Waiting {  // bytes that arrive meanwhile go straight to the reader
        StreamState& state;
        Waiting(StreamState& st, std::span<std::uint8_t>& to) : state(st) {
          state.delivered = 0;
          state.waiting = &to;
        }
        ~Waiting() { state.waiting = nullptr; }
      } waiting(*s, into);
      const Result<> woken = co_await s->readable.wait();
      if (s->delivered > 0) {
        const std::size_t n = s->delivered;
        give_back(*s, n);
        co_return n;
      }
      CAIRN_CO_CHECK(woken);
    }
    const std::size_t n = std::min(into.size(), s->in.size() - s->in_at);
    std::copy_n(s->in.begin() + static_cast<std::ptrdiff_t>(s->in_at), n, into.begin());
    s->in_at += n;
    if (s->in_at == s->in.size()) {
      s->in.clear();
      s->in_at = 0;
    }
    give_back(*s, n);
    co_return n;
  }

  Task<> write(std::span<const ByteView> pieces) override {
    const StatePtr s = s_;
    Bytes block;
    for (ByteView piece : pieces) {
      while (!piece.empty()) {
        const ByteView step = piece.first(std::min(piece.size(), kQueued - block.size()));
        append(block, step);
        piece = piece.subspan(step.size());
        if (block.size() == kQueued) CAIRN_CO_CHECK(co_await put(*s, std::exchange(block, {})));
      }
    }
    if (!block.empty()) CAIRN_CO_CHECK(co_await put(*s, std::move(block)));
    co_return Result<>{};
  }

  Task<> shutdown_write() override {
    if (s_->local_ended) co_return Result<>{};
    CAIRN_CO_CHECK(usable());
    if (s_->core == nullptr) co_return fail(gone("the stream was closed"));
    s_->local_ended = true;
    s_->core->resume(*s_);
    co_return Result<>{};
  }

  Task<> send_trailers(Headers trailers) override {
    CAIRN_CO_CHECK(usable());
    if (s_->core == nullptr || s_->local_ended) co_return fail(gone("the stream has ended"));
    Fields fields;
    fields.add(trailers);
    if (!fields.valid()) co_return bad_field();
    if (!trailers.empty()) s_->last_words = std::move(fields);
    s_->local_ended = true;
    s_->core->resume(*s_);
    co_return Result<>{};
  }

  Task<> respond(ResponseHead head, bool end_now) override {
    CAIRN_CO_CHECK(usable());
    if (s_->core == nullptr) co_return fail(gone("the stream was closed"));
    Fields fields;
    fields.add(":status", std::to_string(head.status));
    fields.add(head.headers);
    if (!fields.valid() || head.status < 100 || head.status > 999) co_return bad_field();
    const auto nv = fields.view();
    int rc = 0;
    if (head.status / 100 == 1) {
      rc = nghttp2_submit_headers(s_->core->ng, NGHTTP2_FLAG_NONE, s_->id, nullptr, nv.data(), nv.size(), nullptr);
    } else {
      nghttp2_data_provider2 provider{};
      provider.read_callback = read_data;
      s_->local_ended = end_now;
      rc = nghttp2_submit_response2(s_->core->ng, s_->id, nv.data(), nv.size(), end_now ? nullptr : &provider);
    }
    if (rc != 0) co_return fail(ErrorCode::internal, "http2", nghttp2_strerror(rc));
    s_->core->kick();
    co_return Result<>{};
  }

  void reset(Http2Error code) noexcept override { end(code); }
  void close() noexcept override { end(Http2Error::cancel); }

 private:
  Error expired() const { return {ErrorCode::timed_out, peer_.text(), "the stream made no progress in time"}; }
  Result<> usable() const {
    if (deadline_.expired()) return fail(expired());
    if (s_->failure) return fail(*s_->failure);
    return {};
  }
  void give_back(StreamState& s, std::size_t n) {
    if (const auto session = session_.lock()) session->core().consumed(s, n);
  }

  Task<> put(StreamState& s, Bytes block) {
    const auto ready = [&]() -> Result<> {
      CAIRN_CHECK(usable());
      if (s.core == nullptr || s.local_ended) return fail(gone("the stream was closed for writing"));
      return {};
    };
    CAIRN_CO_CHECK(ready());
    s.queued += block.size();
    s.out.push_back(std::move(block));
    s.core->resume(s);
    while (s.queued > kQueued) {
      CAIRN_CO_CHECK(co_await s.writable.wait());
      CAIRN_CO_CHECK(ready());
    }
    co_return Result<>{};
  }

  void end(Http2Error code) noexcept {
    if (s_->core == nullptr) return;
    Core& core = *s_->core;
    if (!(s_->remote_ended && s_->local_ended)) {
      nghttp2_submit_rst_stream(core.ng, NGHTTP2_FLAG_NONE, s_->id, static_cast<std::uint32_t>(code));
      if (code != Http2Error::no_error) s_->fail_with({ErrorCode::cancelled, "http2", "the stream was closed"});
    }
    core.kick();
  }

  StatePtr s_;
  std::weak_ptr<Session> session_;
  Executor loop_;
  Endpoint peer_;
  Deadline deadline_;
};

void Session::accept(const StatePtr& s) {
  handlers_.spawn(
      on_stream_(std::make_unique<StreamHandle>(s, weak_from_this(), transport_->loop(), transport_->peer())),
      "http2 stream");
}

Task<Http2StreamPtr> Session::open(RequestHead head, bool end) {
  if (!can_open()) co_return fail(gone("the HTTP/2 connection takes no new streams"));
  const auto s = std::make_shared<StreamState>();
  Fields fields;
  fields.add(":method", head.method);
  if (head.method != "CONNECT") {
    fields.add(":scheme", head.scheme.empty() ? "http" : head.scheme);
    fields.add(":path", head.target);
  }
  fields.add(":authority", head.authority);
  fields.add(head.headers);
  if (!fields.valid()) co_return bad_field();
  const auto nv = fields.view();
  nghttp2_data_provider2 provider{};
  provider.read_callback = read_data;
  s->local_ended = end;
  const std::int32_t id =
      nghttp2_submit_request2(core_.ng, nullptr, nv.data(), nv.size(), end ? nullptr : &provider, nullptr);
  if (id < 0) co_return fail(gone(nghttp2_strerror(id)));
  s->id = id;
  s->core = &core_;
  s->request = std::move(head);
  s->request.version = HttpVersion::http2;
  core_.streams.emplace(id, s);
  core_.kick();
  co_return std::make_unique<StreamHandle>(s, weak_from_this(), transport_->loop(), transport_->peer());
}

}  // namespace

std::shared_ptr<Http2Session> Http2Session::client(StreamPtr stream, Http2Options options) {
  return std::make_shared<Session>(std::move(stream), false, OnStream{}, options);
}
std::shared_ptr<Http2Session> Http2Session::server(StreamPtr stream, OnStream on_stream, Http2Options options) {
  return std::make_shared<Session>(std::move(stream), true, std::move(on_stream), options);
}
std::string_view http2_preface() { return {NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN}; }

}  // namespace cairn::net
