// gocryptfs.conf is written by whoever holds the storage: no text may crash, and what is accepted is within the limits.
#include <cstdlib>

#include "gocryptfs/config.h"

using namespace cairn;
using namespace cairn::gocryptfs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  (void)password_from(input);
  const auto config = parse_config(as_text(input));
  if (!config) return 0;
  if (!validate(*config) || config->scrypt.n * config->scrypt.r * 128 > kScryptMemoryMax) std::abort();
  const auto again = parse_config(write_config(*config));
  if (!again || again->features != config->features || again->encrypted_key != config->encrypted_key ||
      again->long_name_max != config->long_name_max || again->scrypt.salt != config->scrypt.salt)
    std::abort();
  return 0;
}
