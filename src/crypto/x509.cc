#include "crypto/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/encoding.h"
#include "crypto/openssl.h"
#include "crypto/random.h"

namespace cairn::crypto {
namespace {

using ExtensionPtr = Owned<X509_EXTENSION, X509_EXTENSION_free>;
using NamePtr = Owned<X509_NAME, X509_NAME_free>;
using AsnTime = Owned<ASN1_TIME, ASN1_TIME_free>;
using AsnInteger = Owned<ASN1_INTEGER, ASN1_INTEGER_free>;

constexpr std::size_t kMaxChain = 8;

Time time_of(const ASN1_TIME* value) {
  std::tm t{};
  if (value == nullptr || ASN1_TIME_to_tm(value, &t) != 1) return {};
  return from_civil(t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

AsnTime asn_time(Time t) { return AsnTime(ASN1_TIME_set(nullptr, static_cast<time_t>(t.seconds))); }

template <class T, class Encode>
Bytes encoded(const T* value, Encode encode) {
  std::uint8_t* der = nullptr;
  const int size = encode(value, &der);
  Bytes out;
  if (size > 0) out.assign(der, der + size);
  OPENSSL_free(der);
  return out;
}

std::string name_text(const X509_NAME* name) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~XN_FLAG_DN_REV & ~ASN1_STRFLGS_ESC_MSB);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(std::max(size, 0L))};
}

std::string oid_text(const ASN1_OBJECT* object) {
  char text[128] = {};
  OBJ_obj2txt(text, sizeof text, object, 1);
  return text;
}

Bytes magnitude(const ASN1_INTEGER* value) {
  const BnPtr number(ASN1_INTEGER_to_BN(value, nullptr));
  Bytes out(static_cast<std::size_t>(number ? BN_num_bytes(number.get()) : 0));
  if (number) BN_bn2bin(number.get(), out.data());
  return out;
}

Extension extension_of(X509_EXTENSION* raw) {
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(raw);
  const auto* data = ASN1_STRING_get0_data(value);
  return {oid_text(X509_EXTENSION_get_object(raw)), X509_EXTENSION_get_critical(raw) == 1,
          Bytes(data, data + ASN1_STRING_length(value))};
}

Result<NamePtr> make_name(const Name& name) {
  NamePtr out(X509_NAME_new());
  for (const auto& [key, value] : name) {
    if (X509_NAME_add_entry_by_txt(out.get(), key.c_str(), MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(value.data()), static_cast<int>(value.size()),
                                   -1, 0) != 1)
      return openssl_error("name attribute " + key);
  }
  return out;
}

Result<AsnInteger> make_serial(Bytes serial) {
  if (serial.empty()) {
    serial = random_bytes(20);
    serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7F) | 0x40);
  }
  const BnPtr number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  AsnInteger out(BN_to_ASN1_INTEGER(number.get(), nullptr));
  if (!out) return openssl_error("serial number");
  return out;
}

// SHA-1 of the subjectPublicKey bits (RFC 5280 §4.2.1.2, method 1).
Bytes key_id(const PublicKey& key) {
  Bytes der = key.spki_der();
  const auto* at = der.data();
  const Owned<X509_PUBKEY, X509_PUBKEY_free> spki(d2i_X509_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  const unsigned char* bits = nullptr;
  int size = 0;
  X509_PUBKEY_get0_param(nullptr, &bits, &size, nullptr, spki.get());
  return digest(Hash::sha1, ByteView(bits, static_cast<std::size_t>(size)));
}

// Adds through OpenSSL's typed encoders.
Result<void> add(X509* cert, int nid, void* value, bool critical) {
  if (X509_add1_ext_i2d(cert, nid, value, critical ? 1 : 0, X509V3_ADD_APPEND) != 1)
    return openssl_error("certificate extension");
  return {};
}
Result<void> add_text(X509* cert, int nid, const std::string& text) {
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, text.c_str()));
  if (!extension || X509_add_ext(cert, extension.get(), -1) != 1) return openssl_error("certificate extension");
  return {};
}

