#include "cachefs/chunk_cache.h"

#include <cerrno>

namespace cairn::cachefs {
namespace {
constexpr std::size_t kSlotsMin = 4;
constexpr std::uint64_t kAheadMax = 8;       // pieces decrypted ahead of a reader
constexpr std::size_t kAheadQueueMax = 256;  // of all readers
constexpr std::uint64_t kCachedFrom = ChunkCache::kBytes;
}  // namespace

ChunkCache::ChunkCache(Model& model, std::uint64_t bytes, unsigned threads)
    : model_(model), slots_(std::max<std::size_t>(kSlotsMin, bytes / kBytes)) {
  model_.shared().cache_bytes = 0;  // of a former worker
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work_ahead(); });
}

ChunkCache::~ChunkCache() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
}

bool ChunkCache::holds(NodeId id) const {
  const Node& node = model_.tree().at(id);
  return node.type == NodeType::file && node.size >= kCachedFrom;
}

ChunkCache::View ChunkCache::read(NodeId id, std::uint64_t offset, std::size_t size) {
  const std::uint64_t chunk = offset / kBytes;
  if (offset >= model_.tree().at(id).size) return {};
  if (model_.shared().poisoned) return {nullptr, {}, EIO};
  auto piece = get(id, chunk, false);
  plan_ahead(id, chunk);
  if (piece.error != 0) return {nullptr, {}, piece.error};
  const std::size_t skip = offset % kBytes;
  const ByteView bytes = ByteView(piece.memory->span()).first(piece.size);
  return {piece.memory, bytes.subspan(skip, std::min(size, bytes.size() - skip)), 0};
}

// A slot to load into; none while all are being loaded. A piece that was read again is passed over once.
std::optional<std::size_t> ChunkCache::take_slot() {
  for (std::size_t step = 0; step < 2 * slots_.size(); ++step) {
    Slot& slot = slots_[hand_];
    const std::size_t at = hand_;
    hand_ = (hand_ + 1) % slots_.size();
    if (slot.state == State::loading || std::exchange(slot.again, false)) continue;
    if (slot.state == State::ready) {
      places_.erase(slot.key);
      model_.shared().cache_bytes -= slot.size;
    }
    slot = {};
    return at;
  }
  return std::nullopt;
}

ChunkCache::Loaded ChunkCache::load(NodeId id, std::uint64_t chunk) {
  const std::uint64_t offset = chunk * kBytes;
  const std::size_t size = std::min<std::uint64_t>(kBytes, model_.tree().at(id).size - offset);
  const auto memory = std::make_shared<Pages>(size);
  const int got = model_.read(id, offset, memory->span().first(size));
  if (got < 0) return {nullptr, 0, -got};
  return {memory, static_cast<std::size_t>(got), 0};
}

ChunkCache::Loaded ChunkCache::get(NodeId id, std::uint64_t chunk, bool ahead) {
  SharedState& shared = model_.shared();
  const std::uint64_t key = key_of(id, chunk);
  std::unique_lock lock(mutex_);
  for (bool waited = false;; waited = true) {
    const auto found = places_.find(key);
    if (found == places_.end()) break;
    Slot& slot = slots_[found->second];
    if (slot.state == State::ready) {
      if (!ahead) {
        const auto last = last_.find(id);
        if (slot.seen && last != last_.end() && last->second != chunk) slot.again = true;
        slot.seen = true;
        ++(waited ? shared.cache_misses : shared.cache_hits);
      }
      return {slot.memory, slot.size, 0};
    }
    if (ahead) return {};
    loaded_.wait(lock);
  }
  const auto at = take_slot();
  if (!at && ahead) return {};
  if (at) {
    slots_[*at].key = key;
    slots_[*at].state = State::loading;
    places_.emplace(key, *at);
  }
  lock.unlock();
  Loaded out = load(id, chunk);
  if (ahead)
    shared.prefetched_bytes += out.size;
  else
    ++shared.cache_misses;
  lock.lock();
  if (!at) return out;
  Slot& slot = slots_[*at];
  if (out.error == 0) {
    slot.memory = out.memory;
    slot.size = out.size;
    slot.state = State::ready;
    slot.seen = !ahead;
    shared.cache_bytes += out.size;
  } else {
    places_.erase(key);
    slot = {};
  }
  loaded_.notify_all();
  return out;
}

// A reader that goes on where it was has the next pieces decrypted for it.
void ChunkCache::plan_ahead(NodeId id, std::uint64_t chunk) {
  const std::scoped_lock lock(mutex_);
  const auto [last, first] = last_.try_emplace(id, chunk);
  const bool onward = first ? chunk == 0 : chunk == last->second + 1;
  last->second = chunk;
  if (!onward || threads_.empty()) return;
  const std::uint64_t end = (model_.tree().at(id).size + kBytes - 1) / kBytes;
  const std::uint64_t depth = std::min<std::uint64_t>(kAheadMax, slots_.size() / 4);
  for (std::uint64_t next = chunk + 1; next < std::min(end, chunk + 1 + depth); ++next)
    if (!places_.contains(key_of(id, next)) && ahead_.size() < kAheadQueueMax) ahead_.emplace_back(id, next);
  wanted_.notify_all();
}

void ChunkCache::work_ahead() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return stopping_ || !ahead_.empty(); });
    if (stopping_) return;
    const auto [id, chunk] = ahead_.front();
    ahead_.pop_front();
    if (places_.contains(key_of(id, chunk))) continue;
    lock.unlock();
    (void)get(id, chunk, true);
    lock.lock();
  }
}

}  // namespace cairn::cachefs
