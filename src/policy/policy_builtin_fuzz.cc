// The name of a built-in function, a line end and a JSON array of its operands: the call must end within its limits,
// twice with the same answer, with arrays as they are and as sets.
#include <cstdlib>
#include <map>

#include "policy/builtins.h"

namespace {

using namespace cairn::policy;

// A policy that calls the function; nullptr where there is none.
const Policy* caller(const std::string& name) {
  static std::map<std::string, std::optional<Policy>> all;  // no more than there are functions
  const Builtin* b = find_builtin(name);
  if (b == nullptr || b->arity > 8) return nullptr;
  const auto [it, fresh] = all.try_emplace(name);
  if (fresh) {
    std::string plain, sets;
    for (int i = 0; i < b->arity; ++i) {
      plain += (i == 0 ? "input[" : ", input[") + std::to_string(i) + "]";
      sets += (i == 0 ? "set_of(input[" : ", set_of(input[") + std::to_string(i) + "])";
    }
    const std::string text =
        "package p\nset_of(a) := {v | some v in a} if is_array(a)\nset_of(a) := a if not is_array(a)\nplain := " +
        name + "(" + plain + ")\nsets := " + name + "(" + sets + ")\n";
    if (auto policy = compile({{"f.rego", text}}, {.dialect = Dialect::v1})) it->second = std::move(*policy);
  }
  return it->second ? &*it->second : nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8192) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const auto line = all.find('\n');
  if (line == std::string_view::npos) return 0;
  const Policy* policy = caller(std::string(all.substr(0, line)));
  const auto operands = Document::parse(all.substr(line + 1));
  if (policy == nullptr || !operands) return 0;
  EvalOptions options{.input = &*operands, .now_ns = 1'700'000'000'000'000'000, .seed = "fuzz"};
  options.limits = {.instructions = 200'000, .memory = 8U << 20, .call_depth = 128, .output_bytes = 1U << 20};
  for (const char* what : {"data.p.plain", "data.p.sets"}) {
    const auto once = policy->evaluate_document(what, options);
    const auto twice = policy->evaluate_document(what, options);
    if (once.has_value() != twice.has_value()) std::abort();
    if (once && once->has_value() != twice->has_value()) std::abort();
    if (once && *once && !(**once == **twice)) std::abort();
  }
  return 0;
}
