// The checklist of past mistakes and attacks (tdx-dcap §7): each item as a test of its own, on self-made evidence.
// Every test first or also shows that the same evidence without the defect is accepted (World is sound by default).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/opensslv.h>

#include "evidence/pki/certificate.h"
#include "evidence/tdx/hardware_report.h"
#include "evidence/tdx/policy.h"
#include "evidence/tdx/tcb.h"
#include "evidence/tdx/test_world.h"

namespace cairn::tdx {
namespace {

using testing::Made;
using testing::World;

std::string outcome(const World& w) { return w.make().outcome(); }
// The outcome after `change` was made to an otherwise sound world.
template <class F>
std::string with(F change) {
  World w;
  change(w);
  return outcome(w);
}
template <class F>
std::string with_made(F change) {
  Made m = World().make();
  change(m);
  return m.outcome();
}
std::vector<std::string> rules(const Verdict& v, const Policy& p) {
  std::vector<std::string> out;
  for (const Finding& f : appraise(v, p, testing::kNow)) out.push_back(f.rule);
  return out;
}
Policy lenient() {
  Policy p;
  p.allow_simulated = true;
  return p;
}

TEST(Checklist, SoundEvidenceIsUpToDate) {
  const Verdict v = World().make().verify();
  EXPECT_EQ(v.outcome(), "UpToDate") << v.detail;
  EXPECT_TRUE(v.simulated);
  EXPECT_EQ(v.root_name, "test");
  EXPECT_EQ(rules(v, lenient()), std::vector<std::string>{});
  EXPECT_EQ(rules(v, {}), std::vector<std::string>{"simulated"});
}

TEST(Checklist, Item01_QuotingEnclaveIsIdentified) {
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.mr_signer.fill(1); }), "QeIdentityMismatch");
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.isv_prod_id = 3; }), "QeIdentityMismatch");
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.attributes[0] |= 2; }), "QeIdentityMismatch");
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.misc_select[3] = 1; }), "QeIdentityMismatch");
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.attributes[9] = 0x77; }), "UpToDate");  // outside the mask
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.isv_svn = 6; }), "OutOfDate");
  EXPECT_EQ(with([](World& w) { w.quote.qe_report.isv_svn = 5; }), "TcbNotSupported");
  EXPECT_EQ(
      with_made([](Made& m) { m.collateral.qe_identity.replace(m.collateral.qe_identity.find("AAAA"), 4, "AAAB"); }),
      "QeIdentitySignature");
}

TEST(Checklist, Item02_TdxModuleIsIdentified) {
  EXPECT_EQ(with([](World& w) { w.td().mr_signer_seam[0] = 1; }), "TdxModuleMismatch");
  EXPECT_EQ(with([](World& w) { w.td().seam_attributes[0] = 1; }), "TdxModuleMismatch");
  EXPECT_EQ(with([](World& w) { w.td().tee_tcb_svn[0] = 3; }), "OutOfDate");
  EXPECT_EQ(with([](World& w) { w.td().tee_tcb_svn[0] = 2; }), "Revoked");
  EXPECT_EQ(with([](World& w) { w.td().tee_tcb_svn[0] = 1; }), "TcbNotSupported");
  EXPECT_EQ(with([](World& w) { w.tcb_info.erase("tdxModule"), w.td().tee_tcb_svn = {5, 0, 7}; }), "TdxModuleMismatch");
}

TEST(Checklist, Item03_ModuleComponentsAreSkippedFromVersionOneOn) {
  // The level wants TDX components 5 and 1; module version 2 has SVN 0 and its own identity.
  World w;
  w.td().tee_tcb_svn = {0, 2, 7};
  Json second = w.tcb_info["tdxModuleIdentities"][0];
  second["id"] = "TDX_02";
  second["tcbLevels"] = Json::array({World::svn_level(0, "UpToDate", "2026-03-01T00:00:00Z")});
  w.tcb_info["tdxModuleIdentities"].push_back(second);
  EXPECT_EQ(outcome(w), "UpToDate");
  // Version 0 is compared in all sixteen: component 1 is below the levels' 1.
  EXPECT_EQ(with([](World& v) { v.td().tee_tcb_svn = {5, 0, 7}; }), "TcbNotSupported");
}

