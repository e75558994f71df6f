// Any bytes as Intel's PCK extension: what parses and is written again parses to the same.
#include <cstdlib>

#include "evidence/sgx/pck_extension.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  if (const auto x = sgx::parse_pck_extension({data, size})) {
    if (sgx::parse_pck_extension(sgx::encode(*x)).value() != *x) std::abort();
  }
  return 0;
}
