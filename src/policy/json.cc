// JSON and Rego texts of values.
#include <array>
#include <charconv>

#include "base/encoding.h"
#include "policy/number.h"
#include "policy/value.h"

namespace cairn::policy {
namespace {

void escape_unit(std::string& out, unsigned c) {
  std::array<char, 8> room{};
  std::snprintf(room.data(), room.size(), "\\u%04x", c & 0xFFFF);
  out += room.data();
}

// One JSON text, read without recursion.
class JsonReader {
 public:
  JsonReader(std::string_view text, Arena& arena, std::string& problem)
      : text_(text), arena_(arena), problem_(problem) {}

  Value read() {
    Value v;
    if (!value(v)) return {};
    space();
    if (at_ != text_.size()) return fail("unexpected text after the value");
    return v;
  }

 private:
  struct Open {
    bool object;
    std::size_t first;  // of its values in pending_
  };

  Value fail(std::string_view what) {
    if (problem_.empty()) problem_ = std::string(what) + " at byte " + std::to_string(at_);
    return {};
  }
  bool refuse(std::string_view what) {
    (void)fail(what);
    return false;
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }
  bool eat(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool value(Value& out) {
    for (;;) {
      Value v;
      if (eat('[')) {
        if (!open(false)) return false;
        if (!eat(']')) continue;
        v = close();
      } else if (eat('{')) {
        if (!open(true)) return false;
        if (!eat('}')) {
          if (!key()) return false;
          continue;
        }
        v = close();
      } else if (!scalar(v)) {
        return false;
      }
      for (;;) {  // v is complete: put it where it belongs
        if (open_.empty()) {
          out = v;
          return true;
        }
        pending_.push_back(v);
        const bool object = open_.back().object;
        if (eat(',')) {
          if (object && !key()) return false;
          break;
        }
        if (!eat(object ? '}' : ']')) return refuse("expected a comma or the end of the collection");
        v = close();
      }
    }
  }

  bool open(bool object) {
    if (open_.size() >= max_value_depth) return refuse("nested too deeply");
    open_.push_back({object, pending_.size()});
    return true;
  }

  Value close() {
    const Open o = open_.back();
    open_.pop_back();
    const std::span<Value> items(pending_.data() + o.first, pending_.size() - o.first);
    Value v;
    if (o.object) {
      std::vector<Pair> pairs;
      pairs.reserve(items.size() / 2);
      for (std::size_t i = 0; i + 1 < items.size(); i += 2) pairs.emplace_back(items[i], items[i + 1]);
      v = arena_.object(pairs);
    } else {
      v = arena_.array(items);
    }
    pending_.resize(o.first);
    return v;
  }

  bool key() {
    space();
    if (at_ >= text_.size() || text_[at_] != '"') return refuse("expected a member name");
    Value v;
    if (!string(v)) return false;
    pending_.push_back(v);
    return eat(':') || refuse("expected a colon");
  }

  bool scalar(Value& v) {
    space();
    const auto rest = text_.substr(at_);
    if (rest.empty()) return refuse("unexpected end");
    if (rest[0] == '"') return string(v);
    for (const auto& [word, is] : {std::pair{std::string_view("true"), Value::boolean(true)},
                                   std::pair{std::string_view("false"), Value::boolean(false)},
                                   std::pair{std::string_view("null"), Value::null()}})
      if (rest.starts_with(word)) {
        at_ += word.size();
        v = is;
        return true;
      }
    std::size_t end = 0;
    while (end < rest.size() && (rest[end] == '-' || rest[end] == '+' || rest[end] == '.' || rest[end] == 'e' ||
                                 rest[end] == 'E' || (rest[end] >= '0' && rest[end] <= '9')))
      ++end;
    const auto number = rest.substr(0, end);
    if (!is_number_text(number)) return refuse("unexpected character");
    if (!exponent_ok(number)) return refuse("number too big");
    v = arena_.number(number);
    at_ += end;
    return true;
  }

  // OPA takes numbers up to 2 to the power of 100,000, and down to its inverse.
  static bool exponent_ok(std::string_view number) {
    const auto e = number.find_first_of("eE");
    if (e == std::string_view::npos) return true;
    const auto mantissa = number.substr(0, e);
    const auto first = mantissa.find_first_of("123456789");
    if (first == std::string_view::npos) return true;
    const auto dot = std::min(mantissa.find('.'), mantissa.size());
    std::int64_t exponent = 0;
    const char* from = number.data() + e + 1 + (number[e + 1] == '+' ? 1 : 0);
    if (std::from_chars(from, number.data() + number.size(), exponent).ec != std::errc{}) return false;
    exponent += static_cast<std::int64_t>(dot) - static_cast<std::int64_t>(first) - (first < dot ? 1 : 0);
    return exponent <= 30'102 && exponent >= -30'103;
  }

  bool hex4(std::uint32_t& out) {
    if (at_ + 4 > text_.size()) return refuse("unfinished escape");
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, out, 16);
    if (error != std::errc{} || end != text_.data() + at_ + 4) return refuse("bad \\u escape");
    at_ += 4;
    return true;
  }

