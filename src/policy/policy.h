// Rego: compile policies once, evaluate them many times. Pure: no I/O, no clock and no randomness of its own.
//
//   CAIRN_TRY(auto policy, policy::compile({{"default.rego", text}}, {.host = {{"query_reference_value", 1}}}));
//   CAIRN_TRY(auto input, policy::Document::from_json(claims));
//   policy::EvalOptions options{.input = &input, .now_ns = now};
//   options.host["query_reference_value"] = [&](std::span<const Json> args) -> Result<Json> { … };
//   CAIRN_TRY(auto allow, policy.evaluate("data.policy.allow", options));   // std::optional<Json>; nullopt = undefined
//
// The language is OPA's (v1, v0, `import rego.v1`, `import rego.v2`, `import future.keywords…`). What is not supported
// is refused by compile with its position. Reaching a limit while evaluating is an error, never a value.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/time_zone.h"
#include "policy/limits.h"

namespace cairn::policy {

struct DocumentData;
struct Program;
struct QueryPlan;

// An immutable value (JSON, and inside policies also sets and arbitrary keys) that any number of evaluations, in any
// number of threads, may share. Copying copies a pointer.
class Document {
 public:
  Document() = default;  // null
  // too_large past the depth or node limits of limits.h.
  [[nodiscard]] static Result<Document> from_json(const Json& json);
  // JSON text; numbers keep every digit (from_json has already rounded what does not fit 64 bits).
  [[nodiscard]] static Result<Document> parse(std::string_view json_text);
  // A Rego term without variables, such as {1, 2} or {[1]: "x"}.
  [[nodiscard]] static Result<Document> parse_term(std::string_view text);

  // Sets become arrays in Rego's order; a key that is not a string becomes its JSON text. Numbers outside of 64-bit
  // integers and doubles are rounded.
  [[nodiscard]] Json to_json() const;
  // The same as text, with every digit of every number.
  [[nodiscard]] std::string to_json_text() const;
  // As Rego writes it, sets as {1, 2}.
  [[nodiscard]] std::string to_rego() const;
  // Equal as Rego values (1 equals 1.0).
  [[nodiscard]] bool operator==(const Document& other) const;

  // For this area only.
  explicit Document(std::shared_ptr<const DocumentData> data) : data_(std::move(data)) {}
  [[nodiscard]] const DocumentData* data() const { return data_.get(); }

