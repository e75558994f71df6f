#include "tng/service/block.h"

#include "tng/egress/egress.h"
#include "tng/ingress/http_proxy.h"
#include "tng/ingress/ingress.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

net::Endpoint to_net(const Endpoint& e) { return net::Endpoint::tcp(e.host, e.port); }

Result<void> bind_one(Acceptor& acceptor, const Endpoint& at) {
  CAIRN_CHECK(acceptor.listen(to_net(at)));
  return {};
}

// The redirect target in both families on one port: redirected connections arrive at loopback addresses (outgoing) or
// at an address of the interface they came in on.
Result<std::uint16_t> bind_redirect_target(Acceptor& acceptor, std::optional<std::uint16_t> port, const char* v4,
                                           const char* v6) {
  CAIRN_TRY(const auto bound, acceptor.listen(net::Endpoint::tcp(v4, port.value_or(0))));
  net::ListenOptions options;
  options.v6_only = true;
  if (ipv6_in_use()) CAIRN_CHECK(acceptor.listen(net::Endpoint::tcp(v6, bound.port), options));
  return bound.port;
}

net::Task<> serve_captured(IngressShard& shard, net::StreamPtr stream, std::uint16_t own_port) {
  CAIRN_CO_TRY(auto to, original_destination(*stream));
  if (to.port == own_port && (to.host == "::1" || to.host.starts_with("127.")))
    co_return fail(ErrorCode::conflict, "recursion is detected: the connection was made to the gateway itself");
  co_return co_await shard.carry(std::move(stream), Route::tunnel, std::move(to));
}

class IngressBlock : public Block {
 public:
  IngressBlock(net::Runtime& runtime, const Ingress& config, std::shared_ptr<Security> security, BlockStatusPtr status)
      : Block(runtime, security, status), config_(config) {
    for (std::size_t i = 0; i < runtime.loops(); ++i) {
      shards_.push_back(std::make_unique<IngressShard>(runtime.loop(i), config, security, status));
      if (std::holds_alternative<HttpProxyIngress>(config.mode))
        proxies_.push_back(std::make_unique<HttpProxy>(*shards_.back()));
    }
  }

 protected:
  Result<void> bind(Acceptor& acceptor) override {
    if (const auto* m = std::get_if<MappingIngress>(&config_.mode)) return bind_one(acceptor, m->in);
    if (const auto* p = std::get_if<HttpProxyIngress>(&config_.mode)) return bind_one(acceptor, p->listen);
    if (const auto* s = std::get_if<Socks5Ingress>(&config_.mode)) return bind_one(acceptor, s->listen);
    CAIRN_TRY(port_,
              bind_redirect_target(acceptor, std::get<NetfilterIngress>(config_.mode).listen_port, "127.0.0.1", "::1"));
    return {};
  }
  std::optional<RuleSet> rules() const override {
    const auto* netfilter = std::get_if<NetfilterIngress>(&config_.mode);
    if (netfilter == nullptr) return std::nullopt;
    return ingress_rules(status_->id(), *netfilter, port_);
  }
  net::Task<> serve(net::StreamPtr stream, std::size_t shard) override {
    if (!proxies_.empty()) return proxies_[shard]->serve(std::move(stream));
    if (std::holds_alternative<Socks5Ingress>(config_.mode)) return serve_socks5(*shards_[shard], std::move(stream));
    if (std::holds_alternative<NetfilterIngress>(config_.mode))
      return serve_captured(*shards_[shard], std::move(stream), port_);
    return serve_mapping(*shards_[shard], std::move(stream));
  }
  void drain(std::size_t shard) override {
    if (!proxies_.empty()) proxies_[shard]->drain();
  }
  net::Task<> stop_shard(std::size_t shard) override {
    if (!proxies_.empty()) proxies_[shard]->close_idle();
    return shards_[shard]->stop();
  }

 private:
  const Ingress& config_;
  std::uint16_t port_ = 0;
  std::vector<std::unique_ptr<IngressShard>> shards_;
  std::vector<std::unique_ptr<HttpProxy>> proxies_;
};

class EgressBlock : public Block {
 public:
  EgressBlock(net::Runtime& runtime, const Egress& config, std::shared_ptr<Security> security, BlockStatusPtr status)
      : Block(runtime, security, status), config_(config) {
    for (std::size_t i = 0; i < runtime.loops(); ++i)
      shards_.push_back(std::make_unique<EgressShard>(config, security, status));
  }

