// Collateral on demand: nothing waits on a worker, and what a service revokes or lets expire counts from then on.
#include "trustee/as/collateral_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "device/collateral/test_pcs.h"
#include "evidence/tdx/test_world.h"
#include "net/http_server.h"
#include "trustee/as/tdx_verifier.h"

namespace cairn::trustee::as {
namespace {

using net::Exchange;
using net::Response;
using net::Task;
const Time kWorldNow = tdx::testing::kNow;
using tdx::testing::Made;
using tdx::testing::World;
using ::testing::HasSubstr;

class Store : public ::testing::Test {
 protected:
  Made made = World().make();
  tdx::Collateral served = made.collateral;
  bool away = false;
  int requests = 0;

  CollateralOptions options(const std::string& url) {
    CollateralOptions out;
    out.source.emplace();
    out.source->urls = {url};
    out.roots = made.roots;
    out.refresh_after = 60;
    return out;
  }
  void run(std::function<Task<>(CollateralStore&, net::Runtime&)> test) {
    const auto done = net::run_task([&](net::Runtime& runtime) -> Task<> {
      net::HttpServer server(runtime, net::responder([&](Exchange& e) -> Task<Response> {
                               ++requests;
                               co_return away ? Response::text(503, "away") : device::answer_pcs(served, e.request());
                             }));
      CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
      CAIRN_CO_TRY(const auto store, CollateralStore::open(options("http://" + at.text()), runtime.loop(0)));
      const Result<> result = co_await test(*store, runtime);
      CAIRN_CO_CHECK(co_await store->stop());
      CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(200)));
      co_return result;
    });
    EXPECT_TRUE(done) << done.error().text();
  }
  // As the server does: once, what it waits for, and once more.
  Task<CollateralPtr> get(CollateralStore& store, Time now) {
    Pending pending;
    auto found = store.find(made.quote, now, &pending);
    if (pending.empty()) co_return found;
    CAIRN_CO_CHECK(co_await pending.wait());
    co_return store.find(made.quote, now, nullptr);
  }
};

TEST_F(Store, FetchesOnceAndServesFromMemory) {
  run([&](CollateralStore& store, net::Runtime&) -> Task<> {
    Pending first, second;
    EXPECT_EQ(store.find(made.quote, kWorldNow, &first).error().code, ErrorCode::unavailable);
    EXPECT_EQ(store.find(made.quote, kWorldNow, &second).error().code, ErrorCode::unavailable);
    EXPECT_EQ(requests, 0) << "nothing is fetched before it is awaited";
    CAIRN_CO_CHECK(co_await net::both(first.wait(), second.wait()));
    EXPECT_EQ(requests, 4);
    CAIRN_CO_TRY(const auto found, store.find(made.quote, kWorldNow, nullptr));
    EXPECT_EQ(*found, made.collateral);
    EXPECT_EQ(requests, 4);
    const Json status = store.status(kWorldNow);
    EXPECT_EQ(status.at("platforms").at(0).at("platform"), "tdx/c0aa01000000/platform");
    EXPECT_EQ(status.at("platforms").at(0).at("state"), "ready");
    co_return Result<>{};
  });
}

TEST_F(Store, RevocationCountsFromTheRefreshThatBringsIt) {
  run([&](CollateralStore& store, net::Runtime&) -> Task<> {
    tdx::Verifier verifier(made.roots);
    const auto judge = [&](const CollateralPtr& with, Time now) {
      return std::string(verifier.verify(made.quote, *with, {.time = now}).outcome());
    };
    CAIRN_CO_TRY(auto found, co_await get(store, kWorldNow));
    EXPECT_EQ(judge(found, kWorldNow), "UpToDate");
    EXPECT_EQ(judge(found, kWorldNow), "UpToDate") << "from the verifier's caches";
    World revoking;
    revoking.pck_crl.number = 11;
    revoking.pck_crl.revoked.push_back({.serial = {3}, .at = kWorldNow});
    served = revoking.make().collateral;
    const Time later = kWorldNow.plus(61);
    CAIRN_CO_TRY(found, co_await get(store, later));  // served once more while it is refreshed
    EXPECT_EQ(requests, 4);
    for (int i = 0; i < 100 && requests < 8; ++i) CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(10)));
    CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(20)));
    CAIRN_CO_TRY(found, co_await get(store, later));
    EXPECT_EQ(judge(found, later), "PckRevoked");
    EXPECT_EQ(requests, 8);
    co_return Result<>{};
  });
}

