#include "guest/aa/config.h"

#include <gtest/gtest.h>

#include <map>

#include "base/encoding.h"

namespace cairn::aa {
namespace {

using kbs::Profile;

guest::Environment environment_of(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> std::optional<std::string> {
    const auto it = values.find(name);
    return it == values.end() ? std::nullopt : std::optional(it->second);
  };
}

Result<Config> read(std::string_view toml, Profile profile = Profile::p1) {
  return read_config(*parse_toml(toml, "t"), profile);
}

TEST(AaConfig, WhatTheStartScriptsWrite) {
  const auto c = read(R"(
[token_configs.coco_as]
url = "http://127.0.0.1:8081/api/attestation-service"
[token_configs.kbs]
url = "http://127.0.0.1:8081/api"
[eventlog_config]
enable_eventlog = true
init_pcr = 16
[aa_instance]
instance_type = "aliyun_ecs"
[aa_instance.heartbeat]
enabled = true
interval_minutes = 5
)");
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->kbs->url, "http://127.0.0.1:8081/api");
  EXPECT_EQ(*c->coco_as_url, "http://127.0.0.1:8081/api/attestation-service");
  EXPECT_TRUE(c->eventlog);
  EXPECT_EQ(c->init_pcr, 16U);
  EXPECT_TRUE(c->heartbeat.enabled);
  const auto empty = read("");
  ASSERT_TRUE(empty);
  EXPECT_FALSE(empty->kbs);
  EXPECT_EQ(empty->init_pcr, 17U);
}

TEST(AaConfig, EveryProblemAtOnceWithItsPlace) {
  const auto c = read(
      "[token_configs.kbs]\nurl = 5\n[eventlog_config]\neventlog_algorithm = \"sha256\"\nenable_event_log = "
      "true\n[aa_instance]\ninstance_type = \"x\"\n");
  ASSERT_FALSE(c);
  const std::string text = c.error().text();
  for (const char* part : {"$.token_configs.kbs.url", "$.eventlog_config.eventlog_algorithm",
                           "did you mean \"enable_eventlog\"", "$.aa_instance.instance_type"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  EXPECT_TRUE(read("[eventlog_config]\neventlog_algorithm = \"sha256\"\n", Profile::p2));  // ignored there
  EXPECT_FALSE(read("[token_configs.kbs]\nurl = \"nonsense\"\n"));
  EXPECT_FALSE(read("[token_configs.kbs]\nurl = \"http://h\"\ntee_key_algorithm = \"x\"\n"));
  EXPECT_FALSE(read("[eventlog_config]\ninit_pcr = 24\n"));
  EXPECT_TRUE(read("[eventlog_config]\ninit_pcr = 23\n"));
  EXPECT_FALSE(read("[aa_instance.heartbeat]\ninterval_minutes = 0\n"));
}

TEST(AaConfig, Gpus) {
  EXPECT_EQ(read("")->gpu.ready, GpuConfig::Ready::verified);
  const auto c = read(R"(
[gpu]
ready = "unverified"
policy = "p.json"
bundles = ["b.json"]
rim_url = "https://rim.example.org/"
ocsp_url = "http://ocsp.example.org"
extra_roots = [{of = "device", path = "d", simulated = true}, {of = "rim", path = "r", simulated = true}]
)");
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->gpu.ready, GpuConfig::Ready::unverified);
  EXPECT_EQ(c->gpu.policy, "p.json");
  EXPECT_EQ(c->gpu.bundles, std::vector<std::string>{"b.json"});
  EXPECT_EQ(c->gpu.rim_url, "https://rim.example.org/");
  EXPECT_EQ(c->gpu.ocsp_url, "http://ocsp.example.org");
  EXPECT_EQ(c->gpu.device_roots, std::vector<std::string>{"d"});
  EXPECT_EQ(c->gpu.rim_roots, std::vector<std::string>{"r"});
  EXPECT_EQ(read("[gpu]\nready = \"leave\"\n")->gpu.ready, GpuConfig::Ready::leave);
  for (const char* bad : {"ready = \"yes\"", "ready = true", "rim_url = \"x\"", "ocsp_url = \"ftp://x\"", "roots = []",
                          "extra_roots = [{of = \"gpu\", path = \"d\", simulated = true}]",
                          "extra_roots = [{of = \"rim\", path = \"d\", simulated = false}]"})
    EXPECT_FALSE(read("[gpu]\n" + std::string(bad) + "\n")) << bad;
}

TEST(AaConfig, EnvironmentOverrides) {
  Config c;
  ASSERT_TRUE(apply_environment(c, environment_of({{"TRUSTEE_URL", "http://t:8081/api/"},
                                                   {"COCO_AS_POLICY_ID", "a,b,,c"},
                                                   {"TRUSTEE_API_KEY", "k"},
                                                   {"AA_INSTANCE_INFO", "{}"}})));
  EXPECT_EQ(c.kbs->url, "http://t:8081/api");
  EXPECT_EQ(*c.coco_as_url, "http://t:8081/api/attestation-service");
  EXPECT_EQ(c.heartbeat.trustee_url, "http://t:8081/api");
  EXPECT_EQ(c.policy_ids, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(c.api_key, "k");
  EXPECT_FALSE(apply_environment(c, environment_of({{"TRUSTEE_URL", "nonsense"}})));
  EXPECT_FALSE(apply_environment(c, environment_of({{"AA_INSTANCE_INFO", "a\nb"}})));
}

TEST(AaConfig, KbcParametersGiveBothUrls) {
  EXPECT_EQ(config_of({"cc_kbc", "http://k"}).kbs->url, "http://k");
  EXPECT_EQ(*config_of({"cc_kbc", "http://k"}).coco_as_url, "http://k");
  EXPECT_FALSE(config_of({}).kbs);
}

TEST(InitData, DigestOfTheExactText) {
  const std::string text = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"a.toml\" = \"x\"\n";
  const auto data = read_init_data(text);
  ASSERT_TRUE(data) << data.error().text();
  EXPECT_EQ(hex(data->digest), hex(crypto::sha256(as_bytes(text)).view()));
  EXPECT_NE(hex(read_init_data(text + "\n")->digest), hex(data->digest));
  EXPECT_EQ(hex(as_config_id(data->digest).view()), hex(data->digest) + std::string(32, '0'));
  EXPECT_EQ(as_config_id(Bytes(64, 1)), as_config_id(Bytes(48, 1)));
  for (const char* bad :
       {"", "version = \"1\"\n[data]\n", "version = \"1\"\nalgorithm = \"md5\"\n[data]\n",
        "version = \"1\"\nalgorithm = \"sha1\"\n[data]\n", "version = \"1\"\nalgorithm = \"sha384\"\n[data]\nx = 5\n",
        "version = \"1\"\nalgorithm = \"sha384\"\nother = 1\n[data]\n"})
    EXPECT_FALSE(read_init_data(bad)) << bad;
}

}  // namespace
}  // namespace cairn::aa
