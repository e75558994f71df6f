#include <algorithm>

#include "policy/compiler.h"

namespace cairn::policy {

// The rules of a package by their names.
void Names::package(const Path& path) {
  globals_.clear();
  const auto own = c_.exported_.find(path);
  if (own == c_.exported_.end()) return;
  Path p{"data"};
  p.insert(p.end(), path.begin(), path.end());
  p.emplace_back();
  for (Symbol name : own->second) {
    p.back() = *name;
    globals_[name] = p;
  }
}

void Names::module(Module& m) {
  package(m.package);
  for (const auto& i : m.imports) globals_[c_.pool_.symbol(i.name())] = i.path;
  for (Rule* r : m.rules) {
    for (Rule* x = r; x != nullptr; x = x->otherwise) resolve(x);
    rule(r);
  }
}

void Names::query(Body& b, const Path& of) {
  package(of);
  for (const auto& m : c_.modules_)
    if (m.package == of)
      for (const auto& i : m.imports) globals_[c_.pool_.symbol(i.name())] = i.path;
  VarSet ignore;
  declared(b, ignore);
  ignore_ = {ignore};
  resolve(b);
  scopes_ = {{}};
  rename(b);
  check_unused();
}

// --- references

bool Names::ignored(Symbol v) const {
  return std::ranges::any_of(ignore_, [&](const VarSet& s) { return s.contains(v); });
}

Term* Names::global(Symbol v, Location loc) const {
  const auto it = globals_.find(v);
  if (it == globals_.end() || ignored(v)) return nullptr;
  Term* r = c_.pool_.term(TermKind::ref, loc);
  r->items.push_back(c_.pool_.var(c_.pool_.symbol(it->second[0]), loc));
  for (std::size_t i = 1; i < it->second.size(); ++i) r->items.push_back(c_.pool_.string(it->second[i], loc));
  return r;
}

void Names::declared(const Body& b, VarSet& out) {
  for (const Expr* e : b) {
    if (is_call_of(e, "assign") && e->items.size() == 3) {
      collect_vars(e->items[1], {}, out);
      if (is_root_ref(e->items[1], "input") || is_root_ref(e->items[1], "data"))
        out.insert(e->items[1]->items[0]->name);
    } else if (e->kind == ExprKind::some) {
      for (const Term* t : e->items) {
        if (t->kind == TermKind::var) {
          out.insert(t->name);
        } else {
          collect_vars(t->items[1], {}, out);
          if (t->items.size() == 4) collect_vars(t->items[2], {}, out);
        }
      }
    } else if (e->kind == ExprKind::every || e->kind == ExprKind::not_ || e->kind == ExprKind::and_ ||
               e->kind == ExprKind::or_) {
      declared(e->body, out);
      declared(e->right, out);
    }
  }
}

void Names::resolve(Rule* r) {
  VarSet args;
  for (const Term* a : r->args) {
    if (is_root_ref(a, "input") || is_root_ref(a, "data"))
      c_.error(a->loc, "rego_compile_error",
               "args must not shadow " + *a->items[0]->name + " (use a different variable name)");
    collect_vars(a, {.ref_heads = true, .call_heads = true, .object_keys = false, .sets = false, .closures = false},
                 args);
  }
  VarSet body;
  declared(r->body, body);
  ignore_ = {args, body};
  for (std::size_t i = 1; i < r->ref.size(); ++i) r->ref[i] = resolve(r->ref[i]);
  if (r->key != nullptr) r->key = resolve(r->key);
  if (r->value != nullptr) r->value = resolve(r->value);
  for (auto& a : r->args)
    if (a->kind == TermKind::text || a->kind == TermKind::object || a->kind == TermKind::array) a = resolve(a);
  resolve(r->body);
}

void Names::resolve(Body& b) {
  for (Expr* e : b) resolve(e);
}

void Names::resolve(Expr* e) {
  switch (e->kind) {
    case ExprKind::term:
    case ExprKind::call:
      for (auto& t : e->items) t = resolve(t);
      break;
    case ExprKind::some:
      if (e->items[0]->kind == TermKind::call)
        for (std::size_t i = 1; i < e->items[0]->items.size(); ++i)
          e->items[0]->items[i] = resolve(e->items[0]->items[i]);
      break;
    case ExprKind::every: {
      VarSet own;
      collect_vars(e->items[0], {}, own);
      collect_vars(e->items[1], {}, own);
      ignore_.push_back(own);
      e->items[2] = resolve(e->items[2]);
      resolve(e->body);
      ignore_.pop_back();
      break;
    }
    default: resolve(e->body); resolve(e->right);
  }
  for (auto& w : e->with) {
    w.target = resolve(w.target);
    w.value = resolve(w.value);
  }
}

Term* Names::resolve(Term* t) {
  switch (t->kind) {
    case TermKind::scalar: return t;
    case TermKind::var: {
      Term* g = global(t->name, t->loc);
      return g != nullptr ? g : t;
    }
    case TermKind::ref: {
      Term* head = t->items[0];
      for (std::size_t i = 1; i < t->items.size(); ++i) t->items[i] = resolve(t->items[i]);
      if (head->kind != TermKind::var) {
        t->items[0] = resolve(head);
        return t;
      }
      if (Term* g = global(head->name, t->loc); g != nullptr) {
        g->items.insert(g->items.end(), t->items.begin() + 1, t->items.end());
        return g;
      }
      return t;
    }
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: {
      VarSet own;
      declared(t->body, own);
      ignore_.push_back(own);
      for (auto& item : t->items) item = resolve(item);
      resolve(t->body);
      ignore_.pop_back();
      return t;
    }
    default:
      for (auto& item : t->items) item = resolve(item);
      resolve(t->body);
      return t;
  }
}

// --- names of local variables

Symbol Names::known(Symbol v) const {
  for (auto it = scopes_.rbegin(); it != scopes_.rend(); ++it)
    if (const auto found = it->names.find(v); found != it->names.end()) return found->second;
  return nullptr;
}

Names::Seen Names::occurrence(Symbol v) const {
  const auto& how = scopes_.back().how;
  const auto it = how.find(v);
  return it == how.end() ? Seen::fresh : it->second;
}

Symbol Names::declare(Symbol v, Seen how, Location loc) {
  const auto refuse = [&](std::string_view what) {
    c_.error(loc, "rego_compile_error",
             std::string(what == "redeclared" ? "arg " : "var ") + *v + " " + std::string(what));
    return v;
  };
  switch (occurrence(v)) {
    case Seen::seen: return refuse("referenced above");
    case Seen::assigned: return refuse("assigned above");
    case Seen::declared: return refuse("declared above");
    case Seen::argument: return refuse("redeclared");
    case Seen::fresh: break;
  }
  Symbol fresh = c_.pool_.fresh();
  c_.original_[fresh] = v;
  scopes_.back().names[v] = fresh;
  scopes_.back().how[v] = how;
  return fresh;
}

void Names::rule(Rule* r) {
  scopes_ = {{}};
  for (Term* a : r->args) rename_arguments(a);
  // Comprehensions of the head have names of their own, apart from the body's.
  const auto head = [&](Term* t) {
    if (t != nullptr) rename_head(t);
  };
  scopes_.emplace_back();
  for (std::size_t i = 1; i < r->ref.size(); ++i) head(r->ref[i]);
  head(r->key);
  head(r->value);
  scopes_.pop_back();
  // A variable that is called like a built-in gets another name.
  VarSet used;
  collect_vars(r->body, {.call_heads = false, .closures = false}, used);
  VarSet declared_here;
  declared(r->body, declared_here);
  for (Symbol v : used) {
    if (find_builtin(*v) == nullptr || declared_here.contains(v) || known(v) != nullptr) continue;
    bool mocked = false;
    each_expr(r->body, [&](Expr* e) {
      for (const auto& w : e->with) {
        VarSet in;
        collect_vars(w.target, {}, in);
        collect_vars(w.value, {}, in);
        mocked |= in.contains(v);
      }
    });
    if (mocked) continue;
    Symbol fresh = c_.pool_.fresh();
    c_.original_[fresh] = v;
    scopes_.back().names[v] = fresh;
    scopes_.back().how[v] = Seen::seen;
  }
  rename(r->body);
  const auto apply = [&](Term* t) {
    each_term(t, [&](Term* x) {
      if (x->kind == TermKind::var)
        if (Symbol s = known(x->name); s != nullptr) {
          x->name = s;
          uses_.insert(s);
        }
      if (is_root_ref(x, "input") || is_root_ref(x, "data"))
        if (Symbol s = known(x->items[0]->name); s != nullptr) x->items[0]->name = s;
    });
  };
  for (Term* t : r->args) apply(t);  // the keys of objects in patterns
  for (std::size_t i = 1; i < r->ref.size(); ++i) apply(r->ref[i]);
  apply(r->key);
  apply(r->value);
  check_unused();
  if (r->otherwise != nullptr) rule(r->otherwise);
}

void Names::rename_arguments(Term* t) {
  switch (t->kind) {
    case TermKind::var: {
      Symbol s = known(t->name);
      if (s == nullptr) s = declare(t->name, Seen::argument, t->loc);
      t->name = s;
      return;
    }
    case TermKind::call: c_.error(t->loc, "rego_compile_error", "rule arguments cannot contain calls"); return;
    case TermKind::object:
      for (std::size_t i = 1; i < t->items.size(); i += 2) rename_arguments(t->items[i]);
      return;
    case TermKind::array:
      for (Term* x : t->items) rename_arguments(x);
      return;
    case TermKind::ref:
      for (std::size_t i = 1; i < t->items.size(); ++i) rename_arguments(t->items[i]);
      return;
    default: return;
  }
}

// Renames what comprehensions inside a head declare.
void Names::rename_head(Term* t) {
  if (t->kind == TermKind::array_of || t->kind == TermKind::object_of || t->kind == TermKind::set_of ||
      t->kind == TermKind::text) {
    rename(t);
    return;
  }
  for (Term* x : t->items) rename_head(x);
}

void Names::rename(Body& b) {
  Body out;
  for (Expr* e : b) {
    if (e->kind == ExprKind::some && e->items[0]->kind == TermKind::var) {
      for (Term* t : e->items) {
        t->name = declare(t->name, Seen::declared, e->loc);
        if (!t->wildcard) pending_.emplace_back(t->name, e->loc);
      }
      continue;
    }
    rename(e);
    if (e != nullptr) out.push_back(e);
  }
  if (out.empty() && !b.empty()) {
    Expr* e = c_.pool_.expr(ExprKind::term, b[0]->loc);
    e->items = {c_.pool_.scalar(Value::boolean(true), e->loc)};
    out.push_back(e);
  }
  b = out;
}

// `some x` that nothing uses is a mistake.
void Names::check_unused() {
  for (const auto& [v, loc] : pending_)
    if (!uses_.contains(v))
      c_.error(loc, "rego_compile_error",
               "declared var " + (c_.original(v) != nullptr ? *c_.original(v) : *v) + " unused");
  pending_.clear();
  uses_ = {};
}

void Names::rename(Expr*& e) {
  switch (e->kind) {
    case ExprKind::call:
      if (is_call_of(e, "assign")) {
        rename_assignment(e);
        return;
      }
      break;
    case ExprKind::some:
      if (!rename_some(e)) e = nullptr;
      return;
    case ExprKind::every: rename_every(e); return;
    case ExprKind::not_:
    case ExprKind::and_:
    case ExprKind::or_: rename_logical(e); return;
    default: break;
  }
  rename_terms(e);
}

void Names::rename_terms(Expr* e) {
  if (e->kind == ExprKind::call) {
    const Term* op = e->items[0];
    const Symbol head = op->kind == TermKind::ref ? op->items[0]->name : op->name;
    if (head != nullptr && *head != "data" && known(head) != nullptr && known(head) != head)
      c_.error(e->loc, "rego_compile_error", "called function " + operator_name(op) + " shadowed");
    for (std::size_t i = 1; i < e->items.size(); ++i) rename(e->items[i]);
  } else {
    for (Term* t : e->items) rename(t);
  }
  for (auto& w : e->with) {
    for (std::size_t i = 1; i < w.target->items.size(); ++i) rename(w.target->items[i]);
    rename(w.value);
  }
}

void Names::rename(Term* t) {
  switch (t->kind) {
    case TermKind::scalar: return;
    case TermKind::var:
      if (Symbol s = known(t->name); s != nullptr) {
        t->name = s;
        uses_.insert(s);
      } else if (occurrence(t->name) == Seen::fresh) {
        scopes_.back().names[t->name] = t->name;
        scopes_.back().how[t->name] = Seen::seen;
      }
      return;
    case TermKind::ref: {
      Term* head = t->items[0];
      if (head->kind == TermKind::var && (*head->name == "input" || *head->name == "data")) {
        if (Symbol s = known(head->name); s != nullptr && s != head->name) {
          t->items[0] = c_.pool_.var(s, head->loc);
          uses_.insert(s);
          if (t->items.size() == 1) {
            t->kind = TermKind::var;
            t->name = s;
            t->items.clear();
          }
        }
      } else {
        rename(head);
      }
      for (std::size_t i = 1; i < t->items.size(); ++i) rename(t->items[i]);
      return;
    }
    case TermKind::call: {
      const Term* op = t->items[0];
      const Symbol head = op->kind == TermKind::ref ? op->items[0]->name : op->name;
      if (head != nullptr && *head != "data" && known(head) != nullptr && known(head) != head)
        c_.error(t->loc, "rego_compile_error", "called function " + operator_name(op) + " shadowed");
      for (std::size_t i = 1; i < t->items.size(); ++i) rename(t->items[i]);
      return;
    }
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of:
      scopes_.emplace_back();
      rename(t->body);
      for (Term* x : t->items) rename(x);
      scopes_.pop_back();
      return;
    case TermKind::text:
      for (Expr* e : t->body) {
        scopes_.emplace_back();
        rename_terms(e);
        scopes_.pop_back();
      }
      return;
    default:
      for (Term* x : t->items) rename(x);
  }
}

void Names::rename_assignment(Expr* e) {
  if (e->negated) {
    c_.error(e->loc, "rego_compile_error", "cannot assign vars inside negated expression");
    return;
  }
  if (e->items.size() != 3) return;
  rename(e->items[2]);
  for (auto& w : e->with) {
    for (std::size_t i = 1; i < w.target->items.size(); ++i) rename(w.target->items[i]);
    rename(w.value);
  }
  rename_left(e->items[1]);
  e->items[0] = c_.pool_.var(c_.pool_.symbol("eq"), e->items[0]->loc);
  e->assigned = true;
}

void Names::rename_left(Term* t) {
  switch (t->kind) {
    case TermKind::var: t->name = declare(t->name, Seen::assigned, t->loc); return;
    case TermKind::array:
      for (Term* x : t->items) rename_left(x);
      return;
    case TermKind::object:
      for (std::size_t i = 1; i < t->items.size(); i += 2) rename_left(t->items[i]);
      return;
    case TermKind::ref:
      if (t->items.size() == 1 && t->items[0]->kind == TermKind::var) {
        t->name = declare(t->items[0]->name, Seen::assigned, t->loc);
        t->kind = TermKind::var;
        t->items.clear();
        return;
      }
      break;
    default: break;
  }
  static constexpr std::string_view names[] = {"",
                                               "var",
                                               "ref",
                                               "array",
                                               "object",
                                               "set",
                                               "arraycomprehension",
                                               "objectcomprehension",
                                               "setcomprehension",
                                               "call",
                                               "templatestring"};
  c_.error(t->loc, "rego_compile_error",
           "cannot assign to " + std::string(t->kind == TermKind::scalar ? type_name(t->value.kind())
                                                                         : names[static_cast<std::size_t>(t->kind)]));
}

// some k, v in xs  becomes  v = xs[k] with k and v declared.
bool Names::rename_some(Expr* e) {
  Term* c = e->items[0];
  Term* key = c->items.size() == 4 ? c->items[1] : c_.pool_.var(c_.pool_.wildcard(), e->loc);
  key->wildcard |= c->items.size() != 4;
  Term* value = c->items[c->items.size() - 2];
  Term* domain = c->items.back();
  VarSet bound;
  constexpr WalkOptions binding{.ref_heads = false, .object_keys = false, .closures = false};
  collect_vars(key, binding, bound);
  collect_vars(value, binding, bound);
  VarSet in;
  collect_vars(domain, {.closures = false}, in);
  for (Symbol v : bound.common(in)) {
    if ((*v)[0] == '$') continue;
    c_.error(e->loc, "rego_compile_error", "var " + *v + " assigned before");
    return false;
  }
  rename(domain);
  Term* ref = c_.pool_.term(TermKind::ref, domain->loc);
  if (domain->kind == TermKind::ref)
    ref->items = domain->items;
  else
    ref->items = {domain};
  ref->items.push_back(key);
  // What unifying with an element binds is declared here; the rest (object keys, references) is looked up.
  VarSet declared_here;
  collect_vars(value, {.ref_heads = false, .object_keys = false, .sets = false, .closures = false}, declared_here);
  collect_vars(key, {.ref_heads = false, .object_keys = false, .sets = false, .closures = false}, declared_here);
  const std::function<void(const Term*)> drop =
      [&](const Term* t) {  // variables inside references and calls are not patterns
        if (t->kind == TermKind::call) {
          VarSet inside;
          collect_vars(t, {}, inside);
          for (Symbol v : inside) declared_here.erase(v);
          return;
        }
        for (const Term* x : t->items) drop(x);
      };
  drop(value);
  drop(key);
  for (Symbol v : declared_here) (void)declare(v, Seen::declared, e->loc);
  e->kind = ExprKind::call;
  e->items = {c_.pool_.var(c_.pool_.symbol("eq"), e->loc), value, ref};
  rename(value);
  rename(key);
  for (auto& w : e->with) {
    for (std::size_t i = 1; i < w.target->items.size(); ++i) rename(w.target->items[i]);
    rename(w.value);
  }
  return true;
}

void Names::rename_every(Expr* e) {
  rename(e->items[2]);
  for (auto& w : e->with) {
    for (std::size_t i = 1; i < w.target->items.size(); ++i) rename(w.target->items[i]);
    rename(w.value);
  }
  scopes_.emplace_back();
  if (e->items[0] == nullptr) e->items[0] = c_.pool_.var(c_.pool_.fresh(), e->loc);
  for (Term* t : {e->items[0], e->items[1]}) {
    if (t->wildcard || t->name->starts_with("~")) continue;
    t->name = declare(t->name, Seen::declared, e->loc);
    pending_.emplace_back(t->name, e->loc);
  }
  rename(e->body);
  scopes_.pop_back();
}

// An operand without braces shares the scope around it and must not assign.
void Names::rename_implicit(Body& b, std::string_view where) {
  for (auto& e : b) {
    if (is_call_of(e, "assign"))
      c_.error(e->loc, "rego_compile_error", "cannot assign vars inside " + std::string(where));
    else
      rename(e);
  }
}

void Names::rename_logical(Expr* e) {
  const std::string_view where = e->kind == ExprKind::not_   ? "negated expression"
                                 : e->kind == ExprKind::and_ ? "operand of `and`"
                                                             : "operand of `or`";
  const auto side = [&](Body& b, bool braces) {
    if (!braces) {
      rename_implicit(b, where);
      return;
    }
    scopes_.emplace_back();
    rename(b);
    scopes_.pop_back();
  };
  side(e->body, e->explicit_body);
  if (e->kind != ExprKind::not_) side(e->right, e->explicit_right);
  for (auto& w : e->with) {
    for (std::size_t i = 1; i < w.target->items.size(); ++i) rename(w.target->items[i]);
    rename(w.value);
  }
}

}  // namespace cairn::policy
