// Hashes, HMAC and X.509.
#include "crypto/hash.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "base/encoding.h"
#include "crypto/x509.h"
#include "policy/builtins.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

// MD5 is here because policies ask for it; nothing else uses it.
Bytes evp_digest(const EVP_MD* md, std::string_view data) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  EVP_Digest(data.data(), data.size(), out.data(), &size, md, nullptr);
  out.resize(size);
  return out;
}
Bytes evp_hmac(const EVP_MD* md, std::string_view key, std::string_view data) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  HMAC(md, key.data(), static_cast<int>(key.size()), as_bytes(data).data(), data.size(), out.data(), &size);
  out.resize(size);
  return out;
}

template <const EVP_MD* (*md)()>
Value hashed(CallContext& c, Args a) {
  return all_strings(c, a, 1) ? c.arena.string(hex(evp_digest(md(), a[0].text()))) : Value();
}
template <const EVP_MD* (*md)()>
Value hmac(CallContext& c, Args a) {
  return all_strings(c, a, 2) ? c.arena.string(hex(evp_hmac(md(), a[1].text(), a[0].text()))) : Value();
}
Value hmac_equal(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  const auto x = a[0].text();
  const auto y = a[1].text();
  return Value::boolean(x.size() == y.size() && CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0);
}

// --- certificates, in the shape that Go's crypto/x509 gives them

class Builder {
 public:
  explicit Builder(CallContext& c) : c_(c) {}
  Builder& put(std::string_view key, const Value& v) {
    pairs_.emplace_back(c_.arena.string(key), v);
    return *this;
  }
  Builder& text(std::string_view key, std::string_view v) { return put(key, c_.arena.string(v)); }
  Builder& bytes(std::string_view key, ByteView v) { return text(key, base64(v)); }
  Value done() { return c_.arena.object(pairs_); }

 private:
  CallContext& c_;
  std::vector<Pair> pairs_;
};

std::string asn1_text(const ASN1_STRING* s) {
  unsigned char* out = nullptr;
  const int n = ASN1_STRING_to_UTF8(&out, s);
  std::string text =
      n < 0 ? std::string() : std::string(reinterpret_cast<const char*>(out), static_cast<std::size_t>(n));
  OPENSSL_free(out);
  return text;
}

std::vector<Value> oid_numbers(const ASN1_OBJECT* o) {
  std::array<char, 128> room{};
  OBJ_obj2txt(room.data(), room.size(), o, 1);
  std::vector<Value> out;
  std::string_view s(room.data());
  while (!s.empty()) {
    const auto dot = s.find('.');
    out.push_back(Value::integer(std::strtoll(std::string(s.substr(0, dot)).c_str(), nullptr, 10)));
    s = dot == std::string_view::npos ? std::string_view() : s.substr(dot + 1);
  }
  return out;
}

Value name_of(CallContext& c, const X509_NAME* name) {
  static constexpr std::pair<int, std::string_view> lists[] = {{NID_countryName, "Country"},
                                                               {NID_organizationName, "Organization"},
                                                               {NID_organizationalUnitName, "OrganizationalUnit"},
                                                               {NID_localityName, "Locality"},
                                                               {NID_stateOrProvinceName, "Province"},
                                                               {NID_streetAddress, "StreetAddress"},
                                                               {NID_postalCode, "PostalCode"}};
  Builder b(c);
  std::string common, serial;
  std::vector<Value> names;
  std::map<std::string_view, std::vector<Value>> found;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* e = X509_NAME_get_entry(name, i);
    const ASN1_OBJECT* o = X509_NAME_ENTRY_get_object(e);
    const std::string v = asn1_text(X509_NAME_ENTRY_get_data(e));
    const int nid = OBJ_obj2nid(o);
    if (nid == NID_commonName) common = v;
    if (nid == NID_serialNumber) serial = v;
    for (const auto& [n, key] : lists)
      if (n == nid) found[key].push_back(c.arena.string(v));
    names.push_back(Builder(c).put("Type", c.arena.array(oid_numbers(o))).text("Value", v).done());
  }
  for (const auto& [n, key] : lists) b.put(key, found.contains(key) ? c.arena.array(found[key]) : Value::null());
  return b.text("CommonName", common)
      .text("SerialNumber", serial)
      .put("Names", c.arena.array(names))
      .put("ExtraNames", Value::null())
      .done();
}

std::string_view signature_name(int nid, int& number) {
  static constexpr std::pair<int, int> all[] = {{NID_sha1WithRSAEncryption, 3},
                                                {NID_sha256WithRSAEncryption, 4},
                                                {NID_sha384WithRSAEncryption, 5},
                                                {NID_sha512WithRSAEncryption, 6},
                                                {NID_ecdsa_with_SHA1, 9},
                                                {NID_ecdsa_with_SHA256, 10},
                                                {NID_ecdsa_with_SHA384, 11},
                                                {NID_ecdsa_with_SHA512, 12},
                                                {NID_rsassaPss, 13},
                                                {NID_ED25519, 16}};
  number = 0;
  for (const auto& [n, i] : all)
    if (n == nid) number = i;
  return {};
}

