#include <algorithm>

#include "policy/planner.h"

namespace cairn::policy {

// Rules are planned apart from the block that needs them, and later: what rules need may go on as long as there are
// rules.
std::int32_t Planner::partial_plan(const RuleSet& set, Told told) {
  std::uint32_t mask = 0;
  for (std::size_t i = 0; i < told.parts.size(); ++i)
    if (told.parts[i] != nullptr) mask |= 1U << i;
  const auto [known, is_new] = code_.partial_ids.try_emplace({set.id, mask, told.text}, code_.partials.size());
  if (is_new) {
    if (!told.text.empty()) ++code_.patterns;
    auto& plan = *code_.partials.emplace_back(std::make_unique<PartialPlan>());
    plan.set = set.id;
    plan.mask = mask;
    plan.told = std::move(told);
    for (const Term* part : plan.told.parts) {
      if (part == nullptr || part->kind != TermKind::var) break;
      ++plan.whole;
    }
  }
  return static_cast<std::int32_t>(known->second);
}

void Planner::partial_rules(PartialPlan& plan) {
  const RuleSet& set = p_.sets[static_cast<std::size_t>(plan.set)];
  for (const Rule* r : set.sources)
    if (!r->is_default) plan.rules.push_back(rule(r, set, plan.told));
  plan.index = index_of(plan.rules);
}

// As in OPA, a function called for a known value is told it: what its head says is equal to the value before the body
// runs, so that other values are not met.
std::int32_t Planner::value_given(const RuleSet& function, Told told) {
  const auto [known, is_new] = code_.given_ids.try_emplace({function.id, told.text}, code_.given.size());
  if (!is_new) return static_cast<std::int32_t>(known->second);
  if (!told.text.empty()) ++code_.patterns;
  auto& set = *code_.given.emplace_back(std::make_unique<RuleSet>());
  set.kind = function.kind;
  set.id = function.id;
  set.path = function.path;
  set.node = function.node;
  set.sources = function.sources;
  set.arity = function.arity;
  set.told = std::move(told);
  return static_cast<std::int32_t>(known->second);
}

RuleCode Planner::rule(const Rule* r, const RuleSet& set, const Told& told) {
  RuleCode out;
  out.code = &code_;
  out.file = r->loc.file;
  out.line = r->loc.line;
  bound_.clear();
  frame_ = 0;
  at_ = r->loc;
  std::vector<const Term*> path;
  std::size_t package = 0;
  for (const auto& m : p_.compiler->modules())
    if (m.file == r->module) package = m.package.size();
  const std::size_t below = set.node->depth - package;  // terms of the reference that the node stands for
  for (std::size_t i = below; i < r->ref.size(); ++i) path.push_back(r->ref[i]);
  Block block;
  block_ = &block;
  if (set.kind == RuleSet::Kind::function) {
    const std::size_t count = r->args.size();
    frame_ = static_cast<std::uint32_t>(count + told.operands);
    for (std::size_t i = 0; i < count; ++i) unify({r->args[i], 0}, {nullptr, static_cast<Operand>(i)});
    tell({r->value}, told, count);
  }
  if (set.kind == RuleSet::Kind::partial) {
    std::vector<const Term*> keys = path;
    if (r->key != nullptr) keys.push_back(r->key);
    frame_ = static_cast<std::uint32_t>(told.operands);
    tell(keys, told, 0);
  }
  guards(r, out.guards);
  at_ = r->loc;
  for (const Expr* e : r->body) {
    if (!settled_.contains(e)) expr(e);
    if (!waiting_.empty()) unify(std::exchange(waiting_, {}), true);
  }
  unify(std::exchange(waiting_, {}), false);
  out.is_set = r->key != nullptr;
  if (set.kind == RuleSet::Kind::partial)
    for (const Term* t : path) out.path.push_back(value(t));
  if (r->key != nullptr) out.key = value(r->key);
  if (r->value != nullptr) {
    out.value = value(r->value);
    out.constant = literal(r->value) != nullptr;
  }
  emit(Op::yield);
  out.start = flush(block);
  out.frame = frame_;
  if (set.kind != RuleSet::Kind::partial)
    for (const Rule* x = r->otherwise; x != nullptr; x = x->otherwise) {
      Planner inner(p_, code_);
      Rule single = *x;
      single.otherwise = nullptr;
      out.otherwise.push_back(inner.rule(&single, set, told));
    }
  return out;
}

void Planner::rule_set(RuleSet& set) {
  if (set.kind == RuleSet::Kind::partial) {
    set.full = partial_plan(set, {});
    return;
  }
  for (const Rule* r : set.sources) {
    Planner one(p_, code_);
    RuleCode c = one.rule(r, set, set.told);
    if (r->is_default)
      set.fallback = std::move(c);
    else
      set.rules.push_back(std::move(c));
  }
  set.index = index_of(set.rules);
  const auto value_of = [&](const RuleCode& c) {
    return c.value < 0 ? &code_.constants[static_cast<std::size_t>(~c.value)] : nullptr;
  };
  set.same_constant = !set.rules.empty();
  const Value* first = set.rules.empty() ? nullptr : value_of(set.rules[0]);
  for (const auto& r : set.rules) {
    const Value* v = value_of(r);
    set.same_constant = set.same_constant && v != nullptr && equal(*v, *first);
    for (const auto& o : r.otherwise) {
      const Value* w = value_of(o);
      set.same_constant = set.same_constant && w != nullptr && equal(*w, *first);
    }
  }
}

void Planner::query(QueryPlan& plan, const Body& b, bool single) {
  Block block;
  block_ = &block;
  body(b);
  if (single) {
    plan.single = true;
    plan.result = value(b.back()->items[1]);
  } else {
    for (const auto& [v, r] : bound_.all()) {
      Symbol name = p_.compiler->original(v);
      if (name == nullptr || name->starts_with("$")) continue;
      plan.variables.emplace_back(*name, r);
    }
    std::ranges::sort(plan.variables);
  }
  emit(Op::yield);
  plan.start = flush(block);
  plan.frame = frame_;
}

namespace {

void number_nodes(Program& p, const TreeNode& n) {
  p.node_ids[&n] = static_cast<std::int32_t>(p.nodes.size());
  p.nodes.push_back(&n);
  for (const auto& [key, c] : n.children) number_nodes(p, *c);
}

void collect_rules(const TreeNode& n, std::vector<const Rule*>& out) {
  out.insert(out.end(), n.rules.begin(), n.rules.end());
  for (const auto& [key, c] : n.children) collect_rules(*c, out);
}

// A node with rules becomes a rule set; one whose references go on takes in all rules below it.
void number_sets(Program& p, TreeNode& n) {
  if (!n.rules.empty()) {
    RuleSet set;
    set.id = static_cast<std::int32_t>(p.sets.size());
    set.path = path_text(path_of(n));
    set.node = &n;
    const bool dynamic = n.dynamic();
    if (dynamic)
      collect_rules(n, set.sources);
    else
      set.sources.assign(n.rules.begin(), n.rules.end());
    const bool multi = std::ranges::any_of(n.rules, [](const Rule* r) { return r->key != nullptr; });
    if (n.is_function()) {
      set.kind = RuleSet::Kind::function;
      set.arity = n.rules[0]->args.size();
    } else if (dynamic || multi) {
      set.kind = RuleSet::Kind::partial;
      set.set = !dynamic;
    }
    for (const Rule* r : set.sources) {
      std::size_t package = 0;
      for (const auto& m : p.compiler->modules())
        if (m.file == r->module) package = m.package.size();
      set.keys = std::max(set.keys, package + r->ref.size() - n.depth + (r->key != nullptr ? 1 : 0));
    }
    n.ruleset = set.id;
    p.sets.push_back(std::move(set));
    if (dynamic) return;
  }
  for (auto& [key, c] : n.children) number_sets(p, *c);
}

// Plans what the plans made so far need, and what that needs.
void plan_needed(Program& program, Code& code) {
  std::size_t partials = 0;
  std::size_t given = 0;
  while (partials < code.partials.size() || given < code.given.size())
    if (partials < code.partials.size())
      Planner(program, code).partial_rules(*code.partials[partials++]);
    else
      Planner(program, code).rule_set(*code.given[given++]);
}

}  // namespace

void plan(Program& program) {
  number_nodes(program, program.compiler->tree());
  number_sets(program, program.compiler->tree());
  for (auto& set : program.sets) Planner(program, program.code).rule_set(set);
  plan_needed(program, program.code);
}

std::shared_ptr<QueryPlan> plan_query(Program& program, const Body& body, bool single) {
  auto out = std::make_shared<QueryPlan>();
  Planner(program, out->code).query(*out, body, single);
  plan_needed(program, out->code);
  return out;
}

}  // namespace cairn::policy
