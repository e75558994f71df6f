// X.509 certificates and CRLs of attestation hierarchies: P-256 keys, ecdsa-with-SHA256, nothing else. Parsed strictly
// and quickly; crypto/x509.h is for the certificates of TLS. tdx-dcap §2.3.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "evidence/pki/p256.h"

namespace cairn::pki {

// Key usage bits.
inline constexpr std::uint16_t kDigitalSignature = 1U << 0, kNonRepudiation = 1U << 1, kKeyCertSign = 1U << 5,
                               kCrlSign = 1U << 6;

// All views point into the bytes parsed, which must outlive the structure.
struct Certificate {
  ByteView der;
  ByteView tbs;  // what the signature covers
  std::array<std::uint8_t, 64> signature{};
  ByteView serial;
  ByteView issuer, subject;      // whole encoded names
  std::string_view common_name;  // of the subject; empty if absent
  Time not_before{}, not_after{};
  Point public_key{};  // not yet known to be on the curve

  // Extensions
  bool has_authority_key_id = false, has_subject_key_id = false, has_crl_distribution_points = false;
  bool unknown_critical = false;
  std::optional<std::uint16_t> key_usage;
  bool has_basic_constraints = false;
  bool ca = false;
  std::optional<std::uint32_t> path_length;
  ByteView sgx_extension;  // value of Intel's PCK extension; empty if absent

  [[nodiscard]] bool signed_by(const P256Key& key) const { return key.verify_message(tbs, signature); }
};
// Version 3 certificates with a P-256 key and ecdsa-with-SHA256; anything else is malformed.
[[nodiscard]] Result<Certificate> parse_certificate(ByteView der);

struct Crl {
  ByteView tbs;
  std::array<std::uint8_t, 64> signature{};
  ByteView issuer;  // whole encoded name
  Time this_update{}, next_update{};
  ByteView number;  // empty if absent
  bool has_authority_key_id = false;
  bool unexpected_extension = false;  // anything but AKI and crlNumber; or an entry's besides reason and date
  std::vector<ByteView> revoked;      // serials, sorted

  [[nodiscard]] bool lists(ByteView serial) const;
  [[nodiscard]] bool signed_by(const P256Key& key) const { return key.verify_message(tbs, signature); }
};
// Version 2 CRLs with nextUpdate. Any entry counts as revoked, whatever its reason.
[[nodiscard]] Result<Crl> parse_crl(ByteView der);

// The certificates of a PEM text, DER each: nothing but CERTIFICATE blocks and white space, and NULs at the end.
[[nodiscard]] Result<std::vector<Bytes>> parse_pem_chain(std::string_view text);

}  // namespace cairn::pki
