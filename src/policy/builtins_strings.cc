// Strings.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/encoding.h"
#include "policy/builtins.h"
#include "policy/number.h"
#include "policy/unicode.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

// All of the first n operands are strings?
bool strings(CallContext& c, Args a, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    if (!a[i].is(Kind::string)) {
      (void)c.wrong(static_cast<int>(i + 1), "string", a[i]);
      return false;
    }
  for (std::size_t i = 0; i < n; ++i) c.charge(a[i].text().size() / 64);
  return true;
}

Value text(CallContext& c, const std::string& s) {
  if (s.size() > max_string_bytes) throw Stop{{ErrorCode::too_large, {}, "a string is longer than the limit"}};
  return c.arena.string(s);
}

Value contains(CallContext& c, Args a) {
  return strings(c, a, 2) ? Value::boolean(a[0].text().find(a[1].text()) != std::string_view::npos) : Value();
}
Value startswith(CallContext& c, Args a) {
  return strings(c, a, 2) ? Value::boolean(a[0].text().starts_with(a[1].text())) : Value();
}
Value endswith(CallContext& c, Args a) {
  return strings(c, a, 2) ? Value::boolean(a[0].text().ends_with(a[1].text())) : Value();
}

Value any_match(CallContext& c, Args a, bool prefix) {
  const auto list = [&](const Value& v, int n, std::vector<std::string_view>& out) {
    if (v.is(Kind::string)) {
      out.push_back(v.text());
      return true;
    }
    if (!v.is(Kind::array) && !v.is(Kind::set)) {
      (void)c.wrong(n, "one of {string, set, array}", v);
      return false;
    }
    for (const Value& x : v.items()) {
      if (!x.is(Kind::string)) {
        (void)c.fail("operand " + std::to_string(n) + " must be of strings");
        return false;
      }
      out.push_back(x.text());
    }
    return true;
  };
  std::vector<std::string_view> of, with;
  if (!list(a[0], 1, of) || !list(a[1], 2, with)) return {};
  c.charge(of.size() * with.size() / 4);
  for (const auto s : of)
    for (const auto p : with)
      if (prefix ? s.starts_with(p) : s.ends_with(p)) return Value::boolean(true);
  return Value::boolean(false);
}
Value any_prefix(CallContext& c, Args a) { return any_match(c, a, true); }
Value any_suffix(CallContext& c, Args a) { return any_match(c, a, false); }

template <char32_t (*f)(char32_t)>
Value mapped(CallContext& c, Args a) {
  if (!strings(c, a, 1)) return {};
  std::u32string s = code_points(a[0].text());
  for (auto& x : s) x = f(x);
  return text(c, utf8(s));
}

Value reverse(CallContext& c, Args a) {
  if (!strings(c, a, 1)) return {};
  std::u32string s = code_points(a[0].text());
  std::ranges::reverse(s);
  return text(c, utf8(s));
}

Value concat(CallContext& c, Args a) {
  if (!strings(c, a, 1)) return {};
  if (!a[1].is(Kind::array) && !a[1].is(Kind::set)) return c.wrong(2, "one of {set, array}", a[1]);
  std::string out;
  for (std::size_t i = 0; i < a[1].size(); ++i) {
    const Value& v = a[1].items()[i];
    if (!v.is(Kind::string))
      return c.fail("operand 2 must be " + std::string(type_name(a[1].kind())) + " of strings but got " +
                    std::string(type_name(a[1].kind())) + " containing " + std::string(type_name(v.kind())));
    if (i > 0) out += a[0].text();
    out += v.text();
    if (out.size() > max_string_bytes) break;
  }
  c.charge(out.size() / 64);
  return text(c, out);
}

std::size_t index_from(const std::u32string& s, const std::u32string& find, std::size_t from) {
  return s.find(find, from);
}

Value indexof(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  if (a[1].text().empty()) return c.fail("empty search character");
  const auto at = index_from(code_points(a[0].text()), code_points(a[1].text()), 0);
  return Value::integer(at == std::u32string::npos ? -1 : static_cast<std::int64_t>(at));
}

