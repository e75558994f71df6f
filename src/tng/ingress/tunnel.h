// The client half of the tunnel: attested sessions to peer gateways, and streams in them (spec/tng.md §3.4, §3.5).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "net/http2.h"
#include "net/stream.h"
#include "tng/config.h"
#include "tng/ratls/security.h"
#include "tng/status.h"

namespace cairn::tng {

// Where a stream shall go. The peer gateway stands at the address the application named; what it connects to is its
// own decision.
struct Destination {
  net::Endpoint to;
  std::string authority;   // of the wrapping POST: what the application calls the host
  std::string path = "/";  // of the wrapping POST, already rewritten
  [[nodiscard]] std::string key() const;
};

struct TunnelOptions {
  bool encap = false;      // RA-TLS inside an HTTP/2 POST
  bool multiplex = true;   // false: one TLS connection for each stream, no HTTP/2
  std::uint32_t mark = 0;  // SO_MARK of outgoing connections
  std::chrono::seconds max_session_age{3600};
};

// Sessions of one loop. Streams share a session; concurrent first streams share one handshake.
class TunnelPool {
 public:
  TunnelPool(net::Executor loop, TunnelOptions options, std::shared_ptr<Security> security, BlockStatusPtr status);
  ~TunnelPool();  // after stop()
  TunnelPool(const TunnelPool&) = delete;
  TunnelPool& operator=(const TunnelPool&) = delete;

  // A stream to the service behind the peer gateway. Nothing is sent into it before the peer was verified.
  // evidence_rejected, or any error whose `where` begins with "ratls.": the peer was not accepted.
  [[nodiscard]] net::Task<net::StreamPtr> open(Destination destination);
  [[nodiscard]] net::Task<> stop();  // on its loop

 private:
  struct Session;
  struct Peer;
  using SessionPtr = std::shared_ptr<Session>;

  [[nodiscard]] net::Task<SessionPtr> session(Peer& peer, const Destination& destination);
  [[nodiscard]] net::Task<SessionPtr> establish(const Destination& destination);
  [[nodiscard]] net::Task<net::StreamPtr> wrap(Session& session, const Destination& destination);
  [[nodiscard]] net::Task<net::StreamPtr> direct(const Destination& destination);
  void record(const Secured& secured, const Destination& destination, const char* protocol);
  void make_room();

  net::Executor loop_;
  TunnelOptions options_;
  std::shared_ptr<Security> security_;
  BlockStatusPtr status_;
  net::TaskGroup tasks_;
  std::map<std::string, std::shared_ptr<Peer>> peers_;
};

}  // namespace cairn::tng
