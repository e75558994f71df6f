#include "device/collateral/gpu_cache.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "base/log.h"

namespace cairn::device {
namespace {

using net::Task;
using nvidia::Wanted;

// Of a document held: when it was fetched, from when it is fetched anew, until when it may be used.
struct Term {
  Time fetched{}, due{}, until{};
  std::optional<Wanted::Ocsp> about;  // of an answer
};
struct Missed {
  Time at{};
  Error error;
};

}  // namespace

struct GpuCache::State {
  net::Executor loop;
  std::int64_t rim_seconds;
  nvidia::TrustRoots roots;
  // On the loop.
  std::unique_ptr<GpuClient> client;
  std::unique_ptr<net::TaskGroup> tasks;
  std::map<std::string, std::vector<std::shared_ptr<net::Event>>> flights;
  bool stopped = false;
  // Written on the loop, read by any thread.
  mutable std::mutex mutex;
  std::shared_ptr<const nvidia::Collateral> held = std::make_shared<nvidia::Collateral>();
  std::map<std::string, Term> rims, answers;
  std::map<std::string, Missed> missed;
  CollateralCounts rim_counts, answer_counts;
  std::string last_error;

  State(net::Executor l, std::int64_t seconds, nvidia::TrustRoots trusted, std::unique_ptr<GpuClient> c)
      : loop(std::move(l)), rim_seconds(seconds), roots(std::move(trusted)), client(std::move(c)) {}

  // ---------------------------------------------------------------------------------- with the mutex held

  [[nodiscard]] bool lacks(const std::map<std::string, Term>& terms, const std::string& id, Time now) const {
    const auto term = terms.find(id);
    if (term != terms.end() && now < term->second.until) return false;
    const auto failed = missed.find(id);
    return failed == missed.end() || failed->second.error.code != ErrorCode::not_found ||
           failed->second.at.plus(kGpuAbsent) <= now;
  }
  // The document that ends first makes room.
  template <class Documents>
  static void make_room(std::map<std::string, Term>& terms, Documents& documents, std::size_t most) {
    if (terms.size() <= most) return;
    const auto first = std::ranges::min_element(terms, {}, [](const auto& t) { return t.second.until; });
    documents.erase(first->first);
    terms.erase(first);
  }

  // ---------------------------------------------------------------------------------------------- on the loop

  void keep_rim(const std::string& id, GpuClient::Rim rim, std::int64_t seconds) {
    const std::scoped_lock lock(mutex);
    auto next = std::make_shared<nvidia::Collateral>(*held);
    next->rims.insert_or_assign(id, std::move(rim.document));
    rims.insert_or_assign(id, Term{rim.fetched, rim.fetched.plus(seconds / 2), rim.fetched.plus(seconds), {}});
    make_room(rims, next->rims, kMaxGpuRims);
    missed.erase(id);
    last_error.clear();
    held = std::move(next);
  }

  [[nodiscard]] bool holds(const std::map<std::string, Term>& terms, const std::string& id, Time now) const {
    const std::scoped_lock lock(mutex);
    const auto term = terms.find(id);
    return term != terms.end() && now < term->second.until;
  }

  void take_answer(const std::string& id, const Wanted::Ocsp& about, nvidia::OcspDocument document, Time now) {
    const auto read = nvidia::read_ocsp(document.response, about.certificate, about.issuer);
    const bool good =
        read && nvidia::check_fresh(*read, now) && (document.nonce.empty() || equal(read->nonce, document.nonce));
    if (!good && holds(answers, id, now))
      return note(id, answer_counts, Error{ErrorCode::malformed, "", "the answer is of no use"}, now);
    // Used again it is no answer to its request any more; of one that is of no use the verdict says why.
    if (good) document.nonce.clear();
    const Time until = good ? read->expires() : now.plus(kFailureMemory);
    const std::scoped_lock lock(mutex);
    auto next = std::make_shared<nvidia::Collateral>(*held);
    next->ocsp.insert_or_assign(id, std::move(document));
    answers.insert_or_assign(id, Term{now, std::min(now.plus(kGpuAnswerRefresh), until), until, about});
    make_room(answers, next->ocsp, kMaxGpuAnswers);
    missed.erase(id);
    last_error.clear();
    held = std::move(next);
  }

