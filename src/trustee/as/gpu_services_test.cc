// GPU evidence judged with what services say: fetched while the request waits, refused as unavailable when they are
// away, and never passed for want of an answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/test_folder.h"
#include "device/collateral/test_gpu_service.h"
#include "device/simulator/gpu/test_shapes.h"
#include "trustee/as/gpu_judge.h"
#include "trustee/as/metrics.h"
#include "trustee/limits.h"

namespace cairn::trustee::as {
namespace {

using device::GpuScenario;
using device::GpuService;
using device::GpuSimulator;
using device::kGpuNow;
using net::Task;
using ::testing::HasSubstr;

class GpuServices : public ::testing::Test {
 protected:
  GpuService service;
  Bytes report_data = Bytes(48, 0x21);
  nvidia::TrustRoots roots;
  nvidia::Collateral bundle;  // in a file, if it has any document
  bool remote = false;
  Time now = kGpuNow;
  int rounds = 0;

  void run(std::function<Task<>(const GpuJudge&)> test) {
    const TestFolder folder;
    roots = service.simulator.roots();
    evidence_ =
        device::trustee_shape(service.simulator.evidence(nvidia::nonce_of_report_data(report_data).value()).value());
    GpuOptions options{.roots = roots, .policy = {}, .bundles = {}};
    options.policy.allow_simulated = true;
    if (!bundle.rims.empty() || !bundle.ocsp.empty()) {
      ASSERT_TRUE(write_text(folder / "bundle.json", compact_json(nvidia::to_json(bundle))));
      options.bundles = {folder / "bundle.json"};
    }
    const auto done = net::run_task([&](net::Runtime& runtime) -> Task<> {
      net::HttpServer server(runtime, service.handler());
      CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
      const std::string url = "http://" + at.text();
      service.nras.issuer = url;
      CAIRN_CO_CHECK(open(options, url, runtime.loop(0)));
      const GpuJudge judge(options);
      const Result<> result = co_await test(judge);
      if (options.fetched) CAIRN_CO_CHECK(co_await options.fetched->stop());
      if (options.remote) CAIRN_CO_CHECK(co_await options.remote->stop());
      CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(200)));
      co_return result;
    });
    EXPECT_TRUE(done) << done.error().text();
  }
  Result<void> open(GpuOptions& options, const std::string& url, net::Executor loop) const {
    if (remote) {
      device::NrasSource source;
      source.url = url + "/v4/attest";
      source.first_retry = net::Milliseconds(1);
      source.attempts = 1;
      CAIRN_TRY(options.remote, device::NrasCache::open(std::move(loop), std::move(source)));
      return {};
    }
    device::GpuSource source;
    source.rim_url = url + "/v1/rim";
    source.ocsp_url = url;
    source.first_retry = net::Milliseconds(1);
    source.attempts = 1;
    CAIRN_TRY(options.fetched, device::GpuCache::open(std::move(loop), std::move(source), roots));
    return {};
  }
  // As the server does: again, while something is waited for.
  Task<Json> judged(const GpuJudge& judge) {
    for (rounds = 1;; ++rounds) {
      Pending pending;
      const bool may_wait = rounds < static_cast<int>(limits::kPendingRounds);
      auto got = judge.judge(evidence_, report_data, now, may_wait ? &pending : nullptr);
      if (pending.empty()) co_return outcome(got);
      EXPECT_FALSE(got) << "what waits is not answered";
      CAIRN_CO_CHECK(co_await pending.wait());
    }
  }
  static Json outcome(const Outcome<GpuJudge::Judged>& got) {
    if (!got) return {{"refused", got.error().reason}, {"code", code_status(got.error().code)}};
    return nvidia::set_claims(got->verdict);
  }

 private:
  Json evidence_;
};

