#include "kbs_protocol/client.h"

#include <gtest/gtest.h>

#include "kbs_protocol/test_kbs.h"

namespace cairn::kbs {
namespace {

constexpr std::string_view kKey = "kbs:///default/aliyun/model-decryption-key";
ResourceUri key_uri() { return *ResourceUri::parse(kKey); }

// A mock with one resource, a client of the same profile, and what came of fetching it.
struct Fixture {
  MockKbs mock;
  SampleEvidence evidence;
  ClientOptions options;
  TeeKey key;
  explicit Fixture(Profile profile, std::optional<TeeKeyKind> kind = {})
      : key(*TeeKey::generate(kind.value_or(default_tee_key(profile)))) {
    mock.profile = profile;
    mock.resources["default/aliyun/model-decryption-key"] = "0Bn4Q1wwY9fN3P";
    options.profile = profile;
    options.handshake_pause = net::Milliseconds(1);
  }
  Result<std::string> fetch(int times = 1) {
    std::string out;
    auto done = with_mock(mock, [&](net::Runtime&, std::string url) -> net::Task<> {
      options.url = url + "/";
      CAIRN_CO_TRY(auto client, Client::create(options, evidence, key));
      for (int i = 0; i < times; ++i) {
        CAIRN_CO_TRY(const Secret secret, co_await client->resource(key_uri()));
        out = as_text(secret.view());
      }
      co_return Result<>{};
    });
    if (!done) return fail(done.error());
    return out;
  }
};

TEST(KbsClient, BothProfilesFetchAndKeepTheSession) {
  for (const Profile profile : {Profile::p1, Profile::p2}) {
    Fixture f(profile);
    const auto got = f.fetch(3);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_EQ(*got, "0Bn4Q1wwY9fN3P");
    EXPECT_EQ(f.mock.auths, 1);
    EXPECT_EQ(f.mock.gets, 3);
    EXPECT_EQ(f.mock.attestation_header.empty(), profile == Profile::p1);
  }
}

TEST(KbsClient, OtherTeeKeysOfP2) {
  for (const auto kind : {TeeKeyKind::ecdh_p521, TeeKeyKind::rsa_oaep_256}) {
    Fixture f(Profile::p2, kind);
    const auto got = f.fetch();
    ASSERT_TRUE(got) << got.error().text();
  }
}

TEST(KbsClient, AdditionalDeviceIsBound) {
  Fixture f(Profile::p2);
  f.evidence.device = true;
  ASSERT_TRUE(f.fetch());
  EXPECT_NE(f.mock.last_attest["tee-evidence"]["additional_evidence"], "");
}

TEST(KbsClient, HeadersAndInitDataTravel) {
  Fixture f(Profile::p2);
  f.options.instance_info = R"({"instance_id":"i-1"})";
  f.options.api_key = "k";
  f.options.init_data_toml = "version = \"0.1.0\"";
  ASSERT_TRUE(f.fetch());
  EXPECT_EQ(f.mock.instance_info, R"({"instance_id":"i-1"})");
  EXPECT_EQ(f.mock.authorization, "Bearer k");
  EXPECT_EQ(f.mock.last_attest["init-data"]["format"], "toml");
  f.options.instance_info = "a\r\nX: y";
  EXPECT_EQ(f.fetch().error().code, ErrorCode::invalid_argument);
}

TEST(KbsClient, A401MakesANewSessionAtMostTwice) {
  Fixture f(Profile::p1);
  f.mock.forget_sessions = 2;
  ASSERT_TRUE(f.fetch());
  EXPECT_EQ(f.mock.gets, 3);
  EXPECT_EQ(f.mock.auths, 3);
  Fixture g(Profile::p1);
  g.mock.forget_sessions = 3;
  const auto got = g.fetch();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::unauthenticated);
  EXPECT_EQ(g.mock.gets, limits::resource_attempts);
}

TEST(KbsClient, RefusalsAreFinalAndSayWhy) {
  const auto refused = [](auto set_up) {
    Fixture f(Profile::p1);
    set_up(f.mock);
    auto got = f.fetch();
    EXPECT_FALSE(got);
    EXPECT_LE(f.mock.gets, 1);
    return got.error();
  };
  const Error policy = refused([](MockKbs& m) { m.refuse_resource = "PolicyDeny"; });
  EXPECT_EQ(policy.code, ErrorCode::permission_denied);
  EXPECT_EQ(policy.where, "kbs.PolicyDeny");
  EXPECT_EQ(policy.message,
            "the key broker refused default/aliyun/model-decryption-key: HTTP 403 PolicyDeny: Access denied by policy");
  const Error plugin = refused([](MockKbs& m) { m.refuse_resource = "PluginInternalError", m.refuse_status = 500; });
  EXPECT_EQ(plugin.where, "kbs.PluginInternalError");
  EXPECT_EQ(refused([](MockKbs& m) { m.resources.clear(); }).code, ErrorCode::not_found);
  const Error attest = refused([](MockKbs& m) { m.refuse_attest = "AttestationError"; });
  EXPECT_EQ(attest.code, ErrorCode::evidence_rejected);
  EXPECT_NE(attest.message.find("the attest step"), std::string::npos);
}

TEST(KbsClient, VersionMismatchIsQuoted) {
  Fixture f(Profile::p1);
  f.mock.profile = Profile::p2;
  const auto got = f.fetch();
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("Protocol Version Mismatch"), std::string::npos);
}

