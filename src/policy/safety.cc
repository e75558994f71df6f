#include <algorithm>
#include <set>
#include <unordered_map>

#include "policy/compiler.h"

namespace cairn::policy {
namespace {

constexpr WalkOptions patterns{.ref_heads = false, .object_keys = false, .closures = false};

// The variables of either set that are not in the third. Bodies may be long: their sets are not copied.
struct Known {
  const VarSet& around;
  const VarSet& own;
  const VarSet& but;
  [[nodiscard]] bool contains(Symbol v) const { return (around.contains(v) || own.contains(v)) && !but.contains(v); }
};

bool all_safe(const Term* t, const auto& safe) {
  VarSet vars;
  collect_vars(t, safety_walk, vars);
  return std::ranges::all_of(vars, [&](Symbol v) { return safe.contains(v); });
}

bool ref_safe(const Term* ref, const auto& safe) {
  const Term* head = ref->items[0];
  if (head->kind == TermKind::var) return *head->name == "data" || *head->name == "input" || safe.contains(head->name);
  return all_safe(head, safe);
}

// Which variables unifying two terms binds.
class Unifier {
 public:
  explicit Unifier(const Known& safe) : safe_(safe) {}
  VarSet unified;

  void unify(const Term* a, const Term* b) {
    switch (a->kind) {
      case TermKind::var: with_var(a, b); break;
      case TermKind::ref:
        if (ref_safe(a, safe_)) spread(b);
        break;
      case TermKind::call:
        if (all_safe(a, safe_)) spread(b);
        break;
      case TermKind::array_of:
        if (b->kind == TermKind::var || b->kind == TermKind::array) spread(b);
        break;
      case TermKind::object_of:
        if (b->kind == TermKind::var || b->kind == TermKind::object) spread(b);
        break;
      case TermKind::array:
      case TermKind::object: with_composite(a, b); break;
      default:
        if (b->kind == TermKind::var) mark(b->name);
    }
  }

 private:
  [[nodiscard]] bool is_safe(Symbol v) const { return safe_.contains(v) || unified.contains(v); }

  void with_var(const Term* a, const Term* b) {
    switch (b->kind) {
      case TermKind::var:
        if (is_safe(b->name)) {
          mark(a->name);
        } else if (is_safe(a->name)) {
          mark(b->name);
        } else {
          unknown_[a->name].insert(b->name);
          unknown_[b->name].insert(a->name);
        }
        break;
      case TermKind::array:
      case TermKind::object: all(a->name, b); break;
      case TermKind::ref:
        if (ref_safe(b, safe_)) mark(a->name);
        break;
      case TermKind::call:
        if (all_safe(b, safe_)) mark(a->name);
        break;
      default: mark(a->name);
    }
  }

  void with_composite(const Term* a, const Term* b) {
    switch (b->kind) {
      case TermKind::var: all(b->name, a); break;
      case TermKind::array_of:
      case TermKind::object_of:
      case TermKind::set_of:
        if (a->kind == TermKind::array) mark_all(a);
        break;
      case TermKind::ref:
        if (ref_safe(b, safe_)) mark_all(a);
        break;
      case TermKind::call:
        if (all_safe(b, safe_)) mark_all(a);
        break;
      case TermKind::array:
        if (a->kind == TermKind::array && a->items.size() == b->items.size())
          for (std::size_t i = 0; i < a->items.size(); ++i) unify(a->items[i], b->items[i]);
        break;
      case TermKind::object:
        if (a->kind != TermKind::object || a->items.size() != b->items.size()) break;
        for (std::size_t i = 0; i < a->items.size(); i += 2)
          for (std::size_t j = 0; j < b->items.size(); j += 2)
            if (to_text(a->items[i]) == to_text(b->items[j])) unify(a->items[i + 1], b->items[j + 1]);
        break;
      default: break;
    }
  }

  void spread(const Term* b) {
    if (b->kind == TermKind::var)
      mark(b->name);
    else if (b->kind == TermKind::array || b->kind == TermKind::object)
      mark_all(b);
  }

