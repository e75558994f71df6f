// Regular expressions (RE2) and globs.
#include <re2/re2.h>

#include <algorithm>
#include <set>

#include "base/encoding.h"
#include "policy/builtins.h"
#include "policy/number.h"
#include "policy/scratch.h"

namespace cairn::policy {

RegexCache::RegexCache() = default;
RegexCache::~RegexCache() = default;

namespace {

using Args = std::span<const Value>;
constexpr std::size_t most_patterns = 256;

// nullptr, with the reason in `problem`, where the pattern is not one.
const re2::RE2* compiled(CallContext& c, const std::string& pattern) {
  auto& all = c.regexes->patterns;
  if (const auto it = all.find(pattern); it != all.end()) return it->second.get();
  if (pattern.size() > max_regex_bytes) {
    (void)c.fail("the pattern is longer than the limit");
    return nullptr;
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(max_regex_memory);
  auto re = std::make_unique<re2::RE2>(pattern, options);
  c.charge(64 + pattern.size());
  if (!re->ok()) {
    (void)c.fail("error parsing regexp: " + re->error());
    return nullptr;
  }
  if (all.size() >= most_patterns) all.clear();
  return all.emplace(pattern, std::move(re)).first->second.get();
}

absl::string_view piece(std::string_view s) { return {s.data(), s.size()}; }

Value match(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  const auto* re = compiled(c, std::string(a[0].text()));
  return re == nullptr ? Value() : Value::boolean(re2::RE2::PartialMatch(piece(a[1].text()), *re));
}

Value is_valid(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return Value::boolean(false);
  const bool ok = compiled(c, std::string(a[0].text())) != nullptr;
  c.problem.clear();
  return Value::boolean(ok);
}

// All matches with their groups, as Go finds them: an empty match right after another is not one.
std::vector<std::vector<std::string_view>> all_matches(CallContext& c, const re2::RE2& re, std::string_view s,
                                                       std::int64_t limit) {
  std::vector<std::vector<std::string_view>> out;
  const auto groups = static_cast<std::size_t>(re.NumberOfCapturingGroups()) + 1;
  std::size_t at = 0;
  const char* last_end = nullptr;
  while (at <= s.size() && (limit < 0 || static_cast<std::int64_t>(out.size()) < limit)) {
    std::vector<absl::string_view> found(groups);
    c.charge(1 + (s.size() - at) / 16);
    if (!re.Match(piece(s), at, s.size(), re2::RE2::UNANCHORED, found.data(), static_cast<int>(groups))) break;
    std::vector<std::string_view> m;
    for (const auto& f : found)
      m.emplace_back(f.data() == nullptr ? std::string_view() : std::string_view(f.data(), f.size()));
    const auto from = static_cast<std::size_t>(m[0].data() - s.data());
    if (m[0].empty()) {
      const bool again = s.data() + from == last_end;
      at = from + 1;
      while (at < s.size() && (static_cast<unsigned char>(s[at]) & 0xC0) == 0x80) ++at;
      if (again) continue;
    } else {
      at = from + m[0].size();
    }
    last_end = m[0].data() + m[0].size();
    out.push_back(std::move(m));
  }
  return out;
}

Value regex_split(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  const auto* re = compiled(c, std::string(a[0].text()));
  if (re == nullptr) return {};
  const std::string_view s = a[1].text();
  std::vector<Value> out;
  std::size_t begin = 0;
  std::size_t end = 0;
  for (const auto& m : all_matches(c, *re, s, -1)) {
    end = static_cast<std::size_t>(m[0].data() - s.data());
    if (end + m[0].size() != 0) out.push_back(c.arena.string(s.substr(begin, end - begin)));
    begin = end + m[0].size();
  }
  if (end != s.size()) out.push_back(c.arena.string(s.substr(begin)));
  if (s.empty() && out.empty()) out.push_back(c.arena.string(""));
  return c.arena.array(out);
}

Value find_n(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  const auto n = a[2].is(Kind::number) ? to_int(a[2]) : std::nullopt;
  if (!n) return c.wrong(3, "number", a[2]);
  const auto* re = compiled(c, std::string(a[0].text()));
  if (re == nullptr) return {};
  std::vector<Value> out;
  for (const auto& m : all_matches(c, *re, a[1].text(), *n)) out.push_back(c.arena.string(m[0]));
  return c.arena.array(out);
}

Value find_all(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  const auto n = a[2].is(Kind::number) ? to_int(a[2]) : std::nullopt;
  if (!n) return c.wrong(3, "number", a[2]);
  const auto* re = compiled(c, std::string(a[0].text()));
  if (re == nullptr) return {};
  std::vector<Value> out;
  for (const auto& m : all_matches(c, *re, a[1].text(), *n)) {
    std::vector<Value> groups;
    for (const auto g : m) groups.push_back(c.arena.string(g));
    out.push_back(c.arena.array(groups));
  }
  return c.arena.array(out);
}

// $1, ${1}, $name and ${name} of a replacement; $$ is a dollar.
void expand(std::string_view by, const re2::RE2& re, const std::vector<std::string_view>& m, std::string& out) {
  const auto word = [](char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_';
  };
  for (std::size_t i = 0; i < by.size(); ++i) {
    if (by[i] != '$' || i + 1 >= by.size()) {
      out += by[i];
      continue;
    }
    if (by[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const bool brace = by[i + 1] == '{';
    std::size_t end = i + (brace ? 2 : 1);
    const std::size_t from = end;
    while (end < by.size() && word(by[end])) ++end;
    const auto name = by.substr(from, end - from);
    if (name.empty() || (brace && (end >= by.size() || by[end] != '}'))) {
      out += '$';
      continue;
    }
    if (std::ranges::all_of(name, [](char ch) { return ch >= '0' && ch <= '9'; })) {
      std::size_t n = 0;
      for (const char ch : name.substr(0, 6)) n = n * 10 + static_cast<std::size_t>(ch - '0');
      if (n < m.size()) out += m[n];
    } else if (const auto it = re.NamedCapturingGroups().find(std::string(name));
               it != re.NamedCapturingGroups().end()) {
      out += m[static_cast<std::size_t>(it->second)];
    }
    i = brace ? end : end - 1;
  }
}

Value regex_replace(CallContext& c, Args a) {
  if (!all_strings(c, a, 3)) return {};
  const auto* re = compiled(c, std::string(a[1].text()));
  if (re == nullptr) return {};
  const std::string_view s = a[0].text();
  std::string out;
  std::size_t at = 0;
  for (const auto& m : all_matches(c, *re, s, -1)) {
    const auto from = static_cast<std::size_t>(m[0].data() - s.data());
    out += s.substr(at, from - at);
    expand(a[2].text(), *re, m, out);
    at = from + m[0].size();
    if (out.size() > max_string_bytes) throw Stop{{ErrorCode::too_large, {}, "a string is longer than the limit"}};
  }
  out += s.substr(at);
  return c.arena.string(out);
}

Value template_match(CallContext& c, Args a) {
  if (!all_strings(c, a, 4)) return {};
  if (a[2].text().size() != 1 || a[3].text().size() != 1)
    return c.fail("delimiters have to be exactly one character long");
  const std::string_view t = a[0].text();
  const char open = a[2].text()[0];
  const char close = a[3].text()[0];
  std::string pattern = "^";
  int level = 0;
  std::size_t end = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    if (t[i] == open) {
      if (++level == 1) start = i;
    } else if (t[i] == close) {
      if (--level < 0) return c.fail("unbalanced braces");
      if (level == 0) {
        pattern += re2::RE2::QuoteMeta(piece(t.substr(end, start - end))) + "(" +
                   std::string(t.substr(start + 1, i - start - 1)) + ")";
        end = i + 1;
      }
    }
  }
  if (level != 0) return c.fail("unbalanced braces");
  pattern += re2::RE2::QuoteMeta(piece(t.substr(end))) + "$";
  const auto* re = compiled(c, pattern);
  return re == nullptr ? Value() : Value::boolean(re2::RE2::PartialMatch(piece(a[1].text()), *re));
}

// --- do two simple patterns (characters, ., [sets], with * or +) have a match in common?

struct PatternPiece {
  bool any = false;
  std::set<char32_t> set;
  char flag = 0;  // * + or none
};

bool pieces(std::string_view pattern, std::vector<PatternPiece>& out) {
  const std::u32string s = code_points(pattern);
  for (std::size_t i = 0; i < s.size();) {
    PatternPiece p;
    const auto literal = [&](char32_t& into) {
      if (s[i] == U'\\') {
        if (++i >= s.size()) return false;
      }
      into = s[i++];
      return true;
    };
    if (s[i] == U'*' || s[i] == U'+' || s[i] == U']' || s[i] == U'-') return false;
    if (s[i] == U'.') {
      p.any = true;
      ++i;
    } else if (s[i] == U'[') {
      ++i;
      while (i < s.size() && s[i] != U']') {
        char32_t from = 0;
        if (!literal(from)) return false;
        char32_t to = from;
        if (i + 1 < s.size() && s[i] == U'-' && s[i + 1] != U']') {
          ++i;
          if (!literal(to)) return false;
        }
        if (to < from || to - from > 10'000) return false;
        for (char32_t x = from; x <= to; ++x) p.set.insert(x);
      }
      if (i >= s.size() || p.set.empty()) return false;
      ++i;
    } else {
      char32_t x = 0;
      if (!literal(x)) return false;
      p.set.insert(x);
    }
    if (i < s.size() && (s[i] == U'*' || s[i] == U'+')) p.flag = static_cast<char>(s[i++]);
    out.push_back(std::move(p));
    if (out.size() > 512) return false;
  }
  return true;
}

Value globs_match(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  std::vector<PatternPiece> x, y;
  if (!pieces(a[0].text(), x) || !pieces(a[1].text(), y)) return c.fail("the input is not a simple pattern");
  std::set<std::pair<std::size_t, std::size_t>> seen;
  std::vector<std::pair<std::size_t, std::size_t>> open{{0, 0}};
  const auto meet = [](const PatternPiece& p, const PatternPiece& q) {
    if (p.any || q.any) return true;
    return std::ranges::any_of(p.set, [&](char32_t ch) { return q.set.contains(ch); });
  };
  while (!open.empty()) {
    const auto [i, j] = open.back();
    open.pop_back();
    if (!seen.insert({i, j}).second) continue;
    c.charge(1);
    if (i == x.size() && j == y.size()) return Value::boolean(true);
    if (i < x.size() && x[i].flag == '*') open.emplace_back(i + 1, j);
    if (j < y.size() && y[j].flag == '*') open.emplace_back(i, j + 1);
    if (i < x.size() && j < y.size() && meet(x[i], y[j])) {
      open.emplace_back(i + 1, j + 1);
      if (x[i].flag != 0) open.emplace_back(i, j + 1);
      if (y[j].flag != 0) open.emplace_back(i + 1, j);
    }
  }
  return Value::boolean(false);
}

// --- globs: *, **, ?, [a-z], [!abc], {one,other}; * and ? do not cross delimiters

std::string class_of(const std::u32string& characters, bool negated) {
  std::string out = negated ? "[^" : "[";
  for (const char32_t ch : characters) {
    if (ch < 128) out += '\\';
    if (ch < 128 && ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9'))) out.pop_back();
    append_utf8(out, ch);
  }
  return out + "]";
}

bool glob_pattern(std::u32string_view g, const std::u32string& delimiters, std::string& out) {
  const std::string one = delimiters.empty() ? "(?s:.)" : "(?s:" + class_of(delimiters, true) + ")";
  int depth = 0;
  out = "^(?:";
  for (std::size_t i = 0; i < g.size(); ++i) {
    switch (g[i]) {
      case U'*': {
        std::size_t n = 0;
        while (i + n < g.size() && g[i + n] == U'*') ++n;
        out += n > 1 ? "(?s:.*)" : one + "*";
        i += n - 1;
        break;
      }
      case U'?': out += one; break;
      case U'{':
        ++depth;
        out += "(?:";
        break;
      case U'}':
        if (depth == 0) {
          out += "\\}";
          break;
        }
        --depth;
        out += ")";
        break;
      case U',': out += depth > 0 ? "|" : ","; break;
      case U'[': {
        ++i;
        const bool negated = i < g.size() && g[i] == U'!';
        if (negated) ++i;
        std::string set = negated ? "[^" : "[";
        const auto add = [&](char32_t ch) {
          if (ch < 128 && !((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')))
            set += '\\';
          append_utf8(set, ch);
        };
        if (i + 1 < g.size() &&
            g[i + 1] == U'-') {  // a range, of whatever stands around the first dash, and nothing else
          if (i + 3 >= g.size() || g[i + 3] != U']' || g[i + 2] < g[i]) return false;
          add(g[i]);
          set += '-';
          add(g[i + 2]);
          i += 3;
        } else {
          const std::size_t first = i;
          for (; i < g.size() && g[i] != U']'; ++i) {
            if (g[i] == U'\\') ++i;
            if (i >= g.size()) return false;
            add(g[i]);
          }
          if (i >= g.size() || i == first) return false;
        }
        out += set + "]";
        break;
      }
      case U'\\':
        if (i + 1 >= g.size()) return false;
        ++i;
        [[fallthrough]];
      default: {
        std::string ch;
        append_utf8(ch, g[i]);
        out += re2::RE2::QuoteMeta(ch);
      }
    }
  }
  out += ")$";
  return depth == 0;
}

Value glob_match(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  if (!a[2].is(Kind::string)) return c.wrong(3, "string", a[2]);
  std::u32string delimiters;
  if (a[1].is(Kind::array)) {
    for (const Value& d : a[1].items()) {
      if (!d.is(Kind::string)) return c.fail("operand 2 must be array of single-character strings");
      const auto ch = code_points(d.text());
      if (ch.size() != 1) return c.fail("operand 2 must be array of single-character strings");
      delimiters += ch;
    }
    if (delimiters.empty()) delimiters = U".";
  } else if (!a[1].is(Kind::null)) {
    return c.wrong(2, "one of {array, null}", a[1]);
  }
  c.charge(a[2].text().size() / 8);
  std::string pattern;
  if (!glob_pattern(code_points(a[0].text()), delimiters, pattern)) return c.fail("the glob pattern is malformed");
  const auto* re = compiled(c, pattern);
  return re == nullptr ? Value() : Value::boolean(re2::RE2::PartialMatch(piece(a[2].text()), *re));
}

Value quote_meta(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  std::string out;
  for (const char ch : a[0].text()) {
    if (std::string_view("*?\\[]{}").find(ch) != std::string_view::npos) out += '\\';
    out += ch;
  }
  return c.arena.string(out);
}

}  // namespace

std::span<const Entry> regex_builtins() {
  static constexpr Entry all[] = {
      {"regex.match", match},
      {"re_match", match},
      {"regex.is_valid", is_valid},
      {"regex.split", regex_split},
      {"regex.find_n", find_n},
      {"regex.find_all_string_submatch_n", find_all},
      {"regex.replace", regex_replace},
      {"regex.template_match", template_match},
      {"regex.globs_match", globs_match},
      {"glob.match", glob_match},
      {"glob.quote_meta", quote_meta},
  };
  return all;
}

}  // namespace cairn::policy
