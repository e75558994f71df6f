#include "base/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <sstream>
#include <toml++/toml.hpp>
#include <utility>

#include "base/encoding.h"
#include "base/yaml.h"

namespace cairn {
namespace {

// Bytes that stand for themselves inside a string; those past ASCII are checked once the string is whole.
constexpr auto kPlain = [] {
  std::array<bool, 256> out{};
  for (std::size_t c = 0x20; c < out.size(); ++c) out[c] = c != '"' && c != '\\';
  return out;
}();

// One text to one value, without recursion. Evidence is JSON in JSON with strings of 100 KiB: those are scanned by
// runs, not byte by byte through a general lexer.
class Parser {
 public:
  Parser(std::string_view text, std::size_t depth) : text_(text), depth_(depth) {}

  Result<Json> run() {
    Json root;
    std::vector<Json*> open;  // containers entered; each is the newest value of the one before it, so none moves
    for (Json* slot = &root; slot != nullptr;) {
      skip_space();
      if (peek() == '{' || peek() == '[') {
        if (open.size() >= depth_) return stop("nested deeper than " + std::to_string(depth_));
        *slot = take() == '{' ? Json::object() : Json::array();
        skip_space();
        open.push_back(slot);
        if (peek() != closing(*slot)) {
          CAIRN_TRY(slot, next_slot(*slot));
          continue;
        }
      } else {
        CAIRN_CHECK(scalar(*slot));
      }
      CAIRN_TRY(slot, after_value(open));
    }
    if (at_ != text_.size()) return stop();
    return root;
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  char take() { return text_[at_++]; }
  static char closing(const Json& container) { return container.is_object() ? '}' : ']'; }
  [[nodiscard]] std::unexpected<Error> stop(std::string why = "not JSON") const {
    return fail(ErrorCode::malformed, "byte " + std::to_string(at_), std::move(why));
  }
  void skip_space() {
    while (at_ < text_.size() && (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) ++at_;
  }

  // Closes what ends here. Where the next value goes; null when the outermost one is complete.
  Result<Json*> after_value(std::vector<Json*>& open) {
    for (skip_space(); !open.empty(); skip_space()) {
      Json& top = *open.back();
      if (peek() == ',' && !top.empty()) {
        ++at_;
        return next_slot(top);
      }
      if (peek() != closing(top)) return stop();
      ++at_;
      open.pop_back();
    }
    return nullptr;
  }

  Result<Json*> next_slot(Json& container) {
    if (container.is_array()) return &container.emplace_back(nullptr);
    skip_space();
    if (peek() != '"') return stop();
    CAIRN_TRY(std::string key, string());
    skip_space();
    if (peek() != ':') return stop();
    ++at_;
    const auto [member, fresh] = container.get_ref<Json::object_t&>().emplace(std::move(key), nullptr);
    if (!fresh) return stop("duplicate member \"" + member->first.substr(0, 64) + "\"");
    return &member->second;
  }

  Result<void> scalar(Json& out) {
    switch (peek()) {
      case '"': {
        CAIRN_TRY(out, string());
        return {};
      }
      case 't': return literal("true", true, out);
      case 'f': return literal("false", false, out);
      case 'n': return literal("null", nullptr, out);
      default: return number(out);
    }
  }
  template <class T>
  Result<void> literal(std::string_view word, T value, Json& out) {
    if (!text_.substr(at_).starts_with(word)) return stop();
    at_ += word.size();
    out = value;
    return {};
  }

  Result<std::string> string() {
    std::string out;
    unsigned char seen = 0;
    const std::size_t start = ++at_;
    while (true) {
      const std::size_t run = at_;
      while (at_ < text_.size() && kPlain[static_cast<unsigned char>(text_[at_])])
        seen |= static_cast<unsigned char>(text_[at_++]);
      out.append(text_, run, at_ - run);
      if (peek() == '"') break;
      if (peek() != '\\') return stop();
      ++at_;
      CAIRN_CHECK(escape(out));
    }
    if (seen >= 0x80 && !is_utf8(text_.substr(start, at_ - start))) return stop("not UTF-8");
    ++at_;
    return out;
  }

  Result<std::uint32_t> code_unit() {
    std::uint32_t out = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
    if (error != std::errc() || end != digits.data() + 4) return stop();
    at_ += 4;
    return out;
  }
  Result<void> escape(std::string& out) {
    constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    if (at_ == text_.size()) return stop();
    const char name = take();
    if (const auto known = names.find(name); known != names.npos) {
      out.push_back(values[known]);
      return {};
    }
    if (name != 'u') return stop();
    CAIRN_TRY(std::uint32_t point, code_unit());
    if (point >= 0xD800 && point <= 0xDBFF) {
      if (!text_.substr(at_).starts_with("\\u")) return stop("half of a surrogate pair");
      at_ += 2;
      CAIRN_TRY(const std::uint32_t low, code_unit());
      if (low < 0xDC00 || low > 0xDFFF) return stop("half of a surrogate pair");
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point >= 0xDC00 && point <= 0xDFFF) {
      return stop("half of a surrogate pair");
    }
    append_utf8(out, point);
    return {};
  }
  static void append_utf8(std::string& out, std::uint32_t point) {
    const auto tail = [&](unsigned shift) { out.push_back(static_cast<char>(0x80 | ((point >> shift) & 0x3F))); };
    if (point < 0x80) {
      out.push_back(static_cast<char>(point));
    } else if (point < 0x800) {
      out.push_back(static_cast<char>(0xC0 | (point >> 6)));
      tail(0);
    } else if (point < 0x10000) {
      out.push_back(static_cast<char>(0xE0 | (point >> 12)));
      tail(6), tail(0);
    } else {
      out.push_back(static_cast<char>(0xF0 | (point >> 18)));
      tail(12), tail(6), tail(0);
    }
  }

  bool digits() {
    const std::size_t start = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > start;
  }
  // Integers that fit 64 bits stay integers; others and fractions are doubles, and must be finite.
  Result<void> number(Json& out) {
    const std::size_t start = at_;
    const bool negative = peek() == '-';
    if (negative) ++at_;
    if (peek() == '0')
      ++at_;
    else if (!digits())
      return stop();
    bool integer = true;
    if (peek() == '.') {
      integer = false;
      ++at_;
      if (!digits()) return stop();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) return stop();
    }
    const std::string text(text_.substr(start, at_ - start));
    const char *first = text.data(), *last = first + text.size();
    std::int64_t with_sign = 0;
    std::uint64_t without = 0;
    if (integer && negative && std::from_chars(first, last, with_sign).ec == std::errc())
      out = with_sign;
    else if (integer && !negative && std::from_chars(first, last, without).ec == std::errc())
      out = without;
    else if (const double value = std::strtod(first, nullptr); std::isfinite(value))
      out = value;
    else
      return stop("a number too large");
    return {};
  }

  std::string_view text_;
  std::size_t depth_;
  std::size_t at_ = 0;
};

// Most text needs no escape: runs of it are copied whole.
void write_string(std::string& out, std::string_view text) {
  out.push_back('"');
  std::size_t written = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (kPlain[c]) continue;
    out.append(text, written, i - written);
    written = i + 1;
    out.push_back('\\');
    switch (c) {
      case '"':
      case '\\': out.push_back(static_cast<char>(c)); break;
      case '\b': out.push_back('b'); break;
      case '\f': out.push_back('f'); break;
      case '\n': out.push_back('n'); break;
      case '\r': out.push_back('r'); break;
      case '\t': out.push_back('t'); break;
      default: out.append("u00").push_back("01"[c >> 4]); out.push_back("0123456789abcdef"[c & 15]);
    }
  }
  out.append(text, written);
  out.push_back('"');
}

// Values made by code may hold bytes that are no UTF-8; they are written as U+FFFD.
std::string dumped(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }
void write_text(std::string& out, const std::string& text) {
  const bool ascii = std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii || is_utf8(text))
    write_string(out, text);
  else
    out += dumped(text);
}

void write_compact(std::string& out, const Json& value) {
  switch (value.type()) {
    case Json::value_t::object: {
      out.push_back('{');
      bool first = true;
      for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
        if (!std::exchange(first, false)) out.push_back(',');
        write_text(out, key);
        out.push_back(':');
        write_compact(out, member);
      }
      out.push_back('}');
      return;
    }
    case Json::value_t::array: {
      out.push_back('[');
      bool first = true;
      for (const auto& element : value) {
        if (!std::exchange(first, false)) out.push_back(',');
        write_compact(out, element);
      }
      out.push_back(']');
      return;
    }
    case Json::value_t::string: write_text(out, value.get_ref<const std::string&>()); return;
    default: out += dumped(value);
  }
}

