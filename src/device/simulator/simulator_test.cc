#include "device/simulator/simulator.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "base/encoding.h"
#include "base/file.h"
#include "base/test_folder.h"
#include "crypto/hash.h"
#include "crypto/x509.h"
#include "device/simulator/pki.h"
#include "device/simulator/quoting.h"
#include "evidence/eventlog/claims.h"
#include "evidence/eventlog/eventlog.h"
#include "evidence/tdx/policy.h"
#include "evidence/tdx/verify.h"

namespace cairn::device {
namespace {

class SimulatorTest : public testing::Test {
 protected:
  void SetUp() override {
    td_ = open();
    ASSERT_NE(td_, nullptr);
  }

  std::unique_ptr<Simulator> open() {
    auto td = Simulator::open(dir_ / "td", false, dir_ / "no-device");
    EXPECT_TRUE(td) << td.error().text();
    return td ? std::move(*td) : nullptr;
  }
  tdx::Verdict judge(ByteView quote, Time at = now()) {
    const auto collateral = tdx::parse_collateral(read_text(td_->collateral_path()).value());
    EXPECT_TRUE(collateral) << collateral.error().text();
    const auto root = tdx::trust_root("simulator", read_file(td_->root_path()).value());
    EXPECT_TRUE(root) << root.error().text();
    tdx::Options options;
    options.time = at;
    return tdx::verify(quote, *collateral, {*root}, options);
  }
  static ReportData nonce(std::uint8_t value) {
    ReportData out;
    out.fill(value);
    return out;
  }

