// Ciphertext files: any bytes are an error or holes, never data (nothing here was sealed with the key); headers and
// sizes agree with each other.
#include <cstdlib>

#include "gocryptfs/content.h"

using namespace cairn;
using namespace cairn::gocryptfs;

namespace {
const ContentCipher& cipher(unsigned which) {
  static const auto make = [](ContentMode mode) {
    return ContentCipher::create(mode, Secret(Bytes(mode == ContentMode::aes_siv ? 64 : 32, 5))).value();
  };
  static const ContentCipher all[] = {make(ContentMode::aes_gcm), make(ContentMode::aes_siv),
                                      make(ContentMode::xchacha)};
  return all[which % 3];
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ContentCipher& c = cipher(data[0]);
  const ByteView file = ByteView(data, size).subspan(1);
  const Layout& layout = c.layout();
  const std::uint64_t plain = layout.plain_size(file.size());
  if (layout.legal_cipher_size(file.size()) && layout.cipher_size(plain) != file.size()) std::abort();
  (void)c.open_blob(file);
  const auto id = parse_header(file.first(std::min(file.size(), kHeaderSize)));
  if (!id || file.size() <= kHeaderSize) return 0;
  Bytes out(plain + kBlockSize, 0xEE);
  const ByteView blocks = file.subspan(kHeaderSize);
  if (c.open_blocks(blocks, 0, *id, Holes::deny, out)) std::abort();
  const auto holes = c.open_blocks(blocks, 0, *id, Holes::allow, out);
  if (holes && std::ranges::any_of(std::span(out).first(*holes), [](std::uint8_t b) { return b != 0; })) std::abort();
  return 0;
}
