#include "cli/verify/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/verify/cases.h"
#include "cli/verify/input.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kData = fs::path(CAIRN_SHARED_DATA) / "tdx";

class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kData / "cases-real.json")) GTEST_SKIP() << "shared data not present";
    folder = fs::path(::testing::TempDir()) / ("cairn-verify-" + std::to_string(::getpid()));
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  fs::path write(const std::string& name, std::string_view text) {
    EXPECT_TRUE(write_text(folder / name, text));
    return folder / name;
  }
  int run(const VerifyOptions& options) {
    out.str("");
    err.str("");
    return run_verify(options, out, err);
  }
  [[nodiscard]] static Json case_named(const std::string& id) {
    for (const char* file : {"cases-real.json", "cases-synthetic.json"}) {
      const Json document = parse_json(read_text(kData / file).value()).value();
      for (const Json& c : document.at("cases"))
        if (c.at("id") == id) return c;
    }
    ADD_FAILURE() << "no case " << id;
    return {};
  }
  // The collateral of a case as the bundle that travels with a quote.
  fs::path bundle(const Json& c) {
    const auto bytes = [&](const char* member) { return read_file(kData / c.at(member).get<std::string>()).value(); };
    const auto text = [&](const char* member) { return std::string(as_text(bytes(member))); };
    const tdx::Collateral collateral{.tcb_info = text("tcb_info"),
                                     .tcb_signing_chain = text("tcb_signing_chain"),
                                     .qe_identity = text("qe_identity"),
                                     .qe_signing_chain = text("qe_signing_chain"),
                                     .root_crl = bytes("root_crl"),
                                     .pck_crl = bytes("pck_crl"),
                                     .pck_crl_issuer_chain = text("pck_crl_issuer_chain"),
                                     .pck_chain = {}};
    return write("bundle-" + c.at("id").get<std::string>() + ".json", tdx::serialise(collateral));
  }
  // Options that judge the quote of a case as the case says.
  VerifyOptions options(const std::string& id) {
    const Json c = case_named(id);
    VerifyOptions o;
    o.files = {kData / c.at("quote").get<std::string>()};
    o.collateral = bundle(c);
    o.at = c.at("time").get<std::string>();
    if (const std::string root = c.at("root").get<std::string>(); !root.starts_with("real/"))
      o.roots = {"vectors=" + (kData / root).string()};
    return o;
  }

  fs::path folder;
  std::ostringstream out, err;
};

TEST_F(Verify, CaseFilesComeOutAsWanted) {
  for (const char* file : {"cases-real.json", "cases-synthetic.json"}) {
    VerifyOptions o;
    o.cases = kData / file;
    EXPECT_EQ(run(o), kAffirming) << out.str() << err.str();
    EXPECT_THAT(out.str(), HasSubstr(" 0 differ"));
  }
}

// A case file elsewhere, with one wrong expectation of each kind: status, date, advisories, current, policy.
TEST_F(Verify, CasesThatDifferAreNamedAndExitTwo) {
  fs::create_directory_symlink(kData / "real", folder / "real");
  fs::create_directory_symlink(kData / "synthetic", folder / "synthetic");
  Json cases = Json::array();
  const auto add = [&](const char* id, const char* member, const Json& value) {
    cases.push_back(case_named(id));
    if (member != nullptr) cases.back()[member] = value;
  };
  add("t01", nullptr, {});
  add("t01", "required", "OutOfDate");
  add("t03", "tcb_date", "2024-01-01T00:00:00Z");
  add("t03", "advisories", Json::array());
  add("a37", "current", Json{{"tcb_status", "OutOfDate"}});
  add("a02", "policy", Json::array({"reject"}));
  VerifyOptions o;
  o.cases = write("cases.json", Json{{"cases", cases}}.dump());
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("6 cases, 5 differ"));
  o.json = true;
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_EQ(parse_json(out.str()).value().at("differ"), 5);

  o.cases = write("broken.json", R"({"cases":[{"id":"x"}]})");
  EXPECT_EQ(run(o), kUnreadable);
  EXPECT_THAT(err.str(), HasSubstr("required"));
}

