// Infers the types of variables and rules and refuses what cannot succeed, in the order and with the knowledge of OPA's
// checker: the same policies are refused. Bodies of `every` and of `not {…}` only have their references checked.
#include <algorithm>

#include "policy/compiler.h"
#include "policy/signatures.h"
#include "policy/types.h"

namespace cairn::policy {
namespace {

// Types of what references lead to, along constant keys.
struct TypeTree {
  Value key;
  TypeRef value = nullptr;
  std::map<std::string, std::unique_ptr<TypeTree>, std::less<>> children;

  [[nodiscard]] TypeTree* child(const Value& k) const {
    const auto it = k.is(Kind::string) ? children.find(k.text()) : children.find(tree_key(k));
    return it == children.end() ? nullptr : it->second.get();
  }
  TypeTree& at(const Value& k) {
    auto& slot = children[tree_key(k)];
    if (slot == nullptr) {
      slot = std::make_unique<TypeTree>();
      slot->key = k;
    }
    return *slot;
  }
};

using TypeTable = std::unordered_map<Symbol, TypeRef>;

// What is known where: each level hides those further out. The layers that `with` makes have a tree but leave what they
// learn of variables to the body around them.
struct Env {
  const Env* next = nullptr;
  const TypeTree* tree = nullptr;
  const TypeTable* seen = nullptr;
  TypeTable* learn = nullptr;
};

// The types of all built-in functions, made once.
TypeRef signature(const Builtin& b) {
  struct Table {
    Types types;
    std::unordered_map<std::string_view, TypeRef> by_name;
    Table() {
      for (const auto& s : signatures()) by_name.emplace(s.name, types.parse(s.types));
    }
  };
  static const Table all;
  return all.by_name.at(b.name);
}

bool root_name(const Term* t) { return t->kind == TermKind::var && (*t->name == "data" || *t->name == "input"); }
bool collection(const Term* t) {
  return t->kind == TermKind::array || t->kind == TermKind::object || t->kind == TermKind::set;
}
bool comprehension(const Term* t) {
  return t->kind == TermKind::array_of || t->kind == TermKind::object_of || t->kind == TermKind::set_of;
}

}  // namespace

class TypeChecker {
 public:
  explicit TypeChecker(Compiler& c) : c_(c) { global_.tree = &rules_; }

  void rules() {
    for (Rule* r : c_.rule_order())
      for (Rule* x = r; x != nullptr; x = x->otherwise) rule(x);
  }
  void query(const Body& b) {
    TypeTable table;
    const Env env{&global_, nullptr, &table, &table};
    t_.restart();
    (void)body(env, b);
    comprehensions_.clear();
  }

 private:
  void error(Location loc, std::string message) {
    ++found_;
    c_.error(loc, "rego_type_error", std::move(message));
  }

  // --- what is known

  TypeRef of_var(const Env& env, Symbol v) const {
    for (const Env* e = &env; e != nullptr; e = e->next)
      if (e->seen != nullptr)
        if (const auto it = e->seen->find(v); it != e->seen->end() && it->second != nullptr) return it->second;
    return nullptr;
  }

  // The constant a term is; undefined where it is none. Sets inside become arrays, as keys of types know no sets.
  Value constant(const Term* t) {
    if (t->kind == TermKind::scalar) return t->value;
    if (!collection(t)) return {};
    std::vector<Value> items;
    for (const Term* x : t->items) {
      items.push_back(constant(x));
      if (!items.back().defined()) return {};
    }
    Arena& arena = c_.pool_.constants;
    if (t->kind == TermKind::array) return arena.array(items);
    if (t->kind == TermKind::set) {
      const Value v = arena.set(items);
      return arena.array(v.items());
    }
    std::vector<Pair> pairs;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) pairs.emplace_back(items[i], items[i + 1]);
    return arena.object(pairs);
  }

