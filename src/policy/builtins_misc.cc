// Versions, units, UUIDs, randomness, URIs and templates.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/encoding.h"
#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

bool digits(std::string_view s) {
  return std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; });
}

std::pair<std::string_view, std::string_view> cut(std::string_view s, char at) {
  const auto i = s.find(at);
  return i == std::string_view::npos ? std::pair(s, std::string_view()) : std::pair(s.substr(0, i), s.substr(i + 1));
}

// --- semantic versions

struct Version {
  std::int64_t number[3] = {};
  std::string_view pre;
};

bool identifiers(std::string_view s, bool numbers_strict) {
  if (s.empty()) return false;
  for (;;) {
    const auto dot = s.find('.');
    const auto id = s.substr(0, dot);
    if (id.empty()) return false;
    for (const char c : id)
      if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-')) return false;
    if (numbers_strict && id.size() > 1 && id[0] == '0' && digits(id)) return false;
    if (dot == std::string_view::npos) return true;
    s.remove_prefix(dot + 1);
  }
}

std::optional<Version> version(std::string_view s) {
  Version v;
  if (s.starts_with('v')) s.remove_prefix(1);
  if (const auto plus = s.find('+'); plus != std::string_view::npos) {
    if (!identifiers(s.substr(plus + 1), false)) return std::nullopt;
    s = s.substr(0, plus);
  }
  if (const auto dash = s.find('-'); dash != std::string_view::npos) {
    v.pre = s.substr(dash + 1);
    if (!identifiers(v.pre, true)) return std::nullopt;
    s = s.substr(0, dash);
  }
  if (std::ranges::count(s, '.') != 2) return std::nullopt;
  for (auto& n : v.number) {
    const auto [part, rest] = cut(s, '.');
    if (part.empty() || !digits(part) || (part.size() > 1 && part[0] == '0')) return std::nullopt;
    if (std::from_chars(part.data(), part.data() + part.size(), n).ec != std::errc{}) return std::nullopt;
    s = rest;
  }
  return v;
}

int compare_pre(std::string_view a, std::string_view b) {
  if (a == b) return 0;
  if (a.empty()) return 1;
  if (b.empty()) return -1;
  for (;;) {
    const auto [x, ra] = cut(a, '.');
    const auto [y, rb] = cut(b, '.');
    const bool nx = digits(x);
    const bool ny = digits(y);
    if (nx != ny) return nx ? -1 : 1;
    int c = 0;
    if (nx && x.size() != y.size())
      c = x.size() < y.size() ? -1 : 1;
    else
      c = x.compare(y);
    if (c != 0) return c < 0 ? -1 : 1;
    if (ra.empty() != rb.empty()) return ra.empty() ? -1 : 1;
    if (ra.empty()) return 0;
    a = ra;
    b = rb;
  }
}

Value semver_compare(CallContext& c, Args a) {
  for (int i = 0; i < 2; ++i)
    if (!a[static_cast<std::size_t>(i)].is(Kind::string))
      return c.wrong(i + 1, "string", a[static_cast<std::size_t>(i)]);
  const auto x = version(a[0].text());
  const auto y = version(a[1].text());
  if (!x || !y) return c.fail("operand " + std::string(x ? "2" : "1") + ": string is not a valid SemVer");
  for (std::size_t i = 0; i < 3; ++i)
    if (x->number[i] != y->number[i]) return Value::integer(x->number[i] < y->number[i] ? -1 : 1);
  return Value::integer(compare_pre(x->pre, y->pre));
}
Value semver_is_valid(CallContext&, Args a) {
  return Value::boolean(a[0].is(Kind::string) && version(a[0].text()).has_value());
}

// --- units

