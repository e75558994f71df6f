// The tree of documents: base documents, what `with` put over them, and rules among them.
#include <algorithm>

#include "policy/eval.h"

namespace cairn::policy {
namespace {

// "7", "+7" and "7.0" as a position of an array.
std::optional<std::size_t> position_of(std::string_view s) {
  const bool negative = s.starts_with('-');
  if (negative || s.starts_with('+')) s.remove_prefix(1);
  if (s.empty() || s.size() > 19) return std::nullopt;
  const auto dot = s.find('.');
  if (dot != std::string_view::npos && s.find_first_not_of('0', dot + 1) != std::string_view::npos) return std::nullopt;
  std::size_t n = 0;
  for (const char c : s.substr(0, dot)) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + static_cast<std::size_t>(c - '0');
  }
  return negative && n != 0 ? std::nullopt : std::optional(n);
}

}  // namespace

const Value* stored(const Value& in, const Value& key) {
  if (in.is(Kind::array) && !key.is_small()) {
    const bool text = key.is(Kind::string);
    if (!text && !key.is(Kind::number)) return nullptr;
    const auto at = position_of(text ? key.text() : key.number_node()->text());
    return at && *at < in.size() ? &in.items()[*at] : nullptr;
  }
  const Value* v = find(in, key);
  if (v != nullptr || !in.is(Kind::object) || !key.is(Kind::number)) return v;
  return find(in, key.is_small() ? std::string_view(std::to_string(key.integer())) : key.number_node()->text());
}

bool Machine::shadowed(const TreeNode& node) const {
  for (const TreeNode* n = &node; n != nullptr; n = n->parent)
    if (std::ranges::find(context_->shadowed, n) != context_->shadowed.end()) return true;
  return false;
}

// What `with` put at a path, over what the host gave.
Value Machine::base(std::span<const Value> path) {
  const Context& c = *context_;
  Value over = c.over;
  for (std::size_t i = 0; i < path.size() && over.defined(); ++i) {
    const Value* v = find(over, path[i]);
    over = v != nullptr ? *v : Value();
  }
  for (const auto& t : c.targets)
    if (t.size() <= path.size() && std::equal(t.begin(), t.end(), path.begin(), equal)) return over;
  Value given = c.data;
  for (const Value& key : path) {
    const Value* v = stored(given, key);
    if (v == nullptr) return over;
    given = *v;
  }
  return over.defined() ? merge(over, given) : given;
}

std::vector<Value> Machine::path_to(const TreeNode& node) {
  std::vector<Value> path;
  for (const TreeNode* n = &node; n->parent != nullptr; n = n->parent) {
    const auto odd = n->parent->odd_keys.find(n->key);
    path.push_back(odd != n->parent->odd_keys.end() ? odd->second : arena().string(n->key));
  }
  std::ranges::reverse(path);
  return path;
}

Value Machine::base_at(const TreeNode& node) { return base(path_to(node)); }

Value Machine::doc_node(const TreeNode* node, std::span<const Value> path) {
  auto* own = static_cast<Value*>(arena().allocate(path.size() * sizeof(Value)));
  std::uninitialized_copy(path.begin(), path.end(), own);
  return Value(new (arena().allocate(sizeof(DocNode))) DocNode{node, base(path), {own, path.size()}});
}

Value Machine::rules_at(const TreeNode& node) {
  const RuleSet& set = program_.sets[static_cast<std::size_t>(node.ruleset)];
  switch (set.kind) {
    case RuleSet::Kind::function: return set.arity == 0 ? function(set.id, {}) : Value();
    case RuleSet::Kind::complete: return complete(set.id);
    case RuleSet::Kind::partial: return partial(*program_.code.partials[static_cast<std::size_t>(set.full)], {});
  }
  return {};
}

// Where both have something that is not an object, the base document stays.
Value Machine::merge(const Value& base, const Value& over) {
  if (!base.is(Kind::object) || !over.is(Kind::object)) return base;
  tick(base.size() + over.size());
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < base.size(); ++i) pairs.emplace_back(base.key(i), base.value(i));
  for (std::size_t i = 0; i < over.size(); ++i) {
    const Value* there = find(base, over.key(i));
    pairs.emplace_back(over.key(i), there != nullptr ? merge(*there, over.value(i)) : over.value(i));
  }
  return arena().object(pairs);
}

// Everything at a node: rules below it merged into the base document.
Value Machine::extent(const TreeNode& node, const Value& base) {
  const Depth depth(*this);
  if (!context_->shadowed.empty() && shadowed(node)) return base;
  if (node.ruleset >= 0) return rules_at(node);
  std::vector<Pair> pairs;
  for (const auto& [key, c] : node.children) {
    if (c->depth == 1 && c->key == "system") continue;
    tick();
    if (!context_->shadowed.empty() && shadowed(*c)) continue;  // its value is in the base document
    const Value v = c->ruleset >= 0 ? rules_at(*c) : extent(*c, {});
    if (!v.defined()) continue;
    const auto odd = node.odd_keys.find(key);
    pairs.emplace_back(odd != node.odd_keys.end() ? odd->second : arena().string(c->key), v);
  }
  const Value over = arena().object(pairs);
  if (base.defined() && !base.is(Kind::object))
    stop(ErrorCode::conflict, "base and virtual document keys must be disjoint");
  return base.defined() ? merge(base, over) : over;
}

Value Machine::node_child(const Value& at, const Value& key) {
  if (!at.is(Kind::node)) {
    const Value* v = find(at, key);
    return v != nullptr ? *v : Value();
  }
  const DocNode& d = *at.doc_node();
  const TreeNode* child = d.node != nullptr ? d.node->child(key) : nullptr;
  if (child != nullptr && !context_->shadowed.empty() && shadowed(*child)) child = nullptr;
  if (child != nullptr && child->ruleset >= 0) return rules_at(*child);
  std::vector<Value> path(d.path.begin(), d.path.end());
  path.push_back(key);
  const Value out = doc_node(child, path);
  return child == nullptr && !out.doc_node()->base.is_collection() ? out.doc_node()->base : out;
}

Value Machine::node_keys(const Value& at) {
  std::vector<Value> keys;
  const auto from = [&](const Value& v) {
    for (std::size_t i = 0; v.is_collection() && i < v.size(); ++i)
      keys.push_back(v.is(Kind::object) ? v.key(i)
                     : v.is(Kind::set)  ? v.items()[i]
                                        : Value::integer(static_cast<std::int64_t>(i)));
  };
  if (!at.is(Kind::node)) {
    from(at);
    return arena().array(keys);
  }
  const DocNode& d = *at.doc_node();
  from(d.base);
  const std::size_t base = keys.size();
  if (d.node != nullptr)
    for (const auto& [key, c] : d.node->children) {
      const auto odd = d.node->odd_keys.find(key);
      const Value k = odd != d.node->odd_keys.end() ? odd->second : arena().string(c->key);
      if (std::none_of(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(base),
                       [&](const Value& x) { return equal(x, k); }))
        keys.push_back(k);
    }
  return arena().array(keys);
}

}  // namespace cairn::policy
