// Parallel work on files in ranges, with progress. Threads of its own: this work computes and waits for disks.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string_view>

#include "base/error.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/manifest.h"

namespace cairn::cachefs {

// Counts what is done and calls the progress function, from one thread at a time.
class Meter {
 public:
  Meter(std::string_view phase, std::uint64_t bytes_total, std::uint64_t files_total, const ProgressFn& fn);
  // cancelled once the progress function has said so.
  [[nodiscard]] Result<void> add(std::uint64_t bytes, std::uint64_t files = 0);
  void finish();  // the last report, whatever the time

 private:
  [[nodiscard]] Progress snapshot() const;
  std::string_view phase_;
  std::uint64_t bytes_total_, files_total_;
  const ProgressFn& fn_;
  std::atomic<std::uint64_t> bytes_ = 0, files_ = 0;
  std::atomic<std::int64_t> next_ms_ = 0;
  std::atomic<bool> cancelled_ = false;
  std::mutex calling_;
};

struct WorkFile {
  std::uint64_t size;
  bool split;  // may be worked on in several ranges at once
};
struct WorkRange {
  std::size_t file;      // index into the files given
  std::uint64_t offset;  // multiple of kTaskBytes
  std::uint64_t size;    // 0 for an empty file
  bool last;             // ends the file
};

[[nodiscard]] unsigned thread_count(unsigned wanted);  // 0: one per core that this process may use; at most kThreadsMax

// Calls `work` for every range of every file, on `threads` threads, begun in order. The first error stops the rest and
// is returned.
[[nodiscard]] Result<void> for_each_range(std::span<const WorkFile> files, unsigned threads,
                                          const std::function<Result<void>(const WorkRange&)>& work);

}  // namespace cairn::cachefs
