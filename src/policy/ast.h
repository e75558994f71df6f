// The tree of a policy text, as parsed and as the compiler rewrites it. Nodes live in an AstPool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "policy/policy.h"
#include "policy/value.h"

namespace cairn::policy {

// Interned name of a variable.
using Symbol = const std::string*;

struct Location {
  std::uint32_t file = 0;  // index of the source
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::uint32_t offset = 0;
};

struct Expr;
using Body = std::vector<Expr*>;

enum class TermKind : std::uint8_t { scalar, var, ref, array, object, set, array_of, object_of, set_of, call, text };

// var: name. ref: items[0] is its head, the rest its path (scalar strings for dots). call: items[0] is the operator (a
// ref or var). object: keys and values in turn. array_of/set_of: items[0] | body. object_of: items[0]: items[1] | body.
// text (a template string): parts.
struct Term {
  TermKind kind = TermKind::scalar;
  bool wildcard = false;  // var written `_`
  bool grouped = false;   // was in parentheses
  bool raw = false;       // raw (multi-line) string or template
  Location loc;
  Symbol name = nullptr;
  Value value;
  std::vector<Term*> items;
  Body body;
};

struct With {
  Location loc;
  Term* target = nullptr;
  Term* value = nullptr;
};

// term: items[0]. call: items[0] the operator, then operands (and outputs). some: items are vars, or one member call.
// every: items = {key or nullptr, value, domain}, body. not_: body. and_/or_: left, right.
enum class ExprKind : std::uint8_t { term, call, some, every, not_, and_, or_ };

struct Expr {
  ExprKind kind = ExprKind::term;
  bool negated = false;  // v1's `not`: of one literal
  bool generated = false;
  bool assigned = false;       // was written with :=
  bool explicit_body = false;  // not { … }; left operand of and/or in braces
  bool explicit_right = false;
  Location loc;
  std::vector<Term*> items;
  std::vector<With> with;
  Body body;  // also the left operand
  Body right;
};

enum class HeadKind : std::uint8_t { complete, set, object };

struct Rule {
  Location loc;
  bool is_default = false;
  bool generated_body = false;
  bool assign = false;  // := rather than =
  bool uses_if = false;
  bool uses_contains = false;
  bool function = false;
  bool legacy_key = false;  // v0 p[x]
  bool implicit_value = false;
  std::vector<Term*> ref;  // head: ref[0] is a var term
  std::vector<Term*> args;
  Term* key = nullptr;  // of `contains` and of v0 p[x]
  Term* value = nullptr;
  Body body;
  Rule* otherwise = nullptr;  // else
  std::uint32_t module = 0;
  std::uint32_t end_offset = 0;
};

struct Import {
  Location loc;
  std::vector<std::string> path;
  std::string alias;
  [[nodiscard]] const std::string& name() const { return alias.empty() ? path.back() : alias; }
};

struct Comment {
  Location loc;
  std::string text;  // without the #
};

struct Module {
  std::uint32_t file = 0;
  Location package_loc;
  std::vector<std::string> package;  // without "data"
  std::vector<Import> imports;
  std::vector<Rule*> rules;
  bool v1 = true;
  bool not_bodies = false;
};

// Elements that stay where they are, in ever larger blocks.
template <class T>
class Blocks {
 public:
  T& add() {
    if (blocks_.empty() || blocks_.back().size() == blocks_.back().capacity()) {
      const std::size_t size = blocks_.empty() ? 32 : std::min<std::size_t>(2 * blocks_.back().size(), 512);
      blocks_.emplace_back().reserve(size);
    }
    return blocks_.back().emplace_back();
  }

 private:
  std::vector<std::vector<T>> blocks_;
};

class AstPool {
 public:
  AstPool() = default;
  AstPool(const AstPool&) = delete;
  AstPool& operator=(const AstPool&) = delete;

  [[nodiscard]] Symbol symbol(std::string_view name) {
    const auto it = names_.find(name);
    return it != names_.end() ? &*it : &*names_.emplace(name).first;
  }
  // Names that no text can hold.
  [[nodiscard]] Symbol fresh() { return made('~'); }
  [[nodiscard]] Symbol wildcard() { return made('$'); }
  [[nodiscard]] Term* term(TermKind kind, Location loc) {
    Term& t = terms_.add();
    t.kind = kind;
    t.loc = loc;
    return &t;
  }
  [[nodiscard]] Term* scalar(Value v, Location loc) {
    Term* t = term(TermKind::scalar, loc);
    t->value = v;
    return t;
  }
  [[nodiscard]] Term* string(std::string_view s, Location loc) { return scalar(constants.string(s), loc); }
  [[nodiscard]] Term* var(Symbol name, Location loc) {
    Term* t = term(TermKind::var, loc);
    t->name = name;
    return t;
  }
  [[nodiscard]] Expr* expr(ExprKind kind, Location loc) {
    Expr& e = exprs_.add();
    e.kind = kind;
    e.loc = loc;
    return &e;
  }
  [[nodiscard]] Rule* rule(Location loc) {
    Rule& r = rules_.add();
    r.loc = loc;
    return &r;
  }
  [[nodiscard]] Term* copy(const Term* t);
  [[nodiscard]] Expr* copy(const Expr* e);
  [[nodiscard]] Body copy(const Body& b);

  [[nodiscard]] bool knows(std::string_view name) const { return names_.contains(name); }

  Arena constants;         // values of literals; outlives the tree inside the Program
  bool templates = false;  // some text has template strings

 private:
  [[nodiscard]] Symbol made(char first) {
    std::string& name = made_.add();
    name = first + std::to_string(next_++);
    return &name;
  }
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  std::unordered_set<std::string, Hash, std::equal_to<>> names_;
  Blocks<std::string> made_;
  Blocks<Term> terms_;
  Blocks<Expr> exprs_;
  Blocks<Rule> rules_;
  std::size_t next_ = 0;
};

// "data.a["b-c"][x]" and so on, as Rego writes it.
[[nodiscard]] std::string to_text(const Term* t);
[[nodiscard]] std::string to_text(const Expr* e);
[[nodiscard]] bool is_identifier(std::string_view s);
// Operator name of a call: "data.a.f", "count"; "" where it is not a plain path.
[[nodiscard]] std::string operator_name(const Term* op);
// "+" for "plus" and so on; "" for what is not an infix operator.
[[nodiscard]] std::string_view infix_of(std::string_view builtin);
[[nodiscard]] std::string path_text(const std::vector<std::string>& path);

}  // namespace cairn::policy
