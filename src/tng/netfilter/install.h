// Puts rule sets into the kernel and takes them out again, and asks a redirected socket where it was going.
#pragma once

#include <vector>

#include "base/file.h"
#include "net/stream.h"
#include "tng/netfilter/rules.h"

namespace cairn::tng {

// Only one gateway with netfilter blocks may run in a network namespace. Holds the name while alive; conflict.
[[nodiscard]] Result<Fd> claim_network_namespace();

// Rules in force while alive. Everything here blocks: call it on a worker.
class InstalledRules {
 public:
  // Removes what an earlier run left, then installs both families, each in one transaction per table. Fails, leaving
  // nothing of the failed family, when the tools are missing or refuse.
  [[nodiscard]] static Result<InstalledRules> install(RuleSet rules);
  InstalledRules(InstalledRules&&) noexcept = default;
  InstalledRules& operator=(InstalledRules&&) = delete;
  ~InstalledRules();

 private:
  explicit InstalledRules(RuleSet rules) : rules_(std::move(rules)) {}
  static void clean(const RuleSet& rules);
  RuleSet rules_;
};

// Does this network namespace have an IPv6 address?
[[nodiscard]] bool ipv6_in_use();

// Where the connection was going before it was redirected. not_found for one that was not.
[[nodiscard]] Result<net::Endpoint> original_destination(const net::Stream& stream);

}  // namespace cairn::tng
