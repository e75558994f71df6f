// Any bytes as an OCSP answer about NVIDIA's own CoRIM root, and as an extension of a device certificate.
#include <cstdlib>

#include "evidence/nvidia/chain.h"
#include "evidence/nvidia/ocsp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const ByteView bytes(data, size);
  static const crypto::Certificate& root = nvidia::nvidia_roots().rim.front().certificate;
  (void)nvidia::ocsp_may_retry(bytes);
  // Nobody but the root's owner can make an answer that is taken.
  if (const auto answer = nvidia::read_ocsp(bytes, root, root)) std::abort();
  return 0;
}
