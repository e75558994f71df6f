// TDREPORT: the 1024 bytes the TDX module gives a TD and the quoting enclave turns into a quote. tdx-dcap §1.7.
#pragma once

#include "evidence/tdx/quote.h"

namespace cairn::tdx {

inline constexpr std::size_t kHardwareReportSize = 1024;

struct HardwareReport {
  std::uint8_t version = 0;  // 0: TDX 1.0; 1: with a service TD; 3: partitioned TDs
  Svn16 cpu_svn{};
  Digest<32> mac{};                   // over the first 224 bytes, by a key only the platform has
  std::uint64_t tcb_valid = 0x301ff;  // 0x1ff: no TEE_TCB_SVN_2
  std::uint16_t td_valid = 0;         // version 3: which of TD_ID and VM_ID hold
  TdReport td;                        // td.td15: TEE_TCB_SVN_2 and SERVTD_HASH; td.extended: TD_ID and VM_ID

  bool operator==(const HardwareReport&) const = default;
};

// Checks type 0x81, reserved bytes and both SHA-384 digests; the MAC is the platform's to check.
[[nodiscard]] Result<HardwareReport> parse_hardware_report(ByteView bytes);
// Computes both digests; writes `mac` as given.
[[nodiscard]] Bytes encode(const HardwareReport& report);
// The first 224 bytes of an encoded report: what the MAC covers.
inline constexpr std::size_t kHardwareReportMacOffset = 224;

struct QuoteShape {
  std::uint16_t version;  // 4 or 5
  TdReport body;          // with td15 exactly where the quoting enclave would write it
};
// The rule by which the TD quoting enclave chooses quote version and body.
[[nodiscard]] Result<QuoteShape> quote_shape(const HardwareReport& report);

}  // namespace cairn::tdx
