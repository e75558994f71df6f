#include "policy/policy.h"

#include <algorithm>

#include "policy/eval.h"
#include "policy/number.h"
#include "policy/parser.h"

namespace cairn::policy {
namespace {

constexpr std::size_t most_queries = 512;  // kept compiled per policy

template <class F>
auto guarded(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (Stop& s) {
    return std::unexpected(std::move(s.error));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::too_large, "out of memory");
  }
}

Error of(const std::vector<Diagnostic>& all) {
  Error e{ErrorCode::malformed, {}, {}};
  if (all.empty()) return e;
  e.where = all[0].file + ":" + std::to_string(all[0].line) + ":" + std::to_string(all[0].column);
  if (all.size() == 1) {
    e.message = all[0].code + ": " + all[0].message;
    return e;
  }
  e.message = std::to_string(all.size()) + " problems";
  for (const auto& d : all) e.message += "\n  " + d.text();
  return e;
}

// Takes what it reads from `limits`, also where it does not parse.
std::optional<Module> parse_any(const Source& source, std::uint32_t file, const CompileOptions& options,
                                CompileLimits& limits, AstPool& pool, Diagnostic& problem) {
  problem.file = source.name;
  Lexed lexed;
  const bool lexes = tokens_of(source.text, file, limits, lexed, problem);
  limits.tokens -= std::min(limits.tokens, lexed.tokens.size());
  if (!lexes) return std::nullopt;
  const auto attempt = [&](bool v1, bool keywords, Diagnostic& d) {
    auto m = parse_module(lexed, file, {.v1 = v1, .keywords = keywords}, limits, pool, d);
    d.file = source.name;
    if (m) limits.rules -= m->rules.size();
    return m;
  };
  if (options.dialect == Dialect::v1) return attempt(true, true, problem);
  if (options.dialect == Dialect::v0) return attempt(false, false, problem);
  if (auto m = attempt(true, true, problem)) return m;
  Diagnostic other;
  if (auto m = attempt(false, true, other)) return m;
  Diagnostic last;
  auto m = attempt(false, false, last);
  // Of several readings the one that got furthest explains the problem best.
  if (!m && std::pair(other.line, other.column) > std::pair(problem.line, problem.column)) problem = other;
  return m;
}

}  // namespace

std::string Diagnostic::text() const {
  return file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + code + ": " + message;
}

std::string excerpt(const Diagnostic& d, std::string_view text) {
  std::size_t from = 0;
  for (std::uint32_t n = 1; n < d.line; ++n) {
    const auto end = text.find('\n', from);
    if (end == std::string_view::npos) return {};
    from = end + 1;
  }
  auto line = text.substr(from, text.find('\n', from) - from);
  if (line.ends_with('\r')) line.remove_suffix(1);
  std::string caret;
  for (std::size_t i = 0; i + 1 < d.column && i < line.size(); ++i)
    if ((static_cast<unsigned char>(line[i]) & 0xC0) != 0x80) caret += line[i] == '\t' ? '\t' : ' ';
  return std::string(line) + "\n" + caret + "^\n";
}

// --- documents

Json to_json(const Value& v) {
  switch (v.kind()) {
    case Kind::boolean: return v.boolean();
    case Kind::number: {
      if (v.is_small()) return v.integer();
      const auto text = v.number_node()->text();
      Json j = Json::parse(text, nullptr, false);
      return j.is_number() ? j : Json(v.number_node()->approximate);
    }
    case Kind::string: return std::string(v.text());
    case Kind::array:
    case Kind::set: {
      Json out = Json::array();
      for (const Value& x : v.items()) out.push_back(to_json(x));
      return out;
    }
    case Kind::object: {
      Json out = Json::object();
      for (std::size_t i = 0; i < v.size(); ++i) {
        std::string key;
        if (v.key(i).is(Kind::string))
          key = std::string(v.key(i).text());
        else
          write_json(v.key(i), key, max_string_bytes, true);
        out[key] = to_json(v.value(i));
      }
      return out;
    }
    default: return nullptr;
  }
}