  void mark_all(const Term* t) {
    VarSet vars;
    collect_vars(t, patterns, vars);
    for (Symbol v : vars) mark(v);
  }

  void mark(Symbol first) {
    std::vector<Symbol> open{first};
    while (!open.empty()) {
      const Symbol x = open.back();
      open.pop_back();
      unified.insert(x);
      if (unknown_.empty()) continue;
      if (const auto it = unknown_.find(x); it != unknown_.end()) {
        open.insert(open.end(), it->second.begin(), it->second.end());
        unknown_.erase(it);
      }
      std::erase_if(unknown_, [&](auto& entry) {
        auto& [v, on] = entry;
        if (!on.contains(x)) return false;
        on.erase(x);
        if (on.empty()) open.push_back(v);
        return on.empty();
      });
    }
  }

  void all(Symbol a, const Term* b) {
    if (is_safe(a)) {
      mark_all(b);
      return;
    }
    VarSet vars, open;
    collect_vars(b, patterns, vars);
    for (Symbol v : vars)
      if (!is_safe(v)) open.insert(v);
    if (open.empty()) mark(a);
    for (Symbol v : open) unknown_[a].insert(v);
  }

  const Known& safe_;
  std::map<Symbol, VarSet> unknown_;
};

// Which expressions of a body to try again: those with a variable that became safe since. A long body in reverse order
// would take as many rounds as it has expressions.
class Waiting {
 public:
  explicit Waiting(const Body& body) : body_(body) {}
  // Trying an expression depends on more than its own variables from now on: all are tried.
  void all() {
    all_ = true;
    watching_ = false;
  }
  // After the first round, which most bodies end with.
  void watch(const std::vector<bool>& done) {
    if (all_ || watching_) return;
    watching_ = true;
    for (std::size_t i = 0; i < body_.size(); ++i) {
      if (done[i]) continue;
      changed_.insert(i);
      VarSet vars;
      collect_vars(body_[i], {}, vars);
      for (Symbol v : vars) watchers_[v].push_back(i);
    }
  }
  // The next expression to try, from this one on; the size of the body where there is none.
  [[nodiscard]] std::size_t next(std::size_t from) {
    if (!watching_) return from;
    const auto found = changed_.lower_bound(from);
    if (found == changed_.end()) return body_.size();
    const std::size_t i = *found;
    changed_.erase(found);
    return i;
  }
  void became_known(const VarSet& vars) {
    if (!watching_) return;
    for (Symbol v : vars)
      if (const auto found = watchers_.find(v); found != watchers_.end())
        changed_.insert(found->second.begin(), found->second.end());
  }

