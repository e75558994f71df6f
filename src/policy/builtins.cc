#include "policy/builtins.h"

#include <array>

#include "base/encoding.h"
#include "policy/signatures.h"

namespace cairn::policy {
namespace {

int count_arguments(std::string_view types) {
  const auto arrow = types.rfind("->");
  const auto args = types.substr(0, arrow);
  if (args.empty()) return 0;
  int n = 1;
  int depth = 0;
  for (const char c : args) {
    if (c == '(' || c == '[' || c == '{' || c == '<') ++depth;
    if (c == ')' || c == ']' || c == '}' || c == '>') --depth;
    if (c == ',' && depth == 0) ++n;
  }
  return n;
}

using Registry = std::unordered_map<std::string_view, Builtin>;

Registry make_registry() {
  Registry all;
  for (const auto& s : signatures()) {
    Builtin b;
    b.name = std::string(s.name);
    b.types = s.types;
    b.arity = s.name == "print" ? 1'000'000 : count_arguments(s.types);
    b.deprecated = s.flags.find('d') != std::string_view::npos;
    b.relation = s.flags.find('r') != std::string_view::npos;
    b.is_void = s.types.ends_with("->");
    all.emplace(s.name, std::move(b));
  }
  const std::array families{core_builtins(),   string_builtins(),   regex_builtins(), collection_builtins(),
                            object_builtins(), encoding_builtins(), time_builtins(),  crypto_builtins(),
                            x509_builtins(),   jwt_builtins(),      net_builtins(),   misc_builtins(),
                            schema_builtins()};
  for (const auto& family : families)
    for (const auto& e : family)
      if (const auto it = all.find(e.name); it != all.end()) it->second.fn = e.fn;
  return all;
}

}  // namespace

const Builtin* find_builtin(std::string_view name) {
  static const Registry all = make_registry();
  const auto it = all.find(name);
  return it == all.end() ? nullptr : &it->second;
}

bool all_strings(CallContext& c, std::span<const Value> arguments, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (!arguments[i].is(Kind::string)) {
      (void)c.wrong(static_cast<int>(i + 1), "string", arguments[i]);
      return false;
    }
    c.charge(arguments[i].text().size() / 8 + 8);
  }
  return true;
}

Value CallContext::wrong(int n, std::string_view must, const Value& got) const {
  problem = "operand " + std::to_string(n) + " must be " + std::string(must) + " but got " +
            std::string(type_name(got.kind()));
  return {};
}

void CallContext::charge(std::uint64_t n) const {
  instructions += n;
  if (instructions >= options.limits.instructions)
    throw Stop{{ErrorCode::too_large, {}, "the evaluation needs more instructions than its limit"}};
  // A built-in's own work counts towards the next poll of the deadline; long work asks at once.
  if (n > 4096 && options.expired && options.expired())
    throw Stop{{ErrorCode::timed_out, {}, "the evaluation passed its deadline"}};
}

// Strings of values are valid UTF-8, except results of base64.decode and the like: broken bytes become U+FFFD.
std::u32string code_points(std::string_view s) {
  std::u32string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    std::size_t n = c < 0x80 ? 1 : c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;
    if (c >= 0xF5) n = 0;
    char32_t v = n == 1 ? c : n == 2 ? c & 0x1FU : n == 3 ? c & 0x0FU : c & 0x07U;
    bool ok = n != 0 && i + n <= s.size();
    for (std::size_t k = 1; ok && k < n; ++k) {
      const auto d = static_cast<unsigned char>(s[i + k]);
      ok = (d & 0xC0) == 0x80;
      v = (v << 6) | (d & 0x3FU);
    }
    if (ok && ((n == 3 && (v < 0x800 || (v >= 0xD800 && v < 0xE000))) || (n == 4 && (v < 0x10000 || v > 0x10FFFF))))
      ok = false;
    out += ok ? v : char32_t{0xFFFD};
    i += ok ? n : 1;
  }
  return out;
}

std::string utf8(std::u32string_view s) {
  std::string out;
  out.reserve(s.size());
  for (const char32_t c : s) append_utf8(out, c);
  return out;
}

}  // namespace cairn::policy
