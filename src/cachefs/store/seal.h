// Seals: which ciphertext a model consists of, 32 bytes for each MiB, so that what is read can be compared as it is
// read, without hashing the plaintext. spec/gocryptfs.md §12.7. A seal commits to nonces and tags: under a secret key
// that excludes blocks and files that were rolled back, zeroed, cut or exchanged. The list of seals is a file of the
// model, and the manifest's digest covers it.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "gocryptfs/content.h"

namespace cairn::cachefs {

inline constexpr std::string_view kSealName = ".cairn-seal.bin";
inline constexpr std::size_t kSealBlocks = 256;  // of one chunk
inline constexpr std::uint64_t kSealBytes = kSealBlocks * gocryptfs::kBlockSize;

enum class SealedType : std::uint8_t { file = 0, folder = 1, link = 2 };

struct Sealed {
  std::string path;  // as in manifests
  SealedType type = SealedType::file;
  std::uint64_t size = 0;            // plain; 0 unless a file
  gocryptfs::FileId id{};            // zero unless a file with contents
  std::vector<Digest<32>> chunks{};  // files: one for each begun MiB; links: SHA-256 of the plain target
};

// "CAIRNSL1", big-endian, records sorted by path. invalid_argument where the records are not what they should be.
[[nodiscard]] Result<Bytes> write_seals(const std::vector<Sealed>& records);
// Strict: everything that write_seals() would not write is malformed.
[[nodiscard]] Result<std::vector<Sealed>> parse_seals(ByteView bytes);

// The seal of a chunk: SHA-256 over its number and the nonce and tag of each of its blocks. `stored`: whole blocks as
// they lie in the file, at most kSealBlocks; only a file's last may be short.
[[nodiscard]] Digest<32> chunk_seal(gocryptfs::ContentMode mode, std::uint64_t chunk, ByteView stored);

// The seals of a file whose blocks come by in order, from the beginning of chunk `first`. Several may fill one list.
class SealWriter {
 public:
  // `out` has a place for every chunk, or none at all: nothing is done then. It must outlive this.
  SealWriter(gocryptfs::ContentMode mode, std::uint64_t first, std::vector<Digest<32>>& out);
  void add(ByteView stored);  // whole blocks; only a file's last may be short
  void finish();              // the chunk begun, where there is one

 private:
  gocryptfs::ContentMode mode_;
  std::uint64_t chunk_;
  std::vector<Digest<32>>& out_;
  std::size_t blocks_ = 0;
  Bytes input_;
};

// The tags of a chunk that was compared with its seal, eight bytes of each: enough to tell a block from its former
// versions, which are all that somebody without the key could put in its place.
using ChunkTags = std::array<std::uint64_t, kSealBlocks>;
[[nodiscard]] std::uint64_t block_tag(gocryptfs::ContentMode mode, ByteView stored);

// Tags of chunks that were compared lately, so that small reads need not read a whole chunk each. 8 MiB at most, made
// at the first use. Any thread.
class CheckedChunks {
 public:
  [[nodiscard]] std::optional<ChunkTags> find(const Sealed& file, std::uint64_t chunk);
  void keep(const Sealed& file, std::uint64_t chunk, const ChunkTags& tags);

 private:
  struct Slot {
    const Sealed* file = nullptr;
    std::uint64_t chunk = 0;
    ChunkTags tags{};
  };
  static constexpr std::size_t kSlots = 4096;
  [[nodiscard]] static std::size_t slot_of(const Sealed& file, std::uint64_t chunk);
  std::mutex mutex_;
  std::vector<Slot> slots_;
};

}  // namespace cairn::cachefs
