#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "base/test_folder.h"
#include "crypto/hash.h"
#include "trustee/as/authority.h"
#include "trustee/as/default_policy.h"
#include "trustee/as/policies.h"
#include "trustee/as/request.h"
#include "trustee/as/token_broker.h"
#include "trustee/limits.h"

namespace cairn::trustee::as {
namespace {

constexpr Time kNow{1'800'000'000};

Json json(std::string_view text) { return parse_json(text).value(); }

Appraised tdx(Json claims) { return {"tdx", DeviceClass::cpu, std::move(claims), {{"nonce", "n"}}, nullptr}; }
// Claims of a machine that the default policy believes, given `good_values()`.
Json good_claims() {
  return json(R"({"quote":{"body":{"mr_td":"aa","rtmr_0":"b0","rtmr_1":"b1","rtmr_2":"b2"}},"tcb_status":"UpToDate",
    "collateral_expiration_status":"0","simulated":false,"report_data":"00","init_data":"11",
    "td_attributes":{"debug":false,"perfmon":false,"septve_disable":true},
    "measure":{"runs":1,"ready":true,"events":[{"kind":"begin","name":"1","key":"measurement.begin.1","content":"sha384:00"},
      {"kind":"engine","name":"e","key":"measurement.engine.e","content":"sha384:ee"},
      {"kind":"model","name":"m","key":"measurement.model.m","content":"sha384:ff"}]}})");
}
Json good_values() {
  return json(R"({"tdx.quote.body.mr_td":["aa"],"tdx.quote.body.rtmr_0":["b0"],"tdx.quote.body.rtmr_1":["x","b1"],
    "tdx.quote.body.rtmr_2":"b2","measurement.engine.e":["sha384:ee"],"measurement.model.m":["sha384:ff"]})");
}

class DefaultPolicy : public testing::Test {
 protected:
  std::vector<Reason> reasons(const Json& claims, const Json& values, const std::string& tee = "tdx") {
    Appraised appraised = tdx(claims);
    appraised.tee = tee;
    auto store = rvps::Store::open(folder / "v").value();
    std::vector<rvps::ReferenceValue> all;
    for (const auto& [name, value] : values.items()) all.push_back({name, kNow.plus(10), value});
    EXPECT_TRUE(store->put(all, rvps::Store::Mode::replace, kNow));
    PolicyData data(*store);
    const auto view = data.view(kNow).value();
    const LoadedPolicy policy{compile_policy("default", std::string(default_attestation_policy())).value(), "default",
                              "00"};
    const auto simple = evaluate(policy, Rules::allow, flatten({appraised}), *view, kNow);
    const auto ear = evaluate(policy, Rules::trust_vector, annotated_evidence(appraised), *view, kNow);
    EXPECT_TRUE(simple) << simple.error().detail;
    EXPECT_TRUE(ear) << ear.error().detail;
    if (!simple || !ear) return {{"error", "", ""}};
    // Both forms must agree about everything.
    EXPECT_EQ(*simple->allow, ear_status(ear->trust_vector) == "affirming") << ear->trust_vector;
    EXPECT_EQ(to_json(simple->reasons), to_json(ear->reasons));
    std::filesystem::remove(folder / "v");
    return simple->reasons;
  }
  std::string first(const Json& claims, const Json& values) {
    const auto all = reasons(claims, values);
    return all.empty() ? "" : all.front().code;
  }
  TestFolder folder;
};

TEST_F(DefaultPolicy, BelievesOnlyWhatWasRegistered) {
  EXPECT_EQ(first(good_claims(), good_values()), "");
  EXPECT_FALSE(reasons(good_claims(), Json::object()).empty());
  const Json all = good_values();
  for (const auto& [name, value] : all.items()) {
    Json without = all;
    without.erase(name);
    EXPECT_NE(first(good_claims(), without), "") << name;
  }
}

TEST_F(DefaultPolicy, EveryMissingClaimCounts) {
  for (const char* pointer : {"/quote/body/mr_td", "/quote/body/rtmr_0", "/quote/body/rtmr_1", "/quote/body/rtmr_2",
                              "/tcb_status", "/collateral_expiration_status", "/td_attributes/debug",
                              "/td_attributes/perfmon", "/td_attributes/septve_disable"}) {
    Json claims = good_claims();
    const Json::json_pointer at(pointer);
    claims.at(at.parent_pointer()).erase(at.back());
    EXPECT_NE(first(claims, good_values()), "") << pointer;
    for (const auto& reason : reasons(good_claims(), Json::object())) EXPECT_NE(reason.code, "") << pointer;
  }
  EXPECT_EQ(reasons(json(R"({"x":1})"), Json::object()).size(), 9U) << "with nothing registered, nothing is believed";
}

TEST_F(DefaultPolicy, EachDeviationIsNamed) {
  const auto changed = [&](const char* pointer, const Json& value) {
    Json claims = good_claims();
    claims[Json::json_pointer(pointer)] = value;
    return first(claims, good_values());
  };
  EXPECT_EQ(changed("/tcb_status", "OutOfDate"), "tcb_status");
  EXPECT_EQ(changed("/collateral_expiration_status", "1"), "collateral_expired");
  EXPECT_EQ(changed("/td_attributes/debug", true), "debug");
  EXPECT_EQ(changed("/td_attributes/septve_disable", false), "td_attributes");
  EXPECT_EQ(changed("/quote/body/mr_td", "ab"), "mr_td_not_registered");
  EXPECT_EQ(changed("/quote/body/rtmr_2", "b3"), "rtmr_not_registered");
  EXPECT_EQ(changed("/measure/runs", 2), "measurer_restarted");
  EXPECT_EQ(changed("/measure/events/1/content", "sha384:ed"), "measurement_not_registered");
  EXPECT_EQ(changed("/measure/events", Json::array()), "measurement_missing");
  EXPECT_EQ(changed("/gpu_evidence_unverified", true), "gpu_unverified");
  Json claims = good_claims();
  claims["measure"]["events"].push_back(
      json(R"({"kind":"config","name":"c","key":"measurement.config.c","content":"sha384:cc"})"));
  EXPECT_EQ(first(claims, good_values()), "measurement_not_registered");
}

TEST_F(DefaultPolicy, GpusAreBelievedWhenAllAreVerified) {
  Json claims = json(R"({"verified":true,"gpu_count":2,"gpu_verified_count":2})");
  EXPECT_TRUE(reasons(claims, Json::object(), "nvidia").empty());
  claims["verified"] = false;
  claims["gpu_verified_count"] = 1;
  const auto refused = reasons(claims, Json::object(), "nvidia");
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].code, "gpu_unverified");
  EXPECT_EQ(refused[0].detail, "not every device is verified");
  claims.erase("verified");
  EXPECT_EQ(reasons(claims, Json::object(), "nvidia").size(), 1U);
}

