#include "guest/cdh/sealed_secret.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/aead.h"
#include "crypto/jose.h"

namespace cairn::cdh {
namespace {

constexpr std::string_view kVault =
    R"({"version":"0.1.0","type":"vault","name":"kbs:///a/b/c","provider":"KBS","provider_settings":{},"annotations":{}})";

std::string seal_text(std::string_view payload, const Json& header, const crypto::PrivateKey& key) {
  return "sealed." + *crypto::sign_jws(header, as_bytes(payload), key, crypto::JwsAlg::es256);
}

Json shared(const char* name) {
  const auto path = std::filesystem::path(CAIRN_SHARED_DATA) / "guest/sealed-secret" / name;
  return std::filesystem::exists(path) ? *parse_json(*read_text(path)) : Json();
}

TEST(SealedSecret, VectorsVerifyAndTamperedOnesDoNot) {
  const Json v = shared("composed.json");
  if (v.is_null()) GTEST_SKIP() << "shared data not present";
  const auto key = signer_key(compact_json(shared("upstream-test-key.json")));
  ASSERT_TRUE(key) << key.error().text();
  const auto good = split_sealed_secret(v["vault_p2_signed_es256"].get<std::string>());
  ASSERT_TRUE(good);
  EXPECT_EQ(v["vault_p2_kid"], std::get<std::string>(*signer_of(*good)));
  EXPECT_TRUE(verify(*good, *key));
  EXPECT_EQ(std::get<VaultSecret>(*parse_payload(good->payload)).name, "kbs:///default/aliyun/model-decryption-key");
  const auto bad = split_sealed_secret(v["vault_p2_tampered"].get<std::string>());
  EXPECT_TRUE(!bad || !verify(*bad, *key));
  const auto unsigned_one = split_sealed_secret(v["vault_p1_unsigned"].get<std::string>());
  ASSERT_TRUE(unsigned_one);
  EXPECT_EQ(signer_of(*unsigned_one).error().code, ErrorCode::crypto_failed);
  EXPECT_TRUE(parse_payload(unsigned_one->payload));
  const Json& demo = v["envelope_inner_demo"];
  const auto opened = open_wrapped("A256GCM", *from_hex(demo["dek_hex"].get<std::string>()),
                                   *from_base64(demo["iv"].get<std::string>()),
                                   *from_base64(demo["encrypted_data"].get<std::string>()));
  ASSERT_TRUE(opened);
  EXPECT_EQ(demo["plaintext_utf8"], std::string(as_text(opened->view())));
}

TEST(SealedSecret, UpstreamPayloadsParse) {
  for (const char* name : {"vault-1.json", "vault-2.json"}) {
    const Json v = shared(name);
    if (v.is_null()) GTEST_SKIP() << "shared data not present";
    const auto payload = parse_payload(compact_json(v));
    ASSERT_TRUE(payload) << payload.error().text();
    EXPECT_EQ(v["name"], std::get<VaultSecret>(*payload).name);
  }
  // "encrypted_key":"yyy" is not base64 of whole bytes: refused, as every field must be what it claims.
  EXPECT_FALSE(parse_payload(compact_json(shared("envelope-1.json"))));
}

TEST(SealedSecret, SignedByOurselves) {
  const auto key = *crypto::PrivateKey::generate(crypto::KeyType::ec_p256);
  const auto other = *crypto::PrivateKey::generate(crypto::KeyType::ec_p256);
  const std::string text = seal_text(kVault, {{"kid", "kbs:///keys/sign/one"}}, key);
  const auto secret = split_sealed_secret(text + "\n");
  ASSERT_TRUE(secret) << secret.error().text();
  EXPECT_EQ(std::get<kbs::ResourceUri>(*signer_of(*secret)).path(), "keys/sign/one");
  EXPECT_TRUE(verify(*secret, key.public_key()));
  EXPECT_FALSE(verify(*secret, other.public_key()));
  EXPECT_EQ(std::get<VaultSecret>(*parse_payload(secret->payload)).provider, "kbs");
  for (std::size_t i = 7; i < text.size(); i += 11) {
    std::string bad = text;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    const auto split = split_sealed_secret(bad);
    EXPECT_TRUE(!split || !verify(*split, key.public_key())) << i;
  }
}

TEST(SealedSecret, ExactlyFourSections) {
  for (const char* bad : {"", "sealed", "sealed.a", "sealed.a.b", "sealed.a.e30.c.d", "sealed.a.e30.c.",
                          "Sealed.a.e30.c", "x.a.e30.c", "sealed.a.e30=.c", "sealed.a.!.c"})
    EXPECT_FALSE(split_sealed_secret(bad)) << bad;
  EXPECT_TRUE(split_sealed_secret("sealed.a.e30.c"));
}

TEST(SealedSecret, KeyNamesCannotLeaveTheirFolder) {
  const auto key = *crypto::PrivateKey::generate(crypto::KeyType::ec_p256);
  for (const char* kid : {"../x", "..", ".", "a/b", "/etc/passwd", "", ".hidden", "a\\b", "kbs:///a/b", "kbs:x"})
    EXPECT_FALSE(signer_of(*split_sealed_secret(seal_text(kVault, {{"kid", kid}}, key)))) << kid;
  EXPECT_FALSE(signer_of(*split_sealed_secret(seal_text(kVault, Json::object(), key))));
  EXPECT_TRUE(signer_of(*split_sealed_secret(seal_text(kVault, {{"kid", "test-key_1.jwk"}}, key))));
}

TEST(SealedSecret, OnlyEs256) {
  const auto key = *crypto::PrivateKey::generate(crypto::KeyType::ec_p384);
  const auto text = "sealed." + *crypto::sign_jws({{"kid", "k"}}, as_bytes(kVault), key, crypto::JwsAlg::es384);
  EXPECT_EQ(signer_of(*split_sealed_secret(text)).error().where, "alg");
  EXPECT_FALSE(signer_key(compact_json(crypto::emit_jwk(key.public_key(), ""))));
}

TEST(SealedSecret, PayloadsAreStrict) {
  for (const char* bad :
       {"", "[]",
        R"({"version":"0.2.0","type":"vault","name":"x","provider":"kbs","provider_settings":{},"annotations":{}})",
        R"({"version":"0.1.0","type":"other","provider":"kbs"})",
        R"({"version":"0.1.0","type":"vault","provider":"kbs"})",
        R"({"version":"0.1.0","type":"vault","name":"x","provider":"kbs","provider_settings":5})",
        R"({"version":"0.1.0","type":"vault","name":"x","provider":"kbs","extra":1})"})
    EXPECT_FALSE(parse_payload(bad)) << bad;
}

TEST(SealedSecret, WrappedDataIsAuthenticated) {
  const Bytes key(32, 1), iv(12, 2);
  Bytes data = *crypto::seal(crypto::Aead::aes_256_gcm, key, iv, {}, as_bytes("x"));
  EXPECT_TRUE(open_wrapped("A256GCM", key, iv, data));
  data[0] ^= 1;
  EXPECT_FALSE(open_wrapped("A256GCM", key, iv, data));
  EXPECT_EQ(open_wrapped("A256CTR", key, iv, data).error().code, ErrorCode::unsupported);
  EXPECT_FALSE(open_wrapped("A256GCM", ByteView(key).first(16), iv, data));
  EXPECT_FALSE(open_wrapped("A256GCM", key, ByteView(iv).first(11), data));
}

}  // namespace
}  // namespace cairn::cdh
