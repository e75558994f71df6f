#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include "policy/program.h"

namespace cairn::policy {
namespace {

constexpr std::size_t most_keys = 8;       // that a partial rule is specialised for
constexpr std::size_t fewest_indexed = 3;  // rules; fewer are tried one after another

class Planner {
 public:
  Planner(Program& program, Code& code) : p_(program), code_(code) {}

  void rule_set(RuleSet& set);
  [[nodiscard]] RuleCode rule(const Rule* r, const RuleSet& set, std::uint32_t mask);
  void query(QueryPlan& plan, const Body& body, bool single);

 private:
  using Bound = std::unordered_map<Symbol, std::int32_t>;
  struct Block {
    std::vector<Inst> code;
  };

  // --- emission
  std::int32_t fresh() { return static_cast<std::int32_t>(frame_++); }
  Inst& emit(Op op, std::int32_t dst = 0, std::int32_t a = 0, std::int32_t b = 0, std::int32_t c = 0) {
    Inst i;
    i.op = op;
    i.file = static_cast<std::uint16_t>(at_.file);
    i.line = at_.line;
    i.dst = dst;
    i.a = a;
    i.b = b;
    i.c = c;
    block_->code.push_back(i);
    return block_->code.back();
  }
  Operand constant(const Value& v) {
    code_.constants.push_back(v);
    return ~static_cast<Operand>(code_.constants.size() - 1);
  }
  std::int32_t arguments(const std::vector<Operand>& ops) {
    const auto first = static_cast<std::int32_t>(code_.args.size());
    code_.args.insert(code_.args.end(), ops.begin(), ops.end());
    return first;
  }
  std::uint32_t flush(Block& b) {
    const auto start = static_cast<std::uint32_t>(code_.code.size());
    code_.code.insert(code_.code.end(), b.code.begin(), b.code.end());
    return start;
  }
  // Emits a block of its own; variables bound in it are forgotten unless `keep`.
  template <class F>
  std::uint32_t sub_block(F&& fill, bool keep = false) {
    Block inner;
    Block* outer = block_;
    block_ = &inner;
    Bound saved = bound_;
    fill();
    emit(Op::yield);
    if (!keep) bound_ = std::move(saved);
    block_ = outer;
    return flush(inner);
  }

  // --- terms
  [[nodiscard]] bool ground(const Term* t) const;
  [[nodiscard]] const Value* literal(const Term* t);
  [[nodiscard]] Operand value(const Term* t);  // t must be ground
  [[nodiscard]] Operand composite(const Term* t);
  [[nodiscard]] Operand comprehension(const Term* t);
  [[nodiscard]] Operand reference(const Term* t);
  [[nodiscard]] Operand steps(Operand from, const std::vector<Term*>& items, std::size_t next);
  [[nodiscard]] Operand data_reference(const Term* t);
  [[nodiscard]] Operand node_steps(const TreeNode* n, const std::vector<Term*>& items, std::size_t next);
  [[nodiscard]] Operand partial(const RuleSet& set, const std::vector<Term*>& items, std::size_t next);
  void bind(Symbol v, Operand o);
  void key_pattern(const Term* t, Operand key);

  // --- expressions
  struct Side {
    const Term* term = nullptr;  // or
    Operand operand = 0;
  };
  void unify(Side a, Side b);
  [[nodiscard]] bool settle(Side& a, Side& b, std::vector<std::pair<Side, Side>>& more);
  void destructure(const Term* pattern, Operand o, std::vector<std::pair<Side, Side>>& more);
  void body(const Body& b);
  void expr(const Expr* e);
  void plain_expr(const Expr* e);
  void call(const Expr* e);
  void with(const Expr* e);
  [[nodiscard]] std::int32_t partial_plan(const RuleSet& set, std::uint32_t mask);

  // --- guards
  // A place in the base documents: input or data, and constant keys.
  struct Place {
    bool data = false;
    std::vector<Value> path;
  };
  [[nodiscard]] std::optional<Place> place(const Term* t) const;
  [[nodiscard]] std::optional<Place> container(const Term* t) const;
  [[nodiscard]] std::int32_t read(const Place& at);
  [[nodiscard]] std::optional<Operand> settled_operand(const Term* t);
  void guards(const Rule* r, std::vector<Guard>& out);

