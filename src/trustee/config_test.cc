// [verifier.nvidia]: every option, every refusal.
#include "trustee/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "device/collateral/nras_client.h"
#include "trustee/fixture_test.h"

namespace cairn::trustee::test {
namespace {

using ::testing::HasSubstr;

Result<Config> nvidia_section(const std::string& text) {
  return parse_toml("[verifier.nvidia]\n" + text, "trustee.toml").and_then(parse_config);
}

TEST(NvidiaConfig, NothingIsFetchedUnlessItIsSaid) {
  const Config c = nvidia_section("").value();
  EXPECT_FALSE(c.gpu_remote);
  EXPECT_TRUE(c.gpu_rim_url.empty() && c.gpu_ocsp_url.empty() && c.gpu_verifier_url.empty());
  EXPECT_EQ(c.gpu_rim_cache_hours, 24);
}

TEST(NvidiaConfig, EveryOptionOfLocalVerification) {
  const auto c = nvidia_section(R"(type = "Local"
rim_url = "https://rim.example.org/v1/rim/"
ocsp_url = "http://ocsp.example.org"
rim_cache_hours = 3
service_key_file = "key"
service_ca = "ca.pem"
bundles = ["a.json", "b.json"]
policy = "gpu.json"
extra_roots = [{of = "device", path = "d.pem", simulated = true}, {of = "rim", path = "r.pem", simulated = true}]
)");
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_FALSE(c->gpu_remote);
  EXPECT_EQ(c->gpu_rim_url, "https://rim.example.org/v1/rim/");
  EXPECT_EQ(c->gpu_ocsp_url, "http://ocsp.example.org");
  EXPECT_EQ(c->gpu_rim_cache_hours, 3);
  EXPECT_EQ(c->gpu_service_key, "key");
  EXPECT_EQ(c->gpu_service_ca, "ca.pem");
  EXPECT_EQ(c->gpu_bundles.size(), 2U);
  EXPECT_EQ(c->gpu_policy, "gpu.json");
  EXPECT_EQ(c->gpu_device_roots.at(0), "d.pem");
  EXPECT_EQ(c->gpu_rim_roots.at(0), "r.pem");
}

TEST(NvidiaConfig, EveryOptionOfRemoteVerification) {
  for (const char* type : {"Remote", "remote"}) {
    const auto c =
        nvidia_section("type = \"" + std::string(type) +
                       "\"\nverifier_url = \"https://nras.example.org/v4/attest\"\nservice_key_file = \"k\"");
    ASSERT_TRUE(c) << c.error().text();
    EXPECT_TRUE(c->gpu_remote);
    EXPECT_EQ(c->gpu_verifier_url, "https://nras.example.org/v4/attest");
  }
  EXPECT_TRUE(nvidia_section("type = \"remote\"")->gpu_verifier_url.empty()) << "NVIDIA's";
}

TEST(NvidiaConfig, EveryRefusal) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"type = \"nras\"", "type"},
      {"type = 1", "type"},
      {"rim_url = \"rim.example.org\"", "rim_url"},
      {"rim_url = \"http+unix://%2Frun%2Fx/\"", "rim_url"},
      {"rim_url = 7", "rim_url"},
      {"ocsp_url = \"ftp://example.org\"", "ocsp_url"},
      {"verifier_url = \"https://example.org\"", "verifier_url"},  // without type remote
      {"type = \"remote\"\nverifier_url = \"x\"", "verifier_url"},
      {"type = \"remote\"\nrim_url = \"https://example.org\"", "rim_url"},
      {"type = \"remote\"\nocsp_url = \"https://example.org\"", "ocsp_url"},
      {"type = \"remote\"\nbundles = [\"b\"]", "bundles"},
      {"type = \"remote\"\nextra_roots = [{of = \"rim\", path = \"r.pem\", simulated = true}]", "extra_roots"},
      {"rim_url = \"http://example.org\"\nservice_key_file = \"k\"", "rim_url"},
      {"rim_cache_hours = 0", "rim_cache_hours"},
      {"rim_cache_hours = 25", "rim_cache_hours"},
      {"bundles = \"b\"", "bundles"},
      {"policy = []", "policy"},
      {"extra_roots = [{of = \"cpu\", path = \"p\", simulated = true}]", "of"},
      {"extra_roots = [{of = \"rim\", path = \"p\", simulated = false}]", "simulated"},
      {"extra_roots = [{of = \"rim\", path = \"p\"}]", "simulated"},
      {"extra_roots = [{of = \"rim\", simulated = true}]", "path"},
      {"extra_roots = [{path = \"p\", simulated = true}]", "of"},
      {"rim_ulr = \"https://example.org\"", "rim_ulr"}};
  for (const auto& [text, where] : cases) {
    const auto refused = nvidia_section(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().text(), HasSubstr("verifier.nvidia")) << text;
    EXPECT_THAT(refused.error().text(), HasSubstr(where)) << text;
  }
}

