// The client of the remote service against one that the GPU simulator makes.
#include "device/collateral/nras_client.h"

#include <gtest/gtest.h>

#include "device/collateral/test_gpu_service.h"

namespace cairn::device {
namespace {

using net::Task;
using nvidia::Remote;

class NrasFetch : public ::testing::Test {
 protected:
  NrasFetch() { nonce.fill(9); }
  GpuService service;
  nvidia::Nonce nonce{};

  [[nodiscard]] nvidia::Verdict judged(const Remote& remote) const {
    nvidia::Policy policy;
    policy.allow_simulated = true;
    return nvidia::Verifier(service.simulator.roots())
        .verify_remote(service.simulator.evidence(nonce).value(), remote, {.time = service.now, .nonce = nonce},
                       policy);
  }
  [[nodiscard]] std::vector<nvidia::NrasRequest> requests() const {
    return nvidia::nras_requests(service.simulator.evidence(nonce).value(), judged({}));
  }
  void run(std::function<Task<>(const NrasSource&, net::Runtime&)> test) {
    const auto done = net::run_task([&](net::Runtime& runtime) -> Task<> {
      net::HttpServer server(runtime, service.handler());
      CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
      NrasSource source;
      source.url = "http://" + at.text() + "/v4/attest";
      source.authorization = "Bearer key";
      source.first_retry = net::Milliseconds(1);
      source.attempts = 2;
      service.nras.issuer = "http://" + at.text();
      const Result<> result = co_await test(source, runtime);
      CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(200)));
      co_return result;
    });
    EXPECT_TRUE(done) << done.error().text();
  }
  // What becomes of a service that answers so.
  ErrorCode outcome(std::string* where = nullptr) {
    ErrorCode out = ErrorCode::internal;
    run([&](const NrasSource& source, net::Runtime&) -> Task<> {
      CAIRN_CO_TRY(const auto client, NrasClient::make(source));
      const auto got = co_await client->attest(requests(), service.now);
      EXPECT_FALSE(got);
      if (!got) out = got.error().code;
      if (!got && where) *where = got.error().where;
      co_return Result<>{};
    });
    return out;
  }
};

TEST_F(NrasFetch, TheServicesWordStandsInForDocuments) {
  run([&](const NrasSource& source, net::Runtime&) -> Task<> {
    CAIRN_CO_TRY(const auto client, NrasClient::make(source));
    CAIRN_CO_TRY(const Remote said, co_await client->attest(requests(), service.now));
    const nvidia::Verdict verdict = judged(said);
    EXPECT_TRUE(verdict.affirming()) << verdict.result().error().text();
    EXPECT_EQ(nvidia::device_claims(verdict.devices[0]).at("x-cairn-verifier"), "NRAS");
    EXPECT_EQ(service.authorization, "Bearer key");
    CAIRN_CO_CHECK((co_await client->attest(requests(), service.now)).transform([](const Remote&) {}));
    EXPECT_EQ(service.keys_asked, 1U);
    EXPECT_EQ(service.nras_asked, 2U);
    co_return Result<>{};
  });
}

TEST_F(NrasFetch, SwitchesAreAskedAboutApart) {
  service.simulator = GpuSimulator::make({.ppcie = true}, kGpuNow).value();
  run([&](const NrasSource& source, net::Runtime&) -> Task<> {
    CAIRN_CO_TRY(const auto client, NrasClient::make(source));
    CAIRN_CO_TRY(const Remote said, co_await client->attest(requests(), service.now));
    const nvidia::Verdict verdict = judged(said);
    EXPECT_TRUE(verdict.affirming()) << verdict.result().error().text();
    EXPECT_TRUE(verdict.ppcie);
    EXPECT_EQ(service.nras_asked, 2U);
    co_return Result<>{};
  });
}

