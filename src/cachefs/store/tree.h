// The plaintext view of a ciphertext folder: every name decrypted once, kept sorted, with sizes from the ciphertext's.
// A tree is a snapshot: a model does not change while it is served, and what changes underneath is an error, not data.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "cachefs/store/seal.h"
#include "cachefs/store/source.h"
#include "gocryptfs/volume.h"

namespace cairn::cachefs {

using NodeId = std::uint32_t;  // index in the tree; 0 is the root folder

enum class NodeType : std::uint8_t { folder, file, link, special };

struct Node {
  NodeId parent = 0;
  NodeId first_child = 0;  // folders: children are consecutive, sorted by name bytes
  std::uint32_t children = 0;
  NodeType type = NodeType::file;
  bool damaged = false;  // a link that does not decrypt, a folder whose diriv is bad: EIO on use
  std::string name;      // plain; empty for the root
  std::string disk_name;
  std::string target;      // links: plain
  std::uint64_t size = 0;  // plain; links: length of the target
  std::uint64_t cipher_size = 0;
  std::uint64_t inode = 0;   // of the ciphertext object
  std::uint64_t blocks = 0;  // st_blocks
  std::int64_t mtime_ns = 0, ctime_ns = 0, atime_ns = 0;
  std::uint32_t mode = 0, uid = 0, gid = 0, links = 1;
  std::uint64_t rdev = 0;
  gocryptfs::FileId pinned{};      // not zero: the only id this file may have
  const Sealed* sealed = nullptr;  // files: what every read is compared with; owned by the tree
};

// Something that keeps an entry from being shown or used whole.
struct Damage {
  std::string disk_path;                // ciphertext path relative to the volume
  std::optional<std::uint64_t> offset;  // in the plaintext, where the damage is in contents
  std::string reason;
};

class Tree {
 public:
  // Walks the whole volume. Entries whose names do not decrypt are left out and noted in `damage`.
  // too_large past kTreeEntriesMax, kTreeDepthMax or kPathMax.
  [[nodiscard]] static Result<Tree> scan(const Source& source, const gocryptfs::Volume& volume,
                                         std::vector<Damage>& damage);

  [[nodiscard]] const Node& at(NodeId id) const { return nodes_[id]; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] std::optional<NodeId> child(NodeId folder, std::string_view name) const;
  // Path from the root, '/'-separated; "" and "/" are the root. Links are not followed.
  [[nodiscard]] std::optional<NodeId> find(std::string_view path) const;
  // The file or folder that a link leads to, inside the volume; itself for anything else; nullopt when it dangles,
  // leaves the volume, or goes in circles.
  [[nodiscard]] std::optional<NodeId> resolve(NodeId id) const;
  [[nodiscard]] std::string path(NodeId id) const;       // plain
  [[nodiscard]] std::string disk_path(NodeId id) const;  // ciphertext
  // From now on a file with another id is a `conflict`: the contents that were verified cannot be exchanged for another
  // file's of the same key.
  void pin(NodeId id, const gocryptfs::FileId& file_id) { nodes_[id].pinned = file_id; }
  // Every read of a sealed file is compared with its seals from now on. crypto_failed where the tree has other entries
  // than the records, or other sizes or links.
  [[nodiscard]] Result<void> seal(std::vector<Sealed> records);
  [[nodiscard]] CheckedChunks* checked() const { return checked_.get(); }
  [[nodiscard]] std::uint64_t total_bytes() const { return total_bytes_; }
  [[nodiscard]] std::uint64_t file_count() const { return file_count_; }

 private:
  friend class Scanner;
  std::vector<Node> nodes_;
  std::vector<Sealed> seals_;
  std::unique_ptr<CheckedChunks> checked_;
  std::uint64_t total_bytes_ = 0, file_count_ = 0;
};

// One ciphertext file, open for reading. Used by any number of threads at once.
class CipherFile {
 public:
  // not_found, io_failed; conflict when the file is no longer what the tree saw.
  [[nodiscard]] static Result<CipherFile> open(const Source& source, const Tree& tree, NodeId id,
                                               const gocryptfs::Volume& volume);
  // Plaintext [offset, offset + out.size()), cut at the end of the file; returns how many bytes. crypto_failed or
  // io_failed with where = "block N" when any block involved does not verify or is missing, "chunk N" when its seal
  // does not. A copy that does not verify is dropped and had anew, once.
  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::uint8_t> out,
                                         gocryptfs::Holes holes) const;
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const gocryptfs::FileId& id() const { return id_; }

 private:
  [[nodiscard]] Result<std::size_t> read_run(std::uint64_t first, std::size_t count, std::span<std::uint8_t> out,
                                             gocryptfs::Holes holes) const;
  [[nodiscard]] Result<std::size_t> read_run_once(std::uint64_t first, std::size_t count, std::span<std::uint8_t> out,
                                                  gocryptfs::Holes holes) const;
  [[nodiscard]] Result<std::span<const std::uint8_t>> read_stored(std::uint64_t first, std::size_t count) const;
  [[nodiscard]] Result<void> check_seal(std::uint64_t first, ByteView stored) const;
  [[nodiscard]] Result<void> check_chunk(std::uint64_t chunk, ByteView stored) const;
  std::unique_ptr<SourceFile> file_;
  const gocryptfs::Volume* volume_ = nullptr;
  const Sealed* sealed_ = nullptr;
  CheckedChunks* checked_ = nullptr;
  std::uint64_t size_ = 0, cipher_size_ = 0;
  gocryptfs::FileId id_{};
};

// A volume with its tree.
struct OpenVolume {
  std::shared_ptr<const Source> source;
  gocryptfs::Volume volume;
  Tree tree;
  std::vector<Damage> damage;  // found while scanning
};
struct OpenOptions {
  std::filesystem::path source;       // the ciphertext folder
  std::filesystem::path config = {};  // "": gocryptfs.conf inside it
  bool all_features = true;           // false: only the default flag set (model volumes)
};
// options.source says where a local folder is; other sources are opened by whoever knows them, and given here.
[[nodiscard]] Result<gocryptfs::Config> read_config(const OpenOptions& options);
[[nodiscard]] Result<gocryptfs::Config> read_config(const OpenOptions& options, const Source& source);
[[nodiscard]] Result<OpenVolume> open_local(const OpenOptions& options, ByteView password);
[[nodiscard]] Result<OpenVolume> open_volume(std::shared_ptr<const Source> source, const gocryptfs::Config& config,
                                             const Secret& master_key);

}  // namespace cairn::cachefs
