// SPDM transcripts of simulated devices.
#include <algorithm>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "device/simulator/gpu/parts.h"

namespace cairn::device {
namespace simulator {

nvidia::Measurement golden(const GpuMachine& machine, nvidia::Kind kind, std::size_t index) {
  if (kind == nvidia::Kind::gpu && index == 0) return {};  // real VBIOS manifests have zeros here
  const std::string text =
      (kind == nvidia::Kind::gpu ? machine.driver : std::string(kSwitchBios)) + " measurement " + std::to_string(index);
  return crypto::sha384(as_bytes(text));
}

bool covered(nvidia::RimSource source, nvidia::Kind kind, std::size_t index) {
  if (kind == nvidia::Kind::nvswitch) return index <= 30;
  if (source == nvidia::RimSource::driver) return index == 7 || (index >= 21 && index <= 40);
  return index <= 6 || (index >= 8 && index <= 12);
}

std::string rim_id(const GpuMachine& machine, nvidia::RimSource source, nvidia::Kind kind) {
  nvidia::Facts facts{.kind = kind,
                      .driver_version = machine.driver,
                      .firmware_version = std::string(kind == nvidia::Kind::gpu ? kVbiosVersion : kSwitchBios),
                      .project = "1010",
                      .project_sku = "0200",
                      .chip_sku = "882"};
  const bool hopper = machine.arch == nvidia::Architecture::hopper;
  return source == nvidia::RimSource::driver ? nvidia::driver_rim_id(facts, hopper) : nvidia::firmware_rim_id(facts);
}

}  // namespace simulator

namespace {

namespace opaque = nvidia::opaque;
using nvidia::Kind;

// Opaque data under construction, in either form.
class OpaqueWriter {
 public:
  explicit OpaqueWriter(bool nvdaod, std::uint8_t major) : nvdaod_(nvdaod) {
    if (nvdaod_) out_.text("NVDAOD").u16le(0).u8(major).u8(0).u8(0).u8(0);
  }
  void add(std::uint16_t type, ByteView value, std::uint16_t value_type = 0x80) {
    out_.u16le(type);
    if (nvdaod_) out_.u16le(value_type);
    out_.u16le(static_cast<std::uint16_t>(value.size())).bytes(value);
  }
  void add_text(std::uint16_t type, std::string_view text) {
    Bytes value = to_bytes(text);
    value.push_back(0);
    add(type, value);
  }
  void add16(std::uint16_t type, std::uint16_t value, std::uint16_t value_type = 0x80) {
    add(type, Writer().u16le(value).view(), value_type);
  }
  [[nodiscard]] const Bytes& view() const { return out_.view(); }

