// The client against a service that speaks PCS and PCCS, the cache, and the configuration file.
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "device/collateral/collateral_cache.h"
#include "device/collateral/collateral_client.h"
#include "device/collateral/qcnl.h"
#include "evidence/tdx/test_world.h"
#include "net/http_server.h"

namespace cairn::device {
namespace {

using namespace std::chrono_literals;
using net::Exchange;
using net::Response;
using net::Runtime;
using net::Task;
using tdx::testing::kNow;
using tdx::testing::Made;
using tdx::testing::World;

constexpr tdx::CollateralKey kKey{
    .tee = tdx::TeeType::tdx, .fmspc = {0xc0, 0xaa, 1, 0, 0, 0}, .ca = tdx::PckCa::platform};

TEST(Qcnl, ReadsBothForms) {
  const QcnlConfig json = parse_qcnl(R"( {
    // "pccs_url": "https://commented.test/"
    "pccs_url": "https://a.test//x/sgx/certification/v4/", // note the // inside
    "use_secure_cert": false, "retry_times": 6, "retry_delay": 10, "tcb_update_type": "early",
    "verify_collateral_cache_expire_hours": 168, "unknown": 1, "local_cache_only": "yes" })")
                              .value();
  EXPECT_EQ(json.pccs_url, "https://a.test//x/sgx/certification/v4/");
  EXPECT_FALSE(json.use_secure_cert);
  EXPECT_EQ(json.retry_times, 6U);
  EXPECT_EQ(json.retry_delay, 10U);
  EXPECT_EQ(json.tcb_update_type, TcbUpdate::early);
  EXPECT_EQ(json.verify_collateral_cache_expire_hours, 168U);
  EXPECT_FALSE(json.local_cache_only);  // of another type: ignored
  const QcnlConfig lines = parse_qcnl(
                               "# Alibaba\r\nPCCS_URL = https://b.test/sgx/certification/v4/\r\nUSE_SECURE_CERT=FALSE\n"
                               "COLLATERAL_SERVICE=https://c.test/\nnothing\nRETRY_TIMES=2")
                               .value();
  EXPECT_EQ(lines.pccs_url, "https://b.test/sgx/certification/v4/");
  EXPECT_EQ(lines.collateral_url(), "https://c.test/");
  EXPECT_FALSE(lines.use_secure_cert);
  EXPECT_EQ(lines.retry_times, 2U);
  EXPECT_EQ(parse_qcnl("")->pccs_url, "https://localhost:8081/sgx/certification/v4/");
  EXPECT_FALSE(parse_qcnl(R"({"tcb_update_type":"sometimes"})"));
  EXPECT_FALSE(parse_qcnl("{"));
  EXPECT_TRUE(parse_qcnl(std::string(64 << 10, '#')));
  EXPECT_FALSE(parse_qcnl(std::string((64 << 10) + 1, '#')));
  const CollateralSource source = CollateralSource::from(json);
  EXPECT_EQ(source.urls, std::vector<std::string>{json.pccs_url});
  EXPECT_FALSE(source.check_certificate);
  EXPECT_EQ(source.retries, 6U);
}

// A service with the collateral of a World; tests change how it answers.
struct Service {
  Made made = World().make();
  std::string old_tcb_header = "SGX-TCB-Info-Issuer-Chain";
  bool hex_crl = false;
  int fail_first = 0;  // answer the first requests with 503
  std::vector<std::string> asked;