namespace {

Value from_json_at(const Json& j, Arena& arena, std::size_t depth) {
  if (depth > max_value_depth) throw Stop{{ErrorCode::too_large, {}, "a value is nested deeper than the limit"}};
  switch (j.type()) {
    case Json::value_t::boolean: return Value::boolean(j.get<bool>());
    case Json::value_t::number_integer: return Value::integer(j.get<std::int64_t>());
    case Json::value_t::number_unsigned: {
      const auto u = j.get<std::uint64_t>();
      return u <= INT64_MAX ? Value::integer(static_cast<std::int64_t>(u)) : arena.number(std::to_string(u));
    }
    case Json::value_t::number_float: {
      const double d = j.get<double>();
      if (!(d - d == 0)) throw Stop{{ErrorCode::invalid_argument, {}, "a number is not finite"}};
      return arena.number(j.dump());
    }
    case Json::value_t::string: return arena.string(j.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(j.size());
      for (const auto& x : j) items.push_back(from_json_at(x, arena, depth + 1));
      return arena.array(items);
    }
    case Json::value_t::object: {
      std::vector<Pair> pairs;
      pairs.reserve(j.size());
      for (const auto& [k, x] : j.items()) pairs.emplace_back(arena.string(k), from_json_at(x, arena, depth + 1));
      return arena.object(pairs);
    }
    default: return Value::null();
  }
}

}  // namespace

Value from_json(const Json& j, Arena& arena) { return from_json_at(j, arena, 0); }

Result<Document> Document::from_json(const Json& json) {
  return guarded([&]() -> Result<Document> {
    auto data = std::make_shared<DocumentData>();
    data->root = policy::from_json(json, data->arena);
    return Document(std::move(data));
  });
}

Result<Document> Document::parse(std::string_view text) {
  return guarded([&]() -> Result<Document> {
    auto data = std::make_shared<DocumentData>();
    std::string problem;
    data->root = read_json(text, data->arena, problem);
    if (!data->root.defined()) return fail(ErrorCode::malformed, problem);
    return Document(std::move(data));
  });
}

Result<Document> Document::parse_term(std::string_view text) {
  CAIRN_TRY(auto policy, compile({{"term.rego", "package term\n"}}, {.dialect = Dialect::v1}));
  CAIRN_TRY(auto query, policy.query("__term = " + std::string(text)));
  CAIRN_TRY(auto rows, query.run({}));
  if (rows.size() != 1) return fail(ErrorCode::malformed, "not a term");
  const Value* v = find(rows[0].data()->root, std::string_view("__term"));
  if (v == nullptr) return fail(ErrorCode::malformed, "not a term");
  return guarded([&]() -> Result<Document> {
    auto data = std::make_shared<DocumentData>();
    data->root = data->arena.copy(*v);
    return Document(std::move(data));
  });
}

Json Document::to_json() const { return data_ == nullptr ? Json() : policy::to_json(data_->root); }

std::string Document::to_json_text() const {
  std::string out;
  write_json(data_ == nullptr ? Value::null() : data_->root, out, SIZE_MAX);
  return out;
}

std::string Document::to_rego() const {
  std::string out;
  write_rego(data_ == nullptr ? Value::null() : data_->root, out, SIZE_MAX);
  return out;
}

bool Document::operator==(const Document& o) const {
  return equal(data_ == nullptr ? Value::null() : data_->root, o.data_ == nullptr ? Value::null() : o.data_->root);
}

// --- compiling

Result<Policy> compile(const std::vector<Source>& sources, const CompileOptions& options,
                       std::vector<Diagnostic>* diagnostics) {
  std::vector<Diagnostic> problems;
  const auto refuse = [&]() -> Result<Policy> {
    if (diagnostics != nullptr) *diagnostics = problems;
    return std::unexpected(of(problems));
  };
  if (sources.size() > options.limits.sources) return fail(ErrorCode::too_large, "more policy texts than the limit");
  return guarded([&]() -> Result<Policy> {
    auto program = std::make_shared<Program>();
    program->options = options;
    std::vector<Module> modules;
    CompileLimits limits = options.limits;
    for (const auto& s : sources) {
      Diagnostic problem;
      const auto file = static_cast<std::uint32_t>(program->files.size());
      auto m = parse_any(s, file, options, limits, program->pool, problem);
      program->files.push_back(s.name);
      if (m)
        modules.push_back(std::move(*m));
      else
        problems.push_back(std::move(problem));
    }
    if (!problems.empty()) return refuse();
    program->compiler = std::make_unique<Compiler>(program->pool, program->options, program->files);
    if (!program->compiler->compile(std::move(modules))) {
      problems = program->compiler->errors();
      return refuse();
    }
    plan(*program);
    return Policy(std::move(program));
  });
}

