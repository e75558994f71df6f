#include "net/http1.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace cairn::net::http1 {

namespace {

constexpr std::size_t kChunkLine = 256;  // size and extension of a chunk

// Cuts the next line, without its CRLF, off text whose line ends were checked by HeadScanner.
std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const std::string_view line = text.substr(0, end == 0 ? 0 : end - 1);
  text.remove_prefix(end + 1);
  return line;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::expected<void, Refusal> parse_fields(std::string_view& text, Headers& out) {
  for (;;) {
    const std::string_view line = next_line(text);
    if (line.empty()) return {};
    if (out.size() == limits::kHeaders) return std::unexpected(Refusal{431, "too many header fields"});
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || !valid_field_name(line.substr(0, colon)))
      return std::unexpected(Refusal{400, "a header field is malformed"});
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (!valid_field_value(value)) return std::unexpected(Refusal{400, "a header field holds control characters"});
    out.add(std::string(line.substr(0, colon)), std::string(value));
  }
}

// Digits only: no sign, no list, no white space.
std::optional<std::uint64_t> content_length(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size() || value > (std::uint64_t{1} << 62))
    return std::nullopt;
  return value;
}

struct Lengths {
  Framing framing = Framing::none;
  std::uint64_t length = 0;
  bool stated = false;
};

// RFC 9112 §6.3, with everything that two implementations could read differently refused.
std::expected<Lengths, Refusal> message_length(const Headers& headers, bool http_1_1) {
  const auto lengths = headers.all("content-length");
  const auto codings = headers.all("transfer-encoding");
  if (lengths.empty() && codings.empty()) return Lengths{};
  if (!lengths.empty() && !codings.empty())
    return std::unexpected(Refusal{400, "both Content-Length and Transfer-Encoding"});
  if (!codings.empty()) {
    if (!http_1_1) return std::unexpected(Refusal{400, "Transfer-Encoding in HTTP/1.0"});
    if (codings.size() != 1 || !equal_ignoring_case(codings[0], "chunked"))
      return std::unexpected(Refusal{501, "a Transfer-Encoding other than chunked"});
    return Lengths{Framing::chunked, 0, true};
  }
  const auto length = lengths.size() == 1 ? content_length(lengths[0]) : std::nullopt;
  if (!length) return std::unexpected(Refusal{400, "Content-Length is repeated or no number"});
  return Lengths{*length == 0 ? Framing::none : Framing::sized, *length, true};
}

bool keeps_alive(const Headers& headers, bool http_1_1) {
  if (headers.has_token("connection", "close")) return false;
  return http_1_1 || headers.has_token("connection", "keep-alive");
}

bool is_target_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// Fills authority, target and absolute_form from the request target as it was sent.
std::expected<void, Refusal> read_target(std::string_view target, RequestHead& head) {
  const Refusal bad{400, "the request target is malformed"};
  const auto hosts = head.headers.all("host");
  if (hosts.size() > 1) return std::unexpected(Refusal{400, "more than one Host"});
  const std::string_view host = hosts.empty() ? std::string_view{} : hosts[0];
  if (!host.empty() && !parse_authority(host, 80)) return std::unexpected(Refusal{400, "Host is malformed"});
  head.scheme = "http";
  head.authority = host;
  if (head.method == "CONNECT") {
    if (!parse_authority(target, 80)) return std::unexpected(bad);
    head.authority = target;
    return {};
  }
  if (target.starts_with('/')) {
    head.target = target;
    if (target.find('#') != std::string_view::npos) return std::unexpected(bad);
    return {};
  }
  if (target == "*" && head.method == "OPTIONS") {
    head.target = target;
    return {};
  }
  auto url = Url::parse(target);
  if (!url || url->scheme == "http+unix" || target.find('#') != std::string_view::npos) return std::unexpected(bad);
  const auto named = parse_authority(host, url->port == 443 && url->secure() ? 443 : 80);
  if (!host.empty() && (!named || named->first != url->host || named->second != url->port))
    return std::unexpected(Refusal{400, "Host and the request target name different servers"});
  head.absolute_form = true;
  head.scheme = url->scheme;
  head.authority = url->authority();
  head.target = url->target;
  return {};
}