  TypeRef of(const Env& env, const Term* t) {
    switch (t->kind) {
      case TermKind::scalar: return t_.scalar(t->value.kind());
      case TermKind::var: return of_var(env, t->name);
      case TermKind::ref: return of_ref(env, t->items);
      case TermKind::text: return t_.scalar(Kind::string);
      case TermKind::array: {
        std::vector<TypeRef> fixed;
        for (const Term* x : t->items) fixed.push_back(of(env, x));
        return t_.array(std::move(fixed), nullptr);
      }
      case TermKind::set: {
        TypeRef out = nullptr;
        for (const Term* x : t->items) out = t_.either(out, of(env, x));
        return t_.set(out);
      }
      case TermKind::object: {
        std::vector<std::pair<Value, TypeRef>> members;
        bool open = false;
        TypeRef keys = nullptr;
        TypeRef values = nullptr;
        for (std::size_t i = 0; i + 1 < t->items.size(); i += 2) {
          TypeRef v = of(env, t->items[i + 1]);
          if (const Value key = constant(t->items[i]); key.defined()) {
            members.emplace_back(key, v);
          } else {
            open = true;
            keys = of(env, t->items[i]);
            values = v;
          }
        }
        return open ? t_.object(std::move(members), keys, values) : t_.object(std::move(members));
      }
      case TermKind::array_of:
      case TermKind::object_of:
      case TermKind::set_of: {
        const auto it = comprehensions_.find(t);
        return it == comprehensions_.end() ? nullptr : it->second;
      }
      default: return nullptr;
    }
  }

  // A part of the tree as a document: it may always have members that no rule defines.
  TypeRef extent(const TypeTree& n) {
    if (n.value != nullptr) return n.value;
    std::vector<std::pair<Value, TypeRef>> members;
    for (const auto& [text, c] : n.children)
      if (c->key.is(Kind::string) || c->key.is(Kind::number) || c->key.is(Kind::boolean))
        members.emplace_back(c->key, extent(*c));
    return t_.object(std::move(members), t_.scalar(Kind::string), t_.any());
  }

  TypeRef selected(TypeRef t, const std::vector<Term*>& ref, std::size_t next) {
    for (; next < ref.size() && t != nullptr; ++next) {
      const Term* k = ref[next];
      if (k->kind == TermKind::var || k->kind == TermKind::ref || collection(k)) {
        if (t->hollow()) return t_.any();
        t = t_.values(t);
      } else {
        t = k->kind == TermKind::scalar ? t_.select(t, k->value) : nullptr;
      }
    }
    return t;
  }

  TypeRef of_ref(const Env& env, const std::vector<Term*>& ref) {
    const Term* head = ref[0];
    if (!root_name(head)) return head->kind == TermKind::var ? selected(of_var(env, head->name), ref, 1) : nullptr;
    for (const Env* e = &env; e != nullptr; e = e->next) {
      if (e->tree == nullptr) continue;
      const TypeTree* n = e->tree->child(name(head));
      for (std::size_t i = 1; n != nullptr; ++i) {
        if (i == ref.size()) return extent(*n);
        const Value key = constant(ref[i]);
        const TypeTree* child = key.defined() ? n->child(key) : nullptr;
        if (n->value != nullptr ? child == nullptr : !key.defined()) return selected(extent(*n), ref, i);
        n = child;
      }
    }
    return t_.any();
  }

  Value name(const Term* var) { return c_.pool_.constants.string(*var->name); }

  // --- rules

  // The full reference of a rule up to its first variable; what follows goes to `open`.
  std::vector<Value> path_of(const Rule* r, std::vector<const Term*>& open) {
    std::vector<Value> out{c_.pool_.constants.string("data")};
    for (const auto& m : c_.modules())
      if (m.file == r->module)
        for (const auto& part : m.package) out.push_back(c_.pool_.constants.string(part));
    out.push_back(name(r->ref[0]));
    std::size_t i = 1;
    for (; i < r->ref.size() && r->ref[i]->kind == TermKind::scalar; ++i) out.push_back(r->ref[i]->value);
    open.assign(r->ref.begin() + static_cast<std::ptrdiff_t>(i), r->ref.end());
    return out;
  }

  static void put(TypeTree& root, const std::vector<Value>& path, TypeRef t) {
    TypeTree* n = &root;
    for (const Value& k : path) n = &n->at(k);
    n->value = t;
  }