Owned<AUTHORITY_KEYID, AUTHORITY_KEYID_free> authority_id(const Bytes& id) {
  Owned<AUTHORITY_KEYID, AUTHORITY_KEYID_free> out(AUTHORITY_KEYID_new());
  out->keyid = ASN1_OCTET_STRING_new();
  ASN1_OCTET_STRING_set(out->keyid, id.data(), static_cast<int>(id.size()));
  return out;
}

Result<void> add_extensions(X509* cert, const CertificateTemplate& what, const PublicKey& subject_key,
                            const PublicKey& issuer_key) {
  if (what.authority_key_id)
    CAIRN_CHECK(add(cert, NID_authority_key_identifier, authority_id(key_id(issuer_key)).get(), false));
  if (!what.crl_url.empty()) CAIRN_CHECK(add_text(cert, NID_crl_distribution_points, "URI:" + what.crl_url));
  if (what.subject_key_id) {
    const Bytes id = key_id(subject_key);
    const Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> value(ASN1_OCTET_STRING_new());
    ASN1_OCTET_STRING_set(value.get(), id.data(), static_cast<int>(id.size()));
    CAIRN_CHECK(add(cert, NID_subject_key_identifier, value.get(), false));
  }
  if (what.key_usage != 0) {
    const Owned<ASN1_BIT_STRING, ASN1_BIT_STRING_free> bits(ASN1_BIT_STRING_new());
    for (int i = 0; i < 7; ++i)
      if ((what.key_usage >> i & 1U) != 0) ASN1_BIT_STRING_set_bit(bits.get(), i, 1);
    CAIRN_CHECK(add(cert, NID_key_usage, bits.get(), true));
  }
  if (what.ca) {
    const Owned<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> basic(BASIC_CONSTRAINTS_new());
    basic->ca = *what.ca ? 0xFF : 0;
    if (what.path_length) {
      basic->pathlen = ASN1_INTEGER_new();
      ASN1_INTEGER_set(basic->pathlen, *what.path_length);
    }
    CAIRN_CHECK(add(cert, NID_basic_constraints, basic.get(), true));
  }
  std::string list;
  for (const auto& oid : what.extended_key_usage) list += (list.empty() ? "" : ",") + oid;
  if (!list.empty()) CAIRN_CHECK(add_text(cert, NID_ext_key_usage, list));
  list.clear();
  for (const auto& dns : what.dns_names) list += (list.empty() ? "DNS:" : ",DNS:") + dns;
  for (const auto& ip : what.ip_addresses) list += (list.empty() ? "IP:" : ",IP:") + ip;
  if (!list.empty()) CAIRN_CHECK(add_text(cert, NID_subject_alt_name, list));
  for (const auto& extra : what.extra) {
    const Owned<ASN1_OBJECT, ASN1_OBJECT_free> object(OBJ_txt2obj(extra.oid.c_str(), 1));
    const Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> value(ASN1_OCTET_STRING_new());
    ASN1_OCTET_STRING_set(value.get(), extra.value.data(), static_cast<int>(extra.value.size()));
    const ExtensionPtr extension(
        X509_EXTENSION_create_by_OBJ(nullptr, object.get(), extra.critical ? 1 : 0, value.get()));
    if (!extension || X509_add_ext(cert, extension.get(), -1) != 1)
      return openssl_error("certificate extension " + extra.oid);
  }
  return {};
}

const EVP_MD* signing_digest(const PrivateKey& key) {
  return key.type() == KeyType::ed25519 ? nullptr : key.type() == KeyType::ec_p384 ? EVP_sha384() : EVP_sha256();
}

constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----", kEnd = "-----END CERTIFICATE-----";

bool blank(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t' || c == '\0'; });
}

