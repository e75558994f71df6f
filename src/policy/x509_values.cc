// See x509_values.h.
#include "policy/x509_values.h"

#include <openssl/asn1t.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/encoding.h"

namespace cairn::policy {
namespace {

using Number = Owned<BIGNUM, BN_free>;

// The members of an object by name.
class Members {
 public:
  explicit Members(CallContext& c) : c_(c) {}
  Members& put(std::string_view key, const Value& v) {
    pairs_.emplace_back(c_.arena.string(key), v);
    return *this;
  }
  Members& put(std::string_view key, std::int64_t v) { return put(key, Value::integer(v)); }
  Members& truth(std::string_view key, bool v) { return put(key, Value::boolean(v)); }
  Members& text(std::string_view key, std::string_view v) { return put(key, c_.arena.string(v)); }
  Members& bytes(std::string_view key, ByteView v) { return text(key, base64(v)); }
  Members& list(std::string_view key, const std::vector<Value>& v) {  // null where there is nothing, as of Go's slices
    return put(key, v.empty() ? Value::null() : c_.arena.array(v));
  }
  Members& nothing(std::initializer_list<std::string_view> keys) {
    for (const auto key : keys) put(key, Value::null());
    return *this;
  }
  Value done() { return c_.arena.object(pairs_); }

