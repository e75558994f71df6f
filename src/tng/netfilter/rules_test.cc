#include "tng/netfilter/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn::tng {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CaptureDst on_port(std::uint16_t port) {
  CaptureDst out;
  out.ports = PortRange{port, port};
  return out;
}

// The table of spec/tng.md §7.1.
TEST(NetfilterRules, EgressMatchesByCase) {
  NetfilterEgress config;
  config.capture_dst = {on_port(8080)};
  EXPECT_THAT(egress_rules(0, config, 40000).v4,
              HasSubstr("-A TNG_EGRESS_0 -p tcp -m addrtype ! --src-type LOCAL -m addrtype --dst-type LOCAL --dport "
                        "8080 -j REDIRECT --to-ports 40000\n"));
  config.capture_local_traffic = true;
  EXPECT_THAT(egress_rules(0, config, 40000).v4,
              HasSubstr("-A TNG_EGRESS_0 -p tcp -m addrtype --dst-type LOCAL --dport 8080 -j REDIRECT"));
  config.capture_dst[0].host = *IpNetwork::parse("10.0.0.1");
  EXPECT_THAT(egress_rules(0, config, 40000).v4,
              HasSubstr("-A TNG_EGRESS_0 -p tcp -d 10.0.0.1 --dport 8080 -j REDIRECT"));
  config.capture_local_traffic = false;
  EXPECT_THAT(egress_rules(0, config, 40000).v4,
              HasSubstr("-p tcp -m addrtype ! --src-type LOCAL -d 10.0.0.1 --dport 8080 -j REDIRECT"));
}

TEST(NetfilterRules, EgressCoversIpv6EvenForAnIpv4Host) {
  NetfilterEgress config;
  config.capture_dst = {on_port(8080)};
  config.capture_dst[0].host = *IpNetwork::parse("10.0.0.1");
  const auto v6 = egress_rules(3, config, 40000).v6;
  EXPECT_THAT(v6, Not(HasSubstr("10.0.0.1")));
  EXPECT_THAT(v6, HasSubstr("--dst-type LOCAL --dport 8080 -j REDIRECT"));
  EXPECT_THAT(v6, HasSubstr("-A TNG_GUARD_3 -p tcp -m addrtype ! --src-type LOCAL --dport 8080 -j DROP"));
}

TEST(NetfilterRules, OwnConnectionsPassFirst) {
  NetfilterEgress config;
  config.so_mark = 7;
  config.capture_dst = {on_port(80)};
  const auto text = egress_rules(0, config, 40000).v4;
  const auto own = text.find("--mark 7 -j RETURN"), redirect = text.find("REDIRECT");
  ASSERT_NE(own, std::string::npos);
  EXPECT_LT(own, redirect);
}

TEST(NetfilterRules, IngressCapturesOnlyWhatIsAskedFor) {
  NetfilterIngress config;
  CaptureDst network = on_port(80);
  network.host = *IpNetwork::parse("10.1.0.0/16");
  CaptureDst set;
  set.ipset = "models";
  config.capture_dst = {network, set};
  const auto rules = ingress_rules(1, config, 41001);
  EXPECT_THAT(rules.v4,
              HasSubstr("-A TNG_INGRESS_1_DST -p tcp -d 10.1.0.0/16 --dport 80 -j REDIRECT --to-ports 41001"));
  EXPECT_THAT(rules.v4, HasSubstr("-m set --match-set models dst -j REDIRECT"));
  EXPECT_THAT(rules.v6, Not(HasSubstr("10.1.0.0")));
  EXPECT_THAT(rules.v4, HasSubstr("-A TNG_INGRESS_1 -m addrtype --dst-type LOCAL -j RETURN"));
  config.capture_dst.clear();
  config.capture_cgroup = {"/models"};
  config.nocapture_cgroup = {"/models/quiet"};
  const auto groups = ingress_rules(1, config, 41001).v4;
  EXPECT_THAT(groups, HasSubstr("-m cgroup --path \"/models\" -j TNG_INGRESS_1_DST"));
  EXPECT_THAT(groups, HasSubstr("-A TNG_INGRESS_1_DST -p tcp -j REDIRECT"));
  EXPECT_LT(groups.find("/models/quiet"), groups.find("\"/models\""));
}

TEST(NetfilterRules, EveryChainIsCleanedUp) {
  NetfilterEgress config;
  config.capture_dst = {on_port(80)};
  for (const auto& rules : {egress_rules(2, config, 1), ingress_rules(2, {}, 1)}) {
    for (std::size_t at = rules.v4.find("\n:"); at != std::string::npos; at = rules.v4.find("\n:", at + 1)) {
      const std::string chain = rules.v4.substr(at + 2, rules.v4.find(' ', at) - at - 2);
      for (const char* verb : {"-F", "-X"})
        EXPECT_TRUE(std::ranges::any_of(rules.cleanup, [&](const auto& c) { return c[2] == verb && c[3] == chain; }))
            << verb << chain;
    }
  }
}

}  // namespace
}  // namespace cairn::tng
