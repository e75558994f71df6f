// yaml.unmarshal and yaml.is_valid: scalars, keys and merges stand for what they do to the reader that OPA uses, which
// resolves YAML 1.2's core schema with a few of 1.1's numbers and then makes JSON of it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <variant>

#include "base/yaml.h"
#include "policy/builtins.h"
#include "policy/number.h"
#include "policy/yaml.h"

namespace cairn::policy {
namespace {

// What ends the reading: no document that JSON can hold.
struct Unreadable {
  std::string why;
};

constexpr std::string_view long_tag = "tag:yaml.org,2002:";

// With an exponent below -4 (-6 where `most` is 21) and from `most` on; zeros where the digits do not reach the point.
template <class F>
std::string go_digits(F d, int most) {
  std::array<char, 64> room{};
  auto end = std::to_chars(room.data(), room.data() + room.size(), d, std::chars_format::scientific).ptr;
  std::string s(room.data(), end);
  const std::size_t e = s.find('e');
  const int exponent = std::atoi(s.c_str() + e + 1);
  if (exponent < (most == 21 ? -6 : -4) || exponent >= most) return s;
  const std::size_t point = s.find('.');
  const std::size_t fraction = point < e ? e - point - 1 : 0;
  if (exponent >= 0 && fraction <= static_cast<std::size_t>(exponent)) {
    s.resize(e);
    std::erase(s, '.');
    return s.append(static_cast<std::size_t>(exponent) - fraction, '0');
  }
  end = std::to_chars(room.data(), room.data() + room.size(), d, std::chars_format::fixed).ptr;
  return {room.data(), end};
}

// A scalar once it is resolved. `tag` is the short one; binary data and times are text.
struct Scalar {
  std::string tag;
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string> value;
};

// Digits of a number with a sign, as strconv.ParseInt and ParseUint take them one after the other. Base 0: a prefix
// tells it.
std::optional<Scalar> integer(std::string_view s, int base) {
  const bool signed_ = s.starts_with('-') || s.starts_with('+');
  const bool negative = s.starts_with('-');
  if (signed_) s.remove_prefix(1);
  if (base == 0) {
    base = 10;
    if (s.size() > 1 && s[0] == '0') {
      const char c = static_cast<char>(s[1] | 0x20);
      base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
      s.remove_prefix(c == 'x' || c == 'b' || c == 'o' ? 2 : 1);
    }
  }
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n, base);
  if (s.empty() || error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  constexpr std::uint64_t top = 1ULL << 63;
  if (n < top || (negative && n == top)) return Scalar{"int", static_cast<std::int64_t>(negative ? 0 - n : n)};
  if (signed_) return std::nullopt;
  return Scalar{"int", n};
}

// What text without quotes stands for; `time`: may it be one?
Scalar plain_scalar(const std::string& s, bool time) {
  static constexpr std::string_view truths[] = {"true", "True", "TRUE"};
  static constexpr std::string_view lies[] = {"false", "False", "FALSE"};
  static constexpr std::string_view nulls[] = {"", "~", "null", "Null", "NULL"};
  static constexpr std::string_view infinities[] = {".inf", ".Inf", ".INF"};
  static constexpr std::string_view not_numbers[] = {".nan", ".NaN", ".NAN"};
  const auto in = [](const auto& list, std::string_view word) {
    return std::ranges::find(list, word) != std::end(list);
  };
  if (in(truths, s)) return {"bool", true};
  if (in(lies, s)) return {"bool", false};
  if (in(nulls, s)) return {"null", {}};
  if (s == "<<") return {"merge", s};
  const bool sign = s[0] == '-' || s[0] == '+';
  if (in(not_numbers, s)) return {"float", std::nan("")};
  if (in(infinities, std::string_view(s).substr(sign ? 1 : 0))) return {"float", s[0] == '-' ? -HUGE_VAL : HUGE_VAL};
  if (s[0] != '.' && !sign && (s[0] < '0' || s[0] > '9')) return {"str", s};
  std::string digits = s;
  if (s[0] != '.') {
    if (time)
      if (auto t = yaml_time(s)) return {"timestamp", std::move(*t)};
    std::erase(digits, '_');
    if (auto n = integer(digits, 0)) return *n;
  }
  if (yaml_float_like(digits)) {
    std::erase(digits, '_');
    if (const double d = std::strtod(digits.c_str(), nullptr); std::isfinite(d)) return {"float", d};
  }
  // A second sign behind the prefix is taken where there was none before it.
  for (const auto& [prefix, base] : {std::pair<std::string_view, int>{"0b", 2}, {"0o", 8}})
    if (digits.starts_with(prefix))
      if (auto n = integer(std::string_view(digits).substr(2), base)) return *n;
  return {"str", s};
}

class YamlReader {
 public:
  explicit YamlReader(CallContext& c) : c_(c) {}

