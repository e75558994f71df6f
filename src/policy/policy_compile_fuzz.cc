// Any text: parsing, compiling and formatting must end, and formatting must keep what the text means.
#include <cstdlib>

#include "policy/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::policy;
  if (size > 4096) return 0;
  const std::string text(reinterpret_cast<const char*>(data), size);
  CompileOptions options;
  options.limits.source_bytes = 4096;
  const auto compiled = compile({{"f.rego", text}}, options);
  const auto formatted = format({"f.rego", text});
  if (compiled && !formatted) std::abort();
  if (!compiled || !formatted) return 0;
  const auto again = compile({{"f.rego", *formatted}});
  if (!again || again->rules() != compiled->rules()) std::abort();
  return 0;
}