  // Adds a rule's type at its place, to objects on the way there, and takes in what is below.
  void insert(const std::vector<Value>& path, TypeRef t) {
    TypeTree* n = &rules_;
    for (std::size_t i = 0; i < path.size(); ++i) {
      n = &n->at(path[i]);
      if (n->value == nullptr || n->value->kind != TypeKind::object || i + 1 == path.size()) continue;
      std::vector<TypeRef> keys;
      for (std::size_t k = i + 1; k < path.size(); ++k) keys.push_back(t_.of(path[k]));
      n->value = t_.with_member(n->value, keys, t);
    }
    n->value = t_.merged(n->value, t);
    std::vector<TypeRef> keys;
    if (t->kind == TypeKind::object)
      for (const auto& [text, c] : n->children) take_in(*c, keys, *n);
  }
  void take_in(const TypeTree& from, std::vector<TypeRef>& keys, TypeTree& into) {
    keys.push_back(t_.of(from.key));
    if (from.value != nullptr) {
      if (into.value->kind == TypeKind::object) into.value = t_.with_member(into.value, keys, from.value);
    } else {
      for (const auto& [text, c] : from.children) take_in(*c, keys, into);
    }
    keys.pop_back();
  }

  void rule(const Rule* r) {
    TypeTable table;
    const Env env{&global_, nullptr, &table, &table};
    const bool fine = body(env, r->body);
    std::vector<const Term*> open;
    const std::vector<Value> path = path_of(r, open);
    if (!fine) {  // no errors that only follow from this one
      comprehensions_.clear();
      put(rules_, path, t_.any());
      return;
    }
    TypeRef t = nullptr;
    if (!r->args.empty()) {
      std::vector<TypeRef> arguments;
      for (const Term* a : r->args) {
        VarSet vars;
        collect_vars(a, {}, vars);
        for (Symbol v : vars)
          if (of_var(env, v) == nullptr) table[v] = t_.any();
        arguments.push_back(of(env, a));
      }
      t = t_.function(std::move(arguments), r->value != nullptr ? of(env, r->value) : nullptr);
    } else {
      t = r->value != nullptr ? of(env, r->value) : nullptr;
      if (r->key != nullptr) {
        TypeRef k = of(env, r->key);
        t = k == nullptr ? nullptr : t_.set(k);
      }
      for (std::size_t i = open.size(); i-- > 0 && t != nullptr;) {
        TypeRef k = of(env, open[i]);
        t = k == nullptr ? nullptr : t_.object({}, k, t);
      }
    }
    comprehensions_.clear();
    if (t != nullptr) insert(path, t);
  }

  // --- bodies

  // False where something was refused.
  bool body(const Env& env, const Body& b) {
    const std::size_t before = found_;
    for (const Expr* e : b) {
      if (e->with.empty())
        expr(env, e);
      else
        expr_with(env, e);
    }
    return found_ == before;
  }

  void expr(const Env& env, const Expr* e) {
    const std::size_t before = found_;
    closures(env, e);
    visit(env, e, true);
    const bool earlier = found_ > before;
    for (const auto& w : e->with) {
      TypeRef target = is_root_ref(w.target, "data") ? of_ref(env, w.target->items) : operator_type(env, w.target);
      TypeRef value = c_.builtin(w.value) != nullptr ? operator_type(env, w.value) : of(env, w.value);
      if (target != nullptr && target->kind == TypeKind::function && value != nullptr &&
          value->kind == TypeKind::function && !t_.unifies(target, value)) {
        error(w.target->loc, "with: the replacement of " + operator_name(w.target) + " takes other arguments");
        return;
      }
    }
    if (e->kind != ExprKind::call) return;
    bool follows = false;  // from a type that an earlier error left unknown
    std::string message = call(env, e, follows);
    if (!message.empty() && !(earlier && follows)) error(e->loc, std::move(message));
  }

