#include "tng/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tng/limits.h"

namespace cairn::tng {
namespace {

using testing::HasSubstr;

// The two configurations of the product (spec/tng.md §2.6).
constexpr const char* client = R"({"add_ingress":[{"http_proxy":{"proxy_listen":{"host":"0.0.0.0","port":41000}},
  "encap_in_http":{},"verify":{"as_addr":"http://TRUSTEE:8081/api/attestation-service/","policy_ids":["default"]}}]})";
constexpr const char* server = R"({"add_egress":[{"netfilter":{"capture_dst":{"port":8080}},
  "decap_from_http":{"allow_non_tng_traffic_regexes":["/healthz"]},
  "attest":{"aa_addr":"unix:///run/confidential-containers/attestation-agent/attestation-agent.sock"}}]})";

std::string problems(std::string_view json, ConfigOptions options = {}) {
  const auto config = parse_config(json, options);
  return config ? "" : config.error().text();
}
// One ingress block with `entry` beside no_ra.
std::string ingress(std::string_view entry) { return R"({"add_ingress":[{"no_ra":true,)" + std::string(entry) + "}]}"; }
std::string egress(std::string_view entry) { return R"({"add_egress":[{"no_ra":true,)" + std::string(entry) + "}]}"; }

TEST(TngConfig, ProductClient) {
  const auto config = parse_config(client);
  ASSERT_TRUE(config) << config.error().text();
  const auto& block = config->ingress.at(0);
  EXPECT_EQ(std::get<HttpProxyIngress>(block.mode).listen.text(), "0.0.0.0:41000");
  ASSERT_TRUE(block.encap_in_http);
  EXPECT_EQ(block.encap_in_http->protocol, HttpProtocol::legacy);
  EXPECT_EQ(block.ra.verify->as_addr, "http://TRUSTEE:8081/api/attestation-service");
  EXPECT_EQ(config->warnings.size(), 1U);  // no trusted_certs_paths
  EXPECT_THAT(problems(client, {.strict = true}), HasSubstr("trusted_certs_paths"));
}

TEST(TngConfig, ProductServer) {
  const auto config = parse_config(server);
  ASSERT_TRUE(config) << config.error().text();
  const auto& block = config->egress.at(0);
  EXPECT_EQ(std::get<NetfilterEgress>(block.mode).capture_dst.at(0).ports, (PortRange{8080, 8080}));
  EXPECT_TRUE(block.plaintext->allows("/healthz"));
  EXPECT_EQ(block.ra.attest->aa_socket, "/run/confidential-containers/attestation-agent/attestation-agent.sock");
  EXPECT_EQ(block.ra.attest->refresh_interval.count(), 600);
}

TEST(TngConfig, UnknownKeysAreNamedWithTheirPathAndTheNearestKey) {
  const auto text = problems(
      R"({"add_ingress":[{"mapping":{"in":{"port":1},"out":{"host":"h","prot":2,"port":2}},"no_raa":true,"no_ra":true}]})");
  EXPECT_THAT(text, HasSubstr("$.add_ingress[0].mapping.out.prot"));
  EXPECT_THAT(text, HasSubstr("\"port\""));
  EXPECT_THAT(text, HasSubstr("$.add_ingress[0].no_raa"));
  EXPECT_EQ(
      problems(R"({"add_ingress":[{"mapping":{"in":{"port":1},"out":{"host":"h","prot":2,"port":2}},"no_ra":true}]})",
               {.lenient = true}),
      "");
}