TEST_F(Verify, RealQuoteIsAffirmedUnderIntelsRoot) {
  VerifyOptions o = options("t01");
  EXPECT_EQ(run(o), kAffirming) << out.str() << err.str();
  EXPECT_THAT(out.str(), HasSubstr("AFFIRMING: UpToDate"));
  EXPECT_THAT(out.str(), HasSubstr("intel"));
  EXPECT_THAT(out.str(), ::testing::Not(HasSubstr("SIMULATED")));
  o.at = "2026-06-20T00:00:00Z";
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("expired"));
  o.flag_expired = true;
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("collateral_expired"));
}

TEST_F(Verify, OtherRootsMustBeNamedAndAreSimulated) {
  VerifyOptions o = options("a01");
  EXPECT_EQ(run(o), kAffirming) << out.str() << err.str();
  EXPECT_THAT(out.str(), HasSubstr("SIMULATED"));
  o.policy = write("policy.json", "{}");
  EXPECT_EQ(run(o), kNotAffirming);
  o.policy.clear();
  o.roots.clear();
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("NOT AFFIRMING"));
}

TEST_F(Verify, PolicyRefusesWhatTheVerdictAllows) {
  const Json c = case_named("b01");
  VerifyOptions o = options("b01");
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("debug"));
  o.policy = write("policy.json", R"({"allow_simulated":true,"allow_debug":true})");
  EXPECT_EQ(run(o), kAffirming) << out.str();
  o.report_data = "00ff";
  EXPECT_EQ(run(o), kNotAffirming);
  o.policy = write("wrong.json", R"({"allow_debugs":true})");
  EXPECT_EQ(run(o), kUnreadable);
  EXPECT_THAT(err.str(), HasSubstr("allow_debug"));
}

TEST_F(Verify, AgentEvidenceIsJudgedWithItsEventLog) {
  const fs::path evidence = kData.parent_path() / "guest/evidence/tdx-p2-cos113.json";
  VerifyOptions o = options("t05");
  o.files = {evidence};
  EXPECT_EQ(run(o), kAffirming) << out.str() << err.str();
  EXPECT_THAT(out.str(), HasSubstr("CCEL to RTMR0-3 replays"));

  Json changed = parse_json(read_text(evidence).value()).value();
  std::string log = changed.at("cc_eventlog").get<std::string>();
  log[120] = log[120] == 'A' ? 'B' : 'A';  // inside the first event's digest
  changed["cc_eventlog"] = log;
  o.files = {write("changed.json", changed.dump())};
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("cc_eventlog"));
}

// What dstack guests answer: quote, log and the report data asked for.
TEST_F(Verify, DstackEvidenceIsJudgedWithItsLog) {
  const fs::path file = kData / "real/eventlog/dstack-quote-report.json";
  const Json real = parse_json(read_text(file).value()).value();
  std::string id;  // of the case with the same quote
  const Json document = parse_json(read_text(kData / "cases-real.json").value()).value();
  for (const Json& c : document.at("cases"))
    if (c.at("quote").get<std::string>().contains("v4-dstack-quote-report")) id = c.at("id").get<std::string>();
  ASSERT_FALSE(id.empty());
  VerifyOptions o = options(id);
  o.files = {file};
  o.policy = write("policy.json", R"({"accepted_statuses":["UpToDate","OutOfDate","SWHardeningNeeded"]})");
  (void)run(o);
  EXPECT_THAT(out.str(), HasSubstr("dstack log to RTMR0-3 replays")) << out.str() << err.str();
  Json changed = real;
  changed["report_data"] = "00";
  o.files = {write("changed.json", changed.dump())};
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("report_data: the quote does not answer"));
  changed = real;
  std::string log = changed.at("event_log").get<std::string>();
  const std::size_t digest = log.find("\"digest\":\"") + 10;
  log[digest] = log[digest] == '0' ? '1' : '0';
  changed["event_log"] = log;
  o.files = {write("changed.json", changed.dump())};
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("event_log: RTMR0"));
}

// The messages of both key broker protocols around evidence.
TEST_F(Verify, EvidenceInsideMessages) {
  const Json evidence =
      parse_json(read_text(kData.parent_path() / "guest/evidence/tdx-p2-cos113.json").value()).value();
  VerifyOptions o = options("t05");
  o.files = {write("p1.json", Json{{"tee-pubkey", Json::object()}, {"tee-evidence", evidence.dump()}}.dump())};
  EXPECT_EQ(run(o), kAffirming) << out.str() << err.str();
  Json composite = {{"primary_evidence", evidence}, {"additional_evidence", ""}};
  o.files = {write("p2.json", composite.dump())};
  EXPECT_EQ(run(o), kAffirming) << out.str() << err.str();
  // Its report data is zero: not the hash of any runtime data.
  o.files = {write("p2.json", Json{{"runtime-data", {{"nonce", "x"}}}, {"tee-evidence", composite}}.dump())};
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("runtime_data"));
  composite["additional_evidence"] = R"({"sampledevice":{"svn":"2"}})";
  o.files = {write("p2.json", composite.dump())};
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(out.str(), HasSubstr("sampledevice"));
}