 private:
  bool nvdaod_;
  Writer out_;
};

struct Fabric {
  std::vector<nvidia::Pdi> gpus, switches;
};

Bytes pdi_bytes(const std::vector<nvidia::Pdi>& list, std::size_t entries, bool reversed) {
  Bytes out;
  for (std::size_t i = 0; i < entries; ++i) {
    nvidia::Pdi id = i < list.size() ? list[i] : nvidia::Pdi{};
    if (reversed) std::ranges::reverse(id);
    append(out, id);
  }
  return out;
}

Bytes gpu_opaque(const GpuMachine& machine, GpuScenario s, bool last, const nvidia::Measurement& fwid,
                 const Fabric& fabric) {
  OpaqueWriter o(machine.nvdaod, s == GpuScenario::report_newer ? 3 : 2);
  auto vbios = simulator::kVbios;
  if (s == GpuScenario::vbios_unknown) vbios[0] = 0x77;
  o.add(opaque::kFirmwareVersion, vbios);
  o.add(opaque::kBoardId, Writer().u32le(0x1234).view());
  o.add_text(opaque::kChipSku, "882");
  o.add_text(opaque::kProject, "1010");
  o.add_text(opaque::kProjectSku, "0200");
  const bool other = machine.scenario == GpuScenario::driver_mixed && last;
  if (s != GpuScenario::driver_unnamed) o.add_text(opaque::kDriverVersion, other ? "550.90.07" : machine.driver);
  o.add(opaque::kGpuInfo, Writer().u64le(0x180).view());
  o.add(opaque::kCounters, Writer().zeros(256).view());
  o.add(opaque::kCprInfo, Writer().u32le(1).view());
  o.add(opaque::kNvdec0, Bytes{opaque::kOff});
  if (machine.nvdaod) o.add16(simulator::kSvnRecord, s == GpuScenario::svn_low ? 6 : simulator::kSvn, opaque::kMinSvn);
  nvidia::Measurement id = fwid;
  if (s == GpuScenario::fwid_other) id[0] ^= 1;
  if (s != GpuScenario::fwid_missing) o.add(opaque::kFwid, id);
  o.add(opaque::kProtectedPcie, Bytes{machine.ppcie ? opaque::kOn : opaque::kOff});
  if (machine.ppcie) {
    std::vector<nvidia::Pdi> links = fabric.switches;
    if (s == GpuScenario::ppcie_links) links[0][0] ^= 1;
    o.add(opaque::kPdi, pdi_bytes(links, 18, true));
  }
  if (!machine.nvdaod) o.add16(opaque::kDataVersion, 1);
  const std::uint16_t flag = s == GpuScenario::multi_tenant ? opaque::kFeatureMulti
                             : machine.ppcie                ? opaque::kFeatureProtectedPcie
                                                            : opaque::kFeatureSingle;
  o.add16(opaque::kFeatureFlag, flag);
  if (s == GpuScenario::report_twice) o.add16(opaque::kFeatureFlag, flag);
  return o.view();
}

Bytes switch_opaque(const GpuMachine& machine, const GpuSimulator::Device& device, const Fabric& fabric) {
  const GpuScenario s = device.position == 3 ? machine.scenario : GpuScenario::none;
  OpaqueWriter o(false, 0);
  o.add_text(opaque::kFirmwareVersion, simulator::kSwitchBios);
  o.add(opaque::kPdi, s == GpuScenario::ppcie_identity ? fabric.switches[0] : device.pdi);
  o.add(opaque::kCounters, Writer().zeros(108).view());
  Bytes gpus = pdi_bytes(fabric.gpus, 8, false);
  gpus.resize(128, 0xFF);
  o.add(opaque::kSwitchGpuPdis, gpus);
  o.add16(opaque::kDisabledPorts, 0);
  o.add16(opaque::kPosition, s == GpuScenario::ppcie_position ? 0 : device.position);
  o.add16(opaque::kLockStatus, s == GpuScenario::ppcie_lock ? 0 : 1);
  return o.view();
}

}  // namespace

Result<Bytes> GpuSimulator::report(std::size_t index, const nvidia::Nonce& nonce) const {
  const Device& device = devices_[index];
  const GpuScenario s = index == 0 ? machine_.scenario : GpuScenario::none;
  Fabric fabric;
  for (const Device& d : devices_) (d.kind == Kind::gpu ? fabric.gpus : fabric.switches).push_back(d.pdi);
  Writer w;
  nvidia::Nonce asked = nonce;
  if (s == GpuScenario::report_replay) asked[0] ^= 1;
  w.u8(0x11).u8(0xE0).u8(1).u8(0xFF).bytes(asked).u8(0);
  const std::size_t blocks = device.kind == Kind::gpu ? 64 : 31;
  const std::size_t record = blocks * 55;
  w.u8(0x11).u8(0x60).u8(0).u8(0).u8(static_cast<std::uint8_t>(blocks));
  w.u8(static_cast<std::uint8_t>(record)).u8(static_cast<std::uint8_t>(record >> 8)).u8(0);
  for (std::size_t i = 0; i < blocks; ++i) {
    nvidia::Measurement value = simulator::golden(machine_, device.kind, i);
    if ((s == GpuScenario::vbios_changed && i == 9) || (s == GpuScenario::driver_changed && i == 23)) value[0] ^= 1;
    w.u8(static_cast<std::uint8_t>(i + 1)).u8(1).u16le(51).u8(1).u16le(48).bytes(value);
  }
  w.bytes(crypto::sha256(as_bytes("responder " + std::to_string(index))));
  const Bytes data = device.kind == Kind::gpu
                         ? gpu_opaque(machine_, s, index + 1 == devices_.size(), device.fwid, fabric)
                         : switch_opaque(machine_, device, fabric);
  w.u16le(static_cast<std::uint16_t>(data.size())).bytes(data);
  Bytes out = std::move(w).take();
  CAIRN_TRY(const Bytes signature, device.key.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha384, out));
  append(out, signature);
  if (s == GpuScenario::report_flip) out[60] ^= 1;
  if (s == GpuScenario::report_truncated) out.pop_back();
  if (s == GpuScenario::report_trailing) out.push_back(1);
  return out;
}

}  // namespace cairn::device
