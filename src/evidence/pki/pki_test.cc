#include <gtest/gtest.h>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "crypto/x509.h"
#include "evidence/pki/certificate.h"
#include "evidence/pki/der.h"
#include "evidence/pki/limits.h"

namespace cairn::pki {
namespace {

Bytes b(std::string_view hex_text) { return from_hex(hex_text).value(); }

TEST(Der, TakesOnlyMinimalDefiniteLengths) {
  const auto size = [](std::string_view text) -> int {
    const Bytes bytes = b(text);
    const Result<Tlv> t = Der(bytes).next();
    return t ? static_cast<int>(t->value.size()) : -1;
  };
  EXPECT_EQ(size("0400"), 0);
  EXPECT_EQ(size("0402aabb"), 2);
  EXPECT_EQ(size("0402aa"), -1);
  EXPECT_EQ(size("04"), -1);
  EXPECT_EQ(size("048102aabb"), -1);  // long form of a short length
  EXPECT_EQ(size("048180" + std::string(256, '0')), 128);
  EXPECT_EQ(size("04820080" + std::string(256, '0')), -1);
  EXPECT_EQ(size("0480aabb0000"), -1);
  EXPECT_EQ(size("0485ffffffffff"), -1);
  EXPECT_EQ(size("0484ffffffff"), -1);
  EXPECT_EQ(size("1f0100"), -1);
}

TEST(Der, ReadsNumbersStrictly) {
  const auto small = [](std::string_view text, std::uint32_t max) -> std::int64_t {
    const Bytes bytes = b(text);
    const auto n = Der(bytes).small_integer(max);
    return n ? std::int64_t{*n} : -1;
  };
  EXPECT_EQ(small("020100", 255), 0);
  EXPECT_EQ(small("020200ff", 255), 255);
  EXPECT_EQ(small("0201ff", 255), -1);    // negative
  EXPECT_EQ(small("0202007f", 255), -1);  // leading zero
  EXPECT_EQ(small("02020100", 255), -1);
  EXPECT_EQ(small("02020100", 256), 256);
  EXPECT_EQ(small("0200", 255), -1);
  EXPECT_EQ(small("0206000000000001", 255), -1);
  const auto big = [](std::string_view text) -> int {
    const Bytes bytes = b(text);
    const auto n = Der(bytes).big_integer();
    return n ? static_cast<int>(n->size()) : -1;
  };
  EXPECT_EQ(big("0214" + std::string(40, '1')), 20);
  EXPECT_EQ(big("021500" + std::string(40, 'f')), 20);
  EXPECT_EQ(big("0215" + std::string(42, '1')), -1);
  EXPECT_EQ(big("02020011"), -1);
  EXPECT_EQ(big("0201ff"), -1);
}

TEST(Der, ReadsTimesOfRfc5280) {
  const auto time = [](std::uint8_t tag, std::string_view text) -> std::string {
    Bytes bytes = {tag, static_cast<std::uint8_t>(text.size())};
    append(bytes, as_bytes(text));
    const auto t = Der(bytes).time();
    return t ? rfc3339(*t) : "";
  };
  EXPECT_EQ(time(tag::kUtcTime, "260615123456Z"), "2026-06-15T12:34:56Z");
  EXPECT_EQ(time(tag::kUtcTime, "500101000000Z"), "1950-01-01T00:00:00Z");
  EXPECT_EQ(time(tag::kGeneralizedTime, "20491231235959Z"), "2049-12-31T23:59:59Z");
  EXPECT_EQ(time(tag::kUtcTime, "240229000000Z"), "2024-02-29T00:00:00Z");
  for (const char* bad : {"230229000000Z", "2606151234Z", "260615123456+", "26061512345AZ", "261315000000Z",
                          "260632000000Z", "260615246000Z", "260600000000Z", "3=0101000000Z", "=30101000000Z",
                          "26=101000000Z", "2601=1000000Z", "260101=00000Z", "26010100=000Z", "2601010000=0Z"})
    EXPECT_EQ(time(tag::kUtcTime, bad), "") << bad;
  for (const char* bad :
       {"20=91231235959Z", "2=491231235959Z", "=0491231235959Z", "204=1231235959Z", "00000101000000Z"})
    EXPECT_EQ(time(tag::kGeneralizedTime, bad), "") << bad;
}

struct Pki {
  crypto::PrivateKey root = crypto::PrivateKey::generate(crypto::KeyType::ec_p256).value();
  crypto::PrivateKey leaf = crypto::PrivateKey::generate(crypto::KeyType::ec_p256).value();
  crypto::CertificateTemplate t;
  Pki() {
    t.subject = {{"CN", "Leaf"}, {"O", "X"}};
    t.issuer = {{"CN", "Root"}};
    t.serial = {0x80, 1};
    t.not_before = from_civil(2026, 1, 1, 0, 0, 0);
    t.not_after = from_civil(2050, 1, 1, 0, 0, 0);
    t.ca = true;
    t.path_length = 3;
    t.key_usage = crypto::kKeyCertSign | crypto::kCrlSign;
    t.crl_url = "http://x.test/";
  }
  [[nodiscard]] crypto::Certificate issue() const { return crypto::issue(t, leaf.public_key(), root).value(); }
  [[nodiscard]] P256Key key() const {
    const auto p = root.public_key().ec_point().value();
    Bytes xy = p.x;
    append(xy, p.y);
    return P256Key::from_point(xy).value();
  }
};

TEST(Certificate, IsReadAsWritten) {
  const Pki pki;
  const crypto::Certificate made = pki.issue();
  const Result<Certificate> c = parse_certificate(made.der());
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->common_name, "Leaf");
  EXPECT_EQ(hex(c->serial), "8001");
  EXPECT_EQ(c->not_before, pki.t.not_before);
  EXPECT_EQ(c->not_after, pki.t.not_after);
  EXPECT_TRUE(c->ca && c->has_basic_constraints && c->has_authority_key_id && c->has_subject_key_id &&
              c->has_crl_distribution_points);
  EXPECT_EQ(c->path_length, 3U);
  EXPECT_EQ(*c->key_usage, kKeyCertSign | kCrlSign);
  EXPECT_FALSE(c->unknown_critical);
  EXPECT_EQ(Bytes(c->issuer.begin(), c->issuer.end()), made.issuer_der());
  EXPECT_TRUE(c->signed_by(pki.key()));
}

// Whatever single bit is flipped: refused, or no longer signed.
TEST(Certificate, EveryFlippedBitIsNoticed) {
  const Pki pki;
  const crypto::Certificate made = pki.issue();
  const P256Key key = pki.key();
  for (std::size_t i = 0; i < made.der().size() * 8; i += 3) {
    Bytes der = to_bytes(made.der());
    der[i / 8] ^= static_cast<std::uint8_t>(1U << (i % 8));
    const Result<Certificate> c = parse_certificate(der);
    EXPECT_FALSE(c && c->signed_by(key)) << i;
  }
}

TEST(Certificate, OtherKindsAreRefused) {
  Pki pki;
  const crypto::Certificate good = pki.issue();
  Bytes longer = to_bytes(good.der());
  longer.push_back(0);
  EXPECT_FALSE(parse_certificate(longer));
  const auto p384 = crypto::PrivateKey::generate(crypto::KeyType::ec_p384).value();
  EXPECT_FALSE(parse_certificate(crypto::issue(pki.t, p384.public_key(), pki.root)->der()));
  EXPECT_FALSE(parse_certificate(crypto::issue(pki.t, pki.leaf.public_key(), p384)->der()));
  pki.t.extra.push_back({.oid = "1.2.3", .critical = true, .value = {5, 0}});
  EXPECT_TRUE(parse_certificate(pki.issue().der())->unknown_critical);
  pki.t.extra.push_back(pki.t.extra.back());
  EXPECT_FALSE(parse_certificate(pki.issue().der()));
  pki.t.extra = {{.oid = "1.2.3", .critical = false, .value = Bytes(kMaxCertificate)}};
  EXPECT_FALSE(parse_certificate(pki.issue().der()));
}

TEST(Crl, ListsSerials) {
  const Pki pki;
  crypto::CrlTemplate t{.issuer = {{"CN", "Root"}},
                        .this_update = {1781481600},
                        .next_update = {1781481700},
                        .number = 300,
                        .revoked = {}};
  for (std::uint8_t i = 1; i < 60; ++i)
    t.revoked.push_back({{static_cast<std::uint8_t>(200 - i), i}, {1781481600}, i % 3 - 1});
  const Bytes der = crypto::issue_crl(t, pki.root)->der();
  const Result<Crl> crl = parse_crl(der);
  ASSERT_TRUE(crl) << crl.error().text();
  EXPECT_EQ(hex(crl->number), "012c");
  EXPECT_EQ(crl->revoked.size(), 59U);
  EXPECT_TRUE(crl->has_authority_key_id);
  EXPECT_FALSE(crl->unexpected_extension);
  EXPECT_TRUE(crl->signed_by(pki.key()));
  for (const auto& r : t.revoked) EXPECT_TRUE(crl->lists(r.serial));
  EXPECT_FALSE(crl->lists(Bytes{200, 1}));
  EXPECT_FALSE(crl->lists(Bytes{}));
  EXPECT_FALSE(parse_crl(ByteView(der).first(der.size() - 1)));
}

TEST(Pem, IsStrict) {
  const Pki pki;
  const std::string pem = pki.issue().pem();
  EXPECT_EQ(parse_pem_chain(pem + pem)->size(), 2U);
  EXPECT_EQ(parse_pem_chain("")->size(), 0U);
  EXPECT_EQ(parse_pem_chain(pem + std::string(3, '\0'))->size(), 1U);
  std::string many;
  for (std::size_t i = 0; i < kMaxPemBlocks; ++i) many += pem;
  EXPECT_EQ(parse_pem_chain(many)->size(), kMaxPemBlocks);
  EXPECT_FALSE(parse_pem_chain(many + pem));
  EXPECT_FALSE(parse_pem_chain("x" + pem));
  EXPECT_FALSE(parse_pem_chain(pem + "x"));
  EXPECT_FALSE(parse_pem_chain(std::string(1, '\0') + pem));
  EXPECT_FALSE(parse_pem_chain(pem.substr(0, pem.size() - 10)));
  std::string broken = pem;
  broken[100] = '!';
  EXPECT_FALSE(parse_pem_chain(broken));
  EXPECT_TRUE(parse_pem_chain(pem + std::string(kMaxPem - pem.size(), '\n')));
  EXPECT_FALSE(parse_pem_chain(pem + std::string(kMaxPem - pem.size() + 1, '\n')));
}

TEST(P256, VerifiesAsOpenSslSigns) {
  const Pki pki;
  const P256Key key = pki.key();
  const Bytes message = to_bytes(std::string_view("message"));
  for (int i = 0; i < 20; ++i) {
    Bytes signature = pki.root.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha256, message).value();
    EXPECT_TRUE(key.verify_message(message, signature));
    EXPECT_EQ(
        raw_signature(pki.root.sign(crypto::Signature::ecdsa_der, crypto::Hash::sha256, message).value()).has_value(),
        true);
    signature[static_cast<std::size_t>(i) * 3] ^= 1;
    EXPECT_FALSE(key.verify_message(message, signature));
  }
  EXPECT_FALSE(key.verify_message(message, Bytes(64)));
  EXPECT_FALSE(key.verify_message(message, Bytes(64, 0xff)));
  EXPECT_FALSE(key.verify_message(message, Bytes(63)));
  EXPECT_FALSE(P256Key::from_point(Bytes(64)));
  EXPECT_FALSE(P256Key::from_point(Bytes(64, 0xff)));
  EXPECT_FALSE(P256Key::from_point(Bytes(63)));
}

