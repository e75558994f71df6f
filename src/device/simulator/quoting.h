// The TDX module and the quoting enclave of the simulated platform: register state to TDREPORT to quote.
// spec/tdx-dcap.md §1.7, §8.2.
#pragma once

#include "device/simulator/pki.h"
#include "evidence/tdx/hardware_report.h"

namespace cairn::device::simulator {

// What the TD is, apart from the report data of one request.
struct TdState {
  Digest<48> mr_td{}, mr_config_id{};
  std::array<Digest<48>, 4> rtmr{};
  bool quote_v5 = false;
};

// TDG.MR.REPORT: 1024 bytes with a MAC that only this platform's quoting enclave can check.
[[nodiscard]] Bytes make_hardware_report(const TdState& td, const ReportData& report_data, const Keys& keys,
                                         Scenario scenario);
// The quoting enclave: crypto_failed unless the report's MAC is this platform's. `pck_chain` is PEM. The scenarios that
// spoil a quote are applied here, quote_replay excepted.
[[nodiscard]] Result<Bytes> make_quote(ByteView hardware_report, const Keys& keys, const Platform& platform,
                                       std::string_view pck_chain, Scenario scenario);

}  // namespace cairn::device::simulator
