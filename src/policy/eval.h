// Runs compiled code. One Machine per evaluation; not shared between threads.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "policy/program.h"
#include "policy/scratch.h"

namespace cairn::policy {

// A place in the tree of documents while a reference with variables walks through it.
struct DocNode {
  const TreeNode* node;  // nullptr below the rules
  Value base;            // may be undefined
  std::span<const Value> path;
};

// The member of a base document. Stores look members up by the texts of their keys: 1 finds "1", and "1" an element of
// an array.
[[nodiscard]] const Value* stored(const Value& in, const Value& key);

// Room for operands, usually on the stack; nothing is there yet.
class Few {
 public:
  std::span<Value> of(std::size_t n, Arena& arena) {
    void* p = n <= most ? near_ : arena.allocate(n * sizeof(Value));
    return {static_cast<Value*>(p), n};
  }

 private:
  static constexpr std::size_t most = 6;
  alignas(Value) std::byte near_[most * sizeof(Value)];
};

// Where evaluation goes on when what follows fails.
struct Choice {
  std::uint32_t pc;
  std::uint32_t index;
  Value source;                      // of a scan
  const std::vector<Value>* tuples;  // of a with: outputs of each solution, one after another
};

// What functions and partial rules gave for which operands.
class Memos {
 public:
  struct Memo {
    std::uint64_t hash;
    std::int32_t set;
    std::uint32_t mask;
    std::uint32_t count;
    const Value* keys;
    Value result;
  };
  // Keys are compared by identity where they are large and not `whole`: a miss only costs time.
  [[nodiscard]] static std::uint64_t hash_of(std::span<const Value> keys, std::uint64_t seed, bool whole = false);
  [[nodiscard]] const Value* find(std::uint64_t hash, std::int32_t set, std::uint32_t mask, std::span<const Value> keys,
                                  bool whole = false) const;
  void add(std::uint64_t hash, std::int32_t set, std::uint32_t mask, std::uint32_t count, const Value* keys,
           const Value& result);
  void clear();  // keeps some memory

 private:
  std::vector<Memo> all_;
  std::vector<std::uint32_t> slots_;  // 1 + index into all_, open addressing; a power of two of them
};

// Memory and stacks that one thread uses for one evaluation after another.
struct Scratch {
  Arena arena;
  std::vector<Choice> choices;
  std::vector<std::unique_ptr<Value[]>> stack;
  std::array<std::uint8_t, 256> hints{};  // where in objects the keys of `get` were found last
  Memos memos;
  RegexCache regexes;
};

class Machine {
 public:
  Machine(const Program& program, const EvalOptions& options);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Calls `each` with the registers of every solution until it returns false. Throws Stop.
  void solutions(const Code& code, std::uint32_t start, std::uint32_t frame,
                 const std::function<bool(const Value* regs)>& each);
  [[nodiscard]] Value read(const Code& code, const Value* regs, Operand o) const {
    return o >= 0 ? regs[o] : code.constants[static_cast<std::size_t>(~o)];
  }
  [[nodiscard]] Arena& arena() { return scratch_->arena; }

 private:
  // What `with` replaces, and what was computed under it.
  struct Mock {
    const TreeNode* node;
    const Builtin* builtin;
    Value value;
    const TreeNode* by_function;
    const RuleSet* by_given;
    const Builtin* by_builtin;
  };
  struct Context {
    Value input;
    Value data;                               // as the host gave it
    Value over;                               // what `with` put over it, undefined where nothing is
    std::vector<std::vector<Value>> targets;  // of what is over it
    std::vector<const TreeNode*> shadowed;
    std::vector<Mock> mocks;
    std::vector<Value> complete;  // by rule set; kind undefined with `known` set means: undefined
    std::vector<std::uint8_t> known;
    Memos memos;
  };
  struct Run {
    const Code& code;
    std::uint32_t start;
    Value* regs;
    std::size_t base;
    bool started = false;
    std::uint32_t failed = 0;  // the furthest line that did not hold (traces only)
  };

  [[nodiscard]] bool next(Run& run);
  [[nodiscard]] bool retry(Run& run, std::uint32_t& pc);
  [[nodiscard]] bool step_scan(Choice& c, Run& run);
  [[nodiscard]] bool any(const Code& code, std::uint32_t start, Value* regs);  // has a solution
  void drop(std::size_t base);

  [[nodiscard]] Value collect(const Inst& i, Run& run);
  [[nodiscard]] bool every(const Inst& i, Run& run);
  [[nodiscard]] bool with(const Inst& i, Run& run, std::uint32_t pc);
  void enter_with(const WithPlan& plan, const Run& run);
  [[nodiscard]] Value replaced(const Value& whole, std::span<const Value> path, const Value& by);

