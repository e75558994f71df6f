#include <algorithm>

#include "policy/planner.h"

namespace cairn::policy {

void Planner::body(const Body& b) {
  for (const Expr* e : b)
    if (!settled_.contains(e)) expr(e);
}

void Planner::expr(const Expr* e) {
  at_ = e->loc;
  if (e->negated) {
    const auto start = sub_block([&] {
      if (e->with.empty())
        plain_expr(e);
      else
        with(e);
    });
    emit(Op::not_, 0, static_cast<std::int32_t>(start));
  } else if (!e->with.empty()) {
    with(e);
  } else {
    plain_expr(e);
  }
  at_ = e->loc;
  if (p_.options.prints && !e->generated) emit(Op::mark);
}

void Planner::plain_expr(const Expr* e) {
  switch (e->kind) {
    case ExprKind::term: {
      const Term* t = e->items[0];
      if (t->kind == TermKind::scalar) {
        if (t->value.is_false()) emit(Op::fail);
        return;
      }
      const Operand o = value(t);
      if (t->kind == TermKind::var || t->kind == TermKind::ref) emit(Op::test, 0, o);
      return;
    }
    case ExprKind::call: call(e); return;
    case ExprKind::every: {
      const Operand domain = value(e->items[2]);
      const auto key = fresh();
      const auto v = fresh();
      const auto start = sub_block([&] {
        bound_.set(e->items[0]->name, key);
        bound_.set(e->items[1]->name, v);
        body(e->body);
      });
      emit(Op::every, v, domain, key, static_cast<std::int32_t>(start));
      return;
    }
    case ExprKind::not_: emit(Op::not_, 0, static_cast<std::int32_t>(sub_block([&] { body(e->body); }))); return;
    case ExprKind::and_:
    case ExprKind::or_: {
      const auto left = static_cast<std::int32_t>(sub_block([&] { body(e->body); }));
      const auto right = static_cast<std::int32_t>(sub_block([&] { body(e->right); }));
      if (e->kind == ExprKind::or_) {
        emit(Op::either, 0, left, right);
      } else {
        emit(Op::exists, 0, left);
        emit(Op::exists, 0, right);
      }
      return;
    }
    case ExprKind::some: return;
  }
}

void Planner::call(const Expr* e) {
  if (is_call_of(e, "eq") && e->items.size() == 3) {
    unify({e->items[1], 0}, {e->items[2], 0});
    return;
  }
  const Term* op = e->items[0];
  const Builtin* b = p_.compiler->builtin(op);
  const auto arity =
      b != nullptr && (b->name == "internal.print") ? 1U : static_cast<std::size_t>(p_.compiler->arity(op));
  std::vector<Operand> ops;
  for (std::size_t i = 1; i <= arity && i < e->items.size(); ++i) ops.push_back(value(e->items[i]));
  auto dst = fresh();
  const auto count = static_cast<std::int32_t>(ops.size());
  const bool output = e->items.size() == arity + 2;
  if (b != nullptr) {
    code_.builtins.push_back(b);
    const bool known = output && !b->relation && ground(e->items.back());
    if (known) ops.push_back(value(e->items.back()));
    emit(known ? Op::call_for : Op::call, dst, static_cast<std::int32_t>(code_.builtins.size() - 1), arguments(ops),
         count);
    if (b->is_void) return;
    if (b->relation) {
      const auto each = fresh();
      emit(Op::scan, each, dst, fresh());
      dst = each;
    }
  } else {
    const TreeNode* n = p_.compiler->function(op);
    const RuleSet& set = p_.sets[static_cast<std::size_t>(n->ruleset)];
    std::vector<Operand> known;
    Told value = output ? told(std::span(e->items).last(1), known) : Told();
    if (output && value.parts[0] != nullptr) {
      ops.insert(ops.end(), known.begin(), known.end());
      emit(Op::given, dst, value_given(set, std::move(value)), arguments(ops), static_cast<std::int32_t>(ops.size()));
    } else {
      emit(Op::function, dst, set.id, arguments(ops), count);
    }
  }
  if (output)
    unify({e->items.back(), 0}, {nullptr, dst});
  else
    emit(Op::test, 0, dst);
}

void Planner::with(const Expr* e) {
  WithPlan plan;
  for (const auto& w : e->with) {
    WithTarget t;
    if (is_root_ref(w.target, "input") || is_root_ref(w.target, "data")) {
      const bool data = is_root_ref(w.target, "data");
      t.kind = data ? WithTarget::Kind::data : WithTarget::Kind::input;
      std::size_t used = 0;
      if (data) {
        t.node = p_.compiler->find(w.target->items, used);
        if (used != w.target->items.size()) t.node = nullptr;
        if (t.node != nullptr && t.node->is_function()) t.kind = WithTarget::Kind::function;
      }
      for (std::size_t i = 1; i < w.target->items.size(); ++i) t.path.push_back(value(w.target->items[i]));
    } else {
      t.kind = WithTarget::Kind::builtin;
      t.builtin = p_.compiler->builtin(w.target);
    }
    const bool function_target = t.kind == WithTarget::Kind::function || t.kind == WithTarget::Kind::builtin;
    t.by_function = w.value->kind == TermKind::ref ? p_.compiler->function(w.value) : nullptr;
    t.by_builtin = function_target && t.by_function == nullptr && w.value->kind == TermKind::ref
                       ? p_.compiler->builtin(w.value)
                       : nullptr;
    if (t.by_function != nullptr) {
      const auto given = value_given(p_.sets[static_cast<std::size_t>(t.by_function->ruleset)], whole_value());
      t.by_given = code_.given[static_cast<std::size_t>(given)].get();
    }
    if (t.by_function == nullptr && t.by_builtin == nullptr) t.value = value(w.value);
    plan.targets.push_back(std::move(t));
  }
  const std::size_t before = bound_.mark();
  const bool outer = std::exchange(replaced_, true);
  const auto start = sub_block([&] { plain_expr(e); }, true);
  replaced_ = outer;
  plan.outputs = bound_.since(before);
  std::ranges::sort(plan.outputs);
  code_.withs.push_back(std::move(plan));
  emit(Op::with, 0, static_cast<std::int32_t>(start), static_cast<std::int32_t>(code_.withs.size() - 1));
}

}  // namespace cairn::policy