TEST(Checklist, Item04_ModuleVersionIsTheSecondByteAndIdsIgnoreCase) {
  for (const char* id : {"TDX_0A", "TDX_0a", "tdx_0A"}) {
    World w;
    w.td().tee_tcb_svn = {5, 10, 7};
    w.tcb_info["tdxModuleIdentities"][0]["id"] = id;
    EXPECT_EQ(outcome(w), "UpToDate") << id;
    w.pck.components[0] = 8;  // the platform's status is not dropped for the module's
    EXPECT_EQ(outcome(w), "SWHardeningNeeded") << id;
  }
  EXPECT_EQ(with([](World& w) { w.td().tee_tcb_svn = {1, 5, 7}; }), "TdxModuleMismatch");
}

TEST(Checklist, Item05_StatusesConvergeAsIntelSays) {
  EXPECT_EQ(with([](World& w) { w.pck.components[0] = 7, w.quote.qe_report.isv_svn = 6; }),
            "OutOfDateConfigurationNeeded");
  EXPECT_EQ(with([](World& w) { w.pck.components[0] = 8, w.quote.qe_report.isv_svn = 6; }), "OutOfDate");
  EXPECT_EQ(with([](World& w) { w.pck.components[0] = 7, w.td().tee_tcb_svn[0] = 3; }), "OutOfDateConfigurationNeeded");
  EXPECT_EQ(with([](World& w) { w.td().tee_tcb_svn[0] = 2, w.quote.qe_report.isv_svn = 6; }), "Revoked");
}

TEST(Checklist, Item06_VendorIsChecked) {
  EXPECT_EQ(with([](World& w) { w.quote.header.vendor_id[0] ^= 1; }), "UnsupportedQuote");
}

TEST(Checklist, Item07_RevocationListsAreCheckedBeforeUse) {
  EXPECT_EQ(with([](World& w) { w.pck_crl.issuer = World::intel("Intel SGX PCK Processor CA"); }), "CrlIssuer");
  EXPECT_EQ(with([](World& w) { w.root_crl.issuer = World::intel("Another Root"); }), "CrlIssuer");
  EXPECT_EQ(with([](World& w) { w.pck_crl.next_update = testing::kNow.plus(-1); }), "CrlExpired");
  EXPECT_EQ(with([](World& w) { w.pck_crl.next_update = testing::kNow; }), "UpToDate");
  EXPECT_EQ(with([](World& w) { w.root_crl.this_update = testing::kNow.plus(1); }), "CrlExpired");
  EXPECT_EQ(with_made([](Made& m) { m.collateral.pck_crl.back() ^= 1; }), "CrlSignature");
  EXPECT_EQ(with_made([](Made& m) { m.collateral.root_crl.back() ^= 1; }), "CrlSignature");
  EXPECT_EQ(with_made([](Made& m) { m.collateral.pck_crl = m.collateral.root_crl; }), "CrlIssuer");
  EXPECT_EQ(with_made([](Made& m) { m.collateral.pck_crl.clear(); }), "CrlExtensions");
  EXPECT_EQ(with([](World& w) { w.pck_crl.revoked = {{{3}, testing::kNow, 1}}; }), "PckRevoked");
  EXPECT_EQ(with([](World& w) { w.pck_crl.revoked = {{{3}, testing::kNow, 8}}; }), "PckRevoked");  // removeFromCRL
  EXPECT_EQ(with([](World& w) { w.root_crl.revoked = {{{2}, testing::kNow, 1}}; }), "IntermediateRevoked");
  EXPECT_EQ(with([](World& w) { w.root_crl.revoked = {{{4}, testing::kNow, -1}}; }), "TcbSigningRevoked");
  EXPECT_EQ(with([](World& w) { w.pck_crl.revoked = {{{2}, testing::kNow, 1}, {{3, 3}, testing::kNow, 1}}; }),
            "UpToDate");
}

