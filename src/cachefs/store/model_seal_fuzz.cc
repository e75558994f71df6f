// Seals come out of a volume whose owner may not be the reader's.
#include <cstdlib>

#include "cachefs/store/seal.h"

using namespace cairn;
using namespace cairn::cachefs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (const auto seals = parse_seals(ByteView(data, size)))
    if (!equal(write_seals(*seals).value(), ByteView(data, size))) std::abort();
  for (const auto mode : {gocryptfs::ContentMode::aes_gcm, gocryptfs::ContentMode::aes_siv}) {
    (void)chunk_seal(mode, 0, ByteView(data, size));
    (void)block_tag(mode, ByteView(data, size));
  }
  return 0;
}
