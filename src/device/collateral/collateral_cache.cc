#include "device/collateral/collateral_cache.h"

#include <algorithm>
#include <list>
#include <map>
#include <mutex>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "crypto/hash.h"

namespace cairn::device {
namespace {

using net::Task;
using tdx::CollateralKey;

// One platform's collateral, verified.
struct Entry {
  CollateralKey key;
  CollateralPtr collateral;
  Time fetched{}, expires{};
  std::uint32_t eval_num = 0;
  Time next_try{};  // no refresh before
  std::string last_error;
};

// A fetch under way and who waits for it.
struct Flight {
  std::vector<std::shared_ptr<net::Event>> waiting;
};

struct Failed {
  Time at{};
  Error error;
};

Json to_json(const Entry& e) {
  return {{"fetched", rfc3339(e.fetched)}, {"collateral", tdx::serialise(*e.collateral)}};
}

}  // namespace

std::string text(const CollateralKey& key) {
  return std::string(key.tee == tdx::TeeType::tdx ? "tdx" : "sgx") + "/" + hex(key.fmspc) + "/" +
         (key.ca == tdx::PckCa::platform ? "platform" : "processor");
}

struct CollateralCache::State {
  net::Executor loop;
  CollateralCacheOptions options;
  tdx::Verifier verifier;
  std::map<std::string, std::shared_ptr<Flight>> flights;
  std::unique_ptr<net::TaskGroup> tasks;
  bool stopped = false;
  // Written on the loop, read by any thread.
  std::mutex mutex;
  std::map<std::string, Entry> entries;
  std::list<std::string> order;  // most recently used first
  std::map<std::string, Failed> failures;
  CollateralCounts counted;

  State(net::Executor l, CollateralCacheOptions o)
      : loop(std::move(l)),
        options(std::move(o)),
        verifier(options.roots, {.collaterals = 0, .chains = 0, .bindings = 0}) {}

  [[nodiscard]] std::filesystem::path path_of(const CollateralKey& key) const {
    const std::string name = options.source + "\n" + text(key);
    return options.folder / (hex(crypto::sha256(as_bytes(name))) + ".json");
  }

  // Verified collateral as an entry; never older than what is known.
  Result<Entry> admit(const CollateralKey& key, tdx::Collateral collateral, Time fetched, Time now) {
    const tdx::Verdict v =
        verifier.verify_collateral(collateral, {.time = now, .min_tcb_eval_num = options.min_tcb_eval_num});
    CAIRN_CHECK(v.result());
    Entry out{.key = key,
              .collateral = nullptr,
              .fetched = fetched,
              .expires = v.collateral->earliest_expiration,
              .eval_num = v.collateral->tcb_eval_num,
              .next_try = {},
              .last_error = {}};
    if (options.expire_after > 0) out.expires = std::min(out.expires, fetched.plus(options.expire_after));
    const std::scoped_lock lock(mutex);
    if (const auto known = entries.find(text(key)); known != entries.end() && known->second.eval_num > out.eval_num)
      return fail(ErrorCode::evidence_rejected, "tdx.CollateralReplayed",
                  "TCB evaluation data number " + std::to_string(out.eval_num) + " after " +
                      std::to_string(known->second.eval_num));
    if (out.expires < now) return fail(ErrorCode::evidence_rejected, "the collateral was fetched too long ago");
    out.collateral = std::make_shared<const tdx::Collateral>(std::move(collateral));
    return out;
  }

  void keep(const std::string& name, Entry entry) {
    const std::scoped_lock lock(mutex);
    if (!entries.contains(name)) order.push_front(name);
    entries[name] = std::move(entry);
    failures.erase(name);
    if (order.size() <= kMaxPlatforms) return;
    entries.erase(order.back());
    order.pop_back();
  }

