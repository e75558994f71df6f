// Request targets against plaintext rules: nothing that decodes or normalises to another path may pass.
#include <cstdlib>

#include "base/encoding.h"
#include "tng/rules.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  static const tng::PlaintextRules rules = [] {
    tng::PlaintextRules out;
    (void)out.add("/public/.*");
    return out;
  }();
  const std::string_view target(reinterpret_cast<const char*>(data), size);
  if (rules.allows(target)) {
    const auto path = percent_decode(target.substr(0, target.find('?')));
    if (!path || !tng::remove_dot_segments(*path).starts_with("/public/")) std::abort();
  }
  (void)tng::IpNetwork::parse(target);
  return 0;
}
