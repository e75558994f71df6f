#include "cachefs/objects/pieces.h"

#include <algorithm>

#include "base/clock.h"

namespace cairn::cachefs {

using net::Task;

namespace {

constexpr double kSlowFactor = 4;          // of the usual time, then a second request goes out
constexpr double kUsualWeight = 0.1;       // of the newest in the running mean
constexpr std::uint64_t kHedgeEvery = 20;  // requests: one of them may be doubled, and a few at the start
constexpr std::uint64_t kHedgeFree = 4;
constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::size_t kSpareMax = 4;

std::size_t piece_size(const RemoteObject& object, std::uint64_t index) {
  return std::min<std::uint64_t>(kStorePieceBytes, object.size - index * kStorePieceBytes);
}

ObjectRange range_of(const RemoteObject& object, std::uint64_t offset) {
  return {.key = object.key, .etag = object.etag, .object_size = object.size, .offset = offset};
}

}  // namespace

// Held by whatever may end the fetch: the last one gone without an end is an end too.
struct Pieces::Ticket {
  Ticket(Pieces& o, PiecePtr p) : owner(o), piece(std::move(p)) {}
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() { end(fail(ErrorCode::cancelled, "store", "stopped on request")); }
  void end(Result<void> result) {
    if (!std::exchange(ended, true)) owner.finished(piece, std::move(result));
  }
  Pieces& owner;
  PiecePtr piece;
  bool ended = false;
};

Pieces::Pieces(StoreLoop& loop, DiskCache* disk, const StoreOptions& options, const StoreTarget& target,
               StoreCounters& counters)
    : loop_(loop),
      disk_(disk),
      target_(target),
      counters_(counters),
      budget_(options.memory_mib * kMiB),
      ahead_max_(std::min<std::uint64_t>(options.parallel, budget_ / kStorePieceBytes * 3 / 4)),
      timeout_(std::chrono::seconds(options.timeout_s)) {}
Pieces::~Pieces() = default;

Result<std::size_t> Pieces::read(const RemoteObject& object, std::span<std::uint8_t> out, std::uint64_t offset) {
  if (offset >= object.size || out.empty()) return 0;
  const std::size_t size = std::min<std::uint64_t>(out.size(), object.size - offset);
  const std::uint64_t first = offset / kStorePieceBytes, last = (offset + size - 1) / kStorePieceBytes;
  if (first == last && size <= kStoreDirectMax && object.size > kStoreWholeMax) {
    std::unique_lock lock(mutex_);
    if (!in_order(object, first)) {
      lock.unlock();
      CAIRN_CHECK(read_directly(object, out.first(size), offset));
      return size;
    }
  }
  for (std::size_t done = 0; done < size;) {
    const std::uint64_t at = offset + done;
    CAIRN_TRY(const PiecePtr piece, get(object, at / kStorePieceBytes));
    const std::size_t skip = at % kStorePieceBytes, n = std::min(piece->size - skip, size - done);
    std::ranges::copy(piece->memory.span().subspan(skip, n), out.begin() + static_cast<std::ptrdiff_t>(done));
    done += n;
    const std::scoped_lock lock(mutex_);
    piece->consumed += n;
    if (piece->consumed >= piece->size) changed_.notify_all();  // it may go now
  }
  return size;
}

// Is the piece there, or the one before it?
bool Pieces::in_order(const RemoteObject& object, std::uint64_t index) const {
  return table_.contains({&object, index}) || (index > 0 && table_.contains({&object, index - 1}));
}

Result<void> Pieces::read_directly(const RemoteObject& object, std::span<std::uint8_t> out, std::uint64_t offset) {
  const auto got = loop_.call_again<void>(timeout_, [&](S3Client& client) {
    ++counters_.requests;
    return client.get_range(range_of(object, offset), out, kStoreTryTimeout);
  });
  if (!got) ++counters_.failures;
  if (got) counters_.bytes += out.size();
  return got;
}

Result<Pieces::PiecePtr> Pieces::get(const RemoteObject& object, std::uint64_t index) {
  std::unique_lock lock(mutex_);
  PiecePtr piece;
  while (!piece) {
    if (const auto found = table_.find({&object, index}); found != table_.end())
      piece = found->second;
    else if (make_room(piece_size(object, index), false))
      piece = begin(object, index, false);
    else
      changed_.wait(lock);  // everything in memory is still being fetched
  }
  plan_ahead(*piece);
  changed_.wait(lock, [&] { return piece->state != State::loading; });
  piece->used_ms = monotonic_ms();
  if (piece->state == State::failed) return fail(piece->error);
  return piece;
}

// Drops pieces until `size` more bytes fit. First those that were read to their end; what is fetched ahead takes no
// other piece's room but that of pieces nobody came for.
bool Pieces::make_room(std::size_t size, bool ahead) {
  const std::int64_t stale = monotonic_ms() - std::chrono::milliseconds(kStoreStaleAfter).count();
  while (bytes_ + size > budget_) {
    auto best = table_.end();
    bool best_done = false;
    for (auto at = table_.begin(); at != table_.end(); ++at) {
      const Piece& p = *at->second;
      if (p.state == State::loading) continue;
      const bool done = p.consumed >= p.size;
      if (!done && ahead && p.used_ms > stale) continue;
      if (best == table_.end() || (done && !best_done) || (done == best_done && p.used_ms < best->second->used_ms)) {
        best = at;
        best_done = done;
      }
    }
    if (best == table_.end()) return table_.empty();
    erase(best);
  }
  return true;
}

void Pieces::erase(std::map<Key, PiecePtr>::iterator at) {
  Piece& piece = *at->second;
  bytes_ -= piece.size;
  // Nobody else holds it, and nobody can come to hold it without the mutex.
  const bool ours = at->second.use_count() == 1 && piece.memory.span().size() == kStorePieceBytes;
  if (ours && spare_.size() < kSpareMax) spare_.push_back(std::move(piece.memory));
  table_.erase(at);
}

Pages Pieces::take_memory(std::size_t size) {
  if (size != kStorePieceBytes || spare_.empty()) return Pages(size);
  Pages out = std::move(spare_.back());
  spare_.pop_back();
  return out;
}

Pieces::PiecePtr Pieces::begin(const RemoteObject& object, std::uint64_t index, bool ahead) {
  const std::size_t size = piece_size(object, index);
  auto piece = std::make_shared<Piece>(object, index, size, take_memory(size));
  piece->ahead = ahead;
  piece->used_ms = monotonic_ms();
  table_.emplace(Key{&object, index}, piece);
  bytes_ += piece->size;
  ++under_way_;
  auto ticket = std::make_shared<Ticket>(*this, piece);
  loop_.spawn([this, ticket = std::move(ticket)](S3Client& client) { return fetch(client, ticket); });
  return piece;
}

// A reader that goes on where it was has the next pieces fetched for it.
void Pieces::plan_ahead(Piece& piece) {
  if (std::exchange(piece.planned, true)) return;
  const bool onward = piece.index == 0 || piece.ahead || table_.contains({&piece.object, piece.index - 1});
  if (!onward) return;
  const std::uint64_t end = (piece.object.size + kStorePieceBytes - 1) / kStorePieceBytes;
  for (std::uint64_t next = piece.index + 1; next < std::min(end, piece.index + 1 + ahead_max_); ++next) {
    if (table_.contains({&piece.object, next})) continue;
    if (under_way_ >= ahead_max_ || !make_room(piece_size(piece.object, next), true)) return;
    (void)begin(piece.object, next, true);
  }
}

void Pieces::finished(const PiecePtr& piece, Result<void> result) {
  const std::scoped_lock lock(mutex_);
  --under_way_;
  piece->state = result ? State::ready : State::failed;
  if (!result) {
    piece->error = std::move(result).error();
    // Later readers try anew. The entry may be another's by now.
    const auto found = table_.find({&piece->object, piece->index});
    if (found != table_.end() && found->second == piece) erase(found);
  }
  changed_.notify_all();
}

void Pieces::drop(const RemoteObject& object, std::uint64_t offset, std::size_t size) {
  if (size == 0 || object.size == 0) return;
  ++counters_.distrusted;
  const std::uint64_t last = std::min(offset + size, object.size) - 1;
  for (std::uint64_t index = offset / kStorePieceBytes; index <= last / kStorePieceBytes; ++index) {
    {
      const std::scoped_lock lock(mutex_);
      const auto found = table_.find({&object, index});
      if (found != table_.end() && found->second->state != State::loading) erase(found);
    }
    if (disk_ != nullptr) disk_->drop(disk_name(object, index));
  }
}

std::string Pieces::disk_name(const RemoteObject& object, std::uint64_t index) const {
  std::string identity = target_.bucket_url.text();
  for (const std::string& part :
       {object.key, object.etag, std::to_string(object.size), std::to_string(index), std::to_string(kStorePieceBytes)})
    identity.append(1, '\0').append(part);
  return DiskCache::name_of(identity);
}

Task<> Pieces::fetch(S3Client& client, std::shared_ptr<Ticket> ticket) {
  Piece& piece = *ticket->piece;
  const std::string name = disk_ != nullptr ? disk_name(piece.object, piece.index) : std::string();
  if (disk_ != nullptr) {
    const auto hit = co_await loop_.workers().offload([disk = disk_, name, ticket] {
      return disk->load(name, ticket->piece->memory.span().first(ticket->piece->size));
    });
    if (hit && *hit) {
      ++counters_.cache_hits;
      ticket->end({});
      co_return Result<>{};
    }
  }
  std::function<Task<>()> once = [&] { return fetch_hedged(client, piece); };
  Result<> got = co_await net::with_timeout(net::retry<void>(StoreLoop::kRetry, std::move(once)), timeout_);
  if (!got) ++counters_.failures;
  const bool keep = got && disk_ != nullptr;
  ticket->end(std::move(got));
  if (keep)
    (void)co_await loop_.workers().offload(
        [disk = disk_, name, ticket] { disk->store(name, ticket->piece->memory.span().first(ticket->piece->size)); });
  co_return Result<>{};
}

Task<> Pieces::fetch_hedged(S3Client& client, Piece& piece) {
  const std::int64_t started = monotonic_ms();
  ++asked_;
  ++counters_.requests;
  const ObjectRange range = range_of(piece.object, piece.index * kStorePieceBytes);
  const auto out = piece.memory.span().first(piece.size);
  const bool may_hedge = hedged_ < kHedgeFree + asked_ / kHedgeEvery;
  std::optional<Pages> other;
  bool second_won = false;
  const auto wait = std::clamp(net::Milliseconds(static_cast<std::int64_t>(usual_ms_ * kSlowFactor)),
                               net::Milliseconds(kStoreHedgeMin), net::Milliseconds(kStoreHedgeMax));
  Result<> got;
  if (may_hedge)
    got = co_await net::race(client.get_range(range, out, kStoreTryTimeout),
                             fetch_second(client, piece, other, second_won, wait));
  else
    got = co_await client.get_range(range, out, kStoreTryTimeout);
  if (!got) co_return got;
  if (second_won) {
    std::swap(piece.memory, *other);
    ++counters_.hedges_won;
  }
  const auto took = static_cast<double>(monotonic_ms() - started);
  usual_ms_ = usual_ms_ == 0 ? took : usual_ms_ * (1 - kUsualWeight) + took * kUsualWeight;
  counters_.bytes += piece.size;
  co_return got;
}

// The same request again after a while, into memory of its own. Where it fails the first one decides.
Task<> Pieces::fetch_second(S3Client& client, const Piece& piece, std::optional<Pages>& memory, bool& won,
                            net::Milliseconds wait) {
  CAIRN_CO_CHECK(co_await net::sleep_for(wait));
  ++hedged_;
  ++counters_.hedges;
  memory.emplace(piece.size);
  const ObjectRange range = range_of(piece.object, piece.index * kStorePieceBytes);
  const Result<> got = co_await client.get_range(range, memory->span().first(piece.size), kStoreTryTimeout);
  if (got) {
    won = true;
    co_return got;
  }
  CAIRN_CO_CHECK(co_await net::sleep_for(kStoreTryTimeout));
  co_return got;
}

}  // namespace cairn::cachefs
