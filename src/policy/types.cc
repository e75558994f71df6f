// Types, as sets of kinds: refuses comparisons that cannot hold and calls that cannot succeed. Knows less than it could
// about what is inside of collections, so that it never refuses what may succeed.
#include <algorithm>

#include "policy/compiler.h"

namespace cairn::policy {
namespace {

using Kinds = std::uint16_t;  // one bit per Kind
constexpr Kinds bit(Kind k) { return static_cast<Kinds>(1U << static_cast<unsigned>(k)); }
constexpr Kinds any = bit(Kind::null) | bit(Kind::boolean) | bit(Kind::number) | bit(Kind::string) | bit(Kind::array) |
                      bit(Kind::object) | bit(Kind::set);

std::string text(Kinds k) {
  if ((k & any) == any) return "any";
  std::string out;
  for (const Kind x : {Kind::null, Kind::boolean, Kind::number, Kind::string, Kind::array, Kind::object, Kind::set})
    if ((k & bit(x)) != 0) out += (out.empty() ? "" : " or ") + std::string(type_name(x));
  return out;
}

// The kinds of one type of signatures.cc.
Kinds kinds_of(std::string_view type) {
  switch (type.empty() ? 'a' : type[0]) {
    case 'b': return bit(Kind::boolean);
    case 'n': return bit(Kind::number);
    case 's': return bit(Kind::string);
    case 'z': return bit(Kind::null);
    case '[': return bit(Kind::array);
    case '{': return bit(Kind::object);
    case '<': return bit(Kind::set);
    case '(': {
      Kinds out = 0;
      int depth = 0;
      for (std::size_t i = 0, from = 1; i < type.size(); ++i) {
        const char c = type[i];
        const bool opens = c == '(' || c == '[' || c == '{' || c == '<';
        const bool closes = c == ')' || c == ']' || c == '}' || c == '>';
        depth += opens ? 1 : 0;
        if ((c == '|' && depth == 1) || (closes && depth == 1)) {
          out |= kinds_of(type.substr(from, i - from));
          from = i + 1;
        }
        depth -= closes ? 1 : 0;
      }
      return out;
    }
    default: return any;
  }
}

struct Shape {
  std::vector<Kinds> arguments;
  Kinds result = any;
};

Shape shape_of(const Builtin& b) {
  Shape s;
  if (b.host || b.types.starts_with("...")) {
    s.arguments.assign(b.host ? static_cast<std::size_t>(b.arity) : 0, any);
    return s;
  }
  const auto arrow = b.types.rfind("->");
  s.result = kinds_of(b.types.substr(arrow + 2));
  int depth = 0;
  for (std::size_t i = 0, from = 0; i <= arrow; ++i) {
    const char c = b.types[i];
    if (i == arrow || (c == ',' && depth == 0)) {
      if (i > from) s.arguments.push_back(kinds_of(b.types.substr(from, i - from)));
      from = i + 1;
    }
    if (c == '(' || c == '[' || c == '{' || c == '<') ++depth;
    if (c == ')' || c == ']' || c == '}' || (c == '>' && i > 0 && b.types[i - 1] != '-')) --depth;
  }
  return s;
}

class Checker {
 public:
  Checker(Compiler& c, std::vector<Diagnostic>& errors) : c_(c), errors_(errors) {}

  void rules() {
    for (Rule* r : c_.rule_order())
      for (Rule* x = r; x != nullptr; x = x->otherwise) {
        env_.clear();
        body(x->body);
        Kinds& t = values_[node_of(x)];
        if (x->key != nullptr && x->ref.size() == below(x))
          t |= bit(Kind::set);
        else if (x->ref.size() > below(x))
          t |= bit(Kind::object);
        else if (x->value != nullptr)
          t |= term(x->value);
      }
  }
  void query(const Body& b) {
    rules_quietly();
    body(b);
  }

 private:
  using Env = std::unordered_map<Symbol, Kinds>;

  // Types of rules are needed for queries too; their own problems were told when they were compiled.
  void rules_quietly() {
    std::vector<Diagnostic> ignored;
    Checker inner(c_, ignored);
    inner.rules();
    values_ = std::move(inner.values_);
  }

  std::size_t package_size(const Rule* r) const {
    for (const auto& m : c_.modules())
      if (m.file == r->module) return m.package.size();
    return 0;
  }
  // How many terms of the rule's reference lead to its node.
  std::size_t below(const Rule* r) const {
    std::size_t n = 1;
    while (n < r->ref.size() && r->ref[n]->kind == TermKind::scalar) ++n;
    return n;
  }
  const TreeNode* node_of(const Rule* r) const {
    const TreeNode* n = &c_.tree();
    for (const auto& m : c_.modules())
      if (m.file == r->module)
        for (const auto& part : m.package) n = n->children.find(part)->second.get();
    n = n->children.find(*r->ref[0]->name)->second.get();
    for (std::size_t i = 1; i < below(r); ++i) n = n->child(r->ref[i]->value);
    return n;
  }

