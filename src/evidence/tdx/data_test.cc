// Formats beside the quote: bundles, policies, the scanner, TCB info of version 2, limits.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "evidence/tdx/collateral.h"
#include "evidence/tdx/json_scanner.h"
#include "evidence/tdx/policy.h"
#include "evidence/tdx/tcb.h"
#include "evidence/tdx/test_world.h"

namespace cairn::tdx {
namespace {

using testing::World;

TEST(Bundle, WhatIsWrittenIsRead) {
  Collateral c = World().make().collateral;
  EXPECT_EQ(parse_collateral(serialise(c)).value(), c);
  c.pck_chain = "chain";
  EXPECT_EQ(parse_collateral(serialise(c)).value(), c);
  Json json = parse_json(serialise(c)).value();
  json["root_crl"] = hex(c.root_crl);
  EXPECT_EQ(parse_collateral(json.dump()).value(), c);
}

TEST(Bundle, NamesEveryProblem) {
  const Json good = parse_json(serialise(World().make().collateral)).value();
  const auto problem = [&](const char* member, const Json& value) {
    Json json = good;
    json[member] = value;
    const auto read = parse_collateral(json.dump());
    return read ? std::string() : read.error().text();
  };
  EXPECT_NE(problem("version", 2).find("version"), std::string::npos);
  EXPECT_NE(problem("tcb_infos", "x").find("did you mean \"tcb_info\""), std::string::npos);
  EXPECT_NE(problem("pck_crl", "zz").find("$.pck_crl"), std::string::npos);
  EXPECT_NE(problem("qe_identity", 1).find("$.qe_identity"), std::string::npos);
  EXPECT_EQ(problem("tcb_signing_chain", std::string(kMaxChain, 'x')), "");
  EXPECT_NE(problem("tcb_signing_chain", std::string(kMaxChain + 1, 'x')), "");
  EXPECT_EQ(problem("tcb_info", std::string(kMaxSignedJson, 'x')), "");
  EXPECT_NE(problem("tcb_info", std::string(kMaxSignedJson + 1, 'x')), "");
  EXPECT_FALSE(parse_collateral("{}"));
  EXPECT_FALSE(parse_collateral(""));
}

TEST(Bundle, RevocationListsInEverySpelling) {
  const Bytes der = World().make().collateral.root_crl;
  EXPECT_EQ(crl_to_der(der).value(), der);
  EXPECT_EQ(crl_to_der(as_bytes(hex(der) + "\n")).value(), der);
  std::string pem = "-----BEGIN X509 CRL-----\n" + base64(der) + "\n-----END X509 CRL-----\n";
  EXPECT_EQ(crl_to_der(as_bytes(pem)).value(), der);
  EXPECT_FALSE(crl_to_der({}));
  EXPECT_FALSE(crl_to_der(as_bytes("hello")));
  EXPECT_FALSE(crl_to_der(as_bytes("00ff")));
}

TEST(Policies, WhatIsWrittenIsRead) {
  EXPECT_EQ(parse_policy(Json::object()).value(), Policy{});
  Policy p;
  p.accepted_statuses = {TcbStatus::out_of_date, TcbStatus::up_to_date};
  p.check_current = false;
  p.accepted_advisories = std::set<std::string>{"INTEL-SA-1"};
  p.max_tcb_age_seconds = 86400;
  p.min_tcb_eval_num = 17;
  p.fmspc = {Bytes(6, 1)};
  p.ppid = {Bytes(16, 2)};
  p.sgx_types = {sgx::PlatformType::scalable_with_integrity};
  p.smt_enabled = false;
  p.allow_simulated = true;
  p.exceptions = {{.fmspc = Bytes(6, 3), .status = TcbStatus::revoked, .until = {1781481600}}};
  p.td_attributes = MaskedBits{.mask = 0xff, .value = 0x10};
  p.td_attributes_reserved = 1ULL << 62;
  p.xfam = MaskedBits{.mask = ~0ULL, .value = 0x602e7};
  p.minimum_tee_tcb_svn = Svn16{1, 2, 3};
  p.mr_td = {Register{}};
  p.rtmr[2] = {Register{}, Register{}};
  p.report_data.emplace().fill(9);
  p.mr_enclave = {Digest<32>{}};
  EXPECT_EQ(parse_policy(to_json(p)).value(), p);
}

TEST(Policies, NameEveryProblemAtOnce) {
  const Json json = parse_json(R"({"accepted_statuses":["Fine"],"mr_td":["00"],"xfam":{"value":"ff"},"alow_debug":true,
      "exceptions":[{"fmspc":"00","status":"OutOfDate","until":"soon"}],"sgx_types":["Big"]})")
                        .value();
  const auto read = parse_policy(json);
  ASSERT_FALSE(read);
  for (const char* part : {"Fine", "$.mr_td", "$.xfam.value", "allow_debug", "$.exceptions[0].fmspc",
                           "$.exceptions[0].until", "$.sgx_types"})
    EXPECT_NE(read.error().message.find(part), std::string::npos) << part << "\n" << read.error().message;
  EXPECT_FALSE(parse_policy(Json::array()));
}

Register filled(std::uint8_t value) {
  Register r{};
  r.fill(value);
  return r;
}

TEST(Policies, JudgeEachMember) {
  const Verdict v = World().make().verify();
  const auto only = [&](auto change, const char* rule) {
    Policy p;
    p.allow_simulated = true;
    change(p);
    const auto found = appraise(v, p, testing::kNow);
    ASSERT_EQ(found.size(), 1U) << rule;
    EXPECT_EQ(found[0].rule, rule);
  };
  only([](Policy& p) { p.fmspc = {Bytes(6)}; }, "fmspc");
  only([](Policy& p) { p.ppid = {Bytes(16, 1)}; }, "ppid");
  only([](Policy& p) { p.platform_instance_id = {Bytes(16, 1)}; }, "platform_instance_id");
  only([](Policy& p) { p.sgx_types = {sgx::PlatformType::standard}; }, "sgx_type");
  only([](Policy& p) { p.dynamic_platform = false; }, "dynamic_platform");
  only([](Policy& p) { p.cached_keys = true; }, "cached_keys");
  only([](Policy& p) { p.smt_enabled = false; }, "smt_enabled");
  only([](Policy& p) { p.min_tcb_eval_num = 22; }, "tcb_eval_num");
  only([](Policy& p) { p.max_tcb_age_seconds = 86400; }, "tcb_age");
  only([](Policy& p) { p.td_attributes = MaskedBits{~0ULL, 0}; }, "td_attributes");
  only([](Policy& p) { p.xfam = MaskedBits{~0ULL, 3}; }, "xfam");
  only([](Policy& p) { p.minimum_tee_tcb_svn = Svn16{6}; }, "tee_tcb_svn");
  only([](Policy& p) { p.mr_seam = {Register{}}; }, "mr_seam");
  only([](Policy& p) { p.mr_config_id = {filled(1)}; }, "mr_config_id");
  only([](Policy& p) { p.mr_owner = {filled(1)}; }, "mr_owner");
  only([](Policy& p) { p.mr_owner_config = {filled(1)}; }, "mr_owner_config");
  only([](Policy& p) { p.mr_enclave = {Digest<32>{}}; }, "body");
}

TEST(Policies, ServiceTdsMustBeListed) {
  World w;
  w.to_v5({5, 1, 7});
  w.td().td15->mr_service_td.fill(5);
  const Verdict v = w.make().verify();
  Policy p;
  p.allow_simulated = true;
  EXPECT_EQ(appraise(v, p, testing::kNow).at(0).rule, "mr_service_td");
  p.mr_service_td = {v.quote->td()->td15->mr_service_td};
  EXPECT_TRUE(appraise(v, p, testing::kNow).empty());
  w.td().extended.emplace();
  EXPECT_EQ(appraise(w.make().verify(), p, testing::kNow).at(0).rule, "extended_body");
}

bool scans(std::string_view text) {
  JsonScanner s(text);
  return s.skip() && s.end();
}

TEST(Scanner, TakesJsonAndNothingElse) {
  for (const char* good : {"{}", "[]", " [1, -0.5e+3 ,\"\\u00e9\\n\"]\n", "{\"a\":{\"b\":[null,true,false]}}", "0",
                           "\"\xc3\xa9\"", "\"\\ud83d\\ude00\""})
    EXPECT_TRUE(scans(good)) << good;
  for (const char* bad : {"",
                          "{",
                          "[1,]",
                          "{\"a\":1,}",
                          "{a:1}",
                          "{\"a\" 1}",
                          "01",
                          "-",
                          "1.",
                          "1e",
                          "tru",
                          "\"\\x\"",
                          "\"\\u12g4\"",
                          "\"\n\"",
                          "\"\xff\"",
                          "\"\xc0\x80\"",
                          "{\"a\":1,\"a\":2}",
                          "{\"a\\u0062\":1}",
                          "[] []",
                          "\"abc",
                          "\\",
                          "\"\\ud800\"",
                          "\"\\udc00\"",
                          "\"\\ud800\\u0041\""})
    EXPECT_FALSE(scans(bad)) << bad;
  EXPECT_TRUE(scans(std::string(kMaxJsonDepth, '[') + std::string(kMaxJsonDepth, ']')));
  EXPECT_FALSE(scans(std::string(kMaxJsonDepth + 1, '[') + std::string(kMaxJsonDepth + 1, ']')));
  const auto members = [](std::size_t n) {
    std::string out = "{";
    for (std::size_t i = 0; i < n; ++i) out += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
    return out + "}";
  };
  EXPECT_TRUE(scans(members(kMaxJsonMembers)));
  EXPECT_FALSE(scans(members(kMaxJsonMembers + 1)));
  JsonScanner s("18446744073709551616");
  EXPECT_FALSE(s.integer(~0ULL));
}

TEST(TcbInfo, Version2IsRead) {
  std::string tcb;
  for (int i = 1; i <= 16; ++i)
    tcb += "\"sgxtcbcomp" + std::string(i < 10 ? "0" : "") + std::to_string(i) + "svn\":" + std::to_string(i) + ",";
  const auto body = [&](const std::string& components) {
    return R"({"tcbInfo":{"version":2,"issueDate":"2026-06-01T00:00:00Z","nextUpdate":"2026-07-01T00:00:00Z","fmspc":"00906EA10000",)"
           R"("pceId":"0000","tcbType":0,"tcbEvaluationDataNumber":3,"tcbLevels":[{"tcb":{)" +
           components + R"("pcesvn":7},"tcbDate":"2026-01-01T00:00:00Z","tcbStatus":"UpToDate"}]},"signature":")" +
           std::string(128, 'a') + "\"}";
  };
  const auto read = parse_tcb_info(body(tcb)).value();
  ASSERT_TRUE(read.value) << read.value.error().text();
  EXPECT_EQ(read.value->tee, TeeType::sgx);
  EXPECT_EQ(read.value->levels.at(0).sgx[15], 16);
  EXPECT_FALSE(parse_tcb_info(body(tcb.substr(tcb.find(',') + 1)))->value);
}

