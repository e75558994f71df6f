#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/test_folder.h"
#include "trustee/kbs/handshake.h"
#include "trustee/kbs/resource_policy.h"
#include "trustee/kbs/resources.h"
#include "trustee/kbs/sessions.h"
#include "trustee/limits.h"

namespace cairn::trustee::kbs {
namespace {

constexpr Time kNow{1'800'000'000};

TEST(Sessions, LiveExpireAndAreBounded) {
  Sessions sessions(300);
  const auto one = sessions.begin("tdx", Protocol::v0_1_0, kNow).value();
  EXPECT_EQ(one.id.size(), 32U);
  EXPECT_EQ(one.id[12], '4') << "UUID version 4";
  EXPECT_TRUE(sessions.find(one.id, kNow.plus(299)));
  EXPECT_FALSE(sessions.find(one.id, kNow.plus(300)));
  EXPECT_FALSE(sessions.find("", kNow));
  for (std::size_t i = 1; i < limits::kSessions; ++i) ASSERT_TRUE(sessions.begin("tdx", Protocol::v0_4_0, kNow));
  EXPECT_EQ(sessions.begin("tdx", Protocol::v0_4_0, kNow).error().code, ErrorCode::unavailable);
  EXPECT_TRUE(sessions.begin("tdx", Protocol::v0_4_0, kNow.plus(300))) << "the expired make room";
  EXPECT_EQ(sessions.size(), 1U);
}

TEST(Sessions, KeepTheFirstToken) {
  Sessions sessions(300);
  const auto id = sessions.begin("tdx", Protocol::v0_1_0, kNow)->id;
  const auto first = std::make_shared<const AttestedToken>(AttestedToken{"one", {}, {}});
  EXPECT_TRUE(sessions.attested(id, first));
  EXPECT_TRUE(sessions.attested(id, std::make_shared<const AttestedToken>(AttestedToken{"two", {}, {}})));
  EXPECT_EQ(sessions.find(id, kNow)->token->jwt, "one");
  EXPECT_FALSE(sessions.attested("none", first));
}

TEST(Resources, NamesFromShared) {
  const auto path = std::filesystem::path(CAIRN_SHARED_DATA) / "trustee/protocol/resource-paths.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "shared data not present";
  const Json names = parse_json(read_text(path).value()).value();
  for (const auto& name : names["valid"]) EXPECT_TRUE(parse_resource_name(name.get<std::string>())) << name;
  for (const auto& name : names["invalid"]) EXPECT_FALSE(parse_resource_name(name.get<std::string>())) << name;
}

TEST(Resources, LimitsHold) {
  const TestFolder folder;
  const auto resources = Resources::open(folder.path()).value();
  const std::string longest(limits::kResourceSegment, 'x');
  EXPECT_TRUE(parse_resource_name(longest + "/b/c"));
  EXPECT_FALSE(parse_resource_name(longest + "x/b/c"));
  const ResourceName name{"a", "b", "c"};
  EXPECT_TRUE(resources.write(name, Bytes(limits::kResource)));
  EXPECT_EQ(resources.read(name)->size(), limits::kResource);
  EXPECT_EQ(resources.write(name, Bytes(limits::kResource + 1)).error().code, ErrorCode::too_large);
  ASSERT_TRUE(write_file(folder / "a/b/c", Bytes(limits::kResource + 1)));
  EXPECT_EQ(resources.read(name).error().code, ErrorCode::too_large);
  ASSERT_TRUE(write_text(folder / "a/b/.hidden", "x"));
  EXPECT_EQ(resources.list()->size(), 1U);
}

Decision decide(ResourcePolicy& policy, const Json& claims) {
  return policy.decide(policy::Document::from_json(claims).value(), "resource/a/b/c", kNow).value();
}

TEST(ResourcePolicy, DefaultNeedsAnAffirmingVerdict) {
  const TestFolder folder;
  auto policy = ResourcePolicy::open(folder / "p.rego").value();
  const Json vector = {{"configuration", 2}, {"executables", 3}, {"file-system", 2}, {"hardware", 2}};
  const Json module = {
      {"ear.status", "affirming"}, {"ear.appraisal-policy-id", "default"}, {"ear.trustworthiness-vector", vector}};
  EXPECT_TRUE(decide(*policy, {{"submods", {{"cpu0", module}}}}).allow);
  EXPECT_TRUE(decide(*policy, {{"submods", {{"cpu0", module}, {"gpu0", module}}}}).allow);
  EXPECT_FALSE(decide(*policy, {{"submods", {{"gpu0", module}}}}).allow) << "no cpu";
  EXPECT_FALSE(decide(*policy, Json::object()).allow);
  EXPECT_FALSE(decide(*policy, {{"submods", Json::object()}}).allow);
  for (const auto& [pointer, value] :
       std::vector<std::pair<std::string, Json>>{{"/ear.status", "warning"},
                                                 {"/ear.appraisal-policy-id", "other"},
                                                 {"/ear.trustworthiness-vector/hardware", 32},
                                                 {"/ear.trustworthiness-vector/executables", 1},
                                                 {"/ear.trustworthiness-vector/configuration", "2"},
                                                 {"/ear.trustworthiness-vector/file-system", nullptr},
                                                 {"/ear.trustworthiness-vector", 1}}) {
    Json broken = module;
    broken[Json::json_pointer(pointer)] = value;
    const auto decision = decide(*policy, {{"submods", {{"cpu0", module}, {"cpu1", broken}}}});
    EXPECT_FALSE(decision.allow) << pointer;
    EXPECT_FALSE(decision.reasons.empty()) << pointer;
  }
  for (const char* missing : {"ear.status", "ear.appraisal-policy-id", "ear.trustworthiness-vector"}) {
    Json broken = module;
    broken.erase(missing);
    EXPECT_FALSE(decide(*policy, {{"submods", {{"cpu0", broken}}}}).allow) << missing;
  }
  for (const Json& none : {Json(1), Json("x"), Json::array(), Json(nullptr)})
    EXPECT_FALSE(decide(*policy, {{"submods", {{"cpu0", module}, {"cpu1", none}}}}).allow) << none;
  Json odd = module;
  odd["ear.status"] = "warning";
  odd["cairn.reasons"] = "not a list";
  EXPECT_FALSE(decide(*policy, {{"submods", {{"cpu0", odd}}}}).allow);
  odd["cairn.reasons"] = Json::array({{{"code", "tcb_status"}, {"detail", "old"}}});
  EXPECT_EQ(decide(*policy, {{"submods", {{"cpu0", odd}}}}).reasons, std::vector<std::string>{"tcb_status: old"});
}

TEST(ResourcePolicy, DefaultOnSimpleTokens) {
  const TestFolder folder;
  auto policy = ResourcePolicy::open(folder / "p.rego").value();
  const auto reports = [](const char* id) {
    return Json{{"tee", "tdx"}, {"evaluation-reports", Json::array({{{"policy-id", id}}})}};
  };
  EXPECT_TRUE(decide(*policy, reports("default")).allow);
  EXPECT_FALSE(decide(*policy, reports("lax")).allow);
  Json device = reports("default");
  device["tee"] = "nvidia";
  EXPECT_FALSE(decide(*policy, device).allow) << "a GPU beside no TEE";
  device.erase("tee");
  EXPECT_FALSE(decide(*policy, device).allow);
  Json both = reports("default");
  both["submods"] = {{"cpu0", {{"ear.status", "none"}}}};
  EXPECT_FALSE(decide(*policy, both).allow) << "an EAR with a report added";
}

TEST(ResourcePolicy, SharedCasesOfPaths) {
  const TestFolder folder;
  auto policy = ResourcePolicy::open(folder / "p.rego").value();
  ASSERT_TRUE(
      policy->set("package policy\ndefault allow = false\nallow { data[\"resource-path\"] == \"resource/a/b/c\" }\n"));
  EXPECT_TRUE(decide(*policy, Json::object()).allow);
  ASSERT_TRUE(policy->set("package policy\nallow { input.x }\n"));
  EXPECT_FALSE(policy->decide(policy::Document::from_json(Json::object()).value(), "resource/a/b/c", kNow))
      << "undefined is an error";
  EXPECT_FALSE(policy->set("package policy\nallow { data["));
  ASSERT_TRUE(write_text(folder / "p.rego", "package policy\nallow := true # by hand\n"));
  EXPECT_TRUE(decide(*policy, Json::object()).allow) << "the file is read again";
}

}  // namespace
}  // namespace cairn::trustee::kbs