  Program& p_;
  Code& code_;
  Block* block_ = nullptr;
  Bound bound_;
  std::uint32_t frame_ = 0;
  Location at_;
  // What the guards of a rule have read, checked and seen.
  std::unordered_map<std::string, std::int32_t> read_;
  std::unordered_set<const Expr*> settled_;
  std::unordered_map<Symbol, Place> alias_;
  std::unordered_map<Symbol, Value> known_;
  bool replaced_ = false;  // inside of a `with`: what was read before may not hold
};

void append_key(const Value& v, std::string& out) {
  out += '\n';
  write_rego(v, out, max_string_bytes);
}

bool Planner::ground(const Term* t) const {
  switch (t->kind) {
    case TermKind::var: return bound_.contains(t->name);
    case TermKind::array:
    case TermKind::object:
    case TermKind::set: return std::ranges::all_of(t->items, [&](const Term* x) { return ground(x); });
    default: return true;  // references and comprehensions are evaluated
  }
}

void Planner::bind(Symbol v, Operand o) {
  if (o >= 0) {
    bound_[v] = o;
    return;
  }
  const auto r = fresh();
  emit(Op::move, r, o);
  bound_[v] = r;
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
      if (const auto it = bound_.find(t->name); it != bound_.end()) return it->second;
      throw Stop{{ErrorCode::internal, {}, "unbound variable " + *t->name + " at line " + std::to_string(t->loc.line)}};
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

Operand Planner::steps(Operand from, const std::vector<Term*>& items, std::size_t next) {
  for (; next < items.size(); ++next) {
    const auto dst = fresh();
    if (ground(items[next])) {
      emit(Op::get, dst, from, value(items[next]));
    } else {
      const auto key = fresh();
      emit(Op::scan, dst, from, key);
      key_pattern(items[next], key);
    }
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

// By the value that most rules compare with a constant; none where few do.
std::optional<RuleIndex> index_of(const std::vector<RuleCode>& rules) {
  if (rules.size() < fewest_indexed) return std::nullopt;
  const auto usable = [](const RuleCode& r) { return r.otherwise.empty(); };
  const auto key_of = [](const Guard& g) {
    std::string key = std::to_string(g.argument);
    for (const Value& v : g.path) append_key(v, key);
    return key;
  };
  std::map<std::string, std::size_t> counts;
  for (const auto& r : rules) {
    std::set<std::string> once;
    for (const Guard& g : r.guards)
      if (usable(r) && once.insert(key_of(g)).second) ++counts[key_of(g)];
  }
  const auto best = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
  if (best == counts.end() || best->second < fewest_indexed) return std::nullopt;
  RuleIndex out;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const auto number = static_cast<std::uint32_t>(i);
    const auto g = std::ranges::find_if(rules[i].guards, [&](const Guard& x) { return key_of(x) == best->first; });
    if (!usable(rules[i]) || g == rules[i].guards.end()) {
      out.others.push_back(number);
      continue;
    }
    out.argument = g->argument;
    out.path = g->path;
    const auto h = hash(g->value);
    auto [from, to] = out.by_value.equal_range(h);
    from = std::find_if(from, to, [&](const auto& x) { return equal(x.second.first, g->value); });
    if (from == to) from = out.by_value.emplace(h, std::pair(g->value, std::vector<std::uint32_t>()));
    from->second.second.push_back(number);
  }
  return out;
}

std::int32_t Planner::partial_plan(const RuleSet& set, std::uint32_t mask) {
  for (std::size_t i = 0; i < code_.partials.size(); ++i)
    if (code_.partials[i]->set == set.id && code_.partials[i]->mask == mask) return static_cast<std::int32_t>(i);
  const std::size_t at = code_.partials.size();
  code_.partials.push_back(std::make_unique<PartialPlan>());
  code_.partials[at]->set = set.id;
  code_.partials[at]->mask = mask;
  // Rules are planned apart from the block that needs them.
  Planner inner(p_, code_);
  std::vector<RuleCode> rules;
  for (const Rule* r : set.sources)
    if (!r->is_default) rules.push_back(inner.rule(r, set, mask));
  code_.partials[at]->index = index_of(rules);
  code_.partials[at]->rules = std::move(rules);
  return static_cast<std::int32_t>(at);
}

Operand Planner::partial(const RuleSet& set, const std::vector<Term*>& items, std::size_t next) {
  std::uint32_t mask = 0;
  std::vector<Operand> keys;
  if (next < items.size() && ground(items[next])) {
    for (std::size_t i = 0; i < std::min(set.keys, most_keys) && next + i < items.size(); ++i) {
      if (!ground(items[next + i])) continue;
      // Set elements are looked up whole; a composite key may be a pattern elsewhere.
      mask |= 1U << i;
      keys.push_back(value(items[next + i]));
    }
  }
  const auto dst = fresh();
  const auto plan = partial_plan(set, mask);
  emit(Op::partial, dst, plan, arguments(keys), static_cast<std::int32_t>(keys.size()));
  return steps(dst, items, next);
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
    if (child == nullptr) {  // only base documents from here on
      const auto dst = fresh();
      emit(Op::data, dst);
      return steps(dst, t->items, 1);
    }
    n = child;
  }
  const auto dst = fresh();
  emit(Op::extent, dst, p_.node_ids.at(n));
  return dst;
}

// --- unification, as far as it is left

void Planner::destructure(const Term* pattern, Operand o, std::vector<std::pair<Side, Side>>& more) {
  if (pattern->kind == TermKind::set) {  // sets cannot bind; only equal
    throw Stop{{ErrorCode::internal, {}, "a set with unbound variables at line " + std::to_string(pattern->loc.line)}};
  }
  const bool array = pattern->kind == TermKind::array;
  const std::size_t count = array ? pattern->items.size() : pattern->items.size() / 2;
  emit(array ? Op::is_array : Op::is_object, 0, o, static_cast<std::int32_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const auto dst = fresh();
    const Operand key = array ? constant(Value::integer(static_cast<std::int64_t>(i))) : value(pattern->items[2 * i]);
    emit(Op::get, dst, o, key);
    more.push_back({{pattern->items[array ? i : 2 * i + 1], 0}, {nullptr, dst}});
  }
}

// Emits one equation where one of its sides is known; false where it has to wait.
bool Planner::settle(Side& a, Side& b, std::vector<std::pair<Side, Side>>& more) {
  for (Side* s : {&a, &b}) {
    if (s->term == nullptr) continue;
    const Term* t = s->term;
    const bool evaluated = t->kind == TermKind::ref || t->kind == TermKind::array_of ||
                           t->kind == TermKind::object_of || t->kind == TermKind::set_of;
    const Side& other = s == &a ? b : a;
    const bool pattern_waits = other.term != nullptr && !ground(other.term) && other.term->kind != TermKind::var;
    const bool literal_match =
        !evaluated && pattern_waits && (t->kind == TermKind::array || t->kind == TermKind::object);
    if ((evaluated || ground(t)) && !literal_match) *s = {nullptr, value(t)};
  }
  if (a.term != nullptr && b.term == nullptr) std::swap(a, b);
  if (a.term == nullptr && b.term == nullptr) {
    emit(Op::equal, 0, a.operand, b.operand);
    return true;
  }
  if (a.term == nullptr) {                                               // a is known
    if (b.term->kind == TermKind::var && bound_.contains(b.term->name))  // evaluating the other side has bound it
      emit(Op::equal, 0, bound_[b.term->name], a.operand);
    else if (b.term->kind == TermKind::var)
      bind(b.term->name, a.operand);
    else
      destructure(b.term, a.operand, more);
    return true;
  }
  if (a.term->kind == TermKind::array && b.term->kind == TermKind::array) {
    if (a.term->items.size() != b.term->items.size()) {
      emit(Op::fail);
      for (const Side& s : {a, b}) {  // what is never reached still counts as bound
        VarSet vars;
        collect_vars(s.term, {.ref_heads = false, .closures = false}, vars);
        for (Symbol v : vars)
          if (!bound_.contains(v)) bound_[v] = fresh();
      }
      return true;
    }
    for (std::size_t i = 0; i < a.term->items.size(); ++i)
      more.push_back({{a.term->items[i], 0}, {b.term->items[i], 0}});
    return true;
  }
  if (a.term->kind == TermKind::object && b.term->kind == TermKind::object) {
    bool same = a.term->items.size() == b.term->items.size();
    for (std::size_t i = 0; same && i < a.term->items.size(); i += 2) {
      const auto key = to_text(a.term->items[i]);
      std::size_t j = 0;
      while (j < b.term->items.size() && to_text(b.term->items[j]) != key) j += 2;
      if (j >= b.term->items.size())
        same = false;
      else
        more.push_back({{a.term->items[i + 1], 0}, {b.term->items[j + 1], 0}});
    }
    if (!same) {
      emit(Op::fail);
      more.clear();
      for (const Side& s : {a, b}) {
        VarSet vars;
        collect_vars(s.term, {.ref_heads = false, .closures = false}, vars);
        for (Symbol v : vars)
          if (!bound_.contains(v)) bound_[v] = fresh();
      }
    }
    return true;
  }
  return false;
}

void Planner::unify(Side first, Side second) {
  std::vector<std::pair<Side, Side>> open{{first, second}};
  while (!open.empty()) {
    std::vector<std::pair<Side, Side>> later;
    bool progress = false;
    for (auto& [a, b] : open) {
      std::vector<std::pair<Side, Side>> more;
      if (settle(a, b, more))
        progress = true;
      else
        later.emplace_back(a, b);
      later.insert(later.end(), more.begin(), more.end());
    }
    if (!progress)
      throw Stop{{ErrorCode::internal, {}, "an equation binds nothing at line " + std::to_string(at_.line)}};
    open = std::move(later);
  }
}

// --- expressions

void Planner::body(const Body& b) {
  for (const Expr* e : b)
    if (!settled_.contains(e)) expr(e);
}

// --- guards: what a rule needs of the base documents is looked at before anything else of its body. OPA's rule index
// does the same, so that an error elsewhere in a body that cannot hold is not met.

std::optional<Planner::Place> Planner::place(const Term* t) const {
  if (t->kind != TermKind::ref || t->items[0]->kind != TermKind::var) return std::nullopt;
  Place out;
  if (is_root_ref(t, "data")) {
    out.data = true;
  } else if (!is_root_ref(t, "input")) {
    const auto it = alias_.find(t->items[0]->name);
    if (it == alias_.end()) return std::nullopt;
    out = it->second;
  }
  for (std::size_t i = 1; i < t->items.size(); ++i) {
    const Term* k = t->items[i];
    if (k->kind == TermKind::scalar) {
      out.path.push_back(k->value);
    } else {
      const auto it = k->kind == TermKind::var ? known_.find(k->name) : known_.end();
      if (it == known_.end()) return std::nullopt;
      out.path.push_back(it->second);
    }
  }
  if (!out.data) return out;
  const TreeNode* n = &p_.compiler->tree();
  for (const Value& k : out.path) {
    n = n->child(k);
    if (n == nullptr) return out;
    if (!n->rules.empty()) break;
  }
  return std::nullopt;  // rules have a say there
}

// The place of what a reference looks through with its last part, a variable.
std::optional<Planner::Place> Planner::container(const Term* t) const {
  if (t->kind != TermKind::ref || t->items.back()->kind != TermKind::var || t->items.size() < 2) return std::nullopt;
  Term prefix = *t;
  prefix.items.pop_back();
  return place(&prefix);
}

std::int32_t Planner::read(const Place& at) {
  std::string key = at.data ? "d" : "i";
  const auto step = [&](auto&& make) {
    const auto [it, fresh_one] = read_.emplace(key, 0);
    if (fresh_one) it->second = make();
    return it->second;
  };
  auto from = step([&] {
    const auto dst = fresh();
    emit(at.data ? Op::data : Op::input, dst);
    return dst;
  });
  for (const Value& k : at.path) {
    append_key(k, key);
    from = step([&] {
      const auto dst = fresh();
      emit(Op::get, dst, from, constant(k));
      return dst;
    });
  }
  return from;
}

// The operand of a call that is known before the body: a constant, or what a guard has read.
std::optional<Operand> Planner::settled_operand(const Term* t) {
  if (const Value* v = literal(t); v != nullptr) return constant(*v);
  if (t->kind != TermKind::var) return std::nullopt;
  if (const auto it = known_.find(t->name); it != known_.end()) return constant(it->second);
  if (const auto it = alias_.find(t->name); it != alias_.end()) return read(it->second);
  return std::nullopt;
}

void Planner::guards(const Rule* r, std::vector<Guard>& out) {
  read_.clear();
  settled_.clear();
  alias_.clear();
  known_.clear();
  if (p_.options.prints) return;  // traces show bodies in their order
  for (std::size_t i = 0; i < r->args.size(); ++i)
    if (const Value* v = literal(r->args[i]); v != nullptr)
      out.push_back({.argument = static_cast<std::int32_t>(i), .path = {}, .value = *v});
  for (const Expr* e : r->body) {
    if (e->negated || !e->with.empty()) continue;
    at_ = e->loc;
    if (e->kind == ExprKind::term) {
      if (const auto at = place(e->items[0])) (void)read(*at);
      continue;
    }
    if (e->kind != ExprKind::call) continue;
    if (is_call_of(e, "eq") && e->items.size() == 3) {
      for (int side = 1; side <= 2; ++side) {
        const Term* a = e->items[static_cast<std::size_t>(side)];
        const Term* b = e->items[static_cast<std::size_t>(3 - side)];
        const bool flat = b->kind == TermKind::array && std::ranges::all_of(b->items, [](const Term* x) {
                            return x->kind == TermKind::scalar || x->kind == TermKind::var;
                          });
        const Value* v = b->kind == TermKind::scalar || flat ? literal(b) : nullptr;
        if (a->kind == TermKind::var) {
          const auto argument = std::ranges::find_if(
              r->args, [&](const Term* x) { return x->kind == TermKind::var && x->name == a->name; });
          if (argument != r->args.end() && v != nullptr) {
            const auto i = static_cast<std::int32_t>(argument - r->args.begin());
            emit(Op::equal, 0, i, constant(*v));
            out.push_back({.argument = i, .path = {}, .value = *v});
            settled_.insert(e);
            break;
          }
          if (b->kind == TermKind::scalar) known_.emplace(a->name, b->value);
        } else if (const auto at = place(a); at && (v != nullptr || flat || b->kind == TermKind::var)) {
          const auto reg = read(*at);
          if (b->kind == TermKind::var) {
            if (const auto it = known_.find(b->name); it != known_.end()) v = &it->second;
            alias_.emplace(b->name, *at);
          }
          if (v != nullptr) {
            emit(Op::equal, 0, reg, constant(*v));
            if (!at->data) out.push_back({.argument = -1, .path = at->path, .value = *v});
            if (b->kind != TermKind::var) settled_.insert(e);
          }
          break;
        } else if (const auto in = v != nullptr && b->kind == TermKind::scalar ? container(a) : std::nullopt) {
          const auto reg = read(*in);  // a[_] == 1: the collection has to hold it
          const auto start = sub_block([&] {
            const auto each = fresh();
            emit(Op::scan, each, reg, fresh());
            emit(Op::equal, 0, each, constant(*v));
          });
          emit(Op::exists, 0, static_cast<std::int32_t>(start));
          break;
        }
      }
      continue;
    }
    const Builtin* call = p_.compiler->builtin(e->items[0]);
    if (call == nullptr || e->items.size() != 3 || call->arity != 2) continue;
    static constexpr std::string_view testable[] = {"internal.member_2", "startswith", "endswith",
                                                    "strings.any_prefix_match", "strings.any_suffix_match"};
    if (std::ranges::find(testable, call->name) == std::end(testable)) continue;
    const auto a = settled_operand(e->items[1]);
    const auto b = a ? settled_operand(e->items[2]) : std::nullopt;
    if (!b || (*a < 0 && *b < 0)) continue;
    const auto dst = fresh();
    code_.builtins.push_back(call);
    emit(Op::call, dst, static_cast<std::int32_t>(code_.builtins.size() - 1), arguments({*a, *b}), 2);
    emit(Op::test, 0, dst);
    settled_.insert(e);
  }
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
        bound_[e->items[0]->name] = key;
        bound_[e->items[1]->name] = v;
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
  const auto first = arguments(ops);
  const auto count = static_cast<std::int32_t>(ops.size());
  if (b != nullptr) {
    code_.builtins.push_back(b);
    emit(Op::call, dst, static_cast<std::int32_t>(code_.builtins.size() - 1), first, count);
    if (b->is_void) return;
    if (b->relation) {
      const auto each = fresh();
      emit(Op::scan, each, dst, fresh());
      dst = each;
    }
  } else {
    const TreeNode* n = p_.compiler->function(op);
    emit(Op::function, dst, n->ruleset, first, count);
  }
  if (e->items.size() == arity + 2)
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
    if (t.by_function == nullptr && t.by_builtin == nullptr) t.value = value(w.value);
    plan.targets.push_back(std::move(t));
  }
  const Bound before = bound_;
  const bool outer = std::exchange(replaced_, true);
  const auto start = sub_block([&] { plain_expr(e); }, true);
  replaced_ = outer;
  for (const auto& [v, r] : bound_)
    if (!before.contains(v)) plan.outputs.push_back(r);
  std::ranges::sort(plan.outputs);
  code_.withs.push_back(std::move(plan));
  emit(Op::with, 0, static_cast<std::int32_t>(start), static_cast<std::int32_t>(code_.withs.size() - 1));
}

// --- rules

RuleCode Planner::rule(const Rule* r, const RuleSet& set, std::uint32_t mask) {
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
    frame_ = static_cast<std::uint32_t>(r->args.size());
    for (std::size_t i = 0; i < r->args.size(); ++i) unify({r->args[i], 0}, {nullptr, static_cast<Operand>(i)});
  }
  if (mask != 0) {
    std::vector<const Term*> keys = path;
    if (r->key != nullptr) keys.push_back(r->key);
    frame_ = static_cast<std::uint32_t>(std::popcount(mask));
    Operand given = 0;
    for (std::size_t i = 0; i < most_keys; ++i) {
      if ((mask & (1U << i)) == 0) continue;
      // Only variables and constants take part; composite keys are compared after the fact.
      if (i < keys.size() && (keys[i]->kind == TermKind::var || literal(keys[i]) != nullptr))
        unify({keys[i], 0}, {nullptr, given});
      ++given;
    }
  }
  guards(r, out.guards);
  at_ = r->loc;
  body(r->body);
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
      out.otherwise.push_back(inner.rule(&single, set, 0));
    }
  return out;
}

void Planner::rule_set(RuleSet& set) {
  if (set.kind == RuleSet::Kind::partial) {
    set.full = partial_plan(set, 0);
    return;
  }
  for (const Rule* r : set.sources) {
    Planner one(p_, code_);
    RuleCode c = one.rule(r, set, 0);
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
    for (const auto& [v, r] : bound_) {
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

}  // namespace

void plan(Program& program) {
  number_nodes(program, program.compiler->tree());
  number_sets(program, program.compiler->tree());
  for (auto& set : program.sets) Planner(program, program.code).rule_set(set);
}

std::shared_ptr<QueryPlan> plan_query(Program& program, const Body& body, bool single) {
  auto out = std::make_shared<QueryPlan>();
  Planner(program, out->code).query(*out, body, single);
  return out;
}

}  // namespace cairn::policy