  void note(const std::string& id, CollateralCounts& counts, const Error& error, Time now) {
    spdlog::warn("GPU collateral {} cannot be fetched: {}", id.substr(0, 64), error.text());
    const std::scoped_lock lock(mutex);
    ++counts.failures;
    if (missed.size() >= kMaxGpuAnswers) missed.clear();
    missed.insert_or_assign(id, Missed{now, error});
    last_error = error.text();
  }

  void count_fetch(CollateralCounts& counts) {
    const std::scoped_lock lock(mutex);
    ++counts.fetches;
  }

  void land(const std::string& id) {
    const auto flight = flights.find(id);
    if (flight == flights.end()) return;
    const auto waiting = std::move(flight->second);
    flights.erase(flight);
    for (const auto& event : waiting) event->set();
  }

  static Task<> fly_rim(std::shared_ptr<State> self, std::string id, Time now, bool fresh) {
    self->count_fetch(self->rim_counts);
    Result<GpuClient::Rim> rim = co_await self->client->rim(id, self->roots, now, fresh);
    Wanted signers;
    if (rim) {
      const auto verified = nvidia::verify_rim(rim->document, self->roots.rim);
      if (verified) nvidia::add_wanted(verified->chain, nvidia::ChainKind::rim, signers);
      if (!verified) rim->fetched = now;
      // One that does not verify is held for a moment, so that the verdict says what is wrong with it, but never in
      // the place of another.
      if (verified || !self->holds(self->rims, id, now))
        self->keep_rim(id, *std::move(rim), verified ? self->rim_seconds : kFailureMemory);
      else
        self->note(id, self->rim_counts, nvidia::to_error(verified.error()), now);
    } else {
      self->note(id, self->rim_counts, rim.error(), now);
    }
    signers = self->missing(signers, now);
    if (!signers.empty()) (void)co_await fetch(self, std::move(signers), now, fresh);
    self->land(id);
    co_return Result<>{};
  }

  static Task<> fly_answer(std::shared_ptr<State> self, std::string id, Wanted::Ocsp about, Time now, bool fresh) {
    self->count_fetch(self->answer_counts);
    Result<nvidia::OcspDocument> got = co_await self->client->answer(id, about, now, fresh);
    if (got)
      self->take_answer(id, about, *std::move(got), now);
    else
      self->note(id, self->answer_counts, got.error(), now);
    self->land(id);
    co_return Result<>{};
  }

  // A seat on the flight of a document, which `start` is asked for unless one is under way.
  Result<std::shared_ptr<net::Event>> board(const std::string& id, const std::function<Task<>()>& start) {
    if (stopped) return fail(ErrorCode::cancelled, "the GPU collateral cache is stopping");
    const bool flying = flights.contains(id);
    if (!flying && flights.size() >= kMaxGpuFlights)
      return fail(ErrorCode::unavailable, "too many fetches of GPU collateral under way");
    auto landed = std::make_shared<net::Event>();
    flights[id].push_back(landed);
    if (flying) return landed;
    if (!tasks) tasks = std::make_unique<net::TaskGroup>(loop);
    tasks->spawn(start(), "GPU collateral");
    return landed;
  }

  static Task<> fetch(std::shared_ptr<State> self, Wanted wanted, Time now, bool fresh) {
    std::vector<std::shared_ptr<net::Event>> landed;
    for (const std::string& id : wanted.rims) {
      CAIRN_CO_TRY(auto seat, self->board(id, [&] { return fly_rim(self, id, now, fresh); }));
      landed.push_back(std::move(seat));
    }
    for (const auto& [id, about] : wanted.ocsp) {
      const auto start = [&self, &id, &about, now, fresh] { return fly_answer(self, id, about, now, fresh); };
      CAIRN_CO_TRY(auto seat, self->board(id, start));
      landed.push_back(std::move(seat));
    }
    for (const auto& event : landed) CAIRN_CO_CHECK(co_await event->wait());
    co_return Result<>{};
  }

  static Task<> end(std::shared_ptr<State> self) {
    self->stopped = true;
    if (self->tasks) co_await self->tasks->stop();
    self->tasks.reset();
    while (!self->flights.empty()) self->land(std::string(self->flights.begin()->first));
    self->client.reset();  // its connections belong to this loop
    co_return Result<>{};
  }

