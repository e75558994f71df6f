// IP networks. Addresses are 16 bytes; IPv4 is held as ::ffff:a.b.c.d with its own prefix length.
#include <algorithm>
#include <array>
#include <optional>

#include "policy/builtins.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;
using Address = std::array<std::uint8_t, 16>;

struct Ip {
  Address bytes{};
  bool v4 = false;  // written as IPv4
  [[nodiscard]] bool mapped() const {
    return std::all_of(bytes.begin(), bytes.begin() + 10, [](auto b) { return b == 0; }) && bytes[10] == 0xFF &&
           bytes[11] == 0xFF;
  }
};
struct Net {
  Ip ip;
  int prefix = 0;  // of 32 where ip.v4, of 128 otherwise
  [[nodiscard]] int bits() const { return ip.v4 ? 96 + prefix : prefix; }
};

std::optional<int> decimal(std::string_view s, int most) {
  if (s.empty() || s.size() > 3 || (s.size() > 1 && s[0] == '0')) return std::nullopt;
  int n = 0;
  for (const char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + (c - '0');
  }
  return n <= most ? std::optional(n) : std::nullopt;
}

std::optional<Ip> parse_v4(std::string_view s) {
  Ip ip;
  ip.v4 = true;
  ip.bytes[10] = ip.bytes[11] = 0xFF;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto dot = s.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return std::nullopt;
    const auto n = decimal(s.substr(0, dot), 255);
    if (!n) return std::nullopt;
    ip.bytes[12 + i] = static_cast<std::uint8_t>(*n);
    s = dot == std::string_view::npos ? std::string_view() : s.substr(dot + 1);
  }
  return ip;
}

std::optional<Ip> parse_v6(std::string_view s) {
  std::vector<std::uint16_t> groups;
  std::optional<std::size_t> gap;
  if (s.starts_with("::")) {
    gap = 0;
    s.remove_prefix(2);
  }
  while (!s.empty()) {
    if (groups.size() > 8) return std::nullopt;
    const auto colon = s.find(':');
    const auto part = s.substr(0, colon);
    if (part.find('.') != std::string_view::npos && colon == std::string_view::npos) {
      const auto v4 = parse_v4(part);
      if (!v4) return std::nullopt;
      groups.push_back(static_cast<std::uint16_t>(v4->bytes[12] << 8 | v4->bytes[13]));
      groups.push_back(static_cast<std::uint16_t>(v4->bytes[14] << 8 | v4->bytes[15]));
      s = {};
      break;
    }
    if (part.empty() || part.size() > 4) return std::nullopt;
    unsigned n = 0;
    for (const char c : part) {
      const int d = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
      if (d < 0) return std::nullopt;
      n = n * 16 + static_cast<unsigned>(d);
    }
    groups.push_back(static_cast<std::uint16_t>(n));
    if (colon == std::string_view::npos) break;
    s.remove_prefix(colon + 1);
    if (s.starts_with(':')) {
      if (gap) return std::nullopt;
      gap = groups.size();
      s.remove_prefix(1);
    } else if (s.empty()) {
      return std::nullopt;
    }
  }
  if (groups.size() > 8 || (!gap && groups.size() != 8) || (gap && groups.size() == 8)) return std::nullopt;
  if (gap) groups.insert(groups.begin() + static_cast<std::ptrdiff_t>(*gap), 8 - groups.size(), 0);
  Ip ip;
  for (std::size_t i = 0; i < 8; ++i) {
    ip.bytes[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8);
    ip.bytes[2 * i + 1] = static_cast<std::uint8_t>(groups[i] & 0xFF);
  }
  return ip;
}

std::optional<Ip> parse_ip(std::string_view s) {
  return s.find(':') == std::string_view::npos ? parse_v4(s) : parse_v6(s);
}

Address masked(Address a, int bits) {
  for (int i = 0; i < 16; ++i) {
    const int keep = std::clamp(bits - 8 * i, 0, 8);
    a[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(a[static_cast<std::size_t>(i)] & (0xFF << (8 - keep)));
  }
  return a;
}
Address last_of(const Net& n) {
  Address a = n.ip.bytes;
  for (int i = 0; i < 16; ++i) {
    const int keep = std::clamp(n.bits() - 8 * i, 0, 8);
    a[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(a[static_cast<std::size_t>(i)] | (0xFF >> keep));
  }
  return a;
}

std::optional<Net> parse_net(std::string_view s) {
  const auto slash = s.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto ip = parse_ip(s.substr(0, slash));
  if (!ip) return std::nullopt;
  auto mask = s.substr(slash + 1);
  while (mask.size() > 1 && mask[0] == '0') mask.remove_prefix(1);
  const auto prefix = decimal(mask, ip->v4 ? 32 : 128);
  if (!prefix) return std::nullopt;
  Net n{*ip, *prefix};
  n.ip.bytes = masked(ip->bytes, n.bits());
  return n;
}

bool contains(const Net& n, const Address& a, bool a_is_v4) {
  const bool mapped = n.ip.v4 || n.ip.mapped();
  if (mapped != a_is_v4) return false;
  return masked(a, n.bits()) == n.ip.bytes;
}

std::string text(const Address& a, bool v4) {
  if (v4)
    return std::to_string(a[12]) + "." + std::to_string(a[13]) + "." + std::to_string(a[14]) + "." +
           std::to_string(a[15]);
  std::array<unsigned, 8> g{};
  for (std::size_t i = 0; i < 8; ++i) g[i] = static_cast<unsigned>(a[2 * i] << 8 | a[2 * i + 1]);
  std::size_t best = 8, length = 1;  // the longest run of zeros, at least two
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t n = 0;
    while (i + n < 8 && g[i + n] == 0) ++n;
    if (n > length) {
      best = i;
      length = n;
    }
  }
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += length - 1;
      continue;
    }
    if (!out.empty() && !out.ends_with(':')) out += ':';
    std::array<char, 8> room{};
    std::snprintf(room.data(), room.size(), "%x", g[i]);
    out += room.data();
  }
  return out;
}

