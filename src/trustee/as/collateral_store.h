// The collateral that TDX quotes are judged with: bundle files, and a collateral service behind a cache.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/json.h"
#include "device/collateral/collateral_cache.h"
#include "device/collateral/collateral_client.h"
#include "trustee/pending.h"

namespace cairn::trustee::as {

using device::CollateralPtr;

// The collateral to judge a quote with, never waiting for it: `unavailable` where there is none, or where it is being
// fetched (which `pending`, if given, then awaits). Any thread.
using FindCollateral = std::function<Result<CollateralPtr>(ByteView quote, Time now, Pending* pending)>;

struct CollateralOptions {
  std::vector<std::filesystem::path> bundles;      // tried first, by the FMSPC of their TCB info
  std::optional<device::CollateralSource> source;  // PCS or PCCS
  std::filesystem::path folder;                    // where fetched collateral is kept
  std::vector<tdx::TrustRoot> roots;
  std::int64_t refresh_after = device::kRefreshAfter;  // seconds
  std::int64_t expire_after = 0;                       // seconds after the fetch; 0: the collateral's own dates alone
  std::uint32_t min_tcb_eval_num = 0;
};

class CollateralStore {
 public:
  // `loop`: where fetches run; required with a source.
  [[nodiscard]] static Result<std::shared_ptr<CollateralStore>> open(CollateralOptions options,
                                                                     std::optional<net::Executor> loop);
  [[nodiscard]] Result<CollateralPtr> find(ByteView quote, Time now, Pending* pending);
  // {"files": …, "services": […], "platforms": [{"platform", "state", "fetched", "expires", …}]}
  [[nodiscard]] Json status(Time now) const;
  // All zero without a source.
  [[nodiscard]] device::CollateralCounts counts(Time now) const;
  // Ends fetches. Before the loop ends, if there is a source.
  [[nodiscard]] net::Task<> stop();

 private:
  // One bundle file and what it held when last read.
  struct File {
    std::filesystem::path path;
    std::filesystem::file_time_type changed{};
    CollateralPtr collateral;
    std::string fmspc;  // upper-case hex, from the TCB info; not verified, only used to choose
  };
  explicit CollateralStore(CollateralOptions options) : options_(std::move(options)) {}
  [[nodiscard]] static Result<void> refresh(File& file);
  // The bundle of the quote's platform, else any if nothing else can be asked; null where there is none.
  [[nodiscard]] CollateralPtr from_files(const Result<tdx::CollateralKey>& key);

  CollateralOptions options_;
  std::mutex files_mutex_;
  std::vector<File> files_;
  std::shared_ptr<device::CollateralClient> client_;
  std::shared_ptr<device::CollateralCache> cache_;  // null without a source
};

}  // namespace cairn::trustee::as
