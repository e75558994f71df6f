// What a person sees while `cairn up` works: one line a step, its time, and progress for whatever takes longer.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::cli {

class Screen {
 public:
  explicit Screen(bool terminal);  // plain lines where not a terminal

  void line(std::string_view text);
  void heading(std::string_view text);
  // A step begins; at most one at a time. Any thread may update it.
  void begin(std::string_view title);
  void progress(std::string_view detail);
  void done(std::string_view detail = {});  // "✓ title   0.3 s  detail"
  void failed(std::string_view reason);     // "✗ title: reason"; does nothing without a step
  void table(const std::vector<std::pair<std::string, std::string>>& rows);
  // Text of the model as it arrives: control characters that could drive a terminal are dropped.
  void raw(std::string_view text);

 private:
  void clear_line();
  bool terminal_;
  std::mutex mutex_;
  std::string title_;
  std::int64_t started_ms_ = 0, shown_ms_ = 0;
};

[[nodiscard]] std::string human_bytes(std::uint64_t bytes);  // "98.4 MB"

}  // namespace cairn::cli