 private:
  const Body& body_;
  bool all_ = false;
  bool watching_ = false;
  std::set<std::size_t> changed_;  // since they were tried
  std::unordered_map<Symbol, std::vector<std::size_t>> watchers_;
};

}  // namespace

void Safety::outputs_terms(const Term* t, const VarSet& safe, VarSet& out) const {
  switch (t->kind) {
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of:
    case TermKind::text:
    case TermKind::scalar:
    case TermKind::var: return;
    case TermKind::ref:
      if (!ref_safe(t, safe)) return;
      collect_vars(t, {.ref_heads = false}, out);
      break;
    default: break;
  }
  for (const Term* x : t->items) outputs_terms(x, safe, out);
}

void Safety::outputs_terms(const Expr* e, const VarSet& safe, VarSet& out) const {
  for (const Term* t : e->items)
    if (t != nullptr) outputs_terms(t, safe, out);
  for (const auto& w : e->with) {
    outputs_terms(w.target, safe, out);
    outputs_terms(w.value, safe, out);
  }
}

VarSet Safety::outputs_eq(const Expr* e, const VarSet& safe) const {
  VarSet out;
  if (e->items.size() != 3) return safe;
  outputs_terms(e, safe, out);
  VarSet left;  // := does not bind from its right to its left and back
  if (e->assigned) collect_vars(e->items[1], {}, left);
  const Known known{safe, out, left};
  Unifier u(known);
  u.unify(e->items[1], e->items[2]);
  VarSet bound = out.minus(left);
  bound.insert(u.unified);
  return bound.minus(safe);
}

VarSet Safety::outputs(const Expr* e, const VarSet& safe, VarSet* last) const {
  VarSet out;
  if (e->negated) return out;
  for (const auto& w : e->with) {
    Expr probe;
    probe.with = {w};
    probe.items.clear();
    VarSet vars;
    collect_vars(&probe, safety_walk, vars);
    if (!safe.contains_all(vars)) return {};
  }
  switch (e->kind) {
    case ExprKind::term: outputs_terms(e, safe, out); return out;
    case ExprKind::every:
      if (last != nullptr) out = *last;
      outputs_terms(e->items[2], safe, out);
      return out;
    case ExprKind::call: {
      if (is_call_of(e, "eq")) {
        if (last != nullptr) *last = {};
        return outputs_eq(e, safe);
      }
      const int arity = c_.arity(e->items[0]);
      if (arity < 0) return {};
      outputs_terms(e, safe, out);
      if (last != nullptr) *last = out;
      const auto inputs = static_cast<std::size_t>(arity) + 1;
      if (inputs >= e->items.size()) return out;
      VarSet needed;
      WalkOptions o = patterns;
      o.sets = false;
      for (std::size_t i = 1; i < inputs; ++i) collect_vars(e->items[i], o, needed);
      if (!needed.minus(out).minus(safe).empty()) return {};
      for (std::size_t i = inputs; i < e->items.size(); ++i) collect_vars(e->items[i], o, out);
      if (last != nullptr) *last = out;
      return out;
    }
    default: return {};
  }
}

VarSet Safety::outputs(const Body& b, const VarSet& safe) const {
  VarSet o = safe;
  // A body may bind in any order: go on until nothing more is bound.
  Waiting waiting(b);
  const std::vector<bool> none(b.size());
  for (std::size_t before = SIZE_MAX; before != o.size();) {
    if (before != SIZE_MAX) waiting.watch(none);
    before = o.size();
    for (std::size_t i = waiting.next(0); i < b.size(); i = waiting.next(i + 1)) {
      c_.ordered(1, b[i]->loc);
      const VarSet more = outputs(b[i], o).minus(o);
      o.insert(more);
      waiting.became_known(more);
    }
  }
  return o.minus(safe);
}

VarSet Safety::outputs_in_order(const Body& b, const VarSet& safe) const {
  VarSet o = safe;
  for (const Expr* e : b) o.insert(outputs(e, o));
  return o.minus(safe);
}

// Variables inside operands without braces belong to the body around them, unless the operand binds and uses them
// itself.
void Safety::implicit(const Body& b, VarSet& out) const {
  std::map<Symbol, std::size_t> uses;
  for (const Expr* e : b) {
    VarSet vars;
    collect_vars(e, safety_walk, vars);
    for (Symbol v : vars) ++uses[v];
    if (e->kind == ExprKind::not_ || e->kind == ExprKind::and_ || e->kind == ExprKind::or_) visible(e, out);
  }
  if (b.size() == 1) {
    for (const auto& [v, n] : uses) out.insert(v);
    return;
  }
  VarSet safe;
  for (const auto& [v, n] : uses) safe.insert(v);
  for (const Expr* e : b)
    if (is_call_of(e, "eq"))
      for (std::size_t i = 1; i < e->items.size(); ++i)
        if (e->items[i]->kind == TermKind::var) safe.erase(e->items[i]->name);
  VarSet bound;
  for (bool changed = true; changed;) {
    changed = false;
    for (const Expr* e : b) {
      if (!is_call_of(e, "eq")) continue;
      for (Symbol v : outputs_eq(e, safe)) {
        if (!bound.insert(v)) continue;
        safe.insert(v);
        changed = true;
      }
    }
  }
  for (const Expr* e : b) {
    if (e->kind != ExprKind::call || is_call_of(e, "eq")) continue;
    const int arity = c_.arity(e->items[0]);
    WalkOptions o = patterns;
    o.sets = false;
    if (arity >= 0)
      for (std::size_t i = static_cast<std::size_t>(arity) + 1; i < e->items.size(); ++i)
        collect_vars(e->items[i], o, bound);
  }
  for (const auto& [v, n] : uses)
    if (!bound.contains(v) || n == 1) out.insert(v);
}

void Safety::visible(const Expr* e, VarSet& out) const {
  collect_vars(e, safety_walk, out);
  if (e->kind == ExprKind::not_ || e->kind == ExprKind::and_ || e->kind == ExprKind::or_) {
    if (!e->explicit_body) implicit(e->body, out);
    if (e->kind != ExprKind::not_ && !e->explicit_right) implicit(e->right, out);
  }
}

namespace {

void comprehension_vars(const Term* t, VarSet& out) {
  if (t == nullptr) return;
  if (t->kind == TermKind::array_of || t->kind == TermKind::object_of || t->kind == TermKind::set_of) {
    collect_vars(t, {}, out);
    return;
  }
  for (const Term* x : t->items) comprehension_vars(x, out);
}

}  // namespace

void Safety::closures(const Expr* e, VarSet& out) const {
  for (const Term* t : e->items) comprehension_vars(t, out);
  for (const auto& w : e->with) comprehension_vars(w.value, out);
  collect_vars(e->body, {}, out);
  collect_vars(e->right, {}, out);
}

Body Safety::reorder(const Body& body, const VarSet& globals, std::vector<Unsafe>& unsafe) {
  VarSet body_vars;
  std::vector<VarSet> open(body.size());
  std::vector<VarSet> closed(body.size());
  VarSet safe;
  bool closes = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    visible(body[i], open[i]);
    body_vars.insert(open[i]);
  }
  safe = body_vars.common(globals);
  for (std::size_t i = 0; i < body.size(); ++i) {
    open[i] = open[i].minus(safe);
    closures(body[i], closed[i]);
    closed[i] = closed[i].common(body_vars).minus(globals);
    closes = closes || !closed[i].empty();
  }
  Body ordered;
  std::vector<bool> done(body.size());
  // What those that are ordered bind beyond what is safe; known once and for all while all that they need is safe.
  VarSet beyond;
  bool settled = true;
  VarSet last;  // as in OPA, `every` counts as its own what the call looked at before it bound
  Waiting waiting(body);
  // What `every` counts as its own hangs on what was tried before it.
  if (std::ranges::any_of(body, [](const Expr* e) { return e->kind == ExprKind::every; })) waiting.all();
  for (std::size_t before = SIZE_MAX; before != ordered.size();) {
    if (before != SIZE_MAX) waiting.watch(done);
    before = ordered.size();
    for (std::size_t i = waiting.next(0); i < body.size(); i = waiting.next(i + 1)) {
      if (done[i]) continue;
      c_.ordered(1 + (settled || closed[i].empty() ? 0 : ordered.size()), body[i]->loc);
      const VarSet out = outputs(body[i], safe, &last);
      if (!closed[i].empty()) {
        // What the expressions before bind beyond what is safe, as OPA counts it: hardly ever anything. So an
        // expression that binds just what it closes over is never safe, even where that is bound already.
        VarSet missing = closed[i].minus(settled ? beyond.minus(safe) : outputs_in_order(ordered, safe));
        if (!missing.empty()) {
          if (missing == out) continue;
          open[i] = std::move(missing);
        }
      }
      open[i] = open[i].minus(out).minus(safe);
      if (!open[i].empty()) continue;
      done[i] = true;
      ordered.push_back(body[i]);
      waiting.became_known(out.minus(safe));
      safe.insert(out);
      if (!closes || !settled) continue;
      VarSet needs;
      visible(body[i], needs);
      settled = safe.contains_all(needs);
      if (!settled) waiting.all();
      const VarSet more = outputs(body[i], safe).minus(safe);
      beyond.insert(more);
      waiting.became_known(more);
    }
  }
  for (std::size_t i = 0; i < body.size(); ++i)
    if (!done[i]) unsafe.push_back({body[i], open[i]});
  VarSet visible_here = globals;
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    if (i > 0) visible(ordered[i - 1], visible_here);
    nested(ordered[i], visible_here, unsafe);
  }
  return ordered;
}

