// The certificates of RA-TLS (spec/tng.md §3.1): made around evidence, and read back from a peer.
#pragma once

#include "base/clock.h"
#include "crypto/x509.h"
#include "tng/ratls/evidence.h"

namespace cairn::tng {

struct Identity {
  crypto::Certificate certificate;
  crypto::PrivateKey key;
};

// Self-signed around `evidence`, valid from `at` for limits::certificate_life.
[[nodiscard]] Result<crypto::Certificate> ratls_certificate(const crypto::PrivateKey& key, ByteView tagged_evidence,
                                                            Time at);
// For positions that prove nothing: a fresh key, no evidence.
[[nodiscard]] Result<Identity> plain_identity(Time at);

// A peer's certificate whose own claims hold together. Nothing is known yet about the TEE behind it.
struct PeerEvidence {
  BindingForm form;
  CocoEvidence coco;
  Bytes spki;
  Time not_before;
};

struct EvidencePolicy {
  std::int64_t max_age_seconds = 24 * 3600;  // of the certificate by notBefore; 0: not looked at
};

// v3, self-signature, exactly one evidence extension, strict decoding, form A or B, key bound, young enough.
// evidence_rejected names what is missing; a certificate without the extension is "ratls.no_evidence".
[[nodiscard]] Result<PeerEvidence> read_peer_certificate(ByteView der, Time at, const EvidencePolicy& policy = {});

// Form C (a bare quote, tag 60000): quote bytes and the report data its TEE must have signed. Its quote has to be
// verified locally; the gateway itself accepts forms A and B only.
struct QuoteEvidence {
  Bytes quote;
  Digest<32> report_data;
};
[[nodiscard]] Result<QuoteEvidence> read_quote_certificate(ByteView der);

}  // namespace cairn::tng
