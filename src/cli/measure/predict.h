// What `cairn measure` computes, apart from its command line: reference values from files, registers from logs and from
// measurement manifests.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/json.h"
#include "evidence/predict/boot.h"

namespace cairn::cli {

namespace limits {
inline constexpr std::size_t acpi_bytes = 16U << 20;
}  // namespace limits

struct BootInputs {
  std::filesystem::path firmware, kernel, initrd;  // kernel and initrd may be absent: then only MRTD is predicted
  std::string cmdline;                             // what QEMU's -append got
  std::uint64_t memory = 0;
  // RTMR0 needs the three ACPI blobs, or the log of a guest of the same shape.
  std::filesystem::path acpi_loader, acpi_rsdp, acpi_tables, acpi_from_log;
};
// {"mrtd":{"single_pass","two_pass"},"rtmr0","rtmr1","rtmr2","events":{…},"inputs":{name:{"path","sha256"}},…}:
// registers that the inputs do not determine are absent.
[[nodiscard]] Result<Json> predict_boot(const BootInputs& inputs);

// RTMR3 after the events of a measurement manifest {"boot_id":TEXT,"subjects":[{"kind","name","sha384"|"file"}],
// "doubles":bool}; "file" is relative to `folder` and hashed. Gives {"rtmr3":{"text","tcg2"},"events":[…],
// "reference_values":{key:[content]}}.
[[nodiscard]] Result<Json> predict_runtime(const Json& manifest, const std::filesystem::path& folder);

// Registers and events of a CCEL (padded or not, with or without AAEL) or of a text AAEL, told apart by content.
[[nodiscard]] Result<Json> replay_log(ByteView bytes);

// "2G", "512M", or bytes without a letter; powers of 1024.
[[nodiscard]] Result<std::uint64_t> parse_memory(std::string_view text);

}  // namespace cairn::cli