  bool escape(std::string& out) {
    if (at_ >= text_.size()) return refuse("unfinished string");
    switch (const char c = text_[at_++]) {
      case '"':
      case '\\':
      case '/': out += c; return true;
      case 'b': out += '\b'; return true;
      case 'f': out += '\f'; return true;
      case 'n': out += '\n'; return true;
      case 'r': out += '\r'; return true;
      case 't': out += '\t'; return true;
      case 'u': break;
      default: return refuse("bad escape");
    }
    std::uint32_t c = 0;
    if (!hex4(c)) return false;
    if (c >= 0xD800 && c < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      const std::size_t back = at_;
      at_ += 2;
      std::uint32_t low = 0;
      if (!hex4(low)) return false;
      if (low >= 0xDC00 && low < 0xE000) {
        append_utf8(out, 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
        return true;
      }
      at_ = back;
    }
    append_utf8(out, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
    return true;
  }

  bool string(Value& v) {
    ++at_;  // the quote
    const std::size_t from = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<unsigned char>(text_[at_]) >= 0x20)
      ++at_;
    if (at_ < text_.size() && text_[at_] == '"') {  // nothing to unescape
      const auto plain = text_.substr(from, at_ - from);
      ++at_;
      if (!is_utf8(plain)) return refuse("a string is not UTF-8");
      v = arena_.string(plain);
      return true;
    }
    std::string out(text_.substr(from, at_ - from));
    for (;;) {
      if (at_ >= text_.size()) return refuse("unfinished string");
      const char c = text_[at_++];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) return refuse("control character in a string");
      if (c != '\\') {
        out += c;
      } else if (!escape(out)) {
        return false;
      }
    }
    if (!is_utf8(out)) return refuse("a string is not UTF-8");
    v = arena_.string(out);
    return true;
  }

  std::string_view text_;
  Arena& arena_;
  std::string& problem_;
  std::size_t at_ = 0;
  std::vector<Open> open_;
  std::vector<Value> pending_;
};

void check(const std::string& out, std::size_t limit) {
  if (out.size() > limit) throw Stop{{ErrorCode::too_large, {}, "the text of a value is longer than the limit"}};
}

}  // namespace

Value read_json(std::string_view text, Arena& arena, std::string& problem) {
  if (text.size() > max_json_bytes) {
    problem = "the text is longer than the limit";
    return {};
  }
  return JsonReader(text, arena, problem).read();
}

void write_quoted(std::string_view s, std::string& out, bool html) {
  out += '"';
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || (html && (c == '<' || c == '>' || c == '&')))
          escape_unit(out, static_cast<unsigned char>(c));
        else if (html && (s.substr(i, 3) == "\xE2\x80\xA8" || s.substr(i, 3) == "\xE2\x80\xA9")) {
          escape_unit(out, s[i + 2] == '\xA8' ? 0x2028 : 0x2029);
          i += 2;
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

// Recursion is bounded by max_value_depth.
void write_json(const Value& v, std::string& out, std::size_t limit, bool html) {
  check(out, limit);
  switch (v.kind()) {
    case Kind::boolean: out += v.boolean() ? "true" : "false"; break;
    case Kind::number: out += number_text(v); break;
    case Kind::string: write_quoted(v.text(), out, html); break;
    case Kind::array:
    case Kind::set:
      out += '[';
      for (std::size_t i = 0; i < v.size(); ++i) {
        if (i > 0) out += ',';
        write_json(v.items()[i], out, limit, html);
      }
      out += ']';
      break;
    case Kind::object:
      out += '{';
      for (std::size_t i = 0; i < v.size(); ++i) {
        if (i > 0) out += ',';
        if (v.key(i).is(Kind::string)) {
          write_quoted(v.key(i).text(), out, html);
        } else {
          std::string key;
          write_json(v.key(i), key, limit, true);  // as OPA's: Go's JSON escapes for HTML
          write_quoted(key, out, html);
        }
        out += ':';
        write_json(v.value(i), out, limit, html);
      }
      out += '}';
      break;
    default: out += "null";
  }
  check(out, limit);
}

void write_rego(const Value& v, std::string& out, std::size_t limit) {
  check(out, limit);
  switch (v.kind()) {
    case Kind::boolean: out += v.boolean() ? "true" : "false"; break;
    case Kind::number: out += number_text(v); break;
    case Kind::string: write_quoted(v.text(), out, false); break;
    case Kind::array:
    case Kind::set:
      if (v.is(Kind::set) && v.size() == 0) {
        out += "set()";
        break;
      }
      out += v.is(Kind::set) ? '{' : '[';
      for (std::size_t i = 0; i < v.size(); ++i) {
        if (i > 0) out += ", ";
        write_rego(v.items()[i], out, limit);
      }
      out += v.is(Kind::set) ? '}' : ']';
      break;
    case Kind::object:
      out += '{';
      for (std::size_t i = 0; i < v.size(); ++i) {
        if (i > 0) out += ", ";
        write_rego(v.key(i), out, limit);
        out += ": ";
        write_rego(v.value(i), out, limit);
      }
      out += '}';
      break;
    default: out += "null";
  }
}

}  // namespace cairn::policy
