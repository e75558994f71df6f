// A private hierarchy that makes whole verifications: every part can be changed before it is signed. Tests only.
#pragma once

#include <optional>

#include "base/encoding.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "crypto/x509.h"
#include "evidence/tdx/verify.h"

namespace cairn::tdx::testing {

inline const Time kNow = from_civil(2026, 6, 15, 0, 0, 0);

inline crypto::PrivateKey new_key() { return crypto::PrivateKey::generate(crypto::KeyType::ec_p256).value(); }
inline EcPoint point(const crypto::PrivateKey& key) {
  const auto p = key.public_key().ec_point().value();
  EcPoint out{};
  std::ranges::copy(p.x, out.begin());
  std::ranges::copy(p.y, out.begin() + 32);
  return out;
}
inline Signature sign(const crypto::PrivateKey& key, ByteView message) {
  return Signature::from(key.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha256, message).value()).value();
}

// Everything a verifier is given.
struct Made {
  Bytes quote;
  Collateral collateral;
  std::vector<TrustRoot> roots;
  Options options{.time = kNow};

  [[nodiscard]] Verdict verify() const { return tdx::verify(quote, collateral, roots, options); }
  [[nodiscard]] std::string outcome() const {
    const Verdict v = verify();
    return std::string(v.outcome());
  }
};

// The parts, all sound until a test changes one.
struct World {
  struct Keys {
    crypto::PrivateKey root = new_key(), ca = new_key(), pck = new_key(), tcb = new_key(), attestation = new_key(),
                       other = new_key();
  };
  // Made once: key generation is the slow part.
  static const Keys& keys() {
    static const Keys k;
    return k;
  }

  static crypto::Name intel(const char* cn) {
    return {{"CN", cn}, {"O", "Intel Corporation"}, {"L", "Santa Clara"}, {"ST", "CA"}, {"C", "US"}};
  }
  static crypto::CertificateTemplate certificate(const char* cn, const char* issuer, bool ca, Bytes serial) {
    crypto::CertificateTemplate t;
    t.subject = intel(cn);
    t.issuer = intel(issuer);
    t.serial = std::move(serial);
    t.not_before = from_civil(2026, 1, 1, 0, 0, 0);
    t.not_after = from_civil(2033, 1, 1, 0, 0, 0);
    t.ca = ca;
    t.key_usage = ca ? crypto::kKeyCertSign | crypto::kCrlSign : crypto::kDigitalSignature | crypto::kNonRepudiation;
    t.crl_url = "https://pcs.example.test/root.der";
    return t;
  }
  static crypto::CrlTemplate crl(const char* issuer) {
    return {.issuer = intel(issuer),
            .this_update = from_civil(2026, 6, 1, 0, 0, 0),
            .next_update = from_civil(2026, 7, 1, 0, 0, 0),
            .number = 10,
            .revoked = {}};
  }
  static Json component_list(std::initializer_list<int> first) {
    Json out = Json::array();
    for (const int n : first) out.push_back({{"svn", n}});
    while (out.size() < 16) out.push_back({{"svn", 0}});
    return out;
  }
  static Json level(int sgx0, int pce, int tdx2, const char* status, const char* date, Json advisories = Json()) {
    Json out{{"tcb",
              {{"sgxtcbcomponents", component_list({sgx0, 9, 2})},
               {"pcesvn", pce},
               {"tdxtcbcomponents", component_list({5, 1, tdx2})}}},
             {"tcbDate", date},
             {"tcbStatus", status}};
    if (!advisories.is_null()) out["advisoryIDs"] = advisories;
    return out;
  }
  static Json svn_level(int svn, const char* status, const char* date) {
    return {{"tcb", {{"isvsvn", svn}}}, {"tcbDate", date}, {"tcbStatus", status}};
  }

