// The model as it is served: its tree, its open files, and what happened so far. Made once by the supervisor before it
// forks, so that every worker has the same nodes and keys.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>

#include "cachefs/options.h"
#include "cachefs/store/check.h"
#include "cachefs/store/manifest.h"
#include "cachefs/store/tree.h"

namespace cairn::cachefs {

// In memory that all workers share and that outlives them.
struct SharedState {
  std::atomic<std::uint64_t> reads = 0, read_bytes = 0, failures = 0, restarts = 0, lookups = 0;
  std::atomic<bool> poisoned = false;  // fail_closed, after a failure
  std::atomic<bool> ready = false;
  std::atomic<bool> passthrough = false;  // the kernel reads whole resident files by itself
  std::atomic<std::uint64_t> passthrough_opens = 0;
  std::atomic<std::uint64_t> streamed_files = 0;  // of the automatic mode
  std::atomic<bool> small_pages = false;          // huge pages turned out to cost more (resident)
  std::atomic<std::uint64_t> resident_bytes = 0;  // decrypted into memory
  std::atomic<std::uint64_t> resident_total = 0;  // 0 unless resident
  std::atomic<std::uint64_t> cache_bytes = 0, cache_hits = 0, cache_misses = 0, prefetched_bytes = 0;  // bounded
  std::atomic<std::uint64_t> snapshots = 0;  // of the .stats file, handed out so far
  // The kernel's first request: a later worker has to see it again.
  std::uint32_t init_size = 0;
  std::array<std::uint8_t, 512> init{};
};

// What opens a volume: its password, or its master key.
struct VolumeKey {
  Secret password;
  Secret master_key;  // 32 bytes; used when the password is empty
};
// The password from options.passfile by gocryptfs' rule; the file is wiped and removed when asked, also on failure.
// Errors have where = "password".
[[nodiscard]] Result<VolumeKey> take_password(const MountOptions& options);

// A volume to be changed: its folder and its keys, nothing read ahead.
struct WritableVolume {
  Fd root;
  gocryptfs::Volume volume;
};
[[nodiscard]] Result<WritableVolume> open_writable(const MountOptions& options, const VolumeKey& key);

class Model {
 public:
  // Opens the volume. To be verified, its manifest is read and compared with the options and the names; the contents
  // are not read yet.
  [[nodiscard]] static Result<std::unique_ptr<Model>> open(const MountOptions& options, const VolumeKey& key);
  ~Model();
  // Every file's digest against the manifest, where the options ask for it. `read` as in check.h.
  [[nodiscard]] Result<void> verify_contents(const ReadFn& read);

  [[nodiscard]] const MountOptions& options() const { return options_; }
  [[nodiscard]] const Tree& tree() const { return volume_.tree; }
  [[nodiscard]] const gocryptfs::Volume& volume() const { return volume_.volume; }
  [[nodiscard]] SharedState& shared() const { return *shared_; }
  [[nodiscard]] const Source& source() const { return *volume_.source; }
  [[nodiscard]] const std::string& digest() const { return digest_; }  // measured form of the manifest; "" without
  [[nodiscard]] bool verified() const { return options_.verify != Verify::none; }
  // Not listed by the manifest of a verified model: not shown.
  [[nodiscard]] bool hidden(NodeId id) const { return !hidden_.empty() && hidden_[id]; }

  [[nodiscard]] struct stat attributes(NodeId id) const;  // as the mount shows them
  // Bytes read, or a negative errno. Integrity failures are logged once per place, without plaintext names.
  [[nodiscard]] int read(NodeId id, std::uint64_t offset, std::span<std::uint8_t> out);
  [[nodiscard]] Result<std::shared_ptr<const CipherFile>> file(NodeId id);
  // Whether any entry has an extended attribute: looked up once. True where that would take long (many entries, a
  // source behind a network).
  [[nodiscard]] bool has_attributes();
  // Extended attributes, decrypted. A negative errno or the value's size.
  [[nodiscard]] Result<std::string> attribute_names(NodeId id) const;
  [[nodiscard]] Result<Bytes> attribute(NodeId id, std::string_view name) const;
  void failed(NodeId id, std::uint64_t offset, const Error& error);

 private:
  Model(const MountOptions& options, OpenVolume volume);
  [[nodiscard]] Result<void> take_manifest();
  void hide_unlisted(const Manifest& manifest);
  [[nodiscard]] Result<Fd> open_any(NodeId id) const;
  [[nodiscard]] bool find_attributes() const;

  MountOptions options_;
  OpenVolume volume_;
  Manifest manifest_;
  std::string digest_;
  std::vector<bool> hidden_;
  SharedState* shared_;

  std::mutex files_mutex_;
  struct OpenFile {
    std::shared_ptr<const CipherFile> file;
    std::list<NodeId>::iterator used;
  };
  std::unordered_map<NodeId, OpenFile> files_;
  std::list<NodeId> recent_;  // newest first

  std::mutex attributes_mutex_;
  std::optional<bool> has_attributes_;

  std::mutex failures_mutex_;
  std::set<std::pair<NodeId, std::string>> reported_;
};

}  // namespace cairn::cachefs