Result<Bytes> pem_body(std::string_view block) {
  std::string plain;
  for (const char c : block)
    if (!blank({&c, 1})) plain.push_back(c);
  return from_base64(plain);
}

}  // namespace

Result<Certificate> Certificate::from_der(ByteView der) {
  const auto* at = der.data();
  X509Ptr cert(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!cert) {
    ERR_clear_error();
    return fail(ErrorCode::malformed, "not a DER certificate");
  }
  if (at != der.data() + der.size()) return fail(ErrorCode::malformed, "bytes after the certificate");
  std::vector<Extension> extensions;
  for (int i = 0; i < X509_get_ext_count(cert.get()); ++i)
    extensions.push_back(extension_of(X509_get_ext(cert.get(), i)));
  Certificate out;
  out.cert_ = {cert.release(), X509_free};
  out.der_ = std::make_shared<const Bytes>(to_bytes(der));
  out.der_view_ = *out.der_;
  out.extensions_ = std::make_shared<const std::vector<Extension>>(std::move(extensions));
  return out;
}

Result<std::vector<Certificate>> Certificate::from_pem(std::string_view pem, std::size_t limit) {
  std::vector<Certificate> out;
  for (;;) {
    const std::size_t begin = pem.find(kBegin);
    if (!blank(pem.substr(0, begin))) return fail(ErrorCode::malformed, "text outside the PEM blocks");
    if (begin == std::string_view::npos) break;
    const std::size_t end = pem.find(kEnd, begin);
    if (end == std::string_view::npos) return fail(ErrorCode::malformed, "PEM block without its end");
    if (out.size() == limit) return fail(ErrorCode::too_large, "more than " + std::to_string(limit) + " certificates");
    CAIRN_TRY(const Bytes der, pem_body(pem.substr(begin + kBegin.size(), end - begin - kBegin.size())));
    CAIRN_TRY(auto certificate, from_der(der));
    out.push_back(std::move(certificate));
    pem.remove_prefix(end + kEnd.size());
  }
  if (out.empty()) return fail(ErrorCode::malformed, "no PEM certificate");
  return out;
}

