#include "cli/attest/attest.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/test_folder.h"
#include "crypto/hash.h"
#include "evidence/eventlog/aael.h"
#include "evidence/tdx/verify.h"

namespace cairn::cli {
namespace {

class AttestTest : public testing::Test {
 protected:
  void SetUp() override {
    if (std::filesystem::exists("/dev/tdx_guest")) GTEST_SKIP() << "this machine has a TEE";
    options_.tee = "simulated";
    options_.simulator = dir_ / "td";
  }
  tdx::Verdict judge(ByteView quote) {
    const auto collateral = tdx::parse_collateral(read_text(dir_ / "td/collateral.json").value()).value();
    const auto root = tdx::trust_root("simulator", read_file(dir_ / "td/root.pem").value()).value();
    tdx::Options options;
    options.time = now();
    return tdx::verify(quote, collateral, {root}, options);
  }
  TestFolder dir_;
  AttestOptions options_;
  std::ostringstream out_, err_;
};

TEST_F(AttestTest, EvidenceOfTheSimulatorVerifies) {
  options_.nonce = "hello";
  ASSERT_EQ(run_attest(options_, out_, err_), 0) << err_.str();
  const auto evidence = parse_json(out_.str()).value();
  const auto verdict = judge(from_base64(evidence["quote"].get<std::string>()).value());
  ASSERT_TRUE(verdict.authentic()) << verdict.outcome();
  EXPECT_TRUE(equal(verdict.quote->report_data().view(), crypto::sha512(as_bytes("hello")).view()));
  EXPECT_TRUE(evidence["gpu_evidence"].is_null());
  EXPECT_TRUE(evidence["aa_eventlog"].is_null());
  const Bytes ccel = from_base64(evidence["cc_eventlog"].get<std::string>()).value();
  EXPECT_EQ(eventlog::replay_rtmrs(eventlog::parse_ccel(ccel).value()).value(), verdict.quote->td()->rtmr);
}

TEST_F(AttestTest, BothEvidenceFormsCarryTheAgentsLog) {
  const eventlog::AaelEvent event{"d", "o", "c"};
  const std::string text = eventlog::init_line({}) + "\n" + event.text() + "\n";
  ASSERT_TRUE(write_text(dir_ / "log", text));
  options_.event_log = dir_ / "log";
  ASSERT_EQ(run_attest(options_, out_, err_), 0) << err_.str();
  EXPECT_EQ(parse_json(out_.str()).value()["aa_eventlog"], text);
  ASSERT_TRUE(write_file(dir_ / "log", eventlog::tagged_event_record(event)));
  EXPECT_EQ(run_attest(options_, out_, err_), 2);  // records are not a text log
  out_.str("");
  options_.format = "evidence-p2";
  ASSERT_EQ(run_attest(options_, out_, err_), 0) << err_.str();
  const Bytes log = from_base64(parse_json(out_.str()).value()["cc_eventlog"].get<std::string>()).value();
  EXPECT_EQ(eventlog::aael_events(eventlog::parse_ccel(log).value()).value(), std::vector{event});
}

TEST_F(AttestTest, RawQuoteToAFile) {
  options_.format = "quote";
  options_.report_data = "0102";
  options_.output = dir_ / "quote.bin";
  ASSERT_EQ(run_attest(options_, out_, err_), 0) << err_.str();
  EXPECT_TRUE(out_.str().empty());
  const auto verdict = judge(read_file(options_.output).value());
  EXPECT_EQ(hex(verdict.quote->report_data().view()), "0102" + std::string(124, '0'));
}

TEST_F(AttestTest, ScenariosStayInForceUntilRepaired) {
  options_.format = "quote";
  options_.output = dir_ / "quote.bin";
  for (const auto& [scenario, outcome] :
       {std::pair{"pck-revoked", "PckRevoked"}, {"", "PckRevoked"}, {"none", "UpToDate"}}) {
    options_.scenario = scenario;
    ASSERT_EQ(run_attest(options_, out_, err_), 0) << err_.str();
    EXPECT_EQ(judge(read_file(options_.output).value()).outcome(), outcome);
  }
  options_.scenario = "pck-revoke";
  EXPECT_EQ(run_attest(options_, out_, err_), 1);
  options_.scenario = "none";
  options_.tee = "tdx";
  EXPECT_EQ(run_attest(options_, out_, err_), 1);
}

TEST_F(AttestTest, WhatCannotBeDoneIsSaid) {
  options_.report_data = "xyz";
  EXPECT_EQ(run_attest(options_, out_, err_), 1);
  options_.report_data = std::string(130, '0');
  EXPECT_EQ(run_attest(options_, out_, err_), 1);
  options_.report_data = "00";
  options_.nonce = "n";
  EXPECT_EQ(run_attest(options_, out_, err_), 1);
  options_.nonce.clear();
  options_.format = "pdf";
  EXPECT_EQ(run_attest(options_, out_, err_), 1);
  options_.format = "quote";
  options_.tee = "auto";
  EXPECT_EQ(run_attest(options_, out_, err_), 2);
  options_.agent = "unix:///nonexistent/agent.sock";
  EXPECT_EQ(run_attest(options_, out_, err_), 2);
  EXPECT_TRUE(err_.str().contains("agent.sock")) << err_.str();
}

TEST(ReportDataOption, FreshUnlessGiven) { EXPECT_NE(report_data_of({}).value(), report_data_of({}).value()); }

}  // namespace
}  // namespace cairn::cli
