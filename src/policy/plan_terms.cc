// Terms and references.
#include <algorithm>
#include <numeric>

#include "policy/planner.h"

namespace cairn::policy {

bool Planner::ground(const Term* t) const {
  switch (t->kind) {
    case TermKind::var: return bound_.contains(t->name);
    case TermKind::array:
    case TermKind::object:
    case TermKind::set: return std::ranges::all_of(t->items, [&](const Term* x) { return ground(x); });
    default: return true;  // references and comprehensions are evaluated
  }
}

// OPA takes some bodies as safe that bind nothing where it matters; they have no value there, and are refused here.
void Planner::unbound(const Term* t) const {
  const Location loc = t != nullptr && t->loc.line != 0 ? t->loc : at_;
  const Symbol original = t != nullptr ? p_.compiler->original(t->name) : nullptr;
  throw Stop{{ErrorCode::malformed,
              (loc.file < p_.files.size() ? p_.files[loc.file] : "query") + ":" + std::to_string(loc.line),
              "rego_unsafe_var_error: " +
                  (original != nullptr ? "var " + *original + " is unsafe" : "nothing binds a variable")}};
}

void Planner::bind(Symbol v, Operand o) {
  if (o >= 0) {
    bound_.set(v, o);
    return;
  }
  const auto r = fresh();
  emit(Op::move, r, o);
  bound_.set(v, r);
}

// The constant that a term without variables is.
const Value* Planner::literal(const Term* t) {
  if (t->kind == TermKind::scalar) return &t->value;
  if (!is_ground(t)) return nullptr;
  auto* term = const_cast<Term*>(t);
  if (!term->value.defined()) {
    std::vector<Value> items;
    for (const Term* x : t->items) items.push_back(*literal(x));
    Arena& arena = p_.pool.constants;
    if (t->kind == TermKind::array) term->value = arena.array(items);
    if (t->kind == TermKind::set) term->value = arena.set(items);
    if (t->kind == TermKind::object) {
      std::vector<Pair> pairs;
      for (std::size_t i = 0; i + 1 < items.size(); i += 2) pairs.emplace_back(items[i], items[i + 1]);
      term->value = arena.object(pairs);  // of equal keys the last counts
    }
  }
  return &term->value;
}

Operand Planner::value(const Term* t) {
  if (const Value* v = literal(t); v != nullptr) return constant(*v);
  switch (t->kind) {
    case TermKind::var:
      if (const Operand* at = bound_.find(t->name)) return *at;
      unbound(t);
    case TermKind::ref: return reference(t);
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: return comprehension(t);
    default: return composite(t);
  }
}

Operand Planner::composite(const Term* t) {
  std::vector<Operand> ops;
  for (const Term* x : t->items) ops.push_back(value(x));
  const auto dst = fresh();
  const Op op = t->kind == TermKind::array ? Op::array : t->kind == TermKind::set ? Op::set : Op::object;
  emit(op, dst, arguments(ops), static_cast<std::int32_t>(ops.size()));
  return dst;
}

Operand Planner::comprehension(const Term* t) {
  Operand first = 0;
  Operand second = 0;
  const auto start = sub_block([&] {
    body(t->body);
    first = value(t->items[0]);
    if (t->kind == TermKind::object_of) second = value(t->items[1]);
  });
  const auto dst = fresh();
  const Op op = t->kind == TermKind::array_of ? Op::collect_array
                : t->kind == TermKind::set_of ? Op::collect_set
                                              : Op::collect_object;
  emit(op, dst, static_cast<std::int32_t>(start), first, second);
  return dst;
}

void Planner::key_pattern(const Term* t, Operand key) {
  if (t->kind == TermKind::var)
    bind(t->name, key);
  else
    unify({t, 0}, {nullptr, key});
}

std::int32_t Planner::get(Operand from, Operand key) {
  const auto dst = fresh();
  const bool named = key < 0 && code_.constants[static_cast<std::size_t>(~key)].is(Kind::string);
  emit(Op::get, dst, from, key, named ? ++code_.hints : 0);
  return dst;
}

std::int32_t Planner::base(const std::vector<Operand>& keys) {
  const auto dst = fresh();
  emit(Op::base, dst, arguments(keys), static_cast<std::int32_t>(keys.size()));
  return dst;
}

void Planner::scan(std::int32_t dst, Operand from, const Term* pattern, std::int32_t key) {
  emit(Op::scan, dst, from, key);
  key_pattern(pattern, key);
}

Operand Planner::steps(Operand from, const std::vector<Term*>& items, std::size_t next) {
  for (; next < items.size(); ++next) {
    if (ground(items[next])) {
      from = get(from, value(items[next]));
      continue;
    }
    const auto dst = fresh();
    scan(dst, from, items[next], fresh());
    from = dst;
  }
  return from;
}

// A reference to what no rule defines: read at once as far as its keys are known, then key by key.
Operand Planner::base_reference(const std::vector<Term*>& items) {
  std::vector<Operand> keys;
  std::size_t next = 1;
  for (; next < items.size() && ground(items[next]); ++next) keys.push_back(value(items[next]));
  Operand from = base(keys);
  for (; next < items.size(); ++next) {
    if (ground(items[next])) {
      keys.push_back(value(items[next]));
    } else {
      const auto key = fresh();
      scan(fresh(), from, items[next], key);
      keys.push_back(key);
    }
    const auto dst = fresh();
    emit(Op::below, dst, from, arguments(keys), static_cast<std::int32_t>(keys.size()));
    from = dst;
  }
  return from;
}

Operand Planner::reference(const Term* t) {
  const Location saved = at_;
  at_ = t->loc.line != 0 ? t->loc : at_;
  Operand out = 0;
  const Term* head = t->items[0];
  if (is_root_ref(t, "data")) {
    out = data_reference(t);
  } else if (is_root_ref(t, "input")) {
    std::size_t next = 0;
    if (!read_.empty() && !replaced_) {
      std::string key = "i";
      for (std::size_t i = 0; i < t->items.size(); ++i) {
        if (i > 0) {
          if (t->items[i]->kind != TermKind::scalar) break;
          append_key(t->items[i]->value, key);
        }
        const auto it = read_.find(key);
        if (it == read_.end()) break;
        out = it->second;
        next = i + 1;
      }
    }
    if (next == 0) {
      out = fresh();
      emit(Op::input, out);
      next = 1;
    }
    out = steps(out, t->items, next);
  } else {
    out = steps(value(head), t->items, 1);
  }
  at_ = saved;
  return out;
}

Operand Planner::partial(const RuleSet& set, const std::vector<Term*>& items, std::size_t next) {
  Told keys;
  std::vector<Operand> ops;
  if (next < items.size() && (ground(items[next]) || items[next]->kind != TermKind::var))
    keys = told(std::span(items).subspan(next, std::min({set.keys, most_keys, items.size() - next})), ops);
  if (!keys.text.empty()) ops.push_back(constant(p_.pool.constants.string(keys.text)));  // tells what is kept apart
  const auto dst = fresh();
  const auto plan = partial_plan(set, std::move(keys));
  emit(Op::partial, dst, plan, arguments(ops), static_cast<std::int32_t>(ops.size()));
  return steps(dst, items, next);
}

// --- what a rule is told before its body

Term* Planner::told_part(Term* t, std::vector<Operand>& ops, std::vector<Symbol>& unknown) {
  if (ground(t)) {
    ops.push_back(value(t));
    return p_.pool.var(told_name(ops.size() - 1), t->loc);
  }
  if (t->kind == TermKind::var) {
    const auto at = std::ranges::find(unknown, t->name) - unknown.begin();
    if (at == std::ssize(unknown)) unknown.push_back(t->name);
    return p_.pool.var(p_.pool.symbol("?" + std::to_string(at)), t->loc);
  }
  Term* out = p_.pool.term(t->kind, t->loc);
  for (std::size_t i = 0; i < t->items.size(); ++i) {
    const bool key = t->kind == TermKind::object && i % 2 == 0;
    const bool literal_key = key && t->items[i]->kind == TermKind::scalar;  // which members there are is known
    out->items.push_back(literal_key ? t->items[i] : told_part(t->items[i], ops, unknown));
  }
  return out;
}

Told Planner::told(std::span<Term* const> terms, std::vector<Operand>& ops) {
  Told out;
  std::vector<Symbol> unknown;
  bool whole = true;
  for (Term* t : terms) {
    const Term*& part = out.parts.emplace_back();
    if (ground(t)) {
      ops.push_back(value(t));
      part = p_.pool.var(told_name(ops.size() - 1), t->loc);
    } else if (t->kind != TermKind::var && code_.patterns < most_patterns) {
      part = told_part(t, ops, unknown);
      whole = false;
    }
  }
  out.operands = ops.size();
  for (std::size_t i = 0; !whole && i < out.parts.size(); ++i)
    out.text += (i > 0 ? "," : "") + (out.parts[i] != nullptr ? to_text(out.parts[i]) : "");
  return out;
}

// What the terms are equal to; operands are in the registers from `first` on.
void Planner::tell(const std::vector<const Term*>& terms, const Told& told, std::size_t first) {
  for (std::size_t i = 0; i < told.operands; ++i) bound_.set(told_name(i), static_cast<Operand>(first + i));
  for (std::size_t i = 0; i < std::min(terms.size(), told.parts.size()); ++i) {
    const Term* part = told.parts[i];
    if (part == nullptr) continue;
    const Operand* whole = part->kind == TermKind::var ? bound_.find(part->name) : nullptr;
    unify(Equations{{{terms[i], 0}, whole != nullptr ? Side{nullptr, *whole} : Side{part, 0}}}, true);
  }
}

Operand Planner::node_steps(const TreeNode* n, const std::vector<Term*>& items, std::size_t next) {
  auto at = fresh();
  emit(Op::node, at, p_.node_ids.at(n));
  for (; next < items.size(); ++next) {
    const auto dst = fresh();
    if (ground(items[next])) {
      emit(Op::node_get, dst, at, value(items[next]));
    } else {
      const auto key = fresh();
      emit(Op::node_scan, dst, at, key);
      key_pattern(items[next], key);
    }
    at = dst;
  }
  const auto dst = fresh();
  emit(Op::node_value, dst, at);
  return dst;
}

Operand Planner::data_reference(const Term* t) {
  const TreeNode* n = &p_.compiler->tree();
  std::size_t next = 1;
  for (; next <= t->items.size(); ++next) {
    if (n->ruleset >= 0) {
      const RuleSet& set = p_.sets[static_cast<std::size_t>(n->ruleset)];
      if (set.kind == RuleSet::Kind::partial) return partial(set, t->items, next);
      const auto dst = fresh();
      emit(Op::rule, dst, set.id);
      return steps(dst, t->items, next);
    }
    if (next == t->items.size()) break;
    const Value* key = literal(t->items[next]);
    if (key == nullptr) return node_steps(n, t->items, next);
    const TreeNode* child = n->child(*key);
    if (child == nullptr) return base_reference(t->items);
    n = child;
  }
  const auto dst = fresh();
  emit(Op::extent, dst, p_.node_ids.at(n));
  return dst;
}

// --- unification, as far as it is left

// No equation of these terms holds. What is never reached still counts as bound.
void Planner::never(std::initializer_list<const Term*> terms) {
  emit(Op::fail);
  VarSet vars;
  for (const Term* t : terms) collect_vars(t, {.ref_heads = false, .closures = false}, vars);
  for (Symbol v : vars)
    if (!bound_.contains(v)) bound_.set(v, fresh());
}

void Planner::destructure(const Term* pattern, Operand o, Equations& more) {
  const auto unbound_key = [&] {
    for (std::size_t i = 0; i < pattern->items.size(); i += 2)
      if (!ground(pattern->items[i])) return true;
    return false;
  };
  if (pattern->kind == TermKind::set || (pattern->kind == TermKind::object && unbound_key())) {
    never({pattern});  // sets and keys cannot bind, only equal
    return;
  }
  const bool array = pattern->kind == TermKind::array;
  const std::size_t count = array ? pattern->items.size() : pattern->items.size() / 2;
  emit(array ? Op::is_array : Op::is_object, 0, o, static_cast<std::int32_t>(count));
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](std::size_t i) { return literal(pattern->items[2 * i]); };
  // Members go by their keys, as in OPA: what one binds may be a key inside another.
  if (!array && std::ranges::all_of(order, key))
    std::ranges::stable_sort(order, [&](std::size_t i, std::size_t j) { return compare(*key(i), *key(j)) < 0; });
  for (const std::size_t i : order) {
    const auto dst =
        get(o, array ? constant(Value::integer(static_cast<std::int64_t>(i))) : value(pattern->items[2 * i]));
    more.push_back({{pattern->items[array ? i : 2 * i + 1], 0}, {nullptr, dst}});
  }
}