std::string Certificate::pem() const {
  std::string out(kBegin), text = base64(der());
  for (std::size_t i = 0; i < text.size(); i += 64) out += "\n" + text.substr(i, 64);
  return out.append("\n").append(kEnd).append("\n");
}
int Certificate::version() const { return static_cast<int>(X509_get_version(cert_.get())) + 1; }
Bytes Certificate::serial() const { return magnitude(X509_get0_serialNumber(cert_.get())); }
bool Certificate::serial_negative() const {
  return (ASN1_STRING_type(X509_get0_serialNumber(cert_.get())) & V_ASN1_NEG) != 0;
}
std::string Certificate::subject() const { return name_text(X509_get_subject_name(cert_.get())); }
std::string Certificate::issuer() const { return name_text(X509_get_issuer_name(cert_.get())); }
Bytes Certificate::subject_der() const { return encoded(X509_get_subject_name(cert_.get()), i2d_X509_NAME); }
Bytes Certificate::issuer_der() const { return encoded(X509_get_issuer_name(cert_.get()), i2d_X509_NAME); }
std::string Certificate::common_name() const {
  const X509_NAME* name = X509_get_subject_name(cert_.get());
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  std::string out;
  if (size > 0) out.assign(reinterpret_cast<char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return out;
}
Time Certificate::not_before() const { return time_of(X509_get0_notBefore(cert_.get())); }
Time Certificate::not_after() const { return time_of(X509_get0_notAfter(cert_.get())); }
Result<PublicKey> Certificate::public_key() const {
  EVP_PKEY* key = X509_get_pubkey(cert_.get());
  if (key == nullptr) return openssl_error("the certificate's key is not readable");
  return PublicKey::adopt(key);
}
Bytes Certificate::spki_der() const { return encoded(X509_get_X509_PUBKEY(cert_.get()), i2d_X509_PUBKEY); }
std::string Certificate::signature_algorithm_oid() const {
  const X509_ALGOR* algorithm = nullptr;
  X509_get0_signature(nullptr, &algorithm, cert_.get());
  const ASN1_OBJECT* object = nullptr;
  X509_ALGOR_get0(&object, nullptr, nullptr, algorithm);
  return oid_text(object);
}
const Extension* Certificate::extension(std::string_view oid) const {
  const auto it = std::ranges::find(*extensions_, oid, &Extension::oid);
  return it == extensions_->end() ? nullptr : &*it;
}
bool Certificate::is_ca() const {
  const Owned<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> basic(
      static_cast<BASIC_CONSTRAINTS*>(X509_get_ext_d2i(cert_.get(), NID_basic_constraints, nullptr, nullptr)));
  return basic && basic->ca != 0;
}
std::optional<long> Certificate::path_length() const {
  const Owned<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> basic(
      static_cast<BASIC_CONSTRAINTS*>(X509_get_ext_d2i(cert_.get(), NID_basic_constraints, nullptr, nullptr)));
  if (!basic || basic->pathlen == nullptr) return std::nullopt;
  return ASN1_INTEGER_get(basic->pathlen);
}
std::optional<std::uint32_t> Certificate::key_usage() const {
  const Owned<ASN1_BIT_STRING, ASN1_BIT_STRING_free> bits(
      static_cast<ASN1_BIT_STRING*>(X509_get_ext_d2i(cert_.get(), NID_key_usage, nullptr, nullptr)));
  if (!bits) return std::nullopt;
  std::uint32_t out = 0;
  for (int i = 0; i < 9; ++i)
    if (ASN1_BIT_STRING_get_bit(bits.get(), i) != 0) out |= 1U << i;
  return out;
}
std::vector<std::string> Certificate::extended_key_usage() const {
  const Owned<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free> list(
      static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(cert_.get(), NID_ext_key_usage, nullptr, nullptr)));
  std::vector<std::string> out;
  for (int i = 0; list && i < sk_ASN1_OBJECT_num(list.get()); ++i)
    out.push_back(oid_text(sk_ASN1_OBJECT_value(list.get(), i)));
  return out;
}
Result<void> Certificate::signed_by(const PublicKey& issuer_key) const {
  if (X509_verify(cert_.get(), issuer_key.native()) != 1)
    return openssl_error("the certificate's signature does not verify");
  return {};
}

