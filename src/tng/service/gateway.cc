#include "tng/service/gateway.h"

#include <algorithm>

#include "base/log.h"
#include "tng/limits.h"
#include "tng/service/block.h"

namespace cairn::tng {
namespace {

using Labels = std::map<std::string, std::string>;

struct Named {
  std::string type;
  Labels labels;
};

Named describe(const Ingress& config) {
  if (const auto* m = std::get_if<MappingIngress>(&config.mode))
    return {"mapping", {{"ingress_in", m->in.text()}, {"ingress_out", m->out.text()}}};
  if (const auto* p = std::get_if<HttpProxyIngress>(&config.mode))
    return {"http_proxy", {{"ingress_proxy_listen", p->listen.text()}}};
  if (const auto* s = std::get_if<Socks5Ingress>(&config.mode))
    return {"socks5", {{"ingress_proxy_listen", s->listen.text()}}};
  return {"netfilter", {}};
}
Named describe(const Egress& config) {
  if (const auto* m = std::get_if<MappingEgress>(&config.mode))
    return {"mapping", {{"egress_in", m->in.text()}, {"egress_out", m->out.text()}}};
  return {"netfilter", {}};
}

template <class Configs>
Result<void> make_blocks(net::Runtime& runtime, const Configs& configs, Compat compat, std::string_view direction,
                         Status& status, std::vector<std::unique_ptr<Block>>& out) {
  for (std::size_t i = 0; i < configs.size(); ++i) {
    auto [type, labels] = describe(configs[i]);
    CAIRN_TRY(auto block, Block::make(runtime, configs[i], compat,
                                      status.add(std::string(direction), i, std::move(type), std::move(labels))));
    out.push_back(std::move(block));
  }
  return {};
}

bool captures(const Config& config) {
  return std::ranges::any_of(config.ingress,
                             [](const Ingress& i) { return std::holds_alternative<NetfilterIngress>(i.mode); }) ||
         std::ranges::any_of(config.egress,
                             [](const Egress& e) { return std::holds_alternative<NetfilterEgress>(e.mode); });
}

net::Task<> answer(net::Exchange& exchange, net::Response response) {
  co_return co_await exchange.respond(std::move(response));
}

}  // namespace

Gateway::Gateway(net::Runtime& runtime, Config config) : runtime_(runtime), config_(std::move(config)) {}
Gateway::~Gateway() = default;

Result<std::unique_ptr<Gateway>> Gateway::create(net::Runtime& runtime, Config config) {
  std::unique_ptr<Gateway> out(new Gateway(runtime, std::move(config)));
  out->status_.warn(out->config_.warnings);
  CAIRN_CHECK(make_blocks(runtime, out->config_.ingress, out->config_.compat, "ingress", out->status_, out->ingress_));
  CAIRN_CHECK(make_blocks(runtime, out->config_.egress, out->config_.compat, "egress", out->status_, out->egress_));
  return out;
}

Result<void> Gateway::start_control() {
  if (!config_.control) return {};
  net::Router router;
  router.add("GET", "/livez", [](net::Exchange& e) { return answer(e, net::Response::text(200, "ok")); });
  router.add("GET", "/readyz", [this](net::Exchange& e) {
    return answer(e, status_.ready() ? net::Response::text(200, "ok") : net::Response::text(503, "not ok"));
  });
  router.add("GET", "/metrics",
             [this](net::Exchange& e) { return answer(e, net::Response::text(200, status_.prometheus())); });
  const net::Handler status = [this](net::Exchange& e) {
    return answer(e, net::Response::json(200, compact_json(status_.json()) + "\n"));
  };
  router.add("GET", "/status", status);
  router.add("GET", "/status/", status);
  control_ = std::make_unique<net::HttpServer>(runtime_, std::move(router));
  auto bound = control_->listen(net::Endpoint::tcp(config_.control->host, config_.control->port));
  if (!bound) return fail(std::move(bound).error().in("control_interface"));
  control_address_ = bound->text();
  return {};
}

net::Task<> Gateway::start() {
  for (const auto& warning : config_.warnings) spdlog::warn("{}", warning);
  CAIRN_CO_CHECK(start_control());
  if (captures(config_)) {
    CAIRN_CO_TRY(namespace_claim_, claim_network_namespace());
  }
  for (auto* side : {&ingress_, &egress_})
    for (auto& block : *side) CAIRN_CO_CHECK(co_await block->listen());
  for (auto* side : {&ingress_, &egress_})
    for (auto& block : *side) CAIRN_CO_CHECK(co_await block->prepare());
  for (auto* side : {&ingress_, &egress_})
    for (auto& block : *side) {
      block->start();
      spdlog::info("{} block serves on {}", side == &ingress_ ? "ingress" : "egress", block->address());
    }
  co_return Result<>{};
}

net::Task<> Gateway::stop() {
  Result<> first;
  std::int64_t until = monotonic_ms() + std::chrono::milliseconds(limits::drain).count();
  for (auto* side : {&ingress_, &egress_})
    for (auto& block : *side) {
      auto end = co_await block->stop(net::Milliseconds(std::max<std::int64_t>(0, until - monotonic_ms())));
      if (first && !end) first = std::move(end);
    }
  if (control_) {
    auto end = co_await control_->stop(net::Milliseconds(0));
    if (first && !end) first = std::move(end);
  }
  co_return first;
}

std::string Gateway::ingress_address(std::size_t id) const { return ingress_.at(id)->address(); }
std::string Gateway::egress_address(std::size_t id) const { return egress_.at(id)->address(); }

net::Task<> run_gateway(net::Runtime& runtime, Config config) {
  CAIRN_CO_TRY(auto gateway, Gateway::create(runtime, std::move(config)));
  auto started = co_await gateway->start();
  if (started) {
    spdlog::info("ready");
    CAIRN_CO_CHECK(co_await runtime.stop_requested());
    spdlog::info("stopping");
  }
  auto stopped = co_await gateway->stop();
  co_return started ? stopped : started;
}

}  // namespace cairn::tng