Value indexof_n(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  if (a[1].text().empty()) return c.fail("empty search character");
  const auto s = code_points(a[0].text());
  const auto find = code_points(a[1].text());
  std::vector<Value> out;
  for (std::size_t at = s.find(find); at != std::u32string::npos; at = s.find(find, at + 1))
    out.push_back(Value::integer(static_cast<std::int64_t>(at)));
  return c.arena.array(out);
}

Value substring(CallContext& c, Args a) {
  if (!strings(c, a, 1)) return {};
  std::int64_t n[2];
  for (std::size_t i = 1; i < 3; ++i) {
    if (!a[i].is(Kind::number)) return c.wrong(static_cast<int>(i + 1), "number", a[i]);
    const auto x = to_int(a[i]);
    if (!x) return c.fail("operand " + std::to_string(i + 1) + " must be integer number but got floating-point number");
    n[i - 1] = *x;
  }
  if (n[0] < 0) return c.fail("negative offset");
  const auto s = code_points(a[0].text());
  if (n[0] >= static_cast<std::int64_t>(s.size())) return c.arena.string("");
  const auto from = static_cast<std::size_t>(n[0]);
  return text(
      c, utf8(std::u32string_view(s).substr(from, n[1] < 0 ? std::u32string::npos : static_cast<std::size_t>(n[1]))));
}

Value split(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  std::vector<Value> out;
  std::string_view s = a[0].text();
  const std::string_view by = a[1].text();
  if (by.empty()) {
    for (const char32_t x : code_points(s)) out.push_back(c.arena.string(utf8({&x, 1})));
    return c.arena.array(out);
  }
  for (;;) {
    const auto at = s.find(by);
    out.push_back(c.arena.string(s.substr(0, at)));
    if (at == std::string_view::npos) break;
    s.remove_prefix(at + by.size());
  }
  c.charge(out.size());
  return c.arena.array(out);
}

Value split_n(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  if (!a[2].is(Kind::number)) return c.wrong(3, "number", a[2]);
  const auto n = to_int(a[2]);
  if (!n) return c.fail("operand 3 must be an integer");
  const Value all = split(c, a.first(2));  // the first n parts, or the last -n
  const auto parts = all.items();
  const auto keep = std::min<std::uint64_t>(
      parts.size(), *n < 0 ? 0 - static_cast<std::uint64_t>(*n) : static_cast<std::uint64_t>(*n));
  return c.arena.array(*n < 0 ? parts.last(keep) : parts.first(keep));
}

std::string replaced(std::string_view s, std::string_view old, std::string_view by) {
  std::string out;
  if (old.empty()) {  // between all characters, as Go does
    out += by;
    for (const char32_t x : code_points(s)) {
      append_utf8(out, x);
      out += by;
      if (out.size() > max_string_bytes) return out;
    }
    return out;
  }
  for (;;) {
    const auto at = s.find(old);
    out += s.substr(0, at);
    if (at == std::string_view::npos || out.size() > max_string_bytes) return out;
    out += by;
    s.remove_prefix(at + old.size());
  }
}

Value replace(CallContext& c, Args a) {
  return strings(c, a, 3) ? text(c, replaced(a[0].text(), a[1].text(), a[2].text())) : Value();
}

// One pass; at each place the first pattern (in key order) that fits is replaced.
Value replace_n(CallContext& c, Args a) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  if (!a[1].is(Kind::string)) return c.wrong(2, "string", a[1]);
  for (std::size_t i = 0; i < a[0].size(); ++i)
    if (!a[0].key(i).is(Kind::string) || !a[0].value(i).is(Kind::string))
      return c.fail("operand 1 non-string key or value found in pattern object");
  std::string out;
  std::string_view s = a[1].text();
  c.charge(s.size() * (a[0].size() + 1) / 16);
  bool after_empty = false;
  while (true) {
    bool hit = false;
    for (std::size_t i = 0; !hit && i < a[0].size(); ++i) {
      const auto key = a[0].key(i).text();
      if (!s.starts_with(key) || (key.empty() && after_empty)) continue;
      out += a[0].value(i).text();
      s.remove_prefix(key.size());
      hit = true;
      after_empty = key.empty();
    }
    if (out.size() > max_string_bytes) break;
    if (hit) continue;
    if (s.empty()) break;
    out += s[0];
    s.remove_prefix(1);
    after_empty = false;
  }
  return text(c, out);
}

