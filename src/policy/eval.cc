#include "policy/eval.h"

#include <algorithm>
#include <utility>

namespace cairn::policy {
namespace {

constexpr std::uint64_t poll_every = 4096;
constexpr std::size_t stack_values = 4096;

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
  keep_calls(program_.code);
  if (&code != &program_.code) keep_calls(code);
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
      case Op::call_for:
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
      case Op::given: {
        settle();
        Few room;
        r[i.dst] = given(*run.code.given[static_cast<std::size_t>(i.a)], operands(i.b, i.c, room));
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

}  // namespace cairn::policy
