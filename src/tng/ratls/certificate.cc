#include "tng/ratls/certificate.h"

#include <algorithm>

#include "crypto/hash.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

const crypto::Name tng_name{{"O", "Inclavare Containers"}, {"CN", "TNG"}};

crypto::CertificateTemplate base_template(Time at) {
  crypto::CertificateTemplate what;
  what.subject = what.issuer = tng_name;
  what.serial = {42};
  what.not_before = at;
  what.not_after = at.plus(std::chrono::seconds(limits::certificate_life).count());
  what.ca = false;
  what.key_usage =
      crypto::kDigitalSignature | crypto::kNonRepudiation | crypto::kKeyEncipherment | crypto::kKeyAgreement;
  return what;
}

struct Opened {
  crypto::Certificate certificate;
  TaggedEvidence tagged;
  Bytes spki;
};

// The checks that all forms share.
Result<Opened> open(ByteView der) {
  if (der.size() > limits::certificate)
    return fail(ErrorCode::too_large, "ratls.certificate", "the peer's certificate is larger than 4 MiB");
  CAIRN_TRY(auto certificate, crypto::Certificate::from_der(der));
  if (certificate.version() != 3)
    return fail(ErrorCode::malformed, "ratls.certificate", "the peer's certificate is not X.509 v3");
  const auto count = std::ranges::count(certificate.extensions(), evidence_oid, &crypto::Extension::oid);
  if (count == 0)
    return fail(ErrorCode::evidence_rejected, "ratls.no_evidence", "the peer presented no attestation evidence");
  if (count > 1)
    return fail(ErrorCode::evidence_rejected, "ratls.evidence",
                "the peer's certificate carries evidence more than once");
  CAIRN_TRY(const auto key, certificate.public_key());
  if (auto ok = certificate.signed_by(key); !ok)
    return fail(ErrorCode::evidence_rejected, "ratls.self_signature",
                "the peer's certificate is not signed with its own key");
  auto tagged = TaggedEvidence::decode(certificate.extension(evidence_oid)->value);
  if (!tagged) return fail(std::move(tagged).error().in("the peer's evidence does not decode"));
  Bytes spki = certificate.spki_der();
  return Opened{std::move(certificate), *std::move(tagged), std::move(spki)};
}

Result<void> check_age(Time not_before, Time at, const EvidencePolicy& policy) {
  if (policy.max_age_seconds == 0) return {};
  if (at.seconds - not_before.seconds > policy.max_age_seconds)
    return fail(ErrorCode::evidence_rejected, "ratls.stale",
                "the peer's evidence dates from " + rfc3339(not_before) + ", older than " +
                    std::to_string(policy.max_age_seconds) + " s");
  if (not_before.seconds - at.seconds > limits::clock_skew.count())
    return fail(ErrorCode::evidence_rejected, "ratls.stale",
                "the peer's evidence is dated in the future (" + rfc3339(not_before) + "); check the clocks");
  return {};
}

}  // namespace

Result<crypto::Certificate> ratls_certificate(const crypto::PrivateKey& key, ByteView tagged_evidence, Time at) {
  auto what = base_template(at);
  what.extra.push_back({std::string(evidence_oid), false, to_bytes(tagged_evidence)});
  what.extra.push_back({std::string(endorsement_oid), false, {}});
  return crypto::issue(what, key.public_key(), key);
}

Result<Identity> plain_identity(Time at) {
  CAIRN_TRY(auto key, crypto::PrivateKey::generate(crypto::KeyType::ec_p256));
  auto what = base_template(at);
  what.subject = what.issuer = {{"CN", "Cairn gateway without evidence"}};
  what.not_after = at.plus(std::int64_t{10} * 365 * 24 * 3600);  // lives as long as the process
  CAIRN_TRY(auto certificate, crypto::issue(what, key.public_key(), key));
  return Identity{std::move(certificate), std::move(key)};
}

Result<PeerEvidence> read_peer_certificate(ByteView der, Time at, const EvidencePolicy& policy) {
  CAIRN_TRY(const Opened opened, open(der));
  if (opened.tagged.tag != tag_coco_evidence)
    return fail(ErrorCode::unsupported, "ratls.tag",
                "the peer's evidence has tag " + std::to_string(opened.tagged.tag) +
                    "; an attestation agent's (0xC0C000) is expected");
  CAIRN_CHECK(check_age(opened.certificate.not_before(), at, policy));
  auto coco = CocoEvidence::decode(opened.tagged.evidence);
  if (!coco) return fail(std::move(coco).error().in("the peer's evidence does not decode"));
  CAIRN_TRY(const BindingForm form, check_binding(opened.tagged, *coco, opened.spki));
  return PeerEvidence{form, *std::move(coco), opened.spki, opened.certificate.not_before()};
}

Result<QuoteEvidence> read_quote_certificate(ByteView der) {
  CAIRN_TRY(const Opened opened, open(der));
  if (opened.tagged.tag != tag_tee_evidence)
    return fail(ErrorCode::unsupported, "ratls.tag", "the certificate carries no bare quote");
  CAIRN_TRY(const PubkeyHash hash, claimed_pubkey_hash(opened.tagged.claims_buffer));
  CAIRN_CHECK(hash.check(opened.spki));
  return QuoteEvidence{opened.tagged.evidence, crypto::sha256(opened.tagged.claims_buffer)};
}

}  // namespace cairn::tng
