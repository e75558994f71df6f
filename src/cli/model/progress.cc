#include "cli/model/progress.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <format>

#include "base/clock.h"

namespace cairn::cli {
namespace {
constexpr std::int64_t kPlainEveryMs = 2000;
constexpr std::int64_t kRateFromMs = 300;  // before that a rate says nothing
}  // namespace

std::string human_size(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return std::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, kUnits[unit]);
}

std::string progress_line(const cachefs::Progress& p, std::int64_t elapsed_ms) {
  const std::uint64_t percent = p.bytes_total == 0 ? 100 : p.bytes_done * 100 / p.bytes_total;
  std::string line =
      std::format("{} {:3} %  {} of {}", p.phase, percent, human_size(p.bytes_done), human_size(p.bytes_total));
  if (elapsed_ms < kRateFromMs || p.bytes_done == 0) return line;
  const double rate = static_cast<double>(p.bytes_done) * 1000.0 / static_cast<double>(elapsed_ms);
  const auto left =
      static_cast<std::uint64_t>(static_cast<double>(p.bytes_total - std::min(p.bytes_done, p.bytes_total)) / rate);
  line += std::format("  {}/s", human_size(static_cast<std::uint64_t>(rate)));
  if (percent < 100) line += std::format("  {:02}:{:02} left", left / 60, left % 60);
  return line;
}

ProgressBar::ProgressBar(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1) {}
ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\n", stderr);
}

cachefs::ProgressFn ProgressBar::function() {
  if (quiet_) return {};
  return [this](const cachefs::Progress& p) {
    show(p);
    return true;
  };
}

void ProgressBar::show(const cachefs::Progress& p) {
  const std::int64_t now = monotonic_ms();
  if (phase_ != p.phase) {
    phase_ = p.phase;
    started_ms_ = now;
    next_line_ms_ = now + kPlainEveryMs;
  }
  const std::string line = progress_line(p, now - started_ms_);
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    drawn_ = true;
  } else if (now >= next_line_ms_) {
    next_line_ms_ = now + kPlainEveryMs;
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

}  // namespace cairn::cli
