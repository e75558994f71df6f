// The working keys below a master key. spec/gocryptfs.md §2.1, §2.3.
#pragma once

#include <string_view>

#include "base/secret.h"
#include "gocryptfs/config.h"
#include "gocryptfs/content.h"

namespace cairn::gocryptfs {

inline constexpr std::string_view kInfoGcm = "AES-GCM file content encryption";  // also the password's
inline constexpr std::string_view kInfoSiv = "AES-SIV file content encryption";
inline constexpr std::string_view kInfoXChaCha = "XChaCha20-Poly1305 file content encryption";
inline constexpr std::string_view kInfoNames = "EME filename encryption";

// HKDF-SHA256 without salt.
[[nodiscard]] Result<Secret> derive(const Secret& key, std::string_view info, std::size_t size);

[[nodiscard]] ContentMode content_mode(const FeatureSet& features);
[[nodiscard]] Result<Secret> content_key(const FeatureSet& features, const Secret& master_key);
[[nodiscard]] Result<Secret> name_key(const FeatureSet& features, const Secret& master_key);

}  // namespace cairn::gocryptfs