  Value read(std::string_view text) {
    auto stream = read_yaml(text, {.bytes = max_string_bytes, .depth = max_value_depth});
    if (!stream && stream.error().code == ErrorCode::too_large) throw Stop{stream.error()};
    if (!stream) throw Unreadable{"yaml: " + stream.error().where + ": " + stream.error().message};
    nodes_ = std::move(stream->nodes);
    c_.charge(nodes_.size());
    ++decoded_;
    // What follows the first document only has to be readable.
    return stream->documents.empty() ? Value::null() : value(stream->documents.front(), 0);
  }

 private:
  using Index = std::uint32_t;
  using NodeKind = YamlNode::Kind;

  // The short tag of a scalar or of what an alias stands for.
  std::string tag(Index i) const {
    const YamlNode& n = nodes_[i];
    if (!n.tag.empty()) return short_tag(n.tag);
    switch (n.kind) {
      case NodeKind::sequence: return "seq";
      case NodeKind::mapping: return "map";
      case NodeKind::alias: return tag(n.children[0]);  // which is none
      case NodeKind::scalar: break;
    }
    if (!n.plain) return "str";
    std::string plain = plain_scalar(n.value, true).tag;
    return plain == "timestamp" ? "str" : plain;  // a time that is not called one stays text
  }
  static std::string short_tag(std::string_view tag) {
    if (tag.starts_with(long_tag)) return std::string(tag.substr(long_tag.size()));
    if (tag.starts_with("!!")) return std::string(tag.substr(2));
    return std::string(tag);
  }

  Scalar scalar(Index i) const {
    const YamlNode& n = nodes_[i];
    if (n.tag.empty()) return n.plain ? plain_scalar(n.value, true) : Scalar{"str", n.value};
    const std::string wanted = short_tag(n.tag);
    if (wanted == "binary") {
      std::string bytes;
      if (!decode_base64(n.value, false, bytes)) throw Unreadable{"!!binary value contains invalid base64 data"};
      return {wanted, std::move(bytes)};
    }
    static constexpr std::string_view resolved[] = {"bool", "int", "float", "null", "timestamp"};
    if (std::ranges::find(resolved, wanted) == std::end(resolved)) return {wanted, n.value};
    Scalar s = plain_scalar(n.value, wanted == "timestamp");
    if (wanted == "float" && std::holds_alternative<std::int64_t>(s.value))
      return {wanted, static_cast<double>(std::get<std::int64_t>(s.value))};
    if (s.tag != wanted) throw Unreadable{"cannot decode `" + n.value + "` as a !!" + wanted};
    return s;
  }

  // The text of a key in JSON; nothing for what is none.
  static std::optional<std::string> key_text(const Scalar& s) {
    if (s.tag == "timestamp") return std::nullopt;
    struct {
      std::optional<std::string> operator()(std::monostate) const { return std::nullopt; }
      std::optional<std::string> operator()(bool b) const { return b ? "true" : "false"; }
      std::optional<std::string> operator()(std::int64_t n) const { return std::to_string(n); }
      std::optional<std::string> operator()(std::uint64_t n) const { return std::to_string(n); }
      std::optional<std::string> operator()(const std::string& t) const { return t; }
      std::optional<std::string> operator()(double d) const {
        const auto f = static_cast<float>(d);
        return std::isnan(f) ? ".nan" : std::isinf(f) ? f < 0 ? "-.inf" : ".inf" : go_digits(f, 6);
      }
    } visitor;
    return std::visit(visitor, s.value);
  }

  Value scalar_value(Index i) {
    const YamlNode& n = nodes_[i];
    const Scalar s = scalar(i);
    if (s.tag == "timestamp" && n.tag.empty()) return c_.arena.string(n.value);
    if (s.tag == "timestamp" && a_day_off(std::get<std::string>(s.value)))
      throw Unreadable{"timezone hour outside of range [0,23]"};
    if (s.tag == "binary") return c_.arena.string(utf8(code_points(std::get<std::string>(s.value))));
    if (const auto* b = std::get_if<bool>(&s.value)) return Value::boolean(*b);
    if (const auto* t = std::get_if<std::string>(&s.value)) return c_.arena.string(*t);
    if (const auto* d = std::get_if<double>(&s.value)) return number(*d);
    if (std::holds_alternative<std::monostate>(s.value)) return Value::null();
    return c_.arena.number(*key_text(s));
  }

  static bool a_day_off(std::string_view time) {
    return !time.ends_with('Z') && time.substr(time.size() - 5) >= "24:00";
  }

