// The server half (spec/tng.md §3.4 to §3.8): tells connections apart by their first bytes, terminates the attested
// ones, lets exempted plaintext requests pass one by one, and refuses the rest.
#pragma once

#include <memory>
#include <string>

#include "net/http2.h"
#include "net/http_server.h"
#include "net/stream.h"
#include "tng/config.h"
#include "tng/ratls/security.h"
#include "tng/status.h"

namespace cairn::tng {

// What a connection begins with.
enum class FirstBytes { tls, http, other };
[[nodiscard]] FirstBytes classify(ByteView first);

class EgressShard {  // one loop
 public:
  EgressShard(const Egress& config, std::shared_ptr<Security> security, BlockStatusPtr status);
  ~EgressShard();
  EgressShard(const EgressShard&) = delete;
  EgressShard& operator=(const EgressShard&) = delete;

  // One downstream connection, meant for `service`.
  [[nodiscard]] net::Task<> serve(net::StreamPtr stream, net::Endpoint service);
  void drain() { drain_.start(); }

 private:
  [[nodiscard]] net::Task<> attested(net::StreamPtr stream, net::Endpoint service, const char* wrapping);
  [[nodiscard]] net::Task<> tunnel_stream(net::Http2StreamPtr stream, net::Endpoint service);
  [[nodiscard]] net::Task<> plain_http(net::StreamPtr stream, net::Endpoint service);
  [[nodiscard]] net::Task<> unwrap(net::Exchange& exchange, const net::Endpoint& service);
  [[nodiscard]] net::Task<> plain_request(net::Exchange& exchange, const net::Endpoint& service);
  [[nodiscard]] net::Task<> refuse_plaintext(net::Exchange& exchange);
  [[nodiscard]] bool may_pass(const net::RequestHead& head) const;
  [[nodiscard]] net::Task<net::StreamPtr> connect_service(net::Endpoint service);

  const Egress* config_;
  std::shared_ptr<Security> security_;
  BlockStatusPtr status_;
  std::uint32_t mark_ = 0;
  net::Drain drain_;
};

}  // namespace cairn::tng