  [[nodiscard]] Value call(const Inst& i, Run& run);
  [[nodiscard]] Value call_builtin(const Builtin& b, std::span<const Value> args, const Inst* at);
  [[nodiscard]] Value call_host(const Builtin& b, std::span<const Value> args);
  [[nodiscard]] Value function(std::int32_t set, std::span<const Value> args);
  [[nodiscard]] Value function_plain(const RuleSet& set, std::span<const Value> args);
  [[nodiscard]] Value given(const RuleSet& set, std::span<const Value> args_and_told);
  [[nodiscard]] Value given_plain(const RuleSet& set, std::span<const Value> args_and_told);
  [[nodiscard]] Value replacement(const Mock& m, std::span<const Value> all, std::size_t arity, const Inst* at);
  [[nodiscard]] const Mock* mock_of(const TreeNode* function) const;
  [[nodiscard]] std::uint64_t kept_hash(const RuleSet& set, std::span<const Value> args);
  void keep(std::span<const Value> args, std::uint64_t hash, std::int32_t set, Memos& in, const Value& result);
  void keep_calls(const Code& code);
  [[nodiscard]] Value complete(std::int32_t set);
  [[nodiscard]] Value decide(const RuleSet& set, std::span<const Value> args);
  [[nodiscard]] Value chain(const RuleCode& rule, const RuleSet& set, std::span<const Value> args);
  [[nodiscard]] Value one_rule(const RuleCode& rule, const RuleSet& set, std::span<const Value> args);
  [[nodiscard]] Value partial(const PartialPlan& plan, std::span<const Value> keys);
  [[nodiscard]] Value build(std::vector<std::vector<Value>>& rows);
  [[nodiscard]] Value extent(const TreeNode& node, const Value& base);
  [[nodiscard]] Value merge(const Value& base, const Value& virtual_doc);
  [[nodiscard]] Value rules_at(const TreeNode& node);
  [[nodiscard]] Value node_child(const Value& at, const Value& key);
  [[nodiscard]] Value node_keys(const Value& at);
  [[nodiscard]] Value base(std::span<const Value> path);
  [[nodiscard]] Value base_at(const TreeNode& node);
  [[nodiscard]] std::vector<Value> path_to(const TreeNode& node);
  [[nodiscard]] Value doc_node(const TreeNode* node, std::span<const Value> path);
  [[nodiscard]] bool shadowed(const TreeNode& node) const;
  template <class F>
  void each_rule(const std::vector<RuleCode>& rules, const std::optional<RuleIndex>& index, std::span<const Value> args,
                 F&& f) const;

  [[nodiscard]] Value* frame(std::size_t n);
  [[noreturn]] void stop(ErrorCode code, std::string message, std::uint32_t file = 0, std::uint32_t line = 0) const;
  void tick(std::uint64_t n = 1) {
    instructions_ += n;
    if (instructions_ >= checkpoint_) checkpoint();
  }
  void checkpoint();
  void trace(TraceEvent::Kind kind, std::uint32_t file, std::uint32_t line, std::string_view what) const {
    if (traced_) tell(kind, file, line, what);
  }
  void end_trace(const RuleCode& rule, const Run& run, bool held, std::string_view what) const {
    const bool named = !held && run.failed != 0;
    trace(held ? TraceEvent::Kind::exit : TraceEvent::Kind::fail, rule.file, named ? run.failed : rule.line, what);
  }
  void tell(TraceEvent::Kind kind, std::uint32_t file, std::uint32_t line, std::string_view what) const;

  class Depth {
   public:
    explicit Depth(Machine& m) : m_(m), stack_chunk_(m.stack_chunk_), stack_used_(m.stack_used_) {
      if (++m_.depth_ > m_.options_.limits.call_depth)
        m_.stop(ErrorCode::too_large, "rules and functions call each other deeper than the limit");
    }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    ~Depth() {
      --m_.depth_;
      m_.stack_chunk_ = stack_chunk_;
      m_.stack_used_ = stack_used_;
    }

   private:
    Machine& m_;
    std::size_t stack_chunk_;
    std::size_t stack_used_;
  };

  const Program& program_;
  const EvalOptions& options_;
  const bool traced_;
  std::unique_ptr<Scratch> scratch_;
  std::vector<std::unique_ptr<Context>> contexts_;
  Context* context_ = nullptr;
  bool mocks_off_ = false;
  std::vector<Choice>& choices_;
  std::vector<std::unique_ptr<std::vector<Value>>> tuples_;
  std::uint64_t instructions_ = 0;
  std::uint64_t checkpoint_ = 0;
  std::size_t depth_ = 0;
  std::size_t stack_chunk_ = 0;
  std::size_t stack_used_ = 0;
  std::string problem_;
  std::uint64_t random_ = 0;
  std::unordered_map<std::string, Value> once_;
  std::vector<std::uint8_t> cheap_;  // by rule set: how many of the last calls were not worth keeping; or always_kept
};

}  // namespace cairn::policy