TEST(KbsClient, AnAlteredAnswerDoesNotDecrypt) {
  for (const Profile profile : {Profile::p1, Profile::p2}) {
    for (const char* member : {"ciphertext", "iv", "encrypted_key"}) {
      Fixture f(profile);
      f.mock.tamper = [member](Json& answer) {
        Bytes bytes = *from_base64url(answer[member].get<std::string>());
        bytes[bytes.size() / 2] ^= 1;
        answer[member] = base64url(bytes);
      };
      EXPECT_FALSE(f.fetch()) << member;
    }
  }
}

TEST(KbsClient, TokenIsTriedFiveTimesWhenNobodyAnswers) {
  SampleEvidence evidence;
  const auto outcome = net::run_to_end<std::string>([&](net::Runtime&) -> net::Task<std::string> {
    CAIRN_CO_TRY(auto client,
                 Client::create({.url = "http://127.0.0.1:1/api", .handshake_pause = net::Milliseconds(20)}, evidence,
                                *TeeKey::generate(TeeKeyKind::ecdh_p256)));
    co_return co_await client->token();
  });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::unavailable);
  EXPECT_NE(outcome.error().message.find("http://127.0.0.1:1/api"), std::string::npos);
}

TEST(KbsClient, TokenSurvivesAStartingBrokerButNotARefusal) {
  const auto token = [](Fixture& f) {
    return with_mock(f.mock, [&](net::Runtime&, std::string url) -> net::Task<> {
      f.options.url = url;
      CAIRN_CO_TRY(auto client, Client::create(f.options, f.evidence, f.key));
      CAIRN_CO_TRY(const std::string text, co_await client->token());
      EXPECT_EQ(text, f.mock.token);
      co_return Result<>{};
    });
  };
  Fixture starting(Profile::p1);
  starting.mock.auth_failures = 4;
  EXPECT_TRUE(token(starting));
  EXPECT_EQ(starting.mock.auths, 5);
  Fixture dead(Profile::p1);
  dead.mock.auth_failures = 5;
  EXPECT_FALSE(token(dead));
  Fixture refused(Profile::p1);
  refused.mock.refuse_attest = "AttestationError";
  EXPECT_FALSE(token(refused));
  EXPECT_EQ(refused.mock.auths, 1);
}

TEST(KbsClient, ConcurrentCallsShareOneHandshake) {
  Fixture f(Profile::p1);
  const auto done = with_mock(f.mock, [&](net::Runtime&, std::string url) -> net::Task<> {
    f.options.url = url;
    CAIRN_CO_TRY(auto client, Client::create(f.options, f.evidence, f.key));
    const auto one = [&]() -> net::Task<> {
      CAIRN_CO_TRY(const Secret secret, co_await client->resource(key_uri()));
      co_return Result<>{};
    };
    co_return co_await net::both(one(), one());
  });
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(f.mock.auths, 1);
  EXPECT_EQ(f.evidence.asked, 1);
}

TEST(KbsClient, TokenTimes) {
  const auto token = [](std::string_view claims) {
    return base64url(as_bytes(R"({"alg":"ES256"})")) + "." + base64url(as_bytes(claims)) + "." +
           base64url(as_bytes("sig"));
  };
  EXPECT_TRUE(token_is_current(token("{}"), Time{100}));
  EXPECT_TRUE(token_is_current(token(R"({"exp":101,"nbf":99})"), Time{100}));
  EXPECT_FALSE(token_is_current(token(R"({"exp":99})"), Time{100}));
  EXPECT_FALSE(token_is_current(token(R"({"nbf":101})"), Time{100}));
  EXPECT_FALSE(token_is_current("junk", Time{100}));
}

TEST(KbsClient, BadUrlsAreRefusedAtOnce) {
  SampleEvidence evidence;
  for (const char* url : {"", "ftp://h", "http://", "http://h/?x"})
    EXPECT_FALSE(Client::create({.url = url}, evidence, *TeeKey::generate(TeeKeyKind::ecdh_p256))) << url;
}

}  // namespace
}  // namespace cairn::kbs