  Response answer(const net::RequestHead& head) {
    asked.push_back(head.target);
    if (fail_first-- > 0) return Response::text(503, "busy");
    const tdx::Collateral& c = made.collateral;
    const std::string_view path = head.path();
    Response out = Response::text(200, "");
    if (path == "/tdx/certification/v4/tcb") {
      if (head.parameter("fmspc") != "c0aa01000000") return Response::text(404, "no such platform");
      out.body = c.tcb_info;
      out.headers.set(old_tcb_header, percent_encode(c.tcb_signing_chain));
    } else if (path == "/tdx/certification/v4/qe/identity") {
      out.body = c.qe_identity;
      out.headers.set("sgx-enclave-identity-issuer-chain", percent_encode(c.qe_signing_chain));
    } else if (path == "/sgx/certification/v4/pckcrl") {
      out.body = crl(c.pck_crl);
      out.headers.set("SGX-PCK-CRL-Issuer-Chain", percent_encode(c.pck_crl_issuer_chain));
    } else if (path == "/sgx/certification/v4/rootcacrl") {
      out.body = crl(c.root_crl);
    } else {
      return Response::text(404, "no");
    }
    return out;
  }
  [[nodiscard]] std::string crl(const Bytes& der) const { return hex_crl ? hex(der) : std::string(as_text(der)); }
};

// Runs `test` with the address of the service.
Result<> with_service(Service& service, std::function<Task<>(Runtime&, std::string)> test) {
  return net::run_task([&](Runtime& runtime) -> Task<> {
    net::HttpServer server(
        runtime, net::responder([&](Exchange& e) -> Task<Response> { co_return service.answer(e.request()); }));
    CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    const Result<> result = co_await test(runtime, "http://" + at.text());
    CAIRN_CO_CHECK(co_await server.stop(200ms));
    co_return result;
  });
}

Task<tdx::Collateral> fetch(CollateralSource source, tdx::CollateralKey key) {
  CAIRN_CO_TRY(const auto client, CollateralClient::make(std::move(source)));
  co_return co_await client->fetch(key);
}

TEST(Client, FetchesWhatVerifies) {
  for (const bool hex_crl : {false, true}) {
    Service service;
    service.hex_crl = hex_crl;
    const auto done = with_service(service, [&](Runtime&, std::string at) -> Task<> {
      CAIRN_CO_TRY(const tdx::Collateral c, co_await fetch({.urls = {at}, .update = TcbUpdate::early}, kKey));
      EXPECT_EQ(c, service.made.collateral);
      CAIRN_CO_TRY(const tdx::Collateral again,
                   co_await fetch({.urls = {at + "/sgx/certification/v4/"}, .eval_num = 17}, kKey));
      EXPECT_EQ(again, c);
      co_return Result<>{};
    });
    ASSERT_TRUE(done) << done.error().text();
    EXPECT_EQ(service.asked.at(0), "/tdx/certification/v4/tcb?fmspc=c0aa01000000&update=early");
    EXPECT_EQ(service.asked.at(2), "/sgx/certification/v4/pckcrl?ca=platform&encoding=der");
    EXPECT_EQ(service.asked.at(4), "/tdx/certification/v4/tcb?fmspc=c0aa01000000&tcbEvaluationDataNumber=17");
  }
}

TEST(Client, RetriesAndGoesToTheNextService) {
  Service service;
  const auto done = with_service(service, [&](Runtime&, std::string at) -> Task<> {
    service.fail_first = 1;
    const auto refused = co_await fetch({.urls = {at}}, kKey);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    service.fail_first = 1;
    EXPECT_TRUE(co_await fetch({.urls = {at}, .retries = 1, .retry_delay_seconds = 0}, kKey));
    EXPECT_TRUE(co_await fetch({.urls = {"http://127.0.0.1:1", at}}, kKey));
    tdx::CollateralKey unknown = kKey;
    unknown.fmspc[5] = 9;
    const auto missing = co_await fetch({.urls = {at}, .retries = 3}, unknown);
    EXPECT_EQ(missing.error().code, ErrorCode::not_found);
    service.old_tcb_header = "X-Other";
    const auto chainless = co_await fetch({.urls = {at}}, kKey);
    EXPECT_EQ(chainless.error().code, ErrorCode::malformed);
    co_return Result<>{};
  });
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_FALSE(CollateralClient::make({.urls = {}}));
  EXPECT_FALSE(CollateralClient::make({.urls = {"ftp://x"}}));
}

class Cache : public ::testing::Test {
 protected:
  std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / ("cairn-collateral-" + std::to_string(::getpid()));
  Made made = World().make();
  Result<tdx::Collateral> next = made.collateral;  // what a fetch gives
  int fetches = 0;
  net::Milliseconds slow{0};

  void TearDown() override { std::filesystem::remove_all(folder); }
  CollateralCacheOptions options() {
    CollateralCacheOptions o;
    o.roots = made.roots;
    o.fetch = [this](tdx::CollateralKey) -> Task<tdx::Collateral> {
      ++fetches;
      if (slow.count() > 0) CAIRN_CO_CHECK(co_await net::sleep_for(slow));
      co_return next;
    };
    return o;
  }
  void run(CollateralCacheOptions o, std::function<Task<>(CollateralCache&, Runtime&)> test) {
    const auto done = net::run_task([&](Runtime& runtime) -> Task<> {
      CollateralCache cache(runtime.loop(0), o);
      const Result<> result = co_await test(cache, runtime);
      CAIRN_CO_CHECK(co_await cache.stop());
      co_return result;
    });
    EXPECT_TRUE(done) << done.error().text();
  }
};

TEST_F(Cache, FetchesOnceForManyAndServes) {
  slow = net::Milliseconds(30);
  run(options(), [&](CollateralCache& cache, Runtime& runtime) -> Task<> {
    int served = 0;
    net::TaskGroup group(runtime.loop(0));
    for (int i = 0; i < 20; ++i)
      group.spawn([](CollateralCache& c, int& count, const Made& m) -> Task<> {
        const auto got = co_await c.get(kKey, kNow);
        if (got && **got == m.collateral) ++count;
        co_return Result<>{};
      }(cache, served, made));
    co_await group.join();
    EXPECT_EQ(served, 20);
    EXPECT_EQ(fetches, 1);
    EXPECT_TRUE(co_await cache.get(kKey, kNow.plus(60)));
    EXPECT_EQ(fetches, 1);
    const auto status = cache.status(kNow);
    EXPECT_EQ(status.at(0).tcb_eval_num, 21U);
    EXPECT_EQ(status.at(0).state, CollateralCache::Status::State::ready);
    co_return Result<>{};
  });
}

TEST_F(Cache, ServesWhileItRefreshesButNeverPastExpiry) {
  run(options(), [&](CollateralCache& cache, Runtime&) -> Task<> {
    EXPECT_TRUE(co_await cache.get(kKey, kNow));
    next = fail(ErrorCode::unavailable, "down");
    const Time later = kNow.plus(kRefreshAfter + 1);
    EXPECT_TRUE(co_await cache.get(kKey, later));  // stale, refreshed behind
    CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(20)));
    EXPECT_EQ(fetches, 2);
    EXPECT_TRUE(co_await cache.get(kKey, later));  // not tried again at once
    EXPECT_EQ(fetches, 2);
    const auto status = cache.status(later);
    EXPECT_EQ(status.at(0).state, CollateralCache::Status::State::refresh_failed);
    const Time expired = from_civil(2026, 7, 1, 0, 0, 1);
    const auto refused = co_await cache.get(kKey, expired);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_EQ(fetches, 3);
    next = made.collateral;  // the service answers, with expired data
    const auto stale = co_await cache.get(kKey, expired.plus(kFailureMemory));
    EXPECT_EQ(stale.error().where, "tdx.CrlExpired");
    co_return Result<>{};
  });
}