TEST_F(DefaultPolicy, RegisteredExceptionsHold) {
  Json values = good_values();
  values["tdx.tcb_status"] = {"SWHardeningNeeded"};
  Json claims = good_claims();
  claims["tcb_status"] = "SWHardeningNeeded";
  EXPECT_EQ(first(claims, values), "");
  claims["tcb_status"] = "OutOfDate";
  EXPECT_EQ(first(claims, values), "tcb_status");
  values = good_values();
  values["tdx.measure.ready"] = {true};
  EXPECT_EQ(first(good_claims(), values), "");
  claims = good_claims();
  claims["measure"]["ready"] = false;
  EXPECT_EQ(first(claims, values), "claim_not_registered");
}

TEST_F(DefaultPolicy, EventsInsteadOfARegister) {
  Json claims = good_claims();
  claims["uefi_event_logs"] =
      json(R"([{"index":2,"type_name":"EV_SEPARATOR","digests":[{"alg":"SHA-384","digest":"d1"}]},
    {"index":2,"type_name":"EV_IPL","digests":[{"alg":"SHA-384","digest":"d2"}]},{"index":3,"type_name":"EV_IPL","digests":[]}])");
  Json values = good_values();
  values.erase("tdx.quote.body.rtmr_1");
  values["tdx.rtmr_1.events"] = {"d1", "d2"};
  EXPECT_EQ(first(claims, values), "");
  values["tdx.rtmr_1.events"] = {"d1"};
  EXPECT_EQ(first(claims, values), "rtmr_not_registered");
  claims.erase("uefi_event_logs");
  EXPECT_EQ(first(claims, values), "rtmr_not_registered");
}

