// Turns compiled bodies into code. One Planner plans one rule or query at a time:
//   plan.cc         rules, rule sets and queries
//   plan_terms.cc   terms and references, and what is left of unification
//   plan_exprs.cc   expressions of bodies
//   plan_guards.cc  what a rule needs of the base documents, and the index of rules
#pragma once

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "policy/program.h"

namespace cairn::policy {

inline constexpr std::size_t most_keys = 8;        // that a partial rule is specialised for
inline constexpr std::size_t most_patterns = 256;  // that rules are specialised for
inline constexpr int most_second_looks = 64;       // at equations that wait, each as long as they are

// Where the variables are that are bound so far. What was bound since a mark can be taken back.
class Bindings {
 public:
  [[nodiscard]] const Operand* find(Symbol v) const {
    const auto it = at_.find(v);
    return it == at_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] bool contains(Symbol v) const { return at_.contains(v); }
  void set(Symbol v, Operand o) {
    const auto [it, is_new] = at_.try_emplace(v, o);
    log_.push_back({v, is_new ? std::nullopt : std::optional(it->second)});
    it->second = o;
  }
  [[nodiscard]] std::size_t mark() const { return log_.size(); }
  void undo(std::size_t mark) {
    for (; log_.size() > mark; log_.pop_back()) {
      if (log_.back().before)
        at_[log_.back().name] = *log_.back().before;
      else
        at_.erase(log_.back().name);
    }
  }
  // Operands of the variables that were not bound at the mark.
  [[nodiscard]] std::vector<Operand> since(std::size_t mark) const {
    std::vector<Operand> out;
    for (std::size_t i = mark; i < log_.size(); ++i)
      if (!log_[i].before) out.push_back(at_.at(log_[i].name));
    return out;
  }
  [[nodiscard]] const std::unordered_map<Symbol, Operand>& all() const { return at_; }
  void clear() { *this = {}; }

 private:
  struct Change {
    Symbol name;
    std::optional<Operand> before;
  };
  std::unordered_map<Symbol, Operand> at_;
  std::vector<Change> log_;
};

class Planner {
 public:
  Planner(Program& program, Code& code) : p_(program), code_(code) {}

  void rule_set(RuleSet& set);
  void partial_rules(PartialPlan& plan);
  [[nodiscard]] RuleCode rule(const Rule* r, const RuleSet& set, const Told& told);
  void query(QueryPlan& plan, const Body& body, bool single);

 private:
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
    const std::size_t mark = bound_.mark();
    fill();
    emit(Op::yield);
    if (!keep) bound_.undo(mark);
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
  [[nodiscard]] std::int32_t get(Operand from, Operand key);
  [[nodiscard]] std::int32_t base(const std::vector<Operand>& keys);
  [[nodiscard]] Operand base_reference(const std::vector<Term*>& items);
  void scan(std::int32_t dst, Operand from, const Term* pattern, std::int32_t key);
  [[nodiscard]] Operand data_reference(const Term* t);
  [[nodiscard]] Operand node_steps(const TreeNode* n, const std::vector<Term*>& items, std::size_t next);
  [[nodiscard]] Operand partial(const RuleSet& set, const std::vector<Term*>& items, std::size_t next);
  void bind(Symbol v, Operand o);
  [[noreturn]] void unbound(const Term* variable) const;  // or an equation that binds nothing
  void key_pattern(const Term* t, Operand key);

  // --- expressions
  struct Side {
    const Term* term = nullptr;  // or
    Operand operand = 0;
  };
  using Equations = std::vector<std::pair<Side, Side>>;
  void unify(Side a, Side b) { unify(Equations{{a, b}}, false); }
  void unify(Equations open, bool may_wait);  // the next one last
  // What a rule is told before its body.
  [[nodiscard]] Symbol told_name(std::size_t operand) { return p_.pool.symbol("=" + std::to_string(operand)); }
  [[nodiscard]] Term* told_part(Term* t, std::vector<Operand>& ops, std::vector<Symbol>& unknown);
  [[nodiscard]] Told told(std::span<Term* const> terms, std::vector<Operand>& ops);
  [[nodiscard]] Told whole_value() { return {{p_.pool.var(told_name(0), at_)}, 1, {}}; }
  void tell(const std::vector<const Term*>& terms, const Told& told, std::size_t first);
  [[nodiscard]] bool settle(Side& a, Side& b, Equations& more);
  void never(std::initializer_list<const Term*> terms);
  void destructure(const Term* pattern, Operand o, Equations& more);
  void body(const Body& b);
  void expr(const Expr* e);
  void plain_expr(const Expr* e);
  void call(const Expr* e);
  void with(const Expr* e);
  [[nodiscard]] std::int32_t partial_plan(const RuleSet& set, Told told);
  [[nodiscard]] std::int32_t value_given(const RuleSet& function, Told told);

  // --- guards
  // A place in the base documents: input or data, and constant keys.
  struct Place {
    bool data = false;
    std::vector<Value> path;
  };
  [[nodiscard]] std::optional<Place> place(const Term* t) const;
  [[nodiscard]] std::optional<Place> container(const Term* t) const;
  [[nodiscard]] std::int32_t read(const Place& at);
  [[nodiscard]] std::optional<Operand> settled_operand(const Rule* r, const Term* t);
  [[nodiscard]] const Value* settled_value(const Term* t);
  void guard_call(const Rule* r, const Expr* e);
  void guard_array(std::int32_t reg, const Term* pattern);
  void guards(const Rule* r, std::vector<Guard>& out);

  Program& p_;
  Code& code_;
  Block* block_ = nullptr;
  Bindings bound_;
  std::uint32_t frame_ = 0;
  Equations waiting_;  // of what a rule was told: nothing in them is known yet
  Location at_;
  // What the guards of a rule have read, checked and seen.
  std::unordered_map<std::string, std::int32_t> read_;
  std::unordered_set<const Expr*> settled_;
  std::unordered_map<Symbol, Place> alias_;
  std::unordered_map<Symbol, Value> known_;
  bool replaced_ = false;  // inside of a `with`: what was read before may not hold
};

// Adds a key to the text that tells one path from another.
void append_key(const Value& v, std::string& out);
// By the value that most rules compare with a constant; none where few do.
[[nodiscard]] std::optional<RuleIndex> index_of(const std::vector<RuleCode>& rules);

}  // namespace cairn::policy