  // What is on disk, verified anew: a file is a hint, not an authority.
  Result<Entry> load(const CollateralKey& key, Time now) {
    CAIRN_TRY(const std::string content, read_text(path_of(key), 2 * tdx::kMaxBundle));
    CAIRN_TRY(const Json json, parse_json(content, {.bytes = 2 * tdx::kMaxBundle, .depth = 4}));
    Problems problems;
    Fields f(json, "$", problems);
    const auto fetched = parse_rfc3339(f.required<std::string>("fetched"));
    const std::string bundle = f.required<std::string>("collateral");
    CAIRN_CHECK(problems.result());
    if (!fetched || *fetched > now) return fail(ErrorCode::malformed, "$.fetched", "not a time of the past");
    CAIRN_TRY(tdx::Collateral collateral, tdx::parse_collateral(bundle));
    return admit(key, std::move(collateral), *fetched, now);
  }

  void save(const Entry& e) const {
    if (options.folder.empty()) return;
    Result<void> done = make_dirs(options.folder, 0700);
    if (done) done = write_text(path_of(e.key), compact_json(to_json(e)), 0600);
    if (!done) spdlog::warn("collateral is not kept on disk: {}", done.error().text());
  }

  [[nodiscard]] bool refresh_due(const Entry& e, Time now) const {
    const Time due = std::min(e.fetched.plus(options.refresh_after), e.expires.plus(-kRefreshBeforeExpiry));
    return options.fetch && now >= due && now >= e.next_try;
  }

  Result<Entry> fetched(const CollateralKey& key, Result<tdx::Collateral> got, Time now) {
    if (!got) return fail(std::move(got).error());
    return admit(key, *std::move(got), now, now);
  }

  // Fetches, keeps or notes the failure, and wakes who waits.
  static Task<> fly(std::shared_ptr<State> self, CollateralKey key, Time now) {
    const std::string name = text(key);
    {
      const std::scoped_lock lock(self->mutex);
      ++self->counted.fetches;
    }
    Result<tdx::Collateral> got = co_await self->options.fetch(key);
    Result<Entry> entry = self->fetched(key, std::move(got), now);
    if (entry) {
      spdlog::info("collateral of {} fetched: TCB evaluation {}, valid until {}", name, entry->eval_num,
                   rfc3339(entry->expires));
      self->save(*entry);
      self->keep(name, *std::move(entry));
    } else {
      self->note_failure(name, std::move(entry).error(), now);
    }
    self->land(name);
    co_return Result<>{};
  }

  void note_failure(const std::string& name, Error error, Time now) {
    spdlog::warn("collateral of {} cannot be fetched: {}", name, error.text());
    const std::scoped_lock lock(mutex);
    ++counted.failures;
    if (const auto known = entries.find(name); known != entries.end()) {
      known->second.next_try = now.plus(kRefreshRetry);
      known->second.last_error = error.text();
    }
    if (failures.size() >= kMaxPlatforms) failures.clear();
    failures.insert_or_assign(name, Failed{.at = now, .error = std::move(error)});
  }

  void land(const std::string& name) {
    const auto flight = flights.find(name);
    if (flight == flights.end()) return;
    const auto waiting = std::move(flight->second->waiting);
    flights.erase(flight);
    for (const auto& event : waiting) event->set();
  }

  // Starts a fetch unless one is under way.
  Result<void> start(const std::shared_ptr<State>& self, const CollateralKey& key, Time now) {
    const std::string name = text(key);
    if (stopped) return fail(ErrorCode::cancelled, "the collateral cache is stopping");
    if (!options.fetch) return fail(ErrorCode::not_found, name, "no collateral is kept, and fetching is off");
    if (flights.contains(name)) return {};
    if (flights.size() >= kMaxFlights) return fail(ErrorCode::unavailable, "too many collateral fetches under way");
    flights.emplace(name, std::make_shared<Flight>());
    if (!tasks) tasks = std::make_unique<net::TaskGroup>(loop);
    tasks->spawn(fly(self, key, now), "collateral of " + name);
    return {};
  }

