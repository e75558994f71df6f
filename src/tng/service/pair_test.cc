// Two gateways of this process, an agent and a service: what passes, and what must not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "net/http_client.h"
#include "tng/limits.h"
#include "tng/ratls/evidence.h"
#include "tng/service/gateway.h"
#include "tng/service/test_peers.h"

namespace cairn::tng {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::uint16_t port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

Json endpoint(std::uint16_t port) { return {{"host", "127.0.0.1"}, {"port", port}}; }

// The application behind the server gateway.
net::Task<> backend(net::Exchange& exchange) {
  const auto& head = exchange.request();
  if (head.path() == "/stream") {
    net::ResponseHead answer;
    answer.headers.add("Content-Type", "text/event-stream");
    CAIRN_CO_CHECK(co_await exchange.begin(std::move(answer)));
    for (int i = 0; i < 5; ++i) {
      CAIRN_CO_CHECK(co_await exchange.write("data: " + std::to_string(monotonic_ms()) + "\n\n"));
      CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(30)));
    }
    co_return co_await exchange.end();
  }
  if (head.path() == "/upgrade") {
    net::ResponseHead answer{.status = 101, .headers = {}};
    answer.headers.add("Connection", "Upgrade");
    answer.headers.add("Upgrade", "shout");
    CAIRN_CO_TRY(auto raw, co_await exchange.tunnel(std::move(answer)));
    std::array<std::uint8_t, 64> bytes;
    CAIRN_CO_TRY(const std::size_t n, co_await raw->read_some(bytes));
    for (auto& b : std::span(bytes).first(n)) b = static_cast<std::uint8_t>(std::toupper(b));
    CAIRN_CO_CHECK(co_await raw->write(ByteView(bytes).first(n)));
    co_return co_await raw->shutdown_write();
  }
  CAIRN_CO_TRY(std::string body, co_await exchange.body(64U << 20));
  const Json facts = {{"method", head.method},
                      {"target", head.target},
                      {"host", std::string(head.headers.get("Host").value_or(""))},
                      {"size", body.size()}};
  auto response = net::Response::text(200, std::move(body));
  response.headers.add("X-Seen", compact_json(facts));
  co_return co_await exchange.respond(std::move(response));
}

// Everything that stands around a test.
struct World {
  explicit World(net::Runtime& r) : runtime(r), agent(r, folder / "aa.sock"), service(r), app(r, backend) {}

  net::Task<> begin() {
    CAIRN_CO_CHECK(agent.listen());
    CAIRN_CO_CHECK(service.listen());
    CAIRN_CO_CHECK(write_text(folder / "ca.pem", service.ca_pem()));
    CAIRN_CO_TRY(app_at, app.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    co_return Result<>{};
  }
  [[nodiscard]] Json attest() const { return {{"aa_addr", agent.address()}}; }
  [[nodiscard]] Json verify() const {
    return {{"as_addr", service.address()},
            {"policy_ids", {"default"}},
            {"trusted_certs_paths", {(folder / "ca.pem").string()}}};
  }
  net::Task<> start(std::unique_ptr<Gateway>& slot, Json config) {
    CAIRN_CO_TRY(auto parsed, parse_config(compact_json(config)));
    CAIRN_CO_TRY(slot, Gateway::create(runtime, std::move(parsed)));
    co_return co_await slot->start();
  }
  net::Task<> start_server(Json extra) {
    Json block = {{"mapping", {{"in", endpoint(0)}, {"out", endpoint(app_at.port)}}}};
    block.update(extra);
    const Json json1 = {{"add_egress", {block}}, {"control_interface", {{"restful", endpoint(0)}}}};
    CAIRN_CO_CHECK(co_await start(server, json1));
    server_port = port_of(server->egress_address(0));
    co_return Result<>{};
  }
  net::Task<> start_proxy(Json extra, Json inside = Json::object()) {
    Json proxy = {{"proxy_listen", endpoint(0)}};
    proxy.update(inside);
    Json block = {{"http_proxy", proxy}};
    block.update(extra);
    const Json json2 = {{"add_ingress", {block}}};
    CAIRN_CO_CHECK(co_await start(client, json2));
    net::ClientOptions options;
    options.proxy = "http://" + client->ingress_address(0);
    http = std::make_unique<net::HttpClient>(options);
    co_return Result<>{};
  }
  [[nodiscard]] std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server_port) + std::string(path);
  }
  net::Task<> end() {
    http.reset();
    if (client) CAIRN_CO_CHECK(co_await client->stop());
    if (server) CAIRN_CO_CHECK(co_await server->stop());
    CAIRN_CO_CHECK(co_await app.stop(net::Milliseconds(0)));
    CAIRN_CO_CHECK(co_await service.stop());
    co_return co_await agent.stop();
  }

  net::Runtime& runtime;
  TestFolder folder;
  testing::FakeAgent agent;
  testing::FakeService service;
  net::HttpServer app;
  net::Endpoint app_at;
  std::unique_ptr<Gateway> server, client;
  std::uint16_t server_port = 0;
  std::unique_ptr<net::HttpClient> http;
};