Result<Crl> Crl::from_der(ByteView der) {
  const auto* at = der.data();
  X509CrlPtr crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
  if (!crl) {
    ERR_clear_error();
    return fail(ErrorCode::malformed, "not a DER revocation list");
  }
  if (at != der.data() + der.size()) return fail(ErrorCode::malformed, "bytes after the revocation list");
  Crl out;
  out.crl_ = {crl.release(), X509_CRL_free};
  return out;
}
Result<Crl> Crl::from_pem(std::string_view pem) {
  constexpr std::string_view begin = "-----BEGIN X509 CRL-----", end = "-----END X509 CRL-----";
  const std::size_t from = pem.find(begin), to = pem.find(end);
  if (from == std::string_view::npos || to == std::string_view::npos || to < from)
    return fail(ErrorCode::malformed, "no PEM revocation list");
  CAIRN_TRY(const Bytes der, pem_body(pem.substr(from + begin.size(), to - from - begin.size())));
  return from_der(der);
}
Bytes Crl::der() const { return encoded(crl_.get(), i2d_X509_CRL); }
Bytes Crl::issuer_der() const { return encoded(X509_CRL_get_issuer(crl_.get()), i2d_X509_NAME); }
std::string Crl::issuer() const { return name_text(X509_CRL_get_issuer(crl_.get())); }
Time Crl::this_update() const { return time_of(X509_CRL_get0_lastUpdate(crl_.get())); }
std::optional<Time> Crl::next_update() const {
  const ASN1_TIME* t = X509_CRL_get0_nextUpdate(crl_.get());
  if (t == nullptr) return std::nullopt;
  return time_of(t);
}
std::optional<Bytes> Crl::number() const {
  const AsnInteger value(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl_.get(), NID_crl_number, nullptr, nullptr)));
  if (!value) return std::nullopt;
  return magnitude(value.get());
}
std::vector<Extension> Crl::extensions() const {
  std::vector<Extension> out;
  for (int i = 0; i < X509_CRL_get_ext_count(crl_.get()); ++i)
    out.push_back(extension_of(X509_CRL_get_ext(crl_.get(), i)));
  return out;
}
bool Crl::revokes(ByteView serial) const {
  const BnPtr number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  const AsnInteger wanted(BN_to_ASN1_INTEGER(number.get(), nullptr));
  X509_REVOKED* entry = nullptr;
  // 1: revoked, 2: removeFromCRL. Either is taken as revoked here: only delta CRLs may carry the latter.
  return wanted && X509_CRL_get0_by_serial(crl_.get(), &entry, wanted.get()) != 0;
}
std::size_t Crl::size() const {
  const STACK_OF(X509_REVOKED)* list = X509_CRL_get_REVOKED(crl_.get());
  return list == nullptr ? 0 : static_cast<std::size_t>(sk_X509_REVOKED_num(list));
}
Result<void> Crl::signed_by(const PublicKey& issuer_key) const {
  if (X509_CRL_verify(crl_.get(), issuer_key.native()) != 1)
    return openssl_error("the revocation list's signature does not verify");
  return {};
}

Result<Certificate> issue(const CertificateTemplate& what, const PublicKey& subject_key, const PrivateKey& issuer_key) {
  const bool self_signed = subject_key == issuer_key.public_key();
  const X509Ptr cert(X509_new());
  CAIRN_TRY(const auto subject, make_name(what.subject));
  CAIRN_TRY(const auto issuer, make_name(self_signed ? what.subject : what.issuer));
  CAIRN_TRY(const auto serial, make_serial(what.serial));
  if (X509_set_version(cert.get(), X509_VERSION_3) != 1 || X509_set_serialNumber(cert.get(), serial.get()) != 1 ||
      X509_set_subject_name(cert.get(), subject.get()) != 1 || X509_set_issuer_name(cert.get(), issuer.get()) != 1 ||
      X509_set1_notBefore(cert.get(), asn_time(what.not_before).get()) != 1 ||
      X509_set1_notAfter(cert.get(), asn_time(what.not_after).get()) != 1 ||
      X509_set_pubkey(cert.get(), subject_key.native()) != 1)
    return openssl_error("certificate fields");
  CAIRN_CHECK(add_extensions(cert.get(), what, subject_key, issuer_key.public_key()));
  if (X509_sign(cert.get(), issuer_key.native(), signing_digest(issuer_key)) <= 0)
    return openssl_error("certificate signature");
  return Certificate::from_der(encoded(cert.get(), i2d_X509));
}

