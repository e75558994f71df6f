#include "policy/eval.h"

#include <algorithm>
#include <utility>

namespace cairn::policy {
namespace {

constexpr std::uint64_t poll_every = 4096;
constexpr std::size_t stack_values = 4096;
constexpr std::uint64_t worth_keeping = 48;   // instructions of a call
constexpr std::uint8_t sure_to_be_cheap = 8;  // calls, one after another, that were not worth keeping

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

// Stores of base documents look members up by the texts of their keys: 1 finds "1", and "1" an element of an array.
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

thread_local std::unique_ptr<Scratch> spare;  // NOLINT: kept between evaluations so that they need not allocate

}  // namespace

Machine::Machine(const Program& program, const EvalOptions& options)
    : program_(program),
      options_(options),
      traced_(static_cast<bool>(options.trace)),
      scratch_(spare != nullptr ? std::move(spare) : std::make_unique<Scratch>()),
      choices_(scratch_->choices) {
  scratch_->arena.reset(options.limits.memory);
  choices_.clear();
  contexts_.push_back(std::make_unique<Context>());
  context_ = contexts_.back().get();
  context_->memos = std::move(scratch_->memos);
  context_->memos.clear();
  context_->input = options.input != nullptr && options.input->data() != nullptr ? options.input->data()->root
                    : options.input != nullptr                                   ? Value::null()
                                                                                 : Value();
  context_->data =
      options.data != nullptr && options.data->data() != nullptr ? options.data->data()->root : arena().object({});
  if (!context_->data.is(Kind::object)) stop(ErrorCode::invalid_argument, "data must be an object");
  context_->complete.resize(program.sets.size());
  context_->known.resize(program.sets.size());
  cheap_.resize(program.sets.size());
  checkpoint_ = std::min(poll_every, options.limits.instructions);
}

Machine::~Machine() {
  if (spare == nullptr) {
    scratch_->memos = std::move(contexts_.front()->memos);
    scratch_->arena.reset(0);
    spare = std::move(scratch_);
  }
}

void Machine::stop(ErrorCode code, std::string message, std::uint32_t file, std::uint32_t line) const {
  std::string where;
  if (line != 0 && file < program_.files.size()) where = program_.files[file] + ":" + std::to_string(line);
  throw Stop{{code, std::move(where), std::move(message)}};
}

void Machine::checkpoint() {
  if (instructions_ >= options_.limits.instructions)
    stop(ErrorCode::too_large, "the evaluation needs more instructions than its limit");
  if (options_.expired && options_.expired()) stop(ErrorCode::timed_out, "the evaluation passed its deadline");
  checkpoint_ = std::min(instructions_ + poll_every, options_.limits.instructions);
}

void Machine::tell(TraceEvent::Kind kind, std::uint32_t file, std::uint32_t line, std::string_view what) const {
  TraceEvent e;
  e.kind = kind;
  e.file = file < program_.files.size() ? std::string_view(program_.files[file]) : std::string_view("query");
  e.line = line;
  e.what = what;
  e.depth = depth_;
  options_.trace(e);
}

Value* Machine::frame(std::size_t n) {
  auto& chunks = scratch_->stack;
  if (n > stack_values) {  // a rule with very many variables gets memory of its own
    auto* p = static_cast<Value*>(arena().allocate(n * sizeof(Value)));
    std::uninitialized_fill_n(p, n, Value());
    return p;
  }
  if (chunks.empty()) chunks.push_back(std::make_unique<Value[]>(stack_values));
  if (stack_used_ + n > stack_values) {
    ++stack_chunk_;
    stack_used_ = 0;
    if (stack_chunk_ == chunks.size()) chunks.push_back(std::make_unique<Value[]>(stack_values));
  }
  Value* p = chunks[stack_chunk_].get() + stack_used_;
  stack_used_ += n;
  return p;
}

void Machine::drop(std::size_t base) { choices_.resize(base); }

void Machine::solutions(const Code& code, std::uint32_t start, std::uint32_t size,
                        const std::function<bool(const Value*)>& each) {
  const Depth depth(*this);
  Run run{code, start, frame(size), choices_.size()};
  while (next(run))
    if (!each(run.regs)) break;
  drop(run.base);
}

bool Machine::any(const Code& code, std::uint32_t start, Value* regs) {
  const Depth depth(*this);
  Run run{code, start, regs, choices_.size()};
  const bool found = next(run);
  drop(run.base);
  return found;
}

// Puts the next element of a scan into its registers.
bool Machine::step_scan(Choice& c, Run& run) {
  const Inst& i = run.code.code[c.pc];
  if (c.index >= c.source.size()) return false;
  const std::size_t at = c.index++;
  switch (c.source.kind()) {
    case Kind::array:
      run.regs[i.b] = Value::integer(static_cast<std::int64_t>(at));
      run.regs[i.dst] = c.source.items()[at];
      return true;
    case Kind::set:
      run.regs[i.b] = c.source.items()[at];
      run.regs[i.dst] = c.source.items()[at];
      return true;
    default:
      run.regs[i.b] = c.source.key(at);
      run.regs[i.dst] = c.source.value(at);
      return true;
  }
}

bool Machine::retry(Run& run, std::uint32_t& pc) {
  while (choices_.size() > run.base) {
    Choice& c = choices_.back();
    tick();
    const Inst& i = run.code.code[c.pc];
    if (i.op == Op::with) {
      const auto& outputs = run.code.withs[static_cast<std::size_t>(i.b)].outputs;
      const std::size_t width = std::max<std::size_t>(outputs.size(), 1);
      if ((c.index + 1) * width <= c.tuples->size()) {
        for (std::size_t k = 0; k < outputs.size(); ++k) run.regs[outputs[k]] = (*c.tuples)[c.index * width + k];
        ++c.index;
        pc = c.pc + 1;
        return true;
      }
    } else if (i.op == Op::node_scan) {
      bool found = false;
      const std::size_t at = choices_.size() - 1;  // evaluating a child moves the stack
      while (!found && choices_[at].index < choices_[at].source.size()) {
        const Value key = choices_[at].source.items()[choices_[at].index++];
        const Value child = node_child(read(run.code, run.regs, i.a), key);
        if (!child.defined()) continue;
        run.regs[i.b] = key;
        run.regs[i.dst] = child;
        found = true;
      }
      if (found) {
        pc = choices_[at].pc + 1;
        return true;
      }
    } else if (step_scan(c, run)) {
      pc = c.pc + 1;
      return true;
    }
    choices_.pop_back();
  }
  return false;
}

// The next solution of a block: true at yield, false when there is none (any more).
bool Machine::next(Run& run) {
  std::uint32_t pc = run.start;
  if (run.started && !retry(run, pc)) return false;
  run.started = true;
  const Inst* const code = run.code.code.data();
  Value* const r = run.regs;
  const Value* const constants = run.code.constants.data();
  const Operand* const args = run.code.args.data();
  const auto get_operand = [r, constants](Operand o)
                               __attribute__((always_inline)) -> const Value& { return o >= 0 ? r[o] : constants[~o]; };
  const auto operands = [&](std::int32_t first, std::int32_t n, Few& room) __attribute__((always_inline)) {
    const auto out = room.of(static_cast<std::size_t>(n), arena());
    for (std::size_t k = 0; k < out.size(); ++k) out[k] = get_operand(args[static_cast<std::size_t>(first) + k]);
    return out;
  };
  // Instructions are counted here and settled before anything that takes long: only retry() goes back.
  std::uint64_t count = 0;
  const auto settle = [&] { tick(std::exchange(count, 0)); };
  for (;;) {
    const Inst& i = code[pc];
    ++count;
    bool ok = true;
    switch (i.op) {
      case Op::yield: instructions_ += count; return true;
      case Op::fail: ok = false; break;
      case Op::move: r[i.dst] = get_operand(i.a); break;
      case Op::input:
        r[i.dst] = context_->input;
        ok = context_->input.defined();
        break;
      case Op::base: {
        settle();
        Few room;
        r[i.dst] = base(operands(i.a, i.b, room));
        ok = r[i.dst].defined();
        break;
      }
      case Op::get: {
        const Value& from = get_operand(i.a);
        const Value& key = get_operand(i.b);
        const Value* v = i.c != 0 ? find(from, key, scratch_->hints[static_cast<std::uint8_t>(i.c)]) : find(from, key);
        ok = v != nullptr;
        if (ok) r[i.dst] = *v;
        break;
      }
      case Op::below: {
        if (context_->targets.empty()) {
          const Value* v = stored(get_operand(i.a), get_operand(args[i.b + i.c - 1]));
          r[i.dst] = v != nullptr ? *v : Value();
        } else {
          settle();
          Few room;
          r[i.dst] = base(operands(i.b, i.c, room));
        }
        ok = r[i.dst].defined();
        break;
      }
      case Op::scan:
        ok = false;
        if (const Value& source = get_operand(i.a); source.is_collection() && source.size() > 0) {
          choices_.push_back({pc, 0, source, nullptr});
          ok = step_scan(choices_.back(), run);
        }
        break;
      case Op::equal: {
        const Value& a = get_operand(i.a);
        const Value& b = get_operand(i.b);
        if (a.is_collection() && b.is_collection()) count += std::min(a.nodes(), b.nodes()) / 8;
        ok = equal(a, b);
        break;
      }
      case Op::test: ok = !get_operand(i.a).is_false(); break;
      case Op::is_array:
        ok = get_operand(i.a).is(Kind::array) && get_operand(i.a).size() == static_cast<std::size_t>(i.b);
        break;
      case Op::is_object:
        ok = get_operand(i.a).is(Kind::object) && get_operand(i.a).size() == static_cast<std::size_t>(i.b);
        break;
      case Op::suits: {
        const Value& v = get_operand(i.a);
        ok = v.is(static_cast<Kind>(i.b)) || v.is(Kind::set);
        break;
      }
      case Op::array:
      case Op::set: {
        settle();
        Few room;
        const auto items = operands(i.a, i.b, room);
        tick(items.size());
        r[i.dst] = i.op == Op::array ? arena().array(items) : arena().set(items);
        break;
      }
      case Op::object: {
        settle();
        Few room;
        const auto items = operands(i.a, i.b, room);
        tick(items.size());
        std::vector<Pair> pairs;
        for (std::size_t k = 0; k + 1 < items.size(); k += 2) pairs.emplace_back(items[k], items[k + 1]);
        r[i.dst] = arena().object(pairs);
        break;
      }
      case Op::call:
        settle();
        r[i.dst] = call(i, run);
        ok = r[i.dst].defined();
        break;
      case Op::rule:
        settle();
        r[i.dst] = complete(i.a);
        ok = r[i.dst].defined();
        break;
      case Op::function: {
        settle();
        Few room;
        r[i.dst] = function(i.a, operands(i.b, i.c, room));
        ok = r[i.dst].defined();
        break;
      }
      case Op::partial: {
        settle();
        Few room;
        r[i.dst] = partial(*run.code.partials[static_cast<std::size_t>(i.a)], operands(i.b, i.c, room));
        ok = r[i.dst].defined();
        break;
      }
      case Op::extent: {
        settle();
        const TreeNode& n = *program_.nodes[static_cast<std::size_t>(i.a)];
        r[i.dst] = extent(n, base_at(n));
        ok = r[i.dst].defined();
        break;
      }
      case Op::node: {
        const TreeNode* n = program_.nodes[static_cast<std::size_t>(i.a)];
        const auto path = path_to(*n);
        r[i.dst] = doc_node(shadowed(*n) ? nullptr : n, path);
        break;
      }
      case Op::node_get:
        settle();
        r[i.dst] = node_child(get_operand(i.a), get_operand(i.b));
        ok = r[i.dst].defined();
        break;
      case Op::node_scan: {
        choices_.push_back({pc, 0, node_keys(get_operand(i.a)), nullptr});
        ok = false;
        break;
      }
      case Op::node_value: {
        settle();
        const Value& v = get_operand(i.a);
        r[i.dst] = !v.is(Kind::node)               ? v
                   : v.doc_node()->node == nullptr ? v.doc_node()->base
                                                   : extent(*v.doc_node()->node, v.doc_node()->base);
        ok = r[i.dst].defined();
        break;
      }
      case Op::not_:
        settle();
        ok = !any(run.code, static_cast<std::uint32_t>(i.a), r);
        break;
      case Op::exists:
        settle();
        ok = any(run.code, static_cast<std::uint32_t>(i.a), r);
        break;
      case Op::either:
        settle();
        ok = any(run.code, static_cast<std::uint32_t>(i.a), r) || any(run.code, static_cast<std::uint32_t>(i.b), r);
        break;
      case Op::every:
        settle();
        ok = every(i, run);
        break;
      case Op::collect_array:
      case Op::collect_set:
      case Op::collect_object:
        settle();
        r[i.dst] = collect(i, run);
        break;
      case Op::with:
        settle();
        ok = with(i, run, pc);
        break;
      case Op::mark: trace(TraceEvent::Kind::line, i.file, i.line, {}); break;
    }
    if (ok) {
      ++pc;
      continue;
    }
    if (traced_) run.failed = std::max(run.failed, i.line);
    settle();
    if (!retry(run, pc)) return false;
  }
}

Value Machine::collect(const Inst& i, Run& run) {
  const Depth depth(*this);
  std::vector<Value> items;
  std::vector<Pair> pairs;
  Run inner{run.code, static_cast<std::uint32_t>(i.a), run.regs, choices_.size()};
  while (next(inner)) {
    if (i.op == Op::collect_object)
      pairs.emplace_back(read(run.code, run.regs, i.b), read(run.code, run.regs, i.c));
    else
      items.push_back(read(run.code, run.regs, i.b));
    if ((items.size() + 2 * pairs.size()) * sizeof(Value) > options_.limits.memory)
      stop(ErrorCode::too_large, "the evaluation needs more memory than its limit", i.file, i.line);
  }
  tick(items.size() + pairs.size());
  if (i.op == Op::collect_array) return arena().array(items);
  if (i.op == Op::collect_set) return arena().set(items);
  Value out;
  if (!arena().unique_object(pairs, out)) stop(ErrorCode::conflict, "object keys must be unique", i.file, i.line);
  return out;
}

bool Machine::every(const Inst& i, Run& run) {
  const Value domain = read(run.code, run.regs, i.a);
  if (!domain.is_collection()) return false;
  for (std::size_t at = 0; at < domain.size(); ++at) {
    tick();
    const bool object = domain.is(Kind::object);
    run.regs[i.b] = object                 ? domain.key(at)
                    : domain.is(Kind::set) ? domain.items()[at]
                                           : Value::integer(static_cast<std::int64_t>(at));
    run.regs[i.dst] = object ? domain.value(at) : domain.items()[at];
    if (!any(run.code, static_cast<std::uint32_t>(i.c), run.regs)) return false;
  }
  return true;
}

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
        c.mocks.push_back(
            {t.kind == WithTarget::Kind::function ? t.node : nullptr, t.builtin, v, t.by_function, t.by_builtin});
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
  const auto args = room.of(static_cast<std::size_t>(i.c), arena());
  for (std::int32_t k = 0; k < i.c; ++k)
    args[static_cast<std::size_t>(k)] = read(run.code, run.regs, run.code.args[static_cast<std::size_t>(i.b + k)]);
  if (!context_->mocks.empty() && !mocks_off_)
    for (auto m = context_->mocks.rbegin(); m != context_->mocks.rend(); ++m) {
      if (m->builtin != &b) continue;
      if (m->by_function == nullptr && m->by_builtin == nullptr) return m->value;
      const bool before = std::exchange(mocks_off_, true);
      const Value v =
          m->by_function != nullptr ? function(m->by_function->ruleset, args) : call_builtin(*m->by_builtin, args, &i);
      mocks_off_ = before;
      return v;
    }
  return call_builtin(b, args, &i);
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
  if (!context_->mocks.empty() && !mocks_off_)
    for (auto m = context_->mocks.rbegin(); m != context_->mocks.rend(); ++m) {
      if (m->node != set.node) continue;
      if (m->by_function == nullptr && m->by_builtin == nullptr) return m->value;
      const bool before = std::exchange(mocks_off_, true);
      const Value v = m->by_function != nullptr ? function(m->by_function->ruleset, args)
                                                : call_builtin(*m->by_builtin, args, nullptr);
      mocks_off_ = before;
      return v;
    }
  return function_plain(set, args);
}

