#include "evidence/tdx/json_scanner.h"

#include "base/encoding.h"

namespace cairn::tdx {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool hex_digit(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

void JsonScanner::space() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
    ++at_;
}

Result<void> JsonScanner::open(char bracket) {
  space();
  if (peek() != bracket) return bad(bracket == '{' ? "an object belongs here" : "an array belongs here");
  if (depth_ == kMaxJsonDepth) return bad("nested too deeply");
  ++depth_;
  ++at_;
  return {};
}

Result<void> JsonScanner::close(char bracket) {
  if (!close_if(bracket)) return bad("a comma or the closing bracket belongs here");
  return {};
}

bool JsonScanner::close_if(char bracket) {
  space();
  if (peek() != bracket) return false;
  --depth_;
  ++at_;
  return true;
}

bool JsonScanner::more() {
  space();
  if (peek() != ',') return false;
  ++at_;
  return true;
}

Result<std::string_view> JsonScanner::member_name() {
  space();
  CAIRN_TRY(const std::string_view name, quoted(false));
  space();
  if (peek() != ':') return bad("a colon belongs here");
  ++at_;
  return name;
}

Result<void> JsonScanner::escape() {
  const char c = peek();
  ++at_;
  if (std::string_view("\"\\/bfnrt").contains(c)) return {};
  if (c != 'u') return bad("an unknown escape");
  CAIRN_TRY(const unsigned first, utf16_unit());
  if (first < 0xd800 || first > 0xdfff) return {};
  // A surrogate: the first of a pair, and its second at once.
  if (first > 0xdbff || !text_.substr(at_).starts_with("\\u")) return bad("half a surrogate pair");
  at_ += 2;
  CAIRN_TRY(const unsigned second, utf16_unit());
  if (second < 0xdc00 || second > 0xdfff) return bad("half a surrogate pair");
  return {};
}

Result<unsigned> JsonScanner::utf16_unit() {
  unsigned out = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = peek();
    if (!hex_digit(c)) return bad("a broken escape");
    out = out << 4 | static_cast<unsigned>(digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return out;
}

Result<std::string_view> JsonScanner::quoted(bool escapes) {
  if (peek() != '"') return bad("a string belongs here");
  const std::size_t start = ++at_;
  bool ascii = true;
  for (;;) {
    if (at_ >= text_.size()) return bad("the text ends inside a string");
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') break;
    if (c < 0x20) return bad("a control character in a string");
    ascii = ascii && c < 0x80;
    ++at_;
    if (c != '\\') continue;
    if (!escapes) return bad("an escape where none belongs");
    CAIRN_CHECK(escape());
  }
  const std::string_view out = text_.substr(start, at_ - start);
  if (!ascii && !is_utf8(out)) return bad("a string is not UTF-8");
  ++at_;
  return out;
}

Result<std::string_view> JsonScanner::string() {
  space();
  return quoted(false);
}

Result<std::uint64_t> JsonScanner::integer(std::uint64_t max) {
  space();
  const std::size_t start = at_;
  std::uint64_t n = 0;
  while (digit(peek())) {
    if (at_ - start == 18) return bad("a number is out of range");
    n = n * 10 + static_cast<std::uint64_t>(text_[at_++] - '0');
  }
  const std::size_t digits = at_ - start;
  if (digits == 0 || std::string_view(".eE").contains(peek())) return bad("a whole number belongs here");
  if (digits > 1 && text_[start] == '0') return bad("a number has a leading zero");
  if (n > max) return bad("a number is out of range");
  return n;
}

Result<void> JsonScanner::number() {
  if (peek() == '-') ++at_;
  const auto digits = [&] {
    const std::size_t start = at_;
    while (digit(peek())) ++at_;
    return at_ - start;
  };
  const bool zero = peek() == '0';
  const std::size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return bad("not a JSON number");
  if (peek() == '.') {
    ++at_;
    if (digits() == 0) return bad("not a JSON number");
  }
  if (peek() == 'e' || peek() == 'E') {
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    if (digits() == 0) return bad("not a JSON number");
  }
  return {};
}

Result<void> JsonScanner::scalar() {
  if (peek() == '"') return quoted(true).transform([](std::string_view) {});
  for (const std::string_view word : {"true", "false", "null"})
    if (text_.substr(at_).starts_with(word)) {
      at_ += word.size();
      return {};
    }
  return number();
}

Result<std::string_view> JsonScanner::skip() {
  space();
  const std::size_t start = at_;
  // Recursion is bounded by kMaxJsonDepth, which open() enforces.
  if (peek() == '{') {
    CAIRN_CHECK(object([&](std::string_view) { return skip().transform([](std::string_view) {}); }));
  } else if (peek() == '[') {
    CAIRN_CHECK(array([&] { return skip().transform([](std::string_view) {}); }));
  } else {
    CAIRN_CHECK(scalar());
  }
  return since(start);
}

Result<void> JsonScanner::end() {
  space();
  if (at_ != text_.size()) return bad("text after the document");
  return {};
}

}  // namespace cairn::tdx