TEST_F(Store, NothingIsServedPastItsExpiry) {
  run([&](CollateralStore& store, net::Runtime&) -> Task<> {
    EXPECT_TRUE(co_await get(store, kWorldNow));
    away = true;
    EXPECT_TRUE(co_await get(store, from_civil(2026, 7, 1, 0, 0, 0))) << "the last second of nextUpdate";
    const auto gone = co_await get(store, from_civil(2026, 7, 1, 0, 0, 1));
    EXPECT_EQ(gone.error().code, ErrorCode::unavailable);
    EXPECT_THAT(gone.error().text(), HasSubstr("503"));
    co_return Result<>{};
  });
}

TEST_F(Store, FailuresAreRememberedForAMomentAndShown) {
  away = true;
  run([&](CollateralStore& store, net::Runtime&) -> Task<> {
    EXPECT_FALSE(co_await get(store, kWorldNow));
    const int asked = requests;
    EXPECT_FALSE(co_await get(store, kWorldNow.plus(1)));
    EXPECT_EQ(requests, asked);
    away = false;
    EXPECT_TRUE(co_await get(store, kWorldNow.plus(device::kFailureMemory)));
    co_return Result<>{};
  });
}

TEST_F(Store, PlatformsThatNoRootCertifiesAreNotAskedFor) {
  run([&](CollateralStore& store, net::Runtime&) -> Task<> {
    World other;
    other.pck_issuer = &World::keys().other;
    Pending pending;
    const auto refused = store.find(other.make().quote, kWorldNow, &pending);
    EXPECT_EQ(refused.error().code, ErrorCode::evidence_rejected);
    EXPECT_TRUE(pending.empty());
    EXPECT_EQ(requests, 0);
    co_return Result<>{};
  });
}

TEST_F(Store, AServiceNeedsALoop) {
  EXPECT_EQ(CollateralStore::open(options("http://127.0.0.1:1"), std::nullopt).error().code,
            ErrorCode::invalid_argument);
  const auto none = CollateralStore::open({}, std::nullopt).value();
  EXPECT_THAT(none->find(made.quote, kWorldNow, nullptr).error().message, HasSubstr("verifier.tdx.pccs_url"));
}

// The verifier's words for each way to be without collateral.
TEST(TdxVerifier, SaysWhyThereIsNoCollateral) {
  const Made made = World().make();
  const Json evidence = {{"quote", base64(made.quote)}};
  const auto refusal = [&](Error error) {
    const auto verifier =
        tdx_verifier({.roots = made.roots, .collateral = [&](ByteView, Time, Pending*) -> Result<CollateralPtr> {
                        return std::unexpected(error);
                      }});
    return verifier->verify(evidence, {}, kWorldNow, nullptr).error();
  };
  EXPECT_EQ(refusal({ErrorCode::unavailable, "", "down"}).code, Code::unavailable);
  EXPECT_EQ(refusal({ErrorCode::timed_out, "", "slow"}).reason, "collateral");
  EXPECT_EQ(refusal({ErrorCode::malformed, "", "junk"}).code, Code::unavailable);
  EXPECT_EQ(refusal({ErrorCode::not_found, "", "404"}).reason, "tdx.UnknownPlatform");
  EXPECT_EQ(refusal({ErrorCode::evidence_rejected, "tdx.CrlSignature", "x"}).reason, "tdx.CrlSignature");
}

}  // namespace
}  // namespace cairn::trustee::as