// Emits one equation where one of its sides is known; false where it has to wait.
bool Planner::settle(Side& a, Side& b, Equations& more) {
  Side* const order[] = {&a, &b, &a, &b};  // references first, as OPA does: one that is undefined spares the rest
  for (std::size_t i = 0; i < std::size(order); ++i) {
    Side* s = order[i];
    if (s->term == nullptr || (i < 2 && s->term->kind != TermKind::ref)) continue;
    const Term* t = s->term;
    const bool evaluated = t->kind == TermKind::ref || t->kind == TermKind::array_of ||
                           t->kind == TermKind::object_of || t->kind == TermKind::set_of;
    const Side& other = s == &a ? b : a;
    const bool pattern_waits = other.term != nullptr && !ground(other.term) && other.term->kind != TermKind::var;
    const bool literal_match =
        !evaluated && pattern_waits && (t->kind == TermKind::array || t->kind == TermKind::object);
    if (!(evaluated || ground(t)) || literal_match) continue;
    // As in OPA, a comprehension is not evaluated for what cannot be equal to it.
    if (evaluated && t->kind != TermKind::ref && other.term == nullptr)
      emit(Op::suits, 0, other.operand,
           static_cast<std::int32_t>(t->kind == TermKind::array_of    ? Kind::array
                                     : t->kind == TermKind::object_of ? Kind::object
                                                                      : Kind::set));
    *s = {nullptr, value(t)};
  }
  if (a.term != nullptr && b.term == nullptr) std::swap(a, b);
  if (a.term == nullptr && b.term == nullptr) {
    emit(Op::equal, 0, a.operand, b.operand);
    return true;
  }
  if (a.term == nullptr) {  // a is known
    const Operand* bound = b.term->kind == TermKind::var ? bound_.find(b.term->name) : nullptr;
    if (bound != nullptr)  // evaluating the other side has bound it
      emit(Op::equal, 0, *bound, a.operand);
    else if (b.term->kind == TermKind::var)
      bind(b.term->name, a.operand);
    else
      destructure(b.term, a.operand, more);
    return true;
  }
  if (a.term->kind == TermKind::array && b.term->kind == TermKind::array) {
    if (a.term->items.size() != b.term->items.size()) {
      never({a.term, b.term});
      return true;
    }
    for (std::size_t i = 0; i < a.term->items.size(); ++i)
      more.push_back({{a.term->items[i], 0}, {b.term->items[i], 0}});
    return true;
  }
  if (a.term->kind == TermKind::object && b.term->kind == TermKind::object) {
    bool same = a.term->items.size() == b.term->items.size();
    const bool sized = same;
    for (std::size_t i = 0; same && i < a.term->items.size(); i += 2) {
      const auto key = to_text(a.term->items[i]);
      std::size_t j = 0;
      while (j < b.term->items.size() && to_text(b.term->items[j]) != key) j += 2;
      if (j >= b.term->items.size())
        same = false;
      else
        more.push_back({{a.term->items[i + 1], 0}, {b.term->items[j + 1], 0}});
    }
    if (same) return true;
    more.clear();
    // Keys that are known when evaluating may be equal then; others bind nothing.
    bool literals = true;
    bool known = true;
    for (const Term* t : {a.term, b.term})
      for (std::size_t i = 0; i < t->items.size(); i += 2) {
        literals = literals && literal(t->items[i]) != nullptr;
        known = known && ground(t->items[i]);
      }
    if (!sized || !known || literals) {
      never({a.term, b.term});
      return true;
    }
    if (ground(b.term)) std::swap(a, b);
    if (!ground(a.term)) return false;
    destructure(b.term, value(a.term), more);
    return true;
  }
  return false;
}

void Planner::unify(Equations open, bool may_wait) {
  const auto binds_nothing = [&](const Side& s) {
    return s.term != nullptr && (s.term->kind == TermKind::set || s.term->kind == TermKind::object) && !ground(s.term);
  };
  int second_looks = most_second_looks;
  while (!open.empty()) {
    Equations later;
    bool progress = false;
    bool looked = true;  // at those that wait, since the last progress
    while (!open.empty()) {
      auto [a, b] = open.back();
      if (!looked && !later.empty() && second_looks > 0 && (binds_nothing(a) || binds_nothing(b))) {
        --second_looks;
        looked = true;
        open.insert(open.end(), later.rbegin(), later.rend());
        later.clear();
        continue;
      }
      open.pop_back();
      Equations more;
      if (settle(a, b, more)) {
        progress = true;
        looked = false;
      } else {
        later.emplace_back(a, b);
      }
      open.insert(open.end(), more.rbegin(), more.rend());  // what is inside comes before what is beside
    }
    if (!progress && may_wait) {
      waiting_.insert(waiting_.end(), later.rbegin(), later.rend());
      return;
    }
    if (!progress) unbound(nullptr);
    open.assign(later.rbegin(), later.rend());
  }
}

}  // namespace cairn::policy
