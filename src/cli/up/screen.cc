#include "cli/up/screen.h"

#include <algorithm>
#include <cstdio>

#include "base/clock.h"

namespace cairn::cli {
namespace {

constexpr std::int64_t kRedrawMs = 100, kPlainMs = 5000;
constexpr std::size_t kTitleWidth = 40;

std::string padded(std::string text, std::size_t width) {
  std::size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xC0U) != 0x80;
  if (columns < width) text.append(width - columns, ' ');
  return text;
}
std::string seconds(std::int64_t ms) {
  char out[32];
  std::snprintf(out, sizeof out, "%6.2f s", static_cast<double>(ms) / 1000.0);
  return out;
}

}  // namespace

Screen::Screen(bool terminal) : terminal_(terminal) {}

void Screen::clear_line() {
  if (terminal_ && !title_.empty()) std::fputs("\r\033[K", stdout);
}

void Screen::line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  clear_line();
  std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
  std::fflush(stdout);
}

void Screen::heading(std::string_view text) { line("\n" + std::string(text)); }

void Screen::begin(std::string_view title) {
  const std::lock_guard lock(mutex_);
  title_ = title;
  started_ms_ = monotonic_ms();
  shown_ms_ = started_ms_;
  if (terminal_) std::printf("  … %s", padded(title_, kTitleWidth).c_str());
  std::fflush(stdout);
}

void Screen::progress(std::string_view detail) {
  const std::lock_guard lock(mutex_);
  const std::int64_t now = monotonic_ms();
  if (title_.empty() || now - shown_ms_ < (terminal_ ? kRedrawMs : kPlainMs)) return;
  shown_ms_ = now;
  clear_line();
  std::printf("  … %s %s  %.*s%s", padded(title_, kTitleWidth).c_str(), seconds(now - started_ms_).c_str(),
              static_cast<int>(detail.size()), detail.data(), terminal_ ? "" : "\n");
  std::fflush(stdout);
}

void Screen::done(std::string_view detail) {
  const std::lock_guard lock(mutex_);
  if (title_.empty()) return;
  clear_line();
  std::printf("  ✓ %s %s  %.*s\n", padded(title_, kTitleWidth).c_str(), seconds(monotonic_ms() - started_ms_).c_str(),
              static_cast<int>(detail.size()), detail.data());
  std::fflush(stdout);
  title_.clear();
}

void Screen::failed(std::string_view reason) {
  const std::lock_guard lock(mutex_);
  if (title_.empty()) return;
  clear_line();
  std::printf("  ✗ %s: %.*s\n", title_.c_str(), static_cast<int>(reason.size()), reason.data());
  std::fflush(stdout);
  title_.clear();
}

void Screen::table(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t width = 0;
  for (const auto& [key, unused] : rows) width = std::max(width, key.size());
  for (const auto& [key, value] : rows) line("  " + padded(key, width + 2) + value);
}

void Screen::raw(std::string_view text) {
  const std::lock_guard lock(mutex_);
  for (const char c : text)
    if (c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x20) std::fputc(c == 0x7F ? '?' : c, stdout);
  std::fflush(stdout);
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units)) value /= 1000, ++unit;
  char out[32];
  std::snprintf(out, sizeof out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return out;
}

}  // namespace cairn::cli
