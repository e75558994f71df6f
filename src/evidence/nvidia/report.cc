#include "evidence/nvidia/report.h"

#include <algorithm>

#include "base/cursor.h"
#include "base/encoding.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/text.h"

namespace cairn::nvidia {
namespace {

constexpr std::uint8_t kSpdmVersion = 0x11, kGetMeasurements = 0xE0, kMeasurements = 0x60;
constexpr std::size_t kBlockSize = 55;
constexpr std::uint16_t kMaxOpaqueMajor = 2, kMaxLegacyVersion = 1;
constexpr std::string_view kMagic = "NVDAOD";

Result<void> expect(Reader& in, std::uint8_t wanted, std::string_view what) {
  const std::string place = in.place();
  CAIRN_TRY(const std::uint8_t got, in.u8());
  if (got == wanted) return {};
  return fail(ErrorCode::malformed, place,
              std::string(what) + " is " + std::to_string(got) + ", not " + std::to_string(wanted));
}
Result<void> expect16(Reader& in, std::uint16_t wanted, std::string_view what) {
  const std::string place = in.place();
  CAIRN_TRY(const std::uint16_t got, in.u16le());
  if (got == wanted) return {};
  return fail(ErrorCode::malformed, place,
              std::string(what) + " is " + std::to_string(got) + ", not " + std::to_string(wanted));
}

Result<void> read_request(Reader& in, Report& out) {
  CAIRN_CHECK(expect(in, kSpdmVersion, "the request's SPDM version"));
  CAIRN_CHECK(expect(in, kGetMeasurements, "the request code"));
  CAIRN_CHECK(expect(in, 1, "the request's signature attribute"));
  CAIRN_CHECK(expect(in, 0xFF, "the measurement asked for"));
  CAIRN_TRY(out.request_nonce, in.fixed<Nonce>());
  return expect(in, 0, "the slot");
}

Result<void> read_blocks(Reader& in, std::uint8_t count, Report& out) {
  out.measurements.reserve(count);
  for (unsigned n = 1; n <= count; ++n) {
    CAIRN_CHECK(expect(in, static_cast<std::uint8_t>(n), "the index of a measurement block"));
    CAIRN_CHECK(expect(in, 1, "the measurement specification"));
    CAIRN_CHECK(expect16(in, kBlockSize - 4, "the size of a measurement"));
    CAIRN_CHECK(expect(in, 1, "the type of a measurement value"));
    CAIRN_CHECK(expect16(in, Measurement::length, "the size of a measurement value"));
    CAIRN_TRY(out.measurements.emplace_back(), in.fixed<Measurement>());
  }
  return in.end();
}

Result<void> add_field(OpaqueField field, const std::string& place, Report& out) {
  if (out.field(field.type) != nullptr)
    return fail(ErrorCode::malformed, place, "opaque type " + std::to_string(field.type) + " is there twice");
  if (out.opaque.size() == kMaxOpaqueFields) return fail(ErrorCode::malformed, place, "too many opaque fields");
  out.opaque.push_back(std::move(field));
  return {};
}

Result<void> read_header(Reader& in) {
  CAIRN_CHECK(in.skip(kMagic.size()));
  CAIRN_CHECK(expect16(in, 0, "the opaque data's profile"));
  const std::string place = in.place();
  CAIRN_TRY(const std::uint8_t major, in.u8());
  if (major > kMaxOpaqueMajor)
    return fail(ErrorCode::unsupported, place,
                "opaque data of version " + std::to_string(major) + " is newer than known");
  return in.skip(3);
}

Result<void> read_opaque(Reader in, Report& out) {
  out.nvdaod = as_text(in.rest()).starts_with(kMagic);
  if (out.nvdaod) CAIRN_CHECK(read_header(in));
  while (!in.empty()) {
    const std::string place = in.place();
    OpaqueField field;
    CAIRN_TRY(field.type, in.u16le());
    if (out.nvdaod) {
      CAIRN_TRY(field.value_type, in.u16le());
    }
    CAIRN_TRY(const std::uint16_t size, in.u16le());
    CAIRN_TRY(const ByteView value, in.bytes(size));
    field.value = to_bytes(value);
    CAIRN_CHECK(add_field(std::move(field), place, out));
  }
  const OpaqueField* version = out.nvdaod ? nullptr : out.field(opaque::kDataVersion);
  if (version == nullptr) return {};
  if (version->value.size() != 2)
    return fail(ErrorCode::malformed, in.place(), "the opaque data version is not 2 bytes");
  if (version->value[0] + (version->value[1] << 8) > kMaxLegacyVersion)
    return fail(ErrorCode::unsupported, in.place(), "opaque data of a version newer than known");
  return {};
}

Result<void> read_response(Reader& in, Report& out) {
  CAIRN_CHECK(expect(in, kSpdmVersion, "the response's SPDM version"));
  CAIRN_CHECK(expect(in, kMeasurements, "the response code"));
  CAIRN_CHECK(expect(in, 0, "the response's first parameter"));
  CAIRN_CHECK(expect(in, 0, "the response's slot"));
  const std::string place = in.place();
  CAIRN_TRY(const std::uint8_t count, in.u8());
  CAIRN_TRY(const ByteView length, in.bytes(3));
  const std::size_t size = length[0] + (std::size_t{length[1]} << 8) + (std::size_t{length[2]} << 16);
  if (count == 0 || size != count * kBlockSize)
    return fail(ErrorCode::malformed, place,
                std::to_string(count) + " measurement blocks do not fill " + std::to_string(size) + " bytes");
  CAIRN_TRY(Reader record, in.sub(size));
  out.measurement_record = to_bytes(record.rest());
  CAIRN_CHECK(read_blocks(record, count, out));
  CAIRN_TRY(out.responder_nonce, in.fixed<Nonce>());
  CAIRN_TRY(const std::uint16_t opaque_size, in.u16le());
  CAIRN_TRY(const Reader data, in.sub(opaque_size));
  return read_opaque(data, out);
}

// ------------------------------------------------------------------------------------------------ opaque facts

std::unexpected<Error> bad_field(std::uint16_t type, std::string message) {
  return fail(ErrorCode::malformed, "opaque type " + std::to_string(type), std::move(message));
}

// Printable ASCII, then NULs only.
Result<std::string> text(const Report& report, std::uint16_t type) {
  const OpaqueField* field = report.field(type);
  if (field == nullptr) return std::string();
  const std::string_view all = as_text(field->value);
  const std::string_view out = all.substr(0, all.find('\0'));
  const bool printable = std::ranges::all_of(out, [](char c) { return c > ' ' && c < 0x7F; });
  const bool padded = std::ranges::all_of(all.substr(out.size()), [](char c) { return c == 0; });
  if (!printable || !padded || out.size() > 64) return bad_field(type, "not a text padded with NULs");
  return std::string(out);
}
Result<std::string> required_text(const Report& report, std::uint16_t type) {
  CAIRN_TRY(std::string out, text(report, type));
  if (out.empty()) return bad_field(type, "absent or empty");
  return out;
}

template <class T>
Result<std::optional<T>> number(const Report& report, std::uint16_t type) {
  const OpaqueField* field = report.field(type);
  if (field == nullptr) return std::nullopt;
  if (field->value.size() != sizeof(T))
    return bad_field(type, std::to_string(field->value.size()) + " bytes, not " + std::to_string(sizeof(T)));
  std::uint64_t value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;) value = (value << 8) | field->value[i];
  return static_cast<T>(value);
}

Result<std::optional<bool>> on_off(const Report& report, std::uint16_t type) {
  CAIRN_TRY(const auto value, number<std::uint8_t>(report, type));
  if (!value) return std::nullopt;
  if (*value != opaque::kOn && *value != opaque::kOff) return bad_field(type, "neither on (AA) nor off (55)");
  return *value == opaque::kOn;
}

// b3.b2.b1.b0.b4 of the eight bytes.
Result<std::string> vbios_version(const Report& report) {
  const OpaqueField* field = report.field(opaque::kFirmwareVersion);
  if (field == nullptr || field->value.size() != 8) return bad_field(opaque::kFirmwareVersion, "not a VBIOS version");
  std::string out;
  for (const std::size_t i : {3, 2, 1, 0, 4})
    out += (out.empty() ? "" : ".") + hex(ByteView(field->value).subspan(i, 1));
  return upper(std::move(out));
}

Result<std::vector<Pdi>> pdi_list(const Report& report, std::uint16_t type, std::size_t max, bool reversed) {
  std::vector<Pdi> out;
  const OpaqueField* field = report.field(type);
  if (field == nullptr) return out;
  if (field->value.size() < max * Pdi::length || field->value.size() % Pdi::length != 0)
    return bad_field(type, "a list of device ids of " + std::to_string(field->value.size()) + " bytes");
  for (std::size_t i = 0; i < max; ++i) {
    Pdi id{};
    std::ranges::copy(ByteView(field->value).subspan(i * Pdi::length, Pdi::length), id.begin());
    if (reversed) std::ranges::reverse(id);
    if (id != Pdi{}) out.push_back(id);
  }
  return out;
}

Result<void> read_gpu(const Report& report, Facts& out) {
  CAIRN_TRY(out.driver_version, required_text(report, opaque::kDriverVersion));
  CAIRN_TRY(out.firmware_version, vbios_version(report));
  CAIRN_TRY(out.project, required_text(report, opaque::kProject));
  CAIRN_TRY(out.project_sku, required_text(report, opaque::kProjectSku));
  CAIRN_TRY(out.project_sku_mod, text(report, opaque::kProjectSkuMod));
  CAIRN_TRY(out.chip_sku, required_text(report, opaque::kChipSku));
  CAIRN_TRY(out.chip_sku_mod, text(report, opaque::kChipSkuMod));
  CAIRN_TRY(out.chip, text(report, opaque::kChipInfo));
  CAIRN_TRY(out.nvdec0, number<std::uint8_t>(report, opaque::kNvdec0));
  CAIRN_TRY(out.protected_pcie, on_off(report, opaque::kProtectedPcie));
  CAIRN_TRY(out.feature_flag, number<std::uint16_t>(report, opaque::kFeatureFlag));
  CAIRN_TRY(out.fsp_ucode_svn, number<std::uint16_t>(report, opaque::kFspUcodeSvn));
  CAIRN_TRY(out.board_id, number<std::uint32_t>(report, opaque::kBoardId));
  CAIRN_TRY(out.cpr_info, number<std::uint32_t>(report, opaque::kCprInfo));
  CAIRN_TRY(out.gpu_info, number<std::uint64_t>(report, opaque::kGpuInfo));
  const OpaqueField* pdis = report.field(opaque::kPdi);
  CAIRN_TRY(out.switch_pdis,
            pdi_list(report, opaque::kPdi, pdis == nullptr ? 0 : pdis->value.size() / Pdi::length, true));
  std::ranges::sort(out.switch_pdis);
  const auto same = std::ranges::unique(out.switch_pdis);
  out.switch_pdis.erase(same.begin(), same.end());
  const OpaqueField* fwid = report.field(opaque::kFwid);
  if (fwid == nullptr) return {};
  const Result<Measurement> id = Measurement::from(fwid->value);
  if (!id) return bad_field(opaque::kFwid, id.error().message);
  out.fwid = *id;
  return {};
}

Result<void> read_switch(const Report& report, Facts& out) {
  constexpr std::size_t kGpusOfSwitch = 8;
  CAIRN_TRY(out.firmware_version, required_text(report, opaque::kFirmwareVersion));
  out.firmware_version = upper(std::move(out.firmware_version));
  CAIRN_TRY(const auto own, pdi_list(report, opaque::kPdi, 1, false));
  if (own.size() != 1 || report.field(opaque::kPdi)->value.size() != Pdi::length)
    return bad_field(opaque::kPdi, "a switch has exactly one device id of its own");
  out.device_pdi = own.front();
  CAIRN_TRY(out.gpu_pdis, pdi_list(report, opaque::kSwitchGpuPdis,
                                   report.field(opaque::kSwitchGpuPdis) == nullptr ? 0 : kGpusOfSwitch, false));
  CAIRN_TRY(out.disabled_ports, number<std::uint16_t>(report, opaque::kDisabledPorts));
  CAIRN_TRY(out.position, number<std::uint16_t>(report, opaque::kPosition));
  CAIRN_TRY(out.lock_status, number<std::uint16_t>(report, opaque::kLockStatus));
  return {};
}

std::string safe_id(std::string id) {
  id = upper(std::move(id));
  const bool safe = std::ranges::all_of(
      id, [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; });
  return safe && id.size() <= 128 ? id : std::string();
}

std::string without_dots(std::string text) {
  std::erase(text, '.');
  return text;
}

}  // namespace