 private:
  CallContext& c_;
  std::vector<Pair> pairs_;
};

ByteView view(const ASN1_STRING* s) {
  return {ASN1_STRING_get0_data(s), static_cast<std::size_t>(ASN1_STRING_length(s))};
}

// DER that an i2d function writes.
template <class T, class F>
Bytes der_of(T* what, F&& i2d) {
  unsigned char* out = nullptr;
  const int n = i2d(what, &out);
  const Owned<unsigned char, [](unsigned char* p) { OPENSSL_free(p); }> owned(out);
  return n <= 0 ? Bytes() : Bytes(out, out + n);
}

std::string oid_text(const ASN1_OBJECT* o) {
  std::array<char, 256> room{};
  OBJ_obj2txt(room.data(), room.size(), o, 1);
  return room.data();
}

Value oid(CallContext& c, std::string_view dotted) {
  std::vector<Value> out;
  while (!dotted.empty()) {
    const auto dot = dotted.find('.');
    out.push_back(c.arena.number(dotted.substr(0, dot)));
    dotted = dot == std::string_view::npos ? std::string_view() : dotted.substr(dot + 1);
  }
  return c.arena.array(out);
}

Value number(CallContext& c, const BIGNUM* n) {
  const Owned<char, [](char* p) { OPENSSL_free(p); }> decimal(n != nullptr ? BN_bn2dec(n) : nullptr);
  return decimal != nullptr ? c.arena.number(decimal.get()) : Value::null();
}

Value name_of(CallContext& c, const X509_NAME* name) {
  static constexpr std::pair<int, std::string_view> lists[] = {{NID_countryName, "Country"},
                                                               {NID_organizationName, "Organization"},
                                                               {NID_organizationalUnitName, "OrganizationalUnit"},
                                                               {NID_localityName, "Locality"},
                                                               {NID_stateOrProvinceName, "Province"},
                                                               {NID_streetAddress, "StreetAddress"},
                                                               {NID_postalCode, "PostalCode"}};
  std::string common, serial;
  std::vector<Value> names;
  std::map<std::string_view, std::vector<Value>> found;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* e = X509_NAME_get_entry(name, i);
    const ASN1_OBJECT* o = X509_NAME_ENTRY_get_object(e);
    const auto utf8 = der_of(X509_NAME_ENTRY_get_data(e),
                             [](const ASN1_STRING* s, unsigned char** out) { return ASN1_STRING_to_UTF8(out, s); });
    const std::string v(as_text(utf8));
    const int nid = OBJ_obj2nid(o);
    if (nid == NID_commonName) common = v;
    if (nid == NID_serialNumber) serial = v;
    for (const auto& [n, key] : lists)
      if (n == nid) found[key].push_back(c.arena.string(v));
    names.push_back(Members(c).put("Type", oid(c, oid_text(o))).text("Value", v).done());
  }
  Members m(c);
  for (const auto& [n, key] : lists) m.list(key, found[key]);
  return m.text("CommonName", common).text("SerialNumber", serial).list("Names", names).nothing({"ExtraNames"}).done();
}

std::int64_t signature_algorithm(const X509_ALGOR* algorithm) {
  static constexpr std::pair<int, int> all[] = {
      {NID_md5WithRSAEncryption, 2},    {NID_sha1WithRSAEncryption, 3},   {NID_sha256WithRSAEncryption, 4},
      {NID_sha384WithRSAEncryption, 5}, {NID_sha512WithRSAEncryption, 6}, {NID_dsaWithSHA1, 7},
      {NID_dsa_with_SHA256, 8},         {NID_ecdsa_with_SHA1, 9},         {NID_ecdsa_with_SHA256, 10},
      {NID_ecdsa_with_SHA384, 11},      {NID_ecdsa_with_SHA512, 12},      {NID_ED25519, 16}};
  const ASN1_OBJECT* o = nullptr;
  int type = 0;
  const void* parameters = nullptr;
  X509_ALGOR_get0(&o, &type, &parameters, algorithm);
  const int nid = OBJ_obj2nid(o);
  if (nid == NID_rsassaPss && type == V_ASN1_SEQUENCE) {
    const Owned<RSA_PSS_PARAMS, RSA_PSS_PARAMS_free> pss(static_cast<RSA_PSS_PARAMS*>(
        ASN1_item_unpack(static_cast<const ASN1_STRING*>(parameters), ASN1_ITEM_rptr(RSA_PSS_PARAMS))));
    if (pss == nullptr || pss->hashAlgorithm == nullptr) return 0;
    const int hash = OBJ_obj2nid(pss->hashAlgorithm->algorithm);
    return hash == NID_sha256 ? 13 : hash == NID_sha384 ? 14 : hash == NID_sha512 ? 15 : 0;
  }
  for (const auto& [n, i] : all)
    if (n == nid) return i;
  return 0;
}

// PublicKey and PublicKeyAlgorithm; false for a curve that Go does not know.
bool put_key(CallContext& c, const EVP_PKEY* key, Members& m) {
  const auto part = [&](const char* name) {
    BIGNUM* n = nullptr;
    if (EVP_PKEY_get_bn_param(key, name, &n) != 1) return Value::null();
    const Number owned(n);
    return number(c, n);
  };
  const int id = key != nullptr ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
  Value value = Value::null();
  std::int64_t algorithm = 0;
  if (id == EVP_PKEY_RSA) {
    algorithm = 1;
    value = Members(c).put("N", part(OSSL_PKEY_PARAM_RSA_N)).put("E", part(OSSL_PKEY_PARAM_RSA_E)).done();
  } else if (id == EVP_PKEY_DSA) {
    algorithm = 2;
    const Value group = Members(c)
                            .put("P", part(OSSL_PKEY_PARAM_FFC_P))
                            .put("Q", part(OSSL_PKEY_PARAM_FFC_Q))
                            .put("G", part(OSSL_PKEY_PARAM_FFC_G))
                            .done();
    value = Members(c).put("Parameters", group).put("Y", part(OSSL_PKEY_PARAM_PUB_KEY)).done();
  } else if (id == EVP_PKEY_EC) {
    algorithm = 3;
    std::array<char, 64> room{};
    std::size_t n = 0;
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, room.data(), room.size(), &n);
    const int curve = OBJ_txt2nid(room.data());
    if (curve != NID_X9_62_prime256v1 && curve != NID_secp384r1 && curve != NID_secp521r1 && curve != NID_secp224r1)
      return false;
    value = Members(c)
                .put("Curve", c.arena.object({}))
                .put("X", part(OSSL_PKEY_PARAM_EC_PUB_X))
                .put("Y", part(OSSL_PKEY_PARAM_EC_PUB_Y))
                .done();
  } else if (id == EVP_PKEY_ED25519) {
    algorithm = 4;
    Bytes raw(32);
    std::size_t n = raw.size();
    EVP_PKEY_get_raw_public_key(key, raw.data(), &n);
    value = c.arena.string(base64(raw));
  }
  m.put("PublicKey", value).put("PublicKeyAlgorithm", algorithm);
  return true;
}

