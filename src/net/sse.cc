#include "net/sse.h"

#include <charconv>

namespace cairn::net {

Result<std::vector<SseEvent>> SseParser::feed(std::string_view bytes) {
  std::vector<SseEvent> out;
  while (!bytes.empty()) {
    if (after_cr_ && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      after_cr_ = false;
      continue;
    }
    after_cr_ = false;
    const auto end = bytes.find_first_of("\r\n");
    const std::string_view part = bytes.substr(0, end);
    size_ += part.size() + 1;
    if (size_ > limits::kSseEvent) return fail(ErrorCode::too_large, "sse", "an event is larger than 1 MiB");
    if (end == std::string_view::npos) {
      buffer_ += part;
      --size_;
      break;
    }
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (buffer_.empty()) {
      line(part, out);
    } else {
      buffer_ += part;
      line(buffer_, out);
      buffer_.clear();
    }
  }
  return out;
}

void SseParser::line(std::string_view text, std::vector<SseEvent>& out) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (std::exchange(first_, false) && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.empty()) {
    size_ = 0;
    if (has_data_) {
      current_.data.pop_back();  // the LF after the last line
      out.push_back(current_);
    }
    current_ = {{}, {}, std::move(current_.id), std::nullopt};
    has_data_ = false;
    return;
  }
  const auto colon = text.find(':');
  const std::string_view field = text.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    current_.data.append(value).append("\n");
    has_data_ = true;
  } else if (field == "event") {
    current_.event = value;
  } else if (field == "id" && value.find('\0') == std::string_view::npos) {
    current_.id = value;
  } else if (field == "retry") {
    unsigned ms = 0;
    const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (!value.empty() && ec == std::errc() && end == value.data() + value.size()) current_.retry_ms = ms;
  }
}

namespace {
void put(std::string& out, std::string_view field, std::string_view value) {
  out.append(field).append(": ").append(value.substr(0, value.find_first_of("\r\n"))).append("\n");
}
}  // namespace

std::string format_sse(const SseEvent& event) {
  std::string out;
  out.reserve(event.data.size() + 32);
  if (!event.event.empty()) put(out, "event", event.event);
  if (!event.id.empty()) put(out, "id", event.id);
  if (event.retry_ms) put(out, "retry", std::to_string(*event.retry_ms));
  std::string_view rest = event.data;
  for (;;) {
    const auto end = rest.find_first_of("\r\n");
    put(out, "data", rest.substr(0, end));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(rest.substr(end, 2) == "\r\n" ? end + 2 : end + 1);
  }
  return out += "\n";
}

std::string format_sse(std::string_view data) { return format_sse(SseEvent{{}, std::string(data), {}, {}}); }

std::string format_sse_comment(std::string_view text) {
  std::string out = ": ";
  return out.append(text.substr(0, text.find_first_of("\r\n"))).append("\n\n");
}

}  // namespace cairn::net
