// Rules: complete ones and functions have one value, partial ones gather theirs.
#include <algorithm>

#include "policy/eval.h"

namespace cairn::policy {

Value Machine::one_rule(const RuleCode& rule, const RuleSet& set, std::span<const Value> args) {
  const Depth depth(*this);
  Value* regs = frame(rule.frame);
  std::copy(args.begin(), args.end(), regs);
  trace(TraceEvent::Kind::enter, rule.file, rule.line, set.path);
  Run run{*rule.code, rule.start, regs, choices_.size()};
  Value out;
  while (next(run)) {
    const Value v = read(*rule.code, regs, rule.value);
    if (out.defined()) {
      if (!equal(out, v))
        stop(ErrorCode::conflict,
             set.kind == RuleSet::Kind::function ? "functions must not produce multiple outputs for same inputs"
                                                 : "complete rules must not produce multiple outputs",
             rule.file, rule.line);
    } else {
      out = v;
    }
    if (rule.constant) break;
  }
  drop(run.base);
  end_trace(rule, run, out.defined(), set.path);
  return out;
}

Value Machine::chain(const RuleCode& rule, const RuleSet& set, std::span<const Value> args) {
  Value v = one_rule(rule, set, args);
  for (std::size_t i = 0; !v.defined() && i < rule.otherwise.size(); ++i) v = one_rule(rule.otherwise[i], set, args);
  return v;
}

// Calls `f` with the rules that can match, in their order, until it returns false.
template <class F>
void Machine::each_rule(const std::vector<RuleCode>& rules, const std::optional<RuleIndex>& index,
                        std::span<const Value> args, F&& f) const {
  if (!index) {
    for (const auto& r : rules)
      if (!f(r)) return;
    return;
  }
  const Value* v = nullptr;
  if (index->argument >= 0) {
    v = &args[static_cast<std::size_t>(index->argument)];
  } else if (context_->input.defined()) {
    v = &context_->input;
    for (std::size_t i = 0; i < index->path.size() && v != nullptr; ++i) v = find(*v, index->path[i]);
  }
  std::span<const std::uint32_t> matched;
  if (v != nullptr) {
    if (const auto* entry = index->find(*v); entry != nullptr) matched = entry->rules;
  }
  std::span<const std::uint32_t> others = index->others;
  while (!matched.empty() || !others.empty()) {
    auto& from = others.empty() || (!matched.empty() && matched.front() < others.front()) ? matched : others;
    const std::uint32_t i = from.front();
    from = from.subspan(1);
    if (!f(rules[i])) return;
  }
}

// The one value of a complete rule or function.
Value Machine::decide(const RuleSet& set, std::span<const Value> args) {
  Value out;
  const auto one = [&](const RuleCode& rule) {
    const Value v = chain(rule, set, args);
    if (!v.defined()) return true;
    if (out.defined() && !equal(out, v))
      stop(ErrorCode::conflict,
           set.kind == RuleSet::Kind::function ? "functions must not produce multiple outputs for same inputs"
                                               : "complete rules must not produce multiple outputs",
           rule.file, rule.line);
    out = v;
    return !set.same_constant;
  };
  each_rule(set.rules, set.index, args, one);
  if (!out.defined() && set.fallback) out = one_rule(*set.fallback, set, args);
  return out;
}

Value Machine::complete(std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  const RuleSet& set = program_.sets[at];
  if (!context_->shadowed.empty() && shadowed(*set.node)) return base_at(*set.node);
  Context* const in = context_;
  if (in->known[at] == 0) {
    const Value v = decide(set, {});
    in->complete[at] = v;
    in->known[at] = 1;
  }
  return in->complete[at];
}

Value Machine::partial(const PartialPlan& plan, std::span<const Value> keys) {
  const RuleSet& set = program_.sets[static_cast<std::size_t>(plan.set)];
  if (!context_->shadowed.empty() && shadowed(*set.node)) return base_at(*set.node);
  Context* const in = context_;
  const auto at = static_cast<std::size_t>(plan.set);
  if (in->known[at] != 0) return in->complete[at];  // all of it is known already
  std::uint64_t h = 0;
  const auto lookup = [&](std::span<const Value> some, std::uint32_t mask) {
    h = Memos::hash_of(some, (static_cast<std::uint64_t>(plan.set) + 1) * 1000 + mask);
    return in->memos.find(h, plan.set, mask, some);
  };
  for (std::size_t n = 1; n <= plan.whole && n < keys.size(); ++n)  // all below the first keys may be known
    if (const Value* known = lookup(keys.first(n), (1U << n) - 1)) return *known;
  if (plan.mask != 0)
    if (const Value* known = lookup(keys, plan.mask)) return *known;
  std::vector<std::vector<Value>> rows;
  std::vector<Value> elements;  // of what is one set
  std::size_t values = 0;
  const auto one = [&](const RuleCode& rule) {
    const Depth depth(*this);
    Value* regs = frame(std::max<std::size_t>(rule.frame, keys.size()));
    std::copy(keys.begin(), keys.end(), regs);
    trace(TraceEvent::Kind::enter, rule.file, rule.line, set.path);
    Run run{*rule.code, rule.start, regs, choices_.size()};
    bool found = false;
    while (next(run)) {
      found = true;
      if (set.set) {
        elements.push_back(read(*rule.code, regs, rule.key));
        if (++values * 2 * sizeof(Value) > options_.limits.memory)
          stop(ErrorCode::too_large, "the evaluation needs more memory than its limit", rule.file, rule.line);
        continue;
      }
      std::vector<Value> row;
      for (const Operand o : rule.path) row.push_back(read(*rule.code, regs, o));
      row.push_back(rule.is_set ? Value() : read(*rule.code, regs, rule.value));
      if (rule.is_set) row.push_back(read(*rule.code, regs, rule.key));
      values += row.size();
      rows.push_back(std::move(row));
      if (values * 2 * sizeof(Value) > options_.limits.memory)
        stop(ErrorCode::too_large, "the evaluation needs more memory than its limit", rule.file, rule.line);
    }
    drop(run.base);
    end_trace(rule, run, found, set.path);
    return true;
  };
  each_rule(plan.rules, plan.index, {}, one);
  tick(elements.size());
  const Value v = set.set ? arena().set(elements) : build(rows);
  if (plan.mask == 0) {
    in->complete[at] = v;
    in->known[at] = 1;
  } else {
    auto* copy = static_cast<Value*>(arena().allocate(keys.size() * sizeof(Value)));
    std::uninitialized_copy(keys.begin(), keys.end(), copy);
    in->memos.add(h, plan.set, plan.mask, static_cast<std::uint32_t>(keys.size()), copy, v);
  }
  return v;
}

// Rows are paths followed by a value, or by a mark (undefined) and an element of the set there.
Value Machine::build(std::vector<std::vector<Value>>& rows) {
  tick(rows.size());
  const auto before = [](const std::vector<Value>& a, const std::vector<Value>& b) {
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      if (const int c = compare(a[i], b[i]); c != 0) return c < 0;
    return a.size() < b.size();
  };
  std::stable_sort(rows.begin(), rows.end(), before);
  const auto conflict = [&]() -> Value { stop(ErrorCode::conflict, "object keys must be unique"); };
  const auto path_size = [](const std::vector<Value>& row) {
    return row.size() >= 2 && !row[row.size() - 2].defined() ? row.size() - 2 : row.size() - 1;
  };
  // Groups rows by their first keys, level by level; recursion is bounded by the length of rule heads.
  const auto level = [&](auto&& self, std::size_t from, std::size_t to, std::size_t depth) -> Value {
    std::vector<Pair> pairs;
    for (std::size_t i = from; i < to;) {
      std::size_t end = i + 1;
      while (end < to && equal(rows[end][depth], rows[i][depth])) ++end;
      bool leaf = false;
      bool inner = false;
      for (std::size_t k = i; k < end; ++k) (path_size(rows[k]) == depth + 1 ? leaf : inner) = true;
      if (leaf && inner) return conflict();
      Value v;
      if (inner) {
        v = self(self, i, end, depth + 1);
      } else if (rows[i].size() == depth + 3) {  // elements of a set
        std::vector<Value> items;
        for (std::size_t k = i; k < end; ++k) {
          if (rows[k].size() != depth + 3) return conflict();
          items.push_back(rows[k].back());
        }
        v = arena().set(items);
      } else {
        v = rows[i].back();
        for (std::size_t k = i + 1; k < end; ++k)
          if (rows[k].size() != depth + 2 || !equal(rows[k].back(), v)) return conflict();
      }
      pairs.emplace_back(rows[i][depth], v);
      i = end;
    }
    return arena().object(pairs);
  };
  return level(level, 0, rows.size(), 0);
}

}  // namespace cairn::policy