  TestFolder dir_;
  std::unique_ptr<Simulator> td_;
};

TEST_F(SimulatorTest, TheVerifierAcceptsItsQuotesUnderItsRootOnly) {
  const Bytes quote = td_->quote(nonce(7)).value();
  const auto verdict = judge(quote);
  EXPECT_EQ(verdict.outcome(), "UpToDate") << verdict.detail;
  EXPECT_TRUE(verdict.simulated);
  ASSERT_TRUE(verdict.authentic());
  EXPECT_EQ(verdict.quote_size, quote.size());
  const auto* body = verdict.quote->td();
  ASSERT_NE(body, nullptr);
  EXPECT_EQ(body->report_data, nonce(7));
  EXPECT_EQ(body->mr_td, td_->mr_td().value());
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(body->rtmr[i], td_->read_rtmr(i).value());

  tdx::Policy policy;
  EXPECT_FALSE(tdx::appraise(verdict, policy, now()).empty());  // simulated evidence needs to be allowed
  policy.allow_simulated = true;
  EXPECT_TRUE(tdx::appraise(verdict, policy, now()).empty());

  const auto collateral = tdx::parse_collateral(read_text(td_->collateral_path()).value()).value();
  tdx::Options options;
  options.time = now();
  // Under Intel's root the first thing that fails is the root CRL.
  EXPECT_EQ(tdx::verify(quote, collateral, {tdx::intel_root()}, options).outcome(), "CrlSignature");
}

TEST_F(SimulatorTest, EveryScenarioIsJudgedAsIntended) {
  const std::map<Scenario, std::string_view> wanted = {
      {Scenario::none, "UpToDate"},
      {Scenario::tcb_out_of_date, "OutOfDate"},
      {Scenario::tcb_revoked, "Revoked"},
      {Scenario::tcb_sw_hardening, "SWHardeningNeeded"},
      {Scenario::tcb_configuration, "ConfigurationNeeded"},
      {Scenario::tcb_unsupported, "TcbNotSupported"},
      {Scenario::pck_revoked, "PckRevoked"},
      {Scenario::pck_expired, "CertExpired"},
      {Scenario::ca_revoked, "IntermediateRevoked"},
      {Scenario::tcb_signing_revoked, "TcbSigningRevoked"},
      {Scenario::collateral_expired, "TcbInfoExpired"},
      {Scenario::crl_expired, "CrlExpired"},
      {Scenario::wrong_fmspc, "FmspcMismatch"},
      {Scenario::tcb_info_signature, "TcbInfoSignature"},
      {Scenario::qe_identity_mismatch, "QeIdentityMismatch"},
      {Scenario::other_root, "CrlSignature|Untrusted"},
      {Scenario::td_debug, "UpToDate"},  // the next four are for policy
      {Scenario::td_sept_ve_clear, "UpToDate"},
      {Scenario::td_service, "UpToDate"},
      {Scenario::module_mismatch, "TdxModuleMismatch"},
      {Scenario::quote_flip, "QuoteSignature"},
      {Scenario::quote_signature, "QuoteSignature"},
      {Scenario::qe_report_signature, "QeReportSignature"},
      {Scenario::qe_report_data, "QeReportData"},
      {Scenario::quote_replay, "UpToDate"},  // authentic, but over another nonce
      {Scenario::quote_truncated, "Format"},
  };
  tdx::Policy policy;
  policy.allow_simulated = true;
  policy.report_data = nonce(9);
  ASSERT_EQ(wanted.size(), all_scenarios().size());
  for (const auto scenario : all_scenarios()) {
    ASSERT_TRUE(td_->set_scenario(scenario)) << name(scenario);
    const auto quote = td_->quote(nonce(9));
    ASSERT_TRUE(quote) << name(scenario) << ": " << quote.error().text();
    const auto verdict = judge(*quote);
    EXPECT_TRUE(wanted.at(scenario).contains(verdict.outcome()))
        << name(scenario) << ": " << verdict.outcome() << " " << verdict.detail;
    EXPECT_EQ(tdx::appraise(verdict, policy, now()).empty(), scenario == Scenario::none) << name(scenario);
  }
}

TEST_F(SimulatorTest, ScenarioNamesGoBothWays) {
  for (const auto scenario : all_scenarios()) EXPECT_EQ(scenario_named(name(scenario)).value(), scenario);
  EXPECT_TRUE(scenario_named("pck-revokd").error().message.contains("pck-revoked"));
}

TEST_F(SimulatorTest, TheEventLogReplaysToTheRegisters) {
  const Bytes ccel = td_->ccel().value();
  const auto log = eventlog::parse_ccel(ccel).value();
  const auto rtmr = eventlog::replay_rtmrs(log).value();
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(rtmr[i], td_->read_rtmr(i).value()) << i;
  EXPECT_TRUE(eventlog::uefi_event_logs(log));
  const auto claims = eventlog::ccel_claims(log);
  for (const std::string what : {"shim", "grub", "kernel", "initrd", "kernel_cmdline"})
    EXPECT_TRUE(claims.contains("measurement." + what + ".SHA384")) << what;
  int proven = 0;
  for (const auto& event : log.events) proven += eventlog::authenticated_text(event).has_value();
  EXPECT_EQ(proven, 7);  // three actions, three commands, one command line
}

TEST_F(SimulatorTest, RegistersAreSharedAndExtendAsHardwareDoes) {
  const auto other = open();
  const auto digest = crypto::sha384(as_bytes("event"));
  const auto before = td_->read_rtmr(3).value();
  EXPECT_EQ(hex(before.view()), std::string(96, '0'));
  ASSERT_TRUE(td_->extend_rtmr(3, digest));
  Bytes both = to_bytes(before.view());
  append(both, digest.view());
  EXPECT_EQ(other->read_rtmr(3).value(), crypto::sha384(both));
  EXPECT_EQ(td_->extend_rtmr(0, digest).error().code, ErrorCode::permission_denied);
  EXPECT_EQ(td_->extend_rtmr(1, digest).error().code, ErrorCode::permission_denied);
  EXPECT_EQ(td_->extend_rtmr(4, digest).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(judge(other->quote(nonce(1)).value()).quote->td()->rtmr[3], crypto::sha384(both));
}

TEST_F(SimulatorTest, NoExtensionIsLostBetweenThreads) {
  const auto other = open();
  const auto digest = crypto::sha384(as_bytes("x"));
  const auto work = [&](Simulator* td) {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(td->extend_rtmr(3, digest));
  };
  std::thread a(work, td_.get()), b(work, other.get()), c(work, td_.get());
  a.join();
  b.join();
  c.join();
  Digest<48> expected{};
  for (int i = 0; i < 60; ++i) {
    Bytes both = to_bytes(expected.view());
    append(both, digest.view());
    expected = crypto::sha384(both);
  }
  EXPECT_EQ(td_->read_rtmr(3).value(), expected);
}

TEST_F(SimulatorTest, BootResetsRegistersAndKeepsTheRoot) {
  const auto fingerprint = td_->root_fingerprint();
  ASSERT_TRUE(td_->extend_rtmr(3, crypto::sha384(as_bytes("x"))));
  const auto rtmr2 = td_->read_rtmr(2).value();
  BootOptions options;
  options.kernel_cmdline = "another";
  options.mr_config_id = crypto::sha384(as_bytes("init data"));
  options.quote_v5 = true;
  ASSERT_TRUE(td_->boot(options));
  EXPECT_EQ(hex(td_->read_rtmr(3).value().view()), std::string(96, '0'));
  EXPECT_NE(td_->read_rtmr(2).value(), rtmr2);
  EXPECT_EQ(td_->mr_config_id().value(), options.mr_config_id);
  const auto verdict = judge(td_->quote(nonce(2)).value());
  EXPECT_EQ(verdict.outcome(), "UpToDate") << verdict.detail;
  EXPECT_EQ(verdict.quote->header.version, 5);
  EXPECT_EQ(open()->root_fingerprint(), fingerprint);
}

TEST_F(SimulatorTest, CollateralFollowsTheClock) {
  const Bytes quote = td_->quote(nonce(3)).value();
  const Time later = now().plus(40 * 24 * 3600);
  EXPECT_EQ(judge(quote, later).outcome(), "CrlExpired");
  ASSERT_TRUE(td_->refresh_collateral(later));
  EXPECT_EQ(judge(quote, later).outcome(), "UpToDate");
}

TEST_F(SimulatorTest, AStartThatWasCutShortBeginsAnew) {
  std::filesystem::remove(dir_ / "td/td.json");
  std::filesystem::remove(dir_ / "td/ccel.bin");
  td_ = open();
  EXPECT_TRUE(judge(td_->quote(nonce(4)).value()).authentic());
  EXPECT_TRUE(td_->ccel());
}

TEST_F(SimulatorTest, AClockSetBackRenewsTheCollateral) {
  ASSERT_TRUE(td_->refresh_collateral(now().plus(10 * 24 * 3600)));
  EXPECT_TRUE(judge(td_->quote(nonce(4)).value()).authentic());
}

TEST_F(SimulatorTest, RefusesToHideHardwareAndToUseOpenKeys) {
  ASSERT_TRUE(write_text(dir_ / "device", ""));
  EXPECT_EQ(Simulator::open(dir_ / "td", false, dir_ / "device").error().code, ErrorCode::permission_denied);
  EXPECT_TRUE(Simulator::open(dir_ / "td", true, dir_ / "device"));
  struct stat info{};
  ASSERT_EQ(::stat((dir_ / "td/keys/root.pem").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_EQ(::chmod((dir_ / "td/keys/root.pem").c_str(), 0644), 0);
  EXPECT_EQ(Simulator::open(dir_ / "td", false, dir_ / "none").error().code, ErrorCode::permission_denied);
}

TEST_F(SimulatorTest, ALostKeyIsNotReplacedInSilence) {
  std::filesystem::remove(dir_ / "td/keys/pck.pem");
  EXPECT_EQ(Simulator::open(dir_ / "td", false, dir_ / "none").error().code, ErrorCode::not_found);
}

TEST_F(SimulatorTest, ADamagedStateIsAnErrorWithAdvice) {
  ASSERT_TRUE(write_text(dir_ / "td/td.json", "{}"));
  const auto quote = td_->quote(nonce(1));
  ASSERT_FALSE(quote);
  EXPECT_TRUE(quote.error().message.contains("td.json")) << quote.error().text();
}

TEST_F(SimulatorTest, TheQuotingEnclaveTakesOnlyItsOwnReports) {
  const auto keys = simulator::Keys::open(dir_ / "td/keys").value();
  const auto others = [&] {
    std::filesystem::create_directory(dir_ / "other");
    return simulator::Keys::open(dir_ / "other").value();
  }();
  const auto report = simulator::make_hardware_report({}, nonce(1), others, Scenario::none);
  EXPECT_EQ(simulator::make_quote(report, keys, {}, "", Scenario::none).error().code, ErrorCode::crypto_failed);
  EXPECT_TRUE(simulator::make_quote(report, others, {}, "pem", Scenario::none));
}

}  // namespace
}  // namespace cairn::device