  // What `with` replaces can also be what it is replaced by, and what depends on it can be anything.
  void expr_with(const Env& env, const Expr* e) {
    std::vector<std::unique_ptr<TypeTree>> trees;
    std::vector<Env> layers;
    layers.reserve(e->with.size() + 1);  // they point at each other
    const Env* top = &env;
    const auto layer = [&](std::unique_ptr<TypeTree> tree) {
      layers.push_back({top, tree.get(), nullptr, env.learn});
      trees.push_back(std::move(tree));
      top = &layers.back();
    };
    auto replaced = std::make_unique<TypeTree>();
    bool any = false;
    for (const auto& w : e->with) {
      const bool data = is_root_ref(w.target, "data");
      if (!data && !is_root_ref(w.target, "input")) continue;  // a built-in
      TypeRef target = of_ref(env, w.target->items);
      const bool function = target != nullptr && target->kind == TypeKind::function;
      if (data) {
        auto tree = std::make_unique<TypeTree>();
        for (const Rule* r : dependents(w.target)) {
          std::vector<const Term*> open;
          const auto path = path_of(r, open);
          if (!(function && open.empty() && same_path(path, w.target))) put(*tree, path, t_.any());
        }
        if (!tree->children.empty()) layer(std::move(tree));
      }
      if (function) continue;
      TypeRef t = t_.any();
      std::vector<Value> path{name(w.target->items[0])};
      bool ground = true;
      for (std::size_t i = 1; i < w.target->items.size() && ground; ++i) {
        const Value k = constant(w.target->items[i]);
        ground = k.defined();
        if (ground) path.push_back(k);
      }
      if (ground && target != nullptr)
        if (TypeRef v = of(env, w.value); v != nullptr)
          if (TypeRef both = t_.either(target, v); both != nullptr) t = both;
      put(*replaced, path, t);
      any = true;
    }
    if (any) layer(std::move(replaced));
    expr(*top, e);
  }

  [[nodiscard]] bool same_path(const std::vector<Value>& path, const Term* ref) const {
    if (path.size() != ref->items.size()) return false;
    for (std::size_t i = 1; i < path.size(); ++i)
      if (ref->items[i]->kind != TermKind::scalar || !equal(path[i], ref->items[i]->value)) return false;
    return true;
  }

  // Rules that a reference may lead to and all that depend on them.
  std::vector<const Rule*> dependents(const Term* ref) {
    if (used_by_.empty())
      for (Rule* r : c_.rule_order()) {
        std::vector<TreeNode*> nodes;
        for (Rule* x = r; x != nullptr; x = x->otherwise) c_.dependencies(x, nodes);
        for (TreeNode* n : nodes) used_by_[n].push_back(r);
      }
    std::vector<TreeNode*> open;
    c_.reachable(ref->items, open);
    std::vector<const Rule*> out;
    std::set<const TreeNode*> seen;
    while (!open.empty()) {
      TreeNode* n = open.back();
      open.pop_back();
      if (!seen.insert(n).second) continue;
      out.insert(out.end(), n->rules.begin(), n->rules.end());
      for (const Rule* r : used_by_[n]) {
        TreeNode* at = node_of(r);
        if (!seen.contains(at)) open.push_back(at);
      }
    }
    return out;
  }
  TreeNode* node_of(const Rule* r) {
    TreeNode* n = &c_.tree();
    std::vector<const Term*> open;
    const auto path = path_of(r, open);
    for (std::size_t i = 1; i < path.size(); ++i) n = n->child(path[i]);
    return n;
  }

  // Types the comprehensions of an expression (those of nested bodies too), each once.
  void closures(const Env& env, const Expr* e) {
    for (const Term* t : e->items)
      if (t != nullptr) closures(env, t);
    for (const auto& w : e->with) closures(env, w.value);
    for (const Expr* x : e->body) closures(env, x);
    for (const Expr* x : e->right) closures(env, x);
  }
  void closures(const Env& env, const Term* t) {
    if (!comprehension(t)) {
      for (const Term* x : t->items) closures(env, x);
      return;
    }
    TypeTable table;
    const Env inner{&env, nullptr, &table, &table};
    TypeRef& out = comprehensions_[t];
    out = nullptr;
    if (!body(inner, t->body)) return;
    TypeRef first = of(inner, t->items[0]);
    TypeRef type = t->kind == TermKind::array_of ? t_.array({}, first)
                   : t->kind == TermKind::set_of ? t_.set(first)
                                                 : t_.object({}, first, of(inner, t->items[1]));
    comprehensions_[t] = type;
  }

  // --- references

  // The modifiers of the expression itself are not looked at, those of nested ones are.
  void visit(const Env& env, const Expr* e, bool outermost) {
    for (std::size_t i = e->kind == ExprKind::call ? 1 : 0; i < e->items.size(); ++i)
      if (e->items[i] != nullptr) visit(env, e->items[i]);
    for (const Expr* x : e->body) visit(env, x, false);
    for (const Expr* x : e->right) visit(env, x, false);
    if (e->kind == ExprKind::every || (!outermost && (e->kind == ExprKind::and_ || e->kind == ExprKind::or_)))
      for (const auto& w : e->with) {
        if (is_root_ref(w.target, "data") || is_root_ref(w.target, "input")) visit(env, w.target);
        if (c_.builtin(w.value) == nullptr) visit(env, w.value);
      }
  }

