#include "crypto/jose.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"

namespace cairn::crypto {
namespace {

Json json(std::string_view text) { return parse_json(text).value(); }

std::optional<Json> shared(const std::string& name) {
  const std::filesystem::path path = std::filesystem::path(CAIRN_SHARED_DATA) / name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return parse_json(read_text(path).value()).value();
}

// RFC 7515 appendix A.3.
constexpr std::string_view kEs256Key =
    R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";
constexpr std::string_view kEs256 =
    "eyJhbGciOiJFUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
// RFC 8037 appendix A.
constexpr std::string_view kEd25519Key =
    R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})";
constexpr std::string_view kEd25519 =
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
// RFC 7638 §3.1.
constexpr std::string_view kRsaKey =
    R"({"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})";

TEST(Jws, RfcVectorsVerify) {
  const auto ec = parse_jws(kEs256).value();
  EXPECT_TRUE(verify_jws(ec, parse_jwk(json(kEs256Key))->key));
  EXPECT_EQ(ec.claims()->at("iss"), "joe");
  const auto ed = parse_jws(kEd25519).value();
  EXPECT_TRUE(verify_jws(ed, parse_jwk(json(kEd25519Key))->key, JwsAlg::eddsa));
  EXPECT_EQ(as_text(ed.payload), "Example of Ed25519 signing");
  EXPECT_FALSE(ed.claims());
}

TEST(Jws, AnotherKeyAlgorithmOrByteFails) {
  const auto key = parse_jwk(json(kEs256Key))->key;
  auto jws = parse_jws(kEs256).value();
  EXPECT_EQ(verify_jws(jws, key, JwsAlg::es384).error().where, "alg");
  EXPECT_EQ(verify_jws(jws, PrivateKey::generate(KeyType::ec_p256)->public_key()).error().where, "signature");
  EXPECT_EQ(verify_jws(jws, parse_jwk(json(kRsaKey))->key).error().where, "alg");
  jws.signing_input.back() ^= 1;
  EXPECT_EQ(verify_jws(jws, key).error().where, "signature");
}

TEST(Jws, RefusesWhatIsNotASignature) {
  EXPECT_EQ(parse_jws("eyJhbGciOiJub25lIn0.e30.").error().code, ErrorCode::unsupported);     // none
  EXPECT_EQ(parse_jws("eyJhbGciOiJIUzI1NiJ9.e30.AA").error().code, ErrorCode::unsupported);  // HS256
  EXPECT_EQ(parse_jws(base64url(as_bytes(R"({"alg":"ES256","crit":["x"]})")) + ".e30.AA").error().where, "crit");
  for (const char* bad : {"", ".", "..", "a.b", "e30.e30.e30.e30", "e30.e30.AA", "e30=.e30.AA", "bnVsbA.e30.AA"})
    EXPECT_FALSE(parse_jws(bad)) << bad;
  EXPECT_EQ(parse_jws(std::string(JoseLimits::token_bytes + 1, 'a')).error().code, ErrorCode::too_large);
  EXPECT_EQ(parse_jws(std::string(JoseLimits::token_bytes, 'a')).error().code, ErrorCode::malformed);
}