Value alternative_names(CallContext& c, const X509* x, int type) {
  std::vector<Value> out;
  const std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)), GENERAL_NAMES_free);
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type != type) continue;
    const ASN1_STRING* s = type == GEN_DNS     ? n->d.dNSName
                           : type == GEN_URI   ? n->d.uniformResourceIdentifier
                           : type == GEN_EMAIL ? n->d.rfc822Name
                                               : n->d.iPAddress;
    const std::string_view raw(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
                               static_cast<std::size_t>(ASN1_STRING_length(s)));
    if (type == GEN_IPADD) {
      std::string text;
      if (raw.size() == 4)
        for (const char ch : raw) text += (text.empty() ? "" : ".") + std::to_string(static_cast<unsigned char>(ch));
      else
        text = hex(as_bytes(raw));
      out.push_back(c.arena.string(text));
    } else {
      out.push_back(c.arena.string(raw));
    }
  }
  return out.empty() ? Value::null() : c.arena.array(out);
}

Value certificate(CallContext& c, const crypto::Certificate& cert) {
  const X509* x = cert.native();
  Builder b(c);
  b.bytes("Raw", cert.der())
      .bytes("RawSubject", cert.subject_der())
      .bytes("RawIssuer", cert.issuer_der())
      .bytes("RawSubjectPublicKeyInfo", cert.spki_der());
  b.put("Version", Value::integer(cert.version()));
  const std::unique_ptr<BIGNUM, void (*)(BIGNUM*)> n(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), nullptr), BN_free);
  const std::unique_ptr<char, void (*)(char*)> decimal(BN_bn2dec(n.get()), [](char* p) { OPENSSL_free(p); });
  b.put("SerialNumber", c.arena.number(decimal.get()));
  b.put("Issuer", name_of(c, X509_get_issuer_name(x))).put("Subject", name_of(c, X509_get_subject_name(x)));
  b.text("NotBefore", rfc3339(cert.not_before())).text("NotAfter", rfc3339(cert.not_after()));
  int algorithm = 0;
  (void)signature_name(X509_get_signature_nid(x), algorithm);
  b.put("SignatureAlgorithm", Value::integer(algorithm));
  const ASN1_BIT_STRING* signature = nullptr;
  X509_get0_signature(&signature, nullptr, x);
  b.bytes("Signature", {ASN1_STRING_get0_data(signature), static_cast<std::size_t>(ASN1_STRING_length(signature))});
  const EVP_PKEY* key = X509_get0_pubkey(x);
  const int id = key != nullptr ? EVP_PKEY_get_base_id(key) : 0;
  b.put("PublicKeyAlgorithm", Value::integer(id == EVP_PKEY_RSA       ? 1
                                             : id == EVP_PKEY_DSA     ? 2
                                             : id == EVP_PKEY_EC      ? 3
                                             : id == EVP_PKEY_ED25519 ? 4
                                                                      : 0));
  // KeyUsage as Go numbers it: bit 0 is digitalSignature.
  std::int64_t usage = 0;
  if (const auto u = X509_get_key_usage(const_cast<X509*>(x)); u != UINT32_MAX) {
    static constexpr std::array<unsigned, 9> order{KU_DIGITAL_SIGNATURE, KU_NON_REPUDIATION, KU_KEY_ENCIPHERMENT,
                                                   KU_DATA_ENCIPHERMENT, KU_KEY_AGREEMENT,   KU_KEY_CERT_SIGN,
                                                   KU_CRL_SIGN,          KU_ENCIPHER_ONLY,   KU_DECIPHER_ONLY};
    for (std::size_t i = 0; i < order.size(); ++i)
      if ((u & order[i]) != 0) usage |= 1LL << i;
  }
  b.put("KeyUsage", Value::integer(usage));
  const bool has_basic = cert.extension("2.5.29.19") != nullptr;
  b.put("BasicConstraintsValid", Value::boolean(has_basic)).put("IsCA", Value::boolean(cert.is_ca()));
  b.put("MaxPathLen", Value::integer(cert.path_length().value_or(has_basic ? -1 : 0)));
  b.put("DNSNames", alternative_names(c, x, GEN_DNS)).put("EmailAddresses", alternative_names(c, x, GEN_EMAIL));
  b.put("IPAddresses", alternative_names(c, x, GEN_IPADD)).put("URIStrings", alternative_names(c, x, GEN_URI));
  std::vector<Value> extensions;
  for (const auto& e : cert.extensions()) {
    std::vector<Value> oid;
    std::string_view s(e.oid);
    while (!s.empty()) {
      const auto dot = s.find('.');
      oid.push_back(c.arena.number(s.substr(0, dot)));
      s = dot == std::string_view::npos ? std::string_view() : s.substr(dot + 1);
    }
    extensions.push_back(Builder(c)
                             .put("Id", c.arena.array(oid))
                             .put("Critical", Value::boolean(e.critical))
                             .bytes("Value", e.value)
                             .done());
  }
  b.put("Extensions", c.arena.array(extensions));
  return b.done();
}

