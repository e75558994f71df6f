// The functions that policies may call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "policy/policy.h"
#include "policy/value.h"

namespace cairn::policy {

struct RegexCache;

// What a call gets to work with. A function that cannot answer sets `problem` and returns undefined.
struct CallContext {
  Arena& arena;
  std::string& problem;
  const EvalOptions& options;
  std::uint64_t& instructions;  // charge long work here
  RegexCache* regexes;
  std::uint64_t* random_state;
  std::unordered_map<std::string, Value>* memo;  // uuid.rfc4122 and rand.intn give one answer per argument

  [[nodiscard]] Value fail(std::string what) const {
    problem = std::move(what);
    return {};
  }
  // "eval_type_error" of OPA: operand `n` (from 1) has the wrong type.
  [[nodiscard]] Value wrong(int n, std::string_view must, const Value& got) const;
  void charge(std::uint64_t n) const;
};

// An array or a set.
[[nodiscard]] inline bool is_list(const Value& v) { return v.is(Kind::array) || v.is(Kind::set); }
// Whether the first `n` arguments are strings; charges for their length, or sets the problem of the first that is not.
[[nodiscard]] bool all_strings(CallContext& c, std::span<const Value> arguments, std::size_t n);

using BuiltinFn = Value (*)(CallContext&, std::span<const Value>);

struct Builtin {
  std::string name;
  std::string_view types;  // "s,s->b", see types.cc; of host functions "any,…->any"
  int arity = 0;
  BuiltinFn fn = nullptr;  // nullptr: known but not supported, unless host or special
  bool deprecated = false;
  bool host = false;
  bool is_void = false;   // print
  bool relation = false;  // walk
};

// Null where the name is unknown.
[[nodiscard]] const Builtin* find_builtin(std::string_view name);

// One table per family, linked into the list by builtins.cc.
struct Entry {
  std::string_view name;
  BuiltinFn fn;
};
[[nodiscard]] std::span<const Entry> core_builtins();  // comparison, numbers, bits, types, casts
[[nodiscard]] std::span<const Entry> string_builtins();
[[nodiscard]] std::span<const Entry> regex_builtins();  // regex and glob
[[nodiscard]] std::span<const Entry> collection_builtins();
[[nodiscard]] std::span<const Entry> object_builtins();  // objects, JSON paths and patches
[[nodiscard]] std::span<const Entry> encoding_builtins();
[[nodiscard]] std::span<const Entry> time_builtins();
[[nodiscard]] std::span<const Entry> crypto_builtins();
[[nodiscard]] std::span<const Entry> x509_builtins();
[[nodiscard]] std::span<const Entry> jwt_builtins();
[[nodiscard]] std::span<const Entry> net_builtins();
[[nodiscard]] std::span<const Entry> misc_builtins();  // semver, units, uuid, graph, rand, templates
[[nodiscard]] std::span<const Entry> schema_builtins();

[[nodiscard]] Value sprintf(CallContext& c, std::span<const Value> arguments);
[[nodiscard]] Value yaml_marshal(CallContext& c, std::span<const Value> arguments);
[[nodiscard]] Value yaml_unmarshal(CallContext& c, std::span<const Value> arguments);
[[nodiscard]] Value yaml_is_valid(CallContext& c, std::span<const Value> arguments);
// What Go's url.URL holds of a URI; undefined where it is none.
[[nodiscard]] Value uri_fields(CallContext& c, std::string_view text);
// An address of 4 or 16 bytes as Go writes it.
[[nodiscard]] std::string ip_text(std::string_view bytes);
// Decoded UTF-8 helpers shared by the families.
[[nodiscard]] std::u32string code_points(std::string_view s);
[[nodiscard]] std::string utf8(std::u32string_view s);
// Base64 as OPA reads it; `url`: the other alphabet, padding optional.
[[nodiscard]] bool decode_base64(std::string_view in, bool url, std::string& out);

}  // namespace cairn::policy
