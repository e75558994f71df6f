// The agent behind its real socket, with a key broker that checks what a real one checks.
#include "guest/aa/agent.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "guest/aa/instance_info.h"
#include "guest/aa/service.h"
#include "guest/aa/test_tee.h"
#include "guest/common/daemon.h"
#include "kbs_protocol/aa_client.h"
#include "kbs_protocol/proto.h"
#include "kbs_protocol/test_kbs.h"

namespace cairn::aa {
namespace {

namespace fs = std::filesystem;
using kbs::Profile;

class AgentTest : public testing::TestWithParam<Profile> {
 protected:
  AgentTest() {
    dir_ = fs::temp_directory_path() / ("cairn_agent_test." + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    mock_.profile = options_.profile = GetParam();
  }
  ~AgentTest() override { fs::remove_all(dir_); }

  // Serves `attester` on a socket and runs `test` with a client of it.
  Result<> with_agent(Attester& attester, std::function<net::Task<>(agent::Client&, net::Runtime&)> test) {
    return kbs::with_mock(mock_, [&](net::Runtime& runtime, std::string url) -> net::Task<> {
      if (configured_) {
        options_.config.kbs = KbsConfig{.url = url, .cert = {}, .tee_key = {}};
        options_.config.coco_as_url = url + "/attestation-service";
      }
      Agent agent(runtime, attester, options_);
      net::TtrpcServer server(runtime);
      register_service(server, agent);
      const std::string address = "unix://" + (dir_ / "run/aa.sock").string();
      CAIRN_CO_CHECK(guest::listen_unix(server, address));
      CAIRN_CO_TRY(auto client, agent::Client::at(address, std::chrono::seconds(20)));
      auto outcome = co_await test(client, runtime);
      CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(1000)));
      co_return outcome;
    });
  }