TEST(Checklist, Item08_OnlyTheTcbSignerSignsCollateral) {
  World w;
  w.tcb_info_key = &World::keys().pck;
  Made m = w.make();
  EXPECT_EQ(m.outcome(), "TcbInfoSignature");
  const std::string chain(as_text(parse_quote(m.quote)->quote.cert.data));
  const std::size_t second = chain.find("-----BEGIN", 1), third = chain.find("-----BEGIN", second + 1);
  m.collateral.tcb_signing_chain = chain.substr(0, second) + chain.substr(third);  // PCK certificate, root
  EXPECT_EQ(m.outcome(), "CertName");
  m.collateral.tcb_signing_chain = m.collateral.pck_crl_issuer_chain;
  EXPECT_EQ(m.outcome(), "CertName");
  EXPECT_EQ(with([](World& v) { v.tcb_cert.subject = World::intel("Intel SGX PCK Certificate"); }), "CertName");
}

TEST(Checklist, Item09_CaFlagKeyUsageAndPathLength) {
  EXPECT_EQ(with([](World& w) { w.ca_cert.ca = false; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.ca_cert.key_usage = crypto::kCrlSign; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.ca_cert.key_usage = crypto::kKeyCertSign; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.pck_cert.ca = true; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.pck_cert.key_usage = crypto::kNonRepudiation; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.tcb_cert.ca = true; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.root_cert.path_length = 0; }), "CertConstraint");
  EXPECT_EQ(with([](World& w) { w.ca_cert.path_length = std::nullopt; }), "UpToDate");
  EXPECT_EQ(with([](World& w) { w.pck_cert.crl_url.clear(); }), "CertExtensions");
  EXPECT_EQ(with([](World& w) { w.pck_cert.subject_key_id = false; }), "CertExtensions");
  EXPECT_EQ(with([](World& w) { w.tcb_cert.authority_key_id = false; }), "CertExtensions");
  EXPECT_EQ(with([](World& w) { w.ca_cert.extra = {{.oid = "1.2.3.4", .critical = true, .value = {5, 0}}}; }),
            "CertExtensions");
  EXPECT_EQ(with([](World& w) { w.ca_cert.extra = {{.oid = "1.2.3.4", .critical = false, .value = {5, 0}}}; }),
            "UpToDate");
}

TEST(Checklist, Item10_PceidTypeAndVersionAreCompared) {
  EXPECT_EQ(with([](World& w) { w.tcb_info["pceId"] = "0001"; }), "PceidMismatch");
  EXPECT_EQ(with([](World& w) { w.tcb_info["tcbType"] = 1; }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["version"] = 4; }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["version"] = 2; }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.qe_identity["version"] = 3; }), "QeIdentityFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["fmspc"] = "C0AA01000000"; }), "UpToDate");
  EXPECT_EQ(with([](World& w) { w.tcb_info["fmspc"] = "c0aa01000001"; }), "FmspcMismatch");
}

TEST(Checklist, Item11_CollateralOfTheOtherTee) {
  EXPECT_EQ(with([](World& w) { w.tcb_info["id"] = "SGX"; }), "TcbInfoId");
  EXPECT_EQ(with([](World& w) { w.qe_identity["id"] = "QE"; }), "QeIdentityId");
  EXPECT_EQ(with([](World& w) { w.qe_identity["id"] = "QVE"; }), "QeIdentityId");
  EXPECT_EQ(with([](World& w) { w.qe_identity["id"] = "XX"; }), "QeIdentityFormat");
  World w;
  w.quote.header.tee_type = TeeType::sgx;
  w.quote.body = sgx::Report{};
  EXPECT_EQ(outcome(w), "TcbInfoId");
  w.tcb_info["id"] = "SGX";
  EXPECT_EQ(outcome(w), "QeIdentityId");
  w.qe_identity["id"] = "QE";
  EXPECT_EQ(outcome(w), "UpToDate");
  w.quote.header.version = 3;
  EXPECT_EQ(outcome(w), "UpToDate");
}

