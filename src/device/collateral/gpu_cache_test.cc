// Documents for GPUs on demand: one fetch for all who wait, refreshed behind those who use them, never past their time.
#include "device/collateral/gpu_cache.h"

#include <gtest/gtest.h>

#include "device/collateral/test_gpu_service.h"

namespace cairn::device {
namespace {

using net::Task;

class GpuHeld : public ::testing::Test {
 protected:
  GpuService service;

  nvidia::TrustRoots roots;
  nvidia::Evidence evidence;

  // The machine stays what it was when the test began, whatever the services say later.
  void run(std::function<Task<>(GpuCache&)> test) {
    roots = service.simulator.roots();
    evidence = service.simulator.evidence({}).value();
    const auto done = net::run_task([&](net::Runtime& runtime) -> Task<> {
      net::HttpServer server(runtime, service.handler());
      CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
      GpuSource source;
      source.rim_url = "http://" + at.text() + "/v1/rim";
      source.ocsp_url = "http://" + at.text();
      source.first_retry = net::Milliseconds(1);
      source.attempts = 2;
      CAIRN_CO_TRY(const auto cache, GpuCache::open(runtime.loop(0), std::move(source), roots));
      const Result<> result = co_await test(*cache);
      CAIRN_CO_CHECK(co_await cache->stop());
      CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(200)));
      co_return result;
    });
    EXPECT_TRUE(done) << done.error().text();
  }
  // What the machine's evidence needs, the answers about RIM signers left out.
  [[nodiscard]] nvidia::Wanted wanted() const { return nvidia::Verifier(roots).wanted(evidence, {}); }
  [[nodiscard]] nvidia::Verdict judge(const GpuCache& cache, Time now) const {
    nvidia::Policy policy;
    policy.allow_simulated = true;
    return nvidia::Verifier(roots).verify(evidence, *cache.held(), {.time = now, .nonce = nvidia::Nonce{}}, policy);
  }
  [[nodiscard]] static std::set<std::string> ids(const GpuCache& cache) {
    std::set<std::string> out;
    for (const auto& [id, document] : cache.held()->rims) out.insert(id);
    for (const auto& [id, document] : cache.held()->ocsp) out.insert(id);
    return out;
  }
  static Task<> until(const std::function<bool()>& holds) {
    for (int i = 0; i < 300 && !holds(); ++i) CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(10)));
    co_return Result<>{};
  }
};

TEST_F(GpuHeld, FetchedOnceForAllWhoWait) {
  run([&](GpuCache& cache) -> Task<> {
    const nvidia::Wanted all = wanted();
    EXPECT_EQ(cache.missing(all, kGpuNow).rims.size(), 2U);
    Task<> first = cache.fetch(all, kGpuNow, false);
    Task<> second = cache.fetch(all, kGpuNow, false);
    CAIRN_CO_CHECK(co_await net::both(std::move(first), std::move(second)));
    EXPECT_EQ(service.rims_asked, 2U);
    EXPECT_EQ(service.ocsp_asked, 6U) << "with those about the RIM signers";
    EXPECT_TRUE(cache.missing(all, kGpuNow).empty());
    EXPECT_TRUE(judge(cache, kGpuNow).affirming());
    EXPECT_FALSE(judge(cache, kGpuNow).devices.at(0).authentic->chain.nonce_matches) << "kept answers have no nonce";
    EXPECT_EQ(cache.rims(kGpuNow).fetches, 2U);
    EXPECT_EQ(cache.rims(kGpuNow.plus(7)).oldest, 7);
    EXPECT_EQ(cache.answers(kGpuNow).held, 6U);
    co_return Result<>{};
  });
}

TEST_F(GpuHeld, RefreshedBehindItsUsers) {
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    cache.used(ids(cache), kGpuNow.plus(kGpuAnswerRefresh - 1));
    EXPECT_EQ(cache.answers(kGpuNow).hits, 6U);
    const Time due = kGpuNow.plus(kGpuAnswerRefresh);
    service.now = due;
    cache.used(ids(cache), due);
    cache.used(ids(cache), due);
    CAIRN_CO_CHECK(co_await until([&] { return service.ocsp_asked == 12; }));
    CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(50)));
    EXPECT_EQ(service.ocsp_asked, 12U) << "once each";
    EXPECT_EQ(service.rims_asked, 2U) << "manifests are due later";
    co_return Result<>{};
  });
}