TEST(TngConfig, AllProblemsAtOnce) {
  const auto text =
      problems(R"({"add_ingress":[{"mapping":{"in":{},"out":{"port":0}},"verify":{"as_addr":"ftp://x","policy_ids":[]}},
    {"http_proxy":{"proxy_listen":{"port":70000}},"no_ra":true,"attest":{"aa_addr":"relative"}}],"metric":{"exporters":[{}]},"compat":"3"})");
  for (const char* part : {"mapping.in.port", "mapping.out.host", "verify.as_addr", "proxy_listen.port", "[1].no_ra",
                           "attest.aa_addr", "metric.exporters", "$.compat"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(TngConfig, AttestationTable) {
  const std::string mapping = R"({"add_egress":[{"mapping":{"in":{"port":1},"out":{"host":"h","port":2}}%}]})";
  const auto with = [&](std::string_view ra) {
    std::string text = mapping;
    return problems(text.replace(text.find('%'), 1, ra));
  };
  const std::string attest = R"("attest":{"aa_addr":"unix:///s"})",
                    verify = R"("verify":{"as_addr":"http://a","policy_ids":["p"]})";
  EXPECT_NE(with(""), "");
  EXPECT_EQ(with(R"(,"no_ra":true)"), "");
  EXPECT_NE(with(R"(,"no_ra":true,)" + attest), "");
  EXPECT_NE(with(R"(,"no_ra":false)"), "");
  EXPECT_EQ(with("," + attest), "");
  EXPECT_EQ(with("," + verify), "");
  EXPECT_EQ(with("," + attest + "," + verify), "");
}

TEST(TngConfig, FiltersDifferByCompat) {
  const auto text = ingress(R"("http_proxy":{"proxy_listen":{"port":1},"dst_filter":{"domain":"*"}})");
  const auto legacy = parse_config(text);
  ASSERT_TRUE(legacy) << legacy.error().text();
  const auto& f = std::get<HttpProxyIngress>(legacy->ingress[0].mode).dst_filters.at(0);
  EXPECT_TRUE(f.matches("1.2.3.4", 80));
  EXPECT_FALSE(f.matches("1.2.3.4", 443));
  const auto latest = parse_config(text, {.compat = Compat::latest});
  ASSERT_TRUE(latest);
  const auto& g = std::get<HttpProxyIngress>(latest->ingress[0].mode).dst_filters.at(0);
  EXPECT_FALSE(g.matches("1.2.3.4", 80));
  EXPECT_TRUE(g.matches("host", 443));
  EXPECT_FALSE(std::get<HttpProxyIngress>(latest->ingress[0].mode).unmatched_direct);
  EXPECT_NE(problems(ingress(
                R"("http_proxy":{"proxy_listen":{"port":1},"dst_filters":[{"domain":"a","domain_regex":"b"}]})")),
            "");
  EXPECT_NE(problems(ingress(R"("http_proxy":{"proxy_listen":{"port":1},"dst_filters":[{"domian":"a"}]})")), "");
}

TEST(TngConfig, ModesExcludeEachOther) {
  EXPECT_THAT(problems(ingress(
                  R"("mapping":{"in":{"port":1},"out":{"host":"h","port":2}},"socks5":{"proxy_listen":{"port":3}})")),
              HasSubstr("more than one"));
  EXPECT_THAT(problems(R"({"add_ingress":[{"no_ra":true}]})"), HasSubstr("needs one of"));
  EXPECT_THAT(problems(ingress(R"("hook":{})")), HasSubstr("not available"));
  EXPECT_THAT(problems("{}"), HasSubstr("nothing to do"));
}

TEST(TngConfig, NetfilterRules) {
  EXPECT_NE(problems(ingress(R"("netfilter":{})")), "");
  EXPECT_NE(problems(ingress(R"("netfilter":{"capture_dst":{"host":"10.1.1.1/24"}})")), "");
  EXPECT_NE(problems(ingress(R"("netfilter":{"capture_dst":{}})")), "");
  EXPECT_NE(problems(ingress(R"("netfilter":{"capture_dst":{"host":"10.0.0.0/8","ipset":"s"}})")), "");
  EXPECT_NE(problems(ingress(R"("netfilter":{"capture_dst":{"ipset":"a b"}})")), "");
  EXPECT_EQ(problems(ingress(R"("netfilter":{"capture_dst":[{"host":"10.0.0.0/8","port":80},{"ipset":"s"}]})")), "");
  EXPECT_EQ(problems(ingress(R"("netfilter":{"capture_cgroup":["/a"]})")), "");
  EXPECT_NE(problems(egress(R"("netfilter":{})")), "");
  EXPECT_NE(problems(egress(R"("netfilter":{"capture_dst":{"port":80},"so_mark":0})")), "");
  EXPECT_EQ(problems(egress(R"("netfilter":{"capture_dst":{"host":"10.0.0.1","port":80}})")), "");
}

TEST(TngConfig, PlaintextRulesExcludeEachOther) {
  const std::string m = R"("mapping":{"in":{"port":1},"out":{"host":"h","port":2}})";
  EXPECT_THAT(
      problems(egress(
          m + R"(,"decap_from_http":{"allow_non_tng_traffic_regexes":["/a"]},"direct_forward":[{"http_path":"/b"}])")),
      HasSubstr("excludes"));
  const auto config = parse_config(egress(m + R"(,"direct_forward":[{"http_path":"/b"}])"));
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->egress[0].plaintext->allows("/b"));
  EXPECT_FALSE(config->egress[0].decap_from_http);
  EXPECT_NE(problems(egress(m + R"(,"direct_forward":[{"http_path":"("}])")), "");
  EXPECT_TRUE(
      parse_config(egress(m + R"(,"decap_from_http":{"allow_non_tng_traffic_regexes":[]})"))->egress[0].plaintext);
  EXPECT_FALSE(parse_config(egress(m + R"(,"decap_from_http":{})"))->egress[0].plaintext);
}

TEST(TngConfig, WhatIsNotThereIsRefusedByName) {
  const std::string m = R"("mapping":{"in":{"port":1},"out":{"host":"h","port":2}})";
  EXPECT_THAT(problems(ingress(m + R"(,"ohttp":{})")), HasSubstr("Oblivious HTTP"));
  EXPECT_THAT(problems(ingress(m + R"(,"encap_in_http":{})"), {.compat = Compat::latest}), HasSubstr("Oblivious HTTP"));
  EXPECT_THAT(problems(ingress(m + R"(,"web_page_inject":true)")), HasSubstr("not implemented"));
  EXPECT_EQ(problems(ingress(m + R"(,"web_page_inject":false)")), "");
  EXPECT_THAT(problems(R"({"control_interface":{"ttrpc":{"path":"/x"}},)" + ingress(m).substr(1)),
              HasSubstr("restful"));
  EXPECT_EQ(problems(R"({"admin_bind":{"port":1},)" + ingress(m).substr(1)), "");
}

TEST(TngConfig, LimitsHoldAtTheirEdge) {
  const auto blocks = [](std::size_t n) {
    std::string text = R"({"add_ingress":[)";
    for (std::size_t i = 0; i < n; ++i)
      text += R"({"no_ra":true,"mapping":{"in":{"port":1},"out":{"host":"h","port":2}}},)";
    text.back() = ']';
    return text + "}";
  };
  EXPECT_EQ(problems(blocks(limits::blocks)), "");
  EXPECT_THAT(problems(blocks(limits::blocks + 1)), HasSubstr("more than"));
}

}  // namespace
}  // namespace cairn::tng