TEST_F(GpuServices, DocumentsAreFetchedWhileTheRequestWaits) {
  run([&](const GpuJudge& judge) -> Task<> {
    CAIRN_CO_TRY(Json claims, co_await judged(judge));
    EXPECT_EQ(claims["verified"], true) << claims.dump(1);
    EXPECT_EQ(rounds, 2);
    EXPECT_EQ(service.rims_asked + service.ocsp_asked, 8U);
    CAIRN_CO_TRY(claims, co_await judged(judge));
    EXPECT_EQ(claims["verified"], true);
    EXPECT_EQ(rounds, 1) << "from memory";
    EXPECT_EQ(service.rims_asked + service.ocsp_asked, 8U);
    const Json status = judge.status(now);
    EXPECT_EQ(status["held"]["gpu_rim"]["held"], 2);
    EXPECT_EQ(status["last_error"], "");
    const auto store = CollateralStore::open({}, std::nullopt).value();
    const std::string text = metrics(*store, judge, now.plus(5));
    EXPECT_THAT(text, HasSubstr("cairn_trustee_collateral_fetches_total{kind=\"gpu_rim\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("cairn_trustee_collateral_hits_total{kind=\"gpu_ocsp\"} 12\n"));
    EXPECT_THAT(text, HasSubstr("cairn_trustee_collateral_oldest_seconds{kind=\"gpu_ocsp\"} 5\n"));
    EXPECT_THAT(text, HasSubstr("# TYPE cairn_trustee_collateral_failures_total counter\n"));
    EXPECT_THAT(text, HasSubstr("cairn_trustee_collateral_failures_total{kind=\"tdx\"} 0\n"));
    co_return Result<>{};
  });
}

TEST_F(GpuServices, AwayIsUnavailableAndNeverAPass) {
  service.away = true;
  run([&](const GpuJudge& judge) -> Task<> {
    CAIRN_CO_TRY(Json refused, co_await judged(judge));
    EXPECT_EQ(refused, (Json{{"refused", "gpu_collateral"}, {"code", 503}}));
    const auto without_waiting = outcome(judge.judge({{"device_evidence_list", Json::array()}}, report_data, now, {}));
    EXPECT_EQ(without_waiting["verified"], false) << "needs nothing";
    service.away = false;
    now = now.plus(device::kFailureMemory);
    CAIRN_CO_TRY(const Json claims, co_await judged(judge));
    EXPECT_EQ(claims["verified"], true);
    service.away = true;
    now = kGpuNow.plus(2 * 24 * 3600);
    CAIRN_CO_TRY(refused, co_await judged(judge));
    EXPECT_EQ(refused["code"], 503) << "what was held has ended";
    co_return Result<>{};
  });
}

TEST_F(GpuServices, WhatTheServicesSayIsAVerdict) {
  for (const auto& [scenario, failure] :
       std::initializer_list<std::pair<GpuScenario, const char*>>{{GpuScenario::rim_revoked, "CertificateRevoked"},
                                                                  {GpuScenario::ocsp_unknown, "OcspUnknown"},
                                                                  {GpuScenario::rim_tampered, "RimSignature"},
                                                                  {GpuScenario::rim_missing, "RimAbsent"},
                                                                  {GpuScenario::vbios_changed, "Measurement"}}) {
    service.simulator = GpuSimulator::make({.scenario = scenario}, kGpuNow).value();
    run([&](const GpuJudge& judge) -> Task<> {
      CAIRN_CO_TRY(const Json claims, co_await judged(judge));
      EXPECT_EQ(claims.value("verified", Json()), false) << device::name(scenario);
      EXPECT_THAT(claims.dump(), HasSubstr(failure)) << device::name(scenario);
      co_return Result<>{};
    });
  }
}

TEST_F(GpuServices, NothingIsFetchedForWhatIsNotAuthentic) {
  for (const GpuScenario s : {GpuScenario::report_flip, GpuScenario::chain_other_root, GpuScenario::report_replay})
    for (const bool asked : {false, true}) {
      remote = asked;
      service.simulator = GpuSimulator::make({.scenario = s}, kGpuNow).value();
      run([&](const GpuJudge& judge) -> Task<> {
        CAIRN_CO_TRY(const Json claims, co_await judged(judge));
        EXPECT_EQ(claims.value("verified", Json()), false) << device::name(s);
        EXPECT_EQ(rounds, 1);
        co_return Result<>{};
      });
    }
  EXPECT_EQ(service.rims_asked + service.ocsp_asked + service.nras_asked + service.keys_asked, 0U);
}

TEST_F(GpuServices, AMismatchFetchesTheManifestAnewOnce) {
  service.simulator = GpuSimulator::make({.scenario = GpuScenario::vbios_changed}, kGpuNow).value();
  run([&](const GpuJudge& judge) -> Task<> {
    CAIRN_CO_TRY(Json claims, co_await judged(judge));
    EXPECT_EQ(rounds, 2) << "fetched this moment: not again";
    const auto asked = service.rims_asked;
    now = service.now = kGpuNow.plus(device::kRimRecheck);
    CAIRN_CO_TRY(claims, co_await judged(judge));
    EXPECT_EQ(claims["verified"], false);
    EXPECT_EQ(rounds, 2);
    EXPECT_EQ(service.rims_asked, asked + 2);
    CAIRN_CO_TRY(claims, co_await judged(judge));
    EXPECT_EQ(rounds, 1) << "and then the verdict stands";
    co_return Result<>{};
  });
}

TEST_F(GpuServices, BundlesWinOverTheServiceAndTheServiceCompletesThem) {
  bundle.rims = service.simulator.rims().value();
  bundle.ocsp = service.simulator.collateral(kGpuNow.plus(-3 * 24 * 3600)).value().ocsp;  // all ended
  run([&](const GpuJudge& judge) -> Task<> {
    CAIRN_CO_TRY(const Json claims, co_await judged(judge));
    EXPECT_EQ(claims["verified"], true) << claims.dump(1);
    EXPECT_EQ(service.rims_asked, 0U);
    EXPECT_EQ(service.ocsp_asked, 6U);
    co_return Result<>{};
  });
}

TEST_F(GpuServices, TheRemoteVerifierIsAskedInstead) {
  remote = true;
  run([&](const GpuJudge& judge) -> Task<> {
    CAIRN_CO_TRY(const Json claims, co_await judged(judge));
    EXPECT_EQ(claims["verified"], true) << claims.dump(1);
    EXPECT_EQ(claims["devices"]["GPU-0"]["x-cairn-verifier"], "NRAS");
    EXPECT_EQ(rounds, 2);
    EXPECT_EQ(service.nras_asked, 1U);
    EXPECT_EQ(service.rims_asked + service.ocsp_asked, 0U);
    EXPECT_EQ(judge.counts(now).at(0).first, "gpu_remote");
    EXPECT_THAT(judge.status(now)["verifier"].get<std::string>(), HasSubstr("/v4/attest"));
    co_return Result<>{};
  });
}

TEST_F(GpuServices, TheRemoteVerifierAwayOrUnbelievableIsUnavailable) {
  remote = true;
  service.away = true;
  const auto refused = [&] {
    run([&](const GpuJudge& judge) -> Task<> {
      CAIRN_CO_TRY(const Json answer, co_await judged(judge));
      EXPECT_EQ(answer, (Json{{"refused", "gpu_verifier"}, {"code", 503}}));
      co_return Result<>{};
    });
  };
  refused();
  service.away = false;
  service.nras.change_overall = [](Json& c) { c["iss"] = "https://example.org"; };
  refused();
  service.nras.change_overall = nullptr;
  service.nras.change_device = [](Json& c) { c["measres"] = "fail"; };
  run([&](const GpuJudge& judge) -> Task<> {
    CAIRN_CO_TRY(const Json claims, co_await judged(judge));
    EXPECT_EQ(claims.value("verified", Json()), false) << "its negative word is a verdict";
    co_return Result<>{};
  });
}

}  // namespace
}  // namespace cairn::trustee::as
