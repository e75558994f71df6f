// From parsed modules to a checked, rewritten tree that plan.cc turns into code. The passes, in order:
//   names.cc    references resolve to data paths; := and some get names of their own
//   rewrite.cc  nested calls, references and comprehensions become expressions of their own
//   tree.cc     the tree of rules; conflicts, unknown functions, recursion
//   safety.cc   bodies are put into an order in which every variable is bound before it is needed
//   typecheck.cc  what can never succeed is refused
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "policy/ast.h"
#include "policy/builtins.h"

namespace cairn::policy {

// A small ordered set of variables.
class VarSet {
 public:
  VarSet() = default;
  VarSet(std::initializer_list<Symbol> vs) {
    for (Symbol v : vs) insert(v);
  }
  bool insert(Symbol v);
  void insert(const VarSet& o) {
    for (Symbol v : o.all_) insert(v);
  }
  void erase(Symbol v);
  [[nodiscard]] bool contains(Symbol v) const;
  [[nodiscard]] bool contains_all(const VarSet& o) const;
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] auto begin() const { return all_.begin(); }
  [[nodiscard]] auto end() const { return all_.end(); }
  [[nodiscard]] VarSet minus(const VarSet& o) const;
  [[nodiscard]] VarSet common(const VarSet& o) const;
  bool operator==(const VarSet&) const = default;

 private:
  std::vector<Symbol> all_;  // sorted by address
};

// What a walk over variables leaves out.
struct WalkOptions {
  bool ref_heads = true;   // x in x.y
  bool call_heads = true;  // operators
  bool object_keys = true;
  bool sets = true;
  bool closures = true;  // bodies of comprehensions, every, not, and, or; template strings
};
void collect_vars(const Term* t, const WalkOptions& o, VarSet& out);
void collect_vars(const Expr* e, const WalkOptions& o, VarSet& out);
void collect_vars(const Body& b, const WalkOptions& o, VarSet& out);
inline constexpr WalkOptions safety_walk{.call_heads = false, .closures = false};

[[nodiscard]] bool is_ground(const Term* t);  // no variables (references count as one)
[[nodiscard]] bool is_scalar(const Term* t);
[[nodiscard]] bool is_call_of(const Expr* e, std::string_view builtin);
[[nodiscard]] bool is_root_ref(const Term* t, std::string_view root);  // data…, input…
[[nodiscard]] bool needs_evaluation(const Term* t);                    // holds a reference or comprehension
// Every term of a body, every expression; nested bodies included. What `f` adds to a term or expression is visited too.
template <class F>
void each_term(const Body& b, const F& f);
template <class F>
void each_term(Term* t, const F& f) {
  if (t == nullptr) return;
  f(t);
  for (Term* item : t->items) each_term(item, f);
  if (!t->body.empty()) each_term(t->body, f);
}
template <class F>
void each_term(const Body& b, const F& f) {
  for (Expr* e : b) {
    for (Term* t : e->items) each_term(t, f);
    for (auto& w : e->with) {
      each_term(w.target, f);
      each_term(w.value, f);
    }
    if (!e->body.empty()) each_term(e->body, f);
    if (!e->right.empty()) each_term(e->right, f);
  }
}
template <class F>
void each_expr(const Body& b, const F& f);
template <class F>
void each_expr(Term* t, const F& f) {
  if (t == nullptr) return;
  for (Term* item : t->items) each_expr(item, f);
  if (!t->body.empty()) each_expr(t->body, f);
}
template <class F>
void each_expr(const Body& b, const F& f) {
  for (Expr* e : b) {
    f(e);
    for (Term* t : e->items) each_expr(t, f);
    for (auto& w : e->with) {
      each_expr(w.target, f);
      each_expr(w.value, f);
    }
    if (!e->body.empty()) each_expr(e->body, f);
    if (!e->right.empty()) each_expr(e->right, f);
  }
}