// ECMAScript Number::toString, as RFC 8785 §3.2.2.3 asks.
std::string es_number(double v) {
  if (v == 0) return "0";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(v), std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits.append(text.substr(2, e - 2));
  int exponent = 0;
  const std::string_view power = text.substr(e + 1);
  std::from_chars(power.data() + (power[0] == '+' ? 1 : 0), power.data() + power.size(), exponent);
  const int n = exponent + 1, k = static_cast<int>(digits.size());
  std::string out = v < 0 ? "-" : "";
  if (k <= n && n <= 21) return out + digits + std::string(static_cast<std::size_t>(n - k), '0');
  if (0 < n && n <= 21)
    return out + digits.substr(0, static_cast<std::size_t>(n)) + "." + digits.substr(static_cast<std::size_t>(n));
  if (-6 < n && n <= 0) return out + "0." + std::string(static_cast<std::size_t>(-n), '0') + digits;
  out += digits[0];
  if (k > 1) out += "." + digits.substr(1);
  return out + (n - 1 < 0 ? "e-" : "e+") + std::to_string(std::abs(n - 1));
}

// Key order of RFC 8785: by UTF-16 code units. Bytes and code units differ only where a key has a character past
// U+FFFF (a surrogate pair) against one in U+E000..U+FFFF.
bool utf16_less(const std::string& a, const std::string& b) {
  const auto units = [](const std::string& s) {
    std::u16string out;
    for (std::size_t i = 0; i < s.size();) {
      const auto c = static_cast<unsigned char>(s[i]);
      const std::size_t extra = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
      std::uint32_t v = extra == 0 ? c : c & (0x3FU >> extra);
      for (std::size_t k = 1; k <= extra && i + k < s.size(); ++k)
        v = v << 6 | (static_cast<unsigned char>(s[i + k]) & 0x3FU);
      i += extra + 1;
      if (v >= 0x10000) {
        out.push_back(static_cast<char16_t>(0xD800 + ((v - 0x10000) >> 10)));
        out.push_back(static_cast<char16_t>(0xDC00 + ((v - 0x10000) & 0x3FF)));
      } else {
        out.push_back(static_cast<char16_t>(v));
      }
    }
    return out;
  };
  return units(a) < units(b);
}