  kbs::MockKbs mock_;
  AgentOptions options_;
  bool configured_ = true;
  fs::path dir_;
};
INSTANTIATE_TEST_SUITE_P(Profiles, AgentTest, testing::Values(Profile::p1, Profile::p2),
                         [](const auto& tested) { return tested.param == Profile::p1 ? "P1" : "P2"; });

TEST_P(AgentTest, EvidenceAndTeeType) {
  const auto attester = sample_attester();
  const auto done = with_agent(*attester, [&](agent::Client& client, net::Runtime&) -> net::Task<> {
    CAIRN_CO_TRY(const auto tee, co_await client.tee_type());
    EXPECT_EQ(tee, "sample");
    for (const std::size_t size : {0U, 48U, 64U}) {
      CAIRN_CO_TRY(const auto text, co_await client.evidence(Bytes(size, 3)));
      EXPECT_EQ((*parse_json(text))["report_data"], Json(base64(Bytes(size, 3))));
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
  EXPECT_FALSE(fs::exists(dir_ / "run/aa.sock"));
}

TEST_P(AgentTest, TooMuchRuntimeDataIsRefusedByTheServerToo) {
  const auto attester = sample_attester();
  const auto done = with_agent(*attester, [&](agent::Client&, net::Runtime&) -> net::Task<> {
    net::TtrpcClient raw(net::Endpoint::local(dir_ / "run/aa.sock"));
    auto reply = co_await raw.call(std::string(agent::service_name), "GetEvidence",
                                   proto::encode(agent::RuntimeDataRequest{Bytes(65)}));
    EXPECT_FALSE(reply);
    EXPECT_EQ(reply.error().code, net::RpcCode::internal);
    EXPECT_EQ(reply.error().message, "[ERROR:attestation-agent] AA-KBC get evidence failed");
    reply = co_await raw.call(std::string(agent::service_name), "GetEvidence", Bytes{0x0A, 0x05});
    EXPECT_EQ(reply.error().code, net::RpcCode::invalid_argument);
    reply = co_await raw.call(std::string(agent::service_name), "Nope", {});
    EXPECT_EQ(reply.error().code, net::RpcCode::unimplemented);
    const bool p1 = GetParam() == Profile::p1;
    reply = co_await raw.call(std::string(agent::service_name), "GetAdditionalTees", {});
    EXPECT_EQ(reply.has_value(), !p1);
    reply = co_await raw.call(std::string(agent::service_name), "UpdateConfiguration", {});
    EXPECT_EQ(reply.has_value(), p1);
    co_await raw.close();
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
}

TEST_P(AgentTest, KbsTokenComesWithItsKey) {
  const auto attester = sample_attester();
  options_.sample_device = GetParam() == Profile::p2;
  const auto done = with_agent(*attester, [&](agent::Client& client, net::Runtime&) -> net::Task<> {
    std::string last;
    for (int i = 0; i < 2; ++i) {
      CAIRN_CO_TRY(const Secret text, co_await client.token("kbs"));
      const auto json = *parse_json(as_text(text.view()));
      EXPECT_EQ(json["token"], Json(mock_.token));
      const auto key = kbs::TeeKey::from_pem(GetParam(), json["tee_keypair"].get<std::string>());
      EXPECT_TRUE(key);
      const Json& sent =
          GetParam() == Profile::p1 ? mock_.last_attest["tee-pubkey"] : mock_.last_attest["runtime-data"]["tee-pubkey"];
      EXPECT_EQ(key->public_jwk(), sent);
      EXPECT_NE(json["tee_keypair"].get<std::string>(), last);  // a new pair every time
      last = json["tee_keypair"].get<std::string>();
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
  EXPECT_EQ(mock_.auths, 2);
  EXPECT_TRUE(GetParam() == Profile::p1 || mock_.last_attest["tee-evidence"]["additional_evidence"] != "");
}

TEST_P(AgentTest, TokenFailuresHaveTheOneText) {
  const auto attester = sample_attester();
  mock_.refuse_attest = "AttestationError";
  const auto done = with_agent(*attester, [&](agent::Client& client, net::Runtime&) -> net::Task<> {
    for (const char* type : {"kbs", "other", ""}) {
      const auto token = co_await client.token(type);
      if (token) co_return fail(ErrorCode::internal, "a token of type " + std::string(type));
      EXPECT_NE(token.error().message.find("[ERROR:attestation-agent] AA-KBC get token failed"), std::string::npos);
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
  configured_ = false;
  options_.config.kbs.reset();
  options_.config.coco_as_url.reset();
  EXPECT_TRUE(with_agent(*attester, [](agent::Client& client, net::Runtime&) -> net::Task<> {
    EXPECT_FALSE(co_await client.token("kbs"));
    EXPECT_FALSE(co_await client.token("coco_as"));
    co_return Result<>{};
  }));
}

TEST_P(AgentTest, EventsReachTheRegister) {
  FakeTee tee;
  const auto form = GetParam() == Profile::p1 ? LogForm::text : LogForm::tcg2;
  auto log = *EventLog::open({.path = dir_ / "log/eventlog", .form = form}, tee);
  const auto attester = tdx_attester(tee, log.get(), GetParam());
  const auto done = with_agent(*attester, [&](agent::Client& client, net::Runtime&) -> net::Task<> {
    const auto before = tee.rtmr[3];
    CAIRN_CO_CHECK(co_await client.extend("domain", "operation", "content"));
    EXPECT_NE(tee.rtmr[3], before);
    EXPECT_FALSE(co_await client.extend("domain", "operation", "two words"));
    EXPECT_FALSE(co_await client.extend("domain", "operation", "x", 1));
    CAIRN_CO_CHECK(co_await client.bind_init_data(Bytes(48)));
    EXPECT_FALSE(co_await client.bind_init_data(Bytes(48, 1)));
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
}

TEST_P(AgentTest, ManyCallsAtOnceAreEachAnswered) {
  FakeTee tee;
  tee.slow_quotes = true;
  const auto attester = tdx_attester(tee, nullptr, GetParam());
  const auto done = with_agent(*attester, [&](agent::Client& client, net::Runtime&) -> net::Task<> {
    net::TaskGroup group(co_await net::this_loop());
    int right = 0;
    for (std::uint8_t i = 0; i < 40; ++i)
      group.spawn([](agent::Client& c, std::uint8_t value, int& count) -> net::Task<> {
        CAIRN_CO_TRY(const auto text, co_await c.evidence(Bytes(1, value)));
        const Bytes quote = *from_base64((*parse_json(text))["quote"].get<std::string>());
        if (quote[0] == value) ++count;
        co_return Result<>{};
      }(client, i, right));
    co_await group.join();
    EXPECT_EQ(right, 40);
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
}

TEST(InstanceInfo, FromTheMetadataService) {
  const auto done = net::run_task([](net::Runtime& runtime) -> net::Task<> {
    net::Router router;
    router.add("PUT", "/latest/api/token", net::responder([](net::Exchange& e) -> net::Task<net::Response> {
                 EXPECT_EQ(e.request().headers.get("X-aliyun-ecs-metadata-token-ttl-seconds"), "300");
                 co_return net::Response::text(200, "T");
               }));
    router.add("GET", "/latest/meta-data/{rest*}", net::responder([](net::Exchange& e) -> net::Task<net::Response> {
                 EXPECT_EQ(e.request().headers.get("X-aliyun-ecs-metadata-token"), "T");
                 if (e.parameter("rest") == "image-id") co_return net::Response::empty(404);
                 co_return net::Response::text(200, "v-" + e.parameter("rest"));
               }));
    net::HttpServer server(runtime, router);
    CAIRN_CO_TRY(const auto bound, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    CAIRN_CO_TRY(const auto info,
                 co_await collect_instance_info("aliyun_ecs", {}, "http://127.0.0.1:" + std::to_string(bound.port)));
    EXPECT_EQ(
        info,
        R"({"image_id":null,"instance_id":"v-instance-id","instance_name":"v-instance/instance-name","owner_account_id":"v-owner-account-id"})");
    CAIRN_CO_TRY(const auto nobody, co_await collect_instance_info("aliyun_ecs", {}, "http://127.0.0.1:1"));
    EXPECT_EQ((*parse_json(nobody))["instance_id"], Json());
    CAIRN_CO_TRY(const auto eas,
                 co_await collect_instance_info("aliyun_eas", [](const char* name) -> std::optional<std::string> {
                   return std::string_view(name) == "POD_NAME" ? std::optional<std::string>("pod-é") : std::nullopt;
                 }));
    EXPECT_EQ((*parse_json(eas))["eas_pod_name"], "pod-é");
    EXPECT_TRUE(net::valid_field_value(eas));
    EXPECT_EQ(*co_await collect_instance_info("", {}), "");
    co_return co_await server.stop(net::Milliseconds(100));
  });
  EXPECT_TRUE(done) << done.error().text();
}

}  // namespace
}  // namespace cairn::aa