bool amount(CallContext& c, const Value& v, bool lower, std::string& number, std::string& unit) {
  if (!v.is(Kind::string)) {
    (void)c.wrong(1, "string", v);
    return false;
  }
  std::string s;
  for (const char ch : v.text())
    if (ch != '"') s += lower && ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch + 32) : ch;
  const auto digit = [&](std::size_t i) { return i < s.size() && s[i] >= '0' && s[i] <= '9'; };
  std::size_t end = s.size();
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char ch = s[i];
    const bool e = ch == 'e' || ch == 'E';
    if (!digit(i) && ch != '.' && !e && ch != '+' && ch != '-') {
      end = i;
      break;
    }
    if (e) {
      if (!(digit(i + 1) || (i + 1 < s.size() && (s[i + 1] == '+' || s[i + 1] == '-')))) {
        end = i;
        break;
      }
      if (s[i + 1] == '+' || s[i + 1] == '-') ++i;
      std::size_t k = i + 1;
      while (digit(k)) ++k;
      if (k - i - 1 > 6) return (void)c.fail("exponent too large"), false;
    }
  }
  if (s.find(' ') != std::string::npos) return (void)c.fail("spaces not allowed in resource strings"), false;
  number = s.substr(0, end);
  unit = s.substr(end);
  if (number.empty()) return (void)c.fail("no amount provided"), false;
  return true;
}

// The number as Go's big parsers take it: ".5" and "5." too.
std::optional<Value> go_number(CallContext& c, std::string s) {
  if (s.starts_with('+')) s.erase(0, 1);
  const std::size_t sign = s.starts_with('-') ? 1 : 0;
  if (s.size() > sign && s[sign] == '.') s.insert(sign, "0");
  const auto e = s.find_first_of("eE");
  std::string mantissa = s.substr(0, e);
  if (mantissa.ends_with('.')) mantissa.pop_back();
  const std::size_t from = mantissa.starts_with('-') ? 1 : 0;
  while (mantissa.size() > from + 1 && mantissa[from] == '0' && mantissa[from + 1] != '.') mantissa.erase(from, 1);
  s = mantissa + (e == std::string::npos ? "" : s.substr(e));
  if (!is_number_text(s)) return std::nullopt;
  return c.arena.number(s);
}

std::optional<Value> power_unit(CallContext& c, std::string_view unit, bool bytes) {
  static constexpr std::string_view letters = "kmgtpe";
  if (unit.empty()) return Value::integer(1);
  std::string u(unit);
  if (bytes && u.size() > 1 && u.ends_with('b')) u.pop_back();
  const bool binary = u.size() == 2 && u[1] == 'i';
  if (u.size() > 2 || (u.size() == 2 && !binary)) return std::nullopt;
  const char letter = u[0] >= 'A' && u[0] <= 'Z' ? static_cast<char>(u[0] + 32) : u[0];
  const auto at = letters.find(letter);
  if (at == std::string_view::npos) return std::nullopt;
  std::int64_t n = 1;
  for (std::size_t i = 0; i <= at; ++i) n *= binary ? 1024 : 1000;
  (void)c;
  return Value::integer(n);
}