TEST_F(Verify, ReferenceValuesAreMeasuredAgainst) {
  VerifyOptions o = options("t01");
  o.json = true;
  EXPECT_EQ(run(o), kAffirming);
  const Json verdict = parse_json(out.str()).value().at(0);
  const std::string mr_td = verdict.at("quote").at("body").at("mr_td").get<std::string>();
  o.reference_values = write("rv.json", Json{{"mrtd", Json::array({mr_td})}}.dump());
  EXPECT_EQ(run(o), kAffirming);
  o.reference_values = write("rv.json", Json{{"mrtd", std::string(96, 'a')}}.dump());
  EXPECT_EQ(run(o), kNotAffirming);
  o.reference_values = write("rv.json", "{}");
  EXPECT_EQ(run(o), kUnreadable);
}

// Without a bundle: the platform is asked for only when the quote's PCK chain is signed under a trusted root.
TEST_F(Verify, FetchesCollateralForCertifiedPlatformsOnly) {
  ::setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  VerifyOptions o = options("a01");
  o.collateral.clear();
  o.fetch.services = {"http://127.0.0.1:1"};
  EXPECT_EQ(run(o), kUnreadable);
  EXPECT_THAT(err.str(), HasSubstr("127.0.0.1"));
  o.roots.clear();
  EXPECT_EQ(run(o), kNotAffirming);
  EXPECT_THAT(err.str(), HasSubstr("tdx.Untrusted"));
  o.fetch.qcnl = folder / "none.conf";
  o.fetch.services.clear();
  o = options("a01");
  o.collateral.clear();
  o.fetch.qcnl = write("qcnl.conf", R"({"tcb_update_type":"sometimes"})");
  EXPECT_EQ(run(o), kUnreadable);
  EXPECT_THAT(err.str(), HasSubstr("sometimes"));
}

TEST_F(Verify, SpellingsOfAQuote) {
  VerifyOptions o = options("t01");
  const Bytes quote = read_file(o.files.front()).value();
  for (const std::string& text : {hex(quote), base64(quote), base64url(quote) + "\n"}) {
    o.files = {write("quote.txt", text)};
    EXPECT_EQ(run(o), kAffirming) << text.substr(0, 20) << err.str();
  }
  o.files = {write("nothing.txt", "hello")};
  EXPECT_EQ(run(o), kUnreadable);
  o.collateral.clear();
  o.files = {write("quote.txt", hex(quote))};
  o.fetch.offline = true;
  ::setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  EXPECT_EQ(run(o), kUnreadable);
  EXPECT_THAT(err.str(), HasSubstr("--collateral"));
}

TEST(Input, SaysWhatItCannotRead) {
  const auto code = [](std::string_view text) { return parse_evidence(as_bytes(text)).error().code; };
  EXPECT_EQ(code(""), ErrorCode::malformed);
  EXPECT_EQ(code("{"), ErrorCode::malformed);
  EXPECT_EQ(code("{}"), ErrorCode::unsupported);
  EXPECT_EQ(code(R"({"svn":"1","report_data":""})"), ErrorCode::unsupported);
  EXPECT_EQ(code("INIT sha384/" + std::string(96, '0') + "\na b c"), ErrorCode::unsupported);
  EXPECT_EQ(code(R"({"tee-evidence":"{"})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"tee-evidence":7})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"primary_evidence":{"quote":"AAAA"},"additional_evidence":""})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"primary_evidence":{"svn":"1"},"additional_evidence":""})"), ErrorCode::unsupported);
  EXPECT_EQ(code(std::string("\x81") + std::string(1023, '\0')), ErrorCode::unsupported);
  EXPECT_EQ(code(R"({"quote":"AAAA"})"), ErrorCode::malformed);
}

}  // namespace
}  // namespace cairn::cli
