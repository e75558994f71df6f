// Any bytes as a RIM: the canonical form of what parses is read again as the same document.
#include <cstdlib>

#include "evidence/nvidia/rim.h"
#include "evidence/nvidia/xml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const ByteView bytes(data, size);
  if (const auto xml = nvidia::parse_xml(bytes)) {
    const std::string canonical = nvidia::canonical_xml(*xml, 0, 0);
    const auto again = nvidia::parse_xml(as_bytes(canonical));
    // References grow in the canonical form, so that alone may pass the limit of size.
    if (again ? nvidia::canonical_xml(*again, 0, 0) != canonical : canonical.size() <= (1U << 20)) std::abort();
  }
  if (const auto rim = nvidia::parse_rim(bytes)) {
    for (const auto& golden : rim->golden)
      if (golden.alternatives.empty() || golden.index > 63) std::abort();
    (void)nvidia::verify_rim(bytes, nvidia::nvidia_roots().rim);
  }
  return 0;
}
