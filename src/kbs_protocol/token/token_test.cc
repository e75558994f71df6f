#include "kbs_protocol/token/token.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/hash.h"

namespace cairn::token {
namespace {

using crypto::Certificate;
using crypto::JwsAlg;
using crypto::KeyType;
using crypto::PrivateKey;

constexpr Time kNow{1'800'000'000};

struct Authority {
  PrivateKey ca_key = PrivateKey::generate(KeyType::ec_p256).value();
  PrivateKey key;
  JwsAlg alg;
  Certificate ca, leaf;

  explicit Authority(JwsAlg with)
      : key(PrivateKey::generate(with == JwsAlg::rs384 ? KeyType::rsa : KeyType::ec_p256, 2048).value()), alg(with) {
    crypto::CertificateTemplate what;
    what.subject = what.issuer = {{"O", "Test CA"}};
    what.not_before = kNow.plus(-1000);
    what.not_after = kNow.plus(100000);
    what.ca = true;
    what.key_usage = crypto::kKeyCertSign;
    ca = issue(what, ca_key.public_key(), ca_key).value();
    what.subject = {{"CN", "signer"}};
    what.ca = std::nullopt;
    what.key_usage = 0;
    leaf = issue(what, key.public_key(), ca_key).value();
  }
  [[nodiscard]] std::string sign(const Json& claims, bool x5c = true) const {
    const Json header = {{"typ", "JWT"},
                         {"jwk", emit_jwk(key.public_key(), jws_alg_name(alg),
                                          x5c ? std::vector<Certificate>{leaf, ca} : std::vector<Certificate>{})}};
    return sign_jws(header, as_bytes(compact_json(claims)), key, alg).value();
  }
  [[nodiscard]] Trust trust() const { return {.roots = {ca}}; }
};

Json simple_claims() {
  return {{"iat", kNow.seconds},
          {"exp", kNow.seconds + 300},
          {"tee", "tdx"},
          {"evaluation-reports", {{{"policy-id", "default"}, {"policy-hash", "00"}}}},
          {"tcb-status", R"({"tdx.simulated":true,"tdx.quote.body.mr_td":"00"})"},
          {"customized_claims",
           {{"runtime_data", {{"nonce", "n"}, {"tee-pubkey", {{"kty", "EC"}}}}}, {"init_data", nullptr}}}};
}
Json ear_claims() {
  const Json annotated = {
      {"tdx", {{"simulated", false}}}, {"report_data", "00"}, {"runtime_data_claims", {{"nonce", "n"}}}};
  const Json module = {{"ear.status", "affirming"},
                       {"ear.appraisal-policy-id", "default"},
                       {"ear.trustworthiness-vector", {{"hardware", 2}}},
                       {"ear.veraison.annotated-evidence", annotated}};
  return {{"iat", kNow.seconds}, {"exp", kNow.seconds + 300}, {"eat_profile", "p"}, {"submods", {{"cpu0", module}}}};
}

TEST(Token, SimpleIsRead) {
  const Authority authority(JwsAlg::rs384);
  const auto token = verify(authority.sign(simple_claims()), authority.trust(), kNow);
  ASSERT_TRUE(token) << token.error().text();
  EXPECT_EQ(token->kind, Kind::simple);
  EXPECT_TRUE(token->signer_trusted);
  EXPECT_TRUE(token->simulated);
  EXPECT_EQ(token->tee, "tdx");
  EXPECT_EQ(token->tee_pubkey()["kty"], "EC");
  EXPECT_EQ(satisfies(*token, {}).error().where, "simulated");
  EXPECT_TRUE(satisfies(*token, {.policy_ids = {"default"}, .allow_simulated = true}));
  EXPECT_EQ(satisfies(*token, {.policy_ids = {"default", "other"}, .allow_simulated = true}).error().where, "policy");
}

TEST(Token, EarIsReadAndJudged) {
  const Authority authority(JwsAlg::es256);
  Json claims = ear_claims();
  const auto token = verify(authority.sign(claims), authority.trust(), kNow);
  ASSERT_TRUE(token) << token.error().text();
  EXPECT_EQ(token->kind, Kind::ear);
  EXPECT_FALSE(token->simulated);
  EXPECT_EQ(token->submodules.at(0).trust_vector["hardware"], 2);
  const Json same = {{"nonce", "n"}}, other = {{"nonce", "m"}}, none = Json::object();
  EXPECT_TRUE(satisfies(*token, {.policy_ids = {"default", "x"}, .runtime_data = &same}));
  EXPECT_EQ(satisfies(*token, {.runtime_data = &other}).error().where, "runtime_data");
  EXPECT_EQ(satisfies(*token, {.runtime_data = &none}).error().where, "runtime_data");
  EXPECT_TRUE(satisfies(*token, {.runtime_data = &none, .runtime_data_subset = true}));
  claims["submods"]["gpu0"] = claims["submods"]["cpu0"];
  claims["submods"]["gpu0"]["ear.status"] = "warning";
  EXPECT_EQ(satisfies(*verify(authority.sign(claims), authority.trust(), kNow), {}).error().where, "status");
  claims["submods"]["gpu0"]["ear.status"] = "fine";
  EXPECT_EQ(verify(authority.sign(claims), authority.trust(), kNow).error().where, "ear.status");
}

TEST(Token, SignerMustLeadToAnAuthority) {
  const Authority authority(JwsAlg::es256), other(JwsAlg::es256);
  const std::string jwt = authority.sign(ear_claims());
  EXPECT_EQ(verify(jwt, other.trust(), kNow).error().where, "signer");
  EXPECT_EQ(verify(jwt, {}, kNow).error().where, "signer");
  EXPECT_EQ(verify(authority.sign(ear_claims(), false), authority.trust(), kNow).error().where, "signer");
  const auto unvouched = verify(authority.sign(ear_claims(), false), {.embedded_key = true}, kNow);
  ASSERT_TRUE(unvouched);
  EXPECT_FALSE(unvouched->signer_trusted);
  // A certificate of the authority for another key does not vouch for the key that signed.
  Json header = {{"jwk", emit_jwk(other.key.public_key(), "ES256", {authority.leaf, authority.ca})}};
  const auto forged = sign_jws(header, as_bytes(compact_json(ear_claims())), other.key, JwsAlg::es256).value();
  EXPECT_EQ(verify(forged, authority.trust(), kNow).error().where, "signer");
  // The certificates are judged at the time of verification.
  Json late = ear_claims();
  late["exp"] = kNow.seconds + 1'000'000;
  EXPECT_EQ(verify(authority.sign(late), authority.trust(), kNow.plus(200'000)).error().where, "signer");
}

TEST(Token, KeyIdAmongTrustedKeys) {
  const Authority authority(JwsAlg::es256);
  const auto jwt =
      sign_jws({{"kid", "k1"}}, as_bytes(compact_json(ear_claims())), authority.key, JwsAlg::es256).value();
  Trust trust;
  trust.keys.push_back({authority.key.public_key(), "ES256", "k1", {}});
  EXPECT_TRUE(verify(jwt, trust, kNow));
  trust.keys[0].kid = "k2";
  EXPECT_EQ(verify(jwt, trust, kNow).error().where, "signer");
  trust.keys[0] = {authority.key.public_key(), "", "k1", {}};
  EXPECT_FALSE(verify(jwt, trust, kNow)) << "a key without alg";
}

TEST(Token, EveryChangedByteFails) {
  const Authority authority(JwsAlg::es256);
  const std::string jwt = authority.sign(ear_claims());
  for (std::size_t i = 0; i < jwt.size(); i += 7) {
    std::string broken = jwt;
    broken[i] = broken[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(verify(broken, authority.trust(), kNow)) << i;
  }
}

TEST(Token, TimesAndKind) {
  const Authority authority(JwsAlg::es256);
  EXPECT_EQ(verify(authority.sign(ear_claims()), authority.trust(), kNow.plus(361)).error().where, "exp");
  Json claims = ear_claims();
  claims.erase("exp");
  EXPECT_EQ(verify(authority.sign(claims), authority.trust(), kNow).error().where, "exp");
  claims = {{"exp", kNow.seconds + 1}};
  EXPECT_EQ(verify(authority.sign(claims), authority.trust(), kNow).error().code, ErrorCode::malformed);
}

class RealToken : public testing::TestWithParam<const char*> {};

TEST_P(RealToken, VerifiesAsExpected) {
  const auto folder = std::filesystem::path(CAIRN_SHARED_DATA) / "tng/tokens";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  const std::string name = GetParam();
  std::string jwt = read_text(folder / (name + ".jwt")).value();
  while (!jwt.empty() && jwt.back() == '\n') jwt.pop_back();
  const auto roots = Certificate::from_pem(read_text(folder / (name + ".as-ca.pem")).value()).value();
  const Json expected = parse_json(read_text(folder / "expected.json").value()).value()[name];
  const Time issued{expected["iat"].get<std::int64_t>()};

  const auto token = verify(jwt, {.roots = roots}, issued);
  ASSERT_TRUE(token) << token.error().text();
  EXPECT_EQ(token->expires.seconds, expected["exp"].get<std::int64_t>());
  EXPECT_EQ(token->tee, "tdx");
  EXPECT_FALSE(token->simulated);
  const auto bound = hex(crypto::sha384(as_bytes(compact_json(token->runtime_data))).view());
  EXPECT_EQ(Json(bound), expected["runtime_data_canonical_json_sha384"]);
  EXPECT_EQ(token->evidence["report_data"], expected["report_data"]);
  EXPECT_TRUE(satisfies(*token, {.policy_ids = {"default"}, .runtime_data = &token->runtime_data}));
  EXPECT_EQ(satisfies(*token, {.policy_ids = {"non-existent-policy"}}).error().where, "policy");

  EXPECT_EQ(verify(jwt, {.roots = roots}, issued.plus(361)).error().where, "exp");
  const auto today = verify(jwt, {.roots = roots}, now());
  EXPECT_FALSE(today);
  for (const std::string other : {"simple", "ear", "ear_with_additional_device"})
    if (other != name) {
      const auto wrong = Certificate::from_pem(read_text(folder / (other + ".as-ca.pem")).value()).value();
      EXPECT_EQ(verify(jwt, {.roots = wrong}, issued).error().where, "signer");
    }
  for (std::size_t i = 10; i < jwt.size(); i += jwt.size() / 50) {
    std::string broken = jwt;
    broken[i] = broken[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(verify(broken, {.roots = roots}, issued)) << i;
  }
}
INSTANTIATE_TEST_SUITE_P(Shared, RealToken, testing::Values("simple", "ear", "ear_with_additional_device"));

}  // namespace
}  // namespace cairn::token