TEST_F(Cache, KeepsNothingThatDoesNotVerify) {
  next->pck_crl.back() ^= 1;
  run(options(), [&](CollateralCache& cache, Runtime&) -> Task<> {
    const auto bad = co_await cache.get(kKey, kNow);
    EXPECT_EQ(bad.error().where, "tdx.CrlSignature");
    (void)co_await cache.get(kKey, kNow.plus(1));
    EXPECT_EQ(fetches, 1);  // a failure is remembered for a moment
    next = made.collateral;
    EXPECT_TRUE(co_await cache.get(kKey, kNow.plus(kFailureMemory)));
    co_return Result<>{};
  });
}

TEST_F(Cache, OlderCollateralDoesNotReplaceNewer) {
  run(options(), [&](CollateralCache& cache, Runtime&) -> Task<> {
    EXPECT_TRUE(co_await cache.get(kKey, kNow));
    World w;
    w.tcb_info["tcbEvaluationDataNumber"] = 20;
    next = w.make().collateral;
    const Time later = kNow.plus(kRefreshAfter + 1);
    EXPECT_TRUE(co_await cache.get(kKey, later));
    CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(20)));
    CAIRN_CO_TRY(const auto kept, co_await cache.get(kKey, later));
    EXPECT_EQ(*kept, made.collateral);
    const auto status = cache.status(later);
    EXPECT_NE(status.at(0).last_error.find("CollateralReplayed"), std::string::npos);
    co_return Result<>{};
  });
}

TEST_F(Cache, DiskOutlivesTheProcessAndIsVerifiedAnew) {
  CollateralCacheOptions o = options();
  o.folder = folder;
  run(o, [&](CollateralCache& cache, Runtime&) -> Task<> {
    EXPECT_TRUE(co_await cache.get(kKey, kNow));
    co_return Result<>{};
  });
  CollateralCacheOptions offline = o;
  offline.fetch = nullptr;
  run(offline, [&](CollateralCache& cache, Runtime&) -> Task<> {
    CAIRN_CO_TRY(const auto kept, co_await cache.get(kKey, kNow.plus(1)));
    EXPECT_EQ(*kept, made.collateral);
    tdx::CollateralKey other = kKey;
    other.fmspc[0] = 1;
    const auto missing = co_await cache.get(other, kNow);
    EXPECT_EQ(missing.error().code, ErrorCode::not_found);
    co_return Result<>{};
  });
  const auto file = std::filesystem::directory_iterator(folder)->path();
  std::string content = read_text(file).value();
  content.replace(content.find("c0aa01"), 6, "c0aa02");
  ASSERT_TRUE(write_text(file, content));
  run(offline, [&](CollateralCache& cache, Runtime&) -> Task<> {
    const auto forged = co_await cache.get(kKey, kNow);
    EXPECT_EQ(forged.error().code, ErrorCode::not_found);
    co_return Result<>{};
  });
}

TEST_F(Cache, StopEndsWhoWaits) {
  slow = net::Milliseconds(60'000);
  run(options(), [&](CollateralCache& cache, Runtime& runtime) -> Task<> {
    Result<CollateralPtr> got = fail(ErrorCode::internal, "");
    net::TaskGroup group(runtime.loop(0));
    group.spawn([](CollateralCache& c, Result<CollateralPtr>& out) -> Task<> {
      out = co_await c.get(kKey, kNow);
      co_return Result<>{};
    }(cache, got));
    CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(20)));
    CAIRN_CO_CHECK(co_await cache.stop());
    co_await group.join();
    EXPECT_EQ(got.error().code, ErrorCode::cancelled);
    co_return Result<>{};
  });
}

}  // namespace
}  // namespace cairn::device
