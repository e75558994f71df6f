// Byte streams: TCP, unix sockets, memory; wrapped (prefixed, TLS, one HTTP/2 stream) behind the same interface.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "net/limits.h"
#include "net/task.h"

namespace cairn::net {

// Where a stream leads or a listener listens.
struct Endpoint {
  std::string host;  // name or address without brackets; empty for unix sockets
  std::uint16_t port = 0;
  std::filesystem::path path;  // unix sockets

  [[nodiscard]] bool is_unix() const { return !path.empty(); }
  [[nodiscard]] static Endpoint tcp(std::string host, std::uint16_t port) { return {std::move(host), port, {}}; }
  [[nodiscard]] static Endpoint local(std::filesystem::path path) { return {{}, 0, std::move(path)}; }
  // "host:port", "1.2.3.4:80", "[::1]:80", "unix:///run/x.sock", "unix:/run/x.sock".
  [[nodiscard]] static Result<Endpoint> parse(std::string_view text);
  [[nodiscard]] std::string text() const;  // the inverse
  bool operator==(const Endpoint&) const = default;
};

struct TlsInfo;  // net/tls.h

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

// A two-way byte stream. At most one read and one write under way at a time, both on the stream's loop. Destroy it
// only when none is: close() makes those under way end with `cancelled` soon. Buffers passed must live until the
// operation ends.
class Stream {
 public:
  virtual ~Stream() = default;

  // Waits for bytes and returns how many came, 1 to into.size(); 0 once the peer has shut down its side.
  [[nodiscard]] virtual Task<std::size_t> read_some(std::span<std::uint8_t> into) = 0;
  // Writes all the pieces, in order.
  [[nodiscard]] virtual Task<> write(std::span<const ByteView> pieces) = 0;
  // Tells the peer that no more bytes follow; reading goes on.
  [[nodiscard]] virtual Task<> shutdown_write() = 0;
  // Abrupt end, both ways; idempotent.
  virtual void close() noexcept = 0;

  // From `duration` on from now, operations under way or begun later end with timed_out, until the deadline is set
  // anew. A read that timed out lost nothing; after a write that timed out the stream is only good for close(). nullopt
  // takes the deadline away. Cheap: may be called for every operation.
  virtual void set_deadline(std::optional<Milliseconds> duration) = 0;

  [[nodiscard]] virtual Executor loop() const = 0;
  [[nodiscard]] virtual const Endpoint& peer() const = 0;
  // The socket at the bottom, for socket options; -1 where there is none.
  [[nodiscard]] virtual int native_handle() const { return -1; }
  // What TLS agreed on; nullptr on streams without it.
  [[nodiscard]] virtual const TlsInfo* tls() const { return nullptr; }

  // False where the peer has ended the stream or sent bytes that nobody reads: an idle connection must not be like
  // that to be used again.
  [[nodiscard]] virtual bool quiet() const;

  [[nodiscard]] Task<> write(ByteView bytes);
  [[nodiscard]] Task<> write(std::string_view text) { return write(as_bytes(text)); }
  // Exactly into.size() bytes; malformed if the peer ends before.
  [[nodiscard]] Task<> read_exactly(std::span<std::uint8_t> into);
};
using StreamPtr = std::unique_ptr<Stream>;

struct ConnectOptions {
  Milliseconds timeout = limits::kConnectTimeout;  // for all addresses of the name together
  bool keepalive = true;                           // 30 s idle, 10 s interval, 5 probes
  std::uint32_t mark = 0;                          // SO_MARK; 0 leaves it. Needs NET_ADMIN
};
// On the caller's loop. Resolves the name, tries every address in turn (IPv6 and IPv4 interleaved, the next one starts
// after 300 ms without an answer). TCP_NODELAY is set. `unavailable` names the endpoint and the cause; timed_out.
[[nodiscard]] Task<StreamPtr> connect(Endpoint endpoint, ConnectOptions options = {});

struct ListenOptions {
  int backlog = 1024;
  mode_t mode = 0600;  // of a unix socket
  bool reuse_port = false;
  bool v6_only = false;
  bool transparent = false;  // IP_TRANSPARENT
};
class Listener {
 public:
  // Binds now. Port 0 takes a free one: see local(). A stale unix socket (nobody accepts on it) is removed, a live
  // one is `conflict`.
  [[nodiscard]] static Result<std::unique_ptr<Listener>> listen(const Executor& loop, const Endpoint& endpoint,
                                                                ListenOptions options = {});
  ~Listener();
  // The next connection, living on `loop` (default: the listener's). `cancelled` after close(). Survives
  // transient failures (EMFILE, ECONNABORTED) by waiting.
  [[nodiscard]] Task<StreamPtr> accept(std::optional<Executor> loop = std::nullopt);
  [[nodiscard]] const Endpoint& local() const;
  void close() noexcept;  // and removes the unix socket's file
  [[nodiscard]] int native_handle() const;

 private:
  struct State;
  explicit Listener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Takes over a connected stream socket.
[[nodiscard]] Result<StreamPtr> adopt_socket(const Executor& loop, int fd);
// Who is at the other end of a unix socket; unsupported elsewhere.
[[nodiscard]] Result<PeerCredentials> peer_credentials(const Stream& stream);

// Reads `first` before anything from `inner`: for bytes that were read to look at them.
[[nodiscard]] StreamPtr with_prefix(Bytes first, StreamPtr inner);
// The same of a stream that stays its owner's and outlives the result.
[[nodiscard]] StreamPtr with_prefix(Bytes first, Stream& inner);
// Two ends of a pipe in memory, limits::kMemoryPipe bytes each way, both on `loop`. For tests.
[[nodiscard]] std::pair<StreamPtr, StreamPtr> memory_pair(const Executor& loop);

struct RelayOptions {
  std::optional<Milliseconds> idle;  // no byte either way for this long ends the relay with timed_out
  std::size_t buffer = limits::kRelayBuffer;
};
struct RelayCounts {
  std::uint64_t a_to_b = 0, b_to_a = 0;
};
// Copies both ways until both sides have ended. The end of one direction is passed on as shutdown_write; an error in
// either direction closes both. `counts`, if given, is kept up to date meanwhile.
[[nodiscard]] Task<> relay(Stream& a, Stream& b, RelayOptions options = {}, RelayCounts* counts = nullptr);

}  // namespace cairn::net