// The extensions of a certificate or request. What is there twice or cannot be read makes all of it malformed.
class Extensions {
 public:
  Extensions(CallContext& c, const STACK_OF(X509_EXTENSION) * all) : c_(c), all_(all) {}
  [[nodiscard]] bool well_formed() const { return well_formed_; }
  [[nodiscard]] int count() const { return all_ != nullptr ? sk_X509_EXTENSION_num(all_) : 0; }
  [[nodiscard]] X509_EXTENSION* at(int i) const { return sk_X509_EXTENSION_value(all_, i); }
  [[nodiscard]] bool critical(int nid) const {
    const int i = all_ != nullptr ? X509v3_get_ext_by_NID(all_, nid, -1) : -1;
    return i >= 0 && X509_EXTENSION_get_critical(at(i)) != 0;
  }
  [[nodiscard]] bool has(int nid) const { return all_ != nullptr && X509v3_get_ext_by_NID(all_, nid, -1) >= 0; }

  // Null where absent.
  template <class T, auto release>
  Owned<T, release> get(int nid) {
    int critical = -1;
    Owned<T, release> out(static_cast<T*>(X509V3_get_d2i(all_, nid, &critical, nullptr)));
    if (out == nullptr && critical != -1) well_formed_ = false;
    return out;
  }

  Value list() {
    std::vector<Value> out;
    for (int i = 0; i < count(); ++i)
      out.push_back(Members(c_)
                        .put("Id", oid(c_, oid_text(X509_EXTENSION_get_object(at(i)))))
                        .truth("Critical", X509_EXTENSION_get_critical(at(i)) != 0)
                        .bytes("Value", view(X509_EXTENSION_get_data(at(i))))
                        .done());
    return out.empty() ? Value::null() : c_.arena.array(out);
  }

  // Those of one type, as texts.
  std::vector<Value> names(const GENERAL_NAMES* all, int type) {
    std::vector<Value> out;
    for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all); ++i) {
      const GENERAL_NAME* n = sk_GENERAL_NAME_value(all, i);
      if (n->type != type) continue;
      const auto raw = as_text(view(type == GEN_IPADD ? n->d.iPAddress : n->d.ia5));
      if (type == GEN_IPADD && raw.size() != 4 && raw.size() != 16) well_formed_ = false;
      if (type != GEN_IPADD && std::ranges::any_of(raw, [](char ch) { return (ch & 0x80) != 0; })) well_formed_ = false;
      if (well_formed_) out.push_back(c_.arena.string(type == GEN_IPADD ? ip_text(raw) : std::string(raw)));
    }
    return out;
  }

  // False where it names nothing that is understood.
  bool put_alternative_names(Members& m, bool texts) {
    const auto all = get<GENERAL_NAMES, GENERAL_NAMES_free>(NID_subject_alt_name);
    const auto uris = names(all.get(), GEN_URI);
    std::vector<Value> parsed;
    for (const Value& u : uris) {
      parsed.push_back(uri_fields(c_, u.text()));
      if (!parsed.back().defined()) well_formed_ = false;
    }
    const auto dns = names(all.get(), GEN_DNS);
    const auto mail = names(all.get(), GEN_EMAIL);
    const auto ips = names(all.get(), GEN_IPADD);
    m.list("DNSNames", dns).list("EmailAddresses", mail).list("IPAddresses", ips);
    if (!well_formed_) return false;
    m.list("URIs", parsed);
    if (texts) m.list("URIStrings", uris);
    return !dns.empty() || !mail.empty() || !ips.empty() || !uris.empty();
  }

 private:
  CallContext& c_;
  const STACK_OF(X509_EXTENSION) * all_;
  bool well_formed_ = true;
};

}  // namespace

std::int64_t extended_usage(std::string_view oid) {
  static constexpr std::string_view all[] = {"2.5.29.37.0",
                                             "1.3.6.1.5.5.7.3.1",
                                             "1.3.6.1.5.5.7.3.2",
                                             "1.3.6.1.5.5.7.3.3",
                                             "1.3.6.1.5.5.7.3.4",
                                             "1.3.6.1.5.5.7.3.5",
                                             "1.3.6.1.5.5.7.3.6",
                                             "1.3.6.1.5.5.7.3.7",
                                             "1.3.6.1.5.5.7.3.8",
                                             "1.3.6.1.5.5.7.3.9",
                                             "1.3.6.1.4.1.311.10.3.3",
                                             "2.16.840.1.113730.4.1",
                                             "1.3.6.1.4.1.311.2.1.22",
                                             "1.3.6.1.4.1.311.61.1.1"};
  const auto* const at = std::ranges::find(all, oid);
  return at == std::end(all) ? -1 : at - std::begin(all);
}