  void visit(const Env& env, const Term* t) {
    if (comprehension(t)) return;  // closures() was there
    if (t->kind == TermKind::ref && !reference(env, t)) return;
    for (const Term* x : t->items) visit(env, x);
  }

  bool refuse(const Term* ref, std::string_view why) {
    error(ref->loc, "undefined ref: " + text_of(ref) + std::string(why));
    return false;
  }
  bool refuse_key(const Term* ref, std::size_t i, TypeRef have, TypeRef want) {
    const std::string key = have == nullptr ? text_of(ref->items[i]) : "a key that is " + Types::text(have);
    return refuse(ref, want == nullptr ? ": there is nothing that " + key + " could lead to"
                                       : ": there is no " + key + ", keys are " + Types::text(want));
  }
  // As the author wrote it, where variables are the author's.
  std::string text_of(const Term* t) const {
    std::string s = to_text(t);
    VarSet vars;
    collect_vars(t, {}, vars);
    for (Symbol v : vars) {
      const Symbol o = c_.original(v);
      const std::string& shown = o != nullptr ? *o : std::string("_");
      for (std::size_t at = s.find(*v); at != std::string::npos; at = s.find(*v, at + shown.size()))
        s.replace(at, v->size(), shown);
    }
    return s;
  }

  bool reference(const Env& env, const Term* t) {
    const auto& ref = t->items;
    if (TypeRef whole = of_ref(env, ref); whole != nullptr && whole->kind == TypeKind::function) {
      error(t->loc, "function " + text_of(t) + " used as reference, not called");
      return false;
    }
    const Term* head = ref[0];
    if (!root_name(head)) {
      if (head->kind != TermKind::var) return leaf(env, t, t_.any(), 1);  // true[x]: never defined, never refused
      TypeRef known = of_var(env, head->name);
      if (known != nullptr) return leaf(env, t, known, 1);
      (*env.learn)[head->name] = t_.any();
      return leaf(env, t, t_.any(), 1);
    }
    for (const Env* e = &env; e != nullptr; e = e->next) {
      if (e->tree == nullptr) continue;
      const TypeTree* n = e->tree->child(name(head));
      if (n == nullptr) continue;
      for (std::size_t i = 1; n != nullptr; ++i) {
        if (n->value != nullptr) return leaf(env, t, n->value, i);
        if (i == ref.size()) return true;
        const Term* k = ref[i];
        if (i <= 2 && k->kind != TermKind::var && !(k->kind == TermKind::scalar && k->value.is(Kind::string)))
          return refuse_key(t, i, of(env, k), t_.scalar(Kind::string));
        if (k->kind == TermKind::var) {
          TypeRef keys = t_.keys(extent(*n));
          if (TypeRef have = of_var(env, k->name); have == nullptr)
            (*env.learn)[k->name] = keys;
          else if (!t_.unifies(keys, have))
            return refuse_key(t, i, have, keys);
          n = nullptr;
        } else {
          const Value key = constant(k);
          n = key.defined() ? n->child(key) : nullptr;
        }
      }
    }
    return leaf(env, t, t_.any(), 1);
  }

  // Goes on below a value of a known type.
  bool leaf(const Env& env, const Term* ref, TypeRef t, std::size_t i) {
    for (; i < ref->items.size(); ++i) {
      const Term* k = ref->items[i];
      if (t != nullptr && t->hollow()) {
        if (k->kind == TermKind::scalar) return refuse_key(ref, i, nullptr, nullptr);
        if (k->kind != TermKind::var) return true;
        TypeRef have = of_var(env, k->name);
        TypeRef keys = t_.keys(t);
        if (have == nullptr)
          (*env.learn)[k->name] = t_.any();
        else if (keys != nullptr && !t_.unifies(have, keys))
          return refuse_key(ref, i, have, keys);
        return true;
      }
      TypeRef keys = t_.keys(t);
      if (keys == nullptr) return refuse(ref, ": a value that is " + Types::text(t) + " has no members");
      switch (k->kind) {
        case TermKind::var:
          if (TypeRef have = of_var(env, k->name); have == nullptr)
            (*env.learn)[k->name] = keys;
          else if (!t_.unifies(have, keys))
            return refuse_key(ref, i, have, keys);
          break;
        case TermKind::ref:
          if (TypeRef have = of_ref(env, k->items); have != nullptr && !t_.unifies(have, keys))
            return refuse_key(ref, i, have, keys);
          break;
        case TermKind::array:
        case TermKind::object:
        case TermKind::set:
          if (!learn(env, k, keys, false)) return refuse_key(ref, i, of(env, k), keys);
          break;
        default: {
          TypeRef child = k->kind == TermKind::scalar ? t_.select(t, k->value) : nullptr;
          if (child == nullptr) return refuse_key(ref, i, nullptr, keys);
          t = child;
          continue;
        }
      }
      t = t_.values(t);
    }
    return true;
  }