std::optional<Net> net_operand(CallContext& c, const Value& v, int n) {
  if (!v.is(Kind::string)) {
    (void)c.wrong(n, "string", v);
    return std::nullopt;
  }
  auto net = parse_net(v.text());
  if (!net) (void)c.fail("invalid CIDR address: " + std::string(v.text()));
  return net;
}

// Does `a` contain the address or network written in b? nullopt where that is neither.
std::optional<bool> contains_text(const Net& a, std::string_view b) {
  if (const auto ip = parse_ip(b)) return contains(a, ip->bytes, ip->v4 || ip->mapped());
  const auto n = parse_net(b);
  if (!n) return std::nullopt;
  if (!a.ip.v4 && !a.ip.mapped() && !n->ip.v4 && !n->ip.mapped())
    return a.prefix <= n->prefix && masked(n->ip.bytes, a.bits()) == a.ip.bytes;
  const bool v4 = n->ip.v4 || n->ip.mapped();
  return contains(a, n->ip.bytes, v4) && contains(a, last_of(*n), v4);
}

Value cidr_contains(CallContext& c, Args a) {
  const auto net = net_operand(c, a[0], 1);
  if (!net) return {};
  if (!a[1].is(Kind::string)) return c.wrong(2, "string", a[1]);
  const auto r = contains_text(*net, a[1].text());
  return r ? Value::boolean(*r)
           : c.fail("not a valid textual representation of an IP address or CIDR: " + std::string(a[1].text()));
}

Value cidr_intersects(CallContext& c, Args a) {
  const auto x = net_operand(c, a[0], 1);
  const auto y = x ? net_operand(c, a[1], 2) : std::nullopt;
  if (!x || !y) return {};
  return Value::boolean(contains(*x, y->ip.bytes, y->ip.v4 || y->ip.mapped()) ||
                        contains(*y, x->ip.bytes, x->ip.v4 || x->ip.mapped()));
}

Value cidr_is_valid(CallContext&, Args a) {
  return Value::boolean(a[0].is(Kind::string) && parse_net(a[0].text()).has_value());
}

Value cidr_expand(CallContext& c, Args a) {
  const auto net = net_operand(c, a[0], 1);
  if (!net) return {};
  const int host = 128 - net->bits();
  if (host > 20) throw Stop{{ErrorCode::too_large, {}, "net.cidr_expand makes more addresses than the limit"}};
  std::vector<Value> out;
  Address at = net->ip.bytes;
  for (std::uint64_t i = 0; i < (1ULL << host); ++i) {
    c.charge(2);
    out.push_back(c.arena.string(text(at, net->ip.v4)));
    for (std::size_t k = 16; k-- > 0;)
      if (++at[k] != 0) break;
  }
  return c.arena.set(out);
}

// Networks with their index: strings by themselves, arrays by position, sets by element, objects by key.
bool indexed(CallContext& c, const Value& v, int n, std::vector<std::pair<Value, Value>>& out) {
  const auto one = [&](const Value& x, const Value& index) {
    if (x.is(Kind::string)) {
      out.emplace_back(x, index);
      return true;
    }
    if (x.is(Kind::array) && x.size() > 0) {
      out.emplace_back(x.items()[0], index);
      return true;
    }
    (void)c.fail("operand " + std::to_string(n) + ": element must be string or non-empty array");
    return false;
  };
  if (v.is(Kind::string)) {
    out.emplace_back(v, v);
    return true;
  }
  for (std::size_t i = 0; v.is_collection() && i < v.size(); ++i) {
    const bool object = v.is(Kind::object);
    const Value index = object            ? v.key(i)
                        : v.is(Kind::set) ? v.items()[i]
                                          : Value::integer(static_cast<std::int64_t>(i));
    if (!one(object ? v.value(i) : v.items()[i], index)) return false;
  }
  return true;
}