namespace {

bool put_name_constraints(CallContext& c, Extensions& extensions, Members& m) {
  const auto all = extensions.get<NAME_CONSTRAINTS, NAME_CONSTRAINTS_free>(NID_name_constraints);
  bool understood = true;
  const auto side = [&](std::string_view prefix, const STACK_OF(GENERAL_SUBTREE) * trees) {
    std::vector<Value> dns, mail, uri, ip;
    for (int i = 0; trees != nullptr && i < sk_GENERAL_SUBTREE_num(trees); ++i) {
      const GENERAL_NAME* n = sk_GENERAL_SUBTREE_value(trees, i)->base;
      if (n->type == GEN_IPADD) {
        const auto raw = as_text(view(n->d.iPAddress));
        const auto half = raw.size() / 2;
        if (half == 4 || half == 16)
          ip.push_back(
              Members(c).text("IP", ip_text(raw.substr(0, half))).bytes("Mask", as_bytes(raw.substr(half))).done());
      } else if (n->type == GEN_DNS || n->type == GEN_EMAIL || n->type == GEN_URI) {
        (n->type == GEN_DNS     ? dns
         : n->type == GEN_EMAIL ? mail
                                : uri)
            .push_back(c.arena.string(as_text(view(n->d.ia5))));
      } else {
        understood = false;
      }
    }
    const std::string p(prefix);
    m.list(p + "DNSDomains", dns).list(p + "EmailAddresses", mail).list(p + "URIDomains", uri).list(p + "IPRanges", ip);
  };
  side("Permitted", all != nullptr ? all->permittedSubtrees : nullptr);
  side("Excluded", all != nullptr ? all->excludedSubtrees : nullptr);
  m.truth("PermittedDNSDomainsCritical", all != nullptr && extensions.critical(NID_name_constraints));
  return understood;
}

void put_policies(CallContext& c, Extensions& extensions, Members& m) {
  std::vector<Value> texts, numbers, mappings;
  const auto policies = extensions.get<CERTIFICATEPOLICIES, CERTIFICATEPOLICIES_free>(NID_certificate_policies);
  for (int i = 0; policies != nullptr && i < sk_POLICYINFO_num(policies.get()); ++i) {
    const std::string text = oid_text(sk_POLICYINFO_value(policies.get(), i)->policyid);
    texts.push_back(c.arena.string(text));
    numbers.push_back(oid(c, text));
  }
  const auto mapped =
      extensions.get<POLICY_MAPPINGS, [](POLICY_MAPPINGS* p) { sk_POLICY_MAPPING_pop_free(p, POLICY_MAPPING_free); }>(
          NID_policy_mappings);
  for (int i = 0; mapped != nullptr && i < sk_POLICY_MAPPING_num(mapped.get()); ++i) {
    const POLICY_MAPPING* p = sk_POLICY_MAPPING_value(mapped.get(), i);
    mappings.push_back(Members(c)
                           .text("IssuerDomainPolicy", oid_text(p->issuerDomainPolicy))
                           .text("SubjectDomainPolicy", oid_text(p->subjectDomainPolicy))
                           .done());
  }
  m.list("Policies", texts).list("PolicyIdentifiers", numbers).list("PolicyMappings", mappings);
  const auto limit = [&](const std::string& key, const ASN1_INTEGER* n) {
    const long v = n != nullptr ? ASN1_INTEGER_get(n) : 0;
    m.put(key, v).truth(key + "Zero", n != nullptr && v == 0);
  };
  const auto constraints = extensions.get<POLICY_CONSTRAINTS, POLICY_CONSTRAINTS_free>(NID_policy_constraints);
  limit("RequireExplicitPolicy", constraints != nullptr ? constraints->requireExplicitPolicy : nullptr);
  limit("InhibitPolicyMapping", constraints != nullptr ? constraints->inhibitPolicyMapping : nullptr);
  limit("InhibitAnyPolicy", extensions.get<ASN1_INTEGER, ASN1_INTEGER_free>(NID_inhibit_any_policy).get());
}

void put_places(CallContext& c, Extensions& extensions, Members& m) {
  const auto uri = [&](const GENERAL_NAME* n) { return c.arena.string(as_text(view(n->d.ia5))); };
  std::vector<Value> ocsp, issuers, crls;
  const auto access = extensions.get<AUTHORITY_INFO_ACCESS, AUTHORITY_INFO_ACCESS_free>(NID_info_access);
  for (int i = 0; access != nullptr && i < sk_ACCESS_DESCRIPTION_num(access.get()); ++i) {
    const ACCESS_DESCRIPTION* a = sk_ACCESS_DESCRIPTION_value(access.get(), i);
    if (a->location->type != GEN_URI) continue;
    const int method = OBJ_obj2nid(a->method);
    if (method == NID_ad_OCSP) ocsp.push_back(uri(a->location));
    if (method == NID_ad_ca_issuers) issuers.push_back(uri(a->location));
  }
  const auto points = extensions.get<CRL_DIST_POINTS, CRL_DIST_POINTS_free>(NID_crl_distribution_points);
  for (int i = 0; points != nullptr && i < sk_DIST_POINT_num(points.get()); ++i) {
    const DIST_POINT_NAME* p = sk_DIST_POINT_value(points.get(), i)->distpoint;
    for (int k = 0; p != nullptr && p->type == 0 && k < sk_GENERAL_NAME_num(p->name.fullname); ++k) {
      const GENERAL_NAME* n = sk_GENERAL_NAME_value(p->name.fullname, k);
      if (n->type != GEN_URI) break;
      crls.push_back(uri(n));
    }
  }
  m.list("OCSPServer", ocsp).list("IssuingCertificateURL", issuers).list("CRLDistributionPoints", crls);
}

// What Go shows of the attributes: those that hold lists of a type and a value, which extensions are.
std::vector<Value> attributes(CallContext& c, const X509_REQ* request, Extensions& extensions) {
  std::vector<Value> out;
  for (int i = 0; i < X509_REQ_get_attr_count(request); ++i) {
    const ASN1_OBJECT* type = X509_ATTRIBUTE_get0_object(X509_REQ_get_attr(request, i));
    if (OBJ_obj2nid(type) != NID_ext_req) continue;
    std::vector<Value> items;
    for (int k = 0; k < extensions.count(); ++k) {
      X509_EXTENSION* e = extensions.at(k);
      Members m(c);
      m.put("Type", oid(c, oid_text(X509_EXTENSION_get_object(e))));
      if (X509_EXTENSION_get_critical(e) != 0)
        m.truth("Value", true);
      else
        m.bytes("Value", view(X509_EXTENSION_get_data(e)));
      items.push_back(m.done());
    }
    const Value list = c.arena.array(items);
    out.push_back(Members(c).put("Type", oid(c, oid_text(type))).put("Value", c.arena.array({&list, 1})).done());
  }
  return out;
}

}  // namespace