// Depth is bounded: values come from parse_json or from code.
Result<void> write_canonical(std::string& out, const Json& v) {
  switch (v.type()) {
    case Json::value_t::object: {
      std::vector<std::string> sorted(v.size());
      std::size_t at = 0;
      for (auto it = v.begin(); it != v.end(); ++it) sorted[at++] = it.key();
      std::sort(sorted.begin(), sorted.end(), utf16_less);
      out.push_back('{');
      for (std::size_t i = 0; i < sorted.size(); ++i) {
        if (i > 0) out.push_back(',');
        write_string(out, sorted[i]);
        out.push_back(':');
        CAIRN_CHECK(write_canonical(out, v[sorted[i]]));
      }
      out.push_back('}');
      return {};
    }
    case Json::value_t::array:
      out.push_back('[');
      for (std::size_t i = 0; i < v.size(); ++i) {
        if (i > 0) out.push_back(',');
        CAIRN_CHECK(write_canonical(out, v[i]));
      }
      out.push_back(']');
      return {};
    case Json::value_t::string: write_string(out, v.get_ref<const std::string&>()); return {};
    case Json::value_t::number_float: {
      const double d = v.get<double>();
      if (!std::isfinite(d)) return fail(ErrorCode::invalid_argument, "a number that is not finite has no JSON text");
      out += es_number(d);
      return {};
    }
    // RFC 8785 takes numbers as doubles: integers past 2^53 have another text than their digits.
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: {
      const double d = v.get<double>();
      out += std::fabs(d) < 9007199254740992.0 ? v.dump() : es_number(d);
      return {};
    }
    default: out += v.dump(); return {};
  }
}

Json toml_value(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    Json out = Json::object();
    for (const auto& [key, value] : *table) out[std::string(key.str())] = toml_value(value);
    return out;
  }
  if (const auto* array = node.as_array()) {
    Json out = Json::array();
    for (const auto& value : *array) out.push_back(toml_value(value));
    return out;
  }
  if (const auto* v = node.as_string()) return v->get();
  if (const auto* v = node.as_integer()) return v->get();
  if (const auto* v = node.as_floating_point()) return v->get();
  if (const auto* v = node.as_boolean()) return v->get();
  std::ostringstream text;
  if (const auto* v = node.as_date()) text << v->get();
  if (const auto* v = node.as_time()) text << v->get();
  if (const auto* v = node.as_date_time()) text << v->get();
  return text.str();
}

