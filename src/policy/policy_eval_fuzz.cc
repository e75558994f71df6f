// A policy, a zero byte, and its input: evaluation must end within its limits, twice with the same answer.
#include <cstdlib>

#include "policy/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::policy;
  if (size > 4096) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const auto zero = all.find('\0');
  const std::string text(all.substr(0, zero));
  const auto policy = compile({{"f.rego", text}}, {.host = {{"query_reference_value", 1}}});
  if (!policy) return 0;
  const auto input = Document::parse(zero == std::string_view::npos ? "{}" : all.substr(zero + 1));
  EvalOptions options{.input = input ? &*input : nullptr, .now_ns = 1'700'000'000'000'000'000, .seed = "fuzz"};
  options.limits = {.instructions = 200'000, .memory = 8U << 20, .call_depth = 128, .output_bytes = 1U << 20};
  options.host["query_reference_value"] = [](std::span<const cairn::Json>) -> cairn::Result<cairn::Json> {
    return cairn::Json::array({"a"});
  };
  const auto once = policy->evaluate_document("data", options);
  const auto twice = policy->evaluate_document("data", options);
  if (once.has_value() != twice.has_value()) std::abort();
  if (once && once->has_value() != twice->has_value()) std::abort();
  if (once && *once && !(**once == **twice)) std::abort();
  return 0;
}
