#include "trustee/server.h"

#include <spdlog/spdlog.h>

#include <chrono>

#include "base/file.h"
#include "net/http_server.h"
#include "trustee/limits.h"
#include "trustee/trustee.h"

namespace cairn::trustee {
namespace {

using namespace std::chrono_literals;
constexpr auto kDrain = 30s;

using Answer = std::function<net::Response(const Call&, const std::string& client_ip)>;

// Reads the whole request, answers it on a worker.
net::Handler handler(net::Runtime& runtime, std::size_t body_limit, Answer answer) {
  auto shared = std::make_shared<const Answer>(std::move(answer));
  return [&runtime, body_limit, shared](net::Exchange& exchange) -> net::Task<> {
    CAIRN_CO_TRY(std::string body, co_await exchange.body(body_limit));
    // The job owns what it uses: the exchange may be gone when it ends.
    struct Request {
      net::RequestHead head;
      std::string body, peer;
      Pending pending;
    };
    auto request = std::make_shared<Request>(exchange.request(), std::move(body), exchange.peer().host, Pending{});
    const auto answer_it = [shared, request](bool may_wait) {
      Call call{request->head, request->head.path(), request->body, now(), may_wait ? &request->pending : nullptr};
      return (*shared)(call, request->peer);
    };
    for (unsigned round = 1;; ++round) {
      const bool may_wait = round < limits::kPendingRounds;
      CAIRN_CO_TRY(net::Response response, co_await runtime.workers().offload([=] { return answer_it(may_wait); }));
      if (!may_wait || request->pending.empty()) co_return co_await exchange.respond(std::move(response));
      CAIRN_CO_CHECK(co_await request->pending.wait());
      request->pending = {};
    }
  };
}

Result<std::shared_ptr<const net::TlsContext>> tls_context(const Config& config) {
  if (config.tls_certificate.empty()) return nullptr;
  auto identity = std::make_shared<net::TlsIdentity>();
  CAIRN_TRY(identity->certificate_pem, read_text(config.tls_certificate));
  CAIRN_TRY(identity->private_key_pem, read_secret(config.tls_private_key));
  net::TlsOptions options;
  options.identity = std::move(identity);
  return net::TlsContext::server(std::move(options));
}

struct Listening {
  std::unique_ptr<net::HttpServer> server;
  net::Endpoint endpoint;
};
Result<Listening> start(net::Runtime& runtime, const Config& config, const std::string& address, std::string_view what,
                        Answer answer, const std::shared_ptr<const net::TlsContext>& tls) {
  CAIRN_TRY(const auto endpoint, net::Endpoint::parse(address));
  const auto limit = static_cast<std::size_t>(config.body_mib) << 20;
  auto server = std::make_unique<net::HttpServer>(runtime, handler(runtime, limit, std::move(answer)));
  CAIRN_TRY(auto bound, server->listen(endpoint, tls));
  spdlog::info("{} on {}://{}", what, tls ? "https" : "http", bound.text());
  return Listening{std::move(server), bound};
}

}  // namespace

net::Task<> serve(net::Runtime& runtime, Config config, Ready ready) {
  CAIRN_CO_TRY(auto opened, Trustee::open(config, now(), runtime.loop(0)));
  const std::shared_ptr<Trustee> parts = std::move(opened);  // shared with jobs that outlive their exchange
  CAIRN_CO_TRY(const auto tls, tls_context(config));
  std::vector<Listening> listeners;
  const auto add = [&](const std::string& address, std::string_view what, Answer answer) -> Result<void> {
    if (address.empty()) return {};
    CAIRN_TRY(auto listener, start(runtime, config, address, what, std::move(answer), tls));
    listeners.push_back(std::move(listener));
    return {};
  };
  auto listening = add(config.listen, "gateway",
                       [parts](const Call& call, const std::string& ip) { return parts->gateway(call, ip); });
  if (listening)
    listening = add(config.kbs_listen, "key broker",
                    [parts](const Call& call, const std::string&) { return parts->kbs(call); });
  if (listening)
    listening = add(config.as_listen, "attestation service",
                    [parts](const Call& call, const std::string&) { return parts->attestation_service(call); });
  if (listening) {
    spdlog::info("ready, data in {}", config.data.string());
    std::vector<net::Endpoint> endpoints;
    for (const auto& listener : listeners) endpoints.push_back(listener.endpoint);
    if (ready) ready(endpoints);
    (void)co_await runtime.stop_requested();
    spdlog::info("stopping");
  }
  for (const auto& listener : listeners) (void)co_await listener.server->stop(kDrain);
  (void)co_await parts->stop();
  co_return listening;
}

}  // namespace cairn::trustee
