// Revocation status of one certificate, asked of and answered by its issuer's responder. RFC 6960, nvidia-gpu §5.5.
#pragma once

#include <optional>
#include <string>

#include "crypto/x509.h"
#include "evidence/nvidia/failure.h"

namespace cairn::nvidia {

// DER of the CertID (SHA-384) under which `certificate` is asked for; its lower-case hex names answers in bundles.
[[nodiscard]] Result<Bytes> ocsp_certificate_id(const crypto::Certificate& certificate,
                                                const crypto::Certificate& issuer);
// An OCSPRequest for one certificate with a nonce of 1 to 32 bytes (RFC 8954).
[[nodiscard]] Result<Bytes> ocsp_request(const crypto::Certificate& certificate, const crypto::Certificate& issuer,
                                         ByteView nonce);

// Whether the responder says that asking again later may help (tryLater, internalError). malformed unless `response`
// is an OCSPResponse.
[[nodiscard]] Result<bool> ocsp_may_retry(ByteView response);

enum class CertificateStatus : std::uint8_t { good, unknown, revoked };  // the later dominates
[[nodiscard]] std::string_view name(CertificateStatus status);

// An answer whose signature and responder hold for all time; when it may be used is for check_fresh.
struct OcspAnswer {
  CertificateStatus status = CertificateStatus::unknown;
  std::optional<int> reason;  // CRLReason of a revoked certificate
  Time this_update{};
  std::optional<Time> next_update;
  Bytes nonce;  // "" where the answer has none
  Time responder_not_before{}, responder_not_after{};

  // CRLReason certificateHold.
  [[nodiscard]] bool held() const { return status == CertificateStatus::revoked && reason == 6; }
  // When it must no longer be used.
  [[nodiscard]] Time expires() const;
};
// ocsp_format, ocsp_responder or ocsp_signature. The responder is the issuer itself or one that the issuer certified
// directly for signing such answers.
[[nodiscard]] Checked<OcspAnswer> read_ocsp(ByteView response, const crypto::Certificate& certificate,
                                            const crypto::Certificate& issuer);
// ocsp_stale. `grace`: seconds past its end that an answer is still taken.
[[nodiscard]] Checked<> check_fresh(const OcspAnswer& answer, Time at, std::int64_t grace = 0);

// "KEY_COMPROMISE" and so on, as claims say it.
[[nodiscard]] std::string revocation_reason(int reason);

}  // namespace cairn::nvidia
