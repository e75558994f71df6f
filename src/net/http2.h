// HTTP/2 over any Stream, both roles. Each HTTP/2 stream is heads plus a byte Stream: CONNECT tunnels and requests
// whose bodies flow both ways at once. Credit goes back to the peer as bytes are read, not as they arrive.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/http.h"
#include "net/stream.h"

namespace cairn::net {

struct Http2Options {
  std::uint32_t stream_window = limits::kStreamWindow;          // what the peer may send unread, per stream
  std::uint32_t connection_window = limits::kConnectionWindow;  // and on all streams together
  std::uint32_t max_frame = limits::kFrame;                     // SETTINGS_MAX_FRAME_SIZE announced
  std::uint32_t max_streams = limits::kStreams;                 // the peer may open at once
  std::size_t max_head = limits::kHeadBytes;
  Milliseconds ping_interval = limits::kPingInterval;  // of silence from the peer; zero: no pings
  Milliseconds ping_timeout = limits::kPingTimeout;
};

// RFC 9113 §7.
enum class Http2Error : std::uint32_t {
  no_error = 0,
  protocol = 1,
  internal = 2,
  flow_control = 3,
  stream_closed = 5,
  refused_stream = 7,
  cancel = 8,
  connect_error = 10,
  enhance_your_calm = 11,
  http_1_1_required = 13
};

// One HTTP/2 stream. read_some/write are its DATA; shutdown_write is END_STREAM; close() is RST_STREAM(CANCEL) if
// either direction is open. write() waits for the peer's credit. May outlive its session (operations then fail with
// `unavailable`). Destroying it resets what is open.
class Http2Stream : public Stream {
 public:
  [[nodiscard]] virtual std::int32_t id() const = 0;
  // Servers: the request. Clients: what was sent.
  [[nodiscard]] virtual const RequestHead& request() const = 0;
  // Clients: waits for the final response head.
  [[nodiscard]] virtual Task<ResponseHead> response() = 0;
  // Servers: sends the response head, final or interim (1xx); `end`: nothing follows.
  [[nodiscard]] virtual Task<> respond(ResponseHead head, bool end = false) = 0;
  // Ends our side with trailers instead of shutdown_write().
  [[nodiscard]] virtual Task<> send_trailers(Headers trailers) = 0;
  [[nodiscard]] virtual const Headers& trailers() const = 0;  // the peer's, after read_some gave 0
  virtual void reset(Http2Error code) noexcept = 0;
  // Calls back once if the peer resets the stream or the connection ends before both sides have ended.
  virtual void on_reset(std::function<void()> callback) = 0;
  // Bytes the peer's credit (stream and connection) lets us send now, and whether it ever gave any back.
  [[nodiscard]] virtual std::int64_t send_credit() const = 0;
  [[nodiscard]] virtual bool credit_ever_returned() const = 0;
};
using Http2StreamPtr = std::unique_ptr<Http2Stream>;

// One connection. Used from its stream's loop. Keep it alive while run() runs.
class Http2Session {
 public:
  // Sends the client preface; start run() right away.
  [[nodiscard]] static std::shared_ptr<Http2Session> client(StreamPtr stream, Http2Options options = {});
  // `on_stream` is spawned for every request and owns its stream.
  using OnStream = std::function<Task<>(Http2StreamPtr)>;
  [[nodiscard]] static std::shared_ptr<Http2Session> server(StreamPtr stream, OnStream on_stream,
                                                            Http2Options options = {});
  virtual ~Http2Session() = default;

  // Moves frames until the connection ends and every on_stream task has ended. ok after an orderly end (GOAWAY and
  // EOF, or close()); else what went wrong.
  [[nodiscard]] virtual Task<> run() = 0;
  // Clients: a new stream. head.method CONNECT sends only :method and :authority. `end`: no request body. Waits while
  // the peer's limit of streams is reached. `unavailable` once the session takes no new ones: see can_open().
  [[nodiscard]] virtual Task<Http2StreamPtr> open(RequestHead head, bool end = false) = 0;
  [[nodiscard]] virtual bool can_open() const = 0;  // alive, no GOAWAY either way
  [[nodiscard]] virtual std::size_t streams() const = 0;
  [[nodiscard]] virtual Milliseconds idle_for() const = 0;  // since the last stream ended; zero while there is one
  // Announces the end (GOAWAY): streams under way finish, run() then ends.
  virtual void shutdown() = 0;
  virtual void close() noexcept = 0;
  [[nodiscard]] virtual const Stream& transport() const = 0;
  // Connection-level send credit, and whether the peer ever returned any.
  [[nodiscard]] virtual std::int64_t send_credit() const = 0;
  [[nodiscard]] virtual bool credit_ever_returned() const = 0;
};

// The 24 bytes a client begins with.
[[nodiscard]] std::string_view http2_preface();

}  // namespace cairn::net
