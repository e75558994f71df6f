// The digest of one plaintext file as a manifest carries it: SHA-384, or for large files the fs-verity digest, whose
// Merkle tree can be computed in parallel. spec/guest.md §11.3.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/hash.h"

namespace cairn::cachefs {

// Files of at least this size carry an fs-verity digest.
inline constexpr std::uint64_t kVerityFrom = 64U << 20;

enum class DigestKind : std::uint8_t { sha384, verity };

struct ContentDigest {
  DigestKind kind = DigestKind::sha384;
  Bytes value;  // 48 or 32 bytes
  [[nodiscard]] bool operator==(const ContentDigest&) const = default;
  [[nodiscard]] std::string text() const;  // "sha384:<hex>", "verity:<hex>"
};

// The digest of a file of known size, fed in parts: one part for sha384, any partition into multiples of 512 KiB for
// verity. Parts may be computed by different threads.
class FileDigest {
 public:
  explicit FileDigest(std::uint64_t size)
      : FileDigest(size, size >= kVerityFrom ? DigestKind::verity : DigestKind::sha384) {}
  FileDigest(std::uint64_t size, DigestKind kind);

  class Part {
   public:
    // In order, without gaps; every piece but the last of a file is a multiple of 4096 bytes.
    void update(ByteView piece);

   private:
    friend class FileDigest;
    Part(DigestKind kind, std::uint64_t offset);
    void leaf(ByteView block);
    void fold();  // the pending leaves into one hash of the next level
    DigestKind kind_;
    std::uint64_t offset_;
    crypto::Hasher whole_;
    Bytes leaves_;  // hashes of level 0 that do not yet fill a block
    Bytes folded_;  // hashes of level 1
  };
  // A part that begins at `offset`; finish() hands it back, from any thread.
  [[nodiscard]] Part part(std::uint64_t offset) const { return {kind_, offset}; }
  void finish(Part part);
  // After all parts were finished.
  [[nodiscard]] ContentDigest result();

 private:
  std::uint64_t size_;
  DigestKind kind_;
  std::mutex mutex_;
  Bytes value_;  // sha384
  Bytes level_;  // verity: hashes of level 1, or of level 0 where the file has at most 128 blocks
};

}  // namespace cairn::cachefs
