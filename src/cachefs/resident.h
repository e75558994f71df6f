// Plaintext of large files in memory of this process only: a tmpfs that is mounted nowhere. Filled by all cores in the
// background and by readers who need a piece at once; a whole file is then read by the kernel itself (FUSE
// passthrough). In the automatic mode a file that is opened before it is whole is left to its readers from then on, as
// when streaming: they have it sooner than through this memory. The supervisor makes the store before it forks, so
// that what one worker decrypted serves the next.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "cachefs/model.h"

namespace cairn::cachefs {

inline constexpr std::uint64_t kResidentFrom = 1U << 20;  // smaller files stay in the kernel's page cache
inline constexpr std::size_t kResidentFilesMax = 4096;
inline constexpr std::uint64_t kChunkBytes = 2U << 20;

// Bytes of memory that this process may still use, by the system and by its control group.
[[nodiscard]] std::uint64_t available_memory();

class Resident {
 public:
  // nullptr when the mode is streaming, or automatic and the model does not fit; too_large when resident was asked for
  // and it does not fit.
  [[nodiscard]] static Result<std::unique_ptr<Resident>> make(Model& model);
  ~Resident();

  // Files that are held are decrypted into the store, once and for all; others are read as ever.
  [[nodiscard]] ReadFn reader();
  // In a new worker, once: forgets what a dead one had begun, starts filling.
  void start_worker();
  // Also while it fills.
  [[nodiscard]] bool holds(NodeId id) const { return slot_of_[id] >= 0; }

  // The bytes at `offset`, decrypted now where they are not there yet; a view into the store. EIO where a chunk of them
  // is damaged or, of a file that is left to its readers, not there: they may be had from the model then.
  struct Piece {
    ByteView bytes;
    int error = 0;
  };
  [[nodiscard]] Piece read(NodeId id, std::uint64_t offset, std::size_t size);

  // How an open of this file is to be answered, and the count of opens kept: the kernel refuses to read one file both
  // through its cache and past it.
  enum class OpenAs { cached, passthrough };
  [[nodiscard]] OpenAs opened(NodeId id, bool passthrough_possible);
  // Filled next, after those that were asked for before.
  void hurry(NodeId id);
  // Whether an open that began at `since_ms` (monotonic) should go on waiting: the file is not whole yet and will be,
  // at the speed seen so far, within kOpenWait, or within kShortOpenWait where it could be left to its readers.
  [[nodiscard]] bool whole_soon(NodeId id, std::int64_t since_ms) const;
  void closed(NodeId id);
  [[nodiscard]] int descriptor(NodeId id) const;
  [[nodiscard]] std::atomic<int>& backing_id(NodeId id) const;  // of the connection; 0: none yet

  // Names for everything: the model as a file system of its own, which needs no FUSE. Once, when all is loaded, and
  // before somebody mounts it. unsupported where an entry is damaged or is no file, folder or link.
  [[nodiscard]] Result<void> name_all();
  [[nodiscard]] int file_system() const { return store_.get(); }  // a mount that is attached nowhere

  struct Progress {
    NodeId node = 0;
    std::uint64_t size = 0, loaded = 0;
  };
  [[nodiscard]] std::vector<Progress> progress() const;
  [[nodiscard]] bool preloaded(unsigned percent) const;

 private:
  struct Shared;  // counters of one file, in memory that outlives workers
  struct File;
  explicit Resident(Model& model);
  [[nodiscard]] Result<void> name_entry(NodeId id);
  [[nodiscard]] Result<void> copy_file(int folder, NodeId id);
  [[nodiscard]] Result<void> finish_entry(NodeId id);
  [[nodiscard]] Result<void> allocate(const std::vector<NodeId>& files);
  [[nodiscard]] bool ensure(File& file, std::uint64_t chunk);
  [[nodiscard]] bool fill(File& file, std::uint64_t chunk);
  void judge_huge_page(std::int64_t cost_ns);
  [[nodiscard]] std::optional<std::pair<File*, std::uint64_t>> next_chunk();
  void fill_all();

  Model& model_;
  bool streams_;  // files may be left to their readers
  Fd store_;      // the tmpfs
  std::vector<std::unique_ptr<File>> files_;
  std::vector<std::int32_t> slot_of_;  // by node; -1: not held
  void* shared_ = nullptr;
  std::size_t shared_size_ = 0;
  std::mutex order_mutex_;
  std::deque<File*> order_;  // still to be filled in the background; the first hurried_ are waited for
  std::size_t hurried_ = 0;
  std::int64_t filling_since_ms_ = 0;
  std::atomic<std::uint64_t> filled_ = 0;  // bytes, by this process
  std::int64_t huge_loss_ns_ = 0;          // what huge pages cost more than small ones
  bool huge_judged_ = false;
  std::mutex opens_;
};

}  // namespace cairn::cachefs
