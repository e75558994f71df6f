// The attestation report of a GPU or NVSwitch: an SPDM 1.1 GET_MEASUREMENTS request and its signed MEASUREMENTS answer,
// with the maker's opaque data. Parsing proves nothing; verify.h does. nvidia-gpu §3.1 to §3.3, DMTF DSP0274 §10.11.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace cairn::nvidia {

using Nonce = FixedBytes<32, struct NvidiaNonceTag>;
using Measurement = Digest<48>;
using Pdi = FixedBytes<8, struct PdiTag>;  // a device's identifier on the NVLink fabric

enum class Kind : std::uint8_t { gpu, nvswitch };

// Types of opaque data that have a meaning here; others are kept raw.
namespace opaque {
inline constexpr std::uint16_t kDriverVersion = 3, kGpuInfo = 4, kFirmwareVersion = 6, kNvdec0 = 11, kCounters = 12,
                               kCprInfo = 13, kBoardId = 14, kChipSku = 15, kChipSkuMod = 16, kProject = 17,
                               kProjectSku = 18, kProjectSkuMod = 19, kFwid = 20, kProtectedPcie = 21, kPdi = 22,
                               kDisabledPorts = 23, kPosition = 24, kLockStatus = 25, kSwitchGpuPdis = 26,
                               kDataVersion = 34, kChipInfo = 35, kFeatureFlag = 36, kFspUcodeSvn = 37;
inline constexpr std::uint16_t kMinSvn = 0x87;          // value type of records that a RIM bounds from below
inline constexpr std::uint8_t kOn = 0xAA, kOff = 0x55;  // NVDEC0 and protected PCIe
inline constexpr std::uint16_t kFeatureSingle = 0, kFeatureMulti = 1, kFeatureProtectedPcie = 2;
}  // namespace opaque

struct OpaqueField {
  std::uint16_t type = 0;
  std::uint16_t value_type = 0;  // 0 in the legacy form, which has none
  Bytes value;
};

struct Report {
  Nonce request_nonce{}, responder_nonce{};
  std::vector<Measurement> measurements;  // block n at n - 1
  bool nvdaod = false;                    // opaque data with header and value types
  std::vector<OpaqueField> opaque;        // in order, no type twice
  std::size_t signed_size = 0;            // leading bytes that the signature covers
  std::array<std::uint8_t, 96> signature{};
  std::size_t trailing = 0;  // zero bytes after the signature
  Bytes measurement_record;  // as received

  [[nodiscard]] const OpaqueField* field(std::uint16_t type) const;
};

// malformed at an offset; unsupported for opaque data of a newer major version than is known.
[[nodiscard]] Result<Report> parse_report(ByteView bytes);

// What the opaque data says, decoded.
struct Facts {
  Kind kind = Kind::gpu;
  std::string driver_version;    // GPUs only
  std::string firmware_version;  // VBIOS or switch BIOS, upper case
  std::string project, project_sku, project_sku_mod, chip_sku, chip_sku_mod, chip;
  std::optional<Measurement> fwid;  // id of the firmware that holds the attestation key
  std::optional<std::uint8_t> nvdec0;
  std::optional<bool> protected_pcie;
  std::optional<std::uint16_t> feature_flag, fsp_ucode_svn, disabled_ports, position, lock_status;
  std::optional<std::uint32_t> board_id, cpr_info;
  std::optional<std::uint64_t> gpu_info;
  std::vector<std::uint32_t> counters;
  std::vector<Pdi> switch_pdis;   // GPU: switches it is linked to, in the switches' own byte order, sorted, each once
  std::optional<Pdi> device_pdi;  // switch: its own
  std::vector<Pdi> gpu_pdis;      // switch: GPUs it is linked to, in the order of the report
};
// malformed where a field is absent that every report has, or has a size or text it must not have.
[[nodiscard]] Result<Facts> read_facts(const Report& report, Kind kind);

// RIM ids of §4; "" where the report's texts would not make a safe id (only A-Z, 0-9, '_' and '.').
[[nodiscard]] std::string driver_rim_id(const Facts& facts, bool hopper);
[[nodiscard]] std::string firmware_rim_id(const Facts& facts);

}  // namespace cairn::nvidia
