#include "trustee/trustee.h"

#include "crypto/hash.h"
#include "crypto/random.h"
#include "kbs_protocol/token/token.h"
#include "trustee/fixture_test.h"

namespace cairn::trustee::test {
namespace {

using cairn::kbs::Profile;
using cairn::kbs::TeeKey;
using cairn::kbs::TeeKeyKind;

constexpr std::string_view kSecret = "0Bn4Q1wwY9fN3P";
constexpr const char* kModelKey = "/api/kbs/v0/resource/default/aliyun/model-decryption-key";
const Json kSampleValues = {{"sample.svn", {"1"}}, {"sample.launch_digest", {"abcde"}}, {"sampledevice.svn", {"2"}}};

Bytes sha384(std::string_view text) { return crypto::digest(crypto::Hash::sha384, as_bytes(text)); }
Json sample_evidence(std::string_view svn, std::string_view bound) {
  return {{"svn", svn}, {"report_data", base64(sha384(bound))}};
}

class Handshake : public TrusteeTest, public testing::WithParamInterface<Profile> {
 protected:
  // Additional evidence of a sample device where the profile can carry it.
  std::string attest_body(const Session& session) {
    cairn::kbs::Attestation attestation;
    if (GetParam() == Profile::p2) {
      const auto bound = cairn::kbs::device_runtime_data(session.challenge, tee.public_jwk()).value();
      attestation.additional_evidence = compact_json({{"sampledevice", sample_evidence("2", bound)}});
    }
    const auto bound =
        cairn::kbs::runtime_data(GetParam(), session.challenge, tee.public_jwk(), attestation.additional_evidence)
            .value();
    attestation.evidence = compact_json(sample_evidence("1", bound));
    return cairn::kbs::attest_body(GetParam(), session.challenge, tee.public_jwk(), attestation).value();
  }
  TeeKey tee = TeeKey::generate(cairn::kbs::default_tee_key(GetParam())).value();
};

TEST_P(Handshake, ReleasesTheKeyOnlyAfterRegistration) {
  store("default/aliyun/model-decryption-key", kSecret);
  auto session = authenticate(GetParam(), "sample");
  EXPECT_EQ(ask("GET", kModelKey, {}, session.cookie).status, 401) << "not attested yet";

  // Nothing registered: a Simple token is refused, an EAR carries a bad verdict that the resource policy refuses.
  auto attested = ask("POST", "/api/kbs/v0/attest", attest_body(session), session.cookie);
  if (GetParam() == Profile::p1) {
    EXPECT_EQ(attested.status, 500);
    EXPECT_EQ(json_of(attested)["code"], "AS.POLICY.DENIED");
    EXPECT_EQ(json_of(attested)["reason"], "sample_not_registered");
  } else {
    ASSERT_EQ(attested.status, 200) << attested.body;
    const auto refused = ask("GET", kModelKey, {}, session.cookie);
    EXPECT_EQ(refused.status, 403);
    EXPECT_NE(refused.body.find("PolicyDeny"), std::string::npos);
    EXPECT_NE(json_of(refused)["detail"].get<std::string>().find("is not registered"), std::string::npos)
        << refused.body;
  }

  register_values(kSampleValues);
  session = authenticate(GetParam(), "sample");
  attested = ask("POST", "/api/kbs/v0/attest", attest_body(session), session.cookie);
  ASSERT_EQ(attested.status, 200) << attested.body;
  const auto again = ask("POST", "/api/kbs/v0/attest", "anything", session.cookie);
  EXPECT_EQ(json_of(again)["token"], json_of(attested)["token"]) << "an attested session keeps its token";
  const auto answer = ask("GET", kModelKey, {}, session.cookie);
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(as_text(tee.open(answer.body)->view()), kSecret);
  EXPECT_EQ(json_of(answer)["protected"].get<std::string>().starts_with('{'), GetParam() == Profile::p1);
  const auto other = TeeKey::generate(cairn::kbs::default_tee_key(GetParam())).value();
  EXPECT_FALSE(other.open(answer.body)) << "only the attested key opens it";

  // Passport mode: the token alone, in either header.
  const std::string jwt = json_of(attested)["token"].get<std::string>();
  EXPECT_EQ(as_text(tee.open(ask("GET", kModelKey, {}, {{"Authorization", "Bearer " + jwt}}).body)->view()), kSecret);
  EXPECT_EQ(
      as_text(tee.open(ask("GET", kModelKey, {}, {{"Attestation", jwt}, {"Authorization", "Basic x"}}).body)->view()),
      kSecret);
  EXPECT_EQ(ask("GET", kModelKey).status, 401);

  // The file is read at each request, byte for byte.
  const auto file = config.data / "kbs/repository/default/aliyun/model-decryption-key";
  ASSERT_TRUE(write_text(file, "new"));
  EXPECT_EQ(as_text(tee.open(ask("GET", kModelKey, {}, session.cookie).body)->view()), "new");
  std::filesystem::remove(file);
  EXPECT_EQ(ask("GET", kModelKey, {}, session.cookie).status, 500);
  at = at.plus(361);
  EXPECT_EQ(ask("GET", kModelKey, {}, session.cookie).status, 401) << "session and token have expired";
}

TEST_P(Handshake, TokenSatisfiesARelyingParty) {
  register_values(kSampleValues);
  const auto session = authenticate(GetParam(), "sample");
  const auto attested = ask("POST", "/api/kbs/v0/attest", attest_body(session), session.cookie);
  ASSERT_EQ(attested.status, 200) << attested.body;
  const auto roots = crypto::Certificate::from_pem(ask("GET", "/api/as/certificate").body).value();
  const auto token = token::verify(json_of(attested)["token"].get<std::string>(), {.roots = roots}, at);
  ASSERT_TRUE(token) << token.error().text();
  EXPECT_EQ(token->kind, GetParam() == Profile::p1 ? token::Kind::simple : token::Kind::ear);
  EXPECT_TRUE(token->simulated);
  EXPECT_EQ(token->tee_pubkey(), tee.public_jwk());
  EXPECT_TRUE(token::satisfies(*token, {.policy_ids = {"default"}, .allow_simulated = true}));
  EXPECT_EQ(token::satisfies(*token, {.policy_ids = {"default"}}).error().where, "simulated");
}

TEST_P(Handshake, RefusesOtherBindings) {
  register_values(kSampleValues);
  const int failed = GetParam() == Profile::p1 ? 500 : 401;
  const auto session = authenticate(GetParam(), "sample");
  const auto another = authenticate(GetParam(), "sample");
  const auto replay = ask("POST", "/api/kbs/v0/attest", attest_body(another), session.cookie);
  EXPECT_EQ(replay.status, failed);
  EXPECT_EQ(json_of(replay)["code"], "AS.EVIDENCE.BINDING_MISMATCH") << replay.body;
  const auto other_key = TeeKey::generate(cairn::kbs::default_tee_key(GetParam())).value();
  Json body = parse_json(attest_body(session)).value();
  (GetParam() == Profile::p1 ? body : body["runtime-data"])["tee-pubkey"] = other_key.public_jwk();
  EXPECT_EQ(json_of(ask("POST", "/api/kbs/v0/attest", compact_json(body), session.cookie))["code"],
            "AS.EVIDENCE.BINDING_MISMATCH");
  for (const char* bad : {"", "[]", "{}", R"({"tee-pubkey":{},"tee-evidence":"{}"})",
                          R"({"tee-pubkey":1,"tee-evidence":1})", R"({"runtime-data":{},"tee-evidence":{}})"})
    EXPECT_EQ(ask("POST", "/api/kbs/v0/attest", bad, session.cookie).status, failed) << bad;
  EXPECT_EQ(ask("POST", "/api/kbs/v0/attest", attest_body(session)).status, 401) << "no cookie";
  at = at.plus(301);
  EXPECT_EQ(ask("POST", "/api/kbs/v0/attest", attest_body(session), session.cookie).status, 401) << "expired";
}

INSTANTIATE_TEST_SUITE_P(Profiles, Handshake, testing::Values(Profile::p1, Profile::p2),
                         [](const auto& profile) { return std::string(profile.param == Profile::p1 ? "p1" : "p2"); });

using Broker = TrusteeTest;

TEST_F(Broker, RefusesTokensThatSignThemselves) {
  store("default/aliyun/model-decryption-key", kSecret);
  const auto forger = crypto::PrivateKey::generate(crypto::KeyType::ec_p256).value();
  const auto tee = TeeKey::generate(TeeKeyKind::ecdh_p256).value();
  const Json module = {
      {"ear.status", "affirming"},
      {"ear.appraisal-policy-id", "default"},
      {"ear.trustworthiness-vector", {{"hardware", 2}, {"executables", 3}, {"configuration", 2}, {"file-system", 2}}},
      {"ear.veraison.annotated-evidence", {{"runtime_data_claims", {{"tee-pubkey", tee.public_jwk()}}}}}};
  const Json claims = {{"eat_profile", "x"}, {"exp", at.seconds + 300}, {"submods", {{"cpu0", module}}}};
  const auto jwt = crypto::sign_jws({{"jwk", crypto::emit_jwk(forger.public_key(), "ES256")}},
                                    as_bytes(compact_json(claims)), forger, crypto::JwsAlg::es256)
                       .value();
  const auto response = ask("GET", kModelKey, {}, {{"Authorization", "Bearer " + jwt}});
  EXPECT_EQ(response.status, 401);
  EXPECT_NE(response.body.find("TokenVerifierError"), std::string::npos);
}

TEST_F(Broker, AuthIsStrict) {
  EXPECT_EQ(ask("POST", "/api/kbs/v0/auth", R"({"version":"0.2.0","tee":"tdx","extra-params":""})").status, 401);
  EXPECT_EQ(ask("POST", "/api/kbs/v0/auth", R"({"version":"0.4.0","tee":"nosuch","extra-params":""})").status, 401);
  EXPECT_EQ(ask("POST", "/api/kbs/v0/auth", "{").status, 401);
  const auto response = ask("POST", "/api/kbs/v0/auth", R"({"version":"0.1.0","tee":"tdx","extra-params":""})");
  const std::string cookie(*response.headers.get("Set-Cookie"));
  EXPECT_EQ(cookie.find("kbs-session-id="), 0U);
  EXPECT_EQ(cookie.find("; Expires="), 15U + 32U);
  EXPECT_EQ(from_base64(json_of(response)["nonce"].get<std::string>())->size(), 32U);
  EXPECT_EQ(json_of(response)["extra-params"], "");
  EXPECT_EQ(json_of(ask("PUT", "/api/kbs/v0/auth")), Json());
}

TEST_F(Broker, AdministrationNeedsTheKey) {
  const std::vector<std::pair<std::string, std::string>> guarded = {{"POST", "/api/kbs/v0/resource/a/b/c"},
                                                                    {"DELETE", "/api/kbs/v0/resource/a/b/c"},
                                                                    {"GET", "/api/kbs/v0/resources"},
                                                                    {"GET", "/api/kbs/v0/resource-policy"},
                                                                    {"POST", "/api/kbs/v0/resource-policy"},
                                                                    {"POST", "/api/kbs/v0/attestation-policy"},
                                                                    {"GET", "/api/kbs/v0/attestation-policy/default"},
                                                                    {"DELETE", "/api/kbs/v0/attestation-policy/x"},
                                                                    {"GET", "/api/kbs/v0/attestation-policies"},
                                                                    {"POST", "/api/attestation-service/policy"},
                                                                    {"GET", "/api/as/policy"},
                                                                    {"GET", "/api/as/policies"},
                                                                    {"GET", "/api/as/policy/default"},
                                                                    {"DELETE", "/api/as/policy/x"},
                                                                    {"POST", "/api/rvps/register"},
                                                                    {"DELETE", "/api/rvps/delete/x"},
                                                                    {"GET", "/api/kbs/v0/rvps/query"},
                                                                    {"POST", "/api/kbs/v0/reference-value"}};
  const auto other = crypto::PrivateKey::generate(crypto::KeyType::ed25519).value();
  for (const auto& [method, path] : guarded) {
    EXPECT_EQ(ask(method, path, "{}").status, 401) << method << path;
    EXPECT_EQ(ask(method, path, "{}", {{"Authorization", "Bearer " + admin_token(other, at).value()}}).status, 401)
        << method << path;
    EXPECT_EQ(ask(method, path, "{}", {{"Authorization", "Bearer " + admin_token(key, at.plus(-8000)).value()}}).status,
              401)
        << path;
    EXPECT_NE(as_admin(method, path, "{}").status, 401) << method << path;
  }
}

TEST_F(Broker, ResourceNames) {
  for (const char* good : {"default/1/2", "123--_default/1Abff-_/___-afds44BC", "1.ok/2ok./3..."}) {
    store(good, "x");
    EXPECT_TRUE(std::filesystem::exists(config.data / "kbs/repository" / good)) << good;
  }
  for (const char* bad :
       {"/1/2", "1/2", ".1.ok/2ok./3...", "a/b/c/d", "a/..%2f/c", "a%20b/c/d", "../b/c", "..", "a//b/c"})
    EXPECT_NE(as_admin("POST", std::string("/api/kbs/v0/resource/") + bad, "x").status, 200) << bad;
  const auto all = json_of(as_admin("GET", "/api/kbs/v0/resources"));
  EXPECT_EQ(all.size(), 3U);
  EXPECT_EQ(json_of(as_admin("GET", "/api/kbs/v0/resources?repository=default")).size(), 1U);
  EXPECT_EQ(json_of(as_admin("GET", "/api/kbs/v0/resources?repository=none")), Json::array());
  EXPECT_EQ(as_admin("DELETE", "/api/kbs/v0/resource/default/1/2").status, 200);
  EXPECT_EQ(as_admin("DELETE", "/api/kbs/v0/resource/default/1/2").status, 500);
}

TEST_F(Broker, PoliciesAreCompiledBeforeTheyAreKept) {
  const auto encoded = [](std::string_view text) { return base64url(as_bytes(text)); };
  const auto body = [&](std::string_view text) {
    return compact_json({{"policy_id", "p"}, {"policy", encoded(text)}});
  };
  constexpr std::string_view open_to_all = "package policy\n\ndefault allow := true\n";
  EXPECT_EQ(as_admin("POST", "/api/kbs/v0/attestation-policy", body("package policy\nallow {")).status, 400);
  EXPECT_EQ(as_admin("GET", "/api/kbs/v0/attestation-policy/p").status, 500);
  EXPECT_EQ(as_admin("POST", "/api/kbs/v0/attestation-policy", body(open_to_all)).status, 200);
  EXPECT_EQ(as_admin("GET", "/api/kbs/v0/attestation-policy/p").body, encoded(open_to_all));
  EXPECT_EQ(as_admin("GET", "/api/as/policy/p").body, encoded(open_to_all));
  EXPECT_EQ(json_of(as_admin("GET", "/api/as/policies")).size(), 2U);
  EXPECT_EQ(json_of(as_admin("GET", "/api/kbs/v0/attestation-policies"))["p"],
            Json(base64url(crypto::sha384(as_bytes(open_to_all)).view())));
  EXPECT_EQ(as_admin("DELETE", "/api/kbs/v0/attestation-policy/p").status, 200);
  EXPECT_NE(as_admin("DELETE", "/api/kbs/v0/attestation-policy/default").status, 200);
  for (const char* id : {"../x", "a.b", "", "a/b"})
    EXPECT_NE(
        as_admin("POST", "/api/as/policy", compact_json({{"policy_id", id}, {"policy", encoded(open_to_all)}})).status,
        200)
        << id;
  EXPECT_EQ(as_admin("POST", "/api/kbs/v0/resource-policy", compact_json({{"policy", "!"}})).status, 400);
  EXPECT_EQ(as_admin("POST", "/api/kbs/v0/resource-policy", compact_json({{"policy", encoded(open_to_all)}})).status,
            200);
  EXPECT_EQ(as_admin("GET", "/api/kbs/v0/resource-policy").body, encoded(open_to_all));
}

using Gateway = TrusteeTest;

TEST_F(Gateway, Health) {
  const auto response = ask("GET", "/api/services-health");
  EXPECT_EQ(response.status, 200);
  const auto all = json_of(response);
  ASSERT_EQ(all.size(), 4U) << response.body;
  std::size_t last = 0;
  for (const char* name : {"gateway", "kbs", "as", "rvps"}) {
    EXPECT_EQ(all[name]["status"], "ok") << response.body;
    EXPECT_EQ(all[name].size(), 2U);
    const auto position = response.body.find("\"" + std::string(name) + "\"");
    EXPECT_GE(position, last);
    last = position;
  }
  EXPECT_EQ(ask("GET", "/api/health").body, R"({"status":"ok"})");
  EXPECT_EQ(ask("GET", "/livez").status, 200);
}

TEST_F(Gateway, Routes) {
  EXPECT_EQ(ask("GET", "/api/nosuch").status, 404);
  EXPECT_EQ(ask("GET", "/").status, 404);
  EXPECT_EQ(ask("GET", "//api///attestation-service//certificate").status, 200) << "repeated slashes";
  const auto get = ask("GET", "/api/health/?a=1");
  EXPECT_EQ(get.status, 301);
  EXPECT_EQ(get.headers.get("Location"), "/api/health?a=1");
  EXPECT_EQ(ask("POST", "/api/kbs/v0/auth/", "{}").status, 307);
  EXPECT_EQ(ask("GET", "//example.org/api/x//").status, 404);
  EXPECT_EQ(ask("GET", "/api/rvps/nosuch", {}, admin()).status, 501);
  const auto cors = ask("OPTIONS", "/api/as/certificate", {}, {{"Origin", "https://example.org"}});
  EXPECT_EQ(cors.status, 204);
  EXPECT_EQ(cors.headers.get("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(ask("GET", "/api/as/certificate", {}, {{"Origin", "x"}}).headers.get("Access-Control-Allow-Origin"), "*");
  EXPECT_FALSE(ask("GET", "/api/as/certificate").headers.has("Access-Control-Allow-Origin"));
}

TEST_F(Gateway, AuditsWithoutSecrets) {
  store("a/b/c", "the very secret");
  (void)ask("POST", "/api/kbs/v0/attest", "{}",
            {{"AAInstanceInfo", R"({"instance_id":"i-1"})"}, {"Cookie", "kbs-session-id=abc"}});
  (void)ask("POST", "/api/attestation-service/attestation", "{}");
  (void)ask("GET", "/api/kbs/v0/resource/a/b/c");
  trustee->audit().flush();
  const auto attestations = json_of(ask("GET", "/api/audit/attestation"));
  ASSERT_EQ(attestations["total"], 2);
  EXPECT_EQ(attestations["data"][0]["source_service"], "attestation-service") << "newest first";
  EXPECT_EQ(attestations["data"][1]["session_id"], "abc");
  EXPECT_EQ(attestations["data"][1]["instance_id"], "i-1");
  EXPECT_EQ(attestations["data"][1]["client_ip"], "192.0.2.7");
  EXPECT_EQ(json_of(ask("GET", "/api/audit/attestation?instance_id=i-1&successful=false&limit=1"))["total"], 1);
  EXPECT_EQ(json_of(ask("GET", "/api/audit/attestation?successful=true"))["total"], 0);
  EXPECT_EQ(json_of(ask("GET", "/api/audit/attestation?session_id=x'%20OR%201--"))["total"], 0);
  const auto resources = ask("GET", "/api/audit/resources?repository=a");
  EXPECT_EQ(json_of(resources)["total"], 2);
  EXPECT_EQ(json_of(resources)["data"][0]["method"], "GET");
  EXPECT_EQ(resources.body.find("the very secret"), std::string::npos);
}

TEST_F(Gateway, Heartbeats) {
  EXPECT_EQ(json_of(ask("POST", "/api/aa-instance/heartbeat"))["error"], "Missing AAInstanceInfo header");
  EXPECT_EQ(json_of(ask("POST", "/api/aa-instance/heartbeat", {}, {{"AAInstanceInfo", "{"}}))["error"],
            "Invalid AAInstanceInfo format");
  EXPECT_EQ(json_of(ask("POST", "/api/aa-instance/heartbeat", {}, {{"AAInstanceInfo", "{}"}}))["error"],
            "Missing instance_id in AAInstanceInfo");
  EXPECT_EQ(ask("POST", "/api/aa-instance/heartbeat", {}, {{"AAInstanceInfo", R"({"instance_id":"i","image_id":"m"})"}})
                .status,
            200);
  at = at.plus(599);
  EXPECT_EQ(json_of(ask("GET", "/api/aa-instance/list"))["count"], 1);
  at = at.plus(1);
  EXPECT_EQ(json_of(ask("GET", "/api/aa-instance/list"))["count"], 0);
}

using Service = TrusteeTest;

TEST_F(Service, BothRequestForms) {
  register_values(kSampleValues);
  const Json runtime = {{"nonce", "n"}, {"extra", {1, 2}}};
  const std::string evidence = base64url(as_bytes(compact_json(sample_evidence("1", canonical_json(runtime).value()))));
  const Json one = {{"tee", "sample"},
                    {"evidence", evidence},
                    {"runtime_data", {{"structured", runtime}}},
                    {"runtime_data_hash_algorithm", "sha384"},
                    {"init_data", nullptr}};
  Json old_form = one;
  old_form["policy_ids"] = {"default"};
  const auto roots = crypto::Certificate::from_pem(ask("GET", "/api/attestation-service/certificate").body).value();
  const auto simple = ask("POST", "/api/attestation-service/attestation", compact_json(old_form));
  ASSERT_EQ(simple.status, 200) << simple.body;
  auto token = token::verify(simple.body, {.roots = roots}, at);
  ASSERT_TRUE(token) << token.error().text();
  EXPECT_EQ(token->kind, token::Kind::simple);
  EXPECT_EQ(token->runtime_data, runtime);
  const auto ear = ask("POST", "/api/as/attestation",
                       compact_json({{"verification_requests", {one}}, {"policy_ids", Json::array()}}));
  ASSERT_EQ(ear.status, 200) << ear.body;
  token = token::verify(ear.body, {.roots = roots}, at);
  ASSERT_TRUE(token) << token.error().text();
  EXPECT_EQ(token->kind, token::Kind::ear);
  EXPECT_EQ(token->submodules.at(0).status, "affirming");
}

TEST_F(Service, Refusals) {
  const auto refused = [&](const Json& body) {
    return json_of(ask("POST", "/api/as/attestation", compact_json(body)));
  };
  const std::string evidence = base64url(as_bytes(R"({"svn":"1","report_data":""})"));
  EXPECT_EQ(json_of(ask("POST", "/api/as/attestation", "{"))["code"], "AS.REQUEST.INVALID_JSON");
  EXPECT_EQ(refused({{"tee", "snp"}, {"evidence", evidence}, {"policy_ids", Json::array()}})["code"],
            "AS.REQUEST.UNSUPPORTED_TEE");
  EXPECT_EQ(refused({{"tee", "sample"}, {"evidence", "e30="}, {"policy_ids", Json::array()}})["code"],
            "AS.EVIDENCE.INVALID_ENCODING");
  EXPECT_EQ(refused({{"tee", "sample"}, {"evidence", "e30"}, {"policy_ids", Json::array()}})["code"],
            "AS.EVIDENCE.INVALID_FORMAT");
  EXPECT_EQ(refused({{"tee", "sample"}, {"evidence", evidence}, {"policy_ids", {"nosuch"}}})["reason"],
            "policy_not_found");
  EXPECT_EQ(refused({{"tee", "sample"}, {"evidence", evidence}, {"policy_ids", {"../default"}}})["code"],
            "AS.REQUEST.INVALID_ARGUMENT");
  const auto unbound = refused({{"tee", "sample"},
                                {"evidence", evidence},
                                {"policy_ids", Json::array()},
                                {"runtime_data", {{"structured", {{"nonce", "x"}}}}}});
  EXPECT_EQ(unbound["code"], "AS.EVIDENCE.BINDING_MISMATCH");
  EXPECT_EQ(unbound["status"], 422);
  const auto missing = ask("POST", "/api/as/attestation", R"({"evidence":"e30","policy_ids":[]})");
  EXPECT_EQ(missing.status, 400);
  EXPECT_EQ(missing.body.find("missing field `tee`"), std::string::npos) << "would send clients back to the old form";
}

TEST_F(Service, ChallengeTokensAreChecked) {
  register_values(kSampleValues);
  const auto challenge = json_of(ask("POST", "/api/as/challenge", "{}"));
  const auto attest = [&](const Json& jwt) {
    const Json runtime = {{"challenge_token", jwt}};
    return ask(
        "POST", "/api/as/attestation",
        compact_json(
            {{"verification_requests",
              {{{"tee", "sample"},
                {"evidence", base64url(as_bytes(compact_json(sample_evidence("1", canonical_json(runtime).value()))))},
                {"runtime_data", {{"structured", runtime}}}}}}}));
  };
  EXPECT_EQ(attest(challenge["extra-params"]["jwt"]).status, 200);
  std::string broken = challenge["extra-params"]["jwt"].get<std::string>();
  broken[broken.size() / 2] ^= 1;
  EXPECT_EQ(attest(broken).status, 401);
  EXPECT_EQ(attest(7).status, 401);
  at = at.plus(301);
  EXPECT_EQ(json_of(attest(challenge["extra-params"]["jwt"]))["code"], "AS.CHALLENGE.INVALID_TOKEN");
  EXPECT_EQ(ask("POST", "/api/as/challenge", R"({"tee":"tdx","tee_params":""})").body, "");
}

TEST_F(Service, SampleIsOffByDefault) {
  config.sample = false;
  open();
  const auto response = ask("POST", "/api/as/attestation", R"({"tee":"sample","evidence":"e30","policy_ids":[]})");
  EXPECT_EQ(json_of(response)["code"], "AS.REQUEST.UNSUPPORTED_TEE");
}

TEST_F(Service, KeysAndPoliciesPersist) {
  const auto before = ask("GET", "/api/as/certificate").body;
  ASSERT_EQ(as_admin("POST", "/api/as/policy",
                     compact_json({{"policy_id", "mine"}, {"policy", base64url(as_bytes("package policy\n"))}}))
                .status,
            200);
  register_values({{"x", {"1"}}});
  EXPECT_EQ(Trustee::open(config, at).error().code, ErrorCode::conflict) << "one process per folder";
  open();
  EXPECT_EQ(ask("GET", "/api/as/certificate").body, before);
  EXPECT_EQ(as_admin("GET", "/api/as/policy/mine").status, 200);
  EXPECT_EQ(json_of(ask("GET", "/api/rvps/query")), Json({{"x", {"1"}}}));
  const auto mode = std::filesystem::status(config.data / "private.key").permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(Service, SharedRequests) {
  const auto path = std::filesystem::path(CAIRN_SHARED_DATA) / "trustee/protocol/as-attestation-requests.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "shared data not present";
  register_values(kSampleValues);
  const Json cases = parse_json(read_text(path).value()).value();
  for (const char* name : {"old_form", "old_form_minimal", "new_form"}) {
    const auto response = ask("POST", "/api/attestation-service/attestation", compact_json(cases[name]));
    EXPECT_EQ(response.status, 200) << name << response.body;
  }
  for (const auto& bad : cases["must_fail"])
    EXPECT_GE(ask("POST", "/api/attestation-service/attestation", compact_json(bad["body"])).status, 400) << bad["why"];
}

TEST(Config, ReportsEveryProblemAtOnce) {
  const auto bad = parse_config(parse_json(R"({"lisen":"x","tls":{"certificate":"c"},"attestation_token":{"type":"JWT"},
      "verifier":{"tdx":{"extra_roots":[{"path":"r","simulated":false}],"pccs_url":"u"}},"audit":{"max_records":0}})")
                                    .value());
  ASSERT_FALSE(bad);
  for (const char* where : {"lisen", "listen", "private_key", "type", "simulated", "pccs_url", "max_records"})
    EXPECT_NE(bad.error().message.find(where), std::string::npos) << where << "\n" << bad.error().message;
}

TEST(Config, ReadsEveryKey) {
  const auto good = parse_config(parse_json(R"({"data":"/d","listen":"127.0.0.1:1","cors":false,
      "tls":{"certificate":"c","private_key":"k"},"admin":{"auth_public_key":"a"},
      "kbs":{"listen":"127.0.0.1:2","timeout":7,"payload_request_size":3,"trusted_certs_paths":["t"],"extra_teekey_paths":["/x"]},
      "attestation_service":{"listen":"127.0.0.1:3"},
      "attestation_token":{"type":"Ear","x5c":"base64","duration_min":9,"issuer_name":"i","developer_name":"d","build_name":"b","profile_name":"p"},
      "verifier":{"tdx":{"extra_roots":[{"path":"r","simulated":true}],"bundles":["b"],"accept_expired_collateral":true,
      "min_tcb_eval_num":4},"sample":{"enabled":true}},
      "audit":{"max_records":1,"retention_days":2,"cleanup_interval_hours":3,"heartbeat_timeout_minutes":4}})")
                                     .value());
  ASSERT_TRUE(good) << good.error().text();
  EXPECT_EQ(good->token.duration_seconds, 540);
  EXPECT_EQ(good->token.x5c, crypto::X5cForm::base64);
  EXPECT_EQ(good->simulated_roots.at(0), "r");
  EXPECT_EQ(good->token_kind, as::TokenKind::ear);
  EXPECT_EQ(good->audit.heartbeat_timeout_minutes, 4);
}

}  // namespace
}  // namespace cairn::trustee::test
