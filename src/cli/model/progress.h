// A progress line on standard error: share, rate and time left on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "cachefs/store/manifest.h"

namespace cairn::cli {

// "1.5 GiB"; three significant digits.
[[nodiscard]] std::string human_size(std::uint64_t bytes);
// One line, without its end: "encrypting  45 %  1.20 GiB of 2.66 GiB  812 MiB/s  00:02 left".
[[nodiscard]] std::string progress_line(const cachefs::Progress& progress, std::int64_t elapsed_ms);

class ProgressBar {
 public:
  explicit ProgressBar(bool quiet);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  // Valid as long as this; empty when quiet.
  [[nodiscard]] cachefs::ProgressFn function();

 private:
  void show(const cachefs::Progress& progress);
  bool quiet_, terminal_, drawn_ = false;
  std::string phase_;
  std::int64_t started_ms_ = 0, next_line_ms_ = 0;
};

}  // namespace cairn::cli
