#include "evidence/tdx/hardware_report.h"

#include "crypto/hash.h"

namespace cairn::tdx {
namespace {

// TDREPORT: REPORTMACSTRUCT 256, TEE_TCB_INFO 239, reserved 17, TDINFO 512.
constexpr std::size_t kTcbInfoOffset = 256;
constexpr std::size_t kTcbInfoSize = 239;
constexpr std::size_t kTdInfoOffset = 512;
constexpr std::size_t kTdInfoSize = 512;
constexpr std::uint64_t kTcbValid10 = 0x1ff;    // every TDX 1.0 field
constexpr std::uint64_t kTcbValid15 = 0x301ff;  // and TEE_TCB_SVN_2

template <std::size_t N>
void copy_field(Reader& in, std::array<std::uint8_t, N>& out) {
  std::ranges::copy(*in.bytes(N), out.begin());  // the cursor holds all 1024 bytes
}

Result<void> zeros(Reader& in, std::size_t n) {
  const std::string place = in.place();
  CAIRN_TRY(const ByteView v, in.bytes(n));
  if (std::ranges::any_of(v, [](std::uint8_t b) { return b != 0; }))
    return fail(ErrorCode::malformed, place, "reserved bytes are not zero");
  return {};
}

Result<void> check_digest(ByteView expected, ByteView over, std::size_t place) {
  if (equal(expected, crypto::sha384(over))) return {};
  return fail(ErrorCode::malformed, "offset " + std::to_string(place), "digest does not fit the report");
}

Result<void> parse_mac_struct(Reader& r, ByteView bytes, HardwareReport& out) {
  const std::uint8_t type = *r.u8();
  const std::uint8_t subtype = *r.u8();
  out.version = *r.u8();
  const std::uint8_t reserved = *r.u8();
  if (type != static_cast<std::uint8_t>(TeeType::tdx) || subtype != 0 || reserved != 0)
    return fail(ErrorCode::malformed, "offset 0", "not a TD's report");
  if (out.version != 0 && out.version != 1 && out.version != 3)
    return fail(ErrorCode::unsupported, "offset 2", "report version " + std::to_string(out.version));
  CAIRN_CHECK(zeros(r, 12));
  copy_field(r, out.cpu_svn);
  CAIRN_CHECK(check_digest(*r.bytes(48), bytes.subspan(kTcbInfoOffset, kTcbInfoSize), 32));
  CAIRN_CHECK(check_digest(*r.bytes(48), bytes.subspan(kTdInfoOffset, kTdInfoSize), 80));
  copy_field(r, out.td.report_data);
  CAIRN_CHECK(zeros(r, 32));
  copy_field(r, out.mac);
  return {};
}

Result<void> parse_tcb_info(Reader& r, HardwareReport& out) {
  out.tcb_valid = *r.u64le();
  if (out.tcb_valid != kTcbValid10 && out.tcb_valid != kTcbValid15)
    return fail(ErrorCode::unsupported, "offset 256", "an unknown set of valid fields");
  copy_field(r, out.td.tee_tcb_svn);
  copy_field(r, out.td.mr_seam);
  copy_field(r, out.td.mr_signer_seam);
  copy_field(r, out.td.seam_attributes);
  copy_field(r, out.td.td15.emplace().tee_tcb_svn_2);
  return zeros(r, kTdInfoOffset - r.offset());
}

Result<void> parse_td_info(Reader& r, HardwareReport& out) {
  TdReport& t = out.td;
  t.td_attributes = *r.u64le();
  t.xfam = *r.u64le();
  for (Register* reg : {&t.mr_td, &t.mr_config_id, &t.mr_owner, &t.mr_owner_config, &t.rtmr[0], &t.rtmr[1], &t.rtmr[2],
                        &t.rtmr[3], &t.td15->mr_service_td})
    copy_field(r, *reg);
  if (out.version < 3) return zeros(r, r.remaining());
  // §1.7 gives 56 bytes for TD_ID; the quote's field takes 32.
  Td15Extended& x = t.extended.emplace();
  copy_field(r, x.td_id);
  CAIRN_CHECK(zeros(r, 24));
  x.vm_id = *r.u8();
  CAIRN_CHECK(zeros(r, 3));
  out.td_valid = *r.u16le();
  return zeros(r, r.remaining());
}

Bytes encode_tcb_info(const HardwareReport& report) {
  const TdReport& t = report.td;
  Writer w;
  w.u64le(report.tcb_valid).bytes(t.tee_tcb_svn).bytes(t.mr_seam).bytes(t.mr_signer_seam).bytes(t.seam_attributes);
  w.bytes(t.td15 ? t.td15->tee_tcb_svn_2 : Svn16{});
  return std::move(w.zeros(kTcbInfoSize - w.size())).take();
}

Bytes encode_td_info(const HardwareReport& report) {
  const TdReport& t = report.td;
  Writer w;
  w.u64le(t.td_attributes).u64le(t.xfam).bytes(t.mr_td).bytes(t.mr_config_id).bytes(t.mr_owner);
  w.bytes(t.mr_owner_config);
  for (const Register& reg : t.rtmr) w.bytes(reg);
  w.bytes(t.td15 ? t.td15->mr_service_td : Register{});
  if (t.extended) {
    w.bytes(t.extended->td_id).zeros(24).u8(t.extended->vm_id).zeros(3).u16le(report.td_valid);
  }
  return std::move(w.zeros(kTdInfoSize - w.size())).take();
}

}  // namespace

Result<HardwareReport> parse_hardware_report(ByteView bytes) {
  if (bytes.size() != kHardwareReportSize)
    return fail(ErrorCode::malformed, "offset " + std::to_string(bytes.size()), "a TDREPORT has 1024 bytes");
  Reader r(bytes);
  HardwareReport out;
  CAIRN_CHECK(parse_mac_struct(r, bytes, out));
  CAIRN_CHECK(parse_tcb_info(r, out));
  CAIRN_CHECK(parse_td_info(r, out));
  return out;
}

Bytes encode(const HardwareReport& report) {
  const Bytes tcb = encode_tcb_info(report);
  const Bytes td = encode_td_info(report);
  Writer w;
  w.u8(static_cast<std::uint8_t>(TeeType::tdx)).u8(0).u8(report.version).u8(0).zeros(12).bytes(report.cpu_svn);
  w.bytes(crypto::sha384(tcb)).bytes(crypto::sha384(td)).bytes(report.td.report_data).zeros(32).bytes(report.mac);
  w.bytes(tcb).zeros(kTdInfoOffset - kTcbInfoOffset - kTcbInfoSize).bytes(td);
  return std::move(w).take();
}

Result<QuoteShape> quote_shape(const HardwareReport& report) {
  const bool has_svn2 = report.tcb_valid == kTcbValid15 && report.td.td15.has_value();
  QuoteShape out{.version = 5, .body = report.td};
  Td15 extra{.tee_tcb_svn_2 = has_svn2 ? report.td.td15->tee_tcb_svn_2 : report.td.tee_tcb_svn,
             .mr_service_td = report.td.td15 ? report.td.td15->mr_service_td : Register{}};
  if (report.version == 0) {
    extra.mr_service_td = {};
    if (extra.tee_tcb_svn_2 == report.td.tee_tcb_svn) {
      out.version = 4;
      out.body.td15.reset();
      out.body.extended.reset();
      return out;
    }
  }
  out.body.td15 = extra;
  if (report.version != 3) {
    out.body.extended.reset();
  } else if (!out.body.extended || report.td_valid == 0) {
    return fail(ErrorCode::unsupported, "version", "a report of version 3 without TD_ID and VM_ID");
  }
  return out;
}

}  // namespace cairn::tdx
