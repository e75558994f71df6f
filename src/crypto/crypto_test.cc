#include <gtest/gtest.h>

#include "base/encoding.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/kdf.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "crypto/x509.h"

namespace cairn::crypto {
namespace {

Bytes h(std::string_view text) { return *from_hex(text); }

TEST(Hash, Fips180Vectors) {
  EXPECT_EQ(hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha384(as_bytes("abc"))),
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
  Hasher hasher(Hash::sha384);
  hasher.update(as_bytes("a")).update(as_bytes("bc"));
  EXPECT_EQ(hasher.finish(), to_bytes(sha384(as_bytes("abc")).view()));
  EXPECT_EQ(hasher.finish(), to_bytes(sha384({}).view()));
  EXPECT_EQ(hex(digest(Hash::sm3, as_bytes("abc"))),
            "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
  EXPECT_EQ(hash_by_name("SHA-384"), Hash::sha384);
  EXPECT_EQ(hash_by_name("md5"), std::nullopt);
}

TEST(Hash, HmacRfc4231Case2) {
  EXPECT_EQ(hex(hmac(Hash::sha256, as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Kdf, HkdfRfc5869Case1) {
  const auto okm = hkdf(Hash::sha256, Bytes(22, 0x0b), h("000102030405060708090a0b0c"), h("f0f1f2f3f4f5f6f7f8f9"), 42);
  EXPECT_EQ(hex(okm->view()), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_FALSE(hkdf(Hash::sha256, {}, {}, {}, 255 * 32 + 1));
}

TEST(Kdf, ScryptRfc7914) {
  EXPECT_EQ(
      hex(scrypt(as_bytes("password"), as_bytes("NaCl"), 1024, 8, 16, 64)->view()),
      "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d"
      "8360cbdfa2cc0640");
  EXPECT_EQ(hex(scrypt({}, {}, 16, 1, 1, 64)->view()).substr(0, 16), "77d6576238657b20");
  EXPECT_FALSE(scrypt({}, {}, 15, 1, 1, 64));
  EXPECT_EQ(scrypt({}, {}, 1U << 20, 8, 1, 64, 1U << 20).error().code, ErrorCode::too_large);
}

TEST(Aead, GcmSpecificationCase16) {
  const Bytes key = h("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
              iv = h("cafebabefacedbaddecaf888"), aad = h("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
              plain = h(
                  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16"
                  "aedf5aa0de657ba637b39");
  const auto sealed = seal(Aead::aes_256_gcm, key, iv, aad, plain);
  EXPECT_EQ(hex(ByteView(*sealed).last(16)), "76fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_TRUE(equal(open(Aead::aes_256_gcm, key, iv, aad, *sealed)->view(), plain));
  for (std::size_t i = 0; i < sealed->size(); i += 7) {
    Bytes bad = *sealed;
    bad[i] ^= 1;
    EXPECT_FALSE(open(Aead::aes_256_gcm, key, iv, aad, bad));
  }
  EXPECT_FALSE(open(Aead::aes_256_gcm, key, iv, {}, *sealed));
  EXPECT_FALSE(open(Aead::aes_256_gcm, key, iv, aad, ByteView(*sealed).first(15)));
  const auto empty = seal(Aead::chacha20_poly1305, key, iv, {}, {});
  EXPECT_EQ(empty->size(), kTagSize);
  EXPECT_TRUE(open(Aead::chacha20_poly1305, key, iv, {}, *empty));
}

TEST(Aead, KeyWrapRfc3394Section46) {
  const Bytes kek = h("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
              data = h("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
  const auto wrapped = aes_key_wrap(kek, data);
  EXPECT_EQ(hex(*wrapped), "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
  EXPECT_TRUE(equal(aes_key_unwrap(kek, *wrapped)->view(), data));
  Bytes bad = *wrapped;
  bad[9] ^= 1;
  EXPECT_FALSE(aes_key_unwrap(kek, bad));
}

TEST(Keys, SignAndVerifyEveryKind) {
  const struct {
    KeyType type;
    Signature kind;
    Hash hash;
  } cases[] = {
      {KeyType::ec_p256, Signature::ecdsa_der, Hash::sha256}, {KeyType::ec_p256, Signature::ecdsa_raw, Hash::sha256},
      {KeyType::ec_p384, Signature::ecdsa_raw, Hash::sha384}, {KeyType::ec_p521, Signature::ecdsa_raw, Hash::sha512},
      {KeyType::rsa, Signature::rsa_pkcs1, Hash::sha384},     {KeyType::rsa, Signature::rsa_pss, Hash::sha256},
      {KeyType::ed25519, Signature::eddsa, Hash::sha512}};
  for (const auto& c : cases) {
    const auto key = PrivateKey::generate(c.type, 2048);
    ASSERT_TRUE(key) << key.error().text();
    const auto signature = key->sign(c.kind, c.hash, as_bytes("message"));
    ASSERT_TRUE(signature) << key_type_name(c.type);
    EXPECT_TRUE(key->public_key().verify(c.kind, c.hash, as_bytes("message"), *signature)) << key_type_name(c.type);
    EXPECT_FALSE(key->public_key().verify(c.kind, c.hash, as_bytes("massage"), *signature));
    Bytes bad = *signature;
    bad.back() ^= 1;
    EXPECT_FALSE(key->public_key().verify(c.kind, c.hash, as_bytes("message"), bad));
    const auto again = PrivateKey::from_pem(as_text(key->pkcs8_pem().view()));
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->public_key() == key->public_key());
    EXPECT_TRUE(*PublicKey::from_pem(key->public_key().pem()) ==
                *PublicKey::from_spki_der(key->public_key().spki_der()));
  }
  EXPECT_FALSE(PrivateKey::generate(KeyType::rsa, 2048)->sign(Signature::ecdsa_raw, Hash::sha256, {}));
}

TEST(Keys, NumbersAndAgreement) {
  const auto a = PrivateKey::generate(KeyType::ec_p256), b = PrivateKey::generate(KeyType::ec_p256);
  const auto point = a->public_key().ec_point();
  EXPECT_TRUE(*PublicKey::from_ec_point(KeyType::ec_p256, point->x, point->y) == a->public_key());
  Bytes off = point->y;
  off[31] ^= 1;
  EXPECT_FALSE(PublicKey::from_ec_point(KeyType::ec_p256, point->x, off));
  EXPECT_TRUE(equal(a->ecdh(b->public_key())->view(), b->ecdh(a->public_key())->view()));
  // RFC 5903 §8.1: the scalar i gives this x coordinate.
  const auto known = PrivateKey::from_ec_scalar(KeyType::ec_p256,
                                                h("C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433"));
  EXPECT_EQ(hex(known->public_key().ec_point()->x), "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180");
  EXPECT_FALSE(PrivateKey::from_ec_scalar(KeyType::ec_p256, Bytes(32, 0)));
  EXPECT_FALSE(PrivateKey::from_ec_scalar(KeyType::ec_p256, Bytes(32, 0xFF)));
}

TEST(Keys, RsaEncryption) {
  const auto key = PrivateKey::generate(KeyType::rsa, 2048);
  const auto numbers = key->public_key().rsa_numbers();
  EXPECT_TRUE(*PublicKey::from_rsa(numbers->modulus, numbers->exponent) == key->public_key());
  for (const auto padding : {RsaPadding::pkcs1_v15, RsaPadding::oaep_sha1, RsaPadding::oaep_sha256}) {
    auto text = key->public_key().rsa_encrypt(padding, as_bytes("content key"));
    EXPECT_EQ(as_text(key->rsa_decrypt(padding, *text)->view()), "content key");
    (*text)[100] ^= 1;
    const auto bad = key->rsa_decrypt(padding, *text);
    EXPECT_TRUE(!bad || as_text(bad->view()) != "content key");
  }
  EXPECT_FALSE(PublicKey::from_rsa(Bytes(128, 0xC1), h("010001")));  // 1024 bits
}

struct Pki {
  PrivateKey root_key = *PrivateKey::generate(KeyType::ec_p256), ca_key = *PrivateKey::generate(KeyType::ec_p256),
             leaf_key = *PrivateKey::generate(KeyType::ec_p256);
  Time from{1'700'000'000}, to{1'800'000'000};
  CertificateTemplate root_t{.subject = {{"CN", "Root"}, {"O", "Test"}},
                             .issuer = {},
                             .serial = {},
                             .not_before = from,
                             .not_after = to,
                             .ca = true,
                             .path_length = 1,
                             .key_usage = kKeyCertSign | kCrlSign,
                             .extended_key_usage = {},
                             .crl_url = {},
                             .dns_names = {},
                             .ip_addresses = {},
                             .extra = {}};
  Certificate root = *issue(root_t, root_key.public_key(), root_key);
  CertificateTemplate ca_t = [this] {
    auto t = root_t;
    t.subject = {{"CN", "CA"}};
    t.issuer = root_t.subject;
    t.path_length = 0;
    t.crl_url = "http://crl.example/ca";
    return t;
  }();
  Certificate ca = *issue(ca_t, ca_key.public_key(), root_key);
  CertificateTemplate leaf_t = [this] {
    auto t = ca_t;
    t.subject = {{"CN", "Leaf"}};
    t.issuer = ca_t.subject;
    t.ca = false;
    t.path_length.reset();
    t.key_usage = kDigitalSignature;
    t.dns_names = {"localhost"};
    t.ip_addresses = {"127.0.0.1"};
    t.extra = {{"1.2.840.113741.1.13.1", false, {1, 2, 3}}};
    return t;
  }();
  Certificate leaf = *issue(leaf_t, leaf_key.public_key(), ca_key);
};

TEST(X509, BuildsWhatItReads) {
  const Pki p;
  EXPECT_EQ(p.root.subject(), "CN=Root,O=Test");
  EXPECT_EQ(p.root.common_name(), "Root");
  EXPECT_EQ(p.leaf.version(), 3);
  EXPECT_EQ(p.leaf.not_before(), p.from);
  EXPECT_EQ(p.leaf.key_usage(), kDigitalSignature);
  EXPECT_FALSE(p.leaf.is_ca());
  EXPECT_EQ(p.ca.path_length(), 0);
  ASSERT_NE(p.leaf.extension("1.2.840.113741.1.13.1"), nullptr);
  EXPECT_EQ(p.leaf.extension("1.2.840.113741.1.13.1")->value, (Bytes{1, 2, 3}));
  EXPECT_EQ(p.leaf.signature_algorithm_oid(), "1.2.840.10045.4.3.2");
  EXPECT_EQ(p.leaf.serial().size(), 20U);
  const auto chain = Certificate::from_pem(p.leaf.pem() + p.ca.pem() + p.root.pem() + std::string(1, '\0'));
  ASSERT_TRUE(chain);
  EXPECT_TRUE(equal((*chain)[2].der(), p.root.der()));
  EXPECT_FALSE(Certificate::from_pem("hello " + p.leaf.pem()));
  EXPECT_FALSE(Certificate::from_pem(p.leaf.pem() + p.leaf.pem(), 1));
  Bytes longer = to_bytes(p.leaf.der());
  longer.push_back(0);
  EXPECT_FALSE(Certificate::from_der(longer));
}

TEST(X509, ChainRules) {
  const Pki p;
  const Time now = p.from.plus(1000);
  EXPECT_TRUE(verify_chain({p.leaf, p.ca, p.root}, {p.root}, now));
  EXPECT_TRUE(verify_chain({p.leaf, p.ca}, {p.root}, now));
  EXPECT_FALSE(verify_chain({p.leaf}, {p.root}, now));
  EXPECT_FALSE(verify_chain({p.leaf, p.ca}, {p.root}, p.to.plus(1)));
  EXPECT_FALSE(verify_chain({p.leaf, p.ca}, {p.root}, p.from.plus(-1)));
  EXPECT_FALSE(verify_chain({p.leaf, p.ca}, {}, now));
  const Pki other;
  EXPECT_FALSE(verify_chain({p.leaf, p.ca, p.root}, {other.root}, now));
  EXPECT_FALSE(verify_chain({p.leaf, other.ca}, {other.root}, now));
  // A leaf may not issue; a critical extension nobody knows is refused; the path length holds.
  auto below = p.leaf_t;
  below.subject = {{"CN", "Below"}};
  below.issuer = p.leaf_t.subject;
  const auto rogue = *issue(below, p.root_key.public_key(), p.leaf_key);
  EXPECT_FALSE(verify_chain({rogue, p.leaf, p.ca}, {p.root}, now));
  auto critical = p.leaf_t;
  critical.extra[0].critical = true;
  EXPECT_FALSE(verify_chain({*issue(critical, p.leaf_key.public_key(), p.ca_key), p.ca}, {p.root}, now));
  auto sub = p.ca_t;
  sub.subject = {{"CN", "SubCA"}};
  sub.issuer = p.ca_t.subject;
  const auto sub_key = *PrivateKey::generate(KeyType::ec_p256);
  const auto sub_ca = *issue(sub, sub_key.public_key(), p.ca_key);
  auto deep = p.leaf_t;
  deep.issuer = sub.subject;
  EXPECT_FALSE(verify_chain({*issue(deep, p.leaf_key.public_key(), sub_key), sub_ca, p.ca}, {p.root}, now));
}

TEST(X509, RevocationLists) {
  const Pki p;
  const auto crl = issue_crl({.issuer = p.ca_t.subject,
                              .this_update = p.from,
                              .next_update = p.to,
                              .number = 7,
                              .revoked = {{p.leaf.serial(), p.from, 1}}},
                             p.ca_key);
  ASSERT_TRUE(crl) << crl.error().text();
  EXPECT_TRUE(crl->revokes(p.leaf.serial()));
  EXPECT_FALSE(crl->revokes(p.ca.serial()));
  EXPECT_EQ(crl->size(), 1U);
  EXPECT_EQ(crl->number(), Bytes{7});
  EXPECT_EQ(crl->issuer_der(), p.ca.subject_der());
  EXPECT_TRUE(crl->signed_by(p.ca_key.public_key()));
  EXPECT_FALSE(crl->signed_by(p.root_key.public_key()));
  EXPECT_EQ(crl->next_update(), p.to);
}

TEST(Random, Differs) { EXPECT_NE(random_bytes(16), random_bytes(16)); }

}  // namespace
}  // namespace cairn::crypto
