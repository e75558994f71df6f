#include "cachefs/objects/parallel.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace cairn::cachefs {

Result<void> for_each_number(std::size_t count, unsigned threads,
                             const std::function<Result<void>(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::optional<Error> error;
  const auto loop = [&] {
    for (std::size_t mine = next++; mine < count; mine = next++) {
      auto done = work(mine);
      if (done) continue;
      next = count;
      const std::scoped_lock lock(mutex);
      if (!error) error = std::move(done).error();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < std::min<std::size_t>(threads, count); ++i) helpers.emplace_back(loop);
    loop();
  }
  if (error) return fail(std::move(*error));
  return {};
}

}  // namespace cairn::cachefs
