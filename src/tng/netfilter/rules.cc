#include "tng/netfilter/rules.h"

namespace cairn::tng {
namespace {

enum class Family { v4, v6 };

std::string ports(const PortRange& range) {
  return range.first == range.last ? std::to_string(range.first)
                                   : std::to_string(range.first) + ":" + std::to_string(range.last);
}

// The part of a match that a capture entry asks for; nullopt where it cannot match in this family.
std::optional<std::string> destination(const CaptureDst& dst, Family family) {
  std::string out;
  if (dst.host) {
    if (dst.host->is_v4() != (family == Family::v4)) return std::nullopt;
    out += " -d " + dst.host->text();
  }
  if (dst.ipset) out += " -m set --match-set " + *dst.ipset + " dst";
  if (dst.ports) out += " --dport " + ports(*dst.ports);
  return out;
}

struct Table {
  std::string declarations, rules;
  void chain(const std::string& name) { declarations += ":" + name + " - [0:0]\n"; }
  void add(const std::string& chain, const std::string& rule) { rules += "-A " + chain + " " + rule + "\n"; }
  void insert(const std::string& chain, const std::string& rule) { rules += "-I " + chain + " 1 " + rule + "\n"; }
  [[nodiscard]] std::string text(const std::string& name) const {
    return "*" + name + "\n" + declarations + rules + "COMMIT\n";
  }
};

std::vector<std::string> words(std::initializer_list<std::string> list) { return list; }

std::string egress_family(const std::string& chain, const std::string& guard, const NetfilterEgress& config,
                          std::uint16_t listen_port, Family family) {
  Table nat, filter;
  nat.chain(chain);
  filter.chain(guard);
  const std::string redirect = " -j REDIRECT --to-ports " + std::to_string(listen_port);
  const std::string remote_only = config.capture_local_traffic ? "" : " -m addrtype ! --src-type LOCAL";
  nat.add(chain, "-m mark --mark " + std::to_string(config.so_mark) + " -j RETURN");
  for (const auto& dst : config.capture_dst) {
    CaptureDst reach = dst;
    // An entry for an IPv4 address protects the port over IPv6 as well: there it means every local address.
    const bool other_family = dst.host && dst.host->is_v4() != (family == Family::v4);
    if (other_family) reach.host.reset();
    const std::string local = reach.host || reach.ipset ? "" : " -m addrtype --dst-type LOCAL";
    if (const auto match = destination(reach, family))
      nat.add(chain, "-p tcp" + remote_only + local + *match + redirect);
    if (dst.ports) filter.add(guard, "-p tcp -m addrtype ! --src-type LOCAL --dport " + ports(*dst.ports) + " -j DROP");
  }
  nat.insert("PREROUTING", "-p tcp -j " + chain);
  nat.insert("OUTPUT", "-p tcp -j " + chain);
  filter.insert("INPUT", "-p tcp -j " + guard);
  return nat.text("nat") + filter.text("filter");
}

std::string ingress_family(const std::string& chain, const std::string& captured, const NetfilterIngress& config,
                           std::uint16_t listen_port, Family family) {
  Table nat;
  nat.chain(chain);
  nat.chain(captured);
  nat.add(chain, "-m mark --mark " + std::to_string(config.so_mark) + " -j RETURN");
  nat.add(chain, "-m addrtype --dst-type LOCAL -j RETURN");
  nat.add(chain, "-m addrtype ! --dst-type UNICAST -j RETURN");
  for (const auto& path : config.nocapture_cgroup) nat.add(chain, "-m cgroup --path \"" + path + "\" -j RETURN");
  if (config.capture_cgroup.empty()) nat.add(chain, "-j " + captured);
  for (const auto& path : config.capture_cgroup) nat.add(chain, "-m cgroup --path \"" + path + "\" -j " + captured);
  const std::string redirect = " -j REDIRECT --to-ports " + std::to_string(listen_port);
  for (const auto& dst : config.capture_dst)
    if (const auto match = destination(dst, family)) nat.add(captured, "-p tcp" + *match + redirect);
  if (config.capture_dst.empty()) nat.add(captured, "-p tcp" + redirect);
  nat.insert("OUTPUT", "-p tcp -j " + chain);
  return nat.text("nat");
}

}  // namespace

RuleSet egress_rules(std::size_t id, const NetfilterEgress& config, std::uint16_t listen_port) {
  const std::string chain = "TNG_EGRESS_" + std::to_string(id), guard = "TNG_GUARD_" + std::to_string(id);
  RuleSet out;
  out.v4 = egress_family(chain, guard, config, listen_port, Family::v4);
  out.v6 = egress_family(chain, guard, config, listen_port, Family::v6);
  for (const char* hook : {"PREROUTING", "OUTPUT"})
    out.cleanup.push_back(words({"-t", "nat", "-D", hook, "-p", "tcp", "-j", chain}));
  out.cleanup.push_back(words({"-t", "filter", "-D", "INPUT", "-p", "tcp", "-j", guard}));
  for (const char* verb : {"-F", "-X"}) {
    out.cleanup.push_back(words({"-t", "nat", verb, chain}));
    out.cleanup.push_back(words({"-t", "filter", verb, guard}));
  }
  return out;
}

RuleSet ingress_rules(std::size_t id, const NetfilterIngress& config, std::uint16_t listen_port) {
  const std::string chain = "TNG_INGRESS_" + std::to_string(id), captured = chain + "_DST";
  RuleSet out;
  out.v4 = ingress_family(chain, captured, config, listen_port, Family::v4);
  out.v6 = ingress_family(chain, captured, config, listen_port, Family::v6);
  out.cleanup.push_back(words({"-t", "nat", "-D", "OUTPUT", "-p", "tcp", "-j", chain}));
  for (const char* verb : {"-F", "-X"})
    for (const auto& name : {chain, captured}) out.cleanup.push_back(words({"-t", "nat", verb, name}));
  return out;
}

}  // namespace cairn::tng
