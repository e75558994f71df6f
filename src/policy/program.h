// Compiled policies: instructions over registers. Which variables are bound where is known when compiling, so that
// unification is gone: what is left are lookups, comparisons, and a few instructions with several solutions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "policy/compiler.h"
#include "policy/policy.h"

namespace cairn::policy {

// A register where not negative, otherwise constant number ~x.
using Operand = std::int32_t;

enum class Op : std::uint8_t {
  yield,      // a solution of this block
  fail,       // none (any more)
  move,       // dst = a
  input,      // dst = input; fails where it is undefined
  base,       // dst = base document at the keys args[a, a+b); fails where there is none
  get,        // dst = a[b]; fails where there is none; c: hint, where b is a constant string
  below,      // dst = base document at the keys args[b, b+c); a is the one at all keys but the last
  scan,       // each (b = key, dst = value) of a
  equal,      // a and b are equal
  test,       // a is not false
  is_array,   // a is an array of b elements (b a number, not an operand)
  is_object,  // a is an object of b members
  suits,      // a is of the kind b (a number, not an operand) or a set
  array,
  set,
  object,      // dst = of args[a, a+b)
  call,        // dst = builtin a of args[b, b+c)
  call_for,    // the same, called for the value args[b+c]
  rule,        // dst = complete rule set a
  function,    // dst = function a of args[b, b+c)
  given,       // dst = function given[a] of the first of args[b, b+c), called for what is told by those after them
  partial,     // dst = partial plan a for the keys args[b, b+c)
  extent,      // dst = document of tree node a
  node,        // dst = handle of tree node a
  node_get,    // dst = handle or value at a[b]
  node_scan,   // each (b = key, dst = handle or value) of a
  node_value,  // dst = a as a value
  not_,        // block a has no solution
  exists,      // block a has one
  either,      // block a or block b has one
  every,       // for every (dst = value, b = key) of a, block c has a solution
  collect_array,
  collect_set,
  collect_object,  // dst = of operands b (and c) of each solution of block a
  with,            // with plan b, each solution of block a
  mark,            // an expression held (traces only)
};

struct Inst {
  Op op = Op::fail;
  std::uint16_t file = 0;
  std::uint32_t line = 0;
  std::int32_t dst = 0;
  std::int32_t a = 0;
  std::int32_t b = 0;
  std::int32_t c = 0;
};

struct RuleSet;

struct WithTarget {
  enum class Kind : std::uint8_t { input, data, function, builtin } kind = Kind::input;
  std::vector<Operand> path;       // below input or data
  const TreeNode* node = nullptr;  // of a data path or function
  const Builtin* builtin = nullptr;
  Operand value = 0;
  const TreeNode* by_function = nullptr;  // the replacement, where it is a function
  const RuleSet* by_given = nullptr;      // the same, its value given
  const Builtin* by_builtin = nullptr;
};

struct WithPlan {
  std::vector<WithTarget> targets;
  std::vector<std::int32_t> outputs;  // registers the block binds
};

struct Code;

// A comparison that a rule fails without, whatever else it says.
struct Guard {
  std::int32_t argument = -1;  // of a function, or
  std::vector<Value> path;     // below input
  Value value;
};

struct RuleCode {
  const Code* code = nullptr;
  std::uint32_t start = 0;
  std::uint32_t frame = 0;
  Operand value = 0;
  Operand key = 0;  // of sets
  bool is_set = false;
  bool constant = false;      // the value is one constant
  std::vector<Operand> path;  // keys below the rule set's node
  std::vector<RuleCode> otherwise;
  std::vector<Guard> guards;
  std::uint32_t file = 0;
  std::uint32_t line = 0;
};

// Which rules can match, by the value that most of them compare with a constant. Rules are numbers, ascending.
struct RuleIndex {
  struct Entry {
    std::uint64_t hash;
    Value value;
    std::vector<std::uint32_t> rules;
  };
  std::int32_t argument = -1;  // of a function, or
  std::vector<Value> path;     // below input
  std::vector<std::uint32_t> others;

  [[nodiscard]] const Entry* find(const Value& v) const;
  void add(const Value& v, std::uint32_t rule);

 private:
  [[nodiscard]] std::size_t slot(const Value& v, std::uint64_t hash) const;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> slots_;  // 1 + index into entries_, open addressing; a power of two of them
};

// What is known before the call of a function's value or of the keys of a partial rule: patterns, in which what is
// known stands as the variables that Planner::told_name gives.
struct Told {
  std::vector<const Term*> parts;  // nullptr: nothing is known
  std::size_t operands = 0;        // how many variables stand for something known
  std::string text;                // of the parts; empty where what is known is known whole
};

struct PartialPlan {
  std::int32_t set = 0;
  std::uint32_t mask = 0;  // of which keys something is known
  std::size_t whole = 0;   // how many of the first keys are known whole
  Told told;
  std::vector<RuleCode> rules;
  std::optional<RuleIndex> index;
};

struct RuleSet {
  enum class Kind : std::uint8_t { complete, function, partial } kind = Kind::complete;
  std::int32_t id = 0;
  std::string path;
  const TreeNode* node = nullptr;
  std::vector<const Rule*> sources;
  bool set = false;  // partial with only `contains` at the node itself
  std::size_t arity = 0;
  Told told;                         // of a function's value; the operands come after the arguments
  std::size_t keys = 0;              // of the longest rule below the node
  std::vector<RuleCode> rules;       // complete and function
  std::optional<RuleCode> fallback;  // default
  bool same_constant = false;        // every rule has the same constant value: the first success decides
  std::optional<RuleIndex> index;
  std::int32_t full = -1;  // partial plan without keys
};

struct Code {
  std::vector<Inst> code;
  std::vector<Operand> args;
  std::vector<Value> constants;
  std::vector<const Builtin*> builtins;
  std::vector<WithPlan> withs;
  std::vector<std::unique_ptr<PartialPlan>> partials;
  std::vector<std::unique_ptr<RuleSet>> given;  // functions that are called for a value of which something is known
  std::map<std::tuple<std::int32_t, std::uint32_t, std::string>, std::size_t> partial_ids;  // by set, mask, told.text
  std::map<std::pair<std::int32_t, std::string>, std::size_t> given_ids;                    // by set and told.text
  std::size_t patterns = 0;                                                                 // plans with a told.text
  std::int32_t hints = 0;
};

struct QueryPlan {
  Code code;
  std::uint32_t start = 0;
  std::uint32_t frame = 0;
  std::vector<std::pair<std::string, Operand>> variables;
  Value result_key;
  Operand result = 0;
  bool single = false;  // `result` is its value
};

struct Program {
  CompileOptions options;
  std::vector<std::string> files;
  AstPool pool;
  std::unique_ptr<Compiler> compiler;
  Code code;
  std::vector<RuleSet> sets;
  std::vector<const TreeNode*> nodes;
  std::unordered_map<const TreeNode*, std::int32_t> node_ids;
  std::mutex mutex;  // of what follows, and of the pool once compiled
  std::map<std::string, std::shared_ptr<const QueryPlan>, std::less<>> queries;
};

// Fills sets and code from the compiled tree.
void plan(Program& program);
// Plans a compiled query; `single`: its value is that of its last expression's term.
[[nodiscard]] std::shared_ptr<QueryPlan> plan_query(Program& program, const Body& body, bool single);

}  // namespace cairn::policy
