// What an answer waits for that has to be fetched from elsewhere.
#pragma once

#include <functional>
#include <vector>

#include "net/task.h"

namespace cairn::trustee {

// Parts answer on a worker thread and never wait there. One that misses something on the first try adds what fetches
// it, leaves everything as it was and answers anything; the server awaits the fetches on its loop and asks again, the
// last time (limits::kPendingRounds) without Pending: what is missing then is a refusal.
class Pending {
 public:
  // The task outlives the call: it owns what it uses. Its errors are the part's to remember.
  void add(std::function<net::Task<>()> fetch) { fetches_.push_back(std::move(fetch)); }
  [[nodiscard]] bool empty() const { return fetches_.empty(); }
  [[nodiscard]] net::Task<> wait() {
    for (const auto& fetch : fetches_) (void)co_await fetch();
    co_return Result<>{};
  }

 private:
  std::vector<std::function<net::Task<>()>> fetches_;
};

}  // namespace cairn::trustee