Value cidr_contains_matches(CallContext& c, Args a) {
  std::vector<std::pair<Value, Value>> x, y;
  if (!indexed(c, a[0], 1, x) || !indexed(c, a[1], 2, y)) return {};
  std::vector<Value> out;
  for (const auto& [nv, ni] : x) {
    const auto net = y.empty() ? std::optional<Net>() : net_operand(c, nv, 1);
    if (!net) {
      if (y.empty()) continue;
      return {};
    }
    for (const auto& [v, i] : y) {
      c.charge(1);
      if (!v.is(Kind::string)) return c.wrong(2, "string", v);
      const auto r = contains_text(*net, v.text());
      if (!r) return c.fail("not a valid textual representation of an IP address or CIDR");
      const Value pair[2] = {ni, i};
      if (*r) out.push_back(c.arena.array(pair));
    }
  }
  return c.arena.set(out);
}

int leading(const Address& a, const Address& b) {  // bits in common
  for (int i = 0; i < 128; ++i) {
    const auto k = static_cast<std::size_t>(i / 8);
    if (((a[k] ^ b[k]) >> (7 - i % 8)) & 1) return i;
  }
  return 128;
}

// The fewest networks that cover first to last.
void cover(Address first, const Address& last, bool v4, std::vector<Net>& out) {
  const int lowest = v4 ? 96 : 0;
  for (;;) {
    int bits = 128;
    while (bits > lowest) {  // the widest block that starts here and ends in time
      Net wider;
      wider.ip = {masked(first, bits - 1), v4};
      wider.prefix = v4 ? bits - 1 - 96 : bits - 1;
      if (wider.ip.bytes != first || last_of(wider) > last) break;
      --bits;
    }
    Net n;
    n.ip = {first, v4};
    n.prefix = v4 ? bits - 96 : bits;
    out.push_back(n);
    first = last_of(n);
    if (first >= last || leading(first, last) == 128) return;
    for (std::size_t k = 16; k-- > 0;)
      if (++first[k] != 0) break;
  }
}

Value cidr_merge(CallContext& c, Args a) {
  if (!a[0].is(Kind::array) && !a[0].is(Kind::set)) return c.fail("operand must be an array");
  struct Range {
    Address first, last;
    bool v4;
  };
  std::vector<Range> ranges;
  for (const Value& v : a[0].items()) {
    if (!v.is(Kind::string)) return c.fail("element must be string");
    std::optional<Net> n;
    if (const auto ip = parse_ip(v.text())) {
      if (!ip->v4 && !ip->mapped()) return c.fail("IPv6 invalid: needs prefix length");
      const auto top = ip->bytes[12];  // the class of the address decides
      n = Net{{ip->bytes, true}, top < 128 ? 8 : top < 192 ? 16 : 24};
      if (top >= 224) return c.fail("the address has no default mask");
      n->ip.bytes = masked(ip->bytes, n->bits());
    } else {
      n = parse_net(v.text());
    }
    if (!n) return c.fail("invalid CIDR address: " + std::string(v.text()));
    ranges.push_back({n->ip.bytes, last_of(*n), n->ip.v4});
    c.charge(4);
  }
  std::ranges::sort(ranges, [](const Range& x, const Range& y) {
    return std::tie(x.v4, x.first, x.last) < std::tie(y.v4, y.first, y.last);
  });
  std::vector<Range> merged;
  for (const Range& r : ranges) {
    if (!merged.empty() && merged.back().v4 == r.v4) {
      Address next = merged.back().last;
      bool wrapped = true;
      for (std::size_t k = 16; k-- > 0;)
        if (++next[k] != 0) {
          wrapped = false;
          break;
        }
      if (wrapped || r.first <= next) {
        merged.back().last = std::max(merged.back().last, r.last);
        continue;
      }
    }
    merged.push_back(r);
  }
  std::vector<Net> nets;
  for (const Range& r : merged) cover(r.first, r.last, r.v4, nets);
  std::vector<Value> out;
  for (const Net& n : nets) out.push_back(c.arena.string(text(n.ip.bytes, n.ip.v4) + "/" + std::to_string(n.prefix)));
  return c.arena.set(out);
}

}  // namespace

std::string ip_text(std::string_view bytes) {
  Address a{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), a.size()), a.end() - static_cast<std::ptrdiff_t>(bytes.size()));
  const bool mapped = bytes.size() == 16 && bytes.starts_with(std::string_view("\0\0\0\0\0\0\0\0\0\0\xFF\xFF", 12));
  return text(a, bytes.size() == 4 || mapped);
}

std::span<const Entry> net_builtins() {
  static constexpr Entry all[] = {
      {"net.cidr_contains", cidr_contains},     {"net.cidr_overlap", cidr_contains},
      {"net.cidr_intersects", cidr_intersects}, {"net.cidr_is_valid", cidr_is_valid},
      {"net.cidr_expand", cidr_expand},         {"net.cidr_contains_matches", cidr_contains_matches},
      {"net.cidr_merge", cidr_merge},
  };
  return all;
}

}  // namespace cairn::policy