// A place in the tree of rules.
struct TreeNode {
  std::string key;
  TreeNode* parent = nullptr;
  std::map<std::string, std::unique_ptr<TreeNode>, std::less<>> children;  // by string key
  std::map<std::string, Value> odd_keys;  // text → value of keys that are not strings ("#" + text in children)
  std::vector<Rule*> rules;
  bool package = false;
  std::int32_t ruleset = -1;           // plan.cc
  std::size_t depth = 0;               // 0: data itself
  [[nodiscard]] bool dynamic() const;  // some rule's reference goes on with variables
  [[nodiscard]] bool is_function() const { return !rules.empty() && rules[0]->function; }
  [[nodiscard]] TreeNode* child(const Value& key) const;
};
[[nodiscard]] std::string tree_key(const Value& v);
[[nodiscard]] std::vector<std::string> path_of(const TreeNode& node);

class TypeChecker;

class Compiler {
 public:
  Compiler(AstPool& pool, const CompileOptions& options, std::vector<std::string> files);

  // The passes over all modules; false with errors().
  [[nodiscard]] bool compile(std::vector<Module> modules);
  // The same for a query in the context of `package` (and its imports).
  [[nodiscard]] bool compile_query(Body& body, const std::vector<std::string>& package);

  [[nodiscard]] const std::vector<Diagnostic>& errors() const { return errors_; }
  void clear_errors() { errors_.clear(); }
  [[nodiscard]] std::vector<Module>& modules() { return modules_; }
  [[nodiscard]] TreeNode& tree() { return tree_; }
  [[nodiscard]] AstPool& pool() { return pool_; }
  [[nodiscard]] std::string file(Location loc) const { return loc.file < files_.size() ? files_[loc.file] : "query"; }
  // Name the author gave a renamed variable; nullptr for generated ones.
  [[nodiscard]] Symbol original(Symbol v) const;
  // Number of operands of a function or built-in, or -1.
  [[nodiscard]] int arity(const Term* op) const;
  [[nodiscard]] const Builtin* builtin(const Term* op) const;
  [[nodiscard]] TreeNode* find(const std::vector<Term*>& ref,
                               std::size_t& used);  // the deepest node along constant keys
  [[nodiscard]] const TreeNode* function(const Term* op) const;
  // The order in which rules can be evaluated: dependencies first.
  [[nodiscard]] const std::vector<Rule*>& rule_order() const { return order_; }

 private:
  friend class Names;
  friend class Rewriter;
  friend class Safety;
  friend class TypeChecker;
  void error(Location loc, std::string_view code, std::string message);
  [[nodiscard]] bool ok() const { return errors_.empty(); }
  void ordered(std::size_t tries, Location loc);        // counts against the limit
  void each_rule(const std::function<void(Rule*)>& f);  // else branches too

  void check_imports();
  void build_tree();
  void check_conflicts();
  void check_functions(const Body& body, bool v1);
  void check_recursion();
  void check_with(Body& body);
  void check_types();
  void check_types(const Body& query);
  void dependencies(Rule* rule, std::vector<TreeNode*>& out);
  void reachable(const std::vector<Term*>& ref, std::vector<TreeNode*>& out);

  AstPool& pool_;
  const CompileOptions& options_;
  std::vector<std::string> files_;
  std::vector<Module> modules_;
  std::vector<Diagnostic> errors_;
  std::size_t tries_ = 0;
  std::unordered_map<Symbol, Symbol> original_;
  std::vector<std::unique_ptr<Builtin>> host_;
  std::unordered_map<std::string, const Builtin*> host_by_name_;
  std::vector<Rule*> order_;
  std::map<std::vector<std::string>, std::unordered_set<Symbol>> exported_;  // names of a package's rules
  TreeNode tree_;
  std::shared_ptr<TypeChecker> types_;  // keeps the types of rules for queries
};

// Names: resolves references and renames variables.
class Names {
 public:
  explicit Names(Compiler& c) : c_(c) {}
  using Path = std::vector<std::string>;
  void module(Module& m);
  void query(Body& b, const Path& of);  // in the package `of`

