// File names: AES-256-EME, base64, and hashed long names. spec/gocryptfs.md §4.1 to §4.4.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"
#include "gocryptfs/limits.h"

namespace cairn::gocryptfs {

using DirIv = FixedBytes<kDirIvSize, struct DirIvTag>;

inline constexpr std::string_view kConfName = "gocryptfs.conf";
inline constexpr std::string_view kDirIvName = "gocryptfs.diriv";
inline constexpr std::string_view kLongNamePrefix = "gocryptfs.longname.";
inline constexpr std::string_view kLongNameSuffix = ".name";

// What a ciphertext directory entry is, by its name alone.
enum class EntryKind : std::uint8_t {
  normal,        // an encrypted name
  long_content,  // gocryptfs.longname.<hash>: the object of a long name
  long_name,     // gocryptfs.longname.<hash>.name: its name
  internal,      // gocryptfs.diriv, gocryptfs.diriv.rmdir.<n>
};
[[nodiscard]] EntryKind entry_kind(std::string_view name);

// The 16 bytes of gocryptfs.diriv. malformed: another size, or all zero.
[[nodiscard]] Result<DirIv> parse_dir_iv(ByteView content);
[[nodiscard]] DirIv random_dir_iv();  // never zero

// 1 to 255 bytes, no '/' and no NUL, not "." or "..". too_large past 255, otherwise malformed.
[[nodiscard]] Result<void> check_name(std::string_view name);

struct DiskName {
  std::string name;       // the entry's name in the ciphertext directory
  std::string long_text;  // content of "<name>.name"; empty unless the name is hashed
};

// Immutable, used by any number of threads at once.
class NameCodec {
 public:
  // key: 32 bytes. raw64: base64 without padding. long_name_max: longest encrypted name stored as it is.
  [[nodiscard]] static Result<NameCodec> create(const Secret& key, bool raw64, std::size_t long_name_max);
  NameCodec(NameCodec&&) noexcept;
  NameCodec& operator=(NameCodec&&) noexcept;
  ~NameCodec();

  [[nodiscard]] Result<DiskName> encrypt(std::string_view name, const DirIv& iv) const;
  // `text`: the entry's name, or the content of its .name file. Only canonical text is accepted.
  [[nodiscard]] Result<std::string> decrypt(std::string_view text, const DirIv& iv) const;
  // "gocryptfs.longname.<hash>" of an encrypted name's text: what a .name file must lie beside.
  [[nodiscard]] std::string long_name_of(std::string_view text) const;

  // Without check_name: for names of extended attributes.
  [[nodiscard]] Result<std::string> encrypt_text(std::string_view plain, const DirIv& iv) const;
  [[nodiscard]] Result<std::string> decrypt_text(std::string_view text, const DirIv& iv) const;
  [[nodiscard]] std::string encode(ByteView bytes) const;           // the volume's base64
  [[nodiscard]] Result<Bytes> decode(std::string_view text) const;  // exactly that

  struct State;

 private:
  explicit NameCodec(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// EME itself, for 1 to 128 blocks of 16 bytes; exposed for its test vectors.
[[nodiscard]] Result<Bytes> eme_transform(ByteView key, ByteView tweak, ByteView data, bool encrypt);

}  // namespace cairn::gocryptfs