  // What is in memory: collateral that is valid, with whether it should be fetched anew, or a failure of a moment ago.
  struct Known {
    Result<CollateralPtr> answer;
    bool refresh = false;
  };
  std::optional<Known> known(const std::string& name, Time now) {
    const std::scoped_lock lock(mutex);
    if (const auto e = entries.find(name); e != entries.end() && e->second.expires >= now) {
      ++counted.hits;
      order.splice(order.begin(), order, std::ranges::find(order, name));
      const bool due = refresh_due(e->second, now);
      if (due) e->second.next_try = now.plus(kRefreshRetry);
      return Known{e->second.collateral, due};
    }
    if (const auto f = failures.find(name); f != failures.end() && now.seconds - f->second.at.seconds < kFailureMemory)
      return Known{fail(f->second.error)};
    return std::nullopt;
  }

  // On the cache's own loop.
  static Task<> refresh(std::shared_ptr<State> self, CollateralKey key, Time now) {
    (void)self->start(self, key, now);
    co_return Result<>{};
  }

  static Task<CollateralPtr> get(std::shared_ptr<State> self, CollateralKey key, Time now) {
    const std::string name = text(key);
    std::optional<Known> got = self->known(name, now);
    if (!got && !self->options.folder.empty())
      if (Result<Entry> kept = self->load(key, now)) {
        self->keep(name, *std::move(kept));
        got = self->known(name, now);
      }
    if (got) {
      if (got->refresh) (void)self->start(self, key, now);  // served while it is refreshed
      co_return std::move(got->answer);
    }
    CAIRN_CO_CHECK(self->start(self, key, now));
    if (const auto flight = self->flights.find(name); flight != self->flights.end()) {
      const auto landed = std::make_shared<net::Event>();
      flight->second->waiting.push_back(landed);
      CAIRN_CO_CHECK(co_await landed->wait());
    }
    got = self->known(name, now);
    if (got) co_return std::move(got->answer);
    co_return fail(ErrorCode::cancelled, "the fetch was stopped");
  }

  std::vector<Status> list(Time now) {
    const std::scoped_lock lock(mutex);
    std::vector<Status> out;
    for (const auto& [name, e] : entries) {
      const auto state = !e.last_error.empty() ? Status::State::refresh_failed
                         : refresh_due(e, now) ? Status::State::refresh_due
                                               : Status::State::ready;
      out.push_back({.state = state,
                     .key = e.key,
                     .fetched = e.fetched,
                     .expires = e.expires,
                     .tcb_eval_num = e.eval_num,
                     .last_error = e.last_error});
    }
    return out;
  }

  static Task<> end(std::shared_ptr<State> self) {
    self->stopped = true;
    if (self->tasks) co_await self->tasks->stop();
    self->tasks.reset();
    while (!self->flights.empty()) self->land(std::string(self->flights.begin()->first));
    const std::scoped_lock lock(self->mutex);
    self->options.fetch = nullptr;  // with what it owns: its connections belong to this loop
    co_return Result<>{};
  }
};

CollateralCache::CollateralCache(net::Executor loop, CollateralCacheOptions options)
    : state_(std::make_shared<State>(std::move(loop), std::move(options))) {}
CollateralCache::~CollateralCache() = default;

Task<CollateralPtr> CollateralCache::get(CollateralKey key, Time now) {
  return net::on_loop<CollateralPtr>(state_->loop, State::get(state_, key, now));
}
std::optional<Result<CollateralPtr>> CollateralCache::find(const CollateralKey& key, Time now) {
  auto known = state_->known(text(key), now);
  if (!known) return std::nullopt;
  if (known->refresh) net::spawn(state_->loop, State::refresh(state_, key, now), "refresh of collateral");
  return std::move(known->answer);
}
std::vector<CollateralCache::Status> CollateralCache::status(Time now) const { return state_->list(now); }
CollateralCounts CollateralCache::counts(Time now) const {
  const std::scoped_lock lock(state_->mutex);
  CollateralCounts out = state_->counted;
  out.held = state_->entries.size();
  for (const auto& [name, e] : state_->entries) out.oldest = std::max(out.oldest, now.seconds - e.fetched.seconds);
  return out;
}
Task<> CollateralCache::stop() { return net::on_loop<void>(state_->loop, State::end(state_)); }

}  // namespace cairn::device
