#include "gocryptfs/config.h"

#include <array>
#include <bit>
#include <limits>

#include "base/encoding.h"
#include "base/json.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/random.h"
#include "gocryptfs/keys.h"

namespace cairn::gocryptfs {
namespace {

struct FeatureName {
  Feature feature;
  std::string_view text;
};
constexpr std::array<FeatureName, kFeatureCount> kNames{{
    {Feature::hkdf, "HKDF"},
    {Feature::gcm_iv128, "GCMIV128"},
    {Feature::xchacha, "XChaCha20Poly1305"},
    {Feature::plaintext_names, "PlaintextNames"},
    {Feature::dir_iv, "DirIV"},
    {Feature::long_name_max, "LongNameMax"},
    {Feature::eme_names, "EMENames"},
    {Feature::long_names, "LongNames"},
    {Feature::raw64, "Raw64"},
    {Feature::aes_siv, "AESSIV"},
    {Feature::fido2, "FIDO2"},
}};
constexpr std::size_t kWrappedHkdf = 64, kWrappedOld = 60;
constexpr std::array<std::uint8_t, 8> kWrapAad{};  // block number 0, no file id
constexpr int kVersion = 2;
constexpr std::size_t kFlagsMax = 64;

bool same_key(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::unexpected<Error> bad_json(std::string_view key, std::string message) {
  return fail(ErrorCode::malformed, "gocryptfs.conf: " + std::string(key), std::move(message));
}
std::unexpected<Error> refused(std::string where, std::string message) {
  return fail(ErrorCode::unsupported, "gocryptfs.conf: " + std::move(where), std::move(message));
}

// The member whose name matches in any case; malformed when two do.
Result<const Json*> member(const Json& object, std::string_view key) {
  const Json* found = nullptr;
  for (const auto& [name, value] : object.items()) {
    if (!same_key(name, key)) continue;
    if (found != nullptr) return bad_json(key, "given twice in different spellings");
    found = &value;
  }
  return found;
}

Result<std::uint64_t> number(const Json& object, std::string_view key, std::uint64_t max) {
  CAIRN_TRY(const Json* value, member(object, key));
  if (value == nullptr || value->is_null()) return 0;
  if (!value->is_number_integer()) return bad_json(key, "must be a whole number");
  if (value->is_number_unsigned() ? value->get<std::uint64_t>() > max : value->get<std::int64_t>() < 0)
    return bad_json(key, "is out of range");
  return value->get<std::uint64_t>();
}

Result<std::string> string(const Json& object, std::string_view key) {
  CAIRN_TRY(const Json* value, member(object, key));
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) return bad_json(key, "must be a string");
  return value->get<std::string>();
}

Result<Bytes> base64_member(const Json& object, std::string_view key) {
  CAIRN_TRY(std::string text, string(object, key));
  std::erase_if(text, [](char c) { return c == '\r' || c == '\n'; });
  auto bytes = from_base64(text);
  if (!bytes) return bad_json(key, "is not padded base64");
  return bytes;
}

Result<Scrypt> parse_scrypt(const Json& root) {
  CAIRN_TRY(const Json* object, member(root, "ScryptObject"));
  if (object == nullptr || !object->is_object()) return bad_json("ScryptObject", "must be an object");
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  Scrypt out;
  CAIRN_TRY(out.salt, base64_member(*object, "Salt"));
  CAIRN_TRY(out.n, number(*object, "N", kMax));
  CAIRN_TRY(const std::uint64_t r, number(*object, "R", kMax));
  CAIRN_TRY(const std::uint64_t p, number(*object, "P", kMax));
  CAIRN_TRY(const std::uint64_t length, number(*object, "KeyLen", kMax));
  out.r = static_cast<std::uint32_t>(r);
  out.p = static_cast<std::uint32_t>(p);
  if (length != kMasterKeySize) return refused("KeyLen", "must be 32, is " + std::to_string(length));
  return out;
}

Result<FeatureSet> parse_features(const Json& root) {
  CAIRN_TRY(const Json* list, member(root, "FeatureFlags"));
  FeatureSet out;
  if (list == nullptr || list->is_null()) return out;
  if (!list->is_array()) return bad_json("FeatureFlags", "must be an array of strings");
  if (list->size() > kFlagsMax) return refused("FeatureFlags", "more than 64 flags");
  for (const Json& item : *list) {
    if (!item.is_string()) return bad_json("FeatureFlags", "must be an array of strings");
    const auto& text = item.get_ref<const std::string&>();
    const auto known = std::ranges::find(kNames, text, &FeatureName::text);
    if (known == kNames.end()) return refused("FeatureFlags", "unknown flag \"" + text.substr(0, 64) + "\"");
    out.set(known->feature);
  }
  return out;
}

Result<void> validate_scrypt(const Scrypt& s) {
  if (s.salt.size() < 32) return refused("Salt", "shorter than 32 bytes");
  if (s.salt.size() > kSaltMax) return refused("Salt", "longer than 1024 bytes");
  if (s.n < (std::uint64_t{1} << kLogNMin)) return refused("N", "below 1024");
  if (!std::has_single_bit(s.n)) return refused("N", "not a power of two");
  if (s.r < 8) return refused("R", "below 8");
  if (s.p < 1) return refused("P", "below 1");
  if (s.p > kScryptParallelMax) return refused("P", "above 16");
  if (s.r > kScryptMemoryMax / 128 || s.n > kScryptMemoryMax / 128 / s.r)
    return refused("N", "scrypt with these parameters needs more than 1 GiB");
  return {};
}

Result<void> validate_features(const Config& c) {
  const FeatureSet& f = c.features;
  const auto conflict = [](std::string_view a, std::string_view b) {
    return refused("FeatureFlags", std::string(a) + " excludes " + std::string(b));
  };
  if (f.has(Feature::xchacha)) {
    if (f.has(Feature::aes_siv)) return conflict("XChaCha20Poly1305", "AESSIV");
    if (f.has(Feature::gcm_iv128)) return conflict("XChaCha20Poly1305", "GCMIV128");
    if (!f.has(Feature::hkdf)) return refused("FeatureFlags", "XChaCha20Poly1305 without HKDF");
  } else if (!f.has(Feature::gcm_iv128)) {
    return refused("FeatureFlags", "no GCMIV128: volumes of gocryptfs v0.6 and older are not supported");
  }
  if (f.has(Feature::plaintext_names)) {
    for (const Feature other :
         {Feature::eme_names, Feature::dir_iv, Feature::long_names, Feature::raw64, Feature::long_name_max})
      if (f.has(other)) return conflict("PlaintextNames", name(other));
  }
  if (c.long_name_max == 0 || (!f.has(Feature::long_name_max) && c.long_name_max != 255))
    return refused("LongNameMax", "flag and value do not agree");
  return {};
}

// The key that wraps the master key.
Result<Secret> key_encryption_key(const Config& config, ByteView password) {
  const Scrypt& s = config.scrypt;
  CAIRN_TRY(Secret derived, crypto::scrypt(password, s.salt, s.n, s.r, s.p, kMasterKeySize, kScryptMemoryMax));
  if (!config.features.has(Feature::hkdf)) return derived;
  return derive(derived, kInfoGcm, kMasterKeySize);
}

std::string json_string(std::string_view text) { return Json(std::string(text)).dump(); }

}  // namespace

std::string_view name(Feature feature) { return kNames[static_cast<std::size_t>(feature)].text; }

std::string FeatureSet::text() const {
  std::string out;
  for (const auto& [feature, label] : kNames) {
    if (!has(feature)) continue;
    if (!out.empty()) out += ' ';
    out += label;
  }
  return out;
}

Result<Config> parse_config(std::string_view text) {
  if (text.size() > kConfigMax) return fail(ErrorCode::malformed, "gocryptfs.conf", "larger than 64 KiB");
  auto json = parse_json(text, {.bytes = kConfigMax, .depth = 16});
  if (!json) return fail(ErrorCode::malformed, "gocryptfs.conf", json.error().text());
  if (!json->is_object()) return fail(ErrorCode::malformed, "gocryptfs.conf", "not a JSON object");
  Config out;
  CAIRN_TRY(const std::uint64_t version, number(*json, "Version", 65535));
  if (version != kVersion) return refused("Version", "must be 2, is " + std::to_string(version));
  CAIRN_TRY(out.creator, string(*json, "Creator"));
  CAIRN_TRY(out.encrypted_key, base64_member(*json, "EncryptedKey"));
  CAIRN_TRY(out.features, parse_features(*json));
  CAIRN_TRY(out.scrypt, parse_scrypt(*json));
  CAIRN_TRY(const std::uint64_t longest, number(*json, "LongNameMax", 255));
  if (out.features.has(Feature::long_name_max) != (longest != 0))
    return refused("LongNameMax", "flag and value do not agree");
  out.long_name_max = longest == 0 ? 255 : static_cast<std::uint8_t>(longest);
  CAIRN_CHECK(validate(out));
  return out;
}

Result<void> validate(const Config& config) {
  CAIRN_CHECK(validate_scrypt(config.scrypt));
  CAIRN_CHECK(validate_features(config));
  if (config.encrypted_key.size() != kWrappedHkdf && config.encrypted_key.size() != kWrappedOld)
    return refused("EncryptedKey", "must have 60 or 64 bytes, has " + std::to_string(config.encrypted_key.size()));
  return {};
}

Result<void> require_default_features(const Config& config) {
  if (config.features == kDefaultFeatures) return {};
  std::string message;
  for (const auto& [feature, label] : kNames) {
    if (config.features.has(feature) == kDefaultFeatures.has(feature)) continue;
    message += (message.empty() ? "" : ", ") + std::string(kDefaultFeatures.has(feature) ? "lacks " : "has ") +
               std::string(label);
  }
  return refused("FeatureFlags", "not the default flag set: " + message);
}

std::string write_config(const Config& c) {
  std::string flags;
  for (const auto& [feature, label] : kNames)
    if (c.features.has(feature)) flags += (flags.empty() ? "\n\t\t\"" : ",\n\t\t\"") + std::string(label) + "\"";
  std::string out = "{\n\t\"Creator\": " + json_string(c.creator) + ",\n\t\"EncryptedKey\": \"" +
                    base64(c.encrypted_key) + "\",\n\t\"ScryptObject\": {\n\t\t\"Salt\": \"" + base64(c.scrypt.salt) +
                    "\",\n\t\t\"N\": " + std::to_string(c.scrypt.n) + ",\n\t\t\"R\": " + std::to_string(c.scrypt.r) +
                    ",\n\t\t\"P\": " + std::to_string(c.scrypt.p) +
                    ",\n\t\t\"KeyLen\": 32\n\t},\n\t\"Version\": 2,\n\t\"FeatureFlags\": [" + flags + "\n\t]";
  if (c.features.has(Feature::long_name_max)) out += ",\n\t\"LongNameMax\": " + std::to_string(c.long_name_max);
  return out + "\n}\n";
}

Result<Secret> password_from(ByteView source, bool* cut_more) {
  const auto newline = std::ranges::find(source, std::uint8_t{'\n'});
  const auto length = static_cast<std::size_t>(newline - source.begin());
  if (cut_more != nullptr) *cut_more = length + 1 < source.size();
  if (length == 0) return fail(ErrorCode::invalid_argument, "password", "the first line is empty");
  if (length > kPasswordMax) return fail(ErrorCode::invalid_argument, "password", "longer than 2048 bytes");
  return Secret(source.first(length));
}

Result<Secret> unwrap_master_key(const Config& config, ByteView password) {
  CAIRN_CHECK(validate(config));
  if (config.features.has(Feature::fido2))
    return refused("FeatureFlags", "FIDO2: the password of this volume comes from a token, which is not supported");
  const bool hkdf = config.features.has(Feature::hkdf);
  const auto wrong = [] {
    return fail(ErrorCode::unauthenticated, "gocryptfs.conf",
                "the password is wrong, or the configuration was changed");
  };
  const ByteView wrapped = config.encrypted_key;
  if (wrapped.size() != (hkdf ? kWrappedHkdf : kWrappedOld)) return wrong();
  const std::size_t nonce_size = hkdf ? 16 : 12;
  const ByteView nonce = wrapped.first(nonce_size);
  if (std::ranges::all_of(nonce, [](std::uint8_t b) { return b == 0; })) return wrong();
  CAIRN_TRY(const Secret kek, key_encryption_key(config, password));
  auto key = crypto::open(crypto::Aead::aes_256_gcm, kek.view(), nonce, kWrapAad, wrapped.subspan(nonce_size));
  if (!key) return wrong();
  return key;
}

Result<Config> wrap_master_key(const Secret& master_key, ByteView password, FeatureSet features,
                               std::uint8_t long_name_max, int log_n) {
  if (master_key.size() != kMasterKeySize) return fail(ErrorCode::invalid_argument, "master key", "must have 32 bytes");
  if (password.empty() || password.size() > kPasswordMax ||
      std::ranges::find(password, std::uint8_t{'\n'}) != password.end())
    return fail(ErrorCode::invalid_argument, "password", "must have 1 to 2048 bytes and no line feed");
  if (log_n < kLogNMin || log_n > kLogNMax)
    return fail(ErrorCode::invalid_argument, "scrypt", "log N must be 10 to 20");
  Config out{.creator = "cairn 0.1.0",
             .encrypted_key = {},
             .scrypt = {},
             .features = features,
             .long_name_max = long_name_max};
  out.scrypt.salt = crypto::random_bytes(32);
  out.scrypt.n = std::uint64_t{1} << log_n;
  CAIRN_TRY(const Secret kek, key_encryption_key(out, password));
  out.encrypted_key = crypto::random_bytes(features.has(Feature::hkdf) ? 16 : 12);
  CAIRN_TRY(const Bytes sealed,
            crypto::seal(crypto::Aead::aes_256_gcm, kek.view(), out.encrypted_key, kWrapAad, master_key.view()));
  append(out.encrypted_key, sealed);
  CAIRN_CHECK(validate(out));
  return out;
}

}  // namespace cairn::gocryptfs