TEST(Checklist, Item12_DebugIsThePolicysToRefuse) {
  World w;
  w.td().td_attributes |= td_attribute::kDebug;
  EXPECT_EQ(rules(w.make().verify(), lenient()), std::vector<std::string>{"debug"});
  w.td().td_attributes = 0;
  EXPECT_EQ(rules(w.make().verify(), lenient()), std::vector<std::string>{"sept_ve_disable"});
  sgx::Report enclave;
  enclave.attributes[0] = 2;
  w.quote.header.tee_type = TeeType::sgx;
  w.quote.body = enclave;
  w.tcb_info["id"] = "SGX";
  w.qe_identity["id"] = "QE";
  EXPECT_EQ(rules(w.make().verify(), lenient()), std::vector<std::string>{"debug"});
}

TEST(Checklist, Item13_ReportDataIsComparedWhole) {
  World w;
  w.quote.qe_report.report_data[63] = 1;  // bind writes the first half
  EXPECT_EQ(outcome(w), "QeReportData");
  w.quote.qe_report.report_data = {};
  w.bind = false;
  EXPECT_EQ(outcome(w), "QeReportData");
  EXPECT_EQ(with([](World& v) { v.quote.qe_auth_data.clear(); }), "UpToDate");
  EXPECT_EQ(with([](World& v) { v.quote.qe_auth_data.assign(1000, 7); }), "UpToDate");
}

TEST(Checklist, Item14_SignaturesCoverTheBytesReceived) {
  World w;
  w.tcb_info["unknown"] = {{"a", 1.5e3}, {"b", {nullptr, true, "\u00e9\n"}}};
  w.tcb_info_text = w.tcb_info.dump(3);  // other white space and order than anything would write again
  EXPECT_EQ(outcome(w), "UpToDate");
  Made m = w.make();
  m.collateral.tcb_info.replace(m.collateral.tcb_info.find("   "), 3, "  ");
  EXPECT_EQ(m.outcome(), "TcbInfoSignature");
  const std::string body = World().make().collateral.tcb_info;
  const std::size_t comma = body.rfind(",\"signature\"");
  EXPECT_EQ(with_made([&](Made& n) {
              n.collateral.tcb_info =
                  "{" + body.substr(comma + 1, body.size() - comma - 2) + "," + body.substr(1, comma - 1) + "}";
            }),
            "UpToDate");
}

TEST(Checklist, Item15_VerifiedBytesAreTheParsedBytes) {
  const World w;
  const Made good = w.make();
  Json forged = w.tcb_info;
  forged["tcbLevels"][3]["tcbStatus"] = "UpToDate";
  const std::string& body = good.collateral.tcb_info;
  const std::string second = "\"tcbInfo\":" + forged.dump() + ",";
  const auto outcome_of = [&](const std::string& text) {
    Made m = good;
    m.collateral.tcb_info = text;
    return m.outcome();
  };
  EXPECT_EQ(outcome_of("{" + second + body.substr(1)), "TcbInfoFormat");
  EXPECT_EQ(outcome_of(body.substr(0, body.size() - 1) + "," + second.substr(0, second.size() - 1) + "}"),
            "TcbInfoFormat");
  EXPECT_EQ(outcome_of("{\"x\":\"\\\"tcbInfo\\\":{}\"," + body.substr(1)), "UpToDate");  // text inside a string
  EXPECT_EQ(outcome_of("{\"x\":{" + second.substr(0, second.size() - 1) + "}," + body.substr(1)),
            "UpToDate");  // nested
  EXPECT_EQ(outcome_of(body + " x"), "TcbInfoFormat");
  EXPECT_EQ(with([](World& v) {
              v.tcb_info_text = v.tcb_info.dump();
              v.tcb_info_text->insert(1, "\"pceId\":\"0000\",");
            }),
            "TcbInfoFormat");
}