  // --- calls

  TypeRef operator_type(const Env& env, const Term* op) {
    const Builtin* b = c_.builtin(op);
    if (b == nullptr) return is_root_ref(op, "data") ? of_ref(env, op->items) : nullptr;
    if (!b->host) return signature(*b);
    TypeRef& t = hosts_[b];
    if (t == nullptr) t = t_.function(std::vector<TypeRef>(static_cast<std::size_t>(b->arity), t_.any()), t_.any());
    return t;
  }

  // Empty where the call can succeed.
  std::string call(const Env& env, const Expr* e, bool& follows) {
    const std::string op = operator_name(e->items[0]);
    if (op == "eq" && e->items.size() == 3) {
      TypeRef a = of(env, e->items[1]);
      TypeRef b = of(env, e->items[2]);
      if (equate(env, e->items[1], a, e->items[2], b)) return {};
      follows = unknown(a) || unknown(b);
      return "match error: " + Types::text(a) + " never equals " + Types::text(b);
    }
    if (const std::size_t count = op == "internal.member_2"   ? 2
                                  : op == "internal.member_3" ? 3
                                                              : 0;
        count != 0 && e->items.size() > count) {
      TypeRef in = of(env, e->items[count]);
      TypeRef values = t_.values(in);
      std::string message;
      if (values != nullptr && count == 3) message = member(env, e->items[1], t_.keys(in), follows);
      if (values != nullptr && message.empty()) message = member(env, e->items[count - 1], values, follows);
      if (!message.empty()) return message;
    }
    TypeRef f = operator_type(env, e->items[0]);
    if (f == nullptr || f->anything()) return {};
    if (f->kind != TypeKind::function) return "undefined function " + op;
    std::vector<TypeRef> wanted = f->parts;
    if (f->rest != nullptr) wanted.push_back(f->rest);
    const std::size_t given = e->items.size() - 1;
    if (op == "internal.print") return {};
    if (given > wanted.size()) return op + ": too many arguments";
    if (given < f->parts.size()) return op + ": too few arguments";
    std::vector<TypeRef> have;
    for (std::size_t i = 0; i < given; ++i) have.push_back(of(env, e->items[i + 1]));
    for (std::size_t i = 0; i < given; ++i) {
      if ((unknown(have[i]) || t_.unifies(have[i], wanted[i])) && learn(env, e->items[i + 1], wanted[i], false))
        continue;
      follows = std::ranges::any_of(have, [](TypeRef t) { return unknown(t); });
      if (i == f->parts.size())
        return op + ": match error: its result is " + Types::text(wanted[i]) + ", never " + Types::text(have[i]);
      return op + ": argument " + std::to_string(i + 1) + " is " + Types::text(have[i]) + ", wanted " +
             Types::text(wanted[i]);
    }
    return {};
  }

  // `in` is never an error for what has no members; what has some must be able to have this one.
  std::string member(const Env& env, const Term* t, TypeRef type, bool& follows) {
    if (unknown(type)) return {};
    TypeRef have = of(env, t);
    if ((unknown(have) || t_.unifies(have, type)) && learn(env, t, type, false)) return {};
    follows = unknown(have);
    return "match error: " + Types::text(have) + " is never in a collection of " + Types::text(type);
  }

