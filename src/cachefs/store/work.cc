#include "cachefs/store/work.h"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace cairn::cachefs {
namespace {

constexpr std::int64_t kReportEveryMs = 100;

// Hands out ranges in order.
class Ranges {
 public:
  explicit Ranges(std::span<const WorkFile> files) : files_(files) {}
  [[nodiscard]] std::optional<WorkRange> next() {
    const std::scoped_lock lock(mutex_);
    if (stopped_ || file_ == files_.size()) return std::nullopt;
    WorkRange out{file_, offset_, files_[file_].size - offset_, true};
    if (files_[file_].split && out.size > kTaskBytes) {
      out.size = kTaskBytes;
      out.last = false;
      offset_ += kTaskBytes;
    } else {
      ++file_;
      offset_ = 0;
    }
    return out;
  }
  void stop(Error error) {
    const std::scoped_lock lock(mutex_);
    if (!stopped_) error_ = std::move(error);
    stopped_ = true;
  }
  [[nodiscard]] Result<void> result() {
    if (!stopped_) return {};
    return std::unexpected(std::move(error_));
  }

 private:
  std::mutex mutex_;
  std::span<const WorkFile> files_;
  std::size_t file_ = 0;
  std::uint64_t offset_ = 0;
  bool stopped_ = false;
  Error error_{};
};

}  // namespace

Meter::Meter(std::string_view phase, std::uint64_t bytes_total, std::uint64_t files_total, const ProgressFn& fn)
    : phase_(phase), bytes_total_(bytes_total), files_total_(files_total), fn_(fn) {}

Progress Meter::snapshot() const {
  return {.phase = phase_,
          .bytes_done = bytes_.load(),
          .bytes_total = bytes_total_,
          .files_done = files_.load(),
          .files_total = files_total_};
}

Result<void> Meter::add(std::uint64_t bytes, std::uint64_t files) {
  bytes_ += bytes;
  files_ += files;
  if (fn_ && monotonic_ms() >= next_ms_.load()) {
    const std::unique_lock lock(calling_, std::try_to_lock);
    if (lock && monotonic_ms() >= next_ms_.load()) {
      next_ms_ = monotonic_ms() + kReportEveryMs;
      if (!fn_(snapshot())) cancelled_ = true;
    }
  }
  if (cancelled_) return fail(ErrorCode::cancelled, "stopped on request");
  return {};
}

void Meter::finish() {
  const std::scoped_lock lock(calling_);
  if (fn_) (void)fn_(snapshot());
}

unsigned thread_count(unsigned wanted) {
  if (wanted == 0) {
    cpu_set_t set;
    wanted = ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1U;
  }
  return std::clamp(wanted, 1U, kThreadsMax);
}

Result<void> for_each_range(std::span<const WorkFile> files, unsigned threads,
                            const std::function<Result<void>(const WorkRange&)>& work) {
  Ranges ranges(files);
  const auto loop = [&] {
    while (const auto range = ranges.next())
      if (auto done = work(*range); !done) ranges.stop(std::move(done).error());
  };
  std::vector<std::jthread> helpers;
  for (unsigned i = 1; i < thread_count(threads); ++i) helpers.emplace_back(loop);
  loop();
  helpers.clear();
  return ranges.result();
}

}  // namespace cairn::cachefs
