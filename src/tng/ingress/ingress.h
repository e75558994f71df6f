// What the ingress front ends share: where a connection may go, and the way there.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/stream.h"
#include "tng/config.h"
#include "tng/ingress/tunnel.h"
#include "tng/status.h"

namespace cairn::tng {

enum class Route { tunnel, direct, refuse };
// No filters: everything through the tunnel. A match: the tunnel. Otherwise what `unmatched_direct` says.
[[nodiscard]] Route route(const std::vector<HostFilter>& filters, bool unmatched_direct, const net::Endpoint& to);

// An ingress block on one loop: opens streams for the front ends.
class IngressShard {
 public:
  IngressShard(net::Executor loop, const Ingress& config, std::shared_ptr<Security> security, BlockStatusPtr status);

  // Through the tunnel. `authority` and `path`: of the application's request where one is known.
  [[nodiscard]] net::Task<net::StreamPtr> tunnel(net::Endpoint to, std::string authority, std::string_view path = "/");
  // In plaintext, past the tunnel; logged once for each destination.
  [[nodiscard]] net::Task<net::StreamPtr> plain(net::Endpoint to);
  // By route; permission_denied where it is refused.
  [[nodiscard]] net::Task<net::StreamPtr> open(Route how, net::Endpoint to, std::string authority,
                                               std::string_view path = "/");
  // The path of the wrapping request for this path of the application; "/" without wrapping.
  [[nodiscard]] std::string wrapping_path(std::string_view path) const;
  [[nodiscard]] net::Task<> stop() { return pool_.stop(); }

  // Copies a raw connection to `to`. With wrapping and path rules, the head of an HTTP/1 request is looked at first.
  [[nodiscard]] net::Task<> carry(net::StreamPtr downstream, Route how, net::Endpoint to);

  [[nodiscard]] BlockStatus& status() { return *status_; }
  [[nodiscard]] const Ingress& config() const { return *config_; }

 private:
  const Ingress* config_;
  BlockStatusPtr status_;
  TunnelPool pool_;
  std::uint32_t mark_ = 0;
  std::vector<std::string> warned_;  // destinations reached in plaintext
};

// The authority and path that begin an HTTP/1 request; nullopt for anything else or an incomplete head.
struct HeadGlimpse {
  std::string authority, path;
};
[[nodiscard]] std::optional<HeadGlimpse> glimpse_http1(std::string_view bytes);

// One mapped connection.
[[nodiscard]] net::Task<> serve_mapping(IngressShard& shard, net::StreamPtr stream);
// One SOCKS5 connection (RFC 1928, 1929).
[[nodiscard]] net::Task<> serve_socks5(IngressShard& shard, net::StreamPtr stream);

}  // namespace cairn::tng