const OpaqueField* Report::field(std::uint16_t type) const {
  const auto found = std::ranges::find(opaque, type, &OpaqueField::type);
  return found == opaque.end() ? nullptr : &*found;
}

Result<Report> parse_report(ByteView bytes) {
  if (bytes.size() > kMaxReport)
    return fail(ErrorCode::malformed, "a report has at most " + std::to_string(kMaxReport) + " bytes");
  Reader in(bytes);
  Report out;
  CAIRN_CHECK(read_request(in, out));
  CAIRN_CHECK(read_response(in, out));
  out.signed_size = in.offset();
  CAIRN_TRY(const ByteView signature, in.bytes(out.signature.size()));
  std::ranges::copy(signature, out.signature.begin());
  out.trailing = in.remaining();
  if (out.trailing > kMaxTrailing || std::ranges::any_of(in.rest(), [](std::uint8_t b) { return b != 0; }))
    return fail(ErrorCode::malformed, in.place(), "bytes after the signature");
  return out;
}

Result<Facts> read_facts(const Report& report, Kind kind) {
  Facts out{.kind = kind};
  if (kind == Kind::gpu) {
    CAIRN_CHECK(read_gpu(report, out));
  } else {
    CAIRN_CHECK(read_switch(report, out));
  }
  const OpaqueField* counters = report.field(opaque::kCounters);
  if (counters == nullptr) return out;
  if (counters->value.size() % 4 != 0) return bad_field(opaque::kCounters, "not a list of 32-bit numbers");
  Reader in(counters->value);
  while (!in.empty()) {
    CAIRN_TRY(out.counters.emplace_back(), in.u32le());
  }
  return out;
}

std::string driver_rim_id(const Facts& facts, bool hopper) {
  if (facts.driver_version.empty()) return {};
  if (hopper) return safe_id("NV_GPU_DRIVER_GH100_" + facts.driver_version);
  return safe_id("NV_GPU_CC_DRIVER_" + (facts.chip.empty() ? "GB100" : facts.chip) + "_" + facts.driver_version);
}

std::string firmware_rim_id(const Facts& facts) {
  const std::string version = without_dots(facts.firmware_version);
  if (facts.kind == Kind::nvswitch) return safe_id("NV_SWITCH_BIOS_5612_0002_890_" + version);
  return safe_id("NV_GPU_VBIOS_" + facts.project + "_" + facts.project_sku + "_" + facts.chip_sku + "_" + version);
}

}  // namespace cairn::nvidia