TEST_F(DefaultPolicy, UnknownEvidenceIsRefused) {
  auto store = rvps::Store::open(folder / "v").value();
  PolicyData data(*store);
  const LoadedPolicy policy{compile_policy("default", std::string(default_attestation_policy())).value(), "default",
                            "00"};
  for (const char* input : {"{}", R"({"snp":{"a":1}})", R"({"snp.a":1})"}) {
    const auto verdict = evaluate(policy, Rules::allow, json(input), **data.view(kNow), kNow);
    ASSERT_TRUE(verdict);
    EXPECT_FALSE(*verdict->allow) << input;
    EXPECT_EQ(verdict->reasons.at(0).code, "unknown_evidence");
  }
}

TEST(Evaluate, WrongTypesAreErrors) {
  const TestFolder folder;
  auto store = rvps::Store::open(folder / "v").value();
  PolicyData data(*store);
  const auto run = [&](const std::string& text, Rules rules) {
    const LoadedPolicy policy{compile_policy("p", "package policy\n" + text).value(), "p", "00"};
    return evaluate(policy, rules, Json::object(), **data.view(kNow), kNow);
  };
  EXPECT_EQ(run("", Rules::allow).error().reason, "policy_error");
  EXPECT_EQ(run("allow := 1", Rules::allow).error().reason, "policy_error");
  EXPECT_EQ(run("allow if input.x", Rules::allow).error().reason, "policy_error") << "undefined";
  EXPECT_EQ(run("", Rules::trust_vector).error().reason, "policy_error") << "nothing set";
  EXPECT_EQ(run("hardware := 128", Rules::trust_vector).error().reason, "policy_error");
  EXPECT_EQ(run("hardware := \"2\"", Rules::trust_vector).error().reason, "policy_error");
  EXPECT_EQ(run("hardware := -128\nfile_system := 127", Rules::trust_vector)->trust_vector,
            Json({{"hardware", -128}, {"file-system", 127}}));
  EXPECT_FALSE(*run("default allow := false\nreasons := [\"no\"]", Rules::allow)->allow);
}

TEST(EarStatus, Tiers) {
  EXPECT_EQ(ear_status(Json::object()), "none");
  for (const auto& [value, status] : std::vector<std::pair<int, std::string>>{{-1, "none"},
                                                                              {0, "none"},
                                                                              {1, "none"},
                                                                              {2, "affirming"},
                                                                              {31, "affirming"},
                                                                              {-2, "affirming"},
                                                                              {-32, "affirming"},
                                                                              {32, "warning"},
                                                                              {95, "warning"},
                                                                              {-33, "warning"},
                                                                              {-96, "warning"},
                                                                              {96, "contraindicated"},
                                                                              {127, "contraindicated"},
                                                                              {-97, "contraindicated"},
                                                                              {-128, "contraindicated"}})
    EXPECT_EQ(ear_status({{"hardware", value}, {"executables", 0}}), status) << value;
  EXPECT_EQ(ear_status({{"a", 2}, {"b", 32}}), "warning");
}

TEST(Flatten, NamesAndLiftedMembers) {
  const Json flat = flatten({tdx(json(R"({"a":{"b":{"c":1}},"l":[{"x":1}],"e":{},"d.o.t":"v","report_data":"r"})"))});
  EXPECT_EQ(flat, json(R"({"tdx.a.b.c":1,"tdx.l":[{"x":1}],"tdx.d.o.t":"v","report_data":"r","init_data":""})"));
}