using Story = net::Task<> (*)(World&);

net::Task<> tell(net::Runtime& runtime, Story story) {
  World world(runtime);
  auto told = co_await world.begin();
  if (told) told = co_await story(world);
  auto ended = co_await world.end();
  co_return told ? ended : told;
}

void run(Story story) {
  const auto end = net::run_task(
      [story](net::Runtime& runtime) { return net::with_timeout(tell(runtime, story), std::chrono::seconds(60)); });
  ASSERT_TRUE(end) << end.error().text();
}

net::ClientRequest post(std::string url, std::string body) {
  net::ClientRequest out;
  out.method = "POST";
  out.url = std::move(url);
  out.body = std::move(body);
  return out;
}

Json seen(const net::Response& response) { return *parse_json(*response.headers.get("X-Seen")); }

// --------------------------------------------------------------------------------------------------- what passes

TEST(TngPair, ProductConfigurationCarriesRequests) {
  run([](World& w) -> net::Task<> {
    const Json json3 = {{"decap_from_http", Json::object()}, {"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json3));
    const Json json4 = {{"encap_in_http", Json::object()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json4));
    CAIRN_CO_TRY(const auto first, co_await w.http->send(post(w.url("/v1/completions?x=1"), "the prompt")));
    EXPECT_EQ(first.status, 200) << first.body;
    EXPECT_EQ(first.body, "the prompt");
    EXPECT_EQ(seen(first)["target"], "/v1/completions?x=1");
    EXPECT_EQ(seen(first)["host"], "127.0.0.1:" + std::to_string(w.server_port));
    for (int i = 0; i < 20; ++i) {
      CAIRN_CO_TRY(const auto again, co_await w.http->get(w.url("/v1/models")));
      EXPECT_EQ(again.status, 200);
    }
    EXPECT_EQ(w.service.calls, 1);
    // Requests that follow each other share one stream, and so one connection to the application.
    EXPECT_LE(w.app.connections(), 2U);
    for (int i = 0; i < 3; ++i) {
      CAIRN_CO_TRY(const auto posted, co_await w.http->send(post(w.url("/v1/x"), std::string(1000, 'y'))));
      EXPECT_EQ(posted.body.size(), 1000U);
    }
    EXPECT_LE(w.app.connections(), 2U);
    EXPECT_EQ(w.service.calls, 1);
    const Json status = w.client->status().json()["ingress"][0];
    EXPECT_EQ(status["sessions"], 1);
    EXPECT_EQ(status["last_session"]["protocol"], "ra-tls-h2-encap");
    EXPECT_EQ(status["last_session"]["tls"], "TLSv1.3");
    EXPECT_NE(status["last_session"]["group"], "");
    EXPECT_EQ(status["last_verification"]["ok"], true);
    EXPECT_EQ(status["last_verification"]["tee"], "sample");
    EXPECT_EQ(status["last_verification"]["signer_verified"], true);
    // The same request straight to the protected port.
    net::HttpClient straight;
    CAIRN_CO_TRY(const auto refused, co_await straight.send(post(w.url("/v1/completions"), "the prompt")));
    EXPECT_EQ(refused.status, 418);
    co_return Result<>{};
  });
}

TEST(TngPair, AnApplicationThatHangsUpMeetsNoRequest) {
  run([](World& w) -> net::Task<> {
    net::ServerOptions impatient;
    impatient.idle_timeout = net::Milliseconds(100);  // and it does not say so: no "Connection: close"
    net::HttpServer app(w.runtime, backend, impatient);
    CAIRN_CO_TRY(w.app_at, app.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    const Json attest = {{"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(attest));
    const Json verify = {{"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(verify));
    for (int i = 0; i < 5; ++i) {
      CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/v1/x"), "said once")));
      EXPECT_EQ(got.status, 200) << got.body;
      CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(400)));  // within what a stream is kept for
    }
    co_return co_await app.stop(net::Milliseconds(0));
  });
}

TEST(TngPair, WithoutWrapping) {
  run([](World& w) -> net::Task<> {
    const Json json5 = {{"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json5));
    const Json json6 = {{"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json6));
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/a"), "b")));
    EXPECT_EQ(got.body, "b");
    EXPECT_EQ(w.client->status().json()["ingress"][0]["last_session"]["protocol"], "ra-tls-h2");
    co_return Result<>{};
  });
}

TEST(TngPair, LatestBindingWithOneTlsConnectionPerStream) {
  run([](World& w) -> net::Task<> {
    Json block = {{"mapping", {{"in", endpoint(0)}, {"out", endpoint(w.app_at.port)}}}, {"attest", w.attest()}};
    const Json json7 = {{"compat", "latest"}, {"add_egress", {block}}};
    CAIRN_CO_CHECK(co_await w.start(w.server, json7));
    w.server_port = port_of(w.server->egress_address(0));
    Json mapping = {{"mapping", {{"in", endpoint(0)}, {"out", endpoint(w.server_port)}}}, {"verify", w.verify()}};
    const Json json8 = {{"compat", "latest"}, {"add_ingress", {mapping}}};
    CAIRN_CO_CHECK(co_await w.start(w.client, json8));
    net::HttpClient plain;
    CAIRN_CO_TRY(const auto got, co_await plain.send(post("http://" + w.client->ingress_address(0) + "/a", "b")));
    EXPECT_EQ(got.body, "b");
    const Json status = w.client->status().json()["ingress"][0];
    EXPECT_EQ(status["last_session"]["protocol"], "ra-tls");
    EXPECT_EQ(status["last_verification"]["binding"], "b");
    co_return Result<>{};
  });
}

TEST(TngPair, BothSidesAttestAndVerify) {
  run([](World& w) -> net::Task<> {
    const Json json9 = {{"attest", w.attest()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_server(json9));
    const Json json10 = {{"attest", w.attest()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json10));
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/a"), "b")));
    EXPECT_EQ(got.body, "b") << got.body;
    EXPECT_EQ(w.server->status().json()["egress"][0]["last_verification"]["ok"], true);
    co_return Result<>{};
  });
}

TEST(TngPair, NoAttestationOnEitherSide) {
  run([](World& w) -> net::Task<> {
    const Json json11 = {{"no_ra", true}, {"decap_from_http", Json::object()}};
    CAIRN_CO_CHECK(co_await w.start_server(json11));
    const Json json12 = {{"no_ra", true}, {"encap_in_http", Json::object()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json12));
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/a"), "b")));
    EXPECT_EQ(got.body, "b");
    EXPECT_EQ(w.service.calls, 0);
    co_return Result<>{};
  });
}

TEST(TngPair, LargeBodiesBothWaysThroughTheWrapping) {
  run([](World& w) -> net::Task<> {
    const Json json13 = {{"decap_from_http", Json::object()}, {"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json13));
    const Json json14 = {{"encap_in_http", Json::object()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json14));
    const std::string body(8U << 20, 'z');
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/echo"), body)));
    EXPECT_EQ(got.status, 200);
    EXPECT_TRUE(got.body == body) << got.body.size();
    co_return Result<>{};
  });
}

TEST(TngPair, CertificatesPast64KiB) {
  run([](World& w) -> net::Task<> {
    w.agent.padding = 300U << 10;
    const Json json15 = {{"decap_from_http", Json::object()}, {"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json15));
    const Json json16 = {{"encap_in_http", Json::object()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json16));
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/echo"), "x")));
    EXPECT_EQ(got.body, "x");
    co_return Result<>{};
  });
}

TEST(TngPair, EventsArriveAsTheyAreWritten) {
  run([](World& w) -> net::Task<> {
    const Json json17 = {{"decap_from_http", Json::object()}, {"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json17));
    const Json json18 = {{"encap_in_http", Json::object()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json18));
    net::ClientRequest request;
    request.url = w.url("/stream");
    CAIRN_CO_TRY(auto open, co_await w.http->open(std::move(request)));
    std::array<std::uint8_t, 4096> bytes;
    int reads = 0;
    std::string all;
    for (;; ++reads) {
      CAIRN_CO_TRY(const std::size_t n, co_await open.exchange->read_some(bytes));
      if (n == 0) break;
      all += as_text(ByteView(bytes).first(n));
    }
    EXPECT_GE(reads, 5) << all;  // never two events at once: they are 30 ms apart
    co_return Result<>{};
  });
}

TEST(TngPair, UpgradeAndConnect) {
  run([](World& w) -> net::Task<> {
    const Json json19 = {{"decap_from_http", Json::object()}, {"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json19));
    const Json json20 = {{"encap_in_http", Json::object()}, {"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json20));
    const std::string host = "127.0.0.1:" + std::to_string(w.server_port);
    const auto proxy = *net::Endpoint::parse(w.client->ingress_address(0));
    for (const bool connect : {false, true}) {
      CAIRN_CO_TRY(auto stream, co_await net::connect(proxy));
      const auto expect = [&](std::string_view what) -> net::Task<> {
        std::string got;
        std::array<std::uint8_t, 1024> bytes;
        while (got.find(what) == std::string::npos) {
          CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(bytes));
          if (n == 0) co_return fail(ErrorCode::unavailable, "ended with: " + got);
          got += as_text(ByteView(bytes).first(n));
        }
        co_return Result<>{};
      };
      if (connect) {
        CAIRN_CO_CHECK(co_await stream->write("CONNECT " + host + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"));
        CAIRN_CO_CHECK(co_await expect("HTTP/1.1 200"));
      }
      const std::string target = connect ? "/upgrade" : "http://" + host + "/upgrade";
      CAIRN_CO_CHECK(co_await stream->write("GET " + target + " HTTP/1.1\r\nHost: " + host +
                                            "\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"));
      CAIRN_CO_CHECK(co_await expect("101"));
      CAIRN_CO_CHECK(co_await stream->write("hello"));
      CAIRN_CO_CHECK(co_await expect("HELLO"));
    }
    co_return Result<>{};
  });
}

// ------------------------------------------------------------------------------------- what must not get through

// The proxy answers 502 that names the cause; the application behind the server never sees a request.
net::Task<> expect_refused(World& w, std::string cause) {
  CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/v1/completions"), "SECRET")));
  EXPECT_EQ(got.status, 502);
  EXPECT_THAT(got.body, HasSubstr(cause));
  EXPECT_THAT(got.body, Not(HasSubstr("\"attestation_error\":null")));
  EXPECT_FALSE(got.headers.has("X-Seen"));
  co_return Result<>{};
}

// Owns its arguments: it is a coroutine.
net::Task<> against(World& w, Json server, std::string cause) {
  server["decap_from_http"] = Json::object();
  CAIRN_CO_CHECK(co_await w.start_server(std::move(server)));
  const Json json21 = {{"encap_in_http", Json::object()}, {"verify", w.verify()}};
  CAIRN_CO_CHECK(co_await w.start_proxy(json21));
  co_return co_await expect_refused(w, cause);
}

TEST(TngHostile, ServerWithoutEvidence) {
  run([](World& w) -> net::Task<> { return against(w, {{"no_ra", true}}, "no attestation evidence"); });
}
TEST(TngHostile, EvidenceOverOtherData) {
  run([](World& w) -> net::Task<> {
    w.agent.lie = true;
    return against(w, {{"attest", w.attest()}}, "refused the peer's evidence");
  });
}
TEST(TngHostile, SomebodyElsesEvidence) {
  run([](World& w) -> net::Task<> {
    // Evidence that was made for another key a moment ago.
    w.agent.replay = compact_json(
        {{"report_data",
          base64(crypto::sha384(as_bytes(Binding::of(BindingForm::a, to_bytes("another key")).runtime_data)).view())}});
    return against(w, {{"attest", w.attest()}}, "refused the peer's evidence");
  });
}
TEST(TngHostile, ServiceRefuses) {
  run([](World& w) -> net::Task<> {
    w.service.status = 401;
    return against(w, {{"attest", w.attest()}}, "HTTP 401");
  });
}
TEST(TngHostile, ServiceUnreachable) {
  run([](World& w) -> net::Task<> {
    CAIRN_CO_CHECK(co_await w.service.stop());
    const Json server = {{"attest", w.attest()}};
    co_return co_await against(w, server, "did not answer");
  });
}
TEST(TngHostile, ExpiredToken) {
  run([](World& w) -> net::Task<> {
    w.service.lifetime = -3600;
    return against(w, {{"attest", w.attest()}}, "token");
  });
}
TEST(TngHostile, TokenOfAnotherPolicy) {
  run([](World& w) -> net::Task<> {
    w.service.policy = "lax";
    return against(w, {{"attest", w.attest()}}, "policy");
  });
}
TEST(TngHostile, TokenAboutAnotherKey) {
  run([](World& w) -> net::Task<> {
    w.service.extra_claims = {{"customized_claims", {{"runtime_data", {{"rats-rs.raw_runtime_data", "AAAA"}}}}}};
    return against(w, {{"attest", w.attest()}}, "runtime data");
  });
}
TEST(TngHostile, SimulatorWhereNoneIsAllowed) {
  run([](World& w) -> net::Task<> {
    w.service.extra_claims = {{"tcb-status", "{\"sample.simulated\":true}"}};
    return against(w, {{"attest", w.attest()}}, "simulator");
  });
}
TEST(TngHostile, TokenSignedByAStranger) {
  run([](World& w) -> net::Task<> {
    testing::FakeService other(w.runtime);
    CAIRN_CO_CHECK(write_text(w.folder / "ca.pem", other.ca_pem()));
    const Json server = {{"attest", w.attest()}};
    co_return co_await against(w, server, "token");
  });
}

TEST(TngPair, SimulatorWhereAllowed) {
  run([](World& w) -> net::Task<> {
    w.service.extra_claims = {{"tcb-status", "{\"sample.simulated\":true}"}};
    const Json json22 = {{"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json22));
    Json verify = w.verify();
    verify["allow_simulated"] = true;
    const Json json23 = {{"verify", verify}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json23));
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/a"), "b")));
    EXPECT_EQ(got.body, "b");
    EXPECT_EQ(w.client->status().json()["ingress"][0]["last_verification"]["simulated"], true);
    co_return Result<>{};
  });
}

TEST(TngHostile, ClientWithoutEvidenceWhereTheServerVerifies) {
  run([](World& w) -> net::Task<> {
    const Json json24 = {{"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_server(json24));
    const Json json25 = {{"no_ra", true}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json25));
    CAIRN_CO_TRY(const auto got, co_await w.http->send(post(w.url("/a"), "b")));
    EXPECT_EQ(got.status, 502);
    EXPECT_EQ(w.server->status().json()["egress"][0]["attestation_failures"], 1);
    co_return Result<>{};
  });
}

// ------------------------------------------------------------------------------------------------ plaintext rules

TEST(TngPlaintext, EveryRequestOfAConnectionIsMatched) {
  run([](World& w) -> net::Task<> {
    const Json json26 = {{"no_ra", true}, {"decap_from_http", {{"allow_non_tng_traffic_regexes", {"/public/.*"}}}}};
    CAIRN_CO_CHECK(co_await w.start_server(json26));
    CAIRN_CO_TRY(auto stream, co_await net::connect(net::Endpoint::tcp("127.0.0.1", w.server_port)));
    CAIRN_CO_CHECK(
        co_await stream->write("GET /public/a HTTP/1.1\r\nHost: x\r\n\r\nPOST /v1/completions HTTP/1.1\r\nHost: "
                               "x\r\nContent-Length: 2\r\n\r\nhi"));
    std::string got;
    std::array<std::uint8_t, 4096> bytes;
    for (;;) {
      auto n = co_await stream->read_some(bytes);
      if (!n || *n == 0) break;
      got += as_text(ByteView(bytes).first(*n));
    }
    EXPECT_THAT(got, HasSubstr("HTTP/1.1 200"));
    EXPECT_THAT(got, HasSubstr("HTTP/1.1 418"));
    EXPECT_THAT(got, Not(HasSubstr("/v1/completions")));
    const Json status = w.server->status().json()["egress"][0];
    EXPECT_EQ(status["plaintext"]["allowed"], 1);
    EXPECT_EQ(status["plaintext"]["refused"], 1);
    co_return Result<>{};
  });
}

TEST(TngPlaintext, RulesWithoutWrappingLeaveTlsAlone) {
  run([](World& w) -> net::Task<> {
    const Json json27 = {{"attest", w.attest()}, {"direct_forward", {{{"http_path", "/public/.*"}}}}};
    CAIRN_CO_CHECK(co_await w.start_server(json27));
    const Json json28 = {{"verify", w.verify()}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json28));
    CAIRN_CO_TRY(const auto tunnelled, co_await w.http->send(post(w.url("/v1"), "b")));
    EXPECT_EQ(tunnelled.body, "b");
    net::HttpClient straight;
    CAIRN_CO_TRY(const auto allowed, co_await straight.get(w.url("/public/x")));
    EXPECT_EQ(allowed.status, 200);
    CAIRN_CO_TRY(const auto refused, co_await straight.get(w.url("/v1")));
    EXPECT_EQ(refused.status, 418);
    co_return Result<>{};
  });
}

// ------------------------------------------------------------------------------------------------ the proxy itself

TEST(TngProxy, RecursionAuthenticationAndFilters) {
  run([](World& w) -> net::Task<> {
    const Json json29 = {{"no_ra", true}};
    CAIRN_CO_CHECK(co_await w.start_server(json29));
    const Json inside = {{"proxy_auth", {{"username", "u"}, {"password", "p"}}},
                         {"unmatched", "reject"},
                         {"dst_filters", {{{"domain", "127.*"}, {"port", w.server_port}}}}};
    const Json json30 = {{"no_ra", true}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json30, inside));
    CAIRN_CO_TRY(const auto nobody, co_await w.http->get(w.url("/a")));
    EXPECT_EQ(nobody.status, 407);
    net::ClientRequest request;
    request.url = w.url("/a");
    request.headers.add("Proxy-Authorization", "Basic dTpw");
    CAIRN_CO_TRY(const auto known, co_await w.http->send(request));
    EXPECT_EQ(known.status, 200);
    request.url = "http://127.0.0.1:1/";
    CAIRN_CO_TRY(const auto elsewhere, co_await w.http->send(request));
    EXPECT_EQ(elsewhere.status, 403);
    request.url = w.url("/a");
    request.headers.add("X-Tng-Http-Forward", "true");
    CAIRN_CO_TRY(const auto loop, co_await w.http->send(request));
    EXPECT_EQ(loop.status, 508);
    co_return Result<>{};
  });
}

TEST(TngProxy, ConflictingHostsAreRefused) {
  run([](World& w) -> net::Task<> {
    const Json json31 = {{"no_ra", true}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json31));
    CAIRN_CO_TRY(auto stream, co_await net::connect(*net::Endpoint::parse(w.client->ingress_address(0))));
    CAIRN_CO_CHECK(co_await stream->write("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n"));
    std::array<std::uint8_t, 1024> bytes;
    CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(bytes));
    EXPECT_THAT(std::string(as_text(ByteView(bytes).first(n))), HasSubstr("HTTP/1.1 400"));
    co_return Result<>{};
  });
}

TEST(TngProxy, UnreachableServerIsABadGateway) {
  run([](World& w) -> net::Task<> {
    const Json json32 = {{"no_ra", true}};
    CAIRN_CO_CHECK(co_await w.start_proxy(json32));
    CAIRN_CO_TRY(const auto got, co_await w.http->get("http://127.0.0.1:1/"));
    EXPECT_EQ(got.status, 502);
    EXPECT_THAT(got.body, HasSubstr("\"attestation_error\":null"));
    co_return Result<>{};
  });
}

TEST(TngSocks5, PasswordAndConnect) {
  run([](World& w) -> net::Task<> {
    const Json json33 = {{"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json33));
    const Json socks = {{"proxy_listen", endpoint(0)}, {"auth", {{"username", "u"}, {"password", "p"}}}};
    const Json block = {{"socks5", socks}, {"verify", w.verify()}};
    const Json json34 = {{"add_ingress", {block}}};
    CAIRN_CO_CHECK(co_await w.start(w.client, json34));
    for (const bool right : {true, false}) {
      CAIRN_CO_TRY(auto stream, co_await net::connect(*net::Endpoint::parse(w.client->ingress_address(0))));
      const Bytes bytes35{5, 2, 0, 2};
      CAIRN_CO_CHECK(co_await stream->write(bytes35));
      std::array<std::uint8_t, 2> two;
      CAIRN_CO_CHECK(co_await stream->read_exactly(two));
      EXPECT_EQ(two[1], 2);
      const Bytes bytes36{1, 1, 'u', 1, static_cast<std::uint8_t>(right ? 'p' : 'q')};
      CAIRN_CO_CHECK(co_await stream->write(bytes36));
      CAIRN_CO_CHECK(co_await stream->read_exactly(two));
      EXPECT_EQ(two[1], right ? 0 : 1);
      if (!right) continue;
      const Bytes bytes37{5,
                          1,
                          0,
                          1,
                          127,
                          0,
                          0,
                          1,
                          static_cast<std::uint8_t>(w.server_port >> 8),
                          static_cast<std::uint8_t>(w.server_port)};
      CAIRN_CO_CHECK(co_await stream->write(bytes37));
      std::array<std::uint8_t, 10> ten;
      CAIRN_CO_CHECK(co_await stream->read_exactly(ten));
      EXPECT_EQ(ten[1], 0);
      CAIRN_CO_CHECK(co_await stream->write("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
      std::array<std::uint8_t, 12> status;
      CAIRN_CO_CHECK(co_await stream->read_exactly(status));
      EXPECT_EQ(as_text(status), "HTTP/1.1 200");
    }
    co_return Result<>{};
  });
}

// ------------------------------------------------------------------------------------------------ life and death

TEST(TngLife, ControlInterface) {
  run([](World& w) -> net::Task<> {
    const Json json38 = {{"attest", w.attest()}};
    CAIRN_CO_CHECK(co_await w.start_server(json38));
    net::HttpClient http;
    const std::string base = "http://" + w.server->control_address();
    CAIRN_CO_TRY(const auto live, co_await http.get(base + "/livez"));
    EXPECT_EQ(live.body, "ok");
    CAIRN_CO_TRY(const auto ready, co_await http.get(base + "/readyz"));
    EXPECT_EQ(ready.status, 200);
    CAIRN_CO_TRY(const auto metrics, co_await http.get(base + "/metrics"));
    for (const char* name : {"live 1", "cx_total{", "cx_active{", "cx_failed{", "tx_bytes_total{", "rx_bytes_total{",
                             "egress_type=\"mapping\""})
      EXPECT_THAT(metrics.body, HasSubstr(name));
    CAIRN_CO_TRY(const auto status, co_await http.get(base + "/status"));
    EXPECT_EQ((*parse_json(status.body))["egress"][0]["type"], "mapping");
    co_return Result<>{};
  });
}

TEST(TngLife, NoAgentNoStart) {
  run([](World& w) -> net::Task<> {
    const Json block = {{"mapping", {{"in", endpoint(0)}, {"out", endpoint(1)}}},
                        {"attest", {{"aa_addr", "unix:///nowhere/aa.sock"}}}};
    auto started = co_await w.start(w.server, {{"add_egress", {block}}});
    EXPECT_FALSE(started);
    EXPECT_FALSE(w.server->status().ready());
    co_return Result<>{};
  });
}

TEST(TngLife, FreshEvidenceForEveryHandshake) {
  run([](World& w) -> net::Task<> {
    Json attest = w.attest();
    attest["refresh_interval"] = 0;
    const Json json39 = {{"attest", attest}};
    CAIRN_CO_CHECK(co_await w.start_server(json39));
    const int before = w.agent.calls;
    Json mapping = {{"mapping", {{"in", endpoint(0)}, {"out", endpoint(w.server_port)}}},
                    {"rats_tls", {{"multiplex", false}}},
                    {"verify", w.verify()}};
    const Json json40 = {{"add_ingress", {mapping}}};
    CAIRN_CO_CHECK(co_await w.start(w.client, json40));
    for (int i = 0; i < 3; ++i) {
      net::HttpClient plain;
      CAIRN_CO_TRY(const auto got, co_await plain.send(post("http://" + w.client->ingress_address(0) + "/a", "b")));
      EXPECT_EQ(got.body, "b");
    }
    EXPECT_EQ(w.agent.calls - before, 3);
    EXPECT_EQ(w.service.calls, 3);
    co_return Result<>{};
  });
}

TEST(TngLife, IdleConnectionsToAProtectedPortAreClosed) {
  run([](World& w) -> net::Task<> {
    const Json json41 = {{"no_ra", true}};
    CAIRN_CO_CHECK(co_await w.start_server(json41));
    CAIRN_CO_TRY(auto stream, co_await net::connect(net::Endpoint::tcp("127.0.0.1", w.server_port)));
    const auto begin = monotonic_ms();
    std::array<std::uint8_t, 1> byte;
    auto n = co_await stream->read_some(byte);
    EXPECT_TRUE(!n || *n == 0);
    EXPECT_LT(monotonic_ms() - begin, 10'000);
    co_return Result<>{};
  });
}

}  // namespace
}  // namespace cairn::tng