namespace {

std::vector<std::string> split_path(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto dot = text.find('.');
    out.emplace_back(text.substr(0, dot));
    text = dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1);
  }
  return out;
}

Result<std::shared_ptr<const QueryPlan>> compile_text(Program& p, std::string_view text, std::string_view package,
                                                      bool single) {
  std::string key = std::string(single ? "1" : "n") + std::string(package) + "\n" + std::string(text);
  const std::scoped_lock lock(p.mutex);
  if (const auto it = p.queries.find(key); it != p.queries.end()) return it->second;
  Diagnostic problem;
  auto body = parse_query(text, UINT32_MAX, {.v1 = true, .keywords = true}, p.options.limits, p.pool, problem);
  problem.file = "query";
  if (!body) return std::unexpected(of({problem}));
  auto path = split_path(package);
  if (!path.empty() && path[0] == "data") path.erase(path.begin());
  if (single) {
    if (body->size() != 1 || body->front()->kind == ExprKind::some || body->front()->kind == ExprKind::every ||
        !body->front()->with.empty())
      return fail(ErrorCode::malformed, "the query must be a single term");
    Expr* e = body->front();
    Term* t = e->items[0];
    if (e->kind == ExprKind::call) {
      t = p.pool.term(TermKind::call, e->loc);
      t->items = e->items;
    }
    Expr* eq = p.pool.expr(ExprKind::call, e->loc);
    eq->items = {p.pool.var(p.pool.symbol("eq"), e->loc), p.pool.var(p.pool.symbol("__result"), e->loc), t};
    *body = {eq};
  }
  // A compiler that looks at the same tree but keeps its own errors.
  const std::size_t before = p.compiler->errors().size();
  if (!p.compiler->compile_query(*body, path)) {
    std::vector<Diagnostic> all(p.compiler->errors().begin() + static_cast<std::ptrdiff_t>(before),
                                p.compiler->errors().end());
    p.compiler->clear_errors();
    return std::unexpected(of(all));
  }
  std::shared_ptr<const QueryPlan> plan = plan_query(p, *body, single);
  if (p.queries.size() >= most_queries) p.queries.clear();
  p.queries.emplace(std::move(key), plan);
  return plan;
}

Document document(const Value& v, const EvalOptions& options) {
  auto data = std::make_shared<DocumentData>();
  if (v.nodes() * sizeof(Value) > options.limits.output_bytes * 4)
    throw Stop{{ErrorCode::too_large, {}, "the result is larger than the limit"}};
  data->root = data->arena.copy(v);
  if (data->arena.used() > options.limits.output_bytes * 8 + (1U << 16))
    throw Stop{{ErrorCode::too_large, {}, "the result is larger than the limit"}};
  return Document(std::move(data));
}

}  // namespace

Result<Query> Policy::query(std::string_view text, std::string_view package) const {
  return guarded([&]() -> Result<Query> {
    CAIRN_TRY(auto plan, compile_text(*program_, text, package, false));
    Query q;
    q.program_ = program_;
    q.plan_ = std::move(plan);
    return q;
  });
}

Result<std::vector<Document>> Query::run(const EvalOptions& options) const {
  return guarded([&]() -> Result<std::vector<Document>> {
    std::vector<Document> out;
    Machine machine(*program_, options);
    std::size_t total = 0;
    machine.solutions(plan_->code, plan_->start, plan_->frame, [&](const Value* regs) {
      std::vector<Pair> pairs;
      for (const auto& [name, o] : plan_->variables)
        pairs.emplace_back(machine.arena().string(name), machine.read(plan_->code, regs, o));
      const Value v = machine.arena().object(pairs);
      total += v.nodes() * sizeof(Value);
      if (total > options.limits.output_bytes * 4)
        throw Stop{{ErrorCode::too_large, {}, "the result is larger than the limit"}};
      out.push_back(document(v, options));
      return true;
    });
    return out;
  });
}

