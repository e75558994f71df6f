// Tagged evidence: what decodes must encode to the same bytes, so that no two byte strings mean one thing.
#include <cstdlib>

#include "tng/ratls/evidence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::tng;
  const cairn::ByteView input(data, size);
  if (const auto tagged = TaggedEvidence::decode(input)) {
    if (!cairn::equal(tagged->encode(), input)) std::abort();
    if (const auto coco = CocoEvidence::decode(tagged->evidence)) (void)check_binding(*tagged, *coco, input);
  }
  (void)claimed_pubkey_hash(input);
  (void)PubkeyHash::decode(input);
  return 0;
}
