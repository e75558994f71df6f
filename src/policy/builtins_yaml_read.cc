// yaml.unmarshal and yaml.is_valid: scalars, keys and merges stand for what they do to the reader that OPA uses, which
// resolves YAML 1.2's core schema with a few of 1.1's numbers and then makes JSON of it.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>

#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

// What ends the reading: no document that JSON can hold.
struct Unreadable {
  std::string why;
};

constexpr std::string_view core = "tag:yaml.org,2002:";

class YamlReader {
 public:
  explicit YamlReader(CallContext& c) : c_(c) {}

  Value read(std::string_view text) {
    check(text);
    text_ = text;
    const auto documents = YAML::LoadAll(std::string(text));  // what follows the first has to be readable too
    return documents.empty() ? Value::null() : value(documents.front(), 0);
  }

 private:
  static void check(std::string_view text) {
    if (text.starts_with('%') && !text.starts_with("%YAML") && !text.starts_with("%TAG"))
      throw Unreadable{"found unknown directive name"};
    for (const char32_t ch : code_points(text)) {
      const bool fine = ch == '\t' || ch == '\n' || ch == '\r' || (ch >= 0x20 && ch < 0x7F) || ch == 0x85 ||
                        (ch >= 0xA0 && ch <= 0xFFFD) || ch >= 0x10000;
      if (!fine) throw Unreadable{"control characters are not allowed"};
    }
  }

  Value value(const YAML::Node& node, std::size_t depth) {
    if (depth > max_value_depth) throw Unreadable{"nested deeper than the limit"};
    c_.charge(1);
    if (node.IsSequence()) {
      std::vector<Value> items;
      for (const auto& item : node) items.push_back(value(item, depth + 1));
      return c_.arena.array(items);
    }
    if (!node.IsMap()) return scalar(node);
    std::vector<Pair> pairs;
    for (const auto& [key, v] : members(node, depth)) pairs.emplace_back(c_.arena.string(key), v);
    return c_.arena.object(pairs);
  }

  using Members = std::map<std::string, Value>;

  // The last of equal keys counts; what is merged in does not replace what is there.
  Members members(const YAML::Node& node, std::size_t depth) {
    std::map<std::string, YAML::Node> own;
    std::vector<YAML::Node> merged;
    for (const auto& item : node) {
      if (item.first.IsScalar() && item.first.Tag() == "?" && item.first.Scalar() == "<<") {
        if (item.second.IsSequence())
          for (const auto& one : item.second) merged.push_back(one);
        else
          merged.push_back(item.second);
        continue;
      }
      own.insert_or_assign(key(item.first), item.second);
    }
    Members out;
    for (const auto& [name, node_of] : own) out.emplace(name, value(node_of, depth + 1));
    for (const auto& from : merged) {
      if (!from.IsMap()) throw Unreadable{"map merge requires map or sequence of maps as the value"};
      if (depth > max_value_depth) throw Unreadable{"nested deeper than the limit"};
      out.merge(members(from, depth + 1));
    }
    return out;
  }

  std::string key(const YAML::Node& node) {
    const Value v = node.IsSequence() || node.IsMap() ? Value() : scalar(node);
    switch (v.kind()) {
      case Kind::string: return std::string(v.text());
      case Kind::boolean: return v.boolean() ? "true" : "false";
      case Kind::number: {
        if (v.is_small()) return std::to_string(v.integer());
        const auto text = v.number_node()->text();
        if (text.find_first_of(".e") == std::string_view::npos) return std::string(text);
        return shortest(static_cast<float>(v.number_node()->approximate), 6);
      }
      default: throw Unreadable{"unsupported map key"};
    }
  }

  // With an exponent below -4 (-6 where `most` is 21) and from `most` on.
  template <class F>
  static std::string shortest(F d, int most) {
    std::array<char, 64> room{};
    auto end = std::to_chars(room.data(), room.data() + room.size(), d, std::chars_format::scientific).ptr;
    std::string s(room.data(), end);
    const int exponent = std::atoi(s.c_str() + s.find('e') + 1);
    if (exponent < (most == 21 ? -6 : -4) || exponent >= most) return s;
    end = std::to_chars(room.data(), room.data() + room.size(), d, std::chars_format::fixed).ptr;
    return {room.data(), end};
  }

  Value number(double d) {
    if (!std::isfinite(d)) throw Unreadable{"a number is not finite"};
    std::string s = shortest(d, 21);
    if (const auto e = s.find("e-0"); e != std::string::npos) s.erase(e + 2, 1);
    return c_.arena.number(s);
  }

