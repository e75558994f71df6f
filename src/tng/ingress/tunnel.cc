#include "tng/ingress/tunnel.h"

#include "base/log.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

constexpr std::size_t peer_limit = 1024;

// Holds a place in a Semaphore.
class Lease {
 public:
  explicit Lease(net::Semaphore& semaphore) : semaphore_(&semaphore) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { semaphore_->release(); }

 private:
  net::Semaphore* semaphore_;
};

std::int64_t ms(std::chrono::seconds s) { return std::chrono::milliseconds(s).count(); }

}  // namespace

std::string Destination::key() const { return to.text() + "\n" + authority + "\n" + path; }

// One attested connection. Tasks hold it by shared_ptr; streams outlive it harmlessly.
struct TunnelPool::Session {
  std::shared_ptr<net::Http2Session> outer;   // encap only
  const net::Http2Stream* carrier = nullptr;  // the POST's stream, owned by the TLS stream inside `inner`
  std::shared_ptr<net::Http2Session> inner;
  std::int64_t expires_ms = 0, hard_end_ms = 0;
  bool ended = false;
  std::optional<Error> reason;  // why it was given up

  // §3.5: a 2.2.4 peer never returns outer credit. One that did is no such peer.
  [[nodiscard]] bool starved(std::size_t below) const {
    return carrier != nullptr && !carrier->credit_ever_returned() &&
           carrier->send_credit() < static_cast<std::int64_t>(below);
  }
  [[nodiscard]] bool usable() const {
    return !ended && inner->can_open() && monotonic_ms() < expires_ms && !starved(limits::legacy_credit_client);
  }

  // Stops new streams when the verdict expires, cuts the rest at the hard end; fails a transfer that a peer starves.
  static net::Task<> watch(std::shared_ptr<Session> self) {
    bool announced = false;
    std::int64_t starved_since = 0;
    for (;;) {
      CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(1000)));
      const std::int64_t t = monotonic_ms();
      if (t >= self->expires_ms && !announced) {
        announced = true;
        self->inner->shutdown();
      }
      if (t >= self->hard_end_ms) co_return fail(ErrorCode::timed_out, "the session reached its greatest age");
      if (!self->starved(1))
        starved_since = 0;
      else if (starved_since == 0)
        starved_since = t;
      else if (t - starved_since >= ms(limits::credit_stall))
        co_return fail(
            ErrorCode::timed_out, "ratls_legacy_credit",
            "the peer returns no HTTP/2 credit (a limit of TNG up to 2.2.4: 64 KiB in each direction of one session)");
    }
  }
  static net::Task<> run_outer(std::shared_ptr<Session> self) {
    auto end = co_await self->outer->run();
    self->ended = true;
    if (self->inner) self->inner->close();
    if (!end) spdlog::debug("outer connection: {}", end.error().text());
    co_return Result<>{};
  }
  static net::Task<> run_inner(std::shared_ptr<Session> self) {
    auto end = co_await net::race(self->inner->run(), watch(self));
    self->ended = true;
    if (!end) self->reason = end.error();
    self->inner->close();
    if (self->outer) self->outer->close();
    if (!end) spdlog::debug("session: {}", end.error().text());
    co_return Result<>{};
  }
};

struct TunnelPool::Peer {
  net::Semaphore gate{1};  // one handshake at a time
  SessionPtr session;
  std::optional<Error> failure;
  std::int64_t failure_until_ms = 0;
};

TunnelPool::TunnelPool(net::Executor loop, TunnelOptions options, std::shared_ptr<Security> security,
                       BlockStatusPtr status)
    : loop_(std::move(loop)),
      options_(options),
      security_(std::move(security)),
      status_(std::move(status)),
      tasks_(loop_) {}
TunnelPool::~TunnelPool() = default;

net::Task<> TunnelPool::stop() {
  for (auto& [key, peer] : peers_)
    if (peer->session) peer->session->inner->close();
  co_await tasks_.stop();
  peers_.clear();
  co_return Result<>{};
}

void TunnelPool::record(const Secured& secured, const Destination& destination, const char* protocol) {
  const net::TlsInfo& info = secured.stream->info();
  status_->session({.protocol = protocol,
                    .tls_version = info.version,
                    .group = info.group,
                    .cipher = info.cipher,
                    .alpn = info.alpn,
                    .peer = destination.to.text(),
                    .certificate_compressed = info.certificate_compressed});
  spdlog::info("{}: {} session with {} ({}, {}, peer {})", status_->name(), protocol, destination.to.text(),
               info.version, info.group,
               secured.peer ? secured.peer->tee + (secured.peer->simulated ? ", simulated" : "") : "not verified");
}

// The POST whose bodies carry TLS records both ways.
net::Task<net::StreamPtr> TunnelPool::wrap(Session& session, const Destination& destination) {
  net::RequestHead head{.method = "POST",
                        .scheme = "http",
                        .authority = destination.authority,
                        .target = destination.path,
                        .version = net::HttpVersion::http2,
                        .headers = {{"tng", "{}"}}};
  CAIRN_CO_TRY(auto stream, co_await session.outer->open(std::move(head)));
  CAIRN_CO_TRY(const auto response, co_await stream->response());
  if (response.status != 200)
    co_return fail(ErrorCode::unavailable, "the server answers the tunnel's request with HTTP " +
                                               std::to_string(response.status) + ": no gateway listens there");
  session.carrier = stream.get();
  co_return net::StreamPtr(std::move(stream));
}