// PEM, or base64 of PEM or of DER certificates one after another.
bool certificates(CallContext& c, std::string_view text, std::vector<crypto::Certificate>& out) {
  std::string pem(text);
  const auto trimmed = [](std::string_view s) {  // indented PEM, as raw strings have it
    std::string lines;
    while (!s.empty()) {
      const auto end = s.find('\n');
      auto line = s.substr(0, end);
      while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
      if (!line.empty()) lines += std::string(line) + "\n";
      s = end == std::string_view::npos ? std::string_view() : s.substr(end + 1);
    }
    return lines;
  };
  if (!trimmed(pem).starts_with("-----BEGIN")) {
    const auto der = from_base64(text);
    if (!der) return (void)c.fail("illegal base64 data"), false;
    if (as_text(*der).starts_with("-----BEGIN")) {
      pem = std::string(as_text(*der));
    } else {
      ByteView rest(*der);
      while (!rest.empty() && out.size() < 64) {
        const unsigned char* at = rest.data();
        const std::unique_ptr<X509, void (*)(X509*)> x(d2i_X509(nullptr, &at, static_cast<long>(rest.size())),
                                                       X509_free);
        if (x == nullptr) return (void)c.fail("x509: malformed certificate"), false;
        const auto size = static_cast<std::size_t>(at - rest.data());
        auto one = crypto::Certificate::from_der(rest.first(size));
        if (!one) return (void)c.fail("x509: malformed certificate"), false;
        out.push_back(std::move(*one));
        rest = rest.subspan(size);
      }
      return true;
    }
  }
  auto all = crypto::Certificate::from_pem(trimmed(pem), 64);
  if (!all) return (void)c.fail("x509: malformed certificate"), false;
  out = std::move(*all);
  return true;
}

Value parse_certificates(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  std::vector<crypto::Certificate> all;
  if (!certificates(c, a[0].text(), all)) return {};
  std::vector<Value> out;
  for (const auto& x : all) out.push_back(certificate(c, x));
  return c.arena.array(out);
}

// Root first, leaf last; [true, chain from the leaf up] where it verifies now, otherwise [false, []].
Value parse_and_verify(CallContext& c, Args a) {
  if (!all_strings(c, a, 1)) return {};
  const auto verdict = [&](bool ok, std::span<const Value> chain) {
    const Value pair[2] = {Value::boolean(ok), c.arena.array(chain)};
    return c.arena.array(pair);
  };
  std::vector<crypto::Certificate> all;
  if (!certificates(c, a[0].text(), all) || all.size() < 2) {
    c.problem.clear();
    return verdict(false, {});
  }
  const Time now{c.options.now_ns / 1'000'000'000};
  std::vector<Value> chain;
  for (std::size_t i = all.size(); i-- > 0;) {
    const auto& x = all[i];
    const bool in_time = x.not_before() <= now && now <= x.not_after();
    const bool may_sign = i + 1 == all.size() || x.is_ca();
    const auto issuer = all[i == 0 ? 0 : i - 1].public_key();
    const bool named = x.issuer_der() == all[i == 0 ? 0 : i - 1].subject_der();
    const bool top = i == 0;  // trusted as it is
    if (!in_time || !may_sign || (!top && (!named || !issuer || !x.signed_by(*issuer)))) return verdict(false, {});
    chain.push_back(certificate(c, x));
  }
  return verdict(true, chain);
}

}  // namespace

std::span<const Entry> crypto_builtins() {
  static constexpr Entry all[] = {
      {"crypto.md5", hashed<EVP_md5>},
      {"crypto.sha1", hashed<EVP_sha1>},
      {"crypto.sha256", hashed<EVP_sha256>},
      {"crypto.hmac.md5", hmac<EVP_md5>},
      {"crypto.hmac.sha1", hmac<EVP_sha1>},
      {"crypto.hmac.sha256", hmac<EVP_sha256>},
      {"crypto.hmac.sha512", hmac<EVP_sha512>},
      {"crypto.hmac.equal", hmac_equal},
      {"crypto.x509.parse_certificates", parse_certificates},
      {"crypto.x509.parse_and_verify_certificates", parse_and_verify},
  };
  return all;
}

}  // namespace cairn::policy