  bool equate(const Env& env, const Term* a, TypeRef ta, const Term* b, TypeRef tb) {
    const bool ua = unknown(ta);
    const bool ub = unknown(tb);
    if (ua && !ub) return learn(env, a, tb, false);
    if (ub && !ua) return learn(env, b, ta, false);
    if (!ua) return t_.unifies(ta, tb);
    const auto is = [](const Term* t, TermKind k) { return t->kind == k; };
    if (is(a, TermKind::array) || is(a, TermKind::object)) return equate_parts(env, a, b);
    if (is(a, TermKind::var)) {
      if (is(b, TermKind::var)) return learn(env, a, t_.any(), false) && learn(env, b, of(env, a), false);
      if (is(b, TermKind::array) || is(b, TermKind::object)) return equate_parts(env, b, a);
      if (is(b, TermKind::ref)) return learn(env, a, t_.any(), false);
    } else if (is(a, TermKind::ref) && is(b, TermKind::var)) {
      return learn(env, b, t_.any(), false);
    }
    if (is(a, TermKind::var) && ta == nullptr && tb != nullptr) return learn(env, a, tb, false);
    if (is(b, TermKind::var) && tb == nullptr && ta != nullptr) return learn(env, b, ta, false);
    return false;
  }

  bool equate_parts(const Env& env, const Term* a, const Term* b) {
    if (b->kind == TermKind::var) return learn(env, a, t_.any(), false) && learn(env, b, of(env, a), false);
    if (b->kind != a->kind || a->items.size() != b->items.size()) return false;
    const auto both = [&](const Term* x, const Term* y) { return equate(env, x, of(env, x), y, of(env, y)); };
    if (a->kind == TermKind::array) {
      for (std::size_t i = 0; i < a->items.size(); ++i)
        if (!both(a->items[i], b->items[i])) return false;
      return true;
    }
    std::map<std::string, const Term*> there;
    for (std::size_t i = 0; i + 1 < b->items.size(); i += 2) there[to_text(b->items[i])] = b->items[i + 1];
    for (std::size_t i = 0; i + 1 < a->items.size(); i += 2) {
      const auto it = there.find(to_text(a->items[i]));
      if (it == there.end() || !both(a->items[i + 1], it->second)) return false;
    }
    return true;
  }

  // Holds a term against a type and notes what its variables then are; `also`: in addition to what they were.
  bool learn(const Env& env, const Term* t, TypeRef type, bool also) {
    switch (t->kind) {
      case TermKind::var: {
        TypeRef have = of_var(env, t->name);
        if (!also && have != nullptr) return t_.unifies(have, type);
        (*env.learn)[t->name] = also ? t_.either(have, type) : type;
        return true;
      }
      case TermKind::array:
      case TermKind::object:
      case TermKind::set: break;
      default: return t_.unifies(of(env, t), type);
    }
    if (type == nullptr) return false;
    if (type->anything()) {
      for (const Term* x : t->items) (void)learn(env, x, type, true);
      return true;
    }
    if (type->kind == TypeKind::any) {
      bool one = false;
      for (TypeRef p : type->parts) one = learn(env, t, p, true) || one;
      return one;
    }
    if (t->kind == TermKind::array) {
      if (type->kind != TypeKind::array || (t->items.size() != type->parts.size() && type->rest == nullptr))
        return false;
      for (std::size_t i = 0; i < t->items.size(); ++i)
        if (!learn(env, t->items[i], i < type->parts.size() ? type->parts[i] : type->rest, also)) return false;
      return true;
    }
    if (t->kind == TermKind::set)
      return type->kind == TypeKind::set &&
             std::ranges::all_of(t->items, [&](const Term* x) { return learn(env, x, type->rest, also); });
    if (type->kind != TypeKind::object || (t->items.size() / 2 != type->members.size() && type->more_values == nullptr))
      return false;
    for (std::size_t i = 0; i + 1 < t->items.size(); i += 2) {
      if (const Value key = constant(t->items[i]); !key.defined()) {
        (void)learn(env, t->items[i + 1], t_.any(), also);
      } else if (TypeRef child = t_.select(type, key); child == nullptr || !learn(env, t->items[i + 1], child, also)) {
        return false;
      }
    }
    return true;
  }

  Compiler& c_;
  Types t_;
  TypeTree rules_;
  Env global_;
  std::unordered_map<const Builtin*, TypeRef> hosts_;
  std::unordered_map<const Term*, TypeRef> comprehensions_;
  std::unordered_map<const TreeNode*, std::vector<const Rule*>> used_by_;
  std::size_t found_ = 0;
};

void Compiler::check_types() {
  types_ = std::make_shared<TypeChecker>(*this);
  types_->rules();
}

void Compiler::check_types(const Body& query) { types_->query(query); }

}  // namespace cairn::policy
