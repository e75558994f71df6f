// Any bytes as a CRL: every serial that is listed is found.
#include <cstdlib>

#include "evidence/pki/certificate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  if (const auto crl = pki::parse_crl({data, size})) {
    for (const ByteView serial : crl->revoked)
      if (!crl->lists(serial)) std::abort();
  }
  return 0;
}
