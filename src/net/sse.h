// Server-sent events (WHATWG HTML §9.2): text/event-stream, read and written piece by piece.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/limits.h"

namespace cairn::net {

struct SseEvent {
  std::string event;  // empty: "message"
  std::string data;   // lines joined with LF
  std::string id;     // the last id seen, also if set by an earlier event
  std::optional<unsigned> retry_ms;
  bool operator==(const SseEvent&) const = default;
};

// Bytes in, whole events out. Accepts LF, CR and CRLF, a leading BOM, comments. An event unfinished at the end of the
// stream is dropped, as the standard says.
class SseParser {
 public:
  // Events completed by `bytes`. too_large when one event exceeds limits::kSseEvent.
  [[nodiscard]] Result<std::vector<SseEvent>> feed(std::string_view bytes);

 private:
  void line(std::string_view text, std::vector<SseEvent>& out);
  std::string buffer_;
  SseEvent current_;
  bool has_data_ = false, first_ = true, after_cr_ = false;
  std::size_t size_ = 0;
};

// The event on the wire, with its blank line. CR and LF in `event` and `id` are not allowed and cut the field there.
[[nodiscard]] std::string format_sse(const SseEvent& event);
[[nodiscard]] std::string format_sse(std::string_view data);
[[nodiscard]] std::string format_sse_comment(std::string_view text);  // keep-alive

}  // namespace cairn::net
