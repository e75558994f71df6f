// An open volume: the keys of one master key, and everything they decide. No I/O: callers bring bytes.
#pragma once

#include <string>
#include <string_view>

#include "gocryptfs/config.h"
#include "gocryptfs/content.h"
#include "gocryptfs/names.h"

namespace cairn::gocryptfs {

class Volume {
 public:
  // Derives the working keys; the master key may be wiped afterwards.
  [[nodiscard]] static Result<Volume> open(const Config& config, const Secret& master_key);
  // unwrap_master_key, then open.
  [[nodiscard]] static Result<Volume> open(const Config& config, ByteView password);

  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] const ContentCipher& content() const { return content_; }
  [[nodiscard]] const Layout& layout() const { return content_.layout(); }
  [[nodiscard]] const NameCodec& names() const { return names_; }
  [[nodiscard]] bool plaintext_names() const { return config_.features.has(Feature::plaintext_names); }
  // Directories hold a gocryptfs.diriv (neither plaintext nor deterministic names).
  [[nodiscard]] bool has_dir_iv() const { return config_.features.has(Feature::dir_iv); }

  // Names as this volume stores them, whichever scheme it has.
  [[nodiscard]] Result<DiskName> disk_name(std::string_view name, const DirIv& iv) const;
  [[nodiscard]] Result<std::string> plain_name(std::string_view text, const DirIv& iv) const;

  [[nodiscard]] Result<std::string> open_symlink(std::string_view stored) const;
  [[nodiscard]] std::string seal_symlink(std::string_view target) const;

  // "user.gocryptfs.…" for a plaintext name; ACL names pass through. unsupported: a name that is neither.
  [[nodiscard]] Result<std::string> xattr_disk_name(std::string_view name) const;
  // not_found for a foreign name (to be hidden), crypto_failed or malformed for one that does not decrypt.
  [[nodiscard]] Result<std::string> xattr_plain_name(std::string_view stored) const;
  // Falls back to base64 text, as old volumes stored values.
  [[nodiscard]] Result<Bytes> open_xattr(ByteView stored) const;
  [[nodiscard]] Bytes seal_xattr(ByteView value) const { return content_.seal_blob(value); }

 private:
  Volume(Config config, ContentCipher content, NameCodec names)
      : config_(std::move(config)), content_(std::move(content)), names_(std::move(names)) {}
  Config config_;
  ContentCipher content_;
  NameCodec names_;
};

}  // namespace cairn::gocryptfs
