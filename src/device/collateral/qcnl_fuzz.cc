// Any text as a qcnl configuration.
#include <cstdint>
#include <cstdlib>

#include "device/collateral/qcnl.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = cairn::device::parse_qcnl({reinterpret_cast<const char*>(data), size});
  if (config && config->retry_times > 100) std::abort();
  return 0;
}