void put(std::string& out, const Headers& headers, bool& valid) {
  for (const auto& field : headers) {
    valid = valid && valid_field_name(field.name) && valid_field_value(field.value);
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
}

std::unexpected<Error> bad_field() {
  return fail(ErrorCode::invalid_argument, "http",
              "a header field to be sent holds characters that do not belong there");
}

}  // namespace

std::expected<Request, Refusal> parse_request(std::string_view text) {
  Request request;
  RequestHead& head = request.head;
  std::string_view line = next_line(text);
  const auto first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return std::unexpected(Refusal{400, "the request line is malformed"});
  head.method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1), version = line.substr(last + 1);
  if (!valid_field_name(head.method) || head.method.size() > 32 || target.empty() || !is_target_text(target))
    return std::unexpected(Refusal{400, "the request line is malformed"});
  if (target.size() > limits::kTarget) return std::unexpected(Refusal{414, "the request target is too long"});
  if (version == "HTTP/1.0")
    head.version = HttpVersion::http1_0;
  else if (version != "HTTP/1.1")
    return std::unexpected(
        Refusal{version.starts_with("HTTP/") ? 505 : 400, "only HTTP/1.1 and HTTP/2 are spoken here"});
  const bool http_1_1 = head.version == HttpVersion::http1_1;
  if (auto fields = parse_fields(text, head.headers); !fields) return std::unexpected(std::move(fields).error());
  if (http_1_1 && !head.headers.has("host")) return std::unexpected(Refusal{400, "Host is missing"});
  if (auto where = read_target(target, head); !where) return std::unexpected(std::move(where).error());
  auto length = message_length(head.headers, http_1_1);
  if (!length) return std::unexpected(std::move(length).error());
  request.framing = length->framing;
  request.length = length->length;
  request.keep_alive = keeps_alive(head.headers, http_1_1);
  if (const auto expect = head.headers.get("expect")) {
    if (!equal_ignoring_case(*expect, "100-continue"))
      return std::unexpected(Refusal{417, "only 100-continue is expected here"});
    request.expects_continue = http_1_1 && request.framing != Framing::none;
  }
  return request;
}

Result<ResponseMessage> parse_response(std::string_view text, std::string_view method) {
  const auto bad = [](std::string why) { return fail(ErrorCode::malformed, "http response", std::move(why)); };
  ResponseMessage out;
  const std::string_view line = next_line(text);
  const bool http_1_1 = line.starts_with("HTTP/1.1 ");
  if (!http_1_1 && !line.starts_with("HTTP/1.0 ")) return bad("the status line is malformed");
  const std::string_view code = line.substr(9, 3);
  if (code.size() != 3 || !std::ranges::all_of(code, [](char c) { return c >= '0' && c <= '9'; }) || code[0] == '0' ||
      (line.size() > 12 && line[12] != ' ') || !valid_field_value(line))
    return bad("the status line is malformed");
  const int status = out.head.status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
  if (auto fields = parse_fields(text, out.head.headers); !fields) return bad(std::move(fields).error().reason);
  auto length = message_length(out.head.headers, http_1_1);
  if (!length) return bad(std::move(length).error().reason);
  out.keep_alive = keeps_alive(out.head.headers, http_1_1);
  const bool no_body = method == "HEAD" || status / 100 == 1 || status == 204 || status == 304 ||
                       (method == "CONNECT" && status / 100 == 2);
  if (no_body) return out;
  out.framing = length->stated ? length->framing : Framing::until_close;
  out.length = length->length;
  if (out.framing == Framing::until_close) out.keep_alive = false;
  return out;
}

Result<std::size_t> HeadScanner::scan(std::string_view so_far) {
  const auto bad = [] { return fail(ErrorCode::malformed, "http", "lines must end with CR LF"); };
  for (;;) {
    const void* found = so_far.size() > at_ ? std::memchr(so_far.data() + at_, '\n', so_far.size() - at_) : nullptr;
    const std::size_t lf =
        found == nullptr ? so_far.size() : static_cast<std::size_t>(static_cast<const char*>(found) - so_far.data());
    // A CR may only stand before the LF (or at the very end of what we have).
    const std::size_t from = at_ > line_ ? at_ - 1 : at_;
    const void* cr = lf > from ? std::memchr(so_far.data() + from, '\r', lf - from) : nullptr;
    if (cr != nullptr && static_cast<const char*>(cr) + 1 != so_far.data() + lf) return bad();
    if (found == nullptr) {
      at_ = so_far.size();
      return 0U;
    }
    if (cr == nullptr) return bad();
    const bool empty = lf - 1 == line_;
    at_ = line_ = lf + 1;
    if (empty) return at_;
  }
}

