// The client against a RIM service and OCSP responder made by the GPU simulator.
#include "device/collateral/gpu_client.h"
#include "base/test_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "device/collateral/test_gpu_service.h"

namespace cairn::device {
namespace {

class GpuFetch : public ::testing::Test {
 protected:
  // Fetches with a client of its own, as a new process does.
  Result<nvidia::Collateral> fetch(Time now, bool fresh = false, nvidia::Collateral have = {}) {
    service.now = now;
    return net::run_to_end<nvidia::Collateral>([&](net::Runtime& runtime) -> net::Task<nvidia::Collateral> {
      net::HttpServer server(runtime, service.handler());
      CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
      GpuSource source;
      if (!offline) source.rim_url = "http://" + at.text() + "/v1/rim";
      if (!offline) source.ocsp_url = "http://" + at.text();
      if (offline) source.rim_url = source.ocsp_url = "";
      source.folder = folder / "kept";
      source.first_retry = net::Milliseconds(1);
      source.attempts = 3;
      CAIRN_CO_TRY(const auto client, GpuClient::make(std::move(source)));
      nvidia::Verifier verifier(service.simulator.roots());
      Result<nvidia::Collateral> out =
          co_await client->fetch(evidence(), verifier, service.simulator.roots(), now, have, fresh);
      CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(200)));
      co_return out;
    });
  }
  [[nodiscard]] nvidia::Evidence evidence() const { return service.simulator.evidence({}).value(); }
  [[nodiscard]] nvidia::Verdict judge(const nvidia::Collateral& collateral, Time now) const {
    nvidia::Policy policy;
    policy.allow_simulated = true;
    return nvidia::Verifier(service.simulator.roots())
        .verify(evidence(), collateral, {.time = now, .nonce = nvidia::Nonce{}}, policy);
  }
  GpuService service;
  bool offline = false;
  TestFolder folder;
};

TEST_F(GpuFetch, FetchesWhatTheVerdictNeedsAndKeepsIt) {
  const auto first = fetch(kGpuNow);
  ASSERT_TRUE(first) << first.error().text();
  const nvidia::Verdict verdict = judge(*first, kGpuNow);
  EXPECT_TRUE(verdict.affirming()) << verdict.result().error().text();
  EXPECT_EQ(verdict.devices.at(0).authentic->chain.nonce_matches, true);
  EXPECT_EQ(service.rims_asked, 2U);
  EXPECT_EQ(service.ocsp_asked, 6U);
  const auto again = fetch(kGpuNow.plus(60));
  ASSERT_TRUE(again);
  EXPECT_TRUE(judge(*again, kGpuNow.plus(60)).affirming());
  EXPECT_EQ(service.rims_asked, 2U) << "from the folder";
  EXPECT_EQ(service.ocsp_asked, 6U);
  ASSERT_TRUE(fetch(kGpuNow.plus(60), true));
  EXPECT_EQ(service.rims_asked, 4U);
  EXPECT_EQ(service.ocsp_asked, 12U);
}

TEST_F(GpuFetch, NothingKeptOutlivesItsTime) {
  ASSERT_TRUE(fetch(kGpuNow));
  const Time later = kGpuNow.plus(24 * 3600 + 60);
  const auto fetched = fetch(later);
  ASSERT_TRUE(fetched);
  EXPECT_EQ(service.rims_asked, 4U);
  EXPECT_EQ(service.ocsp_asked, 12U);
  EXPECT_TRUE(judge(*fetched, later).affirming());
}

TEST_F(GpuFetch, WhatIsKeptIsVerifiedAgain) {
  ASSERT_TRUE(fetch(kGpuNow));
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "kept")) {
    ASSERT_TRUE(write_text(entry.path(), R"({"fetched":1795305600,"document":"AAAA"})"));
    ++files;
  }
  EXPECT_EQ(files, 8U);
  const auto again = fetch(kGpuNow.plus(60));
  ASSERT_TRUE(again);
  EXPECT_EQ(service.rims_asked, 4U);
  EXPECT_EQ(service.ocsp_asked, 12U);
  EXPECT_TRUE(judge(*again, kGpuNow.plus(60)).affirming());
}

TEST_F(GpuFetch, BusyServicesAreAskedAgainAndBrokenOnesNot) {
  service.fail_first = 2;
  EXPECT_TRUE(fetch(kGpuNow));
  service.fail_first = 3;
  EXPECT_EQ(fetch(kGpuNow, true).error().code, ErrorCode::unavailable);
  service.fail_first = 0;
  service.wrong_id = true;
  EXPECT_EQ(fetch(kGpuNow, true).error().code, ErrorCode::malformed);
}

TEST_F(GpuFetch, ARimThatNobodyHasIsLeftToTheVerdict) {
  service.without_rims = true;
  const auto fetched = fetch(kGpuNow);
  ASSERT_TRUE(fetched) << fetched.error().text();
  EXPECT_TRUE(fetched->rims.empty());
  EXPECT_EQ(judge(*fetched, kGpuNow).devices.at(0).findings.at(0).failure, nvidia::Failure::rim_absent);
}

TEST_F(GpuFetch, WithoutServicesOnlyWhatIsKeptIsThere) {
  offline = true;
  const auto nothing = fetch(kGpuNow);
  ASSERT_TRUE(nothing) << nothing.error().text();
  EXPECT_TRUE(nothing->rims.empty() && nothing->ocsp.empty());
  offline = false;
  ASSERT_TRUE(fetch(kGpuNow));
  offline = true;
  const auto kept = fetch(kGpuNow.plus(60));
  ASSERT_TRUE(kept);
  EXPECT_TRUE(judge(*kept, kGpuNow.plus(60)).affirming());
  EXPECT_EQ(service.rims_asked, 2U);
}

TEST_F(GpuFetch, WhatIsAtHandIsNotAskedFor) {
  const auto all = fetch(kGpuNow);
  ASSERT_TRUE(all);
  nvidia::Collateral some = *all;
  some.ocsp.erase(some.ocsp.begin());
  std::filesystem::remove_all(folder / "kept");
  const auto completed = fetch(kGpuNow, false, some);
  ASSERT_TRUE(completed);
  EXPECT_EQ(service.rims_asked, 2U);
  EXPECT_EQ(service.ocsp_asked, 7U);
  EXPECT_TRUE(judge(*completed, kGpuNow).affirming());
}

}  // namespace
}  // namespace cairn::device
