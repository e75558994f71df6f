// The Trustee over real sockets, asked by the product's own clients: the wire as both ends see it.
#include "trustee/server.h"
#include "base/test_folder.h"

#include "cli/trustee/admin_client.h"
#include "crypto/hash.h"
#include "device/collateral/test_gpu_service.h"
#include "device/collateral/test_pcs.h"
#include "kbs_protocol/client.h"
#include "net/http_client.h"
#include "trustee/machine_test.h"

namespace cairn::trustee::test {
namespace {

using cairn::kbs::Profile;
using cairn::kbs::TeeKey;

class SampleEvidence final : public cairn::kbs::EvidenceProvider {
 public:
  net::Task<std::string> tee_type() override { co_return std::string("sample"); }
  net::Task<std::string> evidence(Bytes report_data) override {
    co_return compact_json({{"svn", "1"}, {"report_data", base64(report_data)}});
  }
  net::Task<std::string> additional_evidence(Bytes) override { co_return std::string(); }
};

// Serves `config` on free ports while `client` runs.
void with_server(Config config, std::function<net::Task<>(const std::vector<net::Endpoint>&)> client) {
  config.listen = "127.0.0.1:0";
  net::Runtime runtime({.loops = 2, .workers = 2, .signals = false});
  const auto ended = runtime.run([&](net::Runtime& r) -> net::Task<> {
    auto ready = [&](const std::vector<net::Endpoint>& endpoints) {
      net::spawn(
          r.loop(1),
          [](net::Runtime& inner, auto& run, std::vector<net::Endpoint> at) -> net::Task<> {
            const auto done = co_await run(at);
            EXPECT_TRUE(done) << done.error().text();
            inner.request_stop();
            co_return Result<>{};
          }(r, client, endpoints),
          "client");
    };
    co_return co_await serve(r, config, ready);
  });
  EXPECT_TRUE(ended) << ended.error().text();
}

std::string url(const net::Endpoint& endpoint, std::string_view path) {
  return "http://" + endpoint.text() + std::string(path);
}

TEST(Server, AdministratorAndBothProtocols) {
  const TestFolder folder;
  Config config;
  config.data = folder / "data";
  config.sample = true;
  with_server(config, [&](const std::vector<net::Endpoint>& at) -> net::Task<> {
    CAIRN_CO_TRY(const Secret pem, read_secret(config.data / "private.key"));
    CAIRN_CO_TRY(auto key, crypto::PrivateKey::from_pem(as_text(pem.view())));
    cli::AdminClient admin({.url = url(at[0], "/api/"), .extra_roots_pem = {}}, key);
    CAIRN_CO_TRY(const Json health, co_await admin.health());
    EXPECT_EQ(health["rvps"]["status"], "ok");
    CAIRN_CO_CHECK(co_await admin.set_resource("default/aliyun/key", Secret(as_bytes("a key"))));
    CAIRN_CO_TRY(const Json list, co_await admin.list_resources("default"));
    EXPECT_EQ(list.size(), 1U);

    SampleEvidence evidence;
    for (const auto profile : {Profile::p1, Profile::p2}) {
      cairn::kbs::ClientOptions options;
      options.url = url(at[0], "/api");
      options.profile = profile;
      options.handshake_pause = net::Milliseconds(1);
      const auto make = [&] {
        return cairn::kbs::Client::create(options, evidence,
                                          TeeKey::generate(cairn::kbs::default_tee_key(profile)).value());
      };
      CAIRN_CO_TRY(auto client, make());
      CAIRN_CO_TRY(auto uri, cairn::kbs::ResourceUri::parse("kbs:///default/aliyun/key"));
      const auto refused = co_await client->resource(uri);
      EXPECT_FALSE(refused);
      EXPECT_NE(refused.error().text().find("is not registered"), std::string::npos) << refused.error().text();
      CAIRN_CO_CHECK(
          co_await admin.register_reference_values({{"sample.svn", {"1"}}, {"sample.launch_digest", {"abcde"}}}, true));
      CAIRN_CO_TRY(client, make());  // a session keeps its verdict: a new one asks anew
      const auto released = co_await client->resource(uri);
      EXPECT_TRUE(released) << released.error().text();
      EXPECT_TRUE(released && as_text(released->view()) == "a key");
      CAIRN_CO_CHECK(co_await admin.delete_reference_value("sample.svn"));
    }
    const auto stranger = crypto::PrivateKey::generate(crypto::KeyType::ed25519).value();
    cli::AdminClient other({.url = url(at[0], "/api"), .extra_roots_pem = {}}, stranger);
    EXPECT_EQ((co_await other.delete_resource("default/aliyun/key")).error().code, ErrorCode::unauthenticated);
    CAIRN_CO_TRY(const std::string policy, co_await admin.attestation_policy("default"));
    EXPECT_NE(policy.find("package policy"), std::string::npos);
    EXPECT_EQ((co_await admin.set_resource_policy("package policy\nallow {")).error().code, ErrorCode::malformed);
    co_return Result<>{};
  });
}

TEST(Server, OwnPortsAndBodyLimit) {
  const TestFolder folder;
  Config config;
  config.data = folder / "data";
  config.kbs_listen = config.as_listen = "127.0.0.1:0";
  config.body_mib = 1;
  with_server(config, [&](const std::vector<net::Endpoint>& at) -> net::Task<> {
    net::HttpClient http;
    CAIRN_CO_TRY(const auto certificate, co_await http.get(url(at[2], "/certificate")));
    EXPECT_EQ(certificate.status, 200);
    const std::string body = R"({"version":"0.1.0","tee":"tdx","extra-params":""})";
    CAIRN_CO_TRY(const auto auth,
                 co_await http.send({.method = "POST", .url = url(at[1], "/kbs/v0/auth"), .body = body}));
    EXPECT_EQ(auth.status, 200);
    CAIRN_CO_TRY(const auto outside, co_await http.get(url(at[1], "/api/health")));
    EXPECT_EQ(outside.status, 404);
    const std::string path = "/api/as/attestation";
    CAIRN_CO_TRY(const auto fits,
                 co_await http.send({.method = "POST", .url = url(at[0], path), .body = std::string(1 << 20, ' ')}));
    EXPECT_EQ(fits.status, 400);
    CAIRN_CO_TRY(
        const auto large,
        co_await http.send({.method = "POST", .url = url(at[0], path), .body = std::string((1 << 20) + 1, ' ')}));
    EXPECT_EQ(large.status, 413);
    co_return Result<>{};
  });
}

// A quote and GPUs whose documents nobody has yet: they are fetched one after the other, while one request waits.
TEST(Server, WhatTwoServicesSayIsFetchedForOneRequest) {
  const TestFolder folder;
  const Machine machine(folder / "td", Profile::p1);
  const tdx::Collateral collateral = tdx::parse_collateral(read_text(machine.td->collateral_path()).value()).value();
  device::GpuService gpus({}, now());
  const device::Served services(net::responder([&](net::Exchange& e) -> net::Task<net::Response> {
    CAIRN_CO_TRY(const std::string body, co_await e.body());
    if (e.request().path().contains("/certification/")) co_return device::answer_pcs(collateral, e.request());
    co_return gpus.answer(e.request(), body);
  }));
  Config config;
  config.data = folder / "data";
  config.simulated_roots = {machine.td->root_path()};
  config.pccs_urls = {services.url};
  config.gpu_rim_url = services.url + "/v1/rim/";
  config.gpu_ocsp_url = services.url;
  EXPECT_TRUE(write_text(folder / "device.pem", gpus.simulator.roots().device[0].certificate.pem()));
  EXPECT_TRUE(write_text(folder / "rim.pem", gpus.simulator.roots().rim[0].certificate.pem()));
  config.gpu_device_roots = {folder / "device.pem"};
  config.gpu_rim_roots = {folder / "rim.pem"};
  const Bytes report_data(48, 5);
  const auto reports = gpus.simulator.evidence(nvidia::nonce_of_report_data(report_data).value()).value();
  Json evidence = machine.evidence(report_data);
  evidence["gpu_evidence"]["evidence_list"] = Json::array();
  evidence["gpu_evidence"]["evidence_list"].push_back(
      {{"attestation_report", base64(reports.devices[0].report)},
       {"certificate", base64(as_bytes(reports.devices[0].certificate))}});
  Json request = {{"tee", "tdx"}, {"evidence", base64url(as_bytes(compact_json(evidence)))}};
  const std::string body = compact_json({{"verification_requests", Json::array({request})}});
  with_server(config, [&](const std::vector<net::Endpoint>& at) -> net::Task<> {
    net::HttpClient http;
    net::ClientRequest post{.method = "POST", .url = url(at[0], "/api/as/attestation"), .body = body};
    CAIRN_CO_TRY(const net::Response token, co_await http.send(std::move(post)));
    EXPECT_EQ(token.status, 200) << token.body;
    const auto claims = crypto::parse_jws(token.body).and_then([](const auto& jws) { return jws.claims(); });
    EXPECT_TRUE(claims);
    if (!claims) co_return Result<>{};
    const Json& seen = (*claims)["submods"]["cpu0"]["ear.veraison.annotated-evidence"]["tdx"];
    EXPECT_EQ(seen["gpu"]["verified"], true) << seen["gpu"].dump();
    CAIRN_CO_TRY(const net::Response metrics, co_await http.get(url(at[0], "/metrics")));
    EXPECT_TRUE(metrics.body.contains("cairn_trustee_collateral_held{kind=\"tdx\"} 1\n")) << metrics.body;
    EXPECT_TRUE(metrics.body.contains("cairn_trustee_collateral_held{kind=\"gpu_ocsp\"} 6\n")) << metrics.body;
    co_return Result<>{};
  });
}

}  // namespace
}  // namespace cairn::trustee::test
