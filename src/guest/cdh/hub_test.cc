#include "guest/cdh/hub.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/aead.h"
#include "crypto/jose.h"
#include "guest/cdh/service.h"
#include "guest/common/daemon.h"
#include "kbs_protocol/proto.h"
#include "kbs_protocol/test_kbs.h"

namespace cairn::cdh {
namespace {

namespace fs = std::filesystem;

struct MapSource final : ResourceSource {
  std::map<std::string, std::string> values;
  net::Task<Secret> get(kbs::ResourceUri uri) override {
    const auto found = values.find(uri.path());
    if (found == values.end()) co_return fail(ErrorCode::not_found, uri.path(), "not here");
    co_return Secret(as_bytes(found->second));
  }
};

class HubTest : public testing::Test {
 protected:
  HubTest() {
    dir_ = fs::temp_directory_path() / ("cairn_hub_test." + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_ / "data/sealed-secret");
    options_.data_folder = dir_ / "data";
    source_.values["a/b/c"] = "value";
  }
  ~HubTest() override { fs::remove_all(dir_); }

  template <class T>
  Result<T> with_hub(std::function<net::Task<T>(Hub&)> test) {
    const auto with_runtime = [&](net::Runtime&) -> net::Task<T> {
      Hub hub(source_, &evidence_, options_);
      co_return co_await test(hub);
    };
    if constexpr (std::is_void_v<T>)
      return net::run_task(with_runtime);
    else
      return net::run_to_end<T>(with_runtime);
  }
  Result<std::string> unseal(const std::string& text) {
    auto out = with_hub<Secret>([&](Hub& hub) { return hub.unseal(text); });
    if (!out) return fail(out.error());
    return std::string(as_text(out->view()));
  }
  std::string sealed(const Json& header, std::string_view name = "kbs:///a/b/c",
                     std::string_view provider = "kbs") const {
    const std::string payload =
        compact_json({{"version", "0.1.0"}, {"type", "vault"}, {"name", name}, {"provider", provider}});
    return "sealed." + *crypto::sign_jws(header, as_bytes(payload), key_, crypto::JwsAlg::es256);
  }