TEST_F(NrasFetch, KeysRotateAndAnUnknownOneFetchesThemOnceAMinute) {
  run([&](const NrasSource& source, net::Runtime&) -> Task<> {
    CAIRN_CO_TRY(const auto client, NrasClient::make(source));
    const auto attest = [&] { return client->attest(requests(), service.now); };
    EXPECT_TRUE(co_await attest());
    service.nras.rotate();
    auto got = co_await attest();
    EXPECT_TRUE(!got && got.error().where == "signer") << "asked a moment ago";
    EXPECT_EQ(service.keys_asked, 1U);
    service.now = kGpuNow.plus(kNrasKeyRetry);
    EXPECT_TRUE(co_await attest());
    EXPECT_EQ(service.keys_asked, 2U);
    service.now = service.now.plus(kNrasKeySeconds);
    EXPECT_TRUE(co_await attest());
    EXPECT_EQ(service.keys_asked, 3U) << "no key is kept for ever";
    co_return Result<>{};
  });
}

TEST_F(NrasFetch, EveryFailureOfTheServiceIsAnError) {
  service.refuse_key = true;
  EXPECT_EQ(outcome(), ErrorCode::permission_denied);
  service.refuse_key = false;
  service.away = true;
  EXPECT_EQ(outcome(), ErrorCode::unavailable);
  service.away = false;
  service.nras.change_answer = [](Json& answer) { answer = Json::object(); };
  EXPECT_EQ(outcome(), ErrorCode::malformed);
  std::string where;
  service.nras.change_answer = [](Json& answer) { answer[1]["GPU-1"] = answer[1]["GPU-0"]; };
  EXPECT_EQ(outcome(&where), ErrorCode::evidence_rejected);
  EXPECT_EQ(where, "submods");
  service.nras.change_answer = nullptr;
  service.nras.change_overall = [](Json& claims) { claims["iss"] = "https://nras.attestation-stg.nvidia.com"; };
  EXPECT_EQ(outcome(&where), ErrorCode::evidence_rejected);
  EXPECT_EQ(where, "iss");
}

TEST_F(NrasFetch, OnlyConnectionsThatVouchForKeys) {
  for (const char* url : {"http://192.0.2.1/v4/attest", "http://nras.example.org", "ftp://x", ""})
    EXPECT_FALSE(NrasClient::make({.url = url})) << url;
  EXPECT_FALSE(NrasClient::make({.url = "https://example.org", .jwks_url = "http://example.org/keys"}));
  EXPECT_TRUE(NrasClient::make({.url = "https://example.org/v4/attest/"}));
  EXPECT_TRUE(NrasClient::make({.url = "http://localhost:1"}));
}

TEST_F(NrasFetch, AnAnswerServesTheEvidenceItIsAboutForAMoment) {
  run([&](const NrasSource& source, net::Runtime& runtime) -> Task<> {
    CAIRN_CO_TRY(const auto cache, NrasCache::open(runtime.loop(0), source));
    EXPECT_FALSE(cache->find(requests(), service.now));
    // Reports are signed anew at each call: keep one.
    const auto asked = requests();
    Task<> first = cache->ask(asked, service.now);
    Task<> second = cache->ask(asked, service.now);
    CAIRN_CO_CHECK(co_await net::both(std::move(first), std::move(second)));
    EXPECT_EQ(service.nras_asked, 1U);
    const auto found = cache->find(asked, service.now);
    EXPECT_TRUE(found && *found && judged(**found).affirming());
    EXPECT_FALSE(cache->find(asked, service.now.plus(kNrasAnswerSeconds)));
    service.away = true;
    CAIRN_CO_CHECK(co_await cache->ask(asked, service.now.plus(kNrasAnswerSeconds)));
    const auto failed = cache->find(asked, service.now.plus(kNrasAnswerSeconds));
    EXPECT_TRUE(failed && !*failed && failed->error().code == ErrorCode::unavailable);
    EXPECT_EQ(cache->counts(service.now).fetches, 2U);
    EXPECT_EQ(cache->counts(service.now).failures, 1U);
    EXPECT_EQ(cache->counts(service.now).hits, 1U);
    co_return co_await cache->stop();
  });
}

}  // namespace
}  // namespace cairn::device