std::u32string_view trimmed(std::u32string_view s, const std::u32string& cut, bool left, bool right) {
  const auto in = [&](char32_t x) { return cut.find(x) != std::u32string::npos; };
  while (left && !s.empty() && in(s.front())) s.remove_prefix(1);
  while (right && !s.empty() && in(s.back())) s.remove_suffix(1);
  return s;
}
template <bool left, bool right>
Value trim(CallContext& c, Args a) {
  return strings(c, a, 2) ? text(c, utf8(trimmed(code_points(a[0].text()), code_points(a[1].text()), left, right)))
                          : Value();
}
Value trim_space(CallContext& c, Args a) {
  static const std::u32string space =
      U"\t\n\v\f\r "
      U"\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f"
      U"\u3000";
  return strings(c, a, 1) ? text(c, utf8(trimmed(code_points(a[0].text()), space, true, true))) : Value();
}
Value trim_prefix(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  return a[0].text().starts_with(a[1].text()) ? c.arena.string(a[0].text().substr(a[1].text().size())) : a[0];
}
Value trim_suffix(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  return a[0].text().ends_with(a[1].text())
             ? c.arena.string(a[0].text().substr(0, a[0].text().size() - a[1].text().size()))
             : a[0];
}

Value strings_count(CallContext& c, Args a) {
  if (!strings(c, a, 2)) return {};
  if (a[1].text().empty()) return Value::integer(static_cast<std::int64_t>(code_points(a[0].text()).size()) + 1);
  std::int64_t n = 0;
  for (auto at = a[0].text().find(a[1].text()); at != std::string_view::npos;
       at = a[0].text().find(a[1].text(), at + a[1].text().size()))
    ++n;
  return Value::integer(n);
}

Value template_string(CallContext& c, Args a) {
  std::string out;
  for (const Value& part : a[0].items()) {
    if (!part.is(Kind::set)) {
      if (part.is(Kind::string))
        out += part.text();
      else
        write_rego(part, out, max_string_bytes);
      continue;
    }
    if (part.size() > 1) throw Stop{{ErrorCode::conflict, {}, "template-strings must not produce multiple outputs"}};
    if (part.size() == 0)
      out += "<undefined>";
    else if (part.items()[0].is(Kind::string))
      out += part.items()[0].text();
    else
      write_rego(part.items()[0], out, max_string_bytes);
  }
  return text(c, out);
}

}  // namespace

std::span<const Entry> string_builtins() {
  static constexpr Entry all[] = {
      {"contains", contains},
      {"startswith", startswith},
      {"endswith", endswith},
      {"strings.any_prefix_match", any_prefix},
      {"strings.any_suffix_match", any_suffix},
      {"lower", mapped<to_lower>},
      {"upper", mapped<to_upper>},
      {"strings.reverse", reverse},
      {"concat", concat},
      {"indexof", indexof},
      {"indexof_n", indexof_n},
      {"substring", substring},
      {"split", split},
      {"strings.split_n", split_n},
      {"replace", replace},
      {"strings.replace_n", replace_n},
      {"trim", trim<true, true>},
      {"trim_left", trim<true, false>},
      {"trim_right", trim<false, true>},
      {"trim_space", trim_space},
      {"trim_prefix", trim_prefix},
      {"trim_suffix", trim_suffix},
      {"strings.count", strings_count},
      {"internal.template_string", template_string},
      {"internal.print", template_string},
      {"print", template_string},
      {"sprintf", policy::sprintf},
  };
  return all;
}

}  // namespace cairn::policy