TEST(Jws, EveryAlgorithmRoundTrips) {
  const auto rsa = PrivateKey::generate(KeyType::rsa, 2048).value();
  const std::vector<std::pair<JwsAlg, PrivateKey>> cases = {
      {JwsAlg::rs256, rsa},
      {JwsAlg::rs384, rsa},
      {JwsAlg::rs512, rsa},
      {JwsAlg::ps256, rsa},
      {JwsAlg::ps384, rsa},
      {JwsAlg::ps512, rsa},
      {JwsAlg::es256, PrivateKey::generate(KeyType::ec_p256).value()},
      {JwsAlg::es384, PrivateKey::generate(KeyType::ec_p384).value()},
      {JwsAlg::es512, PrivateKey::generate(KeyType::ec_p521).value()},
      {JwsAlg::eddsa, PrivateKey::generate(KeyType::ed25519).value()}};
  for (const auto& [alg, key] : cases) {
    const auto token = sign_jws({{"typ", "JWT"}, {"kid", "k"}}, as_bytes("{}"), key, alg).value();
    const auto jws = parse_jws(token).value();
    EXPECT_EQ(jws.alg, alg);
    EXPECT_EQ(as_text(*from_base64url(token.substr(0, token.find('.')))),
              R"({"typ":"JWT","alg":")" + std::string(jws_alg_name(alg)) + R"(","kid":"k"})");
    EXPECT_TRUE(verify_jws(jws, key.public_key(), alg)) << jws_alg_name(alg);
    auto broken = jws;
    broken.payload[0] ^= 1;  // the payload is only a decoded copy; the signed text is what counts
    EXPECT_TRUE(verify_jws(broken, key.public_key(), alg));
    broken.signature[5] ^= 1;
    EXPECT_FALSE(verify_jws(broken, key.public_key(), alg)) << jws_alg_name(alg);
  }
  EXPECT_FALSE(sign_jws(Json::object(), {}, rsa, JwsAlg::es256));
}

