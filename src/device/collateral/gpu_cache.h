// Reference manifests and revocation answers as services need them: fetched once for all who wait, held in memory (and
// on disk, by the client), refreshed behind those who use them, and never used past their time. nvidia-gpu §5.5, §5.6.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "device/collateral/counts.h"
#include "device/collateral/gpu_client.h"
#include "device/collateral/limits.h"
#include "net/task.h"

namespace cairn::device {

// Any thread, but for where it is made and ended: on its loop, or before it runs.
class GpuCache {
 public:
  [[nodiscard]] static Result<std::shared_ptr<GpuCache>> open(net::Executor loop, GpuSource source,
                                                              nvidia::TrustRoots roots);
  ~GpuCache();
  GpuCache(const GpuCache&) = delete;
  GpuCache& operator=(const GpuCache&) = delete;

  // Everything held. What a verdict lacks besides, or used past its time, missing() tells.
  [[nodiscard]] std::shared_ptr<const nvidia::Collateral> held() const;
  // Of `wanted`, what fetch() should get: not held or past its time, and not a moment ago found to be absent.
  [[nodiscard]] nvidia::Wanted missing(const nvidia::Wanted& wanted, Time now) const;
  // RIMs of `ids` that may have been issued anew since they were fetched, to be asked for with `fresh`.
  [[nodiscard]] nvidia::Wanted aged(const std::set<std::string>& ids, Time now) const;
  // Why something of `wanted` could not be fetched a moment ago.
  [[nodiscard]] std::optional<Error> failure(const nvidia::Wanted& wanted, Time now) const;
  // Notes that these documents were used, and starts to fetch those anew that are due.
  void used(const std::set<std::string>& ids, Time now);
  // Gets documents, with the answers about the signers of RIMs; ends when all have come or failed, which failure()
  // remembers. `fresh`: not from the folder.
  [[nodiscard]] net::Task<> fetch(nvidia::Wanted wanted, Time now, bool fresh);

  [[nodiscard]] CollateralCounts rims(Time now) const;
  [[nodiscard]] CollateralCounts answers(Time now) const;
  [[nodiscard]] std::string last_error() const;  // of the newest fetch, if it failed
  // Ends fetches under way.
  [[nodiscard]] net::Task<> stop();

 private:
  struct State;
  explicit GpuCache(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace cairn::device