 private:
  std::shared_ptr<const DocumentData> data_;
};

struct Source {
  std::string name;  // appears in error positions
  std::string text;
};

// Which grammar a source without `import rego.v1` is read as.
enum class Dialect {
  any,  // v1; where that does not parse, v0 with every keyword; where that does not parse either, v0 as it was
  v1,
  v0,
};

// A function of the host that policies may call. Declared when compiling, supplied when evaluating.
struct HostBuiltin {
  std::string name;  // dotted names allowed
  std::size_t arity = 1;
};
// Receives the arguments as JSON. An error ends the evaluation with that error (it is never "undefined").
using HostFunction = std::function<Result<Json>(std::span<const Json> arguments)>;

// Time zones by name, such as zone_offset of base/time_zone.h; must give the same answers throughout an evaluation.
using TimeZones = std::function<std::optional<ZoneOffset>(std::string_view zone, std::int64_t seconds)>;

// One problem of a policy text.
struct Diagnostic {
  std::string file;
  std::uint32_t line = 0;    // from 1
  std::uint32_t column = 0;  // from 1, in bytes
  std::string
      code;  // rego_parse_error, rego_compile_error, rego_type_error, rego_unsafe_var_error, rego_recursion_error
  std::string message;
  // "default.rego:3:7: rego_parse_error: …"
  [[nodiscard]] std::string text() const;
};

struct CompileOptions {
  Dialect dialect = Dialect::any;
  std::vector<HostBuiltin> host = {};
  // Keep print() calls (they go to EvalOptions::print); otherwise they are dropped, as OPA does.
  bool prints = false;
  // The conformance cases exercise keyword imports that OPA calls experimental (and, or, not).
  bool experimental_keywords = true;
  CompileLimits limits = {};
};

struct TraceEvent {
  enum class Kind { enter, exit, fail, line } kind;  // `line`: an expression of a body held
  std::string_view file;
  std::uint32_t line = 0;  // of `fail`: the furthest line of the body that did not hold
  std::string_view what;   // the rule's path
  std::size_t depth = 0;
};

struct EvalOptions {
  const Document* input = nullptr;  // nullptr: input is undefined
  const Document* data = nullptr;   // an object; nullptr: {}
  std::int64_t now_ns = 0;          // what time.now_ns() returns: nanoseconds since 1970
  TimeZones zones = {};             // absent: naming a zone other than UTC ends the evaluation with invalid_argument
  std::string_view seed = {};       // of rand.intn and uuid.rfc4122; those fail where it is empty
  std::map<std::string, HostFunction, std::less<>> host = {};
  EvalLimits limits = {};
  std::function<bool()> expired = {};  // polled about every 4,096 instructions; true ends with timed_out
  bool strict_builtin_errors = false;  // an error inside a built-in ends the evaluation instead of being undefined
  std::function<void(const TraceEvent&)> trace = {};
  std::function<void(std::string_view text, std::string_view file, std::uint32_t line)> print = {};
};

// A compiled query; belongs to the Policy that made it and keeps it alive.
class Query {
 public:
  // One entry per way to satisfy the query: an object of its variables' values.
  [[nodiscard]] Result<std::vector<Document>> run(const EvalOptions& options) const;
  // The value of a query that is a single reference or term; nullopt where it is undefined.
  [[nodiscard]] Result<std::optional<Document>> value(const EvalOptions& options) const;

 private:
  friend class Policy;
  std::shared_ptr<const Program> program_;
  std::shared_ptr<const QueryPlan> plan_;
};

// Compiled modules. Immutable; one object serves any number of threads. Copying copies a pointer.
class Policy {
 public:
  // The value of a reference such as "data.policy.allow"; nullopt where it is undefined. Repeated calls with the same
  // reference do not compile it again.
  [[nodiscard]] Result<std::optional<Json>> evaluate(std::string_view reference, const EvalOptions& options) const;
  // The same without the way through nlohmann::json.
  [[nodiscard]] Result<std::optional<Document>> evaluate_document(std::string_view reference,
                                                                  const EvalOptions& options) const;
  // Any query: "data.a.p[x] > 3; y = x". `package` gives the imports' context: names resolve as in that package.
  [[nodiscard]] Result<Query> query(std::string_view text, std::string_view package = {}) const;
  // Is there a rule (or a function, or a package with one) at this reference, whatever its value?
  [[nodiscard]] bool defines(std::string_view reference) const;
  // References of all rules, sorted: "data.policy.allow", …
  [[nodiscard]] std::vector<std::string> rules() const;
  // The position of the rule's first definition, "file:line".
  [[nodiscard]] std::string position(std::string_view reference) const;
  // True where a text, after parsing, refers to `reference` or below it (AS profile B asks this of data.reference).
  [[nodiscard]] bool refers_to(std::string_view reference) const;

  // For this area only.
  explicit Policy(std::shared_ptr<Program> program) : program_(std::move(program)) {}

 private:
  std::shared_ptr<Program> program_;
};

// malformed where a text does not parse or compile; `where` is "file:line:column" of the first problem and the message
// lists them all, a line each. `diagnostics`, where given, receives them one by one.
[[nodiscard]] Result<Policy> compile(const std::vector<Source>& sources, const CompileOptions& options = {},
                                     std::vector<Diagnostic>* diagnostics = nullptr);

// The text in Rego's usual layout (two spaces or tabs as OPA: tabs), comments kept.
[[nodiscard]] Result<std::string> format(const Source& source, Dialect dialect = Dialect::any);

// The line of `diagnostic` in `text` with a caret under its column, for terminals.
[[nodiscard]] std::string excerpt(const Diagnostic& diagnostic, std::string_view text);

}  // namespace cairn::policy
