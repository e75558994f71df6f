// yaml.marshal in the layout of the writer that OPA uses: block style, two spaces, scalars plain where they read back
// as the same string, otherwise in single quotes, as a literal block, or in double quotes.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/encoding.h"
#include "base/yaml.h"
#include "policy/builtins.h"
#include "policy/number.h"
#include "policy/yaml.h"

namespace cairn::policy {
namespace {

constexpr std::size_t longest_key = 128;    // bytes, on the line of its value
constexpr std::size_t longest_read = 1024;  // characters of a key of JSON that is read as YAML

// What ends the writing.
struct Unwritable {
  std::string why;
};

bool decimal(char32_t c) { return c >= '0' && c <= '9'; }
bool line_break(char32_t c) { return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029; }
bool blank(char32_t c) { return c == ' ' || c == '\t' || c == 0 || line_break(c); }
// Without escapes; what lies beyond the basic plane is always escaped.
bool shown(char32_t c) {
  return c == '\n' || (c >= 0x20 && c <= 0x7E) ||
         (c >= 0xA0 && c <= 0xFFFD && c != 0xFEFF && (c < 0xD800 || c > 0xDFFF));
}

}  // namespace

// [-+]? (digits [. digits] | . digits) [exponent], and where it begins with the point, single '_' between digits.
bool yaml_float_like(std::string_view s) {
  if (s.starts_with('.') && s.contains('_')) {
    std::string joined;
    for (std::size_t i = 0; i < s.size(); ++i) {
      const auto digit_at = [&](std::size_t k) { return k < s.size() && decimal(static_cast<unsigned char>(s[k])); };
      if (s[i] != '_')
        joined += s[i];
      else if (!digit_at(i - 1) || !digit_at(i + 1))
        return false;
    }
    return yaml_float_like(joined);
  }
  if (s.starts_with('-') || s.starts_with('+')) s.remove_prefix(1);
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t from = i;
    while (i < s.size() && decimal(static_cast<unsigned char>(s[i]))) ++i;
    return i - from;
  };
  const bool whole = digits() > 0;
  if (i < s.size() && s[i] == '.') {
    ++i;
    if (digits() == 0 && !whole) return false;
  } else if (!whole) {
    return false;
  }
  if (i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    ++i;
    if (i < s.size() && (s[i] == '+' || s[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == s.size();
}

// As time.Parse reads the four layouts that the reader tries: fields of one digit or two, any digits of a fraction.
std::optional<std::string> yaml_time(std::string_view s) {
  const auto field = [&](std::size_t least, std::size_t most, int from, int to) {
    std::size_t n = 0;
    while (n < std::min(s.size(), most) && decimal(static_cast<unsigned char>(s[n]))) ++n;
    int value = -1;
    (void)std::from_chars(s.data(), s.data() + n, value);
    s.remove_prefix(n);
    return n >= least && value >= from && value <= to ? std::optional(value) : std::nullopt;
  };
  const auto one = [&](char c) {
    const bool there = s.starts_with(c);
    if (there) s.remove_prefix(1);
    return there;
  };
  const auto padded = [](int n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  std::string out(s.substr(0, 4));
  const auto year = field(4, 4, 0, 9999);
  if (!year || !one('-')) return std::nullopt;
  const auto month = field(1, 2, 1, 12);
  if (!month || !one('-')) return std::nullopt;
  const bool leap = (*year % 4 == 0 && *year % 100 != 0) || *year % 400 == 0;
  const int days = *month == 2 ? (leap ? 29 : 28) : *month == 4 || *month == 6 || *month == 9 || *month == 11 ? 30 : 31;
  const auto day = field(1, 2, 1, days);
  if (!day) return std::nullopt;
  out += "-" + padded(*month) + "-" + padded(*day) + "T";
  if (s.empty()) return out + "00:00:00Z";
  const bool spaced = s[0] == ' ';
  if (!spaced && s[0] != 'T' && s[0] != 't') return std::nullopt;
  do s.remove_prefix(1);
  while (spaced && s.starts_with(' '));
  const auto hour = field(1, 2, 0, 23);
  if (!hour || !one(':')) return std::nullopt;
  const auto minute = field(1, 2, 0, 59);
  if (!minute || !one(':')) return std::nullopt;
  const auto second = field(1, 2, 0, 59);
  if (!second) return std::nullopt;
  out += padded(*hour) + ":" + padded(*minute) + ":" + padded(*second);
  if (s.size() > 1 && (s[0] == '.' || s[0] == ',') && decimal(static_cast<unsigned char>(s[1]))) {
    const std::size_t end = std::min(s.find_first_not_of("0123456789", 1), s.size());
    std::string digits(s.substr(1, std::min<std::size_t>(end - 1, 9)));
    while (digits.ends_with('0')) digits.pop_back();
    if (!digits.empty()) out += "." + digits;
    s.remove_prefix(end);
  }
  if (spaced || s == "Z") return s.empty() || !spaced ? std::optional(out + "Z") : std::nullopt;
  const char sign = s.empty() ? ' ' : s[0];
  if (!one('+') && !one('-')) return std::nullopt;
  const auto hours = field(2, 2, 0, 24);
  if (!hours || !one(':')) return std::nullopt;
  const auto minutes = field(2, 2, 0, 60);
  if (!minutes || !s.empty()) return std::nullopt;
  const int offset = *hours * 60 + *minutes;
  return offset == 0 ? out + "Z" : out + sign + padded(offset / 60) + ":" + padded(offset % 60);
}

namespace {

// 1:20 was a number to the base 60 once.
bool sixty_like(std::string_view s) {
  if (s.starts_with('-') || s.starts_with('+')) s.remove_prefix(1);
  if (s.empty() || !decimal(static_cast<unsigned char>(s[0])) || s.find(':') == std::string_view::npos) return false;
  std::size_t i = 0;
  while (i < s.size() && (decimal(static_cast<unsigned char>(s[i])) || s[i] == '_')) ++i;
  bool any = false;
  while (i < s.size() && s[i] == ':') {
    std::size_t n = 0;
    const std::size_t from = ++i;
    while (i < s.size() && n < 2 && decimal(static_cast<unsigned char>(s[i]))) ++i, ++n;
    if (n == 0 || (n == 2 && s[from] > '5')) return false;
    any = true;
  }
  if (any && i < s.size() && s[i] == '.')
    for (++i; i < s.size() && (decimal(static_cast<unsigned char>(s[i])) || s[i] == '_');) ++i;
  return any && i == s.size();
}

// Would a reader take the plain text for something else than a string?
bool reads_as_other(std::string_view s) {
  static constexpr std::string_view old[] = {"y", "Y", "yes", "Yes", "YES", "on",  "On",  "ON",
                                             "n", "N", "no",  "No",  "NO",  "off", "Off", "OFF"};
  return std::ranges::find(old, s) != std::end(old) || sixty_like(s) || !yaml_plain_text(std::string(s));
}

// How a string may be written, from its characters.
struct Styles {
  bool plain = true;
  bool single = true;
  bool literal = true;
};

Styles styles_of(std::u32string_view s) {
  bool indicators = s.starts_with(U"---") || s.starts_with(U"...");
  bool special = false, tab = false, lines = false, edges = false, break_space = false, space_break = false;
  bool after_space = false, after_break = false, after_blank = true;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char32_t c = s[i];
    const bool before_blank = i + 1 == s.size() || blank(s[i + 1]);
    const bool edge = i == 0 || i + 1 == s.size();
    if (i == 0) {
      indicators |= std::u32string_view(U"#,[]{}&*!|>'\"%@`").find(c) != std::u32string_view::npos;
      indicators |= before_blank && (c == '?' || c == ':' || c == '-');
    } else {
      indicators |= (c == ':' && before_blank) || (c == '#' && after_blank);
    }
    if (!shown(c)) (c == '\t' ? tab : special) = true;
    if (c == ' ') {
      edges |= edge;
      break_space |= after_break;
    } else if (line_break(c)) {
      lines = true;
      edges |= edge;
      space_break |= after_space;
    }
    after_space = c == ' ';
    after_break = line_break(c);
    after_blank = blank(c);
  }
  Styles out;
  out.plain = !(indicators || edges || break_space || space_break || tab || special || lines);
  out.single = !(break_space || space_break || tab || special);
  out.literal = !s.empty() && !(s.back() == ' ' || space_break || special);
  return out;
}

void write_double(std::u32string_view s, std::string& out) {
  const bool marked = s.starts_with(U'\uFEFF');  // nothing behind a byte-order mark is shown
  out += '"';
  for (const char32_t c : s) {
    if (!marked && shown(c) && !line_break(c) && c != '"' && c != '\\') {
      append_utf8(out, c);
      continue;
    }
    out += '\\';
    static constexpr std::pair<char32_t, char> names[] = {
        {0, '0'},  {7, 'a'},   {8, 'b'},     {9, 't'},    {10, 'n'},   {11, 'v'},     {12, 'f'},    {13, 'r'},
        {27, 'e'}, {'"', '"'}, {'\\', '\\'}, {0x85, 'N'}, {0xA0, '_'}, {0x2028, 'L'}, {0x2029, 'P'}};
    const auto name = std::ranges::find(names, c, &std::pair<char32_t, char>::first);
    if (name != std::end(names)) {
      out += name->second;
      continue;
    }
    std::array<char, 12> room{};
    std::snprintf(room.data(), room.size(),
                  c <= 0xFF     ? "x%02X"
                  : c <= 0xFFFF ? "u%04X"
                                : "U%08X",
                  static_cast<unsigned>(c));
    out += room.data();
  }
  out += '"';
}

// Behind U+2028 and U+2029 the line begins at `indent`.
void write_single(std::u32string_view s, std::size_t indent, std::string& out) {
  bool fresh = false;
  out += '\'';
  for (const char32_t c : s) {
    if (fresh && c != ' ' && !line_break(c)) out.append(indent, ' ');
    if (c != ' ') fresh = line_break(c);
    if (c == '\'') out += '\'';
    append_utf8(out, c);
  }
  out += '\'';
}

// OPA writes JSON, reads that as YAML and writes what it has read: a string as it is then.
std::string as_read(std::string_view text, bool key) {
  if (std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x7F; }) &&
      (!key || text.size() < longest_read / 6))
    return std::string(text);
  std::string json;
  write_quoted(text, json, true);
  auto read = read_yaml(json, {.bytes = 8 * max_string_bytes});
  if (!read) throw Unwritable{"yaml: " + read.error().message};
  if (key && (code_points(json).size() > longest_read || text.contains("\xC2\x85")))
    throw Unwritable{"yaml: did not find expected ',' or '}'"};
  return std::move(read->nodes.front().value);
}

// Of text with line breaks; `indent` is where its lines begin.
void write_literal(std::u32string_view s, std::size_t indent, std::string& out) {
  out += '|';
  if (s[0] == ' ' || line_break(s[0])) out += '2';
  if (!line_break(s.back()))
    out += '-';
  else if (s.size() == 1 || line_break(s[s.size() - 2]))
    out += '+';
  out += '\n';
  bool fresh = true;
  for (const char32_t c : s) {
    if (line_break(c)) {
      append_utf8(out, c);
      fresh = true;
      continue;
    }
    if (fresh) out.append(indent, ' ');
    fresh = false;
    append_utf8(out, c);
  }
  if (!fresh) out += '\n';
}

// A string and the end of its line; as a key, no more than the string.
void write_text(std::string_view text, std::size_t indent, bool key, std::string& out) {
  const std::u32string s = code_points(text);
  const Styles styles = styles_of(s);
  const bool multiline = text.find('\n') != std::string_view::npos;
  if (multiline && styles.literal && !key) {
    write_literal(s, indent, out);
    return;
  }
  if (multiline || reads_as_other(text))
    write_double(s, out);
  else if (styles.plain)
    out += text;
  else if (styles.single)
    write_single(s, indent, out);
  else
    write_double(s, out);
  if (!key) out += '\n';
}

// Runs of digits as numbers, and letters after what is neither.
bool natural_less(std::u32string_view a, std::u32string_view b) {
  const auto letter = [](char32_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= 0xC0 && c != 0xD7 && c != 0xF7 && (c < 0x2000 || c > 0x2BFF));
  };
  bool digits = false;  // before here
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (a[i] == b[i]) {
      digits = decimal(a[i]);
      continue;
    }
    const bool x = letter(a[i]);
    const bool y = letter(b[i]);
    if (x && y) return a[i] < b[i];
    if (x || y) return digits ? x : y;
    std::uint64_t start = 0;
    if (a[i] == '0' || b[i] == '0')
      for (std::size_t k = i; k > 0 && decimal(a[k - 1]); --k)
        if (a[k - 1] != '0') start = 1;
    const auto run = [&](std::u32string_view s, std::size_t& end) {
      std::uint64_t n = start;
      for (end = i; end < s.size() && decimal(s[end]); ++end) n = n * 10 + (s[end] - '0');
      return n;
    };
    std::size_t p = 0;
    std::size_t q = 0;
    const std::uint64_t n = run(a, p);
    const std::uint64_t m = run(b, q);
    if (n != m) return n < m;
    return p != q ? p < q : a[i] < b[i];
  }
  return a.size() < b.size();
}

std::string number_of(const Value& v) {
  if (v.is_small()) return std::to_string(v.integer());
  const auto text = v.number_node()->text();
  std::uint64_t whole = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error == std::errc{} && stop == text.data() + text.size()) return std::string(text);
  const double d = v.number_node()->approximate;
  if (!std::isfinite(d)) return std::string(text);
  std::array<char, 400> room{};
  auto end = std::to_chars(room.data(), room.data() + room.size(), d, std::chars_format::scientific).ptr;
  const std::string s(room.data(), end);
  const int exponent = std::atoi(s.c_str() + s.find('e') + 1);
  if (exponent < -4 || exponent >= 6) return s;
  end = std::to_chars(room.data(), room.data() + room.size(), d, std::chars_format::fixed).ptr;
  return {room.data(), end};
}

