#include "guest/rest/program.h"

#include <CLI/CLI.hpp>

#include "base/log.h"
#include "guest/common/config_file.h"
#include "guest/rest/facade.h"
#include "kbs_protocol/aa_client.h"
#include "kbs_protocol/proto.h"
#include "net/http_server.h"
#include "net/ttrpc.h"

namespace cairn::rest {
namespace {

constexpr net::Milliseconds kBackendTimeout{50'000};
constexpr std::size_t kBodyBytes = 8U << 20;
constexpr net::Milliseconds kDrain{5'000};

// The real thing: both daemons' sockets.
class Sockets final : public Backend {
 public:
  Sockets(agent::Client agent, net::Endpoint cdh)
      : agent_(std::move(agent)), address_(cdh.text()), cdh_(std::move(cdh)) {}

  net::Task<std::string> tee_type() override { return agent_.tee_type(); }
  net::Task<std::vector<std::string>> additional_tees() override { return agent_.additional_tees(); }
  net::Task<std::string> evidence(Bytes data) override { return agent_.evidence(std::move(data)); }
  net::Task<std::string> additional_evidence(Bytes data) override {
    return agent_.additional_evidence(std::move(data));
  }
  net::Task<Secret> token(std::string type) override { return agent_.token(std::move(type)); }
  net::Task<> extend(std::string domain, std::string operation, std::string content,
                     std::optional<std::uint64_t> pcr) override {
    return agent_.extend(std::move(domain), std::move(operation), std::move(content), pcr);
  }
  net::Task<Secret> resource(std::string uri) override {
    CAIRN_CO_TRY(auto answer,
                 co_await call<cdh::api::BytesMessage>("GetResource", cdh::api::GetResourceRequest{std::move(uri)}));
    co_return Secret::take(std::move(answer.value));
  }
  net::Task<cdh::api::PrepareInjectionResponse> prepare_injection(cdh::api::PrepareInjectionRequest request) override {
    return call<cdh::api::PrepareInjectionResponse>("PrepareResourceInjection", std::move(request));
  }
  net::Task<> commit_injection(cdh::api::CommitInjectionRequest request) override {
    const auto done = co_await call<cdh::api::Empty>("CommitResourceInjection", std::move(request));
    if (!done) co_return fail(done.error());
    co_return Result<>{};
  }

 private:
  template <class Answer, class Message>
  net::Task<Answer> call(std::string method, Message message) {
    auto reply =
        co_await cdh_.call(std::string(cdh::api::resource_service), method, proto::encode(message), kBackendTimeout);
    if (!reply) co_return fail(net::to_error(reply.error()).in("data hub at " + address_));
    co_return proto::decode<Answer>(*reply);
  }

  agent::Client agent_;
  std::string address_;
  net::TtrpcClient cdh_;
};

struct Settings {
  net::Endpoint bind;
  Rules rules;
  std::string aa_address, cdh_address;
};

Result<Settings> settings_of(const ProgramOptions& options) {
  Settings s;
  CAIRN_TRY(s.rules.profile, kbs::parse_profile(options.profile));
  s.rules.version = CAIRN_VERSION;
  s.rules.aa = options.features == "attestation" || options.features == "all";
  s.rules.cdh = options.features == "resource" || options.features == "all";
  std::string bind = options.bind;
  s.aa_address = agent::default_address;
  s.cdh_address = cdh::api::default_address;
  if (!options.config_file.empty()) {
    CAIRN_TRY(const Json json, guest::load_config_file(options.config_file));
    Problems problems;
    Fields fields(json, "$", problems);
    bind = fields.value_or("bind", bind);
    s.rules.cdh = fields.value_or("enable_cdh", false);
    s.rules.aa = fields.value_or("enable_aa", false);
    s.cdh_address = fields.value_or("cdh_socket", s.cdh_address);
    s.aa_address = fields.value_or("aa_socket", s.aa_address);
    s.rules.remote_evidence = fields.value_or("allow_remote_get_evidence", false);
    s.rules.remote_injection = fields.value_or("allow_remote_resource_injection", false);
    fields.done();
    CAIRN_CHECK(problems.result());
    s.rules.profile = kbs::Profile::p2;  // only the fork has such a file
  }
  if (!options.aa_address.empty()) s.aa_address = options.aa_address;
  if (!options.cdh_address.empty()) s.cdh_address = options.cdh_address;
  if (!s.rules.aa && !s.rules.cdh)
    return fail(ErrorCode::invalid_argument, "enable_aa", "neither the agent's nor the hub's half is enabled");
  if (s.rules.remote_evidence) spdlog::warn("evidence is given to other machines, as configured");
  if (s.rules.remote_injection) spdlog::warn("resources are accepted from other machines, as configured");
  CAIRN_TRY(s.bind, net::Endpoint::parse(bind));
  return s;
}

net::Task<> handle(net::Exchange& exchange, const Rules& rules, Backend& backend) {
  const auto& head = exchange.request();
  Request request{.method = head.method,
                  .path = std::string(head.path()),
                  .query = std::string(head.query()),
                  .body = {},
                  .loopback = exchange.peer().is_unix() || is_loopback(exchange.peer().host)};
  if (request.method == "POST" && (request.loopback || rules.remote_injection)) {
    CAIRN_CO_TRY(request.body, co_await exchange.body());
  }
  auto response = co_await answer(request, rules, backend);
  co_return co_await exchange.respond(std::move(response));
}

net::Task<> serve(net::Runtime& runtime, const Settings& settings) {
  CAIRN_CO_TRY(auto agent, agent::Client::at(settings.aa_address, kBackendTimeout));
  CAIRN_CO_TRY(auto cdh, net::Endpoint::parse(settings.cdh_address));
  Sockets backend(std::move(agent), std::move(cdh));
  net::ServerOptions options;
  options.max_body = kBodyBytes;
  net::HttpServer server(runtime, [&](net::Exchange& e) { return handle(e, settings.rules, backend); }, options);
  CAIRN_CO_TRY(const auto bound, server.listen(settings.bind));
  spdlog::info("serving http://{}", bound.text());
  CAIRN_CO_CHECK(co_await runtime.stop_requested());
  co_return co_await server.stop(kDrain);
}

}  // namespace

void declare(CLI::App& app, ProgramOptions& o) {
  app.add_option("-b,--bind", o.bind, "address to serve")->capture_default_str();
  app.add_option("-f,--features", o.features, "resource, attestation or all")
      ->capture_default_str()
      ->check(CLI::IsMember({"resource", "attestation", "all"}));
  app.add_option("-c,--cdh-addr,--cdh_addr", o.cdh_address, "socket of the data hub");
  app.add_option("-a,--aa-addr,--aa_addr", o.aa_address, "socket of the attestation agent");
  app.add_option("--profile", o.profile, "p1 or p2 (more routes)")->capture_default_str();
  app.add_option("--config", o.config_file, "p2: configuration file, TOML");
}

Result<void> run(const ProgramOptions& options) {
  CAIRN_TRY(const Settings settings, settings_of(options));
  net::Runtime runtime({.loops = 1, .workers = 1, .signals = true});
  return runtime.run([&](net::Runtime& r) { return serve(r, settings); });
}

}  // namespace cairn::rest
