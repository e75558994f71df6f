#include "kbs_protocol/tee_key.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "crypto/aead.h"
#include "crypto/jose.h"
#include "kbs_protocol/test_kbs.h"

namespace cairn::kbs {
namespace {

void flip(Json& answer, const char* member) {
  Bytes bytes = *from_base64url(answer[member].get<std::string>());
  bytes.back() ^= 1;
  answer[member] = base64url(bytes);
}

TEST(TeeKey, OpensTheVectorsAndNothingAltered) {
  for (const auto& [file, profile] :
       {std::pair{"p1-kbs-0.1.0.json", Profile::p1}, std::pair{"p2-kbs-0.4.0.json", Profile::p2}}) {
    const Json v = vector_file(file);
    if (v.is_null()) GTEST_SKIP() << "shared data not present";
    const auto key = TeeKey::from_pem(profile, v["tee_private_key_pem"].get<std::string>());
    ASSERT_TRUE(key);
    const Json& body = v["resource_response_body"];
    const auto opened = key->open(compact_json(body));
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ(v["resource_plaintext_utf8"], std::string(as_text(opened->view())));
    for (const char* member : {"ciphertext", "iv", "encrypted_key"}) {
      Json bad = body;
      flip(bad, member);
      EXPECT_FALSE(key->open(compact_json(bad))) << member;
    }
    if (profile == Profile::p2) {
      Json bad = body;
      flip(bad, "tag");
      EXPECT_FALSE(key->open(compact_json(bad)));
      bad = body;  // the same header, spelled otherwise: another AAD
      std::string header(as_text(*from_base64url(bad["protected"].get<std::string>())));
      bad["protected"] = base64url(as_bytes(header + " "));
      EXPECT_FALSE(key->open(compact_json(bad)));
    }
  }
}

TEST(TeeKey, PublicKeysAsTheWireHasThem) {
  const auto rsa = TeeKey::generate(TeeKeyKind::rsa1_5);
  EXPECT_EQ(rsa->public_jwk()["alg"], "RSA1_5");
  EXPECT_EQ(from_base64url(rsa->public_jwk()["n"].get<std::string>())->size(), 256U);
  EXPECT_TRUE(as_text(rsa->pem().view()).starts_with("-----BEGIN RSA PRIVATE KEY-----"));
  const auto ec = TeeKey::generate(TeeKeyKind::ecdh_p256);
  EXPECT_EQ(ec->public_jwk()["alg"], "ECDH-ES+A256KW");
  EXPECT_EQ(ec->public_jwk()["crv"], "P-256");
  EXPECT_TRUE(as_text(ec->pem().view()).starts_with("-----BEGIN PRIVATE KEY-----"));
  EXPECT_EQ(TeeKey::from_pem(Profile::p2, as_text(ec->pem().view()))->public_jwk(), ec->public_jwk());
  EXPECT_EQ(TeeKey::from_pem(Profile::p1, as_text(rsa->pem().view()))->public_jwk(), rsa->public_jwk());
  EXPECT_EQ(*tee_key_kind("ECDH-ES+A256KW-P521"), TeeKeyKind::ecdh_p521);
  EXPECT_FALSE(tee_key_kind("ECDH-ES+A256KW"));
}

// P1 brokers other than Trustee 1.5 may wrap the content key with OAEP under the same RSA key.
TEST(TeeKey, P1AnswerWrappedWithOaep) {
  const auto rsa = TeeKey::generate(TeeKeyKind::rsa1_5);
  const auto pem = rsa->pem();
  const auto key = crypto::PrivateKey::from_pem(as_text(pem.view()));
  const Bytes cek(32, 7), iv(12, 9);
  const auto wrapped = key->public_key().rsa_encrypt(crypto::RsaPadding::oaep_sha1, cek);
  const auto sealed = crypto::seal(crypto::Aead::aes_256_gcm, cek, iv, {}, as_bytes("secret"));
  Json answer = {{"protected", R"({"alg":"RSA-OAEP","enc":"A256GCM"})"},
                 {"encrypted_key", base64url(*wrapped)},
                 {"iv", base64url(iv)},
                 {"ciphertext", base64url(*sealed)},
                 {"tag", ""}};
  const auto opened = rsa->open(compact_json(answer));
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_EQ(as_text(opened->view()), "secret");
  flip(answer, "ciphertext");
  EXPECT_FALSE(rsa->open(compact_json(answer)));
}

TEST(TeeKey, AnswersForAnotherKeyAreRefused) {
  const auto ours = TeeKey::generate(TeeKeyKind::ecdh_p256), theirs = TeeKey::generate(TeeKeyKind::ecdh_p256);
  const auto answer = crypto::encrypt_answer(theirs->public_jwk(), as_bytes("x"), crypto::AnswerForm::rfc7516);
  EXPECT_TRUE(theirs->open(compact_json(*answer)));
  EXPECT_FALSE(ours->open(compact_json(*answer)));
  for (const char* bad : {"", "{}", "[]", R"({"protected":5})", "null"}) EXPECT_FALSE(ours->open(bad)) << bad;
}

}  // namespace
}  // namespace cairn::kbs