// The table changes the time, never the answer: genuine, altered and degenerate signatures under both.
TEST(P256, APreparedKeyGivesTheSameAnswers) {
  const Pki pki;
  const P256Key plain = pki.key();
  P256Key prepared = pki.key();
  prepared.prepare();
  ASSERT_TRUE(prepared.prepared());
  ASSERT_FALSE(plain.prepared());
  std::size_t good = 0;
  const auto agree = [&](const Digest<32>& digest, ByteView signature) {
    const bool ok = plain.verify(digest, signature);
    EXPECT_EQ(prepared.verify(digest, signature), ok) << hex(digest) << " " << hex(signature);
    good += ok ? 1 : 0;
  };
  for (std::uint8_t i = 0; i < 200; ++i) {
    const Bytes message(i, i);
    Bytes signature = pki.root.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha256, message).value();
    const Digest<32> digest = crypto::sha256(message);
    agree(digest, signature);
    signature[i % 64] ^= static_cast<std::uint8_t>(1U << (i % 8));
    agree(digest, signature);
  }
  EXPECT_EQ(good, 200U);
  // The order of the group, one less and one more, as r and as s; digests zero and all ones.
  const Bytes n = b("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  Bytes less = n, more = n, one(32);
  less.back() -= 1, more.back() += 1, one.back() = 1;
  Digest<32> ones{};
  ones.fill(0xff);
  for (const Bytes& r : {Bytes(32), one, less, n, more, Bytes(32, 0xff)})
    for (const Bytes& s : {Bytes(32), one, less, n, more, Bytes(32, 0xff)}) {
      Bytes signature = r;
      append(signature, s);
      agree(Digest<32>{}, signature);
      agree(ones, signature);
    }
  EXPECT_FALSE(prepared.verify(Digest<32>{}, Bytes(63)));
}

TEST(P256, SignaturesInDerAreStrict) {
  EXPECT_TRUE(raw_signature(b("3006020101020102")));
  EXPECT_FALSE(raw_signature(b("300602010102010200")));
  EXPECT_FALSE(raw_signature(b("3003020101")));
  EXPECT_FALSE(raw_signature(b("30060201ff020102")));
  EXPECT_FALSE(raw_signature(b("300702020001020102")));
  EXPECT_FALSE(raw_signature(b("3026022101" + std::string(64, '0') + "020102")));
  EXPECT_FALSE(raw_signature({}));
}

}  // namespace
}  // namespace cairn::pki