TEST_F(GpuHeld, ARevocationCountsFromTheFetchThatBringsIt) {
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    EXPECT_TRUE(judge(cache, kGpuNow).affirming());
    service.simulator = GpuSimulator::make({.scenario = GpuScenario::rim_revoked}, kGpuNow).value();
    service.now = kGpuNow.plus(kGpuAnswerRefresh);
    cache.used(ids(cache), service.now);
    const auto revoked = [&] { return !judge(cache, service.now).affirming(); };
    CAIRN_CO_CHECK(co_await until(revoked));
    const auto findings = judge(cache, service.now).devices.at(0).findings;
    EXPECT_TRUE(std::ranges::contains(findings, nvidia::Failure::certificate_revoked, &nvidia::Finding::failure));
    co_return Result<>{};
  });
}

TEST_F(GpuHeld, NothingIsUsedPastItsTime) {
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    service.away = true;
    const Time end = kGpuNow.plus(24 * 3600);
    EXPECT_TRUE(cache.missing(wanted(), end.plus(-1)).rims.empty());
    const nvidia::Wanted gone = cache.missing(wanted(), end);
    EXPECT_EQ(gone.rims.size(), 2U);
    CAIRN_CO_CHECK(co_await cache.fetch(gone, end, false));
    EXPECT_EQ(cache.missing(wanted(), end).rims.size(), 2U);
    const auto error = cache.failure(gone, end);
    EXPECT_TRUE(error && error->code == ErrorCode::unavailable);
    EXPECT_FALSE(cache.failure(gone, end.plus(kFailureMemory)));
    EXPECT_FALSE(cache.last_error().empty());
    EXPECT_EQ(cache.rims(end).failures, 2U);
    co_return Result<>{};
  });
}

TEST_F(GpuHeld, WhatTheServiceDoesNotHaveIsNotAskedForAgainSoon) {
  service.without_rims = true;
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    EXPECT_TRUE(cache.missing(wanted(), kGpuNow.plus(kGpuAbsent - 1)).empty()) << "the verdict says that it is absent";
    EXPECT_EQ(cache.missing(wanted(), kGpuNow.plus(kGpuAbsent)).rims.size(), 2U);
    co_return Result<>{};
  });
}

TEST_F(GpuHeld, AMismatchMayFetchAManifestAnew) {
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    const std::set<std::string> all = ids(cache);
    EXPECT_TRUE(cache.aged(all, kGpuNow.plus(kRimRecheck - 1)).empty());
    EXPECT_EQ(cache.aged(all, kGpuNow.plus(kRimRecheck)).rims.size(), 2U);
    EXPECT_TRUE(cache.aged({"NV_OTHER"}, kGpuNow.plus(kRimRecheck)).empty());
    co_return Result<>{};
  });
}

// Nobody on the way can take a good document's place with one that does not verify.
TEST_F(GpuHeld, WhatDoesNotVerifyReplacesNothing) {
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    const Time later = service.now = kGpuNow.plus(13 * 3600);
    service.simulator = GpuSimulator::make({.scenario = GpuScenario::ocsp_flip}, kGpuNow).value();
    cache.used(ids(cache), later);
    CAIRN_CO_CHECK(co_await until([&] { return service.ocsp_asked == 12 && service.rims_asked == 4; }));
    CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(50)));
    EXPECT_TRUE(judge(cache, later).affirming()) << judge(cache, later).result().error().text();
    EXPECT_GT(cache.answers(later).failures, 0U);
    EXPECT_GT(cache.rims(later).failures, 0U) << "of a root that is not trusted here";
    co_return Result<>{};
  });
}

// What does not verify is held for a moment only, so that the verdict can say what is wrong with it.
TEST_F(GpuHeld, AManifestThatDoesNotVerifyDoesNotStay) {
  service.simulator = GpuSimulator::make({.scenario = GpuScenario::rim_tampered}, kGpuNow).value();
  run([&](GpuCache& cache) -> Task<> {
    CAIRN_CO_CHECK(co_await cache.fetch(wanted(), kGpuNow, false));
    const auto findings = judge(cache, kGpuNow).devices.at(0).findings;
    EXPECT_TRUE(std::ranges::contains(findings, nvidia::Failure::rim_signature, &nvidia::Finding::failure));
    EXPECT_TRUE(cache.missing(wanted(), kGpuNow.plus(kFailureMemory - 1)).rims.empty());
    EXPECT_EQ(cache.missing(wanted(), kGpuNow.plus(kFailureMemory)).rims.size(), 1U);
    co_return Result<>{};
  });
}

}  // namespace
}  // namespace cairn::device