TEST(Checklist, Item16_OrderOfLevelsDoesNotMatter) {
  World w;
  std::ranges::reverse(w.tcb_info["tcbLevels"].get_ref<Json::array_t&>());
  std::ranges::reverse(w.tcb_info["tdxModuleIdentities"][0]["tcbLevels"].get_ref<Json::array_t&>());
  std::ranges::reverse(w.qe_identity["tcbLevels"].get_ref<Json::array_t&>());
  EXPECT_EQ(outcome(w), "UpToDate");
  w.tcb_info["tcbLevels"].push_back(w.tcb_info["tcbLevels"][0]);
  EXPECT_EQ(outcome(w), "TcbInfoFormat");
}

TEST(Checklist, Item17_ComponentsAreSixteenAndOfEightBits) {
  const auto components = [](auto change) {
    return with([&](World& w) { change(w.tcb_info["tcbLevels"][0]["tcb"]["sgxtcbcomponents"]); });
  };
  EXPECT_EQ(components([](Json& c) { c.erase(15); }), "TcbInfoFormat");
  EXPECT_EQ(components([](Json& c) { c.push_back({{"svn", 0}}); }), "TcbInfoFormat");
  EXPECT_EQ(components([](Json& c) { c[5]["svn"] = 256; }), "TcbInfoFormat");
  EXPECT_EQ(components([](Json& c) { c[5]["svn"] = 255; }), "SWHardeningNeeded");
  EXPECT_EQ(components([](Json& c) { c[5]["svn"] = -1; }), "TcbInfoFormat");
  EXPECT_EQ(components([](Json& c) { c[5]["svn"] = 0.0; }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["tcbLevels"][0]["tcb"]["pcesvn"] = 65536; }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["tcbLevels"][0]["tcb"].erase("tdxtcbcomponents"); }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["tcbLevels"][0]["tcbStatus"] = "uptodate"; }), "TcbInfoFormat");
  EXPECT_EQ(with([](World& w) { w.tcb_info["tcbLevels"] = Json::array(); }), "TcbInfoFormat");
}

// Every prefix of a quote, and every 32-bit length in it made huge, is a clean refusal.
TEST(Checklist, Item18_MalformedLengthsAreRefused) {
  const Made m = World().make();
  for (std::size_t n = 0; n < m.quote.size(); n += n < 1200 ? 1 : 37)
    EXPECT_FALSE(parse_quote(ByteView(m.quote).first(n))) << n;
  for (const std::size_t at : {632U, 636U + 130U, 636U + 134U + 384U + 64U, 636U + 134U + 384U + 64U + 2U + 32U + 2U}) {
    Bytes changed = m.quote;
    changed[at] = changed[at + 1] = 0xff;
    EXPECT_FALSE(parse_quote(changed)) << at;
  }
  Bytes large = m.quote;
  large.resize(kMaxQuoteSize);
  EXPECT_TRUE(parse_quote(large));
  large.resize(kMaxQuoteSize + 1);
  EXPECT_FALSE(parse_quote(large));
}

TEST(Checklist, Item19_NestingIsBounded) {
  const auto nested = [](std::size_t depth) {  // inside tcbInfo, itself at depth 2
    return with([&](World& w) {
      w.tcb_info_text = w.tcb_info.dump();
      w.tcb_info_text->insert(1, "\"x\":" + std::string(depth, '[') + std::string(depth, ']') + ",");
    });
  };
  EXPECT_EQ(nested(14), "UpToDate");
  EXPECT_EQ(nested(15), "TcbInfoFormat");
  EXPECT_EQ(nested(200000), "TcbInfoFormat");
}

