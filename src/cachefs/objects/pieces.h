// Ciphertext of remote objects in memory: fetched in pieces of 4 MiB, ahead of those that read in order, a second time
// where the first request is slow; kept in a folder too where there is one. Lives in one process.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "cachefs/objects/disk_cache.h"
#include "cachefs/objects/store_loop.h"
#include "cachefs/store/pages.h"

namespace cairn::cachefs {

// An object as it was listed: what it must be for as long as the source lives.
struct RemoteObject {
  std::string key;  // whole
  std::string etag;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  bool folder = false;  // a marker, without contents
};

// In memory that all processes share.
struct StoreCounters {
  std::atomic<std::uint64_t> requests = 0, bytes = 0, failures = 0, hedges = 0, hedges_won = 0, cache_hits = 0,
                             distrusted = 0;
};

class Pieces {
 public:
  // All of these outlive this; `disk` may be nullptr.
  Pieces(StoreLoop& loop, DiskCache* disk, const StoreOptions& options, const StoreTarget& target,
         StoreCounters& counters);
  ~Pieces();
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  // Bytes read: fewer than asked only at the object's end. Waits, at most for the options' timeout. `object` stays
  // where it is as long as this lives.
  [[nodiscard]] Result<std::size_t> read(const RemoteObject& object, std::span<std::uint8_t> out, std::uint64_t offset);
  // Drops the pieces there, in memory and on disk.
  void drop(const RemoteObject& object, std::uint64_t offset, std::size_t size);

 private:
  using Key = std::pair<const RemoteObject*, std::uint64_t>;  // and the piece's number
  enum class State : std::uint8_t { loading, ready, failed };
  struct Piece {
    Piece(const RemoteObject& o, std::uint64_t i, std::size_t n, Pages m)
        : object(o), index(i), size(n), memory(std::move(m)) {}
    const RemoteObject& object;
    std::uint64_t index;
    std::size_t size;
    Pages memory;
    State state = State::loading;
    Error error{};
    bool ahead = false;          // nobody waited for it when it was begun
    bool planned = false;        // those behind it were thought of
    std::uint64_t consumed = 0;  // bytes read out of it
    std::int64_t used_ms = 0;
  };
  using PiecePtr = std::shared_ptr<Piece>;
  struct Ticket;  // of a piece being fetched: ends it, one way or the other

  [[nodiscard]] Result<PiecePtr> get(const RemoteObject& object, std::uint64_t index);
  [[nodiscard]] Result<void> read_directly(const RemoteObject& object, std::span<std::uint8_t> out,
                                           std::uint64_t offset);
  [[nodiscard]] bool in_order(const RemoteObject& object, std::uint64_t index) const;
  [[nodiscard]] bool make_room(std::size_t size, bool ahead);
  void erase(std::map<Key, PiecePtr>::iterator at);
  [[nodiscard]] Pages take_memory(std::size_t size);
  PiecePtr begin(const RemoteObject& object, std::uint64_t index, bool ahead);
  void plan_ahead(Piece& piece);
  void finished(const PiecePtr& piece, Result<void> result);
  [[nodiscard]] std::string disk_name(const RemoteObject& object, std::uint64_t index) const;

  [[nodiscard]] net::Task<> fetch(S3Client& client, std::shared_ptr<Ticket> ticket);
  [[nodiscard]] net::Task<> fetch_hedged(S3Client& client, Piece& piece);
  [[nodiscard]] net::Task<> fetch_second(S3Client& client, const Piece& piece, std::optional<Pages>& memory, bool& won,
                                         net::Milliseconds wait);

  StoreLoop& loop_;
  DiskCache* disk_;
  const StoreTarget& target_;
  StoreCounters& counters_;
  const std::uint64_t budget_, ahead_max_;
  const net::Milliseconds timeout_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, PiecePtr> table_;
  std::vector<Pages> spare_;  // memory of former pieces: new pages cost a tenth of fetching them
  std::uint64_t bytes_ = 0;   // of the table
  std::size_t under_way_ = 0;
  double usual_ms_ = 0;                   // of a request; of the loop's thread
  std::uint64_t asked_ = 0, hedged_ = 0;  // likewise
};

}  // namespace cairn::cachefs
