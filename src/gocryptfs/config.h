// gocryptfs.conf: its flags, its wrapped master key, and the password that opens it. spec/gocryptfs.md §1, §2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"
#include "gocryptfs/limits.h"

namespace cairn::gocryptfs {

// In the order in which gocryptfs writes them.
enum class Feature : std::uint8_t {
  hkdf,
  gcm_iv128,
  xchacha,
  plaintext_names,
  dir_iv,
  long_name_max,
  eme_names,
  long_names,
  raw64,
  aes_siv,
  fido2,
};
inline constexpr std::size_t kFeatureCount = 11;
[[nodiscard]] std::string_view name(Feature feature);  // as in the file: "GCMIV128"

class FeatureSet {
 public:
  constexpr FeatureSet() = default;
  constexpr FeatureSet(std::initializer_list<Feature> all) {
    for (const Feature f : all) set(f);
  }
  [[nodiscard]] constexpr bool has(Feature f) const { return (bits_ >> static_cast<unsigned>(f) & 1U) != 0; }
  constexpr void set(Feature f) { bits_ |= 1U << static_cast<unsigned>(f); }
  constexpr void clear(Feature f) { bits_ &= ~(1U << static_cast<unsigned>(f)); }
  [[nodiscard]] constexpr bool operator==(const FeatureSet&) const = default;
  [[nodiscard]] std::string text() const;  // names in order, space separated

 private:
  std::uint32_t bits_ = 0;
};

inline constexpr FeatureSet kDefaultFeatures{Feature::hkdf,      Feature::gcm_iv128,  Feature::dir_iv,
                                             Feature::eme_names, Feature::long_names, Feature::raw64};

struct Scrypt {
  Bytes salt;
  std::uint64_t n = std::uint64_t{1} << kLogNDefault;
  std::uint32_t r = 8;
  std::uint32_t p = 1;
};

struct Config {
  std::string creator;
  Bytes encrypted_key;  // 64 bytes with HKDF, 60 without
  Scrypt scrypt;
  FeatureSet features;
  std::uint8_t long_name_max = 255;
};

// The text of gocryptfs.conf. Keys match in any case, unknown keys are ignored, as there.
//   malformed    not such a JSON document (gocryptfs' exit code 11)
//   unsupported  well formed, but a flag, a version or parameters that are refused; names them (exit code 27)
[[nodiscard]] Result<Config> parse_config(std::string_view text);
// Tab-indented, one final LF, keys and flags in gocryptfs' order.
[[nodiscard]] std::string write_config(const Config& config);
// The rules of §1.2 on flags and parameters; `unsupported` names what is wrong.
[[nodiscard]] Result<void> validate(const Config& config);
// Unsupported, naming each flag in excess or missing, unless exactly the default set (what model volumes have).
[[nodiscard]] Result<void> require_default_features(const Config& config);

// The password inside `source` (a file, standard input or a released key): up to the first LF. invalid_argument when
// that is empty or longer than kPasswordMax. `cut_more` (where given) tells that more than one final LF was cut off.
[[nodiscard]] Result<Secret> password_from(ByteView source, bool* cut_more = nullptr);

// The 32-byte master key. unauthenticated when the password is wrong or the config was changed: the format cannot tell.
// Takes scrypt's time and memory (64 MiB and about 0.2 s by default).
[[nodiscard]] Result<Secret> unwrap_master_key(const Config& config, ByteView password);

// A config that wraps `master_key` under `password` with a fresh salt and nonce. `log_n` in kLogNMin…kLogNMax.
[[nodiscard]] Result<Config> wrap_master_key(const Secret& master_key, ByteView password, FeatureSet features,
                                             std::uint8_t long_name_max = 255, int log_n = kLogNDefault);

}  // namespace cairn::gocryptfs