  crypto::CertificateTemplate root_cert, ca_cert, pck_cert, tcb_cert;
  const crypto::PrivateKey* ca_issuer = &keys().root;
  const crypto::PrivateKey* pck_issuer = &keys().ca;
  const crypto::PrivateKey* tcb_issuer = &keys().root;
  const crypto::PrivateKey* root_key = &keys().root;  // of the certificates; `made.roots` holds the same
  crypto::CrlTemplate root_crl = crl("Intel SGX Root CA"), pck_crl = crl("Intel SGX PCK Platform CA");
  sgx::PckExtension pck;
  Json tcb_info, qe_identity;
  const crypto::PrivateKey* tcb_info_key = &keys().tcb;
  std::optional<std::string> tcb_info_text, qe_identity_text;  // instead of the JSON above
  Quote quote;
  const crypto::PrivateKey* quote_key = &keys().attestation;
  const crypto::PrivateKey* qe_report_key = &keys().pck;
  bool bind = true;  // write the QE report data

  World() {
    root_cert = certificate("Intel SGX Root CA", "Intel SGX Root CA", true, {1});
    root_cert.path_length = 1;
    ca_cert = certificate("Intel SGX PCK Platform CA", "Intel SGX Root CA", true, {2});
    ca_cert.path_length = 0;
    pck_cert = certificate("Intel SGX PCK Certificate", "Intel SGX PCK Platform CA", false, {3});
    tcb_cert = certificate("Intel SGX TCB Signing", "Intel SGX Root CA", false, {4});
    pck.components = {9, 9, 2, 2};
    pck.cpu_svn = pck.components;
    pck.pce_svn = 13;
    pck.fmspc = {0xc0, 0xaa, 0x01};
    pck.platform_instance_id.emplace().fill(0x77);
    pck.dynamic_platform = true;
    pck.cached_keys = false;
    pck.smt_enabled = true;
    make_tcb_info();
    make_qe_identity();
    make_quote();
  }

  [[nodiscard]] TdReport& td() { return std::get<TdReport>(quote.body); }
  // A TD 1.5 quote whose running module has `svn2`.
  void to_v5(const Svn16& svn2) {
    quote.header.version = 5;
    td().td15 = Td15{.tee_tcb_svn_2 = svn2, .mr_service_td = {}};
  }

  [[nodiscard]] static std::string signed_body(const char* member, const std::string& text,
                                               const crypto::PrivateKey& key) {
    return std::string("{\"") + member + "\":" + text + ",\"signature\":\"" + hex(sign(key, as_bytes(text))) + "\"}";
  }

  [[nodiscard]] Made make() const {
    Made out;
    const auto root = issue(root_cert, *root_key, *root_key), ca = issue(ca_cert, keys().ca, *ca_issuer),
               tcb = issue(tcb_cert, keys().tcb, *tcb_issuer);
    auto leaf_template = pck_cert;
    leaf_template.extra.push_back({.oid = std::string(sgx::kPckExtensionOid), .critical = false, .value = encode(pck)});
    const auto leaf = issue(leaf_template, keys().pck, *pck_issuer);
    out.collateral.pck_crl_issuer_chain = ca.pem() + root.pem();
    out.collateral.tcb_signing_chain = out.collateral.qe_signing_chain = tcb.pem() + root.pem();
    out.collateral.root_crl = crypto::issue_crl(root_crl, *root_key).value().der();
    out.collateral.pck_crl = crypto::issue_crl(pck_crl, keys().ca).value().der();
    out.collateral.tcb_info = signed_body("tcbInfo", tcb_info_text.value_or(tcb_info.dump()), *tcb_info_key);
    out.collateral.qe_identity =
        signed_body("enclaveIdentity", qe_identity_text.value_or(qe_identity.dump()), keys().tcb);
    if (auto trusted = trust_root("test", root.der())) out.roots = {*trusted};
    out.quote = signed_quote(leaf.pem() + ca.pem() + root.pem());
    return out;
  }

 private:
  static crypto::Certificate issue(const crypto::CertificateTemplate& t, const crypto::PrivateKey& subject,
                                   const crypto::PrivateKey& issuer) {
    return crypto::issue(t, subject.public_key(), issuer).value();
  }