Result<Crl> issue_crl(const CrlTemplate& what, const PrivateKey& issuer_key) {
  const X509CrlPtr crl(X509_CRL_new());
  CAIRN_TRY(const auto issuer, make_name(what.issuer));
  const AsnInteger number(ASN1_INTEGER_new());
  ASN1_INTEGER_set_uint64(number.get(), what.number);
  if (X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) != 1 ||
      X509_CRL_set_issuer_name(crl.get(), issuer.get()) != 1 ||
      X509_CRL_set1_lastUpdate(crl.get(), asn_time(what.this_update).get()) != 1 ||
      X509_CRL_set1_nextUpdate(crl.get(), asn_time(what.next_update).get()) != 1 ||
      X509_CRL_add1_ext_i2d(crl.get(), NID_authority_key_identifier,
                            authority_id(key_id(issuer_key.public_key())).get(), 0, X509V3_ADD_APPEND) != 1 ||
      X509_CRL_add1_ext_i2d(crl.get(), NID_crl_number, number.get(), 0, X509V3_ADD_APPEND) != 1)
    return openssl_error("revocation list fields");
  for (const auto& entry : what.revoked) {
    Owned<X509_REVOKED, X509_REVOKED_free> revoked(X509_REVOKED_new());
    CAIRN_TRY(const auto serial, make_serial(entry.serial));
    X509_REVOKED_set_serialNumber(revoked.get(), serial.get());
    X509_REVOKED_set_revocationDate(revoked.get(), asn_time(entry.at).get());
    if (entry.reason >= 0) {
      const Owned<ASN1_ENUMERATED, ASN1_ENUMERATED_free> reason(ASN1_ENUMERATED_new());
      ASN1_ENUMERATED_set(reason.get(), entry.reason);
      X509_REVOKED_add1_ext_i2d(revoked.get(), NID_crl_reason, reason.get(), 0, X509V3_ADD_APPEND);
    }
    if (X509_CRL_add0_revoked(crl.get(), revoked.get()) != 1) return openssl_error("revocation entry");
    (void)revoked.release();
  }
  X509_CRL_sort(crl.get());
  if (X509_CRL_sign(crl.get(), issuer_key.native(), signing_digest(issuer_key)) <= 0)
    return openssl_error("revocation list signature");
  return Crl::from_der(encoded(crl.get(), i2d_X509_CRL));
}

namespace {

// What RFC 5280 asks of any certificate in a path, apart from its signature.
Result<void> usable(const Certificate& cert, bool as_issuer, std::size_t below, Time at) {
  static constexpr std::string_view known[] = {"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"};
  const std::string who = cert.subject();
  if (at < cert.not_before() || at > cert.not_after())
    return fail(ErrorCode::crypto_failed, who, "the certificate is not valid at " + rfc3339(at));
  for (const auto& e : cert.extensions())
    if (e.critical && std::ranges::find(known, e.oid) == std::end(known))
      return fail(ErrorCode::crypto_failed, who, "unknown critical extension " + e.oid);
  if (!as_issuer) return {};
  if (!cert.is_ca() || (cert.key_usage() && (*cert.key_usage() & kKeyCertSign) == 0))
    return fail(ErrorCode::crypto_failed, who, "the certificate may not issue others");
  if (const auto length = cert.path_length(); length && static_cast<std::size_t>(*length) < below)
    return fail(ErrorCode::crypto_failed, who, "the certification path is longer than the issuer allows");
  return {};
}

Result<void> issued_by(const Certificate& cert, const Certificate& issuer) {
  if (cert.issuer_der() != issuer.subject_der())
    return fail(ErrorCode::crypto_failed, cert.subject(), "the issuer's name does not match");
  CAIRN_TRY(const auto key, issuer.public_key());
  return cert.signed_by(key);
}

}  // namespace

Result<std::size_t> verify_chain(const std::vector<Certificate>& chain, const std::vector<Certificate>& anchors,
                                 Time at) {
  if (chain.empty()) return fail(ErrorCode::crypto_failed, "no certificate");
  if (chain.size() > kMaxChain) return fail(ErrorCode::too_large, "certification path too long");
  for (std::size_t i = 0; i < chain.size(); ++i) {
    CAIRN_CHECK(usable(chain[i], i > 0, i == 0 ? 0 : i - 1, at));
    if (i > 0) CAIRN_CHECK(issued_by(chain[i - 1], chain[i]));
    for (std::size_t a = 0; a < anchors.size(); ++a) {
      if (equal(chain[i].der(), anchors[a].der())) return a;
      const bool issues = issued_by(chain[i], anchors[a]).has_value();
      if (issues && usable(anchors[a], true, i, at)) return a;
    }
  }
  return fail(ErrorCode::crypto_failed, chain.back().issuer(), "the certification path ends at no trusted root");
}

}  // namespace cairn::crypto
