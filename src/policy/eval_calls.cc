// Calls of functions and built-ins, and what `with` puts in their place.
#include <algorithm>
#include <utility>

#include "policy/eval.h"

namespace cairn::policy {
namespace {

constexpr std::uint64_t worth_keeping = 48;   // instructions of a call
constexpr std::uint8_t sure_to_be_cheap = 8;  // calls, one after another, that were not worth keeping
constexpr std::uint8_t always_kept = 255;     // instead: what one call gave decides what another gives
constexpr std::size_t kept_memos = 4096;

bool quick_equal(const Value& a, const Value& b) { return a.same(b) || (!a.is_collection() && equal(a, b)); }

}  // namespace

// --- with

Value Machine::replaced(const Value& whole, std::span<const Value> path, const Value& by) {
  if (path.empty()) return by;
  std::vector<Pair> pairs;
  Value child;
  if (whole.is(Kind::object))
    for (std::size_t i = 0; i < whole.size(); ++i) {
      if (equal(whole.key(i), path[0]))
        child = whole.value(i);
      else
        pairs.emplace_back(whole.key(i), whole.value(i));
    }
  pairs.emplace_back(path[0], replaced(child, path.subspan(1), by));
  return arena().object(pairs);
}

void Machine::enter_with(const WithPlan& plan, const Run& run) {
  auto next_context = std::make_unique<Context>();
  Context& c = *next_context;
  c.input = context_->input;
  c.data = context_->data;
  c.over = context_->over;
  c.targets = context_->targets;
  c.shadowed = context_->shadowed;
  if (!mocks_off_) c.mocks = context_->mocks;
  c.complete.resize(program_.sets.size());
  c.known.resize(program_.sets.size());
  for (const auto& t : plan.targets) {
    std::vector<Value> path;
    for (const Operand o : t.path) path.push_back(read(run.code, run.regs, o));
    const bool by_value = t.by_function == nullptr && t.by_builtin == nullptr;
    const Value v = by_value ? read(run.code, run.regs, t.value) : Value();
    switch (t.kind) {
      case WithTarget::Kind::input: c.input = replaced(c.input, path, v); break;
      case WithTarget::Kind::data:
        c.over = replaced(c.over, path, v);
        if (!c.over.is(Kind::object)) stop(ErrorCode::conflict, "data must be an object");
        c.targets.push_back(std::move(path));
        if (t.node != nullptr) c.shadowed.push_back(t.node);
        break;
      case WithTarget::Kind::function:
      case WithTarget::Kind::builtin:
        c.mocks.push_back({t.kind == WithTarget::Kind::function ? t.node : nullptr, t.builtin, v, t.by_function,
                           t.by_given, t.by_builtin});
        break;
    }
  }
  contexts_.push_back(std::move(next_context));
  context_ = &c;
}

bool Machine::with(const Inst& i, Run& run, std::uint32_t pc) {
  const WithPlan& plan = run.code.withs[static_cast<std::size_t>(i.b)];
  auto tuples = std::make_unique<std::vector<Value>>();
  {
    const Depth depth(*this);
    Context* const outer = context_;
    enter_with(plan, run);
    const bool mocks_off = std::exchange(mocks_off_, false);
    Run inner{run.code, static_cast<std::uint32_t>(i.a), run.regs, choices_.size()};
    while (next(inner)) {
      for (const auto reg : plan.outputs) tuples->push_back(run.regs[reg]);
      if (plan.outputs.empty()) {
        tuples->push_back(Value::null());
        drop(inner.base);
        break;
      }
      if (tuples->size() * sizeof(Value) > options_.limits.memory)
        stop(ErrorCode::too_large, "the evaluation needs more memory than its limit", i.file, i.line);
    }
    context_ = outer;
    contexts_.pop_back();
    mocks_off_ = mocks_off;
  }
  if (tuples->empty()) return false;
  tuples_.push_back(std::move(tuples));
  choices_.push_back({pc, 1, {}, tuples_.back().get()});
  for (std::size_t k = 0; k < plan.outputs.size(); ++k) run.regs[plan.outputs[k]] = (*tuples_.back())[k];
  return true;
}

// --- calls

Value Machine::call(const Inst& i, Run& run) {
  const Builtin& b = *run.code.builtins[static_cast<std::size_t>(i.a)];
  Few room;
  const auto arity = static_cast<std::size_t>(i.c);
  const auto all = room.of(arity + (i.op == Op::call_for ? 1 : 0), arena());
  for (std::size_t k = 0; k < all.size(); ++k)
    all[k] = read(run.code, run.regs, run.code.args[static_cast<std::size_t>(i.b) + k]);
  if (!context_->mocks.empty() && !mocks_off_)
    for (auto m = context_->mocks.rbegin(); m != context_->mocks.rend(); ++m)
      if (m->builtin == &b) return replacement(*m, all, arity, &i);
  return call_builtin(b, all.first(arity), &i);
}

// What stands in for a function or built-in; where it is a function, it is told the value that follows the operands.
Value Machine::replacement(const Mock& m, std::span<const Value> all, std::size_t arity, const Inst* at) {
  if (m.by_function == nullptr && m.by_builtin == nullptr) return m.value;
  const auto args = all.first(arity);
  const bool before = std::exchange(mocks_off_, true);
  const Value v = m.by_builtin != nullptr ? call_builtin(*m.by_builtin, args, at)
                  : all.size() > arity    ? given(*m.by_given, all)
                                          : function(m.by_function->ruleset, args);
  mocks_off_ = before;
  return v;
}

Value Machine::call_builtin(const Builtin& b, std::span<const Value> args, const Inst* at) {
  if (b.host) return call_host(b, args);
  if (b.is_void && b.name == "internal.print") {
    if (options_.print) {
      std::string line;
      for (const Value& set : args[0].items()) {
        if (!line.empty()) line += ' ';
        if (set.size() == 0)
          line += "<undefined>";
        else if (set.items()[0].is(Kind::string))
          line += set.items()[0].text();
        else
          write_rego(set.items()[0], line, options_.limits.output_bytes);
      }
      options_.print(line, at->file < program_.files.size() ? std::string_view(program_.files[at->file]) : "query",
                     at->line);
    }
    return Value::boolean(true);
  }
  problem_.clear();
  CallContext context{arena(), problem_, options_, instructions_, &scratch_->regexes, &random_, &once_};
  Value v = b.fn(context, args);
  tick();
  if (!v.defined() && options_.strict_builtin_errors && !problem_.empty())
    stop(ErrorCode::invalid_argument, b.name + ": " + problem_, at != nullptr ? at->file : 0,
         at != nullptr ? at->line : 0);
  return v;
}

Value Machine::call_host(const Builtin& b, std::span<const Value> args) {
  const auto it = options_.host.find(b.name);
  if (it == options_.host.end()) stop(ErrorCode::invalid_argument, "the host does not supply " + b.name);
  tick(worth_keeping);
  std::vector<Json> json;
  for (const Value& v : args) json.push_back(to_json(v));
  auto result = it->second(json);
  if (!result) throw Stop{std::move(result.error()).in(b.name)};
  return from_json(*result, arena());
}

Value Machine::function(std::int32_t id, std::span<const Value> args) {
  const RuleSet& set = program_.sets[static_cast<std::size_t>(id)];
  const Mock* const m = context_->mocks.empty() ? nullptr : mock_of(set.node);
  if (m == nullptr) return function_plain(set, args);
  return replacement(*m, args, set.arity, nullptr);
}

const Machine::Mock* Machine::mock_of(const TreeNode* function) const {
  const auto& mocks = context_->mocks;
  if (mocks_off_) return nullptr;
  const auto m = std::find_if(mocks.rbegin(), mocks.rend(), [&](const Mock& x) { return x.node == function; });
  return m != mocks.rend() ? &*m : nullptr;
}

// What a function gives for the first operands, called for what the others tell of its value.
Value Machine::given(const RuleSet& set, std::span<const Value> all) {
  const Mock* const m = mock_of(set.node);
  if (m == nullptr) return given_plain(set, all);
  return replacement(*m, set.told.text.empty() ? all : all.first(set.arity), set.arity, nullptr);
}

std::uint64_t Memos::hash_of(std::span<const Value> vs, std::uint64_t seed, bool whole) {
  std::uint64_t h = seed * 0x9e3779b97f4a7c15ULL;
  for (const Value& v : vs) {
    const std::uint64_t x = v.is_collection() && !whole ? reinterpret_cast<std::uintptr_t>(v.address()) : hash(v);
    h = (h ^ x) * 0xff51afd7ed558ccdULL;
    h ^= h >> 31;
  }
  return h;
}

const Value* Memos::find(std::uint64_t hash, std::int32_t set, std::uint32_t mask, std::span<const Value> keys,
                         bool whole) const {
  if (slots_.empty()) return nullptr;
  for (std::size_t at = hash & (slots_.size() - 1); slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
    const Memo& m = all_[slots_[at] - 1];
    if (m.hash == hash && m.set == set && m.mask == mask && m.count == keys.size() &&
        (whole ? std::ranges::equal(keys, std::span(m.keys, m.count), equal)
               : std::equal(keys.begin(), keys.end(), m.keys, quick_equal)))
      return &m.result;
  }
  return nullptr;
}

void Memos::add(std::uint64_t hash, std::int32_t set, std::uint32_t mask, std::uint32_t count, const Value* keys,
                const Value& result) {
  all_.emplace_back(hash, set, mask, count, keys, result);
  const bool grow = all_.size() * 2 > slots_.size();
  if (grow) slots_.assign(std::max<std::size_t>(64, slots_.size() * 2), 0);
  for (std::size_t i = grow ? 0 : all_.size() - 1; i < all_.size(); ++i) {
    std::size_t at = all_[i].hash & (slots_.size() - 1);
    while (slots_[at] != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = static_cast<std::uint32_t>(i + 1);
  }
}

void Memos::clear() {
  if (all_.size() > kept_memos) {
    *this = {};
  } else {
    all_.clear();
    std::ranges::fill(slots_, 0U);
  }
}

Value Machine::function_plain(const RuleSet& set, std::span<const Value> args) {
  // What takes a few instructions is sooner done again than kept; but prints, traces and the host see one call.
  std::uint8_t& cheap = cheap_[static_cast<std::size_t>(set.id)];
  const bool keep_all = traced_ || options_.print || cheap == always_kept;
  const auto hashed = [&] {
    return cheap == always_kept ? kept_hash(set, args) : Memos::hash_of(args, static_cast<std::uint64_t>(set.id) + 1);
  };
  std::uint64_t h = 0;
  const bool looked = keep_all || cheap < sure_to_be_cheap;
  if (looked) {
    h = hashed();
    if (const Value* known = context_->memos.find(h, set.id, 0, args, cheap == always_kept)) return *known;
  }
  Context* const in = context_;
  const std::uint64_t before = instructions_;
  const Value v = decide(set, args);
  if (instructions_ - before < worth_keeping && !keep_all) {
    if (cheap < sure_to_be_cheap) ++cheap;
    return v;
  }
  if (cheap != always_kept) cheap = 0;
  if (!looked) h = hashed();
  keep(args, h, set.id, in->memos, v);
  return v;
}

std::uint64_t Machine::kept_hash(const RuleSet& set, std::span<const Value> args) {
  for (const Value& v : args)
    if (v.is_collection()) tick(v.nodes() / 8);
  return Memos::hash_of(args, static_cast<std::uint64_t>(set.id) + 1, true);
}

void Machine::keep(std::span<const Value> args, std::uint64_t hash, std::int32_t set, Memos& in, const Value& result) {
  auto* keys = static_cast<Value*>(arena().allocate(args.size() * sizeof(Value)));
  std::uninitialized_copy(args.begin(), args.end(), keys);
  in.add(hash, set, 0, static_cast<std::uint32_t>(args.size()), keys, result);
}

// As in OPA, the value that a call was told of and gave stands for every call with its arguments after it.
Value Machine::given_plain(const RuleSet& set, std::span<const Value> all) {
  const auto args = all.first(set.arity);
  const std::uint64_t h = kept_hash(set, args);
  if (const Value* known = context_->memos.find(h, set.id, 0, args, true)) return *known;
  Context* const in = context_;
  const Value v = decide(set, all);
  if (v.defined()) keep(args, h, set.id, in->memos, v);
  return v;
}

void Machine::keep_calls(const Code& code) {
  for (const auto& set : code.given) cheap_[static_cast<std::size_t>(set->id)] = always_kept;
}

}  // namespace cairn::policy