// Depth is bounded by the reader, and there are no aliases.
Result<Json> yaml_value(const YamlStream& stream, std::uint32_t index) {
  const YamlNode& node = stream.nodes[index];
  if (!node.tag.empty()) return fail(ErrorCode::unsupported, node.tag, "YAML tags are not accepted");
  if (node.kind == YamlNode::Kind::sequence) {
    Json out = Json::array();
    for (const auto item : node.children) {
      CAIRN_TRY(auto value, yaml_value(stream, item));
      out.push_back(std::move(value));
    }
    return out;
  }
  if (node.kind == YamlNode::Kind::mapping) {
    Json out = Json::object();
    for (std::size_t i = 0; i < node.children.size(); i += 2) {
      const YamlNode& key = stream.nodes[node.children[i]];
      if (key.kind != YamlNode::Kind::scalar || !key.tag.empty())
        return fail(ErrorCode::unsupported, "a key of YAML that is no plain text");
      if (out.contains(key.value)) return fail(ErrorCode::malformed, key.value, "duplicate key");
      CAIRN_TRY(auto value, yaml_value(stream, node.children[i + 1]));
      out[key.value] = std::move(value);
    }
    return out;
  }
  const std::string& text = node.value;
  if (!node.plain) return Json(text);
  if (text == "true" || text == "false") return Json(text == "true");
  if (text == "null" || text == "~" || text.empty()) return Json(nullptr);
  std::int64_t integer = 0;
  const auto* last = text.data() + text.size();
  if (const auto r = std::from_chars(text.data(), last, integer); r.ec == std::errc{} && r.ptr == last)
    return Json(integer);
  double number = 0;
  if (const auto r = std::from_chars(text.data(), last, number); r.ec == std::errc{} && r.ptr == last)
    return Json(number);
  return Json(text);
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// `value` as T, or a word for what was expected.
template <class T>
std::optional<T> convert(const Json& value, const char*& wanted) {
  if constexpr (std::is_same_v<T, bool>) {
    wanted = "true or false";
    if (value.is_boolean()) return value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    wanted = "a string";
    if (value.is_string()) return value.get<std::string>();
  } else if constexpr (std::is_same_v<T, double>) {
    wanted = "a number";
    if (value.is_number()) return value.get<double>();
  } else if constexpr (std::is_integral_v<T>) {
    wanted = "an integer in range";
    if (value.is_number_unsigned()) {
      const auto v = value.get<std::uint64_t>();
      if (v <= static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return static_cast<T>(v);
    } else if (value.is_number_integer()) {
      const auto v = value.get<std::int64_t>();
      if (std::is_signed_v<T> ? v >= static_cast<std::int64_t>(std::numeric_limits<T>::min()) : v >= 0) {
        if (v < 0 || static_cast<std::uint64_t>(v) <= static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
          return static_cast<T>(v);
      }
    }
  } else {
    wanted = "an array of strings";
    if (value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_string(); }))
      return value.get<std::vector<std::string>>();
  }
  return std::nullopt;
}

}  // namespace

Result<Json> parse_json(std::string_view text, JsonLimits limits) {
  if (text.size() > limits.bytes)
    return fail(ErrorCode::too_large,
                "JSON text of " + std::to_string(text.size()) + " bytes, limit " + std::to_string(limits.bytes));
  if (text.starts_with("\xEF\xBB\xBF")) return fail(ErrorCode::malformed, "byte 0", "byte-order mark before JSON");
  return Parser(text, limits.depth).run();
}

Result<std::string> canonical_json(const Json& value) {
  std::string out;
  CAIRN_CHECK(write_canonical(out, value));
  return out;
}

std::string compact_json(const Json& value) {
  std::string out;
  write_compact(out, value);
  return out;
}

Result<Json> parse_toml(std::string_view text, std::string_view file_name) {
  if (text.size() > JsonLimits{}.bytes) return fail(ErrorCode::too_large, std::string(file_name), "file too large");
  try {
    return toml_value(toml::parse(text, file_name));
  } catch (const toml::parse_error& e) {
    std::ostringstream where;
    where << file_name << ":" << e.source().begin.line << ":" << e.source().begin.column;
    return fail(ErrorCode::malformed, where.str(), std::string(e.description()));
  }
}

