#include "device/simulator/gpu/gpu_simulator.h"

#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/hash.h"
#include "device/simulator/gpu/der.h"
#include "device/simulator/gpu/parts.h"

namespace cairn::device {
namespace {

namespace tag = pki::tag;
using nvidia::Architecture;
using nvidia::Kind;
using simulator::der;

constexpr std::int64_t kGpuDay = 24 * 60 * 60;
constexpr Time kForever{253402300799};  // 9999-12-31T23:59:59Z
constexpr std::string_view kDiceComposite = "2.23.133.5.4.1", kDiceInfo = "2.23.133.5.4.1.1", kSan = "2.5.29.17";

const Bytes& oid_sha384() {
  static const Bytes oid{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02};
  return oid;
}
const Bytes& oid_dmtf() {
  static const Bytes oid{0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0x1C, 0x82, 0x12, 0x01};
  return oid;
}

crypto::Name subject_of(std::string_view common_name) {
  return {{"CN", std::string(common_name)}, {"O", "Cairn TEST"}, {"C", "US"}};
}

crypto::CertificateTemplate ca_template(std::string_view subject, std::string_view issuer, Time at) {
  return {.subject = subject_of(subject),
          .issuer = subject_of(issuer),
          .serial = to_bytes(ByteView(crypto::sha256(as_bytes(subject))).first(16)),
          .not_before = at.plus(-kGpuDay),
          .not_after = kForever,
          .ca = true,
          .key_usage = crypto::kKeyCertSign | crypto::kCrlSign};
}

struct Chip {
  std::string_view leaf, boot_rom;
};
Chip chip_of(Architecture arch, Kind kind) {
  if (kind == Kind::nvswitch) return {"LS_10 A01 FSP FMC LF", "LS_10 A01 FSP BROM"};
  if (arch == Architecture::hopper) return {"GH100 A01 GSP FMC LF", "GH100 A01 GSP BROM"};
  return {"GB100 A01 GSP FMC LF", "GB100 A01 GSP BROM"};
}

crypto::Extension fwid_extension(Architecture arch, Kind kind, const nvidia::Measurement& fwid,
                                 const crypto::PublicKey& device_key) {
  const Bytes id = der(tag::kSequence, {der(tag::kOid, ByteView(oid_sha384())), der(tag::kOctetString, fwid)});
  if (arch != Architecture::hopper && kind == Kind::gpu)
    return {std::string(kDiceInfo), false, der(tag::kSequence, {der(0xA6, ByteView(id))})};
  return {std::string(kDiceComposite), false,
          der(tag::kSequence, {der(tag::kInteger, ByteView(Bytes{1})), device_key.spki_der(), id})};
}

crypto::Extension device_name(std::string_view text) {
  const Bytes value = der(0xA0, {der(tag::kUtf8, as_bytes(text))});
  return {std::string(kSan), false, der(tag::kSequence, {der(0xA0, {der(tag::kOid, ByteView(oid_dmtf())), value})})};
}

nvidia::TrustRoot root_of(const GpuSimulator::Issuer& issuer) {
  return {.name = "simulator", .certificate = issuer.certificate, .simulated = true};
}

}  // namespace

Result<crypto::PrivateKey> GpuSimulator::key(std::string_view name) const {
  const std::string text = "cairn gpu simulator " + std::to_string(machine_.seed) + " " + std::string(name);
  auto scalar = crypto::sha384(as_bytes(text));
  scalar[0] &= 0x7F;  // below the order
  return crypto::PrivateKey::from_ec_scalar(crypto::KeyType::ec_p384, scalar);
}

Result<void> GpuSimulator::make_hierarchies(Time at) {
  const auto make = [&](crypto::CertificateTemplate what, const Issuer* issuer) -> Result<Issuer> {
    CAIRN_TRY(crypto::PrivateKey own, key(what.subject.front().second));
    CAIRN_TRY(auto certificate, crypto::issue(what, own.public_key(), issuer == nullptr ? own : issuer->key));
    return Issuer{std::move(own), std::move(certificate)};
  };
  CAIRN_TRY(Issuer root, make(ca_template("Cairn TEST Device Identity CA", "", at), nullptr));
  CAIRN_TRY(Issuer identity, make(ca_template("TEST GH100 Identity", "Cairn TEST Device Identity CA", at), &root));
  CAIRN_TRY(Issuer provisioner,
            make(ca_template("TEST GH100 Provisioner ICA 1", "TEST GH100 Identity", at), &identity));
  device_cas_ = {std::move(provisioner), std::move(identity), std::move(root)};
  CAIRN_TRY(Issuer rim_root, make(ca_template("Cairn TEST CoRIM signing Root CA", "", at), nullptr));
  CAIRN_TRY(Issuer rim_ca,
            make(ca_template("TEST Reference Value GH100 CA", "Cairn TEST CoRIM signing Root CA", at), &rim_root));
  CAIRN_TRY(Issuer l3, make(ca_template("TEST Reference Value L3", "TEST Reference Value GH100 CA", at), &rim_ca));
  auto signer = ca_template("TEST HCC RIM L4 Signer", "TEST Reference Value L3", at);
  signer.not_after = at.plus(730 * kGpuDay);
  const GpuScenario s = machine_.scenario;
  if (s != GpuScenario::rim_signer_ca) {
    signer.ca = false;
    signer.key_usage = crypto::kDigitalSignature;
  }
  if (s == GpuScenario::rim_expired) signer.not_after = at.plus(-3600);
  if (s == GpuScenario::rim_early) signer.not_before = at.plus(3600);
  CAIRN_TRY(Issuer l4, make(signer, &l3));
  rim_cas_ = {std::move(l4), std::move(l3), std::move(rim_ca), std::move(rim_root)};
  roots_ = {.device = {root_of(device_cas_.back())}, .rim = {root_of(rim_cas_.back())}};
  const auto other_root = [&](nvidia::TrustRoot& root_entry) -> Result<void> {
    CAIRN_TRY(const Issuer other, make(ca_template("Cairn TEST other CA", "", at), nullptr));
    root_entry.certificate = other.certificate;
    return {};
  };
  if (s == GpuScenario::chain_other_root) CAIRN_CHECK(other_root(roots_.device[0]));
  if (s == GpuScenario::rim_debug_root) CAIRN_CHECK(other_root(roots_.rim[0]));
  return {};
}

Result<GpuSimulator::Device> GpuSimulator::make_device(Kind kind, std::size_t index, Time at) const {
  const GpuScenario s = index == 0 ? machine_.scenario : GpuScenario::none;
  const Chip chip = chip_of(machine_.arch, kind);
  const std::string label = std::to_string(index);
  Device out{.kind = kind, .position = static_cast<std::uint16_t>(kind == Kind::nvswitch ? index - 8 : 0)};
  CAIRN_TRY(out.key, key("leaf " + label));
  CAIRN_TRY(const crypto::PrivateKey boot_key, key("boot ROM " + label));
  CAIRN_TRY(const crypto::PrivateKey other_key, key("boot ROM of another"));
  out.fwid = crypto::sha384(as_bytes(chip.boot_rom));
  const auto identity = crypto::sha256(as_bytes("pdi " + label + " " + std::to_string(machine_.seed)));
  std::ranges::copy(ByteView(identity).first(8), out.pdi.begin());
  const std::string boot_name = s == GpuScenario::chip_unknown ? "XY100 A01 GSP BROM" : std::string(chip.boot_rom);
  auto boot =
      ca_template(boot_name, s == GpuScenario::chain_name ? "TEST another" : "TEST GH100 Provisioner ICA 1", at);
  boot.serial = {static_cast<std::uint8_t>(kind == Kind::gpu ? 0x41 : 0x50)};
  append(boot.serial, out.pdi);
  CAIRN_TRY(const auto boot_certificate, crypto::issue(boot, boot_key.public_key(), device_cas_[0].key));
  auto leaf = ca_template(chip.leaf, boot_name, at);
  leaf.serial = to_bytes(ByteView(crypto::sha256(as_bytes("ueid " + label))).first(20));
  leaf.serial[0] = 0x45;
  leaf.ca = s == GpuScenario::leaf_is_ca ? std::optional(true) : std::nullopt;
  leaf.key_usage = crypto::kDigitalSignature;
  if (s == GpuScenario::leaf_expired) leaf.not_after = at.plus(-3600);
  if (s == GpuScenario::leaf_early) leaf.not_before = at.plus(3600);
  leaf.extra.push_back(device_name("NVIDIA:TEST:" + hex(out.pdi)));
  const auto& named = s == GpuScenario::leaf_other_key ? other_key.public_key() : boot_key.public_key();
  if (s != GpuScenario::leaf_without_fwid) leaf.extra.push_back(fwid_extension(machine_.arch, kind, out.fwid, named));
  CAIRN_TRY(auto leaf_certificate, crypto::issue(leaf, out.key.public_key(), boot_key));
  if (s == GpuScenario::chain_flip) {
    Bytes bytes = to_bytes(leaf_certificate.der());
    bytes.back() ^= 1;
    CAIRN_TRY(leaf_certificate, crypto::Certificate::from_der(bytes));
  }
  out.chain = leaf_certificate.pem() + boot_certificate.pem();
  for (std::size_t i = s == GpuScenario::chain_short ? 1 : 0; i < device_cas_.size(); ++i)
    out.chain += device_cas_[i].certificate.pem();
  return out;
}

Result<GpuSimulator> GpuSimulator::make(const GpuMachine& machine, Time at) {
  GpuSimulator out;
  out.machine_ = machine;
  const GpuScenario s = machine.scenario;
  if (s >= GpuScenario::ppcie_part) out.machine_.ppcie = true;
  if (s == GpuScenario::device_twice || s == GpuScenario::driver_mixed || s == GpuScenario::chain_other_device)
    out.machine_.gpus = std::max<std::size_t>(machine.gpus, 2);
  if (s == GpuScenario::svn_low || s == GpuScenario::report_newer) out.machine_.nvdaod = true;
  CAIRN_CHECK(out.make_hierarchies(at));
  const std::size_t gpus = out.machine_.ppcie ? 8 : out.machine_.gpus, switches = out.machine_.ppcie ? 4 : 0;
  for (std::size_t i = 0; i < gpus + switches; ++i) {
    CAIRN_TRY(out.devices_.emplace_back(), out.make_device(i < gpus ? Kind::gpu : Kind::nvswitch, i, at));
  }
  return out;
}

Result<nvidia::Evidence> GpuSimulator::evidence(const nvidia::Nonce& nonce) const {
  const GpuScenario s = machine_.scenario;
  nvidia::Evidence out{.devices = {}, .nonce = nonce};
  if (s == GpuScenario::no_device) return out;
  const std::size_t count = s == GpuScenario::ppcie_part ? devices_.size() - 1 : devices_.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t shown = s == GpuScenario::device_twice ? 0 : i;
    const std::size_t chain = s == GpuScenario::chain_other_device && i == 0 ? 1 : shown;
    const Device& device = devices_[shown];
    nvidia::Device& d = out.devices.emplace_back();
    const nvidia::Architecture arch = device.kind == Kind::nvswitch ? Architecture::ls10 : machine_.arch;
    d.arch = s == GpuScenario::arch_claimed ? "RUBIN" : std::string(nvidia::name(arch));
    d.uuid = "GPU-" + hex(device.pdi);
    d.name = "Simulated " + d.arch;
    d.certificate = devices_[chain].chain;
    CAIRN_TRY(d.report, report(shown, nonce));
  }
  return out;
}

Result<std::map<std::string, Bytes>> GpuSimulator::rims() const {
  std::map<std::string, Bytes> out;
  const auto add = [&](nvidia::RimSource source, Kind kind) -> Result<void> {
    const auto id = simulator::rim_id(machine_, source, kind);
    CAIRN_TRY(out[id], rim(source, kind));
    return {};
  };
  CAIRN_CHECK(add(nvidia::RimSource::driver, Kind::gpu));
  if (machine_.scenario != GpuScenario::rim_missing) CAIRN_CHECK(add(nvidia::RimSource::firmware, Kind::gpu));
  if (machine_.ppcie) CAIRN_CHECK(add(nvidia::RimSource::firmware, Kind::nvswitch));
  return out;
}

}  // namespace cairn::device
