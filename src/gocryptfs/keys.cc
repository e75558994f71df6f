#include "gocryptfs/keys.h"

#include "crypto/hash.h"
#include "crypto/kdf.h"

namespace cairn::gocryptfs {

Result<Secret> derive(const Secret& key, std::string_view info, std::size_t size) {
  return crypto::hkdf(crypto::Hash::sha256, key.view(), {}, as_bytes(info), size);
}

ContentMode content_mode(const FeatureSet& features) {
  if (features.has(Feature::xchacha)) return ContentMode::xchacha;
  return features.has(Feature::aes_siv) ? ContentMode::aes_siv : ContentMode::aes_gcm;
}

Result<Secret> content_key(const FeatureSet& features, const Secret& master_key) {
  const ContentMode mode = content_mode(features);
  if (features.has(Feature::hkdf)) {
    if (mode == ContentMode::aes_siv) return derive(master_key, kInfoSiv, 64);
    return derive(master_key, mode == ContentMode::xchacha ? kInfoXChaCha : kInfoGcm, 32);
  }
  if (mode != ContentMode::aes_siv) return master_key.clone();
  auto stretched = crypto::sha512(master_key.view());
  Secret out(stretched.view());
  wipe(stretched.data(), stretched.size());
  return out;
}

Result<Secret> name_key(const FeatureSet& features, const Secret& master_key) {
  if (!features.has(Feature::hkdf)) return master_key.clone();
  return derive(master_key, kInfoNames, 32);
}

}  // namespace cairn::gocryptfs
