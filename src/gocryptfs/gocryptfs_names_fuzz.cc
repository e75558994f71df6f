// Names of ciphertext entries, diriv files, links and attributes: hostile text in, plain names out or an error; every
// plain name leads back to a text, and what decrypts is the one spelling of its name.
#include <cstdlib>

#include "gocryptfs/volume.h"

using namespace cairn;
using namespace cairn::gocryptfs;

namespace {
const Volume& volume(bool padded) {
  static const auto make = [](FeatureSet features) {
    Config config;
    config.features = features;
    config.encrypted_key = Bytes(64, 1);
    config.scrypt.salt = Bytes(32, 1);
    return Volume::open(config, Secret(Bytes(32, 9))).value();
  };
  static const Volume raw = make(kDefaultFeatures);
  static const Volume with_padding = make({Feature::hkdf, Feature::gcm_iv128, Feature::dir_iv, Feature::eme_names});
  return padded ? with_padding : raw;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Volume& v = volume((data[0] & 1) != 0);
  const std::string_view text = as_text(ByteView(data, size).subspan(1));
  const DirIv iv{};
  (void)entry_kind(text);
  (void)parse_dir_iv(as_bytes(text));
  (void)v.open_symlink(text);
  (void)v.open_xattr(as_bytes(text));
  (void)v.xattr_plain_name(text);
  if (const auto name = v.names().decrypt(text, iv)) {
    const auto disk = v.disk_name(*name, iv);
    if (!disk || (disk->long_text.empty() ? disk->name : disk->long_text) != text) std::abort();
  }
  if (const auto disk = v.disk_name(text, iv)) {
    const auto back = v.plain_name(disk->long_text.empty() ? disk->name : disk->long_text, iv);
    if (!back || *back != text) std::abort();
  }
  return 0;
}