TEST(Jwk, Thumbprints) {
  EXPECT_EQ(jwk_thumbprint(parse_jwk(json(kRsaKey))->key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
  EXPECT_EQ(jwk_thumbprint(parse_jwk(json(kEd25519Key))->key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

TEST(Jwk, EmitParsesBack) {
  for (const auto text : {kEs256Key, kRsaKey, kEd25519Key}) {
    const auto key = parse_jwk(json(text)).value();
    EXPECT_EQ(emit_jwk(key.key, {}), json(text));
  }
  const auto p521 = PrivateKey::generate(KeyType::ec_p521)->public_key();
  const Json jwk = emit_jwk(p521, "ECDH-ES+A256KW");
  EXPECT_EQ(from_base64url(jwk["x"].get<std::string>())->size(), 66U);
  EXPECT_EQ(parse_jwk(jwk)->key, p521);
}

TEST(Jwk, PadsCoordinatesThatLostTheirZeros) {
  PublicKey key = PrivateKey::generate(KeyType::ec_p256)->public_key();
  while (key.ec_point()->x[0] != 0) key = PrivateKey::generate(KeyType::ec_p256)->public_key();
  Json jwk = emit_jwk(key, {});
  jwk["x"] = base64url(ByteView(key.ec_point()->x).subspan(1));
  EXPECT_EQ(parse_jwk(jwk)->key, key);
  Bytes longer = key.ec_point()->x;
  longer.insert(longer.begin(), 0);
  jwk["x"] = base64url(longer);
  EXPECT_EQ(parse_jwk(jwk).error().where, "x");
}

TEST(Jwk, RefusesBrokenAndPrivateKeys) {
  Json jwk = json(kEs256Key);
  jwk["d"] = "AA";
  EXPECT_EQ(parse_jwk(jwk).error().where, "d");
  jwk = json(kEs256Key);
  jwk["y"] = jwk["x"];
  EXPECT_FALSE(parse_jwk(jwk));  // not on the curve
  for (const char* bad : {R"({})", R"({"kty":"oct"})", R"({"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"})",
                          R"({"kty":"RSA","n":"AQAB","e":"AQAB"})", R"({"kty":"RSA","n":"","e":"AQAB"})", R"([])"})
    EXPECT_FALSE(parse_jwk(json(bad))) << bad;
  EXPECT_EQ(parse_jwk_set(json(R"({"keys":[{"kty":"oct","alg":"HS256"}]})"))->size(), 0U);
  EXPECT_FALSE(parse_jwk_set(json(R"({"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]})")));
  EXPECT_FALSE(parse_jwk_set(json(R"([])")));
}

TEST(Jwk, X5cInEitherAlphabet) {
  const auto key = PrivateKey::generate(KeyType::ec_p256).value();
  CertificateTemplate what;
  what.subject = {{"CN", "x"}};
  what.issuer = what.subject;
  what.not_before = {1};
  what.not_after = {4000000000};
  const auto certificate = issue(what, key.public_key(), key).value();
  for (const auto form : {X5cForm::base64, X5cForm::base64url})
    EXPECT_TRUE(
        equal(parse_jwk(emit_jwk(key.public_key(), "ES256", {certificate}, form))->x5c.at(0).der(), certificate.der()));
  Json jwk = emit_jwk(key.public_key(), "ES256", std::vector<Certificate>(JoseLimits::x5c_certificates, certificate));
  EXPECT_TRUE(parse_jwk(jwk));
  jwk["x5c"].push_back(jwk["x5c"][0]);
  EXPECT_EQ(parse_jwk(jwk).error().code, ErrorCode::too_large);
}

TEST(Times, BoundsAndLeeway) {
  const Json claims = {{"iat", 1000}, {"nbf", 1000}, {"exp", 1300}};
  EXPECT_TRUE(check_times(claims, {1000}));
  EXPECT_TRUE(check_times(claims, {1359}));
  EXPECT_EQ(check_times(claims, {1360}).error().where, "exp");
  EXPECT_TRUE(check_times(claims, {940}));
  EXPECT_EQ(check_times(claims, {939}).error().where, "nbf");
  EXPECT_EQ(check_times(claims, {1300}, {.leeway = 0}).error().where, "exp");
  EXPECT_EQ(check_times(Json::object(), {0}).error().where, "exp");
  EXPECT_TRUE(check_times(Json::object(), {0}, {.require_exp = false}));
  EXPECT_EQ(check_times({{"exp", "x"}}, {0}).error().code, ErrorCode::malformed);
  EXPECT_EQ(check_times({{"exp", -1}}, {0}).error().code, ErrorCode::malformed);
  EXPECT_EQ(check_times({{"exp", 1e300}}, {0}).error().code, ErrorCode::malformed);
  EXPECT_EQ(check_times({{"exp", 2000}, {"iat", 1500}}, {1000}, {.check_iat = true}).error().where, "iat");
}

TEST(Answer, RoundTripsInEveryForm) {
  const auto rsa = PrivateKey::generate(KeyType::rsa, 2048).value();
  const auto p256 = PrivateKey::generate(KeyType::ec_p256).value();
  const auto p521 = PrivateKey::generate(KeyType::ec_p521).value();
  struct Case {
    const PrivateKey& key;
    std::string alg;
    AnswerForm form;
  };
  for (const auto& c :
       {Case{rsa, "RSA1_5", AnswerForm::kbs_0_1_0}, Case{rsa, "RSA1_5", AnswerForm::rfc7516},
        Case{rsa, "RSA-OAEP-256", AnswerForm::rfc7516}, Case{p256, "ECDH-ES+A256KW", AnswerForm::rfc7516},
        Case{p521, "ECDH-ES+A256KW", AnswerForm::rfc7516}}) {
    const Json tee = tee_pubkey(c.key.public_key(), c.alg).value();
    const Json answer = encrypt_answer(tee, as_bytes("secret"), c.form).value();
    EXPECT_EQ(as_text(decrypt_answer(answer, c.key, c.alg)->view()), "secret") << c.alg;
    for (const char* name : {"encrypted_key", "iv", "ciphertext", "tag"}) {
      Json broken = answer;
      std::string text = broken[name].get<std::string>();
      if (text.empty()) continue;
      text[0] = text[0] == 'A' ? 'B' : 'A';
      broken[name] = text;
      EXPECT_EQ(decrypt_answer(broken, c.key, c.alg).error().code, ErrorCode::crypto_failed) << c.alg << " " << name;
    }
    EXPECT_TRUE(encrypt_answer(tee, {}, c.form)) << "an empty resource";
  }
}

TEST(Answer, AlgorithmIsTheHoldersChoice) {
  const auto rsa = PrivateKey::generate(KeyType::rsa, 2048).value();
  const Json answer =
      encrypt_answer(*tee_pubkey(rsa.public_key(), "RSA1_5"), as_bytes("x"), AnswerForm::rfc7516).value();
  EXPECT_EQ(decrypt_answer(answer, rsa, "RSA-OAEP-256").error().where, "alg");
  EXPECT_EQ(encrypt_answer(*tee_pubkey(rsa.public_key(), "RSA-OAEP-256"), {}, AnswerForm::kbs_0_1_0).error().where,
            "alg");
  EXPECT_FALSE(tee_pubkey(rsa.public_key(), "ECDH-ES+A256KW"));
  const auto p384 = PrivateKey::generate(KeyType::ec_p384)->public_key();
  EXPECT_EQ(encrypt_answer(emit_jwk(p384, "ECDH-ES+A256KW"), {}, AnswerForm::rfc7516).error().where, "alg");
}

TEST(Answer, HeaderIsInTheOrderThatClientsRebuild) {
  const auto key = PrivateKey::generate(KeyType::ec_p256).value();
  const Json answer = encrypt_answer(*tee_pubkey(key.public_key(), "ECDH-ES+A256KW"), {}, AnswerForm::rfc7516).value();
  const std::string header(as_text(*from_base64url(answer["protected"].get<std::string>())));
  EXPECT_TRUE(header.starts_with(R"({"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{"crv":"P-256","kty":"EC","x":")"))
      << header;
}

TEST(Answer, SharedVectors) {
  const auto vectors = shared("trustee/protocol/kbs-response-jwe.json");
  if (!vectors) GTEST_SKIP() << "shared data not present";
  const auto expected = (*vectors)["plaintext_utf8"].get<std::string>();
  ASSERT_GE((*vectors)["cases"].size(), 4U);
  for (const auto& c : (*vectors)["cases"]) {
    const auto key = parse_private_jwk(c["tee-private-jwk"]);
    ASSERT_TRUE(key) << c["name"] << key.error().text();
    const auto alg = c["tee-pubkey"]["alg"].get<std::string>();
    const auto opened = decrypt_answer(c["response"], *key, alg);
    ASSERT_TRUE(opened) << c["name"] << opened.error().text();
    EXPECT_EQ(as_text(opened->view()), expected) << c["name"];
    EXPECT_EQ(parse_jwk(c["tee-pubkey"])->key, key->public_key()) << c["name"];
    Json broken = c["response"];
    std::string text = broken["ciphertext"].get<std::string>();
    text[3] = text[3] == 'A' ? 'B' : 'A';
    broken["ciphertext"] = text;
    EXPECT_EQ(decrypt_answer(broken, *key, alg).error().code, ErrorCode::crypto_failed);
  }
}

TEST(Answer, SharedHandshakeVectors) {
  for (const char* name : {"guest/rcar/p1-kbs-0.1.0.json", "guest/rcar/p2-kbs-0.4.0.json"}) {
    const auto v = shared(name);
    if (!v) GTEST_SKIP() << "shared data not present";
    const auto key = PrivateKey::from_pem((*v)["tee_private_key_pem"].get<std::string>()).value();
    std::size_t opened = 0;
    for (const auto& [member, value] : v->items()) {
      if (!value.is_object() || !value.contains("encrypted_key")) continue;
      const auto text = decrypt_answer(value, key, key.type() == KeyType::rsa ? "RSA1_5" : "ECDH-ES+A256KW");
      ASSERT_TRUE(text) << name << " " << member << " " << text.error().text();
      EXPECT_EQ(as_text(text->view()), "0123456789abcdef-model-key") << name << " " << member;
      ++opened;
    }
    EXPECT_GT(opened, 0U) << name;
  }
}

TEST(Jws, SharedAdminToken) {
  const auto v = shared("trustee/protocol/admin-jwt.json");
  if (!v) GTEST_SKIP() << "shared data not present";
  const auto key = PublicKey::from_pem((*v)["public_pem"].get<std::string>()).value();
  const auto jws = parse_jws((*v)["token"].get<std::string>()).value();
  EXPECT_TRUE(verify_jws(jws, key, JwsAlg::eddsa));
  EXPECT_TRUE(check_times(*jws.claims(), {(*v)["valid_at"].get<std::int64_t>()}));
  EXPECT_FALSE(check_times(*jws.claims(), {(*v)["expired_at"].get<std::int64_t>()}));
}

}  // namespace
}  // namespace cairn::crypto
