// Sets of variables and walks over trees.
#include <algorithm>

#include "policy/compiler.h"

namespace cairn::policy {

bool VarSet::insert(Symbol v) {
  const auto it = std::lower_bound(all_.begin(), all_.end(), v);
  if (it != all_.end() && *it == v) return false;
  all_.insert(it, v);
  return true;
}

void VarSet::erase(Symbol v) {
  const auto it = std::lower_bound(all_.begin(), all_.end(), v);
  if (it != all_.end() && *it == v) all_.erase(it);
}

bool VarSet::contains(Symbol v) const { return std::binary_search(all_.begin(), all_.end(), v); }

// One side is that of one expression, the other that of a whole body: looked up one by one, not merged.
bool VarSet::contains_all(const VarSet& o) const {
  return std::ranges::all_of(o, [&](Symbol v) { return contains(v); });
}

VarSet VarSet::minus(const VarSet& o) const {
  VarSet out;
  std::ranges::copy_if(all_, std::back_inserter(out.all_), [&](Symbol v) { return !o.contains(v); });
  return out;
}

VarSet VarSet::common(const VarSet& o) const {
  if (o.size() < size()) return o.common(*this);
  VarSet out;
  std::ranges::copy_if(all_, std::back_inserter(out.all_), [&](Symbol v) { return o.contains(v); });
  return out;
}

namespace {
bool reserved(Symbol v) { return *v == "data" || *v == "input"; }
}  // namespace

void collect_vars(const Term* t, const WalkOptions& o, VarSet& out) {
  if (t == nullptr) return;
  std::size_t from = 0;
  switch (t->kind) {
    case TermKind::scalar: return;
    case TermKind::var:
      if (!reserved(t->name)) out.insert(t->name);
      return;
    case TermKind::ref:
      if (!o.ref_heads) from = 1;
      break;
    case TermKind::call:
      if (!o.call_heads) {
        if (t->items[0]->kind == TermKind::ref)
          for (std::size_t i = 1; i < t->items[0]->items.size(); ++i) collect_vars(t->items[0]->items[i], o, out);
        from = 1;
      }
      break;
    case TermKind::object:
      if (!o.object_keys) {
        for (std::size_t i = 1; i < t->items.size(); i += 2) collect_vars(t->items[i], o, out);
        return;
      }
      break;
    case TermKind::set:
      if (!o.sets) return;
      break;
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of:
    case TermKind::text:
      if (!o.closures) return;
      break;
    default: break;
  }
  for (std::size_t i = from; i < t->items.size(); ++i) collect_vars(t->items[i], o, out);
  collect_vars(t->body, o, out);
}

void collect_vars(const Expr* e, const WalkOptions& o, VarSet& out) {
  const auto withs = [&] {
    for (const auto& w : e->with) {
      if (!o.call_heads && w.target->kind == TermKind::ref) {
        for (std::size_t i = 1; i < w.target->items.size(); ++i) collect_vars(w.target->items[i], o, out);
      } else if (o.call_heads) {
        collect_vars(w.target, o, out);
      }
      if (!o.call_heads && w.value->kind == TermKind::ref)
        for (std::size_t i = 1; i < w.value->items.size(); ++i) collect_vars(w.value->items[i], o, out);
      else
        collect_vars(w.value, o, out);
    }
  };
  switch (e->kind) {
    case ExprKind::term:
    case ExprKind::some:
      for (const Term* t : e->items) collect_vars(t, o, out);
      break;
    case ExprKind::call:
      if (o.call_heads) {
        collect_vars(e->items[0], o, out);
      } else if (e->items[0]->kind == TermKind::ref) {
        for (std::size_t i = 1; i < e->items[0]->items.size(); ++i) collect_vars(e->items[0]->items[i], o, out);
      }
      for (std::size_t i = 1; i < e->items.size(); ++i) collect_vars(e->items[i], o, out);
      break;
    case ExprKind::every:
      if (!o.closures) {
        collect_vars(e->items[2], o, out);
        return;
      }
      for (const Term* t : e->items) collect_vars(t, o, out);
      collect_vars(e->body, o, out);
      break;
    case ExprKind::not_:
    case ExprKind::and_:
    case ExprKind::or_:
      if (o.closures) {
        collect_vars(e->body, o, out);
        collect_vars(e->right, o, out);
      }
      break;
  }
  withs();
}

void collect_vars(const Body& b, const WalkOptions& o, VarSet& out) {
  for (const Expr* e : b) collect_vars(e, o, out);
}

bool is_scalar(const Term* t) { return t->kind == TermKind::scalar; }

bool is_ground(const Term* t) {
  switch (t->kind) {
    case TermKind::scalar: return true;
    case TermKind::array:
    case TermKind::object:
    case TermKind::set: return std::ranges::all_of(t->items, is_ground);
    default: return false;
  }
}

bool is_call_of(const Expr* e, std::string_view builtin) {
  return e->kind == ExprKind::call && e->items[0]->kind == TermKind::var && *e->items[0]->name == builtin;
}

bool is_root_ref(const Term* t, std::string_view root) {
  return t->kind == TermKind::ref && t->items[0]->kind == TermKind::var && *t->items[0]->name == root;
}

bool needs_evaluation(const Term* t) {
  switch (t->kind) {
    case TermKind::ref:
    case TermKind::array_of:
    case TermKind::object_of:
    case TermKind::set_of: return true;
    case TermKind::scalar:
    case TermKind::var:
    case TermKind::text: return false;
    default: return std::ranges::any_of(t->items, needs_evaluation);
  }
}

}  // namespace cairn::policy