TEST(Checklist, Item20_ChainsAreExact) {
  const Made good = World().make();
  const std::string chain(as_text(parse_quote(good.quote)->quote.cert.data));
  const std::size_t second = chain.find("-----BEGIN", 1), third = chain.find("-----BEGIN", second + 1);
  const std::string leaf = chain.substr(0, second), ca = chain.substr(second, third - second),
                    root = chain.substr(third);
  const auto chain_of = [&](std::string text) { return with([&](World& w) { w.quote.cert.data = to_bytes(text); }); };
  // The chain is made anew per world, so only its shape can be told apart; a whole foreign chain stays sound.
  EXPECT_EQ(chain_of(leaf + ca + root), "UpToDate");
  EXPECT_EQ(chain_of(leaf + ca + root + std::string(1, '\0')), "UpToDate");
  EXPECT_EQ(chain_of("\r\n" + leaf + "\n" + ca + root), "UpToDate");
  for (const std::string& bad : {leaf + ca, leaf + root, leaf + ca + root + root, ca + leaf + root, root + ca + leaf,
                                 leaf + "x" + ca + root, leaf + ca + root.substr(0, 100), std::string("x")})
    EXPECT_EQ(chain_of(bad), "ChainFormat") << bad.substr(0, 40);
  EXPECT_EQ(with_made([](Made& m) { m.collateral.tcb_signing_chain += m.collateral.tcb_signing_chain; }),
            "ChainFormat");
  EXPECT_EQ(with_made([](Made& m) { m.collateral.qe_signing_chain.clear(); }), "ChainFormat");
  EXPECT_EQ(with_made([](Made& m) { m.collateral.pck_crl_issuer_chain.clear(); }), "ChainFormat");
}

TEST(Checklist, Item21_InnerBlocksAreConsumedExactly) {
  const Made m = World().make();
  const auto changed = [&](std::size_t at, std::uint8_t value) {
    Bytes b = m.quote;
    b[at] = value;
    return parse_quote(b).has_value();
  };
  const std::size_t outer = 636 + 128, inner = outer + 6 + 384 + 64 + 2 + 32;
  ASSERT_EQ(m.quote[outer], 6);
  ASSERT_EQ(m.quote[inner], 5);
  EXPECT_FALSE(changed(outer, 5));
  EXPECT_FALSE(changed(inner, 6));
  EXPECT_FALSE(changed(inner, 7));
  EXPECT_FALSE(changed(inner, 0));
  EXPECT_FALSE(changed(inner + 2, static_cast<std::uint8_t>(m.quote[inner + 2] - 1)));
}

TEST(Checklist, Item22_InvalidPointsAndNumbers) {
  EXPECT_EQ(with([](World& w) { w.quote.attestation_key.fill(1); }), "AttestationKey");
  EXPECT_EQ(with([](World& w) { w.quote.attestation_key.fill(0xff); }), "AttestationKey");
  EXPECT_EQ(with_made([](Made& m) { std::fill_n(m.quote.begin() + 636, 64, 0); }), "QuoteSignature");
  EXPECT_EQ(with_made([](Made& m) { std::fill_n(m.quote.begin() + 636 + 32, 32, 0xff); }), "QuoteSignature");
  EXPECT_EQ(with_made([](Made& m) { m.quote[636] ^= 1; }), "QuoteSignature");
  EXPECT_EQ(with_made([](Made& m) { m.quote[200] ^= 1; }), "QuoteSignature");
  EXPECT_EQ(with([](World& w) { w.quote_key = &World::keys().other; }), "QuoteSignature");
  EXPECT_EQ(with([](World& w) { w.qe_report_key = &World::keys().other; }), "QeReportSignature");
}

TEST(Checklist, Item23_RevocationListsWithForeignExtensionsAreRefusedUnread) {
  static_assert(OPENSSL_VERSION_NUMBER >= 0x30500000L);
  const Bytes good = World().make().collateral.pck_crl;
  ASSERT_TRUE(pki::parse_crl(good));
  // The OID of crlNumber becomes that of the issuing distribution point, which would make it an indirect CRL.
  Bytes changed = good;
  const std::array<std::uint8_t, 5> number = {0x06, 0x03, 0x55, 0x1d, 0x14};
  const auto at = std::ranges::search(changed, number);
  ASSERT_FALSE(at.empty());
  at[4] = 0x1c;
  EXPECT_EQ(with_made([&](Made& m) { m.collateral.pck_crl = changed; }), "CrlExtensions");
}