namespace {

// Arguments are compared by identity where they are large: a miss only costs time.
std::uint64_t quick_hash(std::span<const Value> vs, std::uint64_t seed) {
  std::uint64_t h = seed * 0x9e3779b97f4a7c15ULL;
  for (const Value& v : vs) {
    const std::uint64_t x = v.is_collection() ? reinterpret_cast<std::uintptr_t>(v.address()) : hash(v);
    h = (h ^ x) * 0xff51afd7ed558ccdULL;
    h ^= h >> 31;
  }
  return h;
}

bool quick_equal(const Value& a, const Value& b) { return a.same(b) || (!a.is_collection() && equal(a, b)); }

constexpr std::size_t kept_memos = 4096;

}  // namespace

const Value* Memos::find(std::uint64_t hash, std::int32_t set, std::uint32_t mask, std::span<const Value> keys) const {
  if (slots_.empty()) return nullptr;
  for (std::size_t at = hash & (slots_.size() - 1); slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
    const Memo& m = all_[slots_[at] - 1];
    if (m.hash == hash && m.set == set && m.mask == mask && m.count == keys.size() &&
        std::equal(keys.begin(), keys.end(), m.keys, quick_equal))
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
  const bool keep_all = traced_ || options_.print;
  const auto hashed = [&] { return quick_hash(args, static_cast<std::uint64_t>(set.id) + 1); };
  std::uint64_t h = 0;
  const bool looked = keep_all || cheap < sure_to_be_cheap;
  if (looked) {
    h = hashed();
    if (const Value* known = context_->memos.find(h, set.id, 0, args)) return *known;
  }
  Context* const in = context_;
  const std::uint64_t before = instructions_;
  const Value v = decide(set, args);
  if (instructions_ - before < worth_keeping && !keep_all) {
    if (cheap < sure_to_be_cheap) ++cheap;
    return v;
  }
  cheap = 0;
  if (!looked) h = hashed();
  auto* keys = static_cast<Value*>(arena().allocate(args.size() * sizeof(Value)));
  std::uninitialized_copy(args.begin(), args.end(), keys);
  in->memos.add(h, set.id, 0, static_cast<std::uint32_t>(args.size()), keys, v);
  return v;
}

// --- rules

Value Machine::one_rule(const RuleCode& rule, const RuleSet& set, std::span<const Value> args) {
  const Depth depth(*this);
  Value* regs = frame(rule.frame);
  std::copy(args.begin(), args.end(), regs);
  trace(TraceEvent::Kind::enter, rule.file, rule.line, set.path);
  Run run{*rule.code, rule.start, regs, choices_.size()};
  Value out;
  while (next(run)) {
    const Value v = read(*rule.code, regs, rule.value);
    if (out.defined()) {
      if (!equal(out, v))
        stop(ErrorCode::conflict,
             set.kind == RuleSet::Kind::function ? "functions must not produce multiple outputs for same inputs"
                                                 : "complete rules must not produce multiple outputs",
             rule.file, rule.line);
    } else {
      out = v;
    }
    if (rule.constant) break;
  }
  drop(run.base);
  end_trace(rule, run, out.defined(), set.path);
  return out;
}

Value Machine::chain(const RuleCode& rule, const RuleSet& set, std::span<const Value> args) {
  Value v = one_rule(rule, set, args);
  for (std::size_t i = 0; !v.defined() && i < rule.otherwise.size(); ++i) v = one_rule(rule.otherwise[i], set, args);
  return v;
}

// Calls `f` with the rules that can match, in their order, until it returns false.
template <class F>
void Machine::each_rule(const std::vector<RuleCode>& rules, const std::optional<RuleIndex>& index,
                        std::span<const Value> args, F&& f) const {
  if (!index) {
    for (const auto& r : rules)
      if (!f(r)) return;
    return;
  }
  const Value* v = nullptr;
  if (index->argument >= 0) {
    v = &args[static_cast<std::size_t>(index->argument)];
  } else if (context_->input.defined()) {
    v = &context_->input;
    for (std::size_t i = 0; i < index->path.size() && v != nullptr; ++i) v = find(*v, index->path[i]);
  }
  std::span<const std::uint32_t> matched;
  if (v != nullptr) {
    if (const auto* entry = index->find(*v); entry != nullptr) matched = entry->rules;
  }
  std::span<const std::uint32_t> others = index->others;
  while (!matched.empty() || !others.empty()) {
    auto& from = others.empty() || (!matched.empty() && matched.front() < others.front()) ? matched : others;
    const std::uint32_t i = from.front();
    from = from.subspan(1);
    if (!f(rules[i])) return;
  }
}

// The one value of a complete rule or function.
Value Machine::decide(const RuleSet& set, std::span<const Value> args) {
  Value out;
  const auto one = [&](const RuleCode& rule) {
    const Value v = chain(rule, set, args);
    if (!v.defined()) return true;
    if (out.defined() && !equal(out, v))
      stop(ErrorCode::conflict,
           set.kind == RuleSet::Kind::function ? "functions must not produce multiple outputs for same inputs"
                                               : "complete rules must not produce multiple outputs",
           rule.file, rule.line);
    out = v;
    return !set.same_constant;
  };
  each_rule(set.rules, set.index, args, one);
  if (!out.defined() && set.fallback) out = one_rule(*set.fallback, set, args);
  return out;
}

Value Machine::complete(std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  const RuleSet& set = program_.sets[at];
  if (!context_->shadowed.empty() && shadowed(*set.node)) return base_at(*set.node);
  Context* const in = context_;
  if (in->known[at] == 0) {
    const Value v = decide(set, {});
    in->complete[at] = v;
    in->known[at] = 1;
  }
  return in->complete[at];
}

Value Machine::partial(const PartialPlan& plan, std::span<const Value> keys) {
  const RuleSet& set = program_.sets[static_cast<std::size_t>(plan.set)];
  if (!context_->shadowed.empty() && shadowed(*set.node)) return base_at(*set.node);
  Context* const in = context_;
  const auto at = static_cast<std::size_t>(plan.set);
  if (in->known[at] != 0) return in->complete[at];  // all of it is known already
  std::uint64_t h = 0;
  if (plan.mask != 0) {
    h = quick_hash(keys, (static_cast<std::uint64_t>(plan.set) + 1) * 1000 + plan.mask);
    if (const Value* known = in->memos.find(h, plan.set, plan.mask, keys)) return *known;
  }
  std::vector<std::vector<Value>> rows;
  std::vector<Value> elements;  // of what is one set
  std::size_t values = 0;
  const auto one = [&](const RuleCode& rule) {
    const Depth depth(*this);
    Value* regs = frame(std::max<std::size_t>(rule.frame, keys.size()));
    std::copy(keys.begin(), keys.end(), regs);
    trace(TraceEvent::Kind::enter, rule.file, rule.line, set.path);
    Run run{*rule.code, rule.start, regs, choices_.size()};
    bool found = false;
    while (next(run)) {
      found = true;
      if (set.set) {
        elements.push_back(read(*rule.code, regs, rule.key));
        if (++values * 2 * sizeof(Value) > options_.limits.memory)
          stop(ErrorCode::too_large, "the evaluation needs more memory than its limit", rule.file, rule.line);
        continue;
      }
      std::vector<Value> row;
      for (const Operand o : rule.path) row.push_back(read(*rule.code, regs, o));
      row.push_back(rule.is_set ? Value() : read(*rule.code, regs, rule.value));
      if (rule.is_set) row.push_back(read(*rule.code, regs, rule.key));
      values += row.size();
      rows.push_back(std::move(row));
      if (values * 2 * sizeof(Value) > options_.limits.memory)
        stop(ErrorCode::too_large, "the evaluation needs more memory than its limit", rule.file, rule.line);
    }
    drop(run.base);
    end_trace(rule, run, found, set.path);
    return true;
  };
  each_rule(plan.rules, plan.index, {}, one);
  tick(elements.size());
  const Value v = set.set ? arena().set(elements) : build(rows);
  if (plan.mask == 0) {
    in->complete[at] = v;
    in->known[at] = 1;
  } else {
    auto* copy = static_cast<Value*>(arena().allocate(keys.size() * sizeof(Value)));
    std::uninitialized_copy(keys.begin(), keys.end(), copy);
    in->memos.add(h, plan.set, plan.mask, static_cast<std::uint32_t>(keys.size()), copy, v);
  }
  return v;
}

// Rows are paths followed by a value, or by a mark (undefined) and an element of the set there.
Value Machine::build(std::vector<std::vector<Value>>& rows) {
  tick(rows.size());
  const auto before = [](const std::vector<Value>& a, const std::vector<Value>& b) {
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      if (const int c = compare(a[i], b[i]); c != 0) return c < 0;
    return a.size() < b.size();
  };
  std::stable_sort(rows.begin(), rows.end(), before);
  const auto conflict = [&]() -> Value { stop(ErrorCode::conflict, "object keys must be unique"); };
  const auto path_size = [](const std::vector<Value>& row) {
    return row.size() >= 2 && !row[row.size() - 2].defined() ? row.size() - 2 : row.size() - 1;
  };
  // Groups rows by their first keys, level by level; recursion is bounded by the length of rule heads.
  const auto level = [&](auto&& self, std::size_t from, std::size_t to, std::size_t depth) -> Value {
    std::vector<Pair> pairs;
    for (std::size_t i = from; i < to;) {
      std::size_t end = i + 1;
      while (end < to && equal(rows[end][depth], rows[i][depth])) ++end;
      bool leaf = false;
      bool inner = false;
      for (std::size_t k = i; k < end; ++k) (path_size(rows[k]) == depth + 1 ? leaf : inner) = true;
      if (leaf && inner) return conflict();
      Value v;
      if (inner) {
        v = self(self, i, end, depth + 1);
      } else if (rows[i].size() == depth + 3) {  // elements of a set
        std::vector<Value> items;
        for (std::size_t k = i; k < end; ++k) {
          if (rows[k].size() != depth + 3) return conflict();
          items.push_back(rows[k].back());
        }
        v = arena().set(items);
      } else {
        v = rows[i].back();
        for (std::size_t k = i + 1; k < end; ++k)
          if (rows[k].size() != depth + 2 || !equal(rows[k].back(), v)) return conflict();
      }
      pairs.emplace_back(rows[i][depth], v);
      i = end;
    }
    return arena().object(pairs);
  };
  return level(level, 0, rows.size(), 0);
}

// --- documents

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