  Value number(double d) {
    if (!std::isfinite(d)) throw Unreadable{"a number is not finite"};
    std::string s = go_digits(d, 21);
    if (const auto e = s.find("e-0"); e != std::string::npos) s.erase(e + 2, 1);
    return c_.arena.number(s);
  }

  // The reader's own measure against texts that are mostly aliases: their share of what is read.
  void count() {
    c_.charge(1);
    ++decoded_;
    if (inside_aliases_ > 0) ++by_alias_;
    if (by_alias_ <= 100 || decoded_ <= 1000) return;
    const double much = std::clamp((static_cast<double>(decoded_) - 400'000) / 3'600'000, 0.0, 1.0);
    if (static_cast<double>(by_alias_) / static_cast<double>(decoded_) > 0.99 - 0.89 * much)
      throw Unreadable{"document contains excessive aliasing"};
  }

  // `then` with the node that an alias stands for.
  template <class F>
  auto follow(Index alias, F then) {
    if (!entered_.insert(alias).second) throw Unreadable{"anchor '" + nodes_[alias].value + "' value contains itself"};
    ++inside_aliases_;
    auto out = then(nodes_[alias].children[0]);
    --inside_aliases_;
    entered_.erase(alias);
    return out;
  }

  static void check_depth(std::size_t depth) {
    if (depth > max_value_depth) throw Stop{{ErrorCode::too_large, {}, "a value is nested deeper than the limit"}};
  }

  Value value(Index i, std::size_t depth) {
    check_depth(depth);
    count();
    switch (nodes_[i].kind) {
      case NodeKind::alias: return follow(i, [&](Index target) { return value(target, depth); });
      case NodeKind::scalar: return scalar_value(i);
      case NodeKind::sequence: {
        std::vector<Value> items;
        for (std::size_t k = 0; k < nodes_[i].children.size(); ++k)
          items.push_back(value(nodes_[i].children[k], depth + 1));
        return c_.arena.array(items);
      }
      case NodeKind::mapping: break;
    }
    normalize(i);
    Members out;
    for (std::size_t k = 0; k < nodes_[i].children.size(); k += 2) {
      const std::string t = tag(nodes_[i].children[k]);
      out.all_text &= t == "str" || t == "merge";
    }
    fill(i, out, nullptr, depth);
    std::vector<Pair> pairs;
    for (const auto& [key, v] : out.values) {
      if (!key.text) throw Unreadable{"unsupported map key"};
      pairs.emplace_back(c_.arena.string(utf8(code_points(*key.text))), v);
    }
    return c_.arena.object(pairs);
  }

  // A key as the map of its members tells it from others: 1 and "1" are two.
  struct Key {
    std::size_t type = 0;
    std::optional<std::string> text;  // nothing: JSON has no such key
    auto operator<=>(const Key&) const = default;
  };
  struct Members {
    bool all_text = true;  // every key of the mapping itself is a string
    std::map<Key, Value> values;
  };
  using Keys = std::set<Key>;

  // Nothing where the member is left out: a null as a key among strings.
  std::optional<Key> key(Index i, bool as_text) {
    count();
    const YamlNode& n = nodes_[i];
    if (n.kind == NodeKind::alias) return follow(i, [&](Index target) { return key(target, as_text); });
    if (n.kind != NodeKind::scalar) throw Unreadable{"unsupported map key"};
    const Scalar s = scalar(i);
    const std::size_t text = std::variant_size_v<decltype(s.value)> - 1;
    if (s.tag == "binary" || (s.tag == "timestamp" && n.tag.empty()))
      return Key{text, s.tag == "binary" ? std::get<std::string>(s.value) : n.value};
    if (!as_text) return Key{s.value.index(), key_text(s)};
    if (std::holds_alternative<std::monostate>(s.value)) return std::nullopt;
    return Key{text, n.value};
  }

  bool is_merge(Index i) const {
    const YamlNode& n = nodes_[i];
    return n.kind == NodeKind::scalar && n.value == "<<" && tag(i) == "merge";
  }

  // The members of a mapping. `merged`: keys that are taken, where they are merged into another.
  void fill(Index i, Members& out, Keys* merged, std::size_t depth) {
    check_depth(depth);
    normalize(i);
    std::optional<Index> merge_of;
    for (std::size_t k = 0; k < nodes_[i].children.size(); k += 2) {
      const Index name = nodes_[i].children[k];
      const Index item = nodes_[i].children[k + 1];
      if (is_merge(name)) {
        merge_of = item;
        continue;
      }
      auto member = key(name, out.all_text);
      if (!member || (merged != nullptr && !merged->insert(*member).second)) continue;
      const Value v = value(item, depth + 1);
      out.values.insert_or_assign(std::move(*member), v);
    }
    if (!merge_of) return;
    Keys own;
    if (merged == nullptr) {
      merged = &own;
      for (std::size_t k = 0; k < nodes_[i].children.size(); k += 2)
        if (auto member = key(nodes_[i].children[k], false)) own.insert(std::move(*member));
    }
    if (nodes_[*merge_of].kind != NodeKind::sequence) return merge(*merge_of, out, *merged, depth + 1);
    for (std::size_t k = 0; k < nodes_[*merge_of].children.size(); ++k)
      merge(nodes_[*merge_of].children[k], out, *merged, depth + 1);
  }

  void merge(Index i, Members& out, Keys& merged, std::size_t depth) {
    const YamlNode& n = nodes_[i];
    const bool alias = n.kind == NodeKind::alias;
    if (nodes_[alias ? n.children[0] : i].kind != NodeKind::mapping)
      throw Unreadable{"map merge requires map or sequence of maps as the value"};
    count();
    if (!alias) return fill(i, out, &merged, depth);
    follow(i, [&](Index target) {
      count();
      fill(target, out, &merged, depth);
      return 0;
    });
  }

  // Of keys with the same text in JSON the last counts, in the place of the first; several merges are one. Keys that
  // are still written the same way are an error.
  void normalize(Index i) {
    if (!normalized_.insert(i).second) return;
    join_merges(i);
    drop_repeated(i);
    std::set<std::pair<NodeKind, std::string_view>> seen;
    const auto& pairs = nodes_[i].children;
    for (std::size_t k = 0; k < pairs.size(); k += 2)
      if (!seen.emplace(nodes_[pairs[k]].kind, nodes_[pairs[k]].value).second)
        throw Unreadable{"mapping key \"" + nodes_[pairs[k]].value + "\" already defined"};
  }

  bool merge_tagged(Index i) const { return nodes_[i].kind == NodeKind::scalar && tag(i) == "merge"; }

  void join_merges(Index i) {
    std::vector<Index> pairs = nodes_[i].children;
    std::optional<std::size_t> first;
    YamlNode all{.kind = NodeKind::sequence, .tag = {}, .value = {}, .children = {}};
    for (std::size_t k = 0; k < pairs.size(); k += 2) {
      if (!merge_tagged(pairs[k])) continue;
      if (!first) first = k;
      const YamlNode& from = nodes_[pairs[k + 1]];
      if (from.kind == NodeKind::sequence)
        all.children.insert(all.children.end(), from.children.begin(), from.children.end());
      else
        all.children.push_back(pairs[k + 1]);
    }
    if (!first || all.children.size() < 2) return;
    std::vector<Index> out;
    for (std::size_t k = 0; k < pairs.size(); k += 2)
      if (k == *first || !merge_tagged(pairs[k])) out.insert(out.end(), {pairs[k], pairs[k + 1]});
    out[*first + 1] = static_cast<Index>(nodes_.size());  // none before it was left out
    nodes_[i].children = std::move(out);
    nodes_.push_back(std::move(all));
  }

  void drop_repeated(Index i) {
    std::unordered_map<std::string, std::size_t> seen;
    std::vector<Index> out;
    for (std::size_t k = 0; k < nodes_[i].children.size(); k += 2) {
      const Index name = nodes_[i].children[k];
      const Index item = nodes_[i].children[k + 1];
      if (const auto text = comparable_key(name)) {
        const auto [at, fresh] = seen.emplace(*text, out.size() + 1);
        if (!fresh) {
          out[at->second] = item;
          continue;
        }
      }
      out.insert(out.end(), {name, item});
    }
    nodes_[i].children = std::move(out);
  }

  std::optional<std::string> comparable_key(Index i) const {
    if (nodes_[i].kind != NodeKind::scalar || tag(i) == "merge") return std::nullopt;
    try {
      return key_text(scalar(i));
    } catch (const Unreadable&) {  // found again where the member is read, if it is
      return std::nullopt;
    }
  }

  CallContext& c_;
  std::vector<YamlNode> nodes_;
  std::unordered_set<Index> normalized_;
  std::unordered_set<Index> entered_;  // aliases
  std::uint64_t decoded_ = 0, by_alias_ = 0, inside_aliases_ = 0;
};

std::optional<Value> read(CallContext& c, std::string_view text) {
  c.charge(text.size() / 4);
  try {
    return YamlReader(c).read(text);
  } catch (const Unreadable& e) {
    c.problem = e.why;
    return std::nullopt;
  }
}

}  // namespace

bool yaml_plain_text(const std::string& s) { return s == "<<" || plain_scalar(s, true).tag == "str"; }

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