  // ---------------------------------------------------------------------------------------------- any thread

  [[nodiscard]] Wanted missing(const Wanted& wanted, Time now) const {
    const std::scoped_lock lock(mutex);
    Wanted out;
    for (const auto& id : wanted.rims)
      if (lacks(rims, id, now)) out.rims.insert(id);
    for (const auto& [id, about] : wanted.ocsp)
      if (lacks(answers, id, now)) out.ocsp.emplace(id, about);
    return out;
  }

  // Those of `ids` that are due; not asked for again for a while.
  Wanted take_due(const std::set<std::string>& ids, Time now) {
    const std::scoped_lock lock(mutex);
    Wanted out;
    for (const std::string& id : ids) {
      const bool is_rim = rims.contains(id);
      auto& terms = is_rim ? rims : answers;
      const auto term = terms.find(id);
      if (term == terms.end()) continue;
      ++(is_rim ? rim_counts : answer_counts).hits;
      if (now < term->second.due) continue;
      term->second.due = now.plus(kGpuRefreshRetry);
      if (is_rim)
        out.rims.insert(id);
      else
        out.ocsp.emplace(id, *term->second.about);
    }
    return out;
  }

  [[nodiscard]] CollateralCounts counts(const CollateralCounts& counted, const std::map<std::string, Term>& terms,
                                        Time now) const {
    const std::scoped_lock lock(mutex);
    CollateralCounts out = counted;
    out.held = terms.size();
    for (const auto& [id, term] : terms) out.oldest = std::max(out.oldest, now.seconds - term.fetched.seconds);
    return out;
  }
};

Result<std::shared_ptr<GpuCache>> GpuCache::open(net::Executor loop, GpuSource source, nvidia::TrustRoots roots) {
  const std::int64_t seconds = source.rim_seconds;
  CAIRN_TRY(auto client, GpuClient::make(std::move(source)));
  return std::shared_ptr<GpuCache>(
      new GpuCache(std::make_shared<State>(std::move(loop), seconds, std::move(roots), std::move(client))));
}
GpuCache::~GpuCache() = default;

std::shared_ptr<const nvidia::Collateral> GpuCache::held() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->held;
}
Wanted GpuCache::missing(const Wanted& wanted, Time now) const { return state_->missing(wanted, now); }

Wanted GpuCache::aged(const std::set<std::string>& ids, Time now) const {
  const std::scoped_lock lock(state_->mutex);
  Wanted out;
  for (const std::string& id : ids) {
    const auto term = state_->rims.find(id);
    const auto failed = state_->missed.find(id);
    if (term == state_->rims.end() || now < term->second.fetched.plus(kRimRecheck)) continue;
    if (failed == state_->missed.end() || failed->second.at.plus(kRimRecheck) <= now) out.rims.insert(id);
  }
  return out;
}

std::optional<Error> GpuCache::failure(const Wanted& wanted, Time now) const {
  const std::scoped_lock lock(state_->mutex);
  const auto of = [&](const std::string& id) -> std::optional<Error> {
    const auto failed = state_->missed.find(id);
    if (failed == state_->missed.end() || failed->second.at.plus(kFailureMemory) <= now) return std::nullopt;
    return failed->second.error;
  };
  for (const std::string& id : wanted.rims)
    if (auto error = of(id)) return error;
  for (const auto& [id, about] : wanted.ocsp)
    if (auto error = of(id)) return error;
  return std::nullopt;
}

void GpuCache::used(const std::set<std::string>& ids, Time now) {
  Wanted due = state_->take_due(ids, now);
  if (!due.empty()) net::spawn(state_->loop, State::fetch(state_, std::move(due), now, true), "GPU collateral");
}

Task<> GpuCache::fetch(Wanted wanted, Time now, bool fresh) {
  return net::on_loop<void>(state_->loop, State::fetch(state_, std::move(wanted), now, fresh));
}
CollateralCounts GpuCache::rims(Time now) const { return state_->counts(state_->rim_counts, state_->rims, now); }
CollateralCounts GpuCache::answers(Time now) const {
  return state_->counts(state_->answer_counts, state_->answers, now);
}
std::string GpuCache::last_error() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->last_error;
}
Task<> GpuCache::stop() { return net::on_loop<void>(state_->loop, State::end(state_)); }

}  // namespace cairn::device