void Safety::nested(Expr* e, const VarSet& globals, std::vector<Unsafe>& unsafe) {
  for (Term* t : e->items)
    if (t != nullptr) nested(t, e, globals, unsafe);
  for (auto& w : e->with) nested(w.value, e, globals, unsafe);
  if (e->body.empty() && e->right.empty()) return;
  VarSet inner = globals;
  if (e->kind == ExprKind::every) {
    collect_vars(e->items[0], {}, inner);
    collect_vars(e->items[1], {}, inner);
  }
  if (!e->body.empty()) nested_body({}, e->body, e, inner, unsafe);
  if (!e->right.empty()) nested_body({}, e->right, e, inner, unsafe);
}

void Safety::nested(Term* t, Expr* at, const VarSet& globals, std::vector<Unsafe>& unsafe) {
  if (t->kind == TermKind::array_of || t->kind == TermKind::object_of || t->kind == TermKind::set_of) {
    VarSet head;
    for (const Term* x : t->items) collect_vars(x, {}, head);
    nested_body(head, t->body, at, globals, unsafe);
    return;
  }
  for (Term* x : t->items) nested(x, at, globals, unsafe);
}

void Safety::nested_body(const VarSet& head, Body& b, Expr* at, const VarSet& globals, std::vector<Unsafe>& unsafe) {
  VarSet bound;
  for (const Expr* e : b) visible(e, bound);
  if (const VarSet missing = head.minus(bound).minus(globals); !missing.empty()) unsafe.push_back({at, missing});
  std::vector<Unsafe> inner;
  Body ordered = reorder(b, globals, inner);
  if (inner.empty())
    b = std::move(ordered);
  else
    unsafe.insert(unsafe.end(), inner.begin(), inner.end());
}