Result<std::string> format_request(const RequestHead& head, const Headers& extra) {
  std::string out;
  out.reserve(512);
  const std::string target = head.method == "CONNECT" ? head.authority
                             : head.absolute_form     ? head.scheme + "://" + head.authority + head.target
                                                      : head.target;
  bool valid = valid_field_name(head.method) && !target.empty() && is_target_text(target);
  out.append(head.method).append(" ").append(target).append(" HTTP/1.1\r\n");
  if (!head.headers.has("host")) {
    valid = valid && valid_field_value(head.authority);
    out.append("Host: ").append(head.authority).append("\r\n");
  }
  put(out, head.headers, valid);
  put(out, extra, valid);
  out += "\r\n";
  if (!valid) return bad_field();
  return out;
}

Result<std::string> format_response(const ResponseHead& head, const Headers& extra) {
  if (head.status < 100 || head.status > 999) return fail(ErrorCode::invalid_argument, "http", "not a status code");
  std::string out;
  out.reserve(256);
  bool valid = true;
  out.append("HTTP/1.1 ")
      .append(std::to_string(head.status))
      .append(" ")
      .append(status_text(head.status))
      .append("\r\n");
  put(out, head.headers, valid);
  put(out, extra, valid);
  out += "\r\n";
  if (!valid) return bad_field();
  return out;
}

Result<std::string> format_trailers(const Headers& trailers) {
  std::string out;
  bool valid = true;
  put(out, trailers, valid);
  out += "\r\n";
  if (!valid) return bad_field();
  return out;
}

// ---- Input

Task<bool> Input::fill() {
  if (at_ == end_) at_ = end_ = 0;
  if (end_ == buffer_.size()) {
    if (at_ > 0) {
      std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(at_), buffer_.begin() + static_cast<std::ptrdiff_t>(end_),
                buffer_.begin());
      end_ -= at_;
      at_ = 0;
    } else {
      buffer_.resize(buffer_.empty() ? limits::kReadBuffer : buffer_.size() * 2);
    }
  }
  CAIRN_CO_TRY(const std::size_t n, co_await stream_->read_some(std::span(buffer_).subspan(end_)));
  end_ += n;
  co_return n > 0;
}

Task<bool> Input::wait() {
  if (at_ < end_) co_return true;
  co_return co_await fill();
}

Task<bool> Input::peek() {
  if (end_ - at_ >= limits::kReadBuffer) co_return false;
  co_return co_await fill();
}

Bytes Input::take_buffered() {
  Bytes out = to_bytes(buffered());
  at_ = end_ = 0;
  return out;
}

void Input::prepend(ByteView bytes) {
  Bytes all = to_bytes(bytes);
  append(all, buffered());
  at_ = 0;
  end_ = all.size();
  buffer_ = std::move(all);
  buffer_.resize(std::max(end_, limits::kReadBuffer));
}

Task<std::string_view> Input::head(std::size_t limit) {
  // One empty line before a request line is forgiven (RFC 9112 §2.2).
  while (end_ - at_ < 2) {
    CAIRN_CO_TRY(const bool more, co_await fill());
    if (!more) co_return fail(ErrorCode::unavailable, "http", "the peer ended the connection");
  }
  if (buffer_[at_] == '\r' && buffer_[at_ + 1] == '\n') at_ += 2;
  HeadScanner scanner;
  for (;;) {
    const std::string_view text = as_text(buffered());
    CAIRN_CO_TRY(const std::size_t size, scanner.scan(text));
    if (size > limit || (size == 0 && text.size() >= limit))
      co_return fail(ErrorCode::too_large, "http", "the head is larger than " + std::to_string(limit) + " bytes");
    if (size > 0) {
      at_ += size;
      co_return text.substr(0, size);
    }
    CAIRN_CO_TRY(const bool more, co_await fill());
    if (!more) co_return fail(ErrorCode::unavailable, "http", "the peer ended the connection inside a head");
  }
}

