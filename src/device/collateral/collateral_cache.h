// Collateral as services need it: verified when it enters, kept in memory and on disk, one fetch per platform at a
// time, and served while it is refreshed, but never past the first nextUpdate or notAfter in it. tdx-dcap §3.3.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "device/collateral/counts.h"
#include "device/collateral/limits.h"
#include "evidence/tdx/verify.h"
#include "net/task.h"

namespace cairn::device {

using CollateralPtr = std::shared_ptr<const tdx::Collateral>;
// "tdx/90c06f000000/platform": how a platform is named in logs and status.
[[nodiscard]] std::string text(const tdx::CollateralKey& key);
// Gets collateral for a platform from somewhere, unverified: CollateralClient::fetch, or a test's.
using FetchCollateral = std::function<net::Task<tdx::Collateral>(tdx::CollateralKey)>;

struct CollateralCacheOptions {
  FetchCollateral fetch;         // empty: only what is on disk
  std::string source;            // names what `fetch` asks: part of the file names
  std::filesystem::path folder;  // empty: memory only; made with mode 0700
  std::vector<tdx::TrustRoot> roots;
  std::int64_t refresh_after = kRefreshAfter;
  std::int64_t expire_after = 0;  // seconds after the fetch; 0: only the collateral's own dates count
  std::uint32_t min_tcb_eval_num = 0;
};

// Any thread. Work happens on the loop given; destroy it after that loop has stopped, or after stop().
class CollateralCache {
 public:
  CollateralCache(net::Executor loop, CollateralCacheOptions options);
  ~CollateralCache();
  CollateralCache(const CollateralCache&) = delete;
  CollateralCache& operator=(const CollateralCache&) = delete;

  // Take `key` from tdx::collateral_key(quote, roots), which nobody can make up platforms for. Collateral that is valid
  // at `now` under one of the roots. Errors: those of fetch; evidence_rejected where what was fetched does not verify,
  // has expired, or is older (by TCB evaluation number) than what this cache has seen.
  [[nodiscard]] net::Task<CollateralPtr> get(tdx::CollateralKey key, Time now);
  // What get() would answer at once from memory: kept collateral (refreshed behind it where that is due), or the
  // failure of a fetch of a moment ago. nullopt where get() would read the disk or fetch. Never waits; `key` may be of
  // a quote that nothing proves yet.
  [[nodiscard]] std::optional<Result<CollateralPtr>> find(const tdx::CollateralKey& key, Time now);

  struct Status {
    enum class State { ready, refresh_due, refresh_failed } state;
    tdx::CollateralKey key;
    Time fetched, expires;
    std::uint32_t tcb_eval_num = 0;
    std::string last_error;  // of the newest fetch, if it failed
  };
  [[nodiscard]] std::vector<Status> status(Time now) const;
  [[nodiscard]] CollateralCounts counts(Time now) const;
  // Ends fetches under way; get() then fails with `cancelled`.
  [[nodiscard]] net::Task<> stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::device