  crypto::PrivateKey key_ = *crypto::PrivateKey::generate(crypto::KeyType::ec_p256);
  std::string jwk_ = compact_json(crypto::emit_jwk(key_.public_key(), "ES256"));
  MapSource source_;
  kbs::SampleEvidence evidence_;
  HubOptions options_;
  fs::path dir_;
};

TEST_F(HubTest, ResourcesByUri) {
  EXPECT_EQ(as_text(with_hub<Secret>([](Hub& h) { return h.resource("kbs:///a/b/c"); })->view()), "value");
  EXPECT_EQ(with_hub<Secret>([](Hub& h) { return h.resource("kbs:///a/b/d"); }).error().code, ErrorCode::not_found);
  EXPECT_EQ(with_hub<Secret>([](Hub& h) { return h.resource("a/b/c"); }).error().code, ErrorCode::invalid_argument);
}

TEST_F(HubTest, SealedSecretsAreVerifiedByKeysFromFilesAndResources) {
  ASSERT_TRUE(write_text(dir_ / "data/sealed-secret/signer", jwk_));
  source_.values["keys/sign/one"] = jwk_;
  EXPECT_EQ(*unseal(sealed({{"kid", "signer"}})), "value");
  EXPECT_EQ(*unseal(sealed({{"kid", "kbs:///keys/sign/one"}})), "value");
  EXPECT_FALSE(unseal(sealed({{"kid", "nobody"}})));
  EXPECT_FALSE(unseal(sealed({{"kid", "../signer"}})));
  source_.values["keys/sign/one"] =
      compact_json(crypto::emit_jwk(crypto::PrivateKey::generate(crypto::KeyType::ec_p256)->public_key(), ""));
  EXPECT_EQ(unseal(sealed({{"kid", "kbs:///keys/sign/one"}})).error().code, ErrorCode::crypto_failed);
}

TEST_F(HubTest, UnsignedSecretsNeedTheOption) {
  const std::string payload = R"({"version":"0.1.0","type":"vault","name":"kbs:///a/b/c","provider":"kbs"})";
  const std::string text = "sealed.fakejwsheader." + base64url(as_bytes(payload)) + ".fakesignature";
  EXPECT_EQ(unseal(text).error().code, ErrorCode::crypto_failed);
  options_.accept_unsigned_secrets = true;
  EXPECT_EQ(*unseal(text), "value");
}

TEST_F(HubTest, OtherProvidersAreNamed) {
  ASSERT_TRUE(write_text(dir_ / "data/sealed-secret/signer", jwk_));
  const auto refused = unseal(sealed({{"kid", "signer"}}, "x", "aliyun"));
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_NE(refused.error().message.find("aliyun"), std::string::npos);
}

TEST_F(HubTest, LayerKeysAreUnwrapped) {
  const Bytes kek(32, 4), iv(12, 5);
  source_.values["keys/kek/1"] = std::string(as_text(kek));
  Json packet = {
      {"kid", "kbs:///keys/kek/1"},
      {"wrapped_data", base64(*crypto::seal(crypto::Aead::aes_256_gcm, kek, iv, {}, as_bytes("\x01\x02\xFF")))},
      {"iv", base64(iv)},
      {"wrap_type", "A256GCM"}};
  const auto unwrap = [&] {
    const Json input = {
        {"op", "keyunwrap"},
        {"keywrapparams", Json::object()},
        {"keyunwrapparams", {{"dc", Json::object()}, {"annotation", base64(as_bytes(compact_json(packet)))}}}};
    return with_hub<Secret>([&](Hub& h) { return h.unwrap_key(to_bytes(compact_json(input))); });
  };
  EXPECT_EQ(as_text(unwrap()->view()), R"({"keyunwrapresults":{"optsdata":[1,2,255]}})");
  packet["version"] = "0.1.0";
  packet["provider"] = "kbs";
  EXPECT_TRUE(unwrap());
  packet["provider"] = "ehsm";
  EXPECT_EQ(unwrap().error().code, ErrorCode::unsupported);
  packet["provider"] = "kbs";
  packet["wrap_type"] = "A256CTR";
  EXPECT_EQ(unwrap().error().code, ErrorCode::unsupported);
  EXPECT_EQ(with_hub<Secret>([](Hub& h) { return h.unwrap_key(to_bytes("{}")); }).error().code, ErrorCode::malformed);
}

TEST_F(HubTest, InjectionIsSingleUseAndBoundToItsResource) {
  const auto done = with_hub<void>([&](Hub& hub) -> net::Task<> {
    CAIRN_CO_TRY(const auto session, co_await hub.prepare_injection({"default/x/y", "nonce-1"}));
    const Json key = *parse_json(session.tee_pubkey);
    const auto bound = crypto::sha384(as_bytes(*canonical_json({{"nonce", "nonce-1"}, {"tee-pubkey", key}})));
    EXPECT_EQ((*parse_json(as_text(session.evidence)))["report_data"], Json(base64(bound.view())));
    const auto answer =
        to_bytes(compact_json(*crypto::encrypt_answer(key, as_bytes("pushed"), crypto::AnswerForm::rfc7516)));
    EXPECT_FALSE(hub.commit_injection({"wrong", "default/x/y", answer}));
    CAIRN_CO_CHECK(hub.commit_injection({session.session_id, "default/x/y", answer}));
    EXPECT_EQ(*read_text(options_.data_folder / "default/x/y"), "pushed");
    struct stat info{};
    EXPECT_EQ(::stat((options_.data_folder / "default/x/y").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
    EXPECT_FALSE(hub.commit_injection({session.session_id, "default/x/y", answer}));
    CAIRN_CO_TRY(const auto other, co_await hub.prepare_injection({"default/x/z", "n"}));
    EXPECT_FALSE(hub.commit_injection({other.session_id, "default/x/other", answer}));
    EXPECT_FALSE(co_await hub.prepare_injection({"../x/y", "n"}));
    EXPECT_FALSE(co_await hub.prepare_injection({"default/x/y", ""}));
    for (int i = 0; i < 64; ++i) CAIRN_CO_CHECK(co_await hub.prepare_injection({"default/x/y", "n"}));
    EXPECT_EQ((co_await hub.prepare_injection({"default/x/y", "n"})).error().code, ErrorCode::unavailable);
    co_return Result<>{};
  });
  EXPECT_TRUE(done) << done.error().text();
}

TEST_F(HubTest, MountsAreRefusedWithAdvice) {
  const auto refused = with_hub<void>(
      [](Hub& h) -> net::Task<> { co_return fail(h.secure_mount({"alibaba-cloud-oss", {}, {}, "/m"}).error()); });
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_NE(refused.error().message.find("cairn-cachefs"), std::string::npos);
}

TEST_F(HubTest, OfflineFiles) {
  EXPECT_TRUE(offline_source(dir_));  // both missing: a warning
  ASSERT_TRUE(write_text(dir_ / "aa-offline_fs_kbc-keys.json", R"({"a/b/c":"b2xk","a/b/k":"a2V5"})"));
  ASSERT_TRUE(write_text(dir_ / "aa-offline_fs_kbc-resources.json", R"({"a/b/c":"bmV3"})"));
  auto source = *offline_source(dir_);
  const auto get = [&](const char* path) {
    return net::run_to_end<Secret>([&](net::Runtime&) { return source->get(*kbs::ResourceUri::from_path(path)); });
  };
  EXPECT_EQ(as_text(get("a/b/c")->view()), "new");
  EXPECT_EQ(as_text(get("a/b/k")->view()), "key");
  EXPECT_EQ(get("a/b/x").error().code, ErrorCode::not_found);
  ASSERT_TRUE(write_text(dir_ / "aa-offline_fs_kbc-keys.json", R"({"a/b":"!"})"));
  EXPECT_FALSE(offline_source(dir_));
}

// The services on a socket: right answers and the one error text per method.
TEST_F(HubTest, ServicesOnTheWire) {
  const auto done = net::run_task([&](net::Runtime& runtime) -> net::Task<> {
    Hub hub(source_, &evidence_, options_);
    net::TtrpcServer server(runtime);
    register_services(server, hub);
    CAIRN_CO_TRY(const auto endpoint, guest::listen_unix(server, "unix://" + (dir_ / "run/cdh.sock").string()));
    net::TtrpcClient client(endpoint);
    const auto call = [&](std::string_view service, std::string method, Bytes payload) {
      return client.call(std::string(service), std::move(method), std::move(payload));
    };
    auto reply =
        co_await call(api::resource_service, "GetResource", proto::encode(api::GetResourceRequest{"kbs:///a/b/c"}));
    if (!reply) co_return fail(net::to_error(reply.error()));
    EXPECT_EQ(as_text(proto::decode<api::BytesMessage>(*reply)->value), "value");
    const std::tuple<std::string_view, const char*, const char*> failing[] = {
        {api::resource_service, "GetResource", "[CDH] [ERROR]: Get Resource failed"},
        {api::sealed_secret_service, "UnsealSecret", "[CDH] [ERROR]: Unseal Secret failed"},
        {api::mount_service, "SecureMount", "[CDH] [ERROR]: secure mount failed"},
        {api::image_service, "PullImage", "[CDH] [ERROR]: pull image failed"},
        {api::key_provider_service, "UnWrapKey", "[ERROR] UnwrapKey Parse request failed"}};
    for (const auto& [service, method, text] : failing) {
      reply = co_await call(service, method, {});
      if (reply) co_return fail(ErrorCode::internal, std::string(method) + " did not fail");
      EXPECT_EQ(reply.error().code, net::RpcCode::internal) << method;
      EXPECT_EQ(reply.error().message, text);
    }
    reply = co_await call(api::key_provider_service, "WrapKey", {});
    EXPECT_TRUE(!reply && reply.error().code == net::RpcCode::unimplemented);
    co_await client.close();
    co_return co_await server.stop(net::Milliseconds(500));
  });
  EXPECT_TRUE(done) << done.error().text();
}

TEST(CdhConfig, FileEnvironmentAndKernel) {
  const auto none = [](const char*) -> std::optional<std::string> { return std::nullopt; };
  const auto c = read_config(
      *parse_toml("socket = \"unix:///run/x.sock\"\n[kbc]\nname = \"cc_kbc\"\nurl = \"http://1.2.3.4:8081/api\"\n"
                  "[[credentials]]\nresource_uri = \"kbs:///a/b/c\"\npath = "
                  "\"/run/confidential-containers/cdh/x/y\"\n[image]\nwork_dir = \"/x\"\n",
                  "t"));
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->kbc_url, "http://1.2.3.4:8081/api");
  EXPECT_EQ(c->credentials.size(), 1U);
  for (const char* bad :
       {"", "[kbc]\nname = \"x\"\n", "[kbc]\nname = \"cc_kbc\"\n", "[kbc]\nname = \"online_sev_kbc\"\n",
        "[kbc]\nname = \"offline_fs_kbc\"\nurll = \"x\"\n",
        "[kbc]\nname = \"offline_fs_kbc\"\n[[credentials]]\nresource_uri = \"kbs:///a/b/c\"\npath = \"/etc/passwd\"\n"})
    EXPECT_FALSE(read_config(*parse_toml(bad, "t"))) << bad;
  EXPECT_EQ(load_config("", none, "agent.aa_kbc_params=cc_kbc::http://k")->kbc_url, "http://k");
  EXPECT_EQ(load_config("", none, "")->kbc_name, "offline_fs_kbc");
  EXPECT_EQ(load_config("/does/not/exist", none, "").error().code, ErrorCode::not_found);
  const auto kernel = load_config("", none,
                                  "cdh.kbs_resources=kbs:///a/b/c::/run/confidential-containers/cdh/k,kbs:///a/b/d::/"
                                  "run/confidential-containers/cdh/l");
  EXPECT_EQ(kernel->credentials.size(), 2U);
  EXPECT_FALSE(load_config("", none, "cdh.kbs_resources=kbs:///a/b/c::/etc/x"));
  EXPECT_TRUE(load_config(
                  "",
                  [](const char* n) {
                    return std::string_view(n) == "SKIP_SEALED_SECRET_VERIFICATION" ? std::optional<std::string>("true")
                                                                                    : std::nullopt;
                  },
                  "")
                  ->accept_unsigned_secrets);
  EXPECT_TRUE(is_credential_path("/run/confidential-containers/cdh/a"));
  for (const char* bad :
       {"/run/confidential-containers/cdh", "/run/confidential-containers/cdh/", "/run/confidential-containers/cdhx/a",
        "/run/confidential-containers/cdh/../a", "/run/confidential-containers/cdh/./a", "a"})
    EXPECT_FALSE(is_credential_path(bad)) << bad;
}

}  // namespace
}  // namespace cairn::cdh