// What only shows when the files are read.
class NvidiaStart : public TrusteeTest {
 protected:
  void SetUp() override {}
  Result<void> start() {
    return net::run_task([&](net::Runtime& runtime) -> net::Task<> {
      auto opened = Trustee::open(config, at, runtime.loop(0));
      if (!opened) co_return fail(opened.error());
      co_return co_await (*opened)->stop();
    });
  }
  std::filesystem::path file(const char* name, std::string_view text) {
    EXPECT_TRUE(write_text(folder / name, text));
    return folder / name;
  }
};

TEST_F(NvidiaStart, ServicesNeedALoopAndGoodFiles) {
  EXPECT_TRUE(start());
  config.gpu_rim_url = "https://rim.example.org/";
  EXPECT_TRUE(start());
  EXPECT_EQ(Trustee::open(config, at).error().code, ErrorCode::invalid_argument) << "no loop";
  config.gpu_service_key = folder / "none";
  EXPECT_EQ(start().error().code, ErrorCode::not_found);
  for (const char* bad : {"", "\n", "two\nlines", "\x01"}) {
    config.gpu_service_key = file("key", bad);
    EXPECT_EQ(start().error().code, ErrorCode::invalid_argument) << bad;
  }
  config.gpu_service_key = file("key", "nvapi-1\n");
  EXPECT_TRUE(start());
  config.gpu_service_ca = folder / "none";
  EXPECT_FALSE(start());
  config.gpu_service_ca.clear();
  config.gpu_policy = file("policy.json", R"({"gpu-ra-enable":false})");
  EXPECT_THAT(start().error().text(), HasSubstr("gpu-ra-enable"));
  config.gpu_policy.clear();
  config.gpu_device_roots = {file("root.pem", "no certificate")};
  EXPECT_FALSE(start());
}

TEST_F(NvidiaStart, TheRemoteServiceIsAskedOverTls) {
  config.gpu_remote = true;
  EXPECT_TRUE(start());
  config.gpu_verifier_url = "http://nras.example.org/v4/attest";
  EXPECT_THAT(start().error().text(), HasSubstr("must be https"));
  config.gpu_verifier_url = "http://127.0.0.1:1/v4/attest";
  EXPECT_TRUE(start());
}

TEST_F(NvidiaStart, WhatTheRemoteServiceDoesNotHearOfIsRefused) {
  const std::string value(96, 'a');
  for (const auto& [name, policy] :
       {std::pair("exceptions", R"({"exceptions":[{"source":"Driver","index":9,"value":")" + value + "\"}]}"),
        {"enrolled", R"({"enrolled":{"NV_X":{"9":[")" + value + "\"]}}}"},
        {"ocsp_grace", R"({"ocsp_grace":1})"},
        {"allow_cert_hold", R"({"allow_cert_hold":true})"}}) {
    config.gpu_policy = file("policy.json", policy);
    config.gpu_remote = false;
    EXPECT_TRUE(start()) << name;
    config.gpu_remote = true;
    const auto started = start();
    ASSERT_FALSE(started) << name;
    EXPECT_THAT(started.error().text(), HasSubstr(name));
  }
  config.gpu_policy = file("policy.json", R"({"gpus":8,"require_ocsp":false,"min_driver":"550.90.07"})");
  EXPECT_TRUE(start());
}

}  // namespace
}  // namespace cairn::trustee::test