Result<Json> parse_yaml(std::string_view text, std::string_view file_name) {
  const std::string file(file_name);
  const auto in_file = [&](Error e) {
    e.where = e.where.empty() ? file : file + ", " + e.where;
    return fail(std::move(e));
  };
  const auto stream = read_yaml(text);
  if (!stream) return in_file(stream.error());
  // Aliases would let a small file stand for a huge one.
  if (stream->anchors) return fail(ErrorCode::unsupported, file, "YAML anchors and aliases are not accepted");
  if (stream->documents.size() > 1) return fail(ErrorCode::unsupported, file, "more than one YAML document");
  if (stream->documents.empty()) return Json(nullptr);
  auto value = yaml_value(*stream, stream->documents.front());
  return value ? std::move(value) : in_file(value.error());
}

void Problems::add(std::string where, std::string message) {
  all_.push_back({ErrorCode::malformed, std::move(where), std::move(message)});
}

Result<void> Problems::result() const {
  if (all_.empty()) return {};
  if (all_.size() == 1) return fail(all_.front());
  std::string text = std::to_string(all_.size()) + " problems:";
  for (const auto& e : all_) text += "\n  " + e.where + ": " + e.message;
  return fail(ErrorCode::malformed, std::move(text));
}

Fields::Fields(const Json& value, std::string path, Problems& problems)
    : value_(&value), path_(std::move(path)), problems_(&problems) {
  static const Json empty = Json::object();
  if (!value.is_object()) {
    problems_->add(path_, "must be an object");
    value_ = &empty;
  }
}

const Json* Fields::raw(std::string_view key) {
  asked_.emplace_back(key);
  const auto it = value_->find(key);
  return it == value_->end() ? nullptr : &*it;
}
bool Fields::has(std::string_view key) { return raw(key) != nullptr; }

void Fields::problem(std::string_view key, std::string message) {
  problems_->add(key.empty() ? path_ : path_ + "." + std::string(key), std::move(message));
}

template <class T>
std::optional<T> Fields::optional(std::string_view key) {
  const Json* value = raw(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  const char* wanted = "";
  auto out = convert<T>(*value, wanted);
  if (!out) problem(key, std::string("must be ") + wanted);
  return out;
}
template <class T>
T Fields::required(std::string_view key) {
  if (const Json* value = raw(key); value == nullptr || value->is_null()) {
    problem(key, "is required");
    return T{};
  }
  return optional<T>(key).value_or(T{});
}

#define CAIRN_FIELD_TYPE(T)                                        \
  template std::optional<T> Fields::optional<T>(std::string_view); \
  template T Fields::required<T>(std::string_view)
CAIRN_FIELD_TYPE(bool);
CAIRN_FIELD_TYPE(std::string);
CAIRN_FIELD_TYPE(double);
CAIRN_FIELD_TYPE(std::uint8_t);
CAIRN_FIELD_TYPE(std::uint16_t);
CAIRN_FIELD_TYPE(std::uint32_t);
CAIRN_FIELD_TYPE(std::uint64_t);
CAIRN_FIELD_TYPE(std::int32_t);
CAIRN_FIELD_TYPE(std::int64_t);
CAIRN_FIELD_TYPE(std::vector<std::string>);
#undef CAIRN_FIELD_TYPE

Fields Fields::object(std::string_view key) {
  static const Json empty = Json::object();
  const Json* value = raw(key);
  return Fields(value == nullptr || value->is_null() ? empty : *value, path_ + "." + std::string(key), *problems_);
}

void Fields::objects(std::string_view key, const std::function<void(Fields&)>& each) {
  const Json* value = raw(key);
  if (value == nullptr || value->is_null()) return;
  if (!value->is_array()) return problem(key, "must be an array");
  for (std::size_t i = 0; i < value->size(); ++i) {
    Fields item((*value)[i], path_ + "." + std::string(key) + "[" + std::to_string(i) + "]", *problems_);
    each(item);
  }
}

void Fields::done() {
  for (const auto& [key, unused] : value_->items()) {
    if (std::find(asked_.begin(), asked_.end(), key) != asked_.end()) continue;
    const auto near = nearest(key, asked_);
    problem(key, "unknown key" + (near.empty() ? std::string() : "; did you mean \"" + near + "\"?"));
  }
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(word.size() / 2, 2) + 1;
  for (const auto& c : candidates) {
    const std::size_t d = distance(word, c);
    if (d < least) least = d, best = c;
  }
  return best;
}

}  // namespace cairn