Value certificate_value(CallContext& c, const crypto::Certificate& cert, bool texts) {
  X509* x = cert.native();
  Extensions extensions(c, X509_get0_extensions(x));
  Members m(c);
  m.bytes("Raw", cert.der())
      .bytes("RawTBSCertificate", der_of(x, i2d_re_X509_tbs))
      .bytes("RawSubject", cert.subject_der())
      .bytes("RawIssuer", cert.issuer_der())
      .bytes("RawSubjectPublicKeyInfo", cert.spki_der())
      .put("Version", cert.version());
  const Number serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), nullptr));
  m.put("SerialNumber", number(c, serial.get()))
      .put("Issuer", name_of(c, X509_get_issuer_name(x)))
      .put("Subject", name_of(c, X509_get_subject_name(x)))
      .text("NotBefore", rfc3339(cert.not_before()))
      .text("NotAfter", rfc3339(cert.not_after()));
  const ASN1_BIT_STRING* signature = nullptr;
  const X509_ALGOR* algorithm = nullptr;
  X509_get0_signature(&signature, &algorithm, x);
  m.bytes("Signature", view(signature)).put("SignatureAlgorithm", signature_algorithm(algorithm));
  if (!put_key(c, X509_get0_pubkey(x), m)) return {};

  // KeyUsage as Go numbers it: bit 0 is digitalSignature.
  std::int64_t usage = 0;
  const auto bits = extensions.get<ASN1_BIT_STRING, ASN1_BIT_STRING_free>(NID_key_usage);
  for (int i = 0; bits != nullptr && i < 9; ++i) usage |= ASN1_BIT_STRING_get_bit(bits.get(), i) != 0 ? 1LL << i : 0;
  m.put("KeyUsage", usage);
  std::vector<Value> usages, unknown;
  for (const auto& id : cert.extended_key_usage()) {
    const auto n = extended_usage(id);
    (n >= 0 ? usages : unknown).push_back(n >= 0 ? Value::integer(n) : oid(c, id));
  }
  m.list("ExtKeyUsage", usages).list("UnknownExtKeyUsage", unknown);
  const bool basic = extensions.has(NID_basic_constraints);
  const long length = cert.path_length().value_or(basic ? -1 : 0);
  m.truth("BasicConstraintsValid", basic).truth("IsCA", cert.is_ca());
  m.put("MaxPathLen", length).truth("MaxPathLenZero", basic && length == 0);
  const auto subject_id = extensions.get<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free>(NID_subject_key_identifier);
  const auto issuer_id = extensions.get<AUTHORITY_KEYID, AUTHORITY_KEYID_free>(NID_authority_key_identifier);
  const auto id = [&](std::string_view key, const ASN1_OCTET_STRING* s) {
    m.put(key, s != nullptr ? c.arena.string(base64(view(s))) : Value::null());
  };
  id("SubjectKeyId", subject_id.get());
  id("AuthorityKeyId", issuer_id != nullptr ? issuer_id->keyid : nullptr);
  const bool named = extensions.put_alternative_names(m, texts);
  const bool constrained = put_name_constraints(c, extensions, m);
  put_policies(c, extensions, m);
  put_places(c, extensions, m);
  static constexpr int never_critical[] = {NID_subject_key_identifier, NID_authority_key_identifier, NID_info_access};
  if (!extensions.well_formed() || cert.serial_negative() ||
      std::ranges::any_of(never_critical, [&](int nid) { return extensions.critical(nid); }))
    return {};

  static constexpr int handled[] = {NID_key_usage,          NID_basic_constraints, NID_crl_distribution_points,
                                    NID_policy_constraints, NID_ext_key_usage,     NID_certificate_policies,
                                    NID_policy_mappings,    NID_inhibit_any_policy};
  std::vector<Value> unhandled;
  for (int i = 0; i < extensions.count(); ++i) {
    X509_EXTENSION* e = extensions.at(i);
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));
    const bool known = std::ranges::find(handled, nid) != std::end(handled) || (nid == NID_subject_alt_name && named) ||
                       (nid == NID_name_constraints && constrained);
    if (X509_EXTENSION_get_critical(e) != 0 && !known)
      unhandled.push_back(oid(c, oid_text(X509_EXTENSION_get_object(e))));
  }
  return m.put("Extensions", extensions.list())
      .list("UnhandledCriticalExtensions", unhandled)
      .nothing({"ExtraExtensions"})
      .done();
}