// a × b exactly, both as decimal texts; at most ten digits after the point, as OPA writes it.
Value exact_product(CallContext& c, const Value& a, const Value& b) {
  const std::string s = number_text(a);
  const auto e = s.find_first_of("eE");
  const auto dot = s.find('.');
  std::int64_t scale = 0;
  if (e != std::string::npos) {
    const char* from = s.data() + e + 1 + (s[e + 1] == '+' ? 1 : 0);
    std::from_chars(from, s.data() + s.size(), scale);
  }
  std::string mantissa = s.substr(0, e);
  if (dot != std::string::npos) {
    scale -= static_cast<std::int64_t>(mantissa.size() - dot - 1);
    mantissa.erase(dot, 1);
  }
  const bool negative = mantissa.starts_with('-');
  if (negative) mantissa.erase(0, 1);
  mantissa.erase(0, std::min(mantissa.find_first_not_of('0'), mantissa.size() - 1));
  const Value product = arithmetic(Arithmetic::times, c.arena.number(mantissa), b, c.arena, c.problem);
  std::string text = number_text(product);
  if (scale >= 0) {
    if (text != "0") text.append(static_cast<std::size_t>(std::min<std::int64_t>(scale, max_number_digits + 1)), '0');
    return c.arena.number((negative && text != "0" ? "-" : "") + text);
  }
  const auto places = static_cast<std::size_t>(std::min<std::int64_t>(-scale, max_number_digits));
  if (text.size() <= places) text.insert(0, places - text.size() + 1, '0');
  std::string whole = text.substr(0, text.size() - places);
  std::string fraction = text.substr(text.size() - places);
  if (fraction.find_first_not_of('0') == std::string::npos)
    return c.arena.number((negative && whole != "0" ? "-" : "") + whole);
  if (fraction.size() > 10) {  // round half away from zero
    const bool up = fraction[10] >= '5';
    std::string kept = whole + fraction.substr(0, 10);
    if (up)
      kept = number_text(arithmetic(Arithmetic::plus,
                                    c.arena.number(kept.substr(std::min(kept.find_first_not_of('0'), kept.size() - 1))),
                                    Value::integer(1), c.arena, c.problem));
    if (kept.size() < 11) kept.insert(0, 11 - kept.size(), '0');
    whole = kept.substr(0, kept.size() - 10);
    fraction = kept.substr(kept.size() - 10);
  }
  fraction.resize(10, '0');
  const auto lead = std::min(whole.find_first_not_of('0'), whole.size() - 1);
  return c.arena.number((negative ? "-" : "") + whole.substr(lead) + "." + fraction);
}

Value units_parse(CallContext& c, Args a) {
  std::string number, unit;
  if (!amount(c, a[0], false, number, unit)) return {};
  const auto n = go_number(c, number);
  for (std::size_t i = 1; i < unit.size(); ++i)
    if (unit[i] >= 'A' && unit[i] <= 'Z') unit[i] = static_cast<char>(unit[i] + 32);
  if (unit == "m") {
    if (!n) return c.fail("could not parse amount to a number");
    std::string text = number_text(*n);
    const auto e = text.find_first_of("eE");
    int exponent = 0;
    if (e != std::string::npos) {
      const char* from = text.data() + e + 1 + (text[e + 1] == '+' ? 1 : 0);
      std::from_chars(from, text.data() + text.size(), exponent);
      text.resize(e);
    }
    return exact_product(c, c.arena.number(text + "e" + std::to_string(exponent - 3)), Value::integer(1));
  }
  const auto by = power_unit(c, unit, false);
  if (!by) return c.fail("unit not recognized: " + unit);
  if (!n) return c.fail("could not parse amount to a number");
  return exact_product(c, *n, *by);
}

Value units_parse_bytes(CallContext& c, Args a) {
  std::string number, unit;
  if (!amount(c, a[0], true, number, unit)) return {};
  const auto by = power_unit(c, unit, true);
  if (!by) return c.fail("byte unit not recognized: " + unit);
  const auto n = go_number(c, number);
  if (!n) return c.fail("could not parse byte amount to a number");
  return from_long_double(std::trunc(to_long_double(*n) * to_long_double(*by)), c.arena);
}

// --- randomness: a stream of bytes derived from the seed