void write_block(const Value& v, std::string& out, std::size_t indent, bool in_line) {
  if (out.size() > max_string_bytes) throw Stop{{ErrorCode::too_large, {}, "a string is longer than the limit"}};
  const bool list = v.is(Kind::array) || v.is(Kind::set);
  if (!v.is_collection() || v.size() == 0) {
    if (v.is(Kind::string)) {
      write_text(as_read(v.text(), false), std::max<std::size_t>(indent, 2), false, out);
      return;
    }
    if (v.is_collection())
      out += list ? "[]" : "{}";
    else if (v.is(Kind::number))
      out += number_of(v);
    else
      write_json(v, out, max_string_bytes);
    out += '\n';
    return;
  }
  if (list) {
    for (std::size_t i = 0; i < v.size(); ++i) {
      if (i > 0 || !in_line) out.append(indent, ' ');
      out += "- ";
      write_block(v.items()[i], out, indent + 2, true);
    }
    return;
  }
  struct Member {
    std::string name;
    std::u32string order;
    const Value* value;
  };
  std::vector<Member> members;
  for (std::size_t i = 0; i < v.size(); ++i) {
    Member m{{}, {}, &v.value(i)};
    if (v.key(i).is(Kind::string))
      m.name = v.key(i).text();
    else
      write_json(v.key(i), m.name, max_string_bytes);
    m.name = as_read(m.name, true);
    m.order = code_points(m.name);
    members.push_back(std::move(m));
  }
  std::ranges::stable_sort(members, natural_less, &Member::order);
  for (const Member& m : members) {
    if (&m != &members.front() || !in_line) out.append(indent, ' ');
    if (m.name.size() > longest_key || std::ranges::any_of(m.order, line_break)) {  // on lines of its own
      out += "? ";
      write_text(m.name, indent + 2, false, out);
      out.append(indent, ' ');
      out += ": ";
      write_block(*m.value, out, indent + 2, true);
      continue;
    }
    write_text(m.name, indent, true, out);
    const bool below = m.value->is_collection() && m.value->size() > 0;
    out += below ? ":\n" : ": ";
    write_block(*m.value, out, indent + 2, !below);
  }
}

}  // namespace

Value yaml_marshal(CallContext& c, std::span<const Value> a) {
  std::string out;
  try {
    write_block(a[0], out, 0, false);
  } catch (const Unwritable& e) {
    return c.fail(e.why);
  }
  c.charge(out.size() / 16);
  return c.arena.string(out);
}

}  // namespace cairn::policy