TEST(Authority, PersistsAndRenews) {
  const TestFolder folder;
  auto authority = Authority::open(folder.path(), kNow).value();
  const auto leaf = authority->ear(kNow)->chain.at(0);
  EXPECT_TRUE(crypto::verify_chain(authority->ear(kNow)->chain, {authority->ca()}, kNow));
  EXPECT_TRUE(crypto::verify_chain(authority->simple(kNow)->chain, {authority->ca()}, kNow));
  EXPECT_EQ(authority->ear(kNow)->jwk["alg"], "ES256");
  EXPECT_EQ(authority->simple(kNow)->jwk["alg"], "RS384");
  authority = Authority::open(folder.path(), kNow.plus(86400)).value();
  EXPECT_TRUE(equal(authority->ear(kNow)->chain[0].der(), leaf.der()));
  const Time later = kNow.plus(350LL * 86400);
  EXPECT_FALSE(equal(authority->ear(later)->chain[0].der(), leaf.der())) << "renewed before it ends";
  EXPECT_TRUE(crypto::verify_chain(authority->ear(later)->chain, {authority->ca()}, later.plus(300LL * 86400)));
  ASSERT_TRUE(
      write_file(folder / "ear.key", crypto::PrivateKey::generate(crypto::KeyType::ec_p256)->pkcs8_pem().view(), 0600));
  EXPECT_EQ(Authority::open(folder.path(), kNow).error().code, ErrorCode::conflict);
}

TEST(PolicyStore, ReadsFilesThatChange) {
  const TestFolder folder;
  auto store = PolicyStore::open(folder.path(), "package policy\nallow := true\n").value();
  const auto first = store->load("default").value();
  EXPECT_EQ(store->load("default").value().get(), first.get());
  ASSERT_TRUE(write_text(folder / "default.rego", "package policy\nallow := false # by hand\n"));
  EXPECT_NE(store->load("default").value()->sha384_hex, first->sha384_hex);
  EXPECT_EQ(store->load("../default").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(store->load("none").error().code, ErrorCode::not_found);
  EXPECT_TRUE(store->set(std::string(limits::kPolicyId, 'a'), "package policy"));
  EXPECT_FALSE(store->set(std::string(limits::kPolicyId + 1, 'a'), "package policy"));
  EXPECT_FALSE(store->set("big", "package policy\n#" + std::string(limits::kPolicyText, 'x')));
}

TEST(Request, Bindings) {
  const auto bound = bind_structured(json(R"({"b":1,"a":"test","c":{"d":"e"}})"), crypto::Hash::sha384).value();
  EXPECT_EQ(hex(*bound.expected),
            "e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c4597480a186427c813ca941da78870c3");
  const std::string toml = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\nx = \"y\"\n";
  const auto init = bind_init_toml(toml).value();
  EXPECT_EQ(*init.expected, crypto::digest(crypto::Hash::sha256, as_bytes(toml)));
  EXPECT_EQ(init.claims, Json({{"x", "y"}}));
  for (const char* bad : {"", "version=\"0.2.0\"\nalgorithm=\"sha256\"", "version=\"0.1.0\"\nalgorithm=\"md5\"",
                          "version=\"0.1.0\"\nalgorithm=\"sha256\"\n[data]\nx=1"})
    EXPECT_FALSE(bind_init_toml(bad)) << bad;
}

TEST(Request, Limits) {
  const auto parse = [](std::size_t evidences, std::size_t policies) {
    const Json one = {{"tee", "sample"}, {"evidence", "e30"}};
    return parse_attestation_request(compact_json({{"verification_requests", Json(std::vector<Json>(evidences, one))},
                                                   {"policy_ids", Json(std::vector<std::string>(policies, "p"))}}));
  };
  EXPECT_TRUE(parse(limits::kEvidences, limits::kPolicyIds));
  EXPECT_FALSE(parse(limits::kEvidences + 1, 1));
  EXPECT_FALSE(parse(1, limits::kPolicyIds + 1));
  EXPECT_FALSE(parse(0, 1));
  EXPECT_EQ(parse(1, 0)->policy_ids, std::vector<std::string>{"default"});
}

}  // namespace
}  // namespace cairn::trustee::as
