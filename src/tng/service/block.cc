#include "tng/service/block.h"

#include "tng/egress/egress.h"
#include "tng/ingress/http_proxy.h"
#include "tng/ingress/ingress.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

net::Endpoint to_net(const Endpoint& e) { return net::Endpoint::tcp(e.host, e.port); }

class IngressBlock : public Block {
 public:
  IngressBlock(net::Runtime& runtime, const Ingress& config, std::shared_ptr<Security> security, BlockStatusPtr status)
      : Block(runtime, security, status), config_(config) {
    for (std::size_t i = 0; i < runtime.loops(); ++i) {
      shards_.push_back(std::make_unique<IngressShard>(runtime.loop(i), config, security, status));
      if (std::holds_alternative<HttpProxyIngress>(config.mode)) proxies_.push_back(std::make_unique<HttpProxy>(*shards_.back()));
    }
  }

 protected:
  net::Endpoint where() const override {
    if (const auto* m = std::get_if<MappingIngress>(&config_.mode)) return to_net(m->in);
    if (const auto* p = std::get_if<HttpProxyIngress>(&config_.mode)) return to_net(p->listen);
    return to_net(std::get<Socks5Ingress>(config_.mode).listen);
  }
  net::Task<> serve(net::StreamPtr stream, std::size_t shard) override {
    if (!proxies_.empty()) return proxies_[shard]->serve(std::move(stream));
    if (std::holds_alternative<Socks5Ingress>(config_.mode)) return serve_socks5(*shards_[shard], std::move(stream));
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
  std::vector<std::unique_ptr<IngressShard>> shards_;
  std::vector<std::unique_ptr<HttpProxy>> proxies_;
};

class EgressBlock : public Block {
 public:
  EgressBlock(net::Runtime& runtime, const Egress& config, std::shared_ptr<Security> security, BlockStatusPtr status)
      : Block(runtime, security, status), config_(config) {
    for (std::size_t i = 0; i < runtime.loops(); ++i) shards_.push_back(std::make_unique<EgressShard>(config, security, status));
  }

 protected:
  net::Endpoint where() const override { return to_net(std::get<MappingEgress>(config_.mode).in); }
  net::Task<> serve(net::StreamPtr stream, std::size_t shard) override {
    return shards_[shard]->serve(std::move(stream), to_net(std::get<MappingEgress>(config_.mode).out));
  }
  void drain(std::size_t shard) override { shards_[shard]->drain(); }
  net::Task<> stop_shard(std::size_t) override { co_return Result<>{}; }

 private:
  const Egress& config_;
  std::vector<std::unique_ptr<EgressShard>> shards_;
};

}  // namespace

Block::Block(net::Runtime& runtime, std::shared_ptr<Security> security, BlockStatusPtr status)
    : runtime_(runtime), security_(std::move(security)), status_(status),
      acceptor_(runtime, std::move(status), [this](net::StreamPtr stream, std::size_t shard) { return serve(std::move(stream), shard); }),
      background_(runtime.loop(0)) {}

Result<void> Block::listen() {
  auto bound = acceptor_.listen(where());
  if (!bound) return fail(std::move(bound).error().in(status_->name()));
  return {};
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
  co_return Result<>{};
}

Result<std::unique_ptr<Block>> Block::make(net::Runtime& runtime, const Ingress& config, Compat compat, BlockStatusPtr status) {
  if (std::holds_alternative<NetfilterIngress>(config.mode))
    return fail(ErrorCode::unsupported, status->name(), "netfilter capture of outgoing connections is not available in this build");
  const bool h2 = config.multiplex || config.encap_in_http;
  CAIRN_TRY(auto security, Security::create(Security::Side::client, config.ra, compat, {h2 ? alpn_h2 : alpn_direct}, status));
  return std::make_unique<IngressBlock>(runtime, config, std::move(security), std::move(status));
}

Result<std::unique_ptr<Block>> Block::make(net::Runtime& runtime, const Egress& config, Compat compat, BlockStatusPtr status) {
  if (std::holds_alternative<NetfilterEgress>(config.mode))
    return fail(ErrorCode::unsupported, status->name(), "netfilter capture of incoming connections is not available in this build");
  CAIRN_TRY(auto security, Security::create(Security::Side::server, config.ra, compat, {alpn_h2, alpn_direct}, status));
  return std::make_unique<EgressBlock>(runtime, config, std::move(security), std::move(status));
}

}  // namespace cairn::tng