TEST(TcbInfo, LevelsAreBounded) {
  const auto outcome = [](std::size_t count) {
    World w;
    Json levels = Json::array();
    for (std::size_t i = 0; i < count; ++i)
      levels.push_back(World::svn_level(static_cast<int>(i), "UpToDate", "2026-03-01T00:00:00Z"));
    w.qe_identity["tcbLevels"] = levels;
    return w.make().outcome();
  };
  EXPECT_EQ(outcome(kMaxTcbLevels), "UpToDate");
  EXPECT_EQ(outcome(kMaxTcbLevels + 1), "QeIdentityFormat");
}

// Intel's own sample set, under its own root: data type 1, chain from the caller, TCB info of version 2.
TEST(IntelSample, SgxSetIsAccepted) {
  const std::filesystem::path folder = std::filesystem::path(CAIRN_SHARED_DATA) / "tdx/intel-sample/sgx";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  const auto bytes = [&](const char* name) { return read_file(folder / name).value(); };
  const auto text = [&](const char* name) { return std::string(as_text(bytes(name))); };
  const auto root = trust_root("sample", bytes("trustedRootCaCert.pem"));
  ASSERT_TRUE(root) << root.error().text();
  // pckSignChain.pem holds the CA and the root, in whatever order; the verifier wants leaf to root.
  const std::string sign_chain = text("pckSignChain.pem");
  const Collateral c{.tcb_info = text("tcbInfo.json"),
                     .tcb_signing_chain = text("tcbSignChain.pem"),
                     .qe_identity = text("qeIdentity.json"),
                     .qe_signing_chain = text("tcbSignChain.pem"),
                     .root_crl = bytes("rootCaCrl.der"),
                     .pck_crl = bytes("intermediateCaCrl.der"),
                     .pck_crl_issuer_chain = sign_chain,
                     .pck_chain = text("pckCert.pem") + sign_chain};
  const Verdict v = verify(bytes("quote.dat"), c, {*root}, {.time = {1700000000}});
  EXPECT_EQ(v.outcome(), "UpToDate") << v.detail;
}

}  // namespace
}  // namespace cairn::tdx
