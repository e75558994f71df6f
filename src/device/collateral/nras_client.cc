#include "device/collateral/nras_client.h"

#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "net/retry.h"

namespace cairn::device {
namespace {

using net::Task;
using nvidia::NrasRequest;
using nvidia::Remote;

// Nothing but the connection vouches for the key set.
bool vouched_for(const net::Url& url) {
  return url.secure() || url.host == "localhost" || url.host == "127.0.0.1" || url.host == "::1";
}

Result<Json> json_of(const net::Response& r, const std::string& url) {
  if (r.status == 200) return parse_json(r.body, {.bytes = kMaxNrasBody, .depth = 16});
  const bool again = r.status == 408 || r.status == 429 || r.status >= 500;
  return fail(again                                ? ErrorCode::unavailable
              : r.status == 401 || r.status == 403 ? ErrorCode::permission_denied
                                                   : ErrorCode::malformed,
              url, "status " + std::to_string(r.status));
}

Digest<32> key_of(const std::vector<NrasRequest>& requests) {
  crypto::Hasher hasher(crypto::Hash::sha256);
  for (const auto& request : requests) hasher.update(as_bytes(request.path)).update(as_bytes(request.body));
  return Digest<32>::from(hasher.finish()).value();
}

}  // namespace

// ------------------------------------------------------------------------------------------------------ client

NrasClient::NrasClient(NrasSource source, net::ClientOptions options)
    : source_(std::move(source)), http_(std::move(options)) {}

Result<std::unique_ptr<NrasClient>> NrasClient::make(NrasSource source) {
  CAIRN_TRY(const net::Url url, net::Url::parse(source.url));
  while (source.url.ends_with('/')) source.url.pop_back();
  const std::string host = url.scheme + "://" + url.authority();
  if (source.issuer.empty()) source.issuer = host;
  if (source.jwks_url.empty()) source.jwks_url = host + "/.well-known/jwks.json";
  CAIRN_TRY(const net::Url keys, net::Url::parse(source.jwks_url));
  for (const net::Url* one : {&url, &keys})
    if (!vouched_for(*one))
      return fail(ErrorCode::invalid_argument, one->text(),
                  "must be https: nothing but the connection vouches for the service's keys");
  net::ClientOptions options;
  options.extra_roots_pem = source.extra_roots_pem;
  options.connect_timeout = net::Milliseconds(5000);
  options.timeout = net::Milliseconds(30'000);
  options.max_body = kMaxNrasBody;
  return std::unique_ptr<NrasClient>(new NrasClient(std::move(source), std::move(options)));
}

Task<Json> NrasClient::send(net::ClientRequest request) {
  const net::RetryPolicy policy{.attempts = source_.attempts,
                                .first = source_.first_retry,
                                .factor = 2,
                                .most = net::Milliseconds(5000),
                                .jitter = 1};
  co_return co_await net::retry<Json>(policy, [this, &request]() -> Task<Json> {
    net::ClientRequest once = request;
    CAIRN_CO_TRY(const net::Response r, co_await http_.send(std::move(once)));
    co_return json_of(r, request.url);
  });
}

Task<> NrasClient::fetch_keys(Time now) {
  net::ClientRequest request;
  request.url = source_.jwks_url;
  request.headers.set("Accept", "application/json");
  CAIRN_CO_TRY(const Json set, co_await send(std::move(request)));
  CAIRN_CO_TRY(keys_, crypto::parse_jwk_set(set));
  keys_at_ = now;
  co_return Result<>{};
}

Task<nvidia::NrasAnswer> NrasClient::verified(Json answer, Time now) {
  const auto older = [&](std::int64_t seconds) { return !keys_at_ || keys_at_->plus(seconds) <= now; };
  if (older(kNrasKeySeconds)) CAIRN_CO_CHECK(co_await fetch_keys(now));
  auto read = nvidia::verify_nras(answer, keys_, source_.issuer, now);
  if (read || read.error().where != "signer" || !older(kNrasKeyRetry)) co_return read;
  CAIRN_CO_CHECK(co_await fetch_keys(now));
  co_return nvidia::verify_nras(answer, keys_, source_.issuer, now);
}

Task<Remote> NrasClient::attest(std::vector<NrasRequest> requests, Time now) {
  Remote out;
  for (const NrasRequest& one : requests) {
    net::ClientRequest request;
    request.method = "POST";
    request.url = source_.url + std::string(one.path);
    request.headers.set("Content-Type", "application/json");
    request.headers.set("Accept", "application/json");
    if (!source_.authorization.empty()) request.headers.set("Authorization", source_.authorization);
    request.body = one.body;
    CAIRN_CO_TRY(Json answer, co_await send(std::move(request)));
    CAIRN_CO_TRY(const nvidia::NrasAnswer tokens, co_await verified(std::move(answer), now));
    CAIRN_CO_CHECK(nvidia::take_nras(one, tokens, out));
  }
  co_return out;
}

// ------------------------------------------------------------------------------------------------------- cache

struct NrasCache::State {
  net::Executor loop;
  std::string url;
  // On the loop.
  std::unique_ptr<NrasClient> client;
  std::unique_ptr<net::TaskGroup> tasks;
  std::map<Digest<32>, std::vector<std::shared_ptr<net::Event>>> flights;
  bool stopped = false;
  // Written on the loop, read by any thread.
  mutable std::mutex mutex;
  struct Known {
    Time at{};
    Result<Remote> answer;
  };
  std::map<Digest<32>, Known> known;
  CollateralCounts counts;
  std::string last_error;

  static bool current(const Known& k, Time now) {
    return now < k.at.plus(k.answer ? kNrasAnswerSeconds : kFailureMemory);
  }

  void keep(const Digest<32>& key, Result<Remote> answer, Time now) {
    if (!answer) spdlog::warn("the remote GPU verifier gave no verdict: {}", answer.error().text());
    const std::scoped_lock lock(mutex);
    std::erase_if(known, [&](const auto& one) { return !current(one.second, now); });
    if (known.size() >= kMaxNrasAnswers) known.clear();
    counts.failures += answer ? 0 : 1;
    last_error = answer ? "" : answer.error().text();
    known.insert_or_assign(key, Known{now, std::move(answer)});
  }

  void land(const Digest<32>& key) {
    const auto flight = flights.find(key);
    if (flight == flights.end()) return;
    const auto waiting = std::move(flight->second);
    flights.erase(flight);
    for (const auto& event : waiting) event->set();
  }

  static Task<> fly(std::shared_ptr<State> self, Digest<32> key, std::vector<NrasRequest> requests, Time now) {
    Result<Remote> answer = co_await self->client->attest(std::move(requests), now);
    self->keep(key, std::move(answer), now);
    self->land(key);
    co_return Result<>{};
  }

  static Task<> ask(std::shared_ptr<State> self, std::vector<NrasRequest> requests, Time now) {
    if (self->stopped) co_return fail(ErrorCode::cancelled, "the remote GPU verifier's client is stopping");
    const Digest<32> key = key_of(requests);
    const bool flying = self->flights.contains(key);
    if (!flying && self->flights.size() >= kMaxFlights)
      co_return fail(ErrorCode::unavailable, "too many requests to the remote GPU verifier under way");
    const auto landed = std::make_shared<net::Event>();
    self->flights[key].push_back(landed);
    if (!flying) {
      {
        const std::scoped_lock lock(self->mutex);
        ++self->counts.fetches;
      }
      if (!self->tasks) self->tasks = std::make_unique<net::TaskGroup>(self->loop);
      self->tasks->spawn(fly(self, key, std::move(requests), now), "remote GPU verdict");
    }
    co_return co_await landed->wait();
  }

  static Task<> end(std::shared_ptr<State> self) {
    self->stopped = true;
    if (self->tasks) co_await self->tasks->stop();
    self->tasks.reset();
    while (!self->flights.empty()) self->land(Digest<32>(self->flights.begin()->first));
    self->client.reset();
    co_return Result<>{};
  }
};

Result<std::shared_ptr<NrasCache>> NrasCache::open(net::Executor loop, NrasSource source) {
  auto state = std::make_shared<State>();
  state->loop = std::move(loop);
  state->url = source.url;
  CAIRN_TRY(state->client, NrasClient::make(std::move(source)));
  return std::shared_ptr<NrasCache>(new NrasCache(std::move(state)));
}
NrasCache::~NrasCache() = default;

std::optional<Result<Remote>> NrasCache::find(const std::vector<NrasRequest>& requests, Time now) {
  const Digest<32> key = key_of(requests);
  const std::scoped_lock lock(state_->mutex);
  const auto found = state_->known.find(key);
  if (found == state_->known.end() || !State::current(found->second, now)) return std::nullopt;
  if (found->second.answer) ++state_->counts.hits;
  return found->second.answer;
}

Task<> NrasCache::ask(std::vector<NrasRequest> requests, Time now) {
  return net::on_loop<void>(state_->loop, State::ask(state_, std::move(requests), now));
}
CollateralCounts NrasCache::counts(Time now) const {
  const std::scoped_lock lock(state_->mutex);
  CollateralCounts out = state_->counts;
  out.held = state_->known.size();
  for (const auto& [key, one] : state_->known) out.oldest = std::max(out.oldest, now.seconds - one.at.seconds);
  return out;
}
std::string NrasCache::last_error() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->last_error;
}
const std::string& NrasCache::url() const { return state_->url; }
Task<> NrasCache::stop() { return net::on_loop<void>(state_->loop, State::end(state_)); }

}  // namespace cairn::device