  void error(Location loc, std::string message) {
    Diagnostic d;
    d.file = c_.file(loc);
    d.line = loc.line;
    d.column = loc.column;
    d.code = "rego_type_error";
    d.message = std::move(message);
    if (errors_.size() < 50) errors_.push_back(std::move(d));
  }

  void body(const Body& b) {
    for (const Expr* e : b) expr(e);
  }
  void nested(const Body& b) {
    const Env saved = env_;
    body(b);
    env_ = saved;
  }

  void expr(const Expr* e) {
    for (const auto& w : e->with) (void)term(w.value);
    switch (e->kind) {
      case ExprKind::term: (void)term(e->items[0]); break;
      case ExprKind::call: call(e); break;
      case ExprKind::every:
        (void)term(e->items[2]);
        nested(e->body);
        break;
      case ExprKind::some: break;
      default: nested(e->body); nested(e->right);
    }
  }

  void call(const Expr* e) {
    if (is_call_of(e, "eq") && e->items.size() == 3) {
      const Kinds a = term(e->items[1]);
      const Kinds b = term(e->items[2]);
      if ((a & b) == 0) error(e->loc, "match error: " + text(a) + " never equals " + text(b));
      learn(e->items[1], b);
      learn(e->items[2], a);
      return;
    }
    const Builtin* b = c_.builtin(e->items[0]);
    const TreeNode* f = b == nullptr ? c_.function(e->items[0]) : nullptr;
    Shape s;
    if (b != nullptr) s = shape_of(*b);
    if (f != nullptr) s.result = value_of(f);
    const auto arity = static_cast<std::size_t>(std::max(0, c_.arity(e->items[0])));
    for (std::size_t i = 1; i < e->items.size() && i <= arity; ++i) {
      const Kinds given = term(e->items[i]);
      if (i <= s.arguments.size() && (given & s.arguments[i - 1]) == 0)
        error(e->loc, operator_name(e->items[0]) + ": argument " + std::to_string(i) + " is " + text(given) +
                          ", wanted " + text(s.arguments[i - 1]));
    }
    if (e->items.size() == arity + 2) {
      const Kinds out = term(e->items.back());
      if ((out & s.result) == 0) error(e->loc, "match error: " + text(out) + " never equals " + text(s.result));
      learn(e->items.back(), s.result);
    }
  }

  // What a variable is, the first time something is known of it.
  void learn(const Term* t, Kinds k) {
    if (t->kind == TermKind::var) env_.emplace(t->name, k);
  }

  Kinds value_of(const TreeNode* n) const {
    const auto it = values_.find(n);
    return it == values_.end() || it->second == 0 ? any : it->second;
  }

  Kinds term(const Term* t) {
    switch (t->kind) {
      case TermKind::scalar: return bit(t->value.kind());
      case TermKind::var: {
        const auto it = env_.find(t->name);
        return it == env_.end() ? any : it->second;
      }
      case TermKind::ref: return reference(t);
      case TermKind::array:
        for (const Term* x : t->items) (void)term(x);
        return bit(Kind::array);
      case TermKind::object:
        for (const Term* x : t->items) (void)term(x);
        return bit(Kind::object);
      case TermKind::set:
        for (const Term* x : t->items) (void)term(x);
        return bit(Kind::set);
      case TermKind::array_of: nested(t->body); return bit(Kind::array);
      case TermKind::object_of: nested(t->body); return bit(Kind::object);
      case TermKind::set_of: nested(t->body); return bit(Kind::set);
      default: return any;
    }
  }

  // Members of collections may be anything; members of what has none are undefined, which is not refused here.
  static Kinds step(Kinds from, bool more) { return more ? any : from; }

  Kinds reference(const Term* t) {
    if (is_root_ref(t, "input")) return any;
    if (!is_root_ref(t, "data")) return step(term(t->items[0]), t->items.size() > 1);
    const TreeNode* n = &c_.tree();
    for (std::size_t i = 1; i <= t->items.size(); ++i) {
      if (!n->rules.empty()) return n->is_function() ? any : step(value_of(n), i < t->items.size());
      if (i == t->items.size() || t->items[i]->kind != TermKind::scalar) return any;
      n = n->child(t->items[i]->value);
      if (n == nullptr) return any;
    }
    return any;
  }

  Compiler& c_;
  std::vector<Diagnostic>& errors_;
  Env env_;
  std::unordered_map<const TreeNode*, Kinds> values_;
};

}  // namespace

void check_types(Compiler& c, std::vector<Diagnostic>& errors) { Checker(c, errors).rules(); }
void check_types(Compiler& c, const Body& query, std::vector<Diagnostic>& errors) { Checker(c, errors).query(query); }

}  // namespace cairn::policy