void Safety::report(const std::vector<Unsafe>& unsafe) {
  VarSet told;
  for (const auto& u : unsafe)
    for (Symbol v : u.vars) {
      Symbol name = c_.original(v) != nullptr ? c_.original(v) : v;
      const bool generated = name->starts_with("~") || name->starts_with("$");
      if (generated && unsafe.size() > 1 && name->starts_with("~")) continue;
      if (!told.insert(v)) continue;
      c_.error(u.expr->loc, "rego_unsafe_var_error",
               generated ? (name->starts_with("$") ? "var _ is unsafe" : "expression is unsafe")
                         : "var " + *name + " is unsafe");
    }
  if (c_.ok() && !unsafe.empty()) c_.error(unsafe[0].expr->loc, "rego_unsafe_var_error", "expression is unsafe");
}

void Safety::rule(Rule* r) {
  VarSet bound;
  for (const Expr* e : r->body) visible(e, bound);
  VarSet args;
  for (const Term* a : r->args) collect_vars(a, {}, args);
  bound.insert(args);
  VarSet head;
  for (std::size_t i = 1; i < r->ref.size(); ++i) collect_vars(r->ref[i], {}, head);
  collect_vars(r->key, {}, head);
  collect_vars(r->value, {}, head);
  for (Symbol v : head.minus(bound)) {
    Symbol name = c_.original(v) != nullptr ? c_.original(v) : v;
    c_.error(r->loc, "rego_unsafe_var_error",
             "var " + (name->starts_with("$") ? std::string("_") : *name) + " is unsafe");
  }
  std::vector<Unsafe> unsafe;
  Body ordered = reorder(r->body, args, unsafe);
  if (!unsafe.empty())
    report(unsafe);
  else
    r->body = std::move(ordered);
}

void Safety::query(Body& b) {
  std::vector<Unsafe> unsafe;
  Body ordered = reorder(b, {}, unsafe);
  if (!unsafe.empty())
    report(unsafe);
  else
    b = std::move(ordered);
}

}  // namespace cairn::policy