TEST(Checklist, Item24_OldCollateralIsRefused) {
  EXPECT_EQ(with([](World& w) { w.tcb_info["nextUpdate"] = "2026-06-14T23:59:59Z"; }), "TcbInfoExpired");
  EXPECT_EQ(with([](World& w) { w.tcb_info["nextUpdate"] = "2026-06-15T00:00:00Z"; }), "UpToDate");
  EXPECT_EQ(with([](World& w) { w.tcb_info["issueDate"] = "2026-06-15T00:00:01Z"; }), "TcbInfoNotYetValid");
  EXPECT_EQ(with([](World& w) { w.qe_identity["nextUpdate"] = "2026-06-14T23:59:59Z"; }), "QeIdentityExpired");
  EXPECT_EQ(with([](World& w) { w.qe_identity["issueDate"] = "2026-06-15T00:00:01Z"; }), "QeIdentityNotYetValid");
  EXPECT_EQ(with_made([](Made& m) { m.options.min_tcb_eval_num = 21; }), "UpToDate");
  EXPECT_EQ(with_made([](Made& m) { m.options.min_tcb_eval_num = 22; }), "CollateralReplayed");
}

TEST(Checklist, Item25_TimeIsAnArgumentAndMustBePlausible) {
  EXPECT_EQ(with_made([](Made& m) { m.options.time = {0}; }), "InvalidTime");
  EXPECT_EQ(with_made([](Made& m) { m.options.time = from_civil(2018, 5, 20, 0, 0, 0); }), "InvalidTime");
}

TEST(Checklist, Item26_StatusIsNotABoolean) {
  World w;
  w.pck.components[0] = 7;
  const Verdict v = w.make().verify();
  EXPECT_TRUE(v.authentic());
  EXPECT_EQ(v.tcb->status, TcbStatus::configuration_needed);
  EXPECT_EQ(rules(v, lenient()), (std::vector<std::string>{"tcb_status", "tcb_status_current"}));
  Policy p = lenient();
  p.accepted_statuses.insert(TcbStatus::configuration_needed);
  EXPECT_EQ(rules(v, p), std::vector<std::string>{});
  p.accepted_advisories.emplace();
  EXPECT_EQ(rules(v, p), std::vector<std::string>{"advisory"});
}

TEST(Checklist, Item27_ReportDataIsBound) {
  const Verdict v = World().make().verify();
  Policy p = lenient();
  p.report_data.emplace().fill(0x44);
  EXPECT_EQ(rules(v, p), std::vector<std::string>{});
  p.report_data->back() = 0;
  EXPECT_EQ(rules(v, p), std::vector<std::string>{"report_data"});
}

TEST(Checklist, Item28_TheRootInsideTheQuoteIsNotTrusted) {
  World w;
  w.root_key = w.ca_issuer = w.tcb_issuer = &World::keys().other;
  Made other = w.make();
  EXPECT_EQ(other.outcome(), "UpToDate");  // sound under its own root
  const Made good = World().make();
  Made mixed = good;
  mixed.quote = other.quote;
  EXPECT_EQ(mixed.outcome(), "Untrusted");
  other.roots = good.roots;
  EXPECT_EQ(other.outcome(), "CrlSignature");
  other.collateral.root_crl = good.collateral.root_crl;
  EXPECT_EQ(other.outcome(), "Untrusted");
  other.roots = {intel_root()};
  EXPECT_FALSE(other.verify().authentic());
  other.roots.clear();
  EXPECT_EQ(other.outcome(), "Untrusted");
}

