// The packet-filter rules of netfilter blocks as text (spec/tng.md §7), for iptables-restore and ip6tables-restore.
// Both ends redirect in the nat table and learn the destination from the socket; IPv6 is captured like IPv4.
#pragma once

#include <string>
#include <vector>

#include "tng/config.h"

namespace cairn::tng {

struct RuleSet {
  std::string v4, v6;                             // input of iptables-restore --noflush; empty: nothing to install
  std::vector<std::vector<std::string>> cleanup;  // arguments of iptables and ip6tables; each may fail
};

// Connections to the captured ports are redirected to `listen_port`; what comes from outside and was not redirected is
// dropped. Connections that carry so_mark (the gateway's own) pass.
[[nodiscard]] RuleSet egress_rules(std::size_t id, const NetfilterEgress& config, std::uint16_t listen_port);
// Outgoing connections of this network namespace that match are redirected to `listen_port`.
[[nodiscard]] RuleSet ingress_rules(std::size_t id, const NetfilterIngress& config, std::uint16_t listen_port);

}  // namespace cairn::tng