std::uint64_t next_random(CallContext& c) {
  std::uint64_t& s = *c.random_state;
  if (s == 0) {
    s = 0x9e3779b97f4a7c15ULL;
    for (const char ch : c.options.seed) s = (s ^ static_cast<unsigned char>(ch)) * 0x100000001b3ULL;
  }
  s += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = s;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

Value once(CallContext& c, const std::string& key, const std::function<Value()>& make) {
  if (c.options.seed.empty()) return c.fail("no randomness was given to the evaluation");
  if (const auto it = c.memo->find(key); it != c.memo->end()) return it->second;
  const Value v = make();
  c.memo->emplace(key, v);
  return v;
}

Value rand_intn(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  const auto n = a[1].is(Kind::number) ? to_int(a[1]) : std::nullopt;
  if (!n) return c.wrong(2, "number", a[1]);
  if (*n == 0) return Value::integer(0);
  const auto limit = static_cast<std::uint64_t>(*n < 0 ? -(*n + 1) : *n - 1) + 1;
  return once(c, "intn " + std::to_string(limit) + " " + std::string(a[0].text()),
              [&] { return Value::integer(static_cast<std::int64_t>(next_random(c) % limit)); });
}

Value uuid_new(CallContext& c, Args a) {
  std::string key = "uuid ";
  write_rego(a[0], key, max_string_bytes);
  return once(c, key, [&] {
    Bytes b(16);
    for (std::size_t i = 0; i < 16; i += 8) {
      const std::uint64_t r = next_random(c);
      for (std::size_t k = 0; k < 8; ++k) b[i + k] = static_cast<std::uint8_t>(r >> (8 * k));
    }
    b[6] = static_cast<std::uint8_t>((b[6] & 0x0F) | 0x40);
    b[8] = static_cast<std::uint8_t>((b[8] & 0x3F) | 0x80);
    std::string h = hex(b);
    for (const std::size_t at : {20U, 16U, 12U, 8U}) h.insert(at, "-");
    return c.arena.string(h);
  });
}

Value uuid_parse(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  std::string_view s = a[0].text();
  const auto prefix = s.substr(0, 9);
  std::string lower(prefix);
  std::ranges::transform(lower, lower.begin(),
                         [](char ch) { return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch + 32) : ch; });
  if (s.size() == 45 && lower == "urn:uuid:")
    s.remove_prefix(9);
  else if (s.size() == 38)
    s = s.substr(1, 36);
  std::string plain;
  if (s.size() == 36) {
    for (std::size_t i = 0; i < 36; ++i) {
      const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
      if (dash != (s[i] == '-')) return {};
      if (!dash) plain += s[i];
    }
  } else if (s.size() == 32) {
    plain = std::string(s);
  } else {
    return {};
  }
  const auto b = from_hex(plain);
  if (!b) return {};
  const auto& u = *b;
  const int version = u[6] >> 4;
  std::vector<Pair> out;
  const auto put = [&](std::string_view k, const Value& v) { out.emplace_back(c.arena.string(k), v); };
  put("version", Value::integer(version));
  const auto top = u[8];
  put("variant", c.arena.string((top & 0xC0) == 0x80   ? "RFC4122"
                                : (top & 0xE0) == 0xC0 ? "Microsoft"
                                : (top & 0xE0) == 0xE0 ? "Future"
                                                       : "Reserved"));
  if (version == 1 || version == 2) {
    const auto be = [&](std::size_t from, std::size_t n) {
      std::uint64_t x = 0;
      for (std::size_t i = 0; i < n; ++i) x = x << 8 | u[from + i];
      return x;
    };
    const std::uint64_t ticks = be(0, 4) | be(4, 2) << 32 | (be(6, 2) & 0x0FFF) << 48;
    // Since 1970 in nanoseconds; as in OPA, times past 2262 wrap.
    put("time", Value::integer(static_cast<std::int64_t>((ticks - 122'192'928'000'000'000U) * 100)));
    std::string node;
    for (std::size_t i = 10; i < 16; ++i) node += (i > 10 ? "-" : "") + hex({&u[i], 1});
    put("nodeid", c.arena.string(node));
    const bool local = (u[10] & 2) != 0;
    put("macvariables",
        c.arena.string(std::string(local ? "local" : "global") + ((u[10] & 1) != 0 ? ":multicast" : ":unicast")));
    put("clocksequence", Value::integer(static_cast<std::int64_t>(be(8, 2) & 0x3FFF)));
    if (version == 2) {
      put("id", Value::integer(static_cast<std::int64_t>(be(0, 4))));
      static constexpr std::string_view domains[] = {"Person", "Group", "Org"};
      put("domain", c.arena.string(u[9] < 3 ? std::string(domains[u[9]]) : "Domain" + std::to_string(u[9])));
    }
  }
  return c.arena.object(out);
}

// --- URIs (RFC 3986, as Go's net/url reads them)

struct Uri {
  std::string scheme, user, password, host, port, path, query, fragment, opaque;
  bool has_user = false, has_password = false, has_query = false, has_fragment = false;
};

// What may stand unescaped between // and @.
bool user_info_ok(std::string_view s) {
  return std::ranges::all_of(s, [](char ch) {
    return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
           std::string_view("-._:~!$&'()*+,;=%@").find(ch) != std::string_view::npos;
  });
}

// In a host only bytes outside of ASCII may be escaped.
bool host_escapes_ok(std::string_view s) {
  for (std::size_t i = s.find('%'); i != std::string_view::npos; i = s.find('%', i + 1))
    if (i + 1 < s.size() && s[i + 1] < '8' && !s.substr(i).starts_with("%25")) return false;
  return true;
}

// A path as Go escapes it.
std::string escaped_path(std::string_view s) {
  std::string out;
  for (const char ch : s) {
    const bool plain = (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
                       std::string_view("-_.~$&+,/:;=@").find(ch) != std::string_view::npos;
    static constexpr std::string_view digit = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(ch);
    if (plain)
      out += ch;
    else
      out.append({'%', digit[byte >> 4], digit[byte & 15]});
  }
  return out;
}

bool percent_ok(std::string_view s) {
  for (std::size_t i = 0; i < s.size(); ++i) {
    const auto ch = static_cast<unsigned char>(s[i]);
    if (ch < 0x20 || ch == 0x7F) return false;
    if (s[i] != '%') continue;
    if (i + 2 >= s.size() || !from_hex(s.substr(i + 1, 2))) return false;
    i += 2;
  }
  return true;
}

std::optional<Uri> parse_uri(std::string_view s) {
  Uri u;
  if (s.empty()) return std::nullopt;
  for (const char ch : s)
    if (static_cast<unsigned char>(ch) < 0x20 || ch == 0x7F) return std::nullopt;
  if (const auto hash = s.find('#'); hash != std::string_view::npos) {
    u.fragment = std::string(s.substr(hash + 1));
    u.has_fragment = true;
    if (!percent_ok(u.fragment)) return std::nullopt;
    s = s.substr(0, hash);
  }
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char ch = s[i];
    const bool letter = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
    if (letter) continue;
    if ((ch >= '0' && ch <= '9') || ch == '+' || ch == '-' || ch == '.') {
      if (i == 0) break;
      continue;
    }
    if (ch != ':') break;
    if (i == 0) return std::nullopt;
    u.scheme = std::string(s.substr(0, i));
    std::ranges::transform(u.scheme, u.scheme.begin(),
                           [](char x) { return x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x; });
    s.remove_prefix(i + 1);
    break;
  }
  if (const auto q = s.find('?'); q != std::string_view::npos) {
    u.query = std::string(s.substr(q + 1));
    u.has_query = true;
    s = s.substr(0, q);
  }
  if (!s.starts_with('/')) {
    if (!u.scheme.empty()) {
      u.opaque = std::string(s);
      return u;
    }
    if (const auto colon = s.substr(0, s.find('/')).find(':'); colon != std::string_view::npos) return std::nullopt;
  }
  if (s.starts_with("//") && (!u.scheme.empty() || !s.starts_with("///"))) {
    s.remove_prefix(2);
    auto authority = s.substr(0, s.find('/'));
    s = s.size() > authority.size() ? s.substr(authority.size()) : std::string_view();
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
      const auto info = authority.substr(0, at);
      if (!percent_ok(info) || !user_info_ok(info)) return std::nullopt;
      const auto [name, password] = cut(info, ':');
      u.has_user = true;
      u.user = percent_decode(name).value_or(std::string(name));
      u.has_password = info.find(':') != std::string_view::npos;
      u.password = percent_decode(password).value_or(std::string(password));
      authority = authority.substr(at + 1);
    }
    std::string_view port;
    if (authority.starts_with('[')) {
      const auto close = authority.rfind(']');
      if (close == std::string_view::npos) return std::nullopt;
      port = authority.substr(close + 1);
      u.host = std::string(authority.substr(1, close - 1));
    } else {
      const auto colon = authority.rfind(':');
      u.host = std::string(authority.substr(0, colon));
      port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
      if (u.host.find_first_of(" \\^`{|}[:") != std::string::npos) return std::nullopt;
      if (!percent_ok(u.host) || !host_escapes_ok(u.host)) return std::nullopt;
    }
    if (!port.empty()) {
      if (port[0] != ':' || !digits(port.substr(1))) return std::nullopt;
      u.port = std::string(port.substr(1));
    }
  }
  if (!percent_ok(s)) return std::nullopt;
  u.path = std::string(s);
  return u;
}

Value uri_is_valid(CallContext&, Args a) {
  return Value::boolean(a[0].is(Kind::string) && parse_uri(a[0].text()).has_value());
}

Value uri_parse(CallContext& c, Args a) {
  if (!a[0].is(Kind::string)) return c.wrong(1, "string", a[0]);
  if (a[0].text().empty()) return c.arena.object({});
  const auto u = parse_uri(a[0].text());
  if (!u) return c.fail("the URI is malformed");
  std::vector<Pair> out;
  const auto put = [&](std::string_view k, const std::string& v) {
    if (!v.empty()) out.emplace_back(c.arena.string(k), c.arena.string(v));
  };
  put("scheme", u->scheme);
  put("hostname", percent_decode(u->host).value_or(u->host));
  put("port", u->port);
  const std::string path = percent_decode(u->path).value_or(u->path);
  put("path", path);
  put("raw_path", escaped_path(path) == u->path ? path : u->path);  // as Go: only where escaping was the author's
  put("raw_query", u->query);
  put("fragment", percent_decode(u->fragment).value_or(u->fragment));
  return c.arena.object(out);
}

}  // namespace

Value uri_fields(CallContext& c, std::string_view text) {
  const auto u = parse_uri(text);
  if (!u) return {};
  const std::string path = percent_decode(u->path).value_or(u->path);
  std::string host = percent_decode(u->host).value_or(u->host);
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  if (!u->port.empty()) host += ":" + u->port;
  std::vector<Pair> out;
  const auto put = [&](std::string_view k, const Value& v) { out.emplace_back(c.arena.string(k), v); };
  put("Scheme", c.arena.string(u->scheme));
  put("Opaque", c.arena.string(u->opaque));
  put("User", u->has_user ? c.arena.object({}) : Value::null());
  put("Host", c.arena.string(host));
  put("Path", c.arena.string(path));
  put("RawPath", c.arena.string(escaped_path(path) == u->path ? "" : u->path));
  put("OmitHost", Value::boolean(!u->scheme.empty() && u->path.starts_with('/') &&
                                 !text.substr(u->scheme.size()).starts_with("://")));
  put("ForceQuery", Value::boolean(u->has_query && u->query.empty()));
  put("RawQuery", c.arena.string(u->query));
  put("Fragment", c.arena.string(percent_decode(u->fragment).value_or(u->fragment)));
  put("RawFragment", c.arena.string(""));
  return c.arena.object(out);
}

std::span<const Entry> misc_builtins() {
  static constexpr Entry all[] = {
      {"semver.compare", semver_compare}, {"semver.is_valid", semver_is_valid},
      {"units.parse", units_parse},       {"units.parse_bytes", units_parse_bytes},
      {"rand.intn", rand_intn},           {"uuid.rfc4122", uuid_new},
      {"uuid.parse", uuid_parse},         {"uri.is_valid", uri_is_valid},
      {"uri.parse", uri_parse},
  };
  return all;
}

}  // namespace cairn::policy
