// The vectors by others: every entry of data/nvidia/expected.json must be found as it says.
#include <gtest/gtest.h>
#include <libxml/c14n.h>
#include <libxml/parser.h>

#include <filesystem>
#include <functional>

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "evidence/nvidia/claims.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/xml.h"

namespace cairn::nvidia {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(CAIRN_SHARED_DATA) / "nvidia";

std::string chars(const std::string& path) { return read_text(kFolder / path).value(); }
Bytes hex_file(const std::string& path) {
  std::string text = chars(path);
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
  return from_hex(text).value();
}

// "report.txt + chain.txt", or a JSON file and the place in its list.
Evidence load(const std::string& name, std::size_t index) {
  const std::size_t plus = name.find(" + ");
  if (plus != std::string::npos)
    return {.devices = {{.report = hex_file(name.substr(0, plus)), .certificate = chars(name.substr(plus + 3))}}};
  const Json json = parse_json(chars(name)).value();
  Evidence all = parse_evidence(json).value();
  return {.devices = {all.devices.at(index)}, .nonce = all.nonce};
}
Evidence load_entry(const Json& entry, const char* member) {
  return load(entry.at(member).get<std::string>(), entry.value("index", std::size_t{0}));
}

std::string text(const Json& entry, const char* key) {
  const Json value = entry.value(key, Json());
  return value.is_string() ? value.get<std::string>() : "";
}

class Data : public ::testing::Test {
 protected:
  void SetUp() override {
    const Result<std::string> read = read_text(kFolder / "expected.json");
    if (!read) GTEST_SKIP() << "shared data not present";
    expected = parse_json(*read).value();
  }
  Json expected;
};

constexpr Time kNow{1790000000};  // 2026-09-21

Verdict judge(Verifier& verifier, const Evidence& evidence, const Nonce& nonce, const Collateral& collateral = {},
              Time at = kNow) {
  Policy policy;
  policy.require_ocsp = false;  // no answer of the real responder is among the vectors
  policy.allow_absent_fwid = true;
  policy.ppcie = Policy::Ppcie::off;
  return verifier.verify(evidence, collateral, {.time = at, .nonce = nonce}, policy);
}
Verdict judge(Verifier& verifier, const Evidence& evidence, const Collateral& collateral = {}, Time at = kNow) {
  return judge(verifier, evidence, parse_report(evidence.devices.at(0).report).value().request_nonce, collateral, at);
}

std::vector<std::uint16_t> types(const Report& r) {
  std::vector<std::uint16_t> out;
  for (const OpaqueField& f : r.opaque) out.push_back(f.type);
  return out;
}

std::vector<std::string> hexes(const std::vector<Pdi>& list) {
  std::vector<std::string> out;
  for (const Pdi& p : list) out.push_back(hex(p));
  std::ranges::sort(out);
  return out;
}

void expect_report(const Json& e, const Report& r) {
  EXPECT_EQ(r.trailing, e.at("trailing_bytes_after_signature").get<std::size_t>());
  EXPECT_EQ(hex(r.request_nonce), text(e, "request_nonce"));
  EXPECT_EQ(hex(r.responder_nonce), text(e, "responder_nonce"));
  EXPECT_EQ(r.measurements.size(), e.at("blocks").get<std::size_t>());
  EXPECT_EQ(types(r), e.at("opaque_types").get<std::vector<std::uint16_t>>());
  EXPECT_EQ(hex(crypto::sha256(r.measurement_record)), text(e, "measurement_record_sha256"));
}

void expect_gpu(const Json& e, const Facts& f) {
  EXPECT_EQ(f.driver_version, text(e, "driver_version"));
  EXPECT_EQ(f.firmware_version, text(e, "vbios_version"));
  EXPECT_EQ(f.project, text(e, "project"));
  EXPECT_EQ(f.project_sku, text(e, "project_sku"));
  EXPECT_EQ(f.chip_sku, text(e, "chip_sku"));
  EXPECT_EQ(f.fwid ? hex(*f.fwid) : "", text(e, "report_fwid"));
  EXPECT_EQ(f.nvdec0 ? hex(Bytes{*f.nvdec0}) : "", text(e, "nvdec0"));
  EXPECT_EQ(f.protected_pcie ? (*f.protected_pcie ? "aa" : "55") : "", text(e, "protected_pcie"));
  const Json flag = e.value("feature_flag", Json());
  EXPECT_EQ(f.feature_flag ? Json(*f.feature_flag) : Json(), flag);
  EXPECT_EQ(hexes(f.switch_pdis), e.value("switch_pdis", std::vector<std::string>{}));
}

void expect_switch(const Json& e, const Facts& f) {
  EXPECT_EQ(f.firmware_version, text(e, "switch_bios_version"));
  EXPECT_EQ(hex(*f.device_pdi), text(e, "device_pdi"));
  auto wanted = e.value("gpu_pdis", std::vector<std::string>{});
  std::ranges::sort(wanted);
  EXPECT_EQ(hexes(f.gpu_pdis), wanted);
}

TEST_F(Data, EveryReportIsReadAndJudgedAsExpected) {
  Verifier verifier(nvidia_roots());
  std::size_t good = 0;
  for (const Json& e : expected.at("evidence")) {
    SCOPED_TRACE(e.at("file").get<std::string>() + " " + std::to_string(e.value("index", 0)));
    const Evidence evidence = load_entry(e, "file");
    const Device& device = evidence.devices.front();
    EXPECT_EQ(device.report.size(), e.at("report_len").get<std::size_t>());
    const Result<Report> report = parse_report(device.report);
    ASSERT_TRUE(report) << report.error().text();
    expect_report(e, *report);
    const Nonce nonce = text(e, "expected_nonce").empty()
                            ? report->request_nonce
                            : Nonce::from(from_hex(text(e, "expected_nonce")).value()).value();
    const Verdict verdict = judge(verifier, evidence, nonce);
    const DeviceVerdict& d = verdict.devices.at(0);
    const bool chain = e.at("chain_valid_to_pinned_root").get<bool>(), signature = e.at("signature_valid").get<bool>();
    const bool nonce_match = e.value("nonce_match", Json()) != false;
    ASSERT_EQ(d.authentic.has_value(), chain && signature && nonce_match) << verdict.result().error().text();
    if (!d.authentic) {
      const Failure f = d.findings.at(0).failure;
      EXPECT_TRUE(!chain ? f == Failure::chain_format || f == Failure::chain_name : f == Failure::report_signature)
          << name(f);
      continue;
    }
    ++good;
    const auto& a = *d.authentic;
    EXPECT_EQ(a.identity.hwmodel, text(e, "hwmodel"));
    EXPECT_EQ(a.identity.ueid, text(e, "ueid"));
    EXPECT_EQ(a.identity.san_device, text(e, "leaf_san_device"));
    EXPECT_EQ(hex(a.identity.fwid), text(e, "cert_fwid"));
    EXPECT_EQ(a.identity.pdi ? hex(*a.identity.pdi) : "", text(e, "pdi_from_brom_serial"));
    EXPECT_FALSE(a.simulated);
    if (a.facts.kind == Kind::gpu) {
      expect_gpu(e, a.facts);
      EXPECT_EQ(a.driver.id, text(e, "driver_rim_id"));
      EXPECT_EQ(a.firmware.id, text(e, "vbios_rim_id"));
    } else {
      expect_switch(e, a.facts);
      EXPECT_EQ(a.firmware.id, text(e, "bios_rim_id"));
    }
  }
  EXPECT_GT(good, 20U);
}

TEST_F(Data, EveryRimIsReadAndJudgedAsExpected) {
  for (const Json& e : expected.at("rims")) {
    const std::string file = e.at("file").get<std::string>();
    SCOPED_TRACE(file);
    const std::string document = chars(file);
    const Result<Rim> rim = parse_rim(as_bytes(document));
    ASSERT_TRUE(rim) << rim.error().text();
    EXPECT_EQ(rim->edition, text(e, "edition"));
    EXPECT_EQ(rim->product, text(e, "product"));
    EXPECT_EQ(rim->version, text(e, "colloquial_version"));
    std::vector<unsigned> active;
    Json several = Json::object();
    for (const Golden& g : rim->golden) {
      active.push_back(g.index);
      if (g.alternatives.size() > 1) several[std::to_string(g.index)] = g.alternatives.size();
    }
    EXPECT_EQ(active, e.at("active_indices").get<std::vector<unsigned>>());
    EXPECT_EQ(several, e.at("multi_alternative_indices"));
    const crypto::Certificate& signer = rim->certificates.at(0);
    EXPECT_EQ(signer.common_name(), text(e, "signer"));
    EXPECT_EQ(signer.not_before(), parse_rfc3339(text(e, "signer_not_before")).value());
    EXPECT_EQ(signer.not_after(), parse_rfc3339(text(e, "signer_not_after")).value());
    EXPECT_EQ(signature_holds(*rim, signer.public_key().value()), e.at("xml_signature_valid").get<bool>());
    const Checked<Chain> chain = verify_chain(rim->certificates, ChainKind::rim, nvidia_roots().rim);
    ASSERT_EQ(chain.has_value(), e.at("chain_valid_to_pinned_root").get<bool>());
    if (chain) {
      EXPECT_EQ(chain->earliest_not_after(), parse_rfc3339(text(e, "earliest_chain_not_after")).value());
    } else {
      EXPECT_EQ(chain.error().failure, Failure::rim_untrusted);
    }
    const bool good = e.at("xml_signature_valid").get<bool>() && chain.has_value();
    EXPECT_EQ(verify_rim(as_bytes(document), nvidia_roots().rim).has_value(), good);
  }
}

TEST_F(Data, GoldenValuesMatchAndMismatchAsExpected) {
  for (const Json& e : expected.at("golden_comparison")) {
    SCOPED_TRACE(e.at("evidence").get<std::string>() + " with " + e.at("rim").get<std::string>());
    const Evidence evidence = load_entry(e, "evidence");
    const Report report = parse_report(evidence.devices.at(0).report).value();
    const std::string kind = text(e, "kind");
    const Facts facts = read_facts(report, kind == "switch-bios" ? Kind::nvswitch : Kind::gpu).value();
    const Rim rim = parse_rim(as_bytes(chars(text(e, "rim")))).value();
    const Comparison c =
        compare(report, facts, kind == "driver" ? RimSource::driver : RimSource::firmware, rim.golden, rim.minimum, {});
    EXPECT_EQ(c.matched, e.at("matched").get<std::size_t>());
    EXPECT_EQ(c.skipped, e.value("skipped", std::vector<std::uint16_t>{}));
    std::vector<std::uint16_t> mismatched;
    for (const Mismatch& m : c.mismatches) mismatched.push_back(m.index);
    EXPECT_EQ(mismatched, e.at("mismatched_rim_indices").get<std::vector<std::uint16_t>>());
  }
}

// The one switch whose BIOS RIM is current, and the one GPU that has both RIMs: the whole way.
TEST_F(Data, RealDevicesAreVerifiedWholly) {
  Verifier verifier(nvidia_roots());
  const std::string rims = "attestation-sdk/rims/", samples = "nvtrust/samples/";
  Collateral c;
  c.rims["NV_SWITCH_BIOS_5612_0002_890_9610550001"] =
      to_bytes(chars(rims + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"));
  c.rims["NV_GPU_DRIVER_GH100_545.00"] = to_bytes(chars(samples + "Driver_RIM_test_no_gpu.swidtag"));
  c.rims["NV_GPU_VBIOS_1010_0200_882_96005E0001"] =
      to_bytes(chars(samples + "1010_0200_882_96005E0001_test_no_gpu.swidtag"));
  const std::string evidence = "attestation-sdk/evidence/";
  const Evidence nvswitch =
      load(evidence + "unit_switchAttestationReport.txt + " + evidence + "unit_switchCertChain.txt", 0);
  const Verdict s = judge(verifier, nvswitch, c);
  EXPECT_TRUE(s.affirming()) << s.result().error().text();
  EXPECT_EQ(s.devices.at(0).authentic->matched, 31U);
  EXPECT_EQ(device_claims(s.devices.at(0)).at("measres"), "success");

  const Evidence gpu = load("go-nvtrust/attestationReport.txt + go-nvtrust/gpuAkCertChain.txt", 0);
  const Verdict g = judge(verifier, gpu, c, parse_rfc3339("2025-01-01T00:00:00Z").value());
  EXPECT_TRUE(g.affirming()) << g.result().error().text();
  EXPECT_EQ(g.devices.at(0).authentic->matched, 32U);
  // The same today: expired, not broken.
  const Verdict today = judge(verifier, gpu, c);
  EXPECT_FALSE(today.affirming());
  for (const Finding& f : today.devices.at(0).findings) EXPECT_EQ(f.failure, Failure::rim_expired);
  // Another issue of the same RIM id differs in places.
  c.rims["NV_GPU_VBIOS_1010_0200_882_96005E0001"] = to_bytes(chars(samples + "1010_0200_882_96005E0001_PROD.swidtag"));
  const Verdict other = judge(verifier, gpu, c, parse_rfc3339("2025-01-01T00:00:00Z").value());
  std::vector<std::uint16_t> mismatched;
  for (const Mismatch& m : other.devices.at(0).authentic->mismatches) mismatched.push_back(m.index);
  EXPECT_EQ(mismatched, (std::vector<std::uint16_t>{1, 2, 3, 9}));
  EXPECT_EQ(verifier.cache_use().rims, 4U);
}

Evidence joined(const std::string& a, const std::string& b) {
  Evidence out = parse_evidence(parse_json(chars(a)).value()).value();
  Evidence more = parse_evidence(parse_json(chars(b)).value()).value();
  for (Device& d : more.devices) out.devices.push_back(std::move(d));
  return out;
}

Verdict judge_set(const Evidence& evidence) {
  Verifier verifier(nvidia_roots());
  Policy policy;
  policy.require_ocsp = false;
  return verifier.verify(evidence, {}, {.time = kNow, .nonce = evidence.nonce}, policy);
}

TEST_F(Data, RealProtectedPcieMachineHasOneFabric) {
  const Evidence machine = joined("nvtrust/ppcie/gpu_evidence.json", "nvtrust/ppcie/switch_evidence.json");
  ASSERT_EQ(machine.devices.size(), 12U);
  const Verdict v = judge_set(machine);
  EXPECT_TRUE(v.findings.empty()) << v.findings.front().detail;
  EXPECT_TRUE(v.ppcie);
  EXPECT_EQ(v.gpus, 8U);
  EXPECT_EQ(v.switches, 4U);
  EXPECT_FALSE(v.affirming()) << "no RIM was given";
}

TEST_F(Data, PartOfAMachineAndOneSwitchFourTimesAreRefused) {
  const std::string folder = "attestation-sdk/evidence/";
  const auto set = [&](const char* file) { return parse_evidence(parse_json(chars(folder + file)).value()).value(); };
  const Verdict twins = judge_set(set("multi_switch_ls10.json"));
  EXPECT_EQ(std::ranges::count(twins.findings, Failure::duplicate_device, &Finding::failure), 3);
  EXPECT_FALSE(twins.ppcie);
  const Verdict half = judge_set(set("multi_gpu_hopper.json"));
  ASSERT_EQ(half.findings.size(), 1U);
  EXPECT_EQ(half.findings[0].failure, Failure::topology_count);
}

// NVIDIA's own service about a report that is here: what both claim is the same.
TEST_F(Data, ClaimsAgreeWithTheRemoteService) {
  Verifier verifier(nvidia_roots());
  const Evidence gpu = load("nvtrust/samples/hopperAttestationReport.txt + nvtrust/samples/hopperCertChain.txt", 0);
  const Json ours = device_claims(judge(verifier, gpu).devices.at(0));
  const Json theirs = parse_json(chars("attestation-sdk/eat/hopperClaimsv3_decoded.json")).value().at("GPU-0");
  std::size_t compared = 0;
  for (const auto& [key, value] : theirs.items()) {
    // Times and identifiers of the token; what rests on RIMs and OCSP answers that are not here.
    const bool other = key == "iss" || key == "iat" || key == "nbf" || key == "exp" || key == "jti" ||
                       key.contains("-rim-") || key.contains("cert-chain") || key == "oemid" || key == "measres" ||
                       key == "secboot" || key == "dbgstat";
    if (other && !key.ends_with("fwid-match")) {
      const bool named = key.starts_with("x-nvidia") || key.size() > 4;
      EXPECT_TRUE(!named || ours.contains(key)) << key;
      continue;
    }
    ++compared;
    EXPECT_EQ(ours.value(key, Json("absent")), value) << key;
  }
  EXPECT_GE(compared, 11U);
}

// The canonical form, as libxml2 makes it of the same documents.
std::string reference_canonical(const std::string& document, bool without_signature) {
  xmlDoc* doc = xmlReadMemory(document.data(), static_cast<int>(document.size()), "", nullptr, XML_PARSE_NONET);
  EXPECT_NE(doc, nullptr);
  if (doc == nullptr) return {};
  if (without_signature)
    for (xmlNode* n = xmlDocGetRootElement(doc)->children; n != nullptr; n = n->next)
      if (n->type == XML_ELEMENT_NODE && std::string_view(reinterpret_cast<const char*>(n->name)) == "Signature") {
        xmlUnlinkNode(n);
        xmlFreeNode(n);
        break;
      }
  xmlChar* text = nullptr;
  const int size = xmlC14NDocDumpMemory(doc, nullptr, XML_C14N_1_1, nullptr, 0, &text);
  std::string out(reinterpret_cast<const char*>(text), static_cast<std::size_t>(std::max(size, 0)));
  xmlFree(text);
  xmlFreeDoc(doc);
  return out;
}

TEST_F(Data, CanonicalFormIsLibxml2s) {
  for (const Json& e : expected.at("rims")) {
    const std::string document = chars(e.at("file").get<std::string>());
    const Xml xml = parse_xml(as_bytes(document)).value();
    EXPECT_EQ(canonical_xml(xml, 0, 0), reference_canonical(document, false)) << e.at("file");
    const std::size_t signature = xml.children(0).back();
    EXPECT_EQ(canonical_xml(xml, 0, signature), reference_canonical(document, true)) << e.at("file");
  }
}

TEST(Xml, CanonicalFormIsLibxml2sForHardDocuments) {
  for (const char* document :
       {"<a/>", "<?xml version='1.0' encoding='UTF-8'?>\n<a  b = 'x\ty&#9;&#10;&quot;&lt;&gt;'  a=\"2\" ></a >\n",
        "<a xmlns='u:1' xmlns:z='u:z' xmlns:b='u:b' z:q='1' b:q='2' q='3'><b:c xmlns:b='u:b'><d xmlns='u:2' "
        "xmlns:b='u:3'"
        " b:x='&amp;'/></b:c>\r\ntext &#13; &gt; \xC3\xA9 &#x1F600;</a>",
        "<n1:a xmlns:n1='u:9'><n1:b xmlns:n1='u:8'><n1:b xmlns:n1='u:8'/><n1:c xmlns:n1='u:9'/></n1:b></n1:a>"}) {
    const Result<Xml> xml = parse_xml(as_bytes(document));
    ASSERT_TRUE(xml) << document << xml.error().text();
    EXPECT_EQ(canonical_xml(*xml, 0, 0), reference_canonical(document, false));
  }
}

TEST(Xml, RefusesWhatRimsNeverHave) {
  for (const char* document : {"",
                               "<a>",
                               "<a></b>",
                               "<a b='1' b='2'/>",
                               "<a xmlns:x='u' xmlns:y='u' x:b='1' y:b='2'/>",
                               "<a/><b/>",
                               "x<a/>",
                               "<!DOCTYPE a><a/>",
                               "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
                               "<a>&x;</a>",
                               "<a><!-- c --></a>",
                               "<a><?p q?></a>",
                               "<a><![CDATA[x]]></a>",
                               "<a>]]></a>",
                               "<a b='<'/>",
                               "<a b=x/>",
                               "<a b='1'c='2'/>",
                               "<a xml:lang='en'/>",
                               "<x:a/>",
                               "<a xmlns:xml='u'/>",
                               "<a xmlns=''/>",
                               "<a>&#0;</a>",
                               "<a>&#xD800;</a>",
                               "<a>&#x110000;</a>",
                               "<a>\x01</a>",
                               "<a>\xFF</a>",
                               "<a>\xEF\xBF\xBE</a>",
                               "<a:b:c xmlns:a='u'/>",
                               "<?xml version='1.1'?><a/>",
                               "<?xml version='1.0' encoding='UTF-16'?><a/>",
                               "<a",
                               "<a b='1",
                               "<a>&amp",
                               "<1a/>"})
    EXPECT_FALSE(parse_xml(as_bytes(document))) << document;
}

TEST(Xml, LimitsHold) {
  const auto nested = [](std::size_t n) {
    std::string out;
    for (std::size_t i = 0; i < n; ++i) out += "<a>";
    for (std::size_t i = 0; i < n; ++i) out += "</a>";
    return parse_xml(as_bytes(out)).has_value();
  };
  EXPECT_TRUE(nested(kMaxXmlDepth));
  EXPECT_FALSE(nested(kMaxXmlDepth + 1));
  const auto wide = [](std::size_t n) {
    std::string out = "<r>";
    for (std::size_t i = 1; i < n; ++i) out += "<a/>";
    return parse_xml(as_bytes(out + "</r>")).has_value();
  };
  EXPECT_TRUE(wide(kMaxXmlNodes));
  EXPECT_FALSE(wide(kMaxXmlNodes + 1));
  const auto attributes = [](std::size_t n, const char* prefix) {
    std::string out = "<r";
    for (std::size_t i = 0; i < n; ++i) out += std::string(" ") + prefix + "a" + std::to_string(i) + "='u'";
    return parse_xml(as_bytes(out + "/>")).has_value();
  };
  EXPECT_TRUE(attributes(kMaxXmlAttributes, ""));
  EXPECT_FALSE(attributes(kMaxXmlAttributes + 1, ""));
  EXPECT_TRUE(attributes(kMaxXmlNamespaces, "xmlns:"));
  EXPECT_FALSE(attributes(kMaxXmlNamespaces + 1, "xmlns:"));
  EXPECT_FALSE(parse_xml(as_bytes("<a>" + std::string(kMaxRim, ' ') + "</a>")));
}

TEST(Roots, AreTheOnesThatArePinned) {
  EXPECT_EQ(hex(crypto::sha256(nvidia_roots().device.at(0).certificate.der())),
            "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48");
  EXPECT_EQ(hex(crypto::sha256(nvidia_roots().rim.at(0).certificate.der())),
            "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1");
  const auto again = trust_root("mine", as_bytes(nvidia_roots().rim.at(0).certificate.pem()));
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->simulated);
}

TEST(Failures, HaveDistinctNamesAndNumbers) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Failure::multi_tenant); ++i) {
    const auto f = static_cast<Failure>(i);
    EXPECT_TRUE(names.insert(name(f)).second) << name(f);
    EXPECT_FALSE(sentence(f).empty());
    EXPECT_EQ(nvidia_code(f) == 0, f == Failure::none);
  }
}

}  // namespace
}  // namespace cairn::nvidia