void Input::begin_body(Framing framing, std::uint64_t length) {
  framing_ = framing;
  left_ = framing == Framing::sized ? length : 0;
  complete_ = framing == Framing::none;
  in_chunk_ = false;
  trailers_ = {};
}

Task<std::string_view> Input::line(std::size_t limit) {
  for (std::size_t seen = 0;;) {
    const std::string_view text = as_text(buffered());
    const auto lf = text.find('\n', seen);
    if (lf != std::string_view::npos) {
      const std::string_view out = text.substr(0, lf == 0 ? 0 : lf - 1);
      if (lf == 0 || text[lf - 1] != '\r' || out.find('\r') != std::string_view::npos || out.size() > limit)
        co_return fail(ErrorCode::malformed, "http", "a line of the chunked body is malformed");
      at_ += lf + 1;
      co_return out;
    }
    if (text.size() > limit) co_return fail(ErrorCode::too_large, "http", "a line of the chunked body is too long");
    seen = text.size();
    CAIRN_CO_TRY(const bool more, co_await fill());
    if (!more) co_return fail(ErrorCode::malformed, "http", "the peer ended the connection inside a body");
  }
}

Task<> Input::read_trailers() {
  for (std::size_t size = 0;;) {
    CAIRN_CO_TRY(const std::string_view text, co_await line(limits::kHeadBytes));
    if (text.empty()) co_return Result<>{};
    size += text.size();
    const auto colon = text.find(':');
    if (trailers_.size() == limits::kHeaders || size > limits::kHeadBytes)
      co_return fail(ErrorCode::too_large, "http", "too many trailers");
    if (colon == std::string_view::npos || !valid_field_name(text.substr(0, colon)) ||
        !valid_field_value(trimmed(text.substr(colon + 1))))
      co_return fail(ErrorCode::malformed, "http", "a trailer field is malformed");
    trailers_.add(std::string(text.substr(0, colon)), std::string(trimmed(text.substr(colon + 1))));
  }
}

// Behind the data of a chunk, if there was one: to the data of the next, or to the end.
Task<> Input::next_chunk() {
  if (in_chunk_) {
    CAIRN_CO_TRY(const std::string_view rest, co_await line(0));
    if (!rest.empty()) co_return fail(ErrorCode::malformed, "http", "a chunk is longer than it says");
    in_chunk_ = false;
  }
  CAIRN_CO_TRY(const std::string_view text, co_await line(kChunkLine));
  const std::string_view digits = trimmed(text.substr(0, text.find(';')));
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (digits.empty() || digits.size() > 15 || ec != std::errc() || end != digits.data() + digits.size() ||
      digits.data() != text.data() || !valid_field_value(text))
    co_return fail(ErrorCode::malformed, "http", "a chunk size is malformed");
  if (left_ > 0) {
    in_chunk_ = true;
    co_return Result<>{};
  }
  CAIRN_CO_CHECK(co_await read_trailers());
  complete_ = true;
  co_return Result<>{};
}

Task<std::size_t> Input::read_plain(std::span<std::uint8_t> into) {
  if (at_ == end_ && into.size() < limits::kReadBuffer) {
    CAIRN_CO_CHECK(co_await fill());
    if (at_ == end_) co_return 0U;
  }
  if (at_ == end_) co_return co_await stream_->read_some(into);  // straight to where it is wanted
  const std::size_t n = std::min(into.size(), end_ - at_);
  std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(at_), n, into.begin());
  at_ += n;
  co_return n;
}

Task<std::size_t> Input::read_some(std::span<std::uint8_t> into) {
  if (framing_ == Framing::chunked && !complete_ && left_ == 0) CAIRN_CO_CHECK(co_await next_chunk());
  if (complete_) co_return 0U;
  if (framing_ != Framing::until_close && into.size() > left_) into = into.first(static_cast<std::size_t>(left_));
  CAIRN_CO_TRY(const std::size_t n, co_await read_plain(into));
  if (framing_ == Framing::until_close) {
    complete_ = n == 0;
    co_return n;
  }
  if (n == 0) co_return fail(ErrorCode::malformed, "http", "the peer ended the connection inside a body");
  left_ -= n;
  if (framing_ == Framing::sized) complete_ = left_ == 0;
  co_return n;
}

}  // namespace cairn::net::http1
