// The pitfalls of nvidia-gpu §8, each by its number. 21, 30 and 34 are the collector's (device/nvml_test; 30 the
// agent's too, guest/aa/gpu_ready_test), 22 and 23 are of tokens (nras_test); the rest is here.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/encoding.h"
#include "base/file.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "evidence/nvidia/claims.h"
#include "evidence/nvidia/xml.h"

namespace cairn::nvidia {
namespace {

using device::GpuMachine;
using device::GpuScenario;
using device::GpuSimulator;

constexpr Time kAt{1795305600};  // 2026-11-22
const Nonce kNonce = [] {
  Nonce out{};
  out.fill(0x11);
  return out;
}();

// A simulated machine whose evidence and documents a test may change before they are judged.
struct Case {
  explicit Case(const GpuMachine& machine = {})
      : simulator(GpuSimulator::make(machine, kAt).value()),
        evidence(simulator.evidence(kNonce).value()),
        collateral(simulator.collateral(kAt).value()) {
    policy.allow_simulated = true;
  }
  explicit Case(GpuScenario scenario) : Case(GpuMachine{.scenario = scenario}) {}

  [[nodiscard]] Verdict verdict() const {
    return Verifier(simulator.roots()).verify(evidence, collateral, {.time = kAt, .nonce = kNonce}, policy);
  }
  [[nodiscard]] std::set<Failure> failures() const {
    const Verdict v = verdict();
    std::set<Failure> out;
    for (const auto& d : v.devices)
      for (const auto& f : d.findings) out.insert(f.failure);
    for (const auto& f : v.findings) out.insert(f.failure);
    EXPECT_EQ(out.empty(), v.affirming());
    return out;
  }
  [[nodiscard]] Failure only() const {
    const auto all = failures();
    return all.size() == 1 ? *all.begin() : Failure::none;
  }
  // The VBIOS manifest as text, to be changed.
  [[nodiscard]] std::string vbios() const { return std::string(as_text(collateral.rims.at(id))); }
  void set_vbios(const std::string& text) { collateral.rims[id] = to_bytes(text); }
  void in_vbios(std::string_view what, std::string_view with) {
    std::string text = vbios();
    const std::size_t at = text.find(what);
    ASSERT_NE(at, std::string::npos) << what;
    set_vbios(text.replace(at, what.size(), with));
  }