 protected:
  Result<void> bind(Acceptor& acceptor) override {
    if (const auto* m = std::get_if<MappingEgress>(&config_.mode)) return bind_one(acceptor, m->in);
    CAIRN_TRY(port_,
              bind_redirect_target(acceptor, std::get<NetfilterEgress>(config_.mode).listen_port, "0.0.0.0", "::"));
    return {};
  }
  std::optional<RuleSet> rules() const override {
    const auto* netfilter = std::get_if<NetfilterEgress>(&config_.mode);
    if (netfilter == nullptr) return std::nullopt;
    return egress_rules(status_->id(), *netfilter, port_);
  }
  net::Task<> serve(net::StreamPtr stream, std::size_t shard) override {
    if (const auto* m = std::get_if<MappingEgress>(&config_.mode))
      return shards_[shard]->serve(std::move(stream), to_net(m->out));
    return captured(std::move(stream), shard);
  }
  void drain(std::size_t shard) override { shards_[shard]->drain(); }
  net::Task<> stop_shard(std::size_t) override { co_return Result<>{}; }

 private:
  net::Task<> captured(net::StreamPtr stream, std::size_t shard) {
    CAIRN_CO_TRY(auto service, original_destination(*stream));
    // Somebody connected to the redirect target itself: there is no service to go to.
    if (service.port == port_) co_return fail(ErrorCode::conflict, "the connection was made to the gateway itself");
    co_return co_await shards_[shard]->serve(std::move(stream), std::move(service));
  }
  const Egress& config_;
  std::uint16_t port_ = 0;
  std::vector<std::unique_ptr<EgressShard>> shards_;
};

}  // namespace

Block::Block(net::Runtime& runtime, std::shared_ptr<Security> security, BlockStatusPtr status)
    : runtime_(runtime),
      security_(std::move(security)),
      status_(status),
      acceptor_(runtime, std::move(status),
                [this](net::StreamPtr stream, std::size_t shard) { return serve(std::move(stream), shard); }),
      background_(runtime.loop(0)) {}

net::Task<> Block::listen() {
  if (auto bound = bind(acceptor_); !bound) co_return fail(std::move(bound).error().in(status_->name()));
  auto wanted = rules();
  if (!wanted) co_return Result<>{};
  auto install = [set = *std::move(wanted)] { return InstalledRules::install(set); };
  CAIRN_CO_TRY(auto done, co_await runtime_.workers().offload(std::move(install)));
  if (!done) co_return fail(std::move(done).error().in(status_->name()));
  installed_ = std::make_shared<InstalledRules>(*std::move(done));
  co_return Result<>{};
}

void Block::start() {
  background_.spawn(security_->keep_fresh(), "certificates of " + status_->name());
  acceptor_.start();
}

net::Task<> Block::stop(net::Milliseconds grace) {
  status_->ready = false;
  for (std::size_t i = 0; i < runtime_.loops(); ++i) net::post(runtime_.loop(i), [this, i] { drain(i); });
  CAIRN_CO_CHECK(co_await acceptor_.stop(grace));
  for (std::size_t i = 0; i < runtime_.loops(); ++i) CAIRN_CO_CHECK(co_await on_loop(runtime_.loop(i), stop_shard(i)));
  co_await background_.stop();
  if (installed_)
    co_return co_await runtime_.workers().offload(
        [last = std::exchange(installed_, nullptr)]() mutable { last.reset(); });
  co_return Result<>{};
}

Result<std::unique_ptr<Block>> Block::make(net::Runtime& runtime, const Ingress& config, Compat compat,
                                           BlockStatusPtr status) {
  const bool h2 = config.multiplex || config.encap_in_http;
  CAIRN_TRY(auto security,
            Security::create(Security::Side::client, config.ra, compat, {h2 ? alpn_h2 : alpn_direct}, status));
  return std::make_unique<IngressBlock>(runtime, config, std::move(security), std::move(status));
}

Result<std::unique_ptr<Block>> Block::make(net::Runtime& runtime, const Egress& config, Compat compat,
                                           BlockStatusPtr status) {
  CAIRN_TRY(auto security, Security::create(Security::Side::server, config.ra, compat, {alpn_h2, alpn_direct}, status));
  return std::make_unique<EgressBlock>(runtime, config, std::move(security), std::move(status));
}

}  // namespace cairn::tng