Value request_value(CallContext& c, X509_REQ* r, ByteView der) {
  const Owned<X509_EXTENSIONS, [](X509_EXTENSIONS* p) { sk_X509_EXTENSION_pop_free(p, X509_EXTENSION_free); }> all(
      X509_REQ_get_extensions(r));
  Extensions extensions(c, all.get());
  Members m(c);
  const X509_NAME* subject = X509_REQ_get_subject_name(r);
  const ASN1_BIT_STRING* signature = nullptr;
  const X509_ALGOR* algorithm = nullptr;
  X509_REQ_get0_signature(r, &signature, &algorithm);
  m.bytes("Raw", der)
      .bytes("RawTBSCertificateRequest", der_of(r, i2d_re_X509_REQ_tbs))
      .bytes("RawSubject", der_of(subject, i2d_X509_NAME))
      .bytes("RawSubjectPublicKeyInfo", der_of(X509_REQ_get_X509_PUBKEY(r), i2d_X509_PUBKEY))
      .put("Version", X509_REQ_get_version(r))
      .put("Subject", name_of(c, subject))
      .bytes("Signature", view(signature))
      .put("SignatureAlgorithm", signature_algorithm(algorithm))
      .put("Extensions", extensions.list())
      .list("Attributes", attributes(c, r, extensions))
      .nothing({"ExtraExtensions"});
  extensions.put_alternative_names(m, false);
  if (!put_key(c, X509_REQ_get0_pubkey(r), m) || !extensions.well_formed()) return {};
  return m.done();
}

}  // namespace cairn::policy