 private:
  enum class Seen : std::uint8_t { fresh, argument, seen, assigned, declared };
  struct Scope {
    std::unordered_map<Symbol, Symbol> names;
    std::unordered_map<Symbol, Seen> how;
  };
  void package(const Path& path);
  void rule(Rule* r);
  void resolve(Rule* r);
  void resolve(Body& b);
  void resolve(Expr* e);
  [[nodiscard]] Term* resolve(Term* t);
  [[nodiscard]] bool ignored(Symbol v) const;
  [[nodiscard]] Term* global(Symbol v, Location loc) const;
  static void declared(const Body& b, VarSet& out);

  void rename(Body& b);
  void rename_implicit(Body& b, std::string_view where);
  void rename(Expr*& e);
  void rename_terms(Expr* e);
  void rename(Term* t);
  void rename_assignment(Expr* e);
  void rename_left(Term* t);
  [[nodiscard]] bool rename_some(Expr* e);
  void rename_every(Expr* e);
  void rename_logical(Expr* e);
  void rename_arguments(Term* t);
  void rename_head(Term* t);
  [[nodiscard]] Symbol declare(Symbol v, Seen how, Location loc);
  [[nodiscard]] Symbol known(Symbol v) const;
  [[nodiscard]] Seen occurrence(Symbol v) const;
  void check_unused();

  Compiler& c_;
  std::unordered_map<Symbol, Path> globals_;
  std::vector<VarSet> ignore_;
  std::vector<Scope> scopes_;
  VarSet uses_;
  std::vector<std::pair<Symbol, Location>> pending_;  // declared by `some`
};

// Rewrites: one operation per expression.
class Rewriter {
 public:
  explicit Rewriter(Compiler& c) : c_(c) {}
  void templates(Body& b, const VarSet& outside);
  void templates(Rule* r);
  void prints(Body& b, const VarSet& safe);
  void expand(Rule* r);  // nested calls
  void expand(Body& b);
  void comprehensions(Rule* r);  // comprehension heads
  void comprehensions(Body& b);
  void heads(Rule* r);
  void with_values(Body& b);
  void equals(Body& b);
  void dynamics(Body& b);  // nested references

 private:
  [[nodiscard]] Expr* equality(Term* other);
  [[nodiscard]] Term* expand(Term* t, Body& support);
  void expand(Expr* e, Body& out);
  [[nodiscard]] Term* dynamic_one(const Expr* original, Term* t, Body& out);
  [[nodiscard]] Term* dynamic_in(const Expr* original, Term* t, Body& out);
  void template_terms(Term* t, const VarSet& safe);
  void template_exprs(Body& b, const VarSet& safe);
  void template_call(Term* t, const VarSet& safe);
  Compiler& c_;
};
void append_to_body(Body& body, const Body& more);

// Safety: reorders bodies and reports what no order can bind.
class Safety {
 public:
  explicit Safety(Compiler& c) : c_(c) {}
  void rule(Rule* r);
  void query(Body& b);
  [[nodiscard]] VarSet outputs(const Body& b, const VarSet& safe) const;

 private:
  struct Unsafe {
    Expr* expr;
    VarSet vars;
  };
  [[nodiscard]] Body reorder(const Body& b, const VarSet& globals, std::vector<Unsafe>& unsafe);
  [[nodiscard]] VarSet outputs(const Expr* e, const VarSet& safe, VarSet* last = nullptr) const;
  [[nodiscard]] VarSet outputs_in_order(const Body& b, const VarSet& safe) const;
  [[nodiscard]] VarSet outputs_eq(const Expr* e, const VarSet& safe) const;
  void outputs_terms(const Term* t, const VarSet& safe, VarSet& out) const;
  void outputs_terms(const Expr* e, const VarSet& safe, VarSet& out) const;
  void visible(const Expr* e, VarSet& out) const;  // what must be safe for e
  void implicit(const Body& b, VarSet& out) const;
  void closures(const Expr* e, VarSet& out) const;
  void nested(Expr* e, const VarSet& globals, std::vector<Unsafe>& unsafe);
  void nested(Term* t, Expr* at, const VarSet& globals, std::vector<Unsafe>& unsafe);
  void nested_body(const VarSet& head, Body& b, Expr* at, const VarSet& globals, std::vector<Unsafe>& unsafe);
  void report(const std::vector<Unsafe>& unsafe);
  Compiler& c_;
};

}  // namespace cairn::policy
