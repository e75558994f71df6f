// Firmware metadata, PE images and kernels over any bytes.
#include "evidence/predict/boot.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::predict;
  const cairn::ByteView image(data, size);
  if (const auto sections = parse_firmware(image)) {
    std::uint64_t memory = 0;
    for (const auto& s : *sections) memory += s.memory_size;
    if (memory <= (4U << 20)) (void)mrtd(image, *sections, PageOrder::single_pass);  // the rest only costs time
    (void)configuration_volume_digest(image, *sections);
    (void)td_hob(*sections, 4ULL << 30);
  }
  (void)authenticode(image, cairn::crypto::Hash::sha384);
  (void)patched_kernel(image, 4096, 1ULL << 30);
  return 0;
}
