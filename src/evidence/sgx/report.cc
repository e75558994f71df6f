#include "evidence/sgx/report.h"

namespace cairn::sgx {
namespace {

// Size was checked by the caller: the cursor holds the whole report.
template <std::size_t N>
void take(Reader& in, std::array<std::uint8_t, N>& out) {
  std::ranges::copy(*in.bytes(N), out.begin());
}

}  // namespace

std::uint64_t Report::flags() const { return *Reader(ByteView(attributes)).u64le(); }

Result<Report> parse_report(Reader& in) {
  CAIRN_TRY(Reader r, in.sub(kReportSize));
  Report out;
  take(r, out.cpu_svn);
  take(r, out.misc_select);
  take(r, out.reserved1);
  take(r, out.isv_ext_prod_id);
  take(r, out.attributes);
  take(r, out.mr_enclave);
  take(r, out.reserved2);
  take(r, out.mr_signer);
  take(r, out.reserved3);
  take(r, out.config_id);
  out.isv_prod_id = *r.u16le();
  out.isv_svn = *r.u16le();
  out.config_svn = *r.u16le();
  take(r, out.reserved4);
  take(r, out.isv_family_id);
  take(r, out.report_data);
  return out;
}

void write(const Report& report, Writer& out) {
  out.bytes(report.cpu_svn).bytes(report.misc_select).bytes(report.reserved1).bytes(report.isv_ext_prod_id);
  out.bytes(report.attributes).bytes(report.mr_enclave).bytes(report.reserved2).bytes(report.mr_signer);
  out.bytes(report.reserved3).bytes(report.config_id);
  out.u16le(report.isv_prod_id).u16le(report.isv_svn).u16le(report.config_svn);
  out.bytes(report.reserved4).bytes(report.isv_family_id).bytes(report.report_data);
}

}  // namespace cairn::sgx
