// The report body of an SGX enclave: the quoting enclave's own report in every quote, and the body of SGX quotes.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/cursor.h"

namespace cairn::sgx {

inline constexpr std::size_t kReportSize = 384;
inline constexpr std::uint64_t kFlagDebug = 1U << 1;  // of Report::flags()

// 384 bytes, tdx-dcap §1.2. Reserved bytes are kept so that write(parse(x)) == x.
struct Report {
  std::array<std::uint8_t, 16> cpu_svn{};
  std::array<std::uint8_t, 4> misc_select{};  // in memory order, as QE identities spell it
  std::array<std::uint8_t, 12> reserved1{};
  std::array<std::uint8_t, 16> isv_ext_prod_id{};
  std::array<std::uint8_t, 16> attributes{};  // flags (8, little-endian), XFRM (8)
  Digest<32> mr_enclave{};
  std::array<std::uint8_t, 32> reserved2{};
  Digest<32> mr_signer{};
  std::array<std::uint8_t, 32> reserved3{};
  std::array<std::uint8_t, 64> config_id{};
  std::uint16_t isv_prod_id = 0;
  std::uint16_t isv_svn = 0;
  std::uint16_t config_svn = 0;
  std::array<std::uint8_t, 42> reserved4{};
  std::array<std::uint8_t, 16> isv_family_id{};
  ReportData report_data{};

  [[nodiscard]] std::uint64_t flags() const;
  [[nodiscard]] bool debug() const { return (flags() & kFlagDebug) != 0; }
  bool operator==(const Report&) const = default;
};

// Takes exactly 384 bytes from `in`.
[[nodiscard]] Result<Report> parse_report(Reader& in);
void write(const Report& report, Writer& out);

}  // namespace cairn::sgx