  [[nodiscard]] Bytes signed_quote(const std::string& chain) const {
    Quote q = quote;
    if (q.cert.data.empty()) q.cert.data = to_bytes(chain);
    if (q.attestation_key == EcPoint{}) q.attestation_key = point(keys().attestation);
    if (bind) {
      Bytes bound = to_bytes(ByteView(q.attestation_key));
      append(bound, q.qe_auth_data);
      std::ranges::copy(crypto::sha256(bound), q.qe_report.report_data.begin());
    }
    Writer report;
    sgx::write(q.qe_report, report);
    q.qe_report_signature = sign(*qe_report_key, report.view());
    q.signature = sign(*quote_key, encode_signed_part(q.header, q.body));
    return encode(q).value();
  }

  void make_tcb_info() {
    const Json identity{
        {"id", "TDX_01"},
        {"mrsigner", std::string(96, '0')},
        {"attributes", std::string(16, '0')},
        {"attributesMask", std::string(16, 'F')},
        {"tcbLevels",
         {svn_level(5, "UpToDate", "2026-03-01T00:00:00Z"), svn_level(3, "OutOfDate", "2025-01-01T00:00:00Z"),
          svn_level(2, "Revoked", "2024-01-01T00:00:00Z")}}};
    tcb_info = {{"id", "TDX"},
                {"version", 3},
                {"issueDate", "2026-06-01T00:00:00Z"},
                {"nextUpdate", "2026-07-01T00:00:00Z"},
                {"fmspc", "c0aa01000000"},
                {"pceId", "0000"},
                {"tcbType", 0},
                {"tcbEvaluationDataNumber", 21},
                {"tdxModule",
                 {{"mrsigner", std::string(96, '0')},
                  {"attributes", std::string(16, '0')},
                  {"attributesMask", std::string(16, 'F')}}},
                {"tdxModuleIdentities", Json::array({identity})},
                {"tcbLevels",
                 {level(9, 13, 7, "UpToDate", "2026-03-01T00:00:00Z"),
                  level(8, 13, 7, "SWHardeningNeeded", "2026-03-01T00:00:00Z", {"INTEL-SA-90001"}),
                  level(7, 13, 7, "ConfigurationNeeded", "2026-03-01T00:00:00Z", {"INTEL-SA-90002"}),
                  level(5, 10, 5, "OutOfDate", "2025-03-01T00:00:00Z", {"INTEL-SA-90004"})}}};
  }
  void make_qe_identity() {
    qe_identity = {
        {"id", "TD_QE"},
        {"version", 2},
        {"issueDate", "2026-06-01T00:00:00Z"},
        {"nextUpdate", "2026-07-01T00:00:00Z"},
        {"tcbEvaluationDataNumber", 22},
        {"miscselect", "00000000"},
        {"miscselectMask", "FFFFFFFF"},
        {"attributes", "11000000000000000000000000000000"},
        {"attributesMask", "FBFFFFFFFFFFFFFF0000000000000000"},
        {"mrsigner", std::string(64, 'A')},
        {"isvprodid", 2},
        {"tcbLevels",
         {svn_level(8, "UpToDate", "2026-03-01T00:00:00Z"), svn_level(6, "OutOfDate", "2025-02-01T00:00:00Z")}}};
  }
  void make_quote() {
    TdReport report;
    report.tee_tcb_svn = {5, 1, 7};
    report.xfam = 0x602e7;
    report.mr_td.fill(0x11);
    report.mr_seam.fill(0x22);
    for (std::size_t i = 0; i < 4; ++i) report.rtmr[i].fill(static_cast<std::uint8_t>(0x30 + i));
    report.report_data.fill(0x44);
    quote.body = report;
    quote.qe_report.attributes = {0x15, 0, 0, 0, 0, 0, 0, 0, 0xe7};
    quote.qe_report.mr_signer.fill(0xaa);
    quote.qe_report.isv_prod_id = 2;
    quote.qe_report.isv_svn = 8;
    for (std::uint8_t i = 0; i < 32; ++i) quote.qe_auth_data.push_back(i);
  }
};

}  // namespace cairn::tdx::testing
