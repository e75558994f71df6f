// What a rule needs of the base documents is looked at before anything else of its body. OPA's rule index does the
// same, so that an error elsewhere in a body that cannot hold is not met.
#include <algorithm>
#include <map>
#include <set>

#include "policy/planner.h"

namespace cairn::policy {

namespace {

constexpr std::size_t fewest_indexed = 3;  // rules; fewer are tried one after another

}  // namespace

void append_key(const Value& v, std::string& out) {
  out += '\n';
  write_rego(v, out, max_string_bytes);
}

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
      if (it == known_.end() || it->second.is_collection()) return std::nullopt;
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
  const auto step = [&](const std::string& key, auto&& make) {
    const auto [it, fresh_one] = read_.emplace(key, 0);
    if (fresh_one) it->second = make();
    return it->second;
  };
  std::string key = at.data ? "d" : "i";
  if (at.data) {
    for (const Value& k : at.path) append_key(k, key);
    return step(key, [&] {
      std::vector<Operand> keys;
      for (const Value& k : at.path) keys.push_back(constant(k));
      return base(keys);
    });
  }
  auto from = step(key, [&] {
    const auto dst = fresh();
    emit(Op::input, dst);
    return dst;
  });
  for (const Value& k : at.path) {
    append_key(k, key);
    from = step(key, [&] { return get(from, constant(k)); });
  }
  return from;
}

// What a variable stands for that is known before the body: an argument, or what a guard has read.
std::optional<Operand> Planner::settled_operand(const Rule* r, const Term* t) {
  if (t->kind != TermKind::var) return std::nullopt;
  if (const auto it = alias_.find(t->name); it != alias_.end()) return read(it->second);
  for (std::size_t i = 0; i < r->args.size(); ++i)
    if (r->args[i]->kind == TermKind::var && r->args[i]->name == t->name) return static_cast<Operand>(i);
  return std::nullopt;
}

// The constant that a term is, or the variable it is.
const Value* Planner::settled_value(const Term* t) {
  if (const Value* v = literal(t); v != nullptr) return v;
  const auto it = t->kind == TermKind::var ? known_.find(t->name) : known_.end();
  return it != known_.end() ? &it->second : nullptr;
}

// A test of something known against a constant, such as input.a in ["b", "c"] or startswith(input.a, "b").
void Planner::guard_call(const Rule* r, const Expr* e) {
  const Builtin* call = p_.compiler->builtin(e->items[0]);
  if (call == nullptr || e->items.size() != 3 || call->arity != 2) return;
  const bool member = call->name == "internal.member_2";
  const bool any = call->name == "strings.any_prefix_match" || call->name == "strings.any_suffix_match";
  if (!member && !any && call->name != "startswith" && call->name != "endswith") return;
  auto a = settled_operand(r, e->items[1]);
  std::optional<Operand> b;
  if (a) {
    const Value* v = settled_value(e->items[2]);
    const auto each = [&](auto&& fits) {
      for (std::size_t i = 0; i < v->size(); ++i)
        if (!fits(v->is(Kind::object) ? v->value(i) : v->items()[i])) return false;
      return v->size() > 0;
    };
    const auto text = [](const Value& x) { return x.is(Kind::string); };
    const bool fits =
        v != nullptr && (member ? v->is_collection() && each([](const Value& x) {
                                    return !x.is(Kind::object) && !x.is(Kind::set);  // those stand for anything
                                  })
                                : text(*v) || (any && (v->is(Kind::array) || v->is(Kind::set)) && each(text)));
    if (fits) b = constant(*v);
  } else if (member) {
    const Value* v = settled_value(e->items[1]);
    if (v != nullptr && !v->is_collection()) b = settled_operand(r, e->items[2]);
    if (b) a = constant(*v);
  }
  if (!a || !b) return;
  const auto dst = fresh();
  code_.builtins.push_back(call);
  emit(Op::call, dst, static_cast<std::int32_t>(code_.builtins.size() - 1), arguments({*a, *b}), 2);
  emit(Op::test, 0, dst);
  settled_.insert(e);
}

// An array of so many elements, with these constants among them.
void Planner::guard_array(std::int32_t reg, const Term* pattern) {
  emit(Op::is_array, 0, reg, static_cast<std::int32_t>(pattern->items.size()));
  for (std::size_t i = 0; i < pattern->items.size(); ++i)
    if (pattern->items[i]->kind == TermKind::scalar) {
      const auto element = get(reg, constant(Value::integer(static_cast<std::int64_t>(i))));
      emit(Op::equal, 0, element, constant(pattern->items[i]->value));
    }
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
          if (argument != r->args.end() && v == nullptr && flat) {
            guard_array(static_cast<std::int32_t>(argument - r->args.begin()), b);
            break;
          }
          if (argument != r->args.end() && v != nullptr) {
            const auto i = static_cast<std::int32_t>(argument - r->args.begin());
            emit(Op::equal, 0, i, constant(*v));
            out.push_back({.argument = i, .path = {}, .value = *v});
            settled_.insert(e);
            break;
          }
          if (const Value* known = literal(b); known != nullptr) known_.emplace(a->name, *known);
          if (const auto read_as = alias_.find(a->name); read_as != alias_.end() && v != nullptr) {
            const Place& at = read_as->second;
            emit(Op::equal, 0, read(at), constant(*v));
            if (!at.data) out.push_back({.argument = -1, .path = at.path, .value = *v});
            settled_.insert(e);
            break;
          }
        } else if (const auto at = place(a); at && (v != nullptr || flat || b->kind == TermKind::var)) {
          const auto reg = read(*at);
          if (b->kind == TermKind::var) {
            if (const auto it = known_.find(b->name);
                it != known_.end() && !it->second.is(Kind::object) && !it->second.is(Kind::set))
              v = &it->second;
            alias_.emplace(b->name, *at);
          }
          if (v != nullptr) {
            emit(Op::equal, 0, reg, constant(*v));
            if (!at->data) out.push_back({.argument = -1, .path = at->path, .value = *v});
            if (b->kind != TermKind::var) settled_.insert(e);
          } else if (flat) {
            guard_array(reg, b);
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
    guard_call(r, e);
  }
}

std::size_t RuleIndex::slot(const Value& v, std::uint64_t h) const {
  std::size_t at = h & (slots_.size() - 1);
  while (slots_[at] != 0 && !(entries_[slots_[at] - 1].hash == h && equal(entries_[slots_[at] - 1].value, v)))
    at = (at + 1) & (slots_.size() - 1);
  return at;
}

const RuleIndex::Entry* RuleIndex::find(const Value& v) const {
  if (slots_.empty()) return nullptr;
  const std::uint32_t at = slots_[slot(v, hash(v))];
  return at == 0 ? nullptr : &entries_[at - 1];
}

void RuleIndex::add(const Value& v, std::uint32_t rule) {
  if (2 * (entries_.size() + 1) > slots_.size()) {
    slots_.assign(std::max<std::size_t>(8, slots_.size() * 2), 0);
    for (std::size_t i = 0; i < entries_.size(); ++i)
      slots_[slot(entries_[i].value, entries_[i].hash)] = static_cast<std::uint32_t>(i + 1);
  }
  const std::uint64_t h = hash(v);
  std::uint32_t& at = slots_[slot(v, h)];
  if (at == 0) {
    entries_.push_back({h, v, {}});
    at = static_cast<std::uint32_t>(entries_.size());
  }
  entries_[at - 1].rules.push_back(rule);
}

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
    out.add(g->value, number);
  }
  return out;
}

}  // namespace cairn::policy