TEST(Checklist, Item29_ExceptionsAreDatedPolicyNotEditedCollateral) {
  World w;
  w.pck.components[0] = 5;
  const Verdict v = w.make().verify();
  Policy p = lenient();
  p.exceptions = {
      {.fmspc = from_hex("c0aa01000000").value(), .status = TcbStatus::out_of_date, .until = testing::kNow}};
  EXPECT_EQ(appraise(v, p, testing::kNow).size(), 0U);
  EXPECT_EQ(appraise(v, p, testing::kNow.plus(1)).size(), 2U);
  p.exceptions[0].fmspc[5] = 1;
  EXPECT_EQ(appraise(v, p, testing::kNow).size(), 2U);
}

TEST(Checklist, Item30_AttributeBitsByListNotByIgnorance) {
  World w;
  const auto found = [&](std::uint64_t bits, const Policy& p) {
    w.td().td_attributes = td_attribute::kSeptVeDisable | bits;
    return rules(w.make().verify(), p);
  };
  EXPECT_EQ(found(1ULL << 27, lenient()), std::vector<std::string>{});  // a newer bit that only protects
  EXPECT_EQ(found(1ULL << 2, lenient()), std::vector<std::string>{"under_debug"});
  EXPECT_EQ(found(1ULL << 29, lenient()), std::vector<std::string>{"migratable"});
  EXPECT_EQ(found(1ULL << 63, lenient()), std::vector<std::string>{"perfmon"});
  Policy p = lenient();
  p.td_attributes_reserved = 1ULL << 27;
  EXPECT_EQ(found(1ULL << 27, p), std::vector<std::string>{"td_attributes_reserved"});
  w.td().xfam = 0x602e6;
  EXPECT_EQ(found(0, lenient()), std::vector<std::string>{"xfam_fixed"});
}

// verify() is the one way in: no part of a verdict exists without every signature below it.
TEST(Checklist, Item31_OneEntryPointAndNoFactsFromAFailedQuote) {
  World w;
  w.quote_key = &World::keys().other;
  const Verdict v = w.make().verify();
  EXPECT_EQ(v.failure, Failure::quote_signature);
  EXPECT_FALSE(v.quote || v.tcb || v.current || v.launch || v.platform || v.qe || v.module);
  EXPECT_TRUE(v.collateral);
  EXPECT_FALSE(v.result());
  EXPECT_EQ(v.result().error().where, "tdx.QuoteSignature");
}

// Event texts are evidence/eventlog's (authenticated_text); of a quote only the registers are given.
TEST(Checklist, Item32_RegistersAreWhatTheQuoteProves) {
  const Verdict v = World().make().verify();
  Policy p = lenient();
  for (std::size_t i = 0; i < 4; ++i) p.rtmr[i] = {v.quote->td()->rtmr[i]};
  p.mr_td = {Register{}, v.quote->td()->mr_td};
  EXPECT_EQ(rules(v, p), std::vector<std::string>{});
  p.rtmr[3] = {Register{}};
  p.mr_td = {Register{}};
  EXPECT_EQ(rules(v, p), (std::vector<std::string>{"mr_td", "rtmr_3"}));
}

TEST(Checklist, Item33_BytesAfterTheQuoteAreNoPartOfIt) {
  Made m = World().make();
  const std::size_t size = m.quote.size();
  m.quote.resize(size + 70, 0xcc);
  const Verdict v = m.verify();
  EXPECT_EQ(v.outcome(), "UpToDate");
  EXPECT_EQ(v.quote_size, size);
  EXPECT_EQ(parse_quote(m.quote)->bytes.size(), size);
}

// No URL of a certificate is ever read: verification is a function of its arguments (tests/lint proves no I/O).
TEST(Checklist, Item34_DistributionPointsAreNotFollowed) {
  EXPECT_EQ(with([](World& w) { w.pck_cert.crl_url = "http://169.254.169.254/latest"; }), "UpToDate");
}

}  // namespace
}  // namespace cairn::tdx
