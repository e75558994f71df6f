// Intel TDX as Linux offers it. spec/guest.md §6.
#pragma once

#include <filesystem>
#include <memory>

#include "device/kernel.h"
#include "device/tee.h"

namespace cairn::device {

// Where the kernel keeps things; other places only for tests and containers that mount them elsewhere.
struct LinuxPaths {
  std::filesystem::path tsm_reports = "/sys/kernel/config/tsm/report";
  std::filesystem::path device = "/dev/tdx_guest";
  std::filesystem::path measurements = "/sys/devices/virtual/misc/tdx_guest/measurements";
  std::filesystem::path qgs_config = "/etc/tdx-attest.conf";
  std::filesystem::path ccel_table = "/sys/firmware/acpi/tables/CCEL";
  std::filesystem::path ccel_data = "/sys/firmware/acpi/tables/data/CCEL";
  std::filesystem::path memory = "/dev/mem";
};

// Quotes: configfs-tsm, then the quoting service over vsock where qgs_config names a port, then the GET_QUOTE ioctl.
// Extensions: the measurement files, then the EXTEND_RTMR ioctl in both encodings, then libtdx_attest. Registers: the
// measurement files, then TDREPORT. unavailable where none of it exists (the message says what was looked for).
[[nodiscard]] Result<std::unique_ptr<Tee>> open_linux_tdx(LinuxPaths paths = {},
                                                          std::unique_ptr<Kernel> kernel = real_kernel());

// The port of a tdx-attest.conf; 0 where it names none: vsock is then not used. The first "port = N" line counts.
[[nodiscard]] std::uint32_t parse_qgs_config(std::string_view text);

// The quoting service's messages: a framed GET_QUOTE request for a TDREPORT, and the quote in a response body.
[[nodiscard]] Bytes qgs_quote_request(ByteView td_report);
[[nodiscard]] Result<Bytes> parse_qgs_quote_response(ByteView body);

}  // namespace cairn::device
