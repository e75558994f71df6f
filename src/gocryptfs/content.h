// File contents: sizes, headers and blocks. spec/gocryptfs.md §3.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"
#include "gocryptfs/limits.h"

namespace cairn::gocryptfs {

using FileId = FixedBytes<kFileIdSize, struct FileIdTag>;

enum class ContentMode : std::uint8_t { aes_gcm, aes_siv, xchacha };
[[nodiscard]] std::string_view name(ContentMode mode);  // "AES-GCM-256", "AES-SIV-512", "XChaCha20-Poly1305"

// Offsets and sizes of one content mode.
struct Layout {
  std::size_t nonce_size = 16;
  std::size_t overhead = 32;  // nonce and tag

  [[nodiscard]] static Layout of(ContentMode mode);
  [[nodiscard]] std::size_t cipher_block() const { return kBlockSize + overhead; }
  [[nodiscard]] std::uint64_t block_offset(std::uint64_t block) const { return kHeaderSize + block * cipher_block(); }
  // Size of the ciphertext file for a plaintext of `size` bytes; 0 for 0.
  [[nodiscard]] std::uint64_t cipher_size(std::uint64_t size) const;
  // What stat shows for a ciphertext file of `size` bytes; an illegal tail counts as one byte.
  [[nodiscard]] std::uint64_t plain_size(std::uint64_t size) const;
  // True when a file of `size` bytes ends after a whole block or with at least one byte of plaintext.
  [[nodiscard]] bool legal_cipher_size(std::uint64_t size) const;
};
[[nodiscard]] inline std::uint64_t block_count(std::uint64_t plain_size) {
  return (plain_size + kBlockSize - 1) / kBlockSize;
}

// The first 18 bytes of a file. malformed: version other than 2, or an all-zero id.
[[nodiscard]] Result<FileId> parse_header(ByteView header);
[[nodiscard]] std::array<std::uint8_t, kHeaderSize> write_header(const FileId& id);
[[nodiscard]] FileId random_file_id();  // never zero

enum class Holes : std::uint8_t {
  deny,   // a full block of zeros is an error: no data copied in ever makes one
  allow,  // it reads as zeros, as in gocryptfs (the format does not authenticate holes)
};

// Encrypts and decrypts runs of blocks. Immutable after create(), used by any number of threads at once.
// AES-GCM runs on intel-ipsec-mb where it was found at build time, else on OpenSSL.
class ContentCipher {
 public:
  // key: 32 bytes; for aes_siv 64.
  [[nodiscard]] static Result<ContentCipher> create(ContentMode mode, const Secret& key);
  ContentCipher(ContentCipher&&) noexcept;
  ContentCipher& operator=(ContentCipher&&) noexcept;
  ~ContentCipher();

  [[nodiscard]] ContentMode mode() const;
  [[nodiscard]] const Layout& layout() const;
  [[nodiscard]] std::string_view engine() const;  // "ipsec-mb AVX512", "OpenSSL"

  // Decrypts consecutive whole blocks, the last of which may be short, into `out`, which must hold the plaintext
  // (kBlockSize per full block). Returns the number of plaintext bytes. crypto_failed with where = "block N" for the
  // first block that does not verify; `out` then holds zeros from there on, and nothing of it may be used.
  [[nodiscard]] Result<std::size_t> open_blocks(ByteView cipher, std::uint64_t first_block, const FileId& id,
                                                Holes holes, std::span<std::uint8_t> out) const;
  // Encrypts `plain` as blocks first_block, … with fresh random nonces. `out` must have room for sealed_size() bytes;
  // returns how many were written. All but the last block of a file must be whole.
  [[nodiscard]] std::size_t seal_blocks(ByteView plain, std::uint64_t first_block, const FileId& id,
                                        std::span<std::uint8_t> out) const;
  [[nodiscard]] std::size_t sealed_size(std::size_t plain) const;

  // Symlink targets and xattr values: one block of any length without a file id. Empty stays empty.
  [[nodiscard]] Result<Bytes> open_blob(ByteView blob) const;
  [[nodiscard]] Bytes seal_blob(ByteView plain) const;

  struct Engine;  // one per mode and implementation

 private:
  explicit ContentCipher(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace cairn::gocryptfs
