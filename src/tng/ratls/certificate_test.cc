#include "tng/ratls/certificate.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"

namespace cairn::tng {
namespace {

constexpr Time noon{1'780'000'000};

struct Made {
  crypto::PrivateKey key = *crypto::PrivateKey::generate(crypto::KeyType::ec_p256);
  Bytes spki = key.public_key().spki_der();
  Bytes evidence(BindingForm form) const {
    const Binding binding = Binding::of(form, spki);
    const CocoEvidence coco{"sample", to_bytes("{\"svn\":\"1\"}"), std::nullopt, false, binding.runtime_data};
    return TaggedEvidence{tag_coco_evidence, coco.encode(), binding.claims_buffer}.encode();
  }
};

TEST(RatlsCertificate, CarriesEvidenceAndReadsBack) {
  const Made made;
  for (const BindingForm form : {BindingForm::a, BindingForm::b}) {
    const auto certificate = ratls_certificate(made.key, made.evidence(form), noon);
    ASSERT_TRUE(certificate) << certificate.error().text();
    EXPECT_EQ(certificate->serial(), Bytes{42});
    EXPECT_EQ(certificate->not_after().seconds - noon.seconds, 6 * 3600);
    ASSERT_NE(certificate->extension(endorsement_oid), nullptr);
    EXPECT_TRUE(certificate->extension(endorsement_oid)->value.empty());
    EXPECT_FALSE(certificate->extension(evidence_oid)->critical);
    const auto peer = read_peer_certificate(certificate->der(), noon);
    ASSERT_TRUE(peer) << peer.error().text();
    EXPECT_EQ(peer->form, form);
    EXPECT_EQ(peer->coco.tee, "sample");
    EXPECT_EQ(peer->spki, made.spki);
  }
}

TEST(RatlsCertificate, RefusesSomebodyElsesEvidence) {
  const Made honest, thief;
  const auto certificate = ratls_certificate(thief.key, honest.evidence(BindingForm::a), noon);
  EXPECT_EQ(read_peer_certificate(certificate->der(), noon).error().where, "ratls.pubkey_hash");
}

TEST(RatlsCertificate, RefusesNoEvidenceAndTwoEvidences) {
  const auto plain = plain_identity(noon);
  ASSERT_TRUE(plain);
  EXPECT_EQ(read_peer_certificate(plain->certificate.der(), noon).error().where, "ratls.no_evidence");
  const Made made;
  crypto::CertificateTemplate what;
  what.subject = {{"CN", "twice"}};
  what.not_before = noon;
  what.not_after = noon.plus(60);
  const crypto::Extension evidence{std::string(evidence_oid), false, made.evidence(BindingForm::a)};
  what.extra = {evidence, evidence};
  const auto twice = crypto::issue(what, made.key.public_key(), made.key);
  if (twice) {  // OpenSSL may refuse to make it
    EXPECT_FALSE(read_peer_certificate(twice->der(), noon));
  }
}

TEST(RatlsCertificate, RefusesWrongSignatureAndEveryFlippedBitOfTheEvidence) {
  const Made made, other;
  crypto::CertificateTemplate what;
  what.subject = what.issuer = {{"CN", "signed by another key"}};
  what.not_before = noon;
  what.not_after = noon.plus(60);
  what.extra = {{std::string(evidence_oid), false, made.evidence(BindingForm::a)}};
  const auto foreign = crypto::issue(what, made.key.public_key(), other.key);
  ASSERT_TRUE(foreign);
  EXPECT_EQ(read_peer_certificate(foreign->der(), noon).error().where, "ratls.self_signature");
  const Bytes whole = to_bytes(ratls_certificate(made.key, made.evidence(BindingForm::a), noon)->der());
  for (std::size_t i = 0; i < whole.size(); i += 7) {
    Bytes flipped = whole;
    flipped[i] ^= 1;
    EXPECT_FALSE(read_peer_certificate(flipped, noon)) << i;
  }
}

TEST(RatlsCertificate, RefusesTrailingBytesInTheExtension) {
  const Made made;
  Bytes evidence = made.evidence(BindingForm::b);
  evidence.push_back(0);
  const auto certificate = ratls_certificate(made.key, evidence, noon);
  EXPECT_FALSE(read_peer_certificate(certificate->der(), noon));
}

TEST(RatlsCertificate, AgeIsBounded) {
  const Made made;
  const auto certificate = ratls_certificate(made.key, made.evidence(BindingForm::a), noon);
  EXPECT_TRUE(read_peer_certificate(certificate->der(), noon.plus(24 * 3600)));
  EXPECT_EQ(read_peer_certificate(certificate->der(), noon.plus(24 * 3600 + 1)).error().where, "ratls.stale");
  EXPECT_TRUE(read_peer_certificate(certificate->der(), noon.plus(-300)));
  EXPECT_FALSE(read_peer_certificate(certificate->der(), noon.plus(-301)));
  EXPECT_TRUE(read_peer_certificate(certificate->der(), noon.plus(1'000'000), {.max_age_seconds = 0}));
}

TEST(RatlsCertificate, CertificatesOfOtherImplementations) {
  const std::filesystem::path folder = CAIRN_SHARED_DATA "/tng/ratls-certs";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  const Json expected = *parse_json(*read_text(folder / "expected.json"));
  for (const auto& [name, facts] : expected.items()) {
    const auto certificates = crypto::Certificate::from_pem(*read_text(folder / name));
    ASSERT_TRUE(certificates) << name << ": " << certificates.error().text();
    const auto got = read_quote_certificate(certificates->front().der());
    if (!facts.contains("evidence_ext")) {
      ASSERT_FALSE(got) << name;
      EXPECT_EQ(got.error().where, "ratls.no_evidence") << name;
      continue;
    }
    ASSERT_TRUE(got) << name << ": " << got.error().text();
    EXPECT_EQ(got->quote.size(), facts["evidence_ext"]["quote_len"].get<std::size_t>()) << name;
    EXPECT_EQ(hex(got->report_data.view()), facts["evidence_ext"]["claims_sha256"].get<std::string>()) << name;
    // SGX quote v3: REPORTDATA is the last 64 bytes of the 384-byte report body after the 48-byte header.
    EXPECT_EQ(hex(ByteView(got->quote).subspan(48 + 320, 64)), facts["evidence_ext"]["report_data"].get<std::string>())
        << name;
    EXPECT_EQ(read_peer_certificate(certificates->front().der(), noon).error().where, "ratls.tag") << name;
  }
}

}  // namespace
}  // namespace cairn::tng
