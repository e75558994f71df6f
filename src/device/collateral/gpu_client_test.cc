// The client against a RIM service and OCSP responder made by the GPU simulator.
#include "device/collateral/gpu_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/encoding.h"
#include "base/file.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "net/http_server.h"

namespace cairn::device {
namespace {

constexpr Time kGpuNow{1795305600};  // 2026-11-22

struct GpuService {
  GpuSimulator simulator = GpuSimulator::make({}, kGpuNow).value();
  Time now = kGpuNow;
  int fail_first = 0;
  bool wrong_id = false, without_rims = false;
  std::size_t rims_asked = 0, ocsp_asked = 0;

  net::Response answer(const net::RequestHead& head, const std::string& body) {
    if (fail_first-- > 0) return net::Response::text(503, "busy");
    if (head.method == "POST") {
      ++ocsp_asked;
      net::Response out = net::Response::text(200, "");
      out.body = std::string(as_text(simulator.answer_ocsp(as_bytes(body), now).value()));
      return out;
    }
    ++rims_asked;
    const std::string id(head.path().substr(std::string_view("/v1/rim/").size()));
    const auto rims = simulator.rims().value();
    if (without_rims || !rims.contains(id)) return net::Response::text(404, R"({"message":"RIM_NOT_FOUND"})");
    const Json json{{"id", wrong_id ? "NV_OTHER" : id}, {"rim", base64(rims.at(id))}, {"rim_format", "xml"}};
    return net::Response::text(200, compact_json(json));
  }
};

class GpuFetch : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "gpu-client-XXXXXX";
    folder = mkdtemp(name.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  // Fetches with a client of its own, as a new process does.
  Result<nvidia::Collateral> fetch(Time now, bool fresh = false) {
    service.now = now;
    return net::run_to_end<nvidia::Collateral>([&](net::Runtime& runtime) -> net::Task<nvidia::Collateral> {
      net::HttpServer server(runtime, net::responder([&](net::Exchange& e) -> net::Task<net::Response> {
                               CAIRN_CO_TRY(const std::string body, co_await e.body());
                               co_return service.answer(e.request(), body);
                             }));
      CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
      GpuSource source;
      source.rim_url = "http://" + at.text() + "/v1/rim";
      source.ocsp_url = "http://" + at.text();
      source.folder = folder / "kept";
      source.first_retry = net::Milliseconds(1);
      source.attempts = 3;
      CAIRN_CO_TRY(const auto client, GpuClient::make(std::move(source)));
      nvidia::Verifier verifier(service.simulator.roots());
      Result<nvidia::Collateral> out =
          co_await client->fetch(evidence(), verifier, service.simulator.roots(), now, fresh);
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
  std::filesystem::path folder;
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

}  // namespace
}  // namespace cairn::device
