// The tree of rules and the checks over it; the order of the compiler's passes.
#include <algorithm>

#include "policy/compiler.h"

namespace cairn::policy {

std::string tree_key(const Value& v) {
  if (v.is(Kind::string)) return std::string(v.text());
  std::string out = "#";  // not a string: told apart by a prefix no other way of writing produces
  write_rego(v, out, max_string_bytes);
  return std::string(1, '\x01') + out;
}

std::vector<std::string> path_of(const TreeNode& node) {
  std::vector<std::string> out;
  for (const TreeNode* n = &node; n->parent != nullptr; n = n->parent) out.push_back(n->key);
  out.emplace_back("data");
  std::reverse(out.begin(), out.end());
  return out;
}

TreeNode* TreeNode::child(const Value& k) const {
  const auto it = k.is(Kind::string) ? children.find(k.text()) : children.find(tree_key(k));
  return it == children.end() ? nullptr : it->second.get();
}

bool TreeNode::dynamic() const {
  return std::ranges::any_of(rules, [](const Rule* r) {
    return std::any_of(r->ref.begin() + 1, r->ref.end(), [](const Term* t) { return t->kind != TermKind::scalar; });
  });
}

Compiler::Compiler(AstPool& pool, const CompileOptions& options, std::vector<std::string> files)
    : pool_(pool), options_(options), files_(std::move(files)) {
  for (const auto& h : options.host) {
    auto b = std::make_unique<Builtin>();
    b->name = h.name;
    b->arity = static_cast<int>(h.arity);
    b->host = true;
    host_by_name_[h.name] = b.get();
    host_.push_back(std::move(b));
  }
}

void Compiler::ordered(std::size_t tries, Location loc) {
  tries_ += tries;
  if (tries_ <= options_.limits.tries) return;
  throw Stop{{ErrorCode::too_large,
              (loc.file < files_.size() ? files_[loc.file] : "query") + ":" + std::to_string(loc.line),
              "putting bodies in order takes more tries than the limit"}};
}

void Compiler::error(Location loc, std::string_view code, std::string message) {
  if (errors_.size() >= 50) return;
  Diagnostic d;
  d.file = loc.file < files_.size() ? files_[loc.file] : "query";
  d.line = loc.line;
  d.column = loc.column;
  d.code = std::string(code);
  d.message = std::move(message);
  for (const auto& e : errors_)
    if (e.line == d.line && e.column == d.column && e.message == d.message && e.file == d.file) return;
  errors_.push_back(std::move(d));
}

void Compiler::each_rule(const std::function<void(Rule*)>& f) {
  for (auto& m : modules_)
    for (Rule* r : m.rules)
      for (Rule* x = r; x != nullptr; x = x->otherwise) f(x);
}

Symbol Compiler::original(Symbol v) const {
  const auto it = original_.find(v);
  if (it != original_.end()) return it->second;
  return v->starts_with("~") || v->starts_with("$") ? nullptr : v;
}

const Builtin* Compiler::builtin(const Term* op) const {
  if (op->kind != TermKind::var && op->kind != TermKind::ref) return nullptr;
  if (is_root_ref(op, "data") || is_root_ref(op, "input")) return nullptr;
  const std::string dotted = op->kind == TermKind::ref ? operator_name(op) : std::string();
  const std::string& name = op->kind == TermKind::ref ? dotted : *op->name;
  if (const auto it = host_by_name_.find(name); it != host_by_name_.end()) return it->second;
  return find_builtin(name);
}

TreeNode* Compiler::find(const std::vector<Term*>& ref, std::size_t& used) {
  TreeNode* n = &tree_;
  used = 1;
  while (used < ref.size() && ref[used]->kind == TermKind::scalar) {
    TreeNode* next = n->child(ref[used]->value);
    if (next == nullptr) break;
    n = next;
    ++used;
  }
  return n;
}

const TreeNode* Compiler::function(const Term* op) const {
  if (!is_root_ref(op, "data")) return nullptr;
  std::size_t used = 0;
  const TreeNode* n = const_cast<Compiler*>(this)->find(op->items, used);
  return used == op->items.size() && n->is_function() ? n : nullptr;
}

int Compiler::arity(const Term* op) const {
  if (const Builtin* b = builtin(op); b != nullptr) return b->arity;
  if (const TreeNode* n = function(op); n != nullptr) return static_cast<int>(n->rules[0]->args.size());
  return -1;
}

void Compiler::check_imports() {
  for (const auto& m : modules_) {
    if (!m.v1) continue;
    std::map<std::string, Location> seen;
    for (const auto& i : m.imports)
      if (!seen.emplace(i.name(), i.loc).second)
        error(i.loc, "rego_compile_error", "import must not shadow import " + path_text(i.path));
    for (const Rule* r : m.rules) {
      if (*r->ref[0]->name == "input" || *r->ref[0]->name == "data")
        error(r->loc, "rego_compile_error",
              "rules must not shadow " + *r->ref[0]->name + " (use a different rule name)");
      each_expr(r->body, [&](Expr* e) {
        if (is_call_of(e, "assign") && e->items.size() == 3 &&
            (is_root_ref(e->items[1], "input") || is_root_ref(e->items[1], "data")) && e->items[1]->items.size() == 1)
          error(e->loc, "rego_compile_error",
                "variables must not shadow " + *e->items[1]->items[0]->name + " (use a different variable name)");
      });
    }
  }
}

void Compiler::build_tree() {
  const auto descend = [](TreeNode* n, const std::string& key) {
    auto& slot = n->children[key];
    if (!slot) {
      slot = std::make_unique<TreeNode>();
      slot->key = key;
      slot->parent = n;
      slot->depth = n->depth + 1;
    }
    return slot.get();
  };
  tree_.key = "data";
  for (auto& m : modules_) {
    TreeNode* package = &tree_;
    for (const auto& part : m.package) package = descend(package, part);
    package->package = true;
    for (Rule* r : m.rules) {
      TreeNode* n = descend(package, *r->ref[0]->name);
      for (std::size_t i = 1; i < r->ref.size() && r->ref[i]->kind == TermKind::scalar; ++i) {
        const std::string key = tree_key(r->ref[i]->value);
        if (!r->ref[i]->value.is(Kind::string)) n->odd_keys[key] = r->ref[i]->value;
        n = descend(n, key);
      }
      n->rules.push_back(r);
    }
  }
}

namespace {

bool has_rules_below(const TreeNode& n, bool functions_only) {
  for (const auto& [key, c] : n.children) {
    for (const Rule* r : c->rules)
      if (!functions_only || r->function) return true;
    if (has_rules_below(*c, functions_only)) return true;
  }
  return false;
}

}  // namespace

void Compiler::check_conflicts() {
  std::vector<const TreeNode*> stack{&tree_};
  while (!stack.empty()) {
    const TreeNode* n = stack.back();
    stack.pop_back();
    for (const auto& [key, c] : n->children) stack.push_back(c.get());
    if (n->rules.empty()) continue;
    const std::string name = path_text(path_of(*n));
    const Rule* first = n->rules[0];
    std::set<std::size_t> arities;
    int defaults = 0;
    bool complete = false, partial = false, single = false, multi = false, set = false, sets = false, ground = false,
         dynamic = false;
    for (const Rule* r : n->rules) {
      arities.insert(r->args.size() + (r->function ? 1000 : 0));
      defaults += r->is_default ? 1 : 0;
      const bool is_multi = r->key != nullptr;
      const bool is_ground =
          std::all_of(r->ref.begin() + 1, r->ref.end(), [](const Term* t) { return t->kind == TermKind::scalar; });
      (is_multi ? multi : single) = true;
      (!is_multi && is_ground ? complete : partial) = true;
      if (is_multi) (is_ground ? set : sets) = true;
      (is_ground ? ground : dynamic) = true;
    }
    if (ground && has_rules_below(*n, false))
      error(first->loc, "rego_type_error", "rule " + name + " conflicts with rules below it");
    else if (dynamic && has_rules_below(*n, true))
      error(first->loc, "rego_type_error", "rule " + name + " conflicts with functions below it");
    else if ((single && multi) || arities.size() > 1 || (complete && partial) || (set && sets))
      error(first->loc, "rego_type_error", "conflicting rules " + name + " found");
    else if (defaults > 1)
      error(first->loc, "rego_type_error", "multiple default rules " + name + " found");
    else if (ground && n->package)
      error(first->loc, "rego_type_error", "package " + name + " conflicts with rule " + name);
    else if (ground && !n->children.empty() &&
             std::ranges::any_of(n->children, [](const auto& c) { return c.second->package; }))
      error(first->loc, "rego_type_error", "package " + name + " conflicts with rule " + name);
  }
}

void Compiler::check_functions(const Body& body, bool v1) {
  const auto one = [&](const Term* op, std::size_t operands, Location loc, bool nested) {
    const std::string name = operator_name(op);
    const Builtin* b = builtin(op);
    if (v1 && b != nullptr && b->deprecated)
      error(loc, "rego_type_error", "deprecated built-in function calls in expression: " + b->name);
    if (b != nullptr && !b->host && b->fn == nullptr) {
      error(loc, "rego_type_error", "built-in function " + name + " is not supported here");
      return;
    }
    const int arity = this->arity(op);
    if (arity < 0) {
      error(loc, "rego_type_error", "undefined function " + (name.empty() ? to_text(op) : name));
      return;
    }
    if (name == "print" || name == "internal.print" || name == "internal.template_string") return;
    const bool out = !nested && operands == static_cast<std::size_t>(arity) + 1;
    const bool fine = operands == static_cast<std::size_t>(arity) || out;
    if (!fine || ((name == "eq" || name == "assign") && operands != 2))
      error(loc, "rego_type_error",
            "function " + name + " has arity " + std::to_string(arity) + ", got " + std::to_string(operands) +
                (operands == 1 ? " argument" : " arguments"));
  };
  each_expr(body, [&](Expr* e) {
    if (e->kind == ExprKind::call) one(e->items[0], e->items.size() - 1, e->loc, false);
  });
  each_term(body, [&](Term* t) {
    if (t->kind == TermKind::call) one(t->items[0], t->items.size() - 1, t->loc, true);
  });
}

void Compiler::check_with(Body& body) {
  each_expr(body, [&](Expr* e) {
    for (auto& w : e->with) {
      if (w.value->kind == TermKind::var && builtin(w.value) != nullptr) {  // the function, not a variable
        Term* op = pool_.term(TermKind::ref, w.value->loc);
        op->items = {w.value};
        w.value = op;
      }
      if (const Builtin* by = builtin(w.value);
          w.value->kind == TermKind::ref && by != nullptr && !by->host && by->fn == nullptr) {
        error(w.value->loc, "rego_type_error", "built-in function " + by->name + " is not supported here");
        continue;
      }
      const auto function_value = [&] { return function(w.value) != nullptr || builtin(w.value) != nullptr; };
      if (is_root_ref(w.target, "input")) continue;
      if (is_root_ref(w.target, "data")) {
        const TreeNode* n = &tree_;
        for (std::size_t i = 1; i < w.target->items.size() && n != nullptr; ++i) {
          if (i > 1 && !n->rules.empty()) {
            error(w.target->loc, "rego_compile_error", "with keyword cannot partially replace virtual document(s)");
            break;
          }
          n = w.target->items[i]->kind == TermKind::scalar ? n->child(w.target->items[i]->value) : nullptr;
        }
        if (n != nullptr && n->is_function() && w.value->kind == TermKind::ref && is_root_ref(w.value, "data")) {
          if (const TreeNode* g = function(w.value);
              g != nullptr && g->rules[0]->args.size() != n->rules[0]->args.size())
            error(w.target->loc, "rego_type_error", "with: the replacement of a function must take as many arguments");
        }
        continue;
      }
      const Builtin* b = builtin(w.target);
      if (b == nullptr) {
        error(w.target->loc, "rego_type_error",
              "with keyword target must reference existing input, data, or a function");
        continue;
      }
      const std::string prefix = "with keyword replacing built-in function: ";
      if (b->name == "eq" || b->name.starts_with("rego.metadata."))
        error(w.target->loc, "rego_compile_error", prefix + "replacement of \"" + b->name + "\" invalid");
      else if (b->name.starts_with("internal."))
        error(w.target->loc, "rego_compile_error",
              prefix + "replacement of internal function \"" + b->name + "\" invalid");
      else if (b->relation)
        error(w.target->loc, "rego_compile_error", prefix + "target must not be a relation");
      else if (b->is_void)
        error(w.target->loc, "rego_compile_error", prefix + "target must not be a void function");
      else if (function_value() && arity(w.value) != b->arity)
        error(w.target->loc, "rego_type_error", "with: the replacement of a function must take as many arguments");
    }
  });
}

// Nodes with rules that a reference may evaluate.
void Compiler::reachable(const std::vector<Term*>& ref, std::vector<TreeNode*>& out) {
  struct At {
    TreeNode* node;
    std::size_t next;
  };
  std::vector<At> stack{{&tree_, 1}};
  while (!stack.empty()) {
    const At at = stack.back();
    stack.pop_back();
    if (!at.node->rules.empty()) out.push_back(at.node);
    const bool open = at.next >= ref.size() || ref[at.next]->kind != TermKind::scalar;
    if (open) {
      for (const auto& [key, c] : at.node->children) stack.push_back({c.get(), at.next + 1});
    } else if (TreeNode* c = at.node->child(ref[at.next]->value); c != nullptr) {
      stack.push_back({c, at.next + 1});
    }
  }
}

void Compiler::dependencies(Rule* rule, std::vector<TreeNode*>& out) {
  const auto look = [&](Term* t) {
    if (is_root_ref(t, "data")) reachable(t->items, out);
  };
  each_term(rule->body, look);
  for (Term* t : rule->args) each_term(t, look);
  for (Term* t : rule->ref) each_term(t, look);
  each_term(rule->key, look);
  each_term(rule->value, look);
}

// Depth first over rules, with an explicit stack; a rule met again on the way is recursive.
void Compiler::check_recursion() {
  enum class Mark : std::uint8_t { fresh, open, done };
  struct Frame {
    Rule* rule;
    std::vector<Rule*> next;
    std::size_t at = 0;
  };
  std::unordered_map<Rule*, Mark> marks;
  std::unordered_map<Rule*, std::string> names;
  const auto enter = [&](Rule* r, std::vector<Frame>& stack) {
    marks[r] = Mark::open;
    Frame f{r, {}, 0};
    for (Rule* x = r; x != nullptr; x = x->otherwise) {
      std::vector<TreeNode*> nodes;
      dependencies(x, nodes);
      for (TreeNode* n : nodes)
        for (Rule* d : n->rules)
          if (std::ranges::find(f.next, d) == f.next.end()) f.next.push_back(d);
    }
    stack.push_back(std::move(f));
  };
  const auto name = [&](const Rule* r) {
    std::vector<std::string> p{"data"};
    for (const auto& m : modules_)
      if (m.file == r->module) p.insert(p.end(), m.package.begin(), m.package.end());
    p.push_back(*r->ref[0]->name);
    return path_text(p);
  };
  for (auto& m : modules_)
    for (Rule* start : m.rules) {
      if (marks[start] != Mark::fresh) continue;
      std::vector<Frame> stack;
      enter(start, stack);
      while (!stack.empty()) {
        Frame& f = stack.back();
        if (f.at == f.next.size()) {
          marks[f.rule] = Mark::done;
          order_.push_back(f.rule);
          stack.pop_back();
          continue;
        }
        Rule* d = f.next[f.at++];
        if (marks[d] == Mark::fresh) {
          enter(d, stack);
        } else if (marks[d] == Mark::open) {
          std::string path;
          bool on = false;
          for (const auto& g : stack) {
            on |= g.rule == d;
            if (on) path += name(g.rule) + " -> ";
          }
          error(d->loc, "rego_recursion_error", "rule " + name(d) + " is recursive: " + path + name(d));
        }
      }
    }
}

bool Compiler::compile(std::vector<Module> modules) {
  modules_ = std::move(modules);
  check_imports();
  for (const auto& m : modules_) {
    auto& own = exported_[m.package];
    for (const Rule* r : m.rules) own.insert(r->ref[0]->name);
  }
  Names names(*this);
  for (auto& m : modules_) names.module(m);
  if (!ok()) return false;
  Rewriter rewriter(*this);
  each_rule([&](Rule* r) {
    for (std::size_t i = 1; i < r->ref.size(); ++i)
      if (r->ref[i]->kind != TermKind::var && r->ref[i]->kind != TermKind::scalar) {
        Expr* e = pool_.expr(ExprKind::call, r->ref[i]->loc);
        e->generated = true;
        e->items = {pool_.var(pool_.symbol("eq"), r->loc), pool_.var(pool_.fresh(), r->loc), r->ref[i]};
        r->ref[i] = pool_.var(e->items[1]->name, r->loc);
        append_to_body(r->body, {e});
      }
  });
  build_tree();
  each_rule([&](Rule* r) {
    const bool v1 = std::ranges::any_of(modules_, [&](const Module& m) { return m.file == r->module && m.v1; });
    check_functions(r->body, v1);
    Expr head;
    for (Term* t : r->args) head.items.push_back(t);
    if (r->key != nullptr) head.items.push_back(r->key);
    if (r->value != nullptr) head.items.push_back(r->value);
    check_functions({&head}, false);
  });
  if (!ok()) return false;
  // Rule by rule as far as possible: a large policy does not fit into the caches of a processor.
  const bool templates = pool_.templates;
  const bool prints = pool_.knows("print");
  each_rule([&](Rule* r) {
    if (templates) rewriter.templates(r);
    if (prints) rewriter.prints(r->body, {});
    rewriter.expand(r);
    rewriter.comprehensions(r);
    rewriter.heads(r);
    check_with(r->body);
    if (ok()) rewriter.with_values(r->body);
  });
  if (!ok()) return false;
  check_conflicts();
  if (!ok()) return false;
  each_rule([&](Rule* r) {
    Safety(*this).rule(r);
    if (!ok()) return;
    rewriter.equals(r->body);
    rewriter.dynamics(r->body);
  });
  if (!ok()) return false;
  check_recursion();
  if (!ok()) return false;
  check_types();
  return ok();
}

bool Compiler::compile_query(Body& body, const std::vector<std::string>& package) {
  tries_ = 0;
  Names(*this).query(body, package);
  if (!ok()) return false;
  check_functions(body, false);
  if (!ok()) return false;
  Rewriter rewriter(*this);
  if (pool_.templates) rewriter.templates(body, {});
  if (pool_.knows("print")) rewriter.prints(body, {});
  rewriter.expand(body);
  rewriter.comprehensions(body);
  check_with(body);
  if (!ok()) return false;
  rewriter.with_values(body);
  Safety(*this).query(body);
  if (!ok()) return false;
  rewriter.dynamics(body);
  check_types(body);
  return ok();
}

}  // namespace cairn::policy
