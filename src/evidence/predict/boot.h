// RTMR0-2 of a TD that QEMU boots directly into a kernel through OVMF. spec/tdx-dcap.md §4.6. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/hash.h"
#include "evidence/predict/firmware.h"

namespace cairn::predict {

inline constexpr std::size_t kMaxKernel = 256U << 20;

// SHA-384(register || digest) over the digests, from zeros.
[[nodiscard]] Digest<48> replay(const std::vector<Digest<48>>& digests);

// --- RTMR0 ---

// The hand-off block list that QEMU writes for `memory` bytes of RAM; its SHA-384 is RTMR0's first event. malformed
// where the image has no TD_HOB section, where sections overlap, or where they lie outside the memory.
[[nodiscard]] Result<Bytes> td_hob(const std::vector<Section>& sections, std::uint64_t memory);
// Digest of an absent (or given) variable as firmware measures it: GUID, name length, data length, name, data.
// `guid` is the 16 bytes as in memory, `name` ASCII.
[[nodiscard]] Digest<48> variable_digest(ByteView guid, std::string_view name, ByteView data = {});

// SHA-384 of the fw_cfg blobs etc/table-loader, etc/acpi/rsdp, etc/acpi/tables: they depend on the QEMU version and the
// machine's shape and come from a live guest or its event log.
struct AcpiDigests {
  Digest<48> loader, rsdp, tables;
};

// --- RTMR1 ---

// The kernel as QEMU changes it in memory before OVMF measures it. malformed unless a bzImage of protocol 2.02 or later
// that loads high.
[[nodiscard]] Result<Bytes> patched_kernel(ByteView bzimage, std::uint64_t initrd_size, std::uint64_t memory);
// Authenticode hash of a PE32+ image. malformed where headers or sections run out of bounds.
[[nodiscard]] Result<Bytes> authenticode(ByteView image, crypto::Hash hash);

// --- RTMR2 ---

// The command line as the kernel's EFI stub measures it: UTF-16LE with terminator. `text` is what -append got; the
// " initrd=initrd" that OVMF adds is appended where an initrd is used.
[[nodiscard]] Result<Digest<48>> command_line_digest(std::string_view text, bool initrd);

// What goes in, as digests where a file is large or not at hand.
struct DirectBoot {
  std::vector<Section> sections;
  Digest<48> cfv{};
  std::uint64_t memory = 0;
  std::optional<AcpiDigests> acpi;  // without it RTMR0 is not predicted
  Digest<48> kernel{};              // Authenticode SHA-384 of the patched kernel
  Digest<48> command_line{};
  std::optional<Digest<48>> initrd;
};
struct Event {
  std::string name;
  Digest<48> digest;
};
struct Registers {
  std::optional<Digest<48>> rtmr0;
  Digest<48> rtmr1{}, rtmr2{};
  std::vector<Event> events0, events1, events2;
};
[[nodiscard]] Result<Registers> direct_boot(const DirectBoot& boot);

}  // namespace cairn::predict