namespace {

Result<std::optional<Value>> single_value(Machine& machine, const QueryPlan& plan) {
  std::optional<Value> out;
  machine.solutions(plan.code, plan.start, plan.frame, [&](const Value* regs) {
    out = machine.read(plan.code, regs, plan.result);
    return false;
  });
  return out;
}

}  // namespace

Result<std::optional<Document>> Query::value(const EvalOptions& options) const {
  if (!plan_->single) return fail(ErrorCode::invalid_argument, "the query is not a single term");
  return guarded([&]() -> Result<std::optional<Document>> {
    Machine machine(*program_, options);
    CAIRN_TRY(auto v, single_value(machine, *plan_));
    if (!v) return std::optional<Document>();
    return std::optional<Document>(document(*v, options));
  });
}

Result<std::optional<Json>> Policy::evaluate(std::string_view reference, const EvalOptions& options) const {
  return guarded([&]() -> Result<std::optional<Json>> {
    CAIRN_TRY(const auto plan, compile_text(*program_, reference, {}, true));
    Machine machine(*program_, options);
    CAIRN_TRY(auto v, single_value(machine, *plan));
    if (!v) return std::optional<Json>();
    std::string probe;  // bounds values whose parts are shared
    write_json(*v, probe, options.limits.output_bytes);
    return std::optional<Json>(to_json(*v));
  });
}

Result<std::optional<Document>> Policy::evaluate_document(std::string_view reference,
                                                          const EvalOptions& options) const {
  return guarded([&]() -> Result<std::optional<Document>> {
    CAIRN_TRY(const auto plan, compile_text(*program_, reference, {}, true));
    Machine machine(*program_, options);
    CAIRN_TRY(auto v, single_value(machine, *plan));
    if (!v) return std::optional<Document>();
    return std::optional<Document>(document(*v, options));
  });
}

namespace {

const TreeNode* node_at(const Program& p, std::string_view reference) {
  auto path = split_path(reference);
  const TreeNode* n = &p.compiler->tree();
  if (path.empty() || path[0] != "data") return nullptr;
  for (std::size_t i = 1; i < path.size() && n != nullptr; ++i) {
    const auto it = n->children.find(path[i]);
    n = it == n->children.end() ? nullptr : it->second.get();
  }
  return n;
}

}  // namespace

bool Policy::defines(std::string_view reference) const { return node_at(*program_, reference) != nullptr; }

std::vector<std::string> Policy::rules() const {
  std::vector<std::string> out;
  for (const auto& s : program_->sets) out.push_back(s.path);
  std::ranges::sort(out);
  return out;
}

std::string Policy::position(std::string_view reference) const {
  const TreeNode* n = node_at(*program_, reference);
  if (n == nullptr || n->rules.empty()) return {};
  const Location loc = n->rules[0]->loc;
  return program_->files[loc.file] + ":" + std::to_string(loc.line);
}

bool Policy::refers_to(std::string_view reference) const {
  const auto path = split_path(reference);
  bool found = false;
  const auto look = [&](Term* t) {
    if (t->kind != TermKind::ref || t->items[0]->kind != TermKind::var || path.empty() || *t->items[0]->name != path[0])
      return;
    for (std::size_t i = 1; i < path.size(); ++i) {
      if (i >= t->items.size()) {
        found = true;  // the whole document above it
        return;
      }
      const Term* k = t->items[i];
      if (k->kind == TermKind::scalar && !(k->value.is(Kind::string) && k->value.text() == path[i])) return;
    }
    found = true;
  };
  for (const auto& m : program_->compiler->modules())
    for (Rule* r : m.rules)
      for (Rule* x = r; x != nullptr; x = x->otherwise) {
        each_term(x->body, look);
        each_term(x->key, look);
        each_term(x->value, look);
      }
  return found;
}

}  // namespace cairn::policy