  // A sign, a prefix that tells the base (0 is one) and digits, within 64 bits.
  static std::optional<std::string> integer(std::string_view s) {
    const bool negative = s.starts_with('-');
    if (negative || s.starts_with('+')) s.remove_prefix(1);
    int base = 10;
    if (s.size() > 1 && s[0] == '0') {
      const char c = static_cast<char>(s[1] | 0x20);
      base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
      s.remove_prefix(c == 'x' || c == 'b' || c == 'o' ? 2 : 1);
    }
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n, base);
    if (s.empty() || error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
    if (negative && n > 1ULL << 63) return std::nullopt;
    return (negative && n != 0 ? "-" : "") + std::to_string(n);
  }

  // The library takes the end of the text for the end of a quoted scalar.
  void check_closed(const YAML::Mark& mark) const {
    const auto from = text_.find_first_of("'\"", static_cast<std::size_t>(std::max(mark.pos, 0)));
    if (from == std::string_view::npos) return;
    for (std::size_t i = from + 1; i < text_.size(); ++i) {
      if (text_[i] == text_[from]) {
        if (text_[from] == '"' || i + 1 >= text_.size() || text_[i + 1] != '\'') return;
        ++i;
      } else if (text_[i] == '\\' && text_[from] == '"') {
        ++i;
      }
    }
    throw Unreadable{"found unexpected end of stream"};
  }

  Value scalar(const YAML::Node& node) {
    const std::string text = node.IsNull() ? "" : node.Scalar();
    std::string tag = node.Tag();
    if (tag == "!") {  // quoted
      check_closed(node.Mark());
      return c_.arena.string(text);
    }
    tag = tag.starts_with(core) ? tag.substr(core.size()) : tag == "?" || tag.empty() ? "" : "other";
    if (tag == "binary") {
      std::string bytes;
      if (!decode_base64(text, false, bytes)) throw Unreadable{"!!binary value contains invalid base64 data"};
      return c_.arena.string(utf8(code_points(bytes)));
    }
    static constexpr std::string_view resolved[] = {"", "bool", "int", "float", "null"};
    if (std::ranges::find(resolved, tag) == std::end(resolved)) return c_.arena.string(text);
    const Value v = plain(text);
    const bool number = v.is(Kind::number);
    const bool whole =
        number && (v.is_small() || v.number_node()->text().find_first_of(".e") == std::string_view::npos);
    const bool suits = tag.empty() || (tag == "bool" && v.is(Kind::boolean)) || (tag == "null" && v.is(Kind::null)) ||
                       (tag == "int" && whole) || (tag == "float" && number);
    if (!suits) throw Unreadable{"cannot decode `" + text + "` as a !!" + tag};
    return v;
  }

  Value plain(const std::string& s) {
    static constexpr std::string_view truths[] = {"true", "True", "TRUE"};
    static constexpr std::string_view lies[] = {"false", "False", "FALSE"};
    static constexpr std::string_view nulls[] = {"", "~", "null", "Null", "NULL"};
    if (std::ranges::find(truths, s) != std::end(truths)) return Value::boolean(true);
    if (std::ranges::find(lies, s) != std::end(lies)) return Value::boolean(false);
    if (std::ranges::find(nulls, s) != std::end(nulls)) return Value::null();
    std::string_view word = s;
    if (word.starts_with('-') || word.starts_with('+')) word.remove_prefix(1);
    static constexpr std::string_view not_finite[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    const auto* const at = std::ranges::find(not_finite, word);
    if (at != std::end(not_finite) && (at < not_finite + 3 || word.size() == s.size()))
      throw Unreadable{"a number is not finite"};
    const char first = s[0];
    if (first != '.' && first != '-' && first != '+' && (first < '0' || first > '9')) return c_.arena.string(s);
    std::string digits = s;
    if (first != '.') {
      if (yaml_time_like(s)) return c_.arena.string(s);
      std::erase(digits, '_');
      if (const auto n = integer(digits)) return c_.arena.number(*n);
    }
    if (!yaml_float_like(digits)) return c_.arena.string(s);
    const double d = std::strtod(digits.c_str(), nullptr);
    return std::isfinite(d) ? number(d) : c_.arena.string(s);
  }

  CallContext& c_;
  std::string_view text_;
};

std::optional<Value> read(CallContext& c, std::string_view text) {
  c.charge(text.size() / 4);
  try {
    return YamlReader(c).read(text);
  } catch (const Unreadable& e) {
    c.problem = e.why;
  } catch (const YAML::Exception& e) {
    c.problem = "yaml: line " + std::to_string(e.mark.line + 1) + ": " + e.msg;
  }
  return std::nullopt;
}

}  // namespace

Value yaml_unmarshal(CallContext& c, std::span<const Value> a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  return read(c, a[0].text()).value_or(Value());
}

Value yaml_is_valid(CallContext& c, std::span<const Value> a) {
  const bool valid = a[0].is(Kind::string) && read(c, a[0].text()).has_value();
  c.problem.clear();
  return Value::boolean(valid);
}

}  // namespace cairn::policy
