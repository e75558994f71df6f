// X.509 certificates and CRLs: read, checked one signature at a time, and built. Path rules belong to the users
// (evidence/pki for Intel's, the token verifier for x5c chains): each has its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "crypto/keys.h"

struct x509_st;
struct X509_crl_st;

namespace cairn::crypto {

struct Extension {
  std::string oid;  // dotted
  bool critical = false;
  Bytes value;  // contents of the extnValue OCTET STRING
};

// RFC 5280 KeyUsage bits.
enum KeyUsage : std::uint32_t {
  kDigitalSignature = 1U << 0,
  kNonRepudiation = 1U << 1,
  kKeyEncipherment = 1U << 2,
  kDataEncipherment = 1U << 3,
  kKeyAgreement = 1U << 4,
  kKeyCertSign = 1U << 5,
  kCrlSign = 1U << 6,
};

// Immutable and cheap to copy.
class Certificate {
 public:
  // Exactly one DER certificate, nothing after it.
  [[nodiscard]] static Result<Certificate> from_der(ByteView der);
  // Every certificate of a PEM text in order; at most `limit`. White space and a final NUL between blocks are accepted,
  // other text is malformed.
  [[nodiscard]] static Result<std::vector<Certificate>> from_pem(std::string_view pem, std::size_t limit = 16);

  [[nodiscard]] ByteView der() const { return der_view_; }
  [[nodiscard]] std::string pem() const;
  [[nodiscard]] int version() const;   // 3 for v3
  [[nodiscard]] Bytes serial() const;  // big-endian magnitude
  [[nodiscard]] bool serial_negative() const;
  [[nodiscard]] std::string subject() const;  // "CN=...,O=..." in RFC 2253 order reversed (as encoded)
  [[nodiscard]] std::string issuer() const;
  [[nodiscard]] Bytes subject_der() const;
  [[nodiscard]] Bytes issuer_der() const;
  [[nodiscard]] std::string common_name() const;  // of the subject; "" when absent
  [[nodiscard]] Time not_before() const;
  [[nodiscard]] Time not_after() const;
  [[nodiscard]] Result<PublicKey> public_key() const;
  [[nodiscard]] Bytes spki_der() const;
  [[nodiscard]] std::string signature_algorithm_oid() const;

  [[nodiscard]] const std::vector<Extension>& extensions() const { return *extensions_; }
  [[nodiscard]] const Extension* extension(std::string_view oid) const;  // the first, or nullptr
  [[nodiscard]] bool is_ca() const;                                      // basicConstraints CA true
  [[nodiscard]] std::optional<long> path_length() const;
  [[nodiscard]] std::optional<std::uint32_t> key_usage() const;       // KeyUsage bits; absent: nullopt
  [[nodiscard]] std::vector<std::string> extended_key_usage() const;  // OIDs

  // This certificate's signature verifies under `issuer_key`. Names, dates and usages are not looked at.
  [[nodiscard]] Result<void> signed_by(const PublicKey& issuer_key) const;

  [[nodiscard]] x509_st* native() const { return cert_.get(); }

 private:
  std::shared_ptr<x509_st> cert_;
  std::shared_ptr<const Bytes> der_;
  std::shared_ptr<const std::vector<Extension>> extensions_;
  ByteView der_view_;
};

class Crl {
 public:
  [[nodiscard]] static Result<Crl> from_der(ByteView der);
  [[nodiscard]] static Result<Crl> from_pem(std::string_view pem);
  [[nodiscard]] Bytes der() const;
  [[nodiscard]] Bytes issuer_der() const;
  [[nodiscard]] std::string issuer() const;
  [[nodiscard]] Time this_update() const;
  [[nodiscard]] std::optional<Time> next_update() const;
  [[nodiscard]] std::optional<Bytes> number() const;
  [[nodiscard]] std::vector<Extension> extensions() const;
  [[nodiscard]] bool revokes(ByteView serial) const;  // big-endian magnitude
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] Result<void> signed_by(const PublicKey& issuer_key) const;

 private:
  std::shared_ptr<X509_crl_st> crl_;
};

// RDNs in the order of encoding: {{"CN","..."},{"O","..."}}. Short names OpenSSL knows.
using Name = std::vector<std::pair<std::string, std::string>>;

// Everything that goes into a certificate. Extensions stand in the order Intel's certificates have: authority key id,
// CRL distribution point, subject key id, key usage, basic constraints; then extended key usage, alternative names,
// extra.
struct CertificateTemplate {
  Name subject;
  Name issuer;   // ignored when self-signed
  Bytes serial;  // big-endian; empty: 20 random bytes, positive
  Time not_before, not_after;
  std::optional<bool> ca;  // basicConstraints (critical) when set
  std::optional<long> path_length;
  std::uint32_t key_usage = 0;  // KeyUsage bits, critical; 0: absent
  bool subject_key_id = true;
  bool authority_key_id = true;
  std::vector<std::string> extended_key_usage;       // OIDs
  std::string crl_url;                               // CRL distribution point; "": absent
  std::vector<std::string> dns_names, ip_addresses;  // subjectAltName
  std::vector<Extension> extra;                      // appended as given
};

// Signed with `issuer_key` (SHA-256; Ed25519 keys without). Subject key id is SHA-1 of the key bits (RFC 5280
// §4.2.1.2).
[[nodiscard]] Result<Certificate> issue(const CertificateTemplate& what, const PublicKey& subject_key,
                                        const PrivateKey& issuer_key);

struct CrlTemplate {
  Name issuer;
  Time this_update, next_update;
  std::uint64_t number = 1;
  struct Revoked {
    Bytes serial;
    Time at;
    int reason = -1;  // CRLReason, negative: none
  };
  std::vector<Revoked> revoked;
};
[[nodiscard]] Result<Crl> issue_crl(const CrlTemplate& what, const PrivateKey& issuer_key);

// Chain leaf first, each signed by the next, the last signed by (or equal to) one of `anchors`; every issuer is a CA
// with keyCertSign where key usage is present; every certificate (anchors included) valid at `at`; names match; unknown
// critical extensions refused; at most 8 certificates. Returns the anchor's index.
[[nodiscard]] Result<std::size_t> verify_chain(const std::vector<Certificate>& chain,
                                               const std::vector<Certificate>& anchors, Time at);

}  // namespace cairn::crypto