net::Task<TunnelPool::SessionPtr> TunnelPool::establish(const Destination& destination) {
  CAIRN_CO_TRY(net::StreamPtr stream,
               co_await net::connect(destination.to, {.timeout = limits::connect, .mark = options_.mark}));
  auto session = std::make_shared<Session>();
  // Whatever goes wrong from here ends the outer connection.
  struct Guard {
    SessionPtr session;
    bool keep = false;
    ~Guard() {
      if (!keep && session->outer) session->outer->close();
    }
  } guard{session};
  if (options_.encap) {
    session->outer = net::Http2Session::client(std::move(stream));
    tasks_.spawn(Session::run_outer(session));
    CAIRN_CO_TRY(stream, co_await net::with_timeout(wrap(*session, destination), limits::connect));
  }
  CAIRN_CO_TRY(Secured secured, co_await security_->handshake(std::move(stream)));
  if (secured.stream->info().alpn != alpn_h2)
    co_return fail(ErrorCode::unsupported, "the peer does not offer HTTP/2 inside TLS");
  record(secured, destination, options_.encap ? "ra-tls-h2-encap" : "ra-tls-h2");
  const std::int64_t t = monotonic_ms();
  session->hard_end_ms = t + ms(limits::session_age);
  session->expires_ms = t + ms(options_.max_session_age);
  if (secured.peer)
    session->expires_ms = std::min(session->expires_ms, t + 1000 * (secured.peer->expires.seconds - now().seconds));
  session->inner = net::Http2Session::client(std::move(secured.stream));
  tasks_.spawn(Session::run_inner(session));
  guard.keep = true;
  co_return session;
}

net::Task<TunnelPool::SessionPtr> TunnelPool::session(Peer& peer, const Destination& destination) {
  if (peer.session && peer.session->usable()) co_return peer.session;
  CAIRN_CO_CHECK(co_await peer.gate.acquire());
  const Lease lease(peer.gate);
  if (peer.session && peer.session->usable()) co_return peer.session;
  if (peer.failure && monotonic_ms() < peer.failure_until_ms) co_return fail(*peer.failure);
  if (peer.session) peer.session->inner->shutdown();  // its streams finish
  peer.session.reset();
  peer.failure.reset();
  auto made = co_await establish(destination);
  if (made) {
    peer.session = *made;
  } else if (made.error().code != ErrorCode::cancelled) {
    // Only refusals are worth remembering; a server that is just starting should be found at once.
    if (made.error().code == ErrorCode::evidence_rejected) {
      peer.failure = made.error();
      peer.failure_until_ms = monotonic_ms() + ms(limits::negative_cache);
    }
    spdlog::warn("{}: no session with {}: {}", status_->name(), destination.to.text(),
                 printable(made.error().text(), 1024));
  }
  co_return made;
}

void TunnelPool::make_room() {
  if (peers_.size() < peer_limit) return;
  std::erase_if(peers_, [](const auto& item) {
    const Peer& peer = *item.second;
    if (peer.gate.available() == 0) return false;
    if (peer.session && !peer.session->ended && peer.session->inner->streams() > 0) return false;
    if (peer.session) peer.session->inner->shutdown();
    return true;
  });
}

net::Task<net::StreamPtr> TunnelPool::direct(const Destination& destination) {
  CAIRN_CO_TRY(net::StreamPtr stream,
               co_await net::connect(destination.to, {.timeout = limits::connect, .mark = options_.mark}));
  CAIRN_CO_TRY(Secured secured, co_await security_->handshake(std::move(stream)));
  record(secured, destination, "ra-tls");
  co_return net::StreamPtr(std::move(secured.stream));
}

net::Task<net::StreamPtr> TunnelPool::open(Destination destination) {
  if (!options_.multiplex) co_return co_await direct(destination);
  make_room();
  auto& slot = peers_[destination.key()];
  if (!slot) slot = std::make_shared<Peer>();
  const std::shared_ptr<Peer> peer = slot;
  for (int attempt = 0;; ++attempt) {
    CAIRN_CO_TRY(const SessionPtr live, co_await session(*peer, destination));
    auto stream =
        co_await live->inner->open({.method = "CONNECT", .authority = server_name, .version = net::HttpVersion::http2});
    Result<net::ResponseHead> response = stream ? co_await net::with_timeout((*stream)->response(), limits::connect)
                                                : Result<net::ResponseHead>(fail(stream.error()));
    if (response && response->status == 200) co_return net::StreamPtr(*std::move(stream));
    if (response)
      co_return fail(ErrorCode::unavailable, "the service behind the peer gateway cannot be reached (HTTP " +
                                                 std::to_string(response->status) + " from the gateway)");
    // The session ended between two requests: one more try with a new one.
    if (attempt > 0 || response.error().code == ErrorCode::timed_out || live->usable())
      co_return fail(live->reason.value_or(response.error()));
    if (peer->session == live) peer->session.reset();
  }
}

}  // namespace cairn::tng
