// The certificate paths of Intel's attestation: fixed length, fixed names, one root key. tdx-dcap §2.2, §2.3.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "evidence/pki/certificate.h"
#include "evidence/tdx/fault.h"
#include "evidence/tdx/trust_root.h"

namespace cairn::tdx {

// A trust root ready for use.
struct RootKey {
  TrustRoot root;
  pki::P256Key key;
  pki::Certificate certificate;  // views into root.certificate
};

// Keys of the few authorities that sign collateral and PCK certificates, prepared once they have been used often.
// Remembers arithmetic, not answers: every signature is verified every time.
class AuthorityKeys {
 public:
  explicit AuthorityKeys(std::size_t capacity = 0) : capacity_(capacity) {}
  // The keys of trust roots are known from the start and stay, beside `capacity` others.
  AuthorityKeys(std::size_t capacity, const std::vector<RootKey>& roots);
  // A key that is a trust root's or was certified under one; none if it is not on the curve.
  [[nodiscard]] std::optional<pki::P256Key> find(const pki::Point& point);

 private:
  struct Entry {
    pki::P256Key key;
    std::uint32_t uses = 0;
  };
  static const pki::P256Key& used(Entry& entry);
  std::vector<Entry> roots_;
  std::size_t capacity_;        // 0: every other key is made anew
  std::vector<Entry> entries_;  // most recently used first
};

// A parsed chain that owns its bytes; leaf first. Not copied: the certificates point into `der`.
struct Chain {
  std::vector<Bytes> der;
  std::vector<pki::Certificate> certs;

  Chain() = default;
  Chain(Chain&&) = default;
  Chain& operator=(Chain&&) = default;

  [[nodiscard]] const pki::Certificate& leaf() const { return certs.front(); }
  [[nodiscard]] const pki::Certificate& root() const { return certs.back(); }
};

enum class ChainKind {
  tcb_signing,     // TCB signing certificate, root
  pck_crl_issuer,  // PCK CA, root
  pck,             // PCK certificate, PCK CA, root
};

// PEM text to a chain of the kind's length. ChainFormat.
[[nodiscard]] Checked<Chain> parse_chain(std::string_view pem, ChainKind kind);
// Names, extensions, constraints: CertName, CertExtensions, CertConstraint, and ChainFormat for a wrong order.
[[nodiscard]] Checked<> check_shape(const Chain& chain, ChainKind kind);
// Ends in this root: Untrusted.
[[nodiscard]] Checked<> check_root(const Chain& chain, const RootKey& root);
// Every signature up to the root. `known_ca`, if given, is the DER of a CA certificate already known to be signed by
// the root. CertSignature.
[[nodiscard]] Checked<> check_signatures(const Chain& chain, const RootKey& root, ByteView known_ca,
                                         AuthorityKeys& keys);
// Every certificate valid: `expired` or CertNotYetValid.
[[nodiscard]] Checked<> check_validity(const Chain& chain, Failure expired, std::string_view what, TimeJudge& time);

// The kind of CA a PCK CA certificate's name says.
[[nodiscard]] std::optional<PckCa> pck_ca(std::string_view common_name);

}  // namespace cairn::tdx
