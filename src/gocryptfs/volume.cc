#include "gocryptfs/volume.h"

#include "gocryptfs/keys.h"

namespace cairn::gocryptfs {
namespace {

constexpr std::string_view kXattrPrefix = "user.gocryptfs.";
// The fixed tweak of attribute names: "xattr_name_iv_xx".
constexpr DirIv kXattrIv{{'x', 'a', 't', 't', 'r', '_', 'n', 'a', 'm', 'e', '_', 'i', 'v', '_', 'x', 'x'}};

bool is_acl(std::string_view name) { return name == "system.posix_acl_access" || name == "system.posix_acl_default"; }

}  // namespace

Result<Volume> Volume::open(const Config& config, const Secret& master_key) {
  if (master_key.size() != kMasterKeySize) return fail(ErrorCode::invalid_argument, "master key", "must have 32 bytes");
  CAIRN_CHECK(validate(config));
  CAIRN_TRY(const Secret contents, content_key(config.features, master_key));
  CAIRN_TRY(const Secret names, name_key(config.features, master_key));
  CAIRN_TRY(ContentCipher cipher, ContentCipher::create(content_mode(config.features), contents));
  CAIRN_TRY(NameCodec codec, NameCodec::create(names, config.features.has(Feature::raw64), config.long_name_max));
  return Volume(config, std::move(cipher), std::move(codec));
}

Result<Volume> Volume::open(const Config& config, ByteView password) {
  CAIRN_TRY(const Secret master_key, unwrap_master_key(config, password));
  return open(config, master_key);
}

Result<DiskName> Volume::disk_name(std::string_view name, const DirIv& iv) const {
  if (!plaintext_names()) return names_.encrypt(name, iv);
  CAIRN_CHECK(check_name(name));
  return DiskName{std::string(name), {}};
}

Result<std::string> Volume::plain_name(std::string_view text, const DirIv& iv) const {
  if (!plaintext_names()) return names_.decrypt(text, iv);
  CAIRN_CHECK(check_name(text));
  return std::string(text);
}

Result<std::string> Volume::open_symlink(std::string_view stored) const {
  if (plaintext_names() || stored.empty()) return std::string(stored);
  CAIRN_TRY(const Bytes blob, names_.decode(stored));
  CAIRN_TRY(const Bytes target, content_.open_blob(blob));
  if (std::ranges::find(target, std::uint8_t{0}) != target.end())
    return fail(ErrorCode::malformed, "symlink", "the target holds a zero byte");
  return std::string(as_text(target));
}

std::string Volume::seal_symlink(std::string_view target) const {
  if (plaintext_names() || target.empty()) return std::string(target);
  return names_.encode(content_.seal_blob(as_bytes(target)));
}

Result<std::string> Volume::xattr_disk_name(std::string_view name) const {
  if (is_acl(name)) return std::string(name);
  if (name.empty() || name.find('\0') != std::string_view::npos || name.size() > kNameMax)
    return fail(ErrorCode::invalid_argument, "xattr", "not a name of an attribute");
  return names_.encrypt_text(name, kXattrIv).transform([](const std::string& t) {
    return std::string(kXattrPrefix) + t;
  });
}

Result<std::string> Volume::xattr_plain_name(std::string_view stored) const {
  if (is_acl(stored)) return std::string(stored);
  if (!stored.starts_with(kXattrPrefix)) return fail(ErrorCode::not_found, "xattr", "not an attribute of this volume");
  CAIRN_TRY(std::string name, names_.decrypt_text(stored.substr(kXattrPrefix.size()), kXattrIv));
  if (name.find('\0') != std::string::npos || is_acl(name))
    return fail(ErrorCode::malformed, "xattr", "not a name of an attribute");
  return name;
}

Result<Bytes> Volume::open_xattr(ByteView stored) const {
  if (stored.size() > kXattrValueMax) return fail(ErrorCode::too_large, "xattr", "value longer than 64 KiB");
  auto value = content_.open_blob(stored);
  if (value) return value;
  if (const auto blob = names_.decode(as_text(stored))) return content_.open_blob(*blob);
  return value;
}

}  // namespace cairn::gocryptfs
