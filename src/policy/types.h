// Types of Rego terms as OPA's type checker sees them, so that the same policies are refused. A type is an immutable
// node; nullptr is "unknown". Types are bounded: what nests deeper or has more alternatives than that is any.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/value.h"

namespace cairn::policy {

// In the order in which alternatives are sorted.
enum class TypeKind : std::uint8_t { null, boolean, number, string, array, object, set, any, function };

struct Type {
  TypeKind kind = TypeKind::any;
  bool unknown = false;            // somewhere inside is an unknown type (not looked for inside alternatives)
  std::uint16_t depth = 0;         // of types inside each other
  std::vector<const Type*> parts;  // array: fixed elements; function: arguments; any: alternatives (none: everything)
  const Type* rest = nullptr;      // array: further elements; set: elements; function: result
  std::vector<std::pair<Value, const Type*>> members;  // object: fixed, sorted by key
  bool open = false;                                   // object: has further members,
  const Type* more_keys = nullptr;                     //   of these keys
  const Type* more_values = nullptr;                   //   and values

  [[nodiscard]] bool anything() const { return kind == TypeKind::any && parts.empty(); }
  // A collection that can hold nothing.
  [[nodiscard]] bool hollow() const {
    return (kind == TypeKind::object && members.empty() && !open) ||
           (kind == TypeKind::array && parts.empty() && rest == nullptr) || (kind == TypeKind::set && rest == nullptr);
  }
};
using TypeRef = const Type*;
[[nodiscard]] inline bool unknown(TypeRef t) { return t == nullptr || t->unknown; }

// Makes types and compares them. Work past a limit ends with Stop (too_large).
class Types {
 public:
  Types();

  [[nodiscard]] TypeRef scalar(Kind kind) const;  // of null, boolean, number, string
  [[nodiscard]] TypeRef any() const { return any_; }
  [[nodiscard]] TypeRef array(std::vector<TypeRef> fixed, TypeRef rest);
  [[nodiscard]] TypeRef set(TypeRef of);
  // Of equal keys the last counts. With keys and values, known or not, an object that has further members.
  [[nodiscard]] TypeRef object(std::vector<std::pair<Value, TypeRef>> members);
  [[nodiscard]] TypeRef object(std::vector<std::pair<Value, TypeRef>> members, TypeRef keys, TypeRef values);
  [[nodiscard]] TypeRef function(std::vector<TypeRef> arguments, TypeRef result);
  [[nodiscard]] TypeRef parse(std::string_view signature);  // "s,n->b" (signatures.cc)
  [[nodiscard]] TypeRef of(const Value& v);                 // sets as arrays

  [[nodiscard]] TypeRef either(TypeRef a, TypeRef b);
  // What one name is that has both: sets and objects become one, functions too.
  [[nodiscard]] TypeRef merged(TypeRef a, TypeRef b);
  // `object` with a member at `path` added to what is not fixed.
  [[nodiscard]] TypeRef with_member(TypeRef object, std::span<const TypeRef> path, TypeRef value);
  [[nodiscard]] int compare(TypeRef a, TypeRef b);
  [[nodiscard]] bool unifies(TypeRef a, TypeRef b);  // may be equal
  [[nodiscard]] TypeRef select(TypeRef t, const Value& key);
  [[nodiscard]] TypeRef keys(TypeRef t);
  [[nodiscard]] TypeRef values(TypeRef t);
  [[nodiscard]] static std::string text(TypeRef t);
  void restart() { steps_ = 0; }  // counts work anew

 private:
  [[nodiscard]] TypeRef made(Type t);
  [[nodiscard]] TypeRef parse_one(std::string_view& s);
  [[nodiscard]] bool contains(TypeRef a, TypeRef b);
  [[nodiscard]] TypeRef alternatives(TypeRef a, TypeRef b);
  [[nodiscard]] bool unifies_alternative(TypeRef any, TypeRef t);
  void step(std::size_t n = 1);

  std::deque<Type> all_;
  Arena keys_;  // of signatures
  TypeRef scalars_[4];
  TypeRef any_;
  std::uint64_t steps_ = 0;
};

}  // namespace cairn::policy