  GpuSimulator simulator;
  Evidence evidence;
  Collateral collateral;
  Policy policy;
  std::string id = "NV_GPU_VBIOS_1010_0200_882_96009F0001";
};

Failure only(GpuScenario scenario) { return Case(scenario).only(); }

TEST(Checklist, Item00_TheUnchangedCaseIsAffirmed) { EXPECT_TRUE(Case().failures().empty()); }

TEST(Checklist, Item01_KeySubstitution) {
  EXPECT_EQ(only(GpuScenario::rim_forged), Failure::rim_signature);
  // A key in KeyInfo is not looked for; its presence alone is refused.
  Case c;
  c.in_vbios("<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyValue/>");
  EXPECT_EQ(c.only(), Failure::rim_format);
  const std::filesystem::path file = std::filesystem::path(CAIRN_SHARED_DATA) /
                                     "nvidia/synthetic-negative/rim-forged-rsa-keyvalue-with-genuine-x509data.xml";
  const Result<Bytes> forged = read_file(file);
  if (!forged) GTEST_SKIP() << "shared data not present";
  EXPECT_EQ(verify_rim(*forged, nvidia_roots().rim).error().failure, Failure::rim_format);
}

TEST(Checklist, Item02_OnlyDirectChildrenAreRead) {
  for (const char* hidden :
       {"<ns0:Payload/>", "<ns0:Meta colloquialVersion=\"1\" edition=\"GPU\" product=\"GH100\"/>"}) {
    Case c;
    c.in_vbios("</ds:KeyInfo>", std::string("</ds:KeyInfo><ds:Object>") + hidden + "</ds:Object>");
    EXPECT_EQ(c.only(), Failure::rim_format) << hidden;
  }
  EXPECT_EQ(only(GpuScenario::rim_two_metas), Failure::rim_format);
}

TEST(Checklist, Item03_OneSignatureOfTheOneForm) {
  const std::string transform = "<ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/>";
  for (const auto& [what, with] : std::initializer_list<std::pair<std::string, std::string>>{
           {"<ds:Reference URI=\"\">", "<ds:Reference URI=\"#x\">"},
           {transform, "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"/>"},
           {transform, transform + "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"/>"},
           {"<ds:Transforms>", "<ds:Transforms><ds:Transform Algorithm=\"x\"/>"},
           {"</ds:SignedInfo>", "<ds:Reference URI=\"\"/></ds:SignedInfo>"},
           {"xmldsig-more#ecdsa-sha384", "xmldsig-more#rsa-sha384"},
           {"xmldsig-more#sha384", "xmlenc#sha256"},
           {"</ns0:Payload>", "</ns0:Payload><ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>"}}) {
    Case c;
    c.in_vbios(what, with);
    EXPECT_EQ(c.only(), Failure::rim_format) << with;
  }
  Case moved;  // the signature itself, below another element
  moved.in_vbios("<ds:Signature ", "<x><ds:Signature ");
  moved.in_vbios("</ds:Signature>", "</ds:Signature></x>");
  EXPECT_EQ(moved.only(), Failure::rim_format);
}

TEST(Checklist, Item04_RootsOfTheDocumentAndOfDebuggingAreNotTrusted) {
  EXPECT_EQ(only(GpuScenario::rim_debug_root), Failure::rim_untrusted);
}

TEST(Checklist, Item05_AnEmptyGoldenSetDoesNotPass) {
  EXPECT_EQ(only(GpuScenario::rim_empty), Failure::rim_empty);
  // Elements are found by namespace, whatever the prefix; in no namespace they are not found.
  Case c;
  std::string text = c.vbios();
  for (std::size_t at; (at = text.find("ns0:Resource")) != std::string::npos;) text.replace(at, 4, "");
  c.set_vbios(text);
  EXPECT_EQ(c.only(), Failure::rim_signature) << "the default namespace is the same: read, and not what was signed";
}

TEST(Checklist, Item06_ManifestIndexIsBlockLessOne) {
  Case c;
  const Report report = parse_report(c.evidence.devices[0].report).value();
  const Rim rim = parse_rim(c.collateral.rims.at(c.id)).value();
  for (const Golden& g : rim.golden) EXPECT_TRUE(std::ranges::contains(g.alternatives, report.measurements[g.index]));
  Facts facts = read_facts(report, Kind::gpu).value();
  Report shifted = report;
  std::ranges::rotate(shifted.measurements, shifted.measurements.begin() + 1);
  EXPECT_FALSE(compare(shifted, facts, RimSource::firmware, rim.golden, {}, {}).mismatches.empty());
  shifted.measurements.resize(12);  // golden index 12 has no block: a mismatch without a value
  const auto cut = compare(shifted, facts, RimSource::firmware, {rim.golden.back()}, {}, {});
  ASSERT_EQ(cut.mismatches.size(), 1U);
  EXPECT_FALSE(cut.mismatches[0].runtime);
}

TEST(Checklist, Item07_AManifestIsKnownByItsContent) {
  Case c;
  Verifier verifier(c.simulator.roots());
  const Options options{.time = kAt, .nonce = kNonce};
  EXPECT_TRUE(verifier.verify(c.evidence, c.collateral, options, c.policy).affirming());
  c.collateral.rims[c.id] = Case(GpuScenario::rim_tampered).collateral.rims.at(c.id);
  EXPECT_FALSE(verifier.verify(c.evidence, c.collateral, options, c.policy).affirming());
}

TEST(Checklist, Item08_NoEntitiesNoNetworkNoHugeDocumentsNoPaths) {
  EXPECT_EQ(only(GpuScenario::rim_doctype), Failure::rim_format);
  Case entity;
  entity.in_vbios("Cairn TEST", "&file;");
  EXPECT_EQ(entity.only(), Failure::rim_format);
  Case huge;
  huge.set_vbios(huge.vbios() + std::string(2 << 20, ' '));
  EXPECT_EQ(huge.only(), Failure::rim_format);
  for (const char* version : {"../../etc/passwd", "550/1", "550?x", "a b", "550%2e"})
    EXPECT_EQ(driver_rim_id({.driver_version = version}, true), "") << version;
}

TEST(Checklist, Item09_VersionsOfFirmwareAreComparedWithoutCase) {
  Case c;
  c.in_vbios("96.00.9F.00.01", "96.00.9f.00.01");
  EXPECT_EQ(c.only(), Failure::rim_signature) << "not RimVersion: only the signature objects";
}

TEST(Checklist, Item10_TheSignatureIsFoundByParsing) {
  for (std::size_t extra : {1U, 15U}) {
    Case c;
    c.evidence.devices[0].report.resize(c.evidence.devices[0].report.size() + extra);
    EXPECT_TRUE(c.failures().empty()) << extra << " zero bytes";
  }
  Case more;
  more.evidence.devices[0].report.resize(more.evidence.devices[0].report.size() + 16);
  EXPECT_EQ(more.only(), Failure::report_format);
  EXPECT_EQ(only(GpuScenario::report_trailing), Failure::report_format);
}

TEST(Checklist, Item11_RequestHeaderAndNonceAreWhereTheyBelong) {
  for (const std::size_t at : {0U, 1U, 2U, 3U, 36U, 37U, 38U, 39U, 40U, 41U, 42U, 43U, 44U, 45U, 46U, 47U, 49U, 50U}) {
    Case c;
    c.evidence.devices[0].report[at] ^= 1;
    EXPECT_EQ(c.only(), Failure::report_format) << at;
  }
  EXPECT_EQ(only(GpuScenario::report_replay), Failure::nonce_mismatch);
  Case c;
  c.evidence.devices[0].report[4] ^= 1;  // the request's nonce is signed too
  EXPECT_EQ(c.only(), Failure::report_signature);
}

TEST(Checklist, Item12_NothingIsThereTwice) {
  EXPECT_EQ(only(GpuScenario::report_twice), Failure::report_format);
  Case c;
  c.evidence.devices[0].report[45 + 55] = 1;  // block 2 says it is block 1
  EXPECT_EQ(c.only(), Failure::report_format);
}

TEST(Checklist, Item13_FieldsOfOpaqueDataHaveTheirSizes) {
  Case c;
  Report report = parse_report(c.evidence.devices[0].report).value();
  const auto with = [&](std::uint16_t type, Bytes value) {
    Report changed = report;
    for (OpaqueField& f : changed.opaque)
      if (f.type == type) f.value = value;
    return read_facts(changed, Kind::gpu).has_value();
  };
  EXPECT_TRUE(with(opaque::kNvdec0, {0xAA}));
  EXPECT_FALSE(with(opaque::kNvdec0, {}));
  EXPECT_FALSE(with(opaque::kProtectedPcie, {}));
  EXPECT_FALSE(with(opaque::kProtectedPcie, {0x01}));
  EXPECT_FALSE(with(opaque::kFwid, Bytes(47)));
  EXPECT_TRUE(with(opaque::kDriverVersion, to_bytes("550.1"))) << "a text need not end in NUL";
  EXPECT_FALSE(with(opaque::kDriverVersion, {'5', 0, '5'}));
  EXPECT_FALSE(with(opaque::kDriverVersion, {}));
  EXPECT_FALSE(with(opaque::kDriverVersion, {0xFF}));
}

TEST(Checklist, Item14_AMissingFirmwareIdIsNoMatch) {
  EXPECT_EQ(only(GpuScenario::fwid_missing), Failure::fwid_absent);
  EXPECT_EQ(only(GpuScenario::fwid_other), Failure::fwid_mismatch);
  EXPECT_EQ(only(GpuScenario::leaf_without_fwid), Failure::fwid_absent);
  EXPECT_EQ(only(GpuScenario::leaf_other_key), Failure::device_id_mismatch);
  Case c(GpuScenario::fwid_missing);
  c.policy.allow_absent_fwid = true;
  EXPECT_EQ(c.only(), Failure::fwid_absent) << "only drivers before 550 may be without";
  Case newer({.arch = Architecture::blackwell, .driver = "575.32"});
  EXPECT_TRUE(newer.failures().empty()) << "the other form of the extension";
}

TEST(Checklist, Item15_ModeFlagsAreNotMixedUp) {
  EXPECT_EQ(only(GpuScenario::multi_tenant), Failure::multi_tenant);
  Case c({.ppcie = true});
  EXPECT_TRUE(c.verdict().ppcie);
  c.evidence.devices.resize(8);
  EXPECT_EQ(c.only(), Failure::topology_count) << "type 21 says protected PCIe, so the switches are asked for";
}

TEST(Checklist, Item16_TextsBesideTheReportAreNotBelieved) {
  Case c;
  Device& d = c.evidence.devices[0];
  d.driver_version = "1.0";
  d.firmware_version = "x";
  d.uuid = "GPU-of-another";
  const Verdict v = c.verdict();
  EXPECT_TRUE(v.affirming());
  EXPECT_EQ(gpu_claims(d, v.devices[0]).at("driver_version"), "550.144.03");
  EXPECT_EQ(only(GpuScenario::arch_claimed), Failure::arch_mismatch);
}

TEST(Checklist, Item17_OnlyIndex35OfAGpuWithoutNvdecIsSkipped) {
  Case c;
  Report report = parse_report(c.evidence.devices[0].report).value();
  Facts facts = read_facts(report, Kind::gpu).value();
  report.measurements[35][0] ^= 1;
  const std::vector<Golden> golden{{35, "", {Measurement{}}}, {34, "", {report.measurements[34]}}};
  EXPECT_EQ(compare(report, facts, RimSource::driver, golden, {}, {}).skipped, std::vector<std::uint16_t>{35});
  for (const std::optional<std::uint8_t> status : {std::optional<std::uint8_t>(0xAA), {0x00}, {}}) {
    facts.nvdec0 = status;
    EXPECT_EQ(compare(report, facts, RimSource::driver, golden, {}, {}).mismatches.size(), 1U);
  }
  facts.nvdec0 = opaque::kOff;
  facts.kind = Kind::nvswitch;
  EXPECT_EQ(compare(report, facts, RimSource::driver, golden, {}, {}).mismatches.size(), 1U);
}

TEST(Checklist, Item18_NoClaimBeforeTheSignature) {
  Case c(GpuScenario::chain_other_device);
  EXPECT_TRUE(c.failures().contains(Failure::report_signature));
  EXPECT_FALSE(device_claims(c.verdict().devices[0]).contains("ueid"));
}

TEST(Checklist, Item19_RootsAreWholeCertificates) {
  // Another key under the same name is not the root.
  Case c, other({.seed = 2});
  EXPECT_EQ(c.simulator.roots().device[0].certificate.subject(),
            other.simulator.roots().device[0].certificate.subject());
  c.evidence = other.evidence;
  EXPECT_EQ(c.only(), Failure::chain_untrusted);
}

TEST(Checklist, Item20_RevocationAnswers) {
  EXPECT_EQ(only(GpuScenario::ocsp_missing), Failure::ocsp_absent);
  EXPECT_EQ(only(GpuScenario::ocsp_stale), Failure::ocsp_stale);
  EXPECT_EQ(only(GpuScenario::ocsp_future), Failure::ocsp_stale);
  EXPECT_EQ(only(GpuScenario::ocsp_no_eku), Failure::ocsp_responder);
  EXPECT_EQ(only(GpuScenario::ocsp_other_ca), Failure::ocsp_responder);
  EXPECT_EQ(only(GpuScenario::ocsp_other), Failure::ocsp_format);
  EXPECT_EQ(only(GpuScenario::device_revoked), Failure::certificate_revoked) << "not hidden by an unknown one";
  Case c;
  for (auto& [id, answer] : c.collateral.ocsp) answer.nonce = Bytes(32, 1);
  EXPECT_EQ(c.only(), Failure::ocsp_nonce) << "an answer without nonce is none to a request with one";
  Case revoked(GpuScenario::rim_revoked);
  for (auto& [id, answer] : revoked.collateral.ocsp) answer.nonce = Bytes(32, 1);
  EXPECT_TRUE(revoked.failures().contains(Failure::certificate_revoked)) << "whatever it answers";
}

TEST(Checklist, Item24_AbsentOrPartialEvidenceIsVisible) {
  EXPECT_EQ(only(GpuScenario::no_device), Failure::no_device);
  EXPECT_FALSE(
      parse_evidence(parse_json(R"({"evidence_list":[{"attestation_report":null,"certificate":null}]})").value()));
  Case c({.gpus = 2});
  c.evidence.devices[1].report[60] ^= 1;
  const Json claims = set_claims(c.verdict());
  EXPECT_EQ(claims.at("gpu_count"), 2);
  EXPECT_EQ(claims.at("gpu_verified_count"), 1);
  EXPECT_EQ(claims.at("verified"), false);
  EXPECT_EQ(claims.at("devices").at("GPU-1").at("verified"), false);
}

TEST(Checklist, Item25_TheMeasurementClaimIsReproducible) {
  Case c;
  const Json a = gpu_claims(c.evidence.devices[0], c.verdict().devices[0]);
  c.evidence = c.simulator.evidence(kNonce).value();
  EXPECT_EQ(gpu_claims(c.evidence.devices[0], c.verdict().devices[0]).at("measurement"), a.at("measurement"));
  EXPECT_EQ(a.at("measurement").get<std::string>().size(), 96U);
}

TEST(Checklist, Item26_EachDeviceOnceAndOneMode) {
  EXPECT_EQ(only(GpuScenario::device_twice), Failure::duplicate_device);
  EXPECT_TRUE(Case(GpuScenario::driver_mixed).failures().contains(Failure::mixed_mode));
  Case c;
  c.policy.gpus = 8;
  EXPECT_EQ(c.only(), Failure::device_count);
  Case mixed({.gpus = 2});
  Case protected_machine({.ppcie = true, .seed = 1});
  mixed.evidence.devices[1] = protected_machine.evidence.devices[1];
  TrustRoots both = mixed.simulator.roots();
  for (const TrustRoot& r : protected_machine.simulator.roots().device) both.device.push_back(r);
  const Verdict v =
      Verifier(both).verify(mixed.evidence, mixed.collateral, {.time = kAt, .nonce = kNonce}, mixed.policy);
  EXPECT_TRUE(std::ranges::contains(v.findings, Failure::mixed_mode, &Finding::failure));
}

TEST(Checklist, Item27_28_MeasurementsAreComparedWithSignedManifests) {
  EXPECT_EQ(only(GpuScenario::vbios_changed), Failure::measurement);
  EXPECT_EQ(only(GpuScenario::driver_changed), Failure::measurement);
  Case c;
  c.collateral.rims.clear();
  EXPECT_EQ(c.failures(), std::set{Failure::rim_absent});
}

TEST(Checklist, Item29_EvidenceOfAnotherQuoteAnswersAnotherNonce) {
  EXPECT_EQ(hex(nonce_of_report_data(Bytes(48, 7)).value()), hex(Bytes(32, 7)));
  Bytes padded(20, 7);
  padded.resize(32);
  EXPECT_EQ(hex(nonce_of_report_data(Bytes(20, 7)).value()), hex(padded));
  EXPECT_FALSE(nonce_of_report_data({})) << "no nonce is made up";
  Case c;
  const Nonce other = nonce_of_report_data(Bytes(64, 9)).value();
  const Verdict v =
      Verifier(c.simulator.roots()).verify(c.evidence, c.collateral, {.time = kAt, .nonce = other}, c.policy);
  EXPECT_EQ(v.devices[0].findings.at(0).failure, Failure::nonce_mismatch);
}

TEST(Checklist, Item31_NothingInEvidenceRelaxesThePolicy) {
  for (const char* member : {"allow_simulated", "require_ocsp", "gpu-ra-enable", "policy"}) {
    Json json{{"evidence_list", Json::array()}, {member, false}};
    EXPECT_EQ(parse_evidence(json).value().devices.size(), 0U);
  }
  EXPECT_FALSE(parse_policy(parse_json(R"({"gpu-ra-enable":false})").value())) << "unknown settings are refused";
}

TEST(Checklist, Item32_AMismatchNamesIndexSourceAndBothValues) {
  const Verdict v = Case(GpuScenario::vbios_changed).verdict();
  const Json record = device_claims(v.devices[0]).at("x-nvidia-mismatch-measurement-records").at(0);
  EXPECT_EQ(record.at("index"), 9);
  EXPECT_EQ(record.at("measurementSource"), "Firmware");
  EXPECT_NE(record.at("goldenValue"), record.at("runtimeValue"));
  const std::string line = errors(v.devices[0].findings).at(0);
  EXPECT_TRUE(line.contains("Firmware index 9") && line.contains(record.at("runtimeValue").get<std::string>())) << line;
}

TEST(Checklist, Item33_BoardsWithoutAManifestNeedTheAdministratorsValues) {
  EXPECT_EQ(only(GpuScenario::vbios_unknown), Failure::rim_absent);
  const auto policy =
      parse_policy(parse_json(R"({"enrolled":{"NV_X":{"9":[")" + std::string(96, 'a') + R"("]}}})").value());
  ASSERT_TRUE(policy) << policy.error().text();
  EXPECT_EQ(policy->enrolled.at("NV_X").at(0).index, 9);
  for (const char* bad : {R"({"enrolled":{"NV_X":{}}})", R"({"enrolled":{"NV_X":{"64":["aa"]}}})",
                          R"({"enrolled":{"NV_X":{"9":[]}}})", R"({"exceptions":[{"source":"Driver","index":9}]})",
                          R"({"allowed":["VOLTA"]})", R"({"ppcie":"maybe"})", R"({"ocsp_grace":-1})"})
    EXPECT_FALSE(parse_policy(parse_json(bad).value())) << bad;
}

TEST(Checklist, Item35_ExpiryOfASignerIsSaidAsSuch) {
  EXPECT_EQ(only(GpuScenario::rim_expired), Failure::rim_expired);
  const Verdict v = Case(GpuScenario::rim_expired).verdict();
  EXPECT_EQ(device_claims(v.devices[0]).at("x-nvidia-gpu-vbios-rim-cert-chain").at("x-nvidia-cert-status"), "expired");
  EXPECT_EQ(device_claims(v.devices[0]).at("x-nvidia-gpu-vbios-rim-signature-verified"), true);
}

}  // namespace
}  // namespace cairn::nvidia
