#include "kbs_protocol/rcar.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "kbs_protocol/test_kbs.h"
#include "kbs_protocol/uri.h"

namespace cairn::kbs {
namespace {

constexpr std::string_view kNonce = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

TEST(Rcar, P1VectorsByteForByte) {
  const Json v = vector_file("p1-kbs-0.1.0.json");
  if (v.is_null()) GTEST_SKIP() << "shared data not present";
  EXPECT_EQ(v["auth_request_body"], *parse_json(auth_body(Profile::p1, "sample")));
  const auto challenge = parse_challenge(Profile::p1, compact_json(v["challenge_body"]));
  ASSERT_TRUE(challenge);
  const auto text = runtime_data(Profile::p1, *challenge, v["tee_pubkey"], "");
  ASSERT_TRUE(text);
  EXPECT_EQ(v["runtime_data_text"], *text);
  for (const auto& [name, digest] : v["runtime_data_digest"].items())
    EXPECT_EQ(digest, hex(crypto::digest(*crypto::hash_by_name(name), as_bytes(*text)))) << name;
  const auto body =
      attest_body(Profile::p1, *challenge, v["tee_pubkey"], {.evidence = v["attest_body_example"]["tee-evidence"]});
  EXPECT_EQ(v["attest_body_example"], *parse_json(*body));
}

TEST(Rcar, P2VectorsByteForByte) {
  const Json v = vector_file("p2-kbs-0.4.0.json");
  if (v.is_null()) GTEST_SKIP() << "shared data not present";
  EXPECT_EQ(v["auth_request_body"], *parse_json(auth_body(Profile::p2, "sample")));
  const auto challenge = parse_challenge(Profile::p2, compact_json(v["challenge_body"]));
  ASSERT_TRUE(challenge);
  Json key = v["tee_private_jwk"];
  key.erase("d");
  EXPECT_EQ(v["device_runtime_data_text"], *device_runtime_data(*challenge, key));
  for (const char* name : {"case_no_device", "case_sample_device"}) {
    const Json& c = v[name];
    const std::string devices = c["additional_evidence"];
    const auto text = runtime_data(Profile::p2, *challenge, key, devices);
    ASSERT_TRUE(text);
    EXPECT_EQ(c["primary_runtime_data_text"], *text);
    EXPECT_EQ(c["primary_runtime_data_digest"]["sha384"], hex(crypto::sha384(as_bytes(*text)).view()));
    const std::string primary = compact_json(c["attest_body"]["tee-evidence"]["primary_evidence"]);
    const auto body = attest_body(Profile::p2, *challenge, key, {.evidence = primary, .additional_evidence = devices});
    EXPECT_EQ(c["attest_body"], *parse_json(*body));
  }
}

// The same rules on a key and nonce of our own, with the text spelled out.
TEST(Rcar, RuntimeDataIsSortedAndCompact) {
  const Challenge c{.nonce = "N", .hash = crypto::Hash::sha384};
  const Json key = {{"kty", "RSA"}, {"n", "AQ"}, {"e", "AQAB"}, {"alg", "RSA1_5"}};
  EXPECT_EQ(*runtime_data(Profile::p1, c, key, "ignored"),
            R"({"nonce":"N","tee-pubkey":{"alg":"RSA1_5","e":"AQAB","kty":"RSA","n":"AQ"}})");
  EXPECT_EQ(
      *runtime_data(Profile::p2, c, key, R"({"a":1})"),
      R"({"additional-evidence":"{\"a\":1}","nonce":"N","tee-pubkey":{"alg":"RSA1_5","e":"AQAB","kty":"RSA","n":"AQ"}})");
}

TEST(Rcar, ExtraParamsSelectTheHash) {
  const auto parse = [](Profile p, const Json& extra) {
    return parse_challenge(p, compact_json({{"nonce", kNonce}, {"extra-params", extra}}));
  };
  for (const Json& none : {Json(""), Json("not json"), Json("{}"), Json(R"({"other":1})"), Json(5)})
    EXPECT_EQ(parse(Profile::p1, none)->hash, crypto::Hash::sha384) << none;
  EXPECT_EQ(parse_challenge(Profile::p1, R"({"nonce":"x"})")->hash, crypto::Hash::sha384);
  EXPECT_EQ(parse(Profile::p1, R"({"selected-hash-algorithm":"SHA256"})")->hash, crypto::Hash::sha256);
  EXPECT_EQ(parse(Profile::p2, Json{{"selected-hash-algorithm", "sm3"}})->hash, crypto::Hash::sm3);
  EXPECT_EQ(parse(Profile::p2, R"({"selected-hash-algorithm":"sha512"})")->hash, crypto::Hash::sha512);
  EXPECT_FALSE(parse(Profile::p1, R"({"selected-hash-algorithm":5})"));
  EXPECT_FALSE(parse(Profile::p1, R"({"selected-hash-algorithm":"md5"})"));
  EXPECT_FALSE(parse(Profile::p1, R"({"selected-hash-algorithm":"sm3"})"));  // not offered in P1
  EXPECT_FALSE(parse(Profile::p1, R"({"selected-hash-algorithm":"sha-256"})"));
}

TEST(Rcar, ChallengesAreRefused) {
  for (const char* bad : {"", "[]", "{}", R"({"nonce":1})", R"({"nonce":""})", R"({"nonce":"a","nonce":"b"})"})
    EXPECT_FALSE(parse_challenge(Profile::p1, bad)) << bad;
  EXPECT_TRUE(parse_challenge(Profile::p1, compact_json({{"nonce", std::string(1024, 'a')}})));
  EXPECT_FALSE(parse_challenge(Profile::p1, compact_json({{"nonce", std::string(1025, 'a')}})));
}

TEST(Rcar, TokenHasThreeParts) {
  EXPECT_EQ(*parse_attest_answer(R"({"token":"a.b-_.c"})"), "a.b-_.c");
  for (const char* bad : {R"({"token":"a.b"})", R"({"token":"a.b.c.d"})", R"({"token":"a..c"})", R"({"token":5})", "{}",
                          R"({"token":"a.b.c\r\nX: y"})"})
    EXPECT_FALSE(parse_attest_answer(bad)) << bad;
}

TEST(Rcar, P2EvidenceMustBeJson) {
  EXPECT_FALSE(attest_body(Profile::p2, {.nonce = "n"}, Json::object(), {.evidence = "junk"}));
  const auto body = attest_body(Profile::p2, {.nonce = "n"}, Json::object(),
                                {.evidence = "{}", .additional_evidence = {}, .init_data_toml = "version = \"0.1.0\""});
  EXPECT_EQ((*parse_json(*body))["init-data"]["body"], "version = \"0.1.0\"");
}

TEST(Rcar, AttestationServiceBodies) {
  AttestationRequest r{.tee = "tdx", .evidence = "{}", .policy_ids = {"default"}};
  EXPECT_EQ(*attestation_service_body(Profile::p1, r), R"({"evidence":"e30","policy_ids":["default"],"tee":"tdx"})");
  r.additional_evidence = R"({"nvidia":{"a":1}})";
  r.policy_ids = {};
  EXPECT_EQ(
      *attestation_service_body(Profile::p2, r),
      R"({"policy_ids":[],"verification_requests":[{"evidence":"e30","tee":"tdx"},{"evidence":"eyJhIjoxfQ","tee":"nvidia"}]})");
}

TEST(Rcar, RefusalsKeepWhatTheServerSaid) {
  EXPECT_EQ(
      parse_refusal(
          403,
          R"({"type":"https://github.com/confidential-containers/kbs/errors/PolicyDeny","detail":"Access denied by policy"})")
          .text(),
      "HTTP 403 PolicyDeny: Access denied by policy");
  EXPECT_EQ(parse_refusal(500, "boom\n\x1b[31m").text(), "HTTP 500: boom\\x0a\\x1b[31m");
  EXPECT_EQ(parse_refusal(500, R"({"type":"x/A","detail":"TEE \"é\"\n"})").text(), "HTTP 500 A: TEE \"é\"\\x0a");
  EXPECT_EQ(parse_refusal(500, std::string(2047, 'x') + "é").detail, std::string(2047, 'x') + "…");
  EXPECT_EQ(parse_refusal(500, "\xFF").text(), "HTTP 500: ?");
  EXPECT_EQ(parse_refusal(502, "").text(), "HTTP 502");
  EXPECT_EQ(parse_refusal(400, "[1]").text(), "HTTP 400: [1]");
  EXPECT_LE(parse_refusal(400, std::string(100000, 'x')).detail.size(), 2100U);
}

TEST(Uri, AcceptsAndRefuses) {
  const auto uri = ResourceUri::parse("kbs:///default/aliyun/model-decryption-key");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->path(), "default/aliyun/model-decryption-key");
  EXPECT_EQ(ResourceUri::parse("kbs://host:8080/a/b/c.d?x=1&y")->path_and_query(), "a/b/c.d?x=1&y");
  EXPECT_EQ(ResourceUri::parse("kbs://host/a/b/c")->text(), "kbs:///a/b/c");
  EXPECT_EQ(ResourceUri::from_path("a/b/c")->path(), "a/b/c");
  for (const char* bad : {"",
                          "kbs:",
                          "kbs://",
                          "kbs:///",
                          "kbs:///a",
                          "kbs:///a/b",
                          "kbs:///a/b/c/d",
                          "kbs:///a//c",
                          "kbs:////b/c",
                          "kbs:///a/b/",
                          "KBS:///a/b/c",
                          "http:///a/b/c",
                          "kbs+x:///a/b/c",
                          "kbs:///a/b/..",
                          "kbs:///a/b/.c",
                          "kbs:///a/b/c%2f",
                          "kbs:///a/b/c?a b",
                          "kbs:///a/b/c?a#b",
                          "kbs://u@h/a/b/c",
                          "kbs:///a/b/c\n",
                          "kbs:///a/b/\xC3\xA9"})
    EXPECT_FALSE(ResourceUri::parse(bad)) << bad;
  EXPECT_TRUE(ResourceUri::parse("kbs:///a/b/" + std::string(1013, 'c')));
  EXPECT_FALSE(ResourceUri::parse("kbs:///a/b/" + std::string(1014, 'c')));
  EXPECT_FALSE(ResourceUri::from_path("/a/b/c"));
}

}  // namespace
}  // namespace cairn::kbs
