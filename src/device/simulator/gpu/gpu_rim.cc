// Reference manifests of simulated firmware.
#include "base/encoding.h"
#include "crypto/hash.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "device/simulator/gpu/parts.h"
#include "evidence/nvidia/xml.h"

namespace cairn::device {
namespace {

using nvidia::Kind;
using nvidia::RimSource;

constexpr std::string_view kRoot =
    R"(<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" xmlns:ns0="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384" xmlns:nvo="https://docs.nvidia.com/attestation/specs/latest/opaque-data.html" corpus="false" name="TEST" patch="false" supplemental="false" tagId="test" version="1.0" tagVersion="0">
    <ns0:Entity name="Cairn TEST" role="softwareCreator tagCreator"/>
)";
constexpr std::string_view kSignature =
    R"(<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"/><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/><ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/><ds:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11"/></ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/><ds:DigestValue>@DIGEST@</ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue>@SIGNATURE@</ds:SignatureValue><ds:KeyInfo><ds:X509Data>@CERTIFICATES@</ds:X509Data></ds:KeyInfo></ds:Signature></SoftwareIdentity>
)";

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  text.replace(text.find(what), what.size(), with);
  return text;
}

std::string resource(const GpuMachine& machine, RimSource source, Kind kind, GpuScenario s, std::size_t index) {
  bool active = simulator::covered(source, kind, index) && s != GpuScenario::rim_empty;
  if (s == GpuScenario::rim_conflict && index == 7) active = true;
  const std::string value = hex(active ? simulator::golden(machine, kind, index) : nvidia::Measurement{});
  // One with alternatives, as real manifests have.
  const bool several = active && index == 12;
  std::string hashes = "ns2:Hash0=\"" + (several ? std::string(96, 'a') : value) + "\"";
  if (several) hashes += " ns2:Hash1=\"" + value + "\"";
  const std::string number = std::to_string(index);
  return "        <ns0:Resource type=\"Measurement\" index=\"" + number + "\" active=\"" + (active ? "True" : "False") +
         "\" alternatives=\"" + (several ? "2" : "1") + "\" " + hashes + " name=\"Measurement_" + number +
         "\" size=\"48\"/>\n";
}

std::string meta(const GpuMachine& machine, RimSource source, Kind kind, GpuScenario s) {
  std::string version = source == RimSource::driver ? machine.driver
                        : kind == Kind::gpu         ? std::string(simulator::kVbiosVersion)
                                                    : std::string(simulator::kSwitchBios);
  if (s == GpuScenario::rim_version) version += ".1";
  const bool as_switch = kind == Kind::nvswitch || s == GpuScenario::rim_product;
  const std::string product = as_switch ? "LS10" : machine.arch == nvidia::Architecture::hopper ? "GH100" : "GB100";
  return "    <ns0:Meta "
         "xmlns:ns1=\"https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-"
         "model/\" colloquialVersion=\"" +
         version + "\" edition=\"" + (as_switch ? "SWITCH" : "GPU") + "\" product=\"" + product +
         "\" revision=\"r1\" PayloadType=\"direct\" ns1:BindingSpec=\"RIMIM\" ns1:FirmwareManufacturerId=\"5703\"/>\n";
}

std::string body(const GpuMachine& machine, RimSource source, Kind kind, GpuScenario s) {
  std::string out(kRoot);
  out += meta(machine, source, kind, s);
  if (s == GpuScenario::rim_two_metas) out += meta(machine, source, kind, s);
  out += "    <ns0:Payload>\n";
  for (std::size_t i = 0; i < 64; ++i) out += resource(machine, source, kind, s, i);
  if (machine.nvdaod && source == RimSource::firmware)
    out += "        <ns0:Resource type=\"OpaqueData\" index=\"" + std::to_string(0x1000 + simulator::kSvnRecord) +
           "\" active=\"True\" name=\"FSP_UCODE_SVN\" nvo:minSvn=\"" + std::to_string(simulator::kSvn) + "\"/>\n";
  return out + "    </ns0:Payload>\n";
}

}  // namespace

Result<Bytes> GpuSimulator::rim(RimSource source, Kind kind) const {
  const bool spoiled = source == RimSource::firmware && kind == Kind::gpu;
  const GpuScenario s = spoiled ? machine_.scenario : GpuScenario::none;
  std::string text = body(machine_, source, kind, s) + std::string(kSignature);
  std::string certificates;
  for (const Issuer& i : rim_cas_)
    certificates += "<ds:X509Certificate>" + base64(i.certificate.der()) + "</ds:X509Certificate>";
  text = replaced(std::move(text), "@CERTIFICATES@", certificates);
  const std::string changed = hex(simulator::golden(machine_, kind, 9));
  if (s == GpuScenario::rim_forged) text = replaced(std::move(text), changed, std::string(96, 'b'));
  // The digest of everything but the signature, then the signature over what names it.
  CAIRN_TRY(const nvidia::Xml document, nvidia::parse_xml(as_bytes(text)));
  const std::string canonical = nvidia::canonical_xml(document, 0, document.children(0).back());
  text = replaced(std::move(text), "@DIGEST@", base64(crypto::sha384(as_bytes(canonical))));
  CAIRN_TRY(const nvidia::Xml with_digest, nvidia::parse_xml(as_bytes(text)));
  const std::size_t info = with_digest.children(with_digest.children(0).back()).front();
  const std::string covered = nvidia::canonical_xml(with_digest, info, 0);
  CAIRN_TRY(const crypto::PrivateKey nobody, key("nobody"));
  const crypto::PrivateKey& signer = s == GpuScenario::rim_forged ? nobody : rim_cas_.front().key;
  CAIRN_TRY(const Bytes signature, signer.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha384, as_bytes(covered)));
  text = replaced(std::move(text), "@SIGNATURE@", base64(signature));
  if (s == GpuScenario::rim_tampered) text = replaced(std::move(text), changed, std::string(96, 'c'));
  if (s == GpuScenario::rim_doctype) text = "<!DOCTYPE SoftwareIdentity>\n" + text;
  return to_bytes(text);
}

}  // namespace cairn::device
