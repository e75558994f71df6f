#include <algorithm>

#include "policy/compiler.h"

namespace cairn::policy {
namespace {

// What an absent body is. As in OPA, `not true` counts too: where a head is computed, a rule with no other body holds.
bool only_true(const Body& b) {
  return b.size() == 1 && b[0]->kind == ExprKind::term && b[0]->items[0]->kind == TermKind::scalar &&
         b[0]->items[0]->value.is(Kind::boolean) && b[0]->items[0]->value.boolean();
}

// Members are evaluated in the order of their keys, as in OPA: one that is undefined spares the errors of those after
// it.
void sort_members(Term* object) {
  std::vector<std::pair<Term*, Term*>> members;
  for (std::size_t i = 0; i + 1 < object->items.size(); i += 2) {
    if (!is_scalar(object->items[i])) return;
    members.emplace_back(object->items[i], object->items[i + 1]);
  }
  std::ranges::stable_sort(members,
                           [](const auto& a, const auto& b) { return compare(a.first->value, b.first->value) < 0; });
  object->items.clear();
  for (const auto& [key, value] : members) object->items.insert(object->items.end(), {key, value});
}

}  // namespace

void append_to_body(Body& body, const Body& more) {
  if (more.empty()) return;
  if (only_true(body)) body.clear();
  body.insert(body.end(), more.begin(), more.end());
}

Expr* Rewriter::equality(Term* other) {
  Expr* e = c_.pool_.expr(ExprKind::call, other->loc);
  e->generated = true;
  e->items = {c_.pool_.var(c_.pool_.symbol("eq"), other->loc), c_.pool_.var(c_.pool_.fresh(), other->loc), other};
  return e;
}

// --- template strings: $"a{x}b" calls internal.template_string(["a", {x | …}, "b"])

void Rewriter::template_call(Term* t, const VarSet& safe) {
  Term* parts = c_.pool_.term(TermKind::array, t->loc);
  for (Expr* e : t->body) {
    Term* value = nullptr;
    if (e->kind == ExprKind::call) {
      if (const Builtin* b = c_.builtin(e->items[0]); b != nullptr && b->relation) {
        c_.error(e->loc, "rego_compile_error",
                 "illegal call to relation built-in '" + b->name + "' that may cause multiple outputs");
        return;
      }
      value = c_.pool_.term(TermKind::call, e->loc);
      value->items = e->items;
    } else {
      value = e->items[0];
    }
    if (value->kind == TermKind::scalar && e->with.empty()) {
      parts->items.push_back(value);
      continue;
    }
    if (value->kind == TermKind::var && e->with.empty()) {
      Term* set = c_.pool_.term(TermKind::set, e->loc);
      set->items = {value};
      parts->items.push_back(set);
      continue;
    }
    VarSet vars;
    collect_vars(value, safety_walk, vars);
    for (Symbol v : vars.minus(safe))
      c_.error(e->loc, "rego_compile_error",
               "var " + (c_.original(v) != nullptr ? *c_.original(v) : *v) + " is undeclared");
    Term* set = c_.pool_.term(TermKind::set_of, e->loc);
    Expr* capture = equality(value);
    capture->with = e->with;
    set->items = {capture->items[1]};
    set->body = {capture};
    parts->items.push_back(set);
  }
  if (parts->items.empty()) parts->items.push_back(c_.pool_.string("", t->loc));
  t->kind = TermKind::call;
  t->body.clear();
  t->items = {c_.pool_.var(c_.pool_.symbol("internal.template_string"), t->loc), parts};
}

void Rewriter::template_terms(Term* t, const VarSet& safe) {
  switch (t->kind) {
    case TermKind::text:
      template_exprs(t->body, safe);
      template_call(t, safe);
      return;
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: {
      VarSet inner = safe;
      inner.insert(Safety(c_).outputs(t->body, safe));
      template_exprs(t->body, inner);
      for (Term* x : t->items) template_terms(x, inner);
      return;
    }
    default:
      for (Term* x : t->items) template_terms(x, safe);
  }
}

void Rewriter::template_exprs(Body& b, const VarSet& safe) {
  for (Expr* e : b) {
    VarSet inner = safe;
    if (e->kind == ExprKind::every) {
      template_terms(e->items[2], safe);
      collect_vars(e->items[0], {}, inner);
      collect_vars(e->items[1], {}, inner);
    } else {
      for (Term* t : e->items) template_terms(t, safe);
    }
    for (auto& w : e->with) template_terms(w.value, safe);
    if (!e->body.empty()) {
      VarSet in = inner;
      in.insert(Safety(c_).outputs(e->body, inner));
      template_exprs(e->body, in);
    }
    if (!e->right.empty()) {
      VarSet in = inner;
      in.insert(Safety(c_).outputs(e->right, inner));
      template_exprs(e->right, in);
    }
  }
}

void Rewriter::templates(Body& b, const VarSet& outside) {
  VarSet safe = outside;
  safe.insert(Safety(c_).outputs(b, outside));
  template_exprs(b, safe);
}

void Rewriter::templates(Rule* r) {
  VarSet args;
  for (const Term* a : r->args) collect_vars(a, {.closures = false}, args);
  VarSet safe = args;
  safe.insert(Safety(c_).outputs(r->body, args));
  template_exprs(r->body, safe);
  for (std::size_t i = 1; i < r->ref.size(); ++i) template_terms(r->ref[i], safe);
  for (Term* t : r->args) template_terms(t, safe);
  if (r->key != nullptr) template_terms(r->key, safe);
  if (r->value != nullptr) template_terms(r->value, safe);
}

// --- print: dropped, or its operands wrapped so that an undefined one does not end the body

void Rewriter::prints(Body& b, const VarSet& safe) {
  const bool keep = c_.options_.prints;
  for (Expr* e : b) {
    for (Term* t : e->items)
      if (t != nullptr)
        each_term(t, [&](Term* x) {
          if (!x->body.empty() && x->kind != TermKind::text) prints(x->body, safe);
        });
    if (!e->body.empty()) prints(e->body, safe);
    if (!e->right.empty()) prints(e->right, safe);
    if (!is_call_of(e, "print")) continue;
    if (!keep) {
      e->kind = ExprKind::term;
      e->items = {c_.pool_.scalar(Value::boolean(true), e->loc)};
      e->with.clear();
      continue;
    }
    Term* parts = c_.pool_.term(TermKind::array, e->loc);
    for (std::size_t i = 1; i < e->items.size(); ++i) {
      Term* set = c_.pool_.term(TermKind::set_of, e->items[i]->loc);
      Expr* capture = equality(e->items[i]);
      set->items = {capture->items[1]};
      set->body = {capture};
      parts->items.push_back(set);
    }
    e->items = {c_.pool_.var(c_.pool_.symbol("internal.print"), e->loc), parts};
  }
}

// --- nested calls

Term* Rewriter::expand(Term* t, Body& support) {
  switch (t->kind) {
    case TermKind::call: {
      for (std::size_t i = 1; i < t->items.size(); ++i) t->items[i] = expand(t->items[i], support);
      Expr* e = c_.pool_.expr(ExprKind::call, t->loc);
      e->generated = true;
      e->items = t->items;
      Term* out = c_.pool_.var(c_.pool_.fresh(), t->loc);
      e->items.push_back(out);
      support.push_back(e);
      return out;
    }
    case TermKind::ref: {
      for (auto& x : t->items) x = expand(x, support);
      Term* head = t->items[0];
      if (head->kind != TermKind::var && head->kind != TermKind::ref && head->kind != TermKind::scalar) {
        Expr* e = equality(head);
        support.push_back(e);
        t->items[0] = c_.pool_.var(e->items[1]->name, head->loc);
      } else if (head->kind == TermKind::ref) {  // (x.y)[z]
        std::vector<Term*> items = head->items;
        items.insert(items.end(), t->items.begin() + 1, t->items.end());
        t->items = std::move(items);
      }
      return t;
    }
    case TermKind::object: sort_members(t); [[fallthrough]];
    case TermKind::array:
    case TermKind::set:
      for (auto& x : t->items) x = expand(x, support);
      return t;
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: {
      for (auto& x : t->items) {
        Body more;
        x = expand(x, more);
        append_to_body(t->body, more);
      }
      expand(t->body);
      return t;
    }
    default: return t;
  }
}

void Rewriter::expand(Expr* e, Body& out) {
  for (auto& w : e->with) w.value = expand(w.value, out);
  const std::size_t first = out.size();
  switch (e->kind) {
    case ExprKind::term: e->items[0] = expand(e->items[0], out); break;
    case ExprKind::call:
      for (std::size_t i = 1; i < e->items.size(); ++i) e->items[i] = expand(e->items[i], out);
      break;
    case ExprKind::every: {
      Term* domain = c_.pool_.var(c_.pool_.fresh(), e->items[2]->loc);
      Expr* eq = c_.pool_.expr(ExprKind::call, e->items[2]->loc);
      eq->generated = true;
      eq->items = {c_.pool_.var(c_.pool_.symbol("eq"), eq->loc), domain, e->items[2]};
      e->items[2] = c_.pool_.var(domain->name, domain->loc);
      expand(eq, out);
      expand(e->body);
      break;
    }
    default:
      expand(e->body);
      if (!e->right.empty()) expand(e->right);
      out.push_back(e);
      return;
  }
  if (!e->with.empty())
    for (std::size_t i = first; i < out.size(); ++i) out[i]->with = e->with;
  out.push_back(e);
}

void Rewriter::expand(Body& b) {
  Body out;
  for (Expr* e : b) expand(e, out);
  b = std::move(out);
}

void Rewriter::expand(Rule* r) {
  const auto head = [&](Term*& t) {
    if (t == nullptr) return;
    Body more;
    t = expand(t, more);
    append_to_body(r->body, more);
  };
  for (auto& a : r->args) head(a);
  for (std::size_t i = 1; i < r->ref.size(); ++i) head(r->ref[i]);
  head(r->key);
  head(r->value);
  expand(r->body);
}

// --- heads of comprehensions and rules

void Rewriter::comprehensions(Body& b) {
  each_term(b, [&](Term* t) {
    if (t->kind != TermKind::array_of && t->kind != TermKind::object_of && t->kind != TermKind::set_of) return;
    for (auto& x : t->items) {
      if (!needs_evaluation(x)) continue;
      Expr* e = equality(x);
      x = c_.pool_.var(e->items[1]->name, x->loc);
      append_to_body(t->body, {e});
    }
  });
}

void Rewriter::comprehensions(Rule* r) {
  Expr holder;
  for (Term* t : r->args) holder.items.push_back(t);
  for (std::size_t i = 1; i < r->ref.size(); ++i) holder.items.push_back(r->ref[i]);
  if (r->key != nullptr) holder.items.push_back(r->key);
  if (r->value != nullptr) holder.items.push_back(r->value);
  Body head{&holder};
  comprehensions(head);
  comprehensions(r->body);
}

void Rewriter::heads(Rule* r) {
  const auto lift = [&](Term*& t, bool always) {
    if (t == nullptr || !(always || needs_evaluation(t))) return;
    Expr* e = equality(t);
    t = c_.pool_.var(e->items[1]->name, t->loc);
    append_to_body(r->body, {e});
  };
  for (std::size_t i = 1; i < r->ref.size(); ++i)
    lift(r->ref[i], r->ref[i]->kind != TermKind::var && !is_scalar(r->ref[i]));
  lift(r->key, false);
  lift(r->value, false);
  for (auto& a : r->args) lift(a, false);
}

// --- values of with

void Rewriter::with_values(Body& b) {
  Body out;
  for (Expr* e : b) {
    for (Term* t : e->items)
      if (t != nullptr)
        each_term(t, [&](Term* x) {
          if (x->kind == TermKind::array_of || x->kind == TermKind::object_of || x->kind == TermKind::set_of)
            with_values(x->body);
        });
    if (!e->body.empty()) with_values(e->body);
    if (!e->right.empty()) with_values(e->right);
    for (auto& w : e->with) {
      const bool function = w.value->kind == TermKind::ref && c_.function(w.value) != nullptr;
      if (function || c_.builtin(w.value) != nullptr || !needs_evaluation(w.value)) continue;
      Expr* eq = equality(w.value);
      w.value = c_.pool_.var(eq->items[1]->name, w.value->loc);
      out.push_back(eq);
    }
    out.push_back(e);
  }
  b = std::move(out);
}

void Rewriter::equals(Body& b) {
  each_expr(b, [&](Expr* e) {
    if (is_call_of(e, "equal") && e->items.size() == 3)
      e->items[0] = c_.pool_.var(c_.pool_.symbol("eq"), e->items[0]->loc);
  });
}

// --- nested references

Term* Rewriter::dynamic_one(const Expr* original, Term* t, Body& out) {
  switch (t->kind) {
    case TermKind::ref:
      for (std::size_t i = 1; i < t->items.size(); ++i) t->items[i] = dynamic_one(original, t->items[i], out);
      break;
    case TermKind::array:
    case TermKind::object:
    case TermKind::set:
      for (auto& x : t->items) x = dynamic_one(original, x, out);
      return t;
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: dynamics(t->body); break;
    default: return t;
  }
  Expr* e = equality(t);
  e->with = original->with;
  out.push_back(e);
  return c_.pool_.var(e->items[1]->name, t->loc);
}

Term* Rewriter::dynamic_in(const Expr* original, Term* t, Body& out) {
  switch (t->kind) {
    case TermKind::ref:
      for (std::size_t i = 1; i < t->items.size(); ++i) t->items[i] = dynamic_one(original, t->items[i], out);
      return t;
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: dynamics(t->body); return t;
    default: return dynamic_one(original, t, out);
  }
}

void Rewriter::dynamics(Body& b) {
  Body out;
  for (Expr* e : b) {
    switch (e->kind) {
      case ExprKind::call:
        if (is_call_of(e, "eq") && e->items.size() == 3) {
          e->items[1] = dynamic_in(e, e->items[1], out);
          e->items[2] = dynamic_in(e, e->items[2], out);
        } else {
          for (std::size_t i = 1; i < e->items.size(); ++i) e->items[i] = dynamic_one(e, e->items[i], out);
        }
        break;
      case ExprKind::every:
        e->items[2] = dynamic_one(e, e->items[2], out);
        dynamics(e->body);
        break;
      case ExprKind::term: e->items[0] = dynamic_in(e, e->items[0], out); break;
      default:
        dynamics(e->body);
        if (!e->right.empty()) dynamics(e->right);
    }
    out.push_back(e);
  }
  b = std::move(out);
}

}  // namespace cairn::policy
