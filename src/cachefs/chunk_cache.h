// Plaintext of large files in a bounded cache: for models larger than memory, whose pages must not push everything else
// out of the kernel's cache. Pieces of 1 MiB, decrypted once for all their readers, and ahead of those that read in
// order. Lives in one worker.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cachefs/model.h"
#include "cachefs/store/pages.h"

namespace cairn::cachefs {

class ChunkCache {
 public:
  static constexpr std::size_t kBytes = 1U << 20;

  // At most `bytes` are kept, at least four pieces. `threads` decrypt ahead; 0: nobody does.
  ChunkCache(Model& model, std::uint64_t bytes, unsigned threads);
  ~ChunkCache();
  ChunkCache(const ChunkCache&) = delete;
  ChunkCache& operator=(const ChunkCache&) = delete;

  // Files of this size and more are read through the cache, and past the kernel's.
  [[nodiscard]] bool holds(NodeId id) const;
  // The bytes from `offset` to the end of their piece at most, as long as `memory` is held; a positive error instead.
  struct View {
    std::shared_ptr<const Pages> memory;
    ByteView bytes;
    int error = 0;
  };
  [[nodiscard]] View read(NodeId id, std::uint64_t offset, std::size_t size);

 private:
  enum class State : std::uint8_t { free, loading, ready };
  struct Slot {
    std::uint64_t key = 0;
    State state = State::free;
    bool seen = false;   // by a reader, not only decrypted ahead
    bool again = false;  // read, left, and read again: the hand spares it once
    std::size_t size = 0;
    std::shared_ptr<const Pages> memory;
  };
  struct Loaded {
    std::shared_ptr<const Pages> memory;
    std::size_t size = 0;
    int error = 0;
  };
  [[nodiscard]] static std::uint64_t key_of(NodeId id, std::uint64_t chunk) { return std::uint64_t{id} << 32 | chunk; }
  [[nodiscard]] Loaded get(NodeId id, std::uint64_t chunk, bool ahead);
  [[nodiscard]] Loaded load(NodeId id, std::uint64_t chunk);
  [[nodiscard]] std::optional<std::size_t> take_slot();
  void plan_ahead(NodeId id, std::uint64_t chunk);
  void work_ahead();

  Model& model_;
  std::mutex mutex_;
  std::condition_variable loaded_, wanted_;
  std::vector<Slot> slots_;
  std::unordered_map<std::uint64_t, std::size_t> places_;
  std::size_t hand_ = 0;
  std::unordered_map<NodeId, std::uint64_t> last_;  // piece read last, of each file
  std::deque<std::pair<NodeId, std::uint64_t>> ahead_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace cairn::cachefs
