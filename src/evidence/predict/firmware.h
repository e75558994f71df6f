// MRTD from a TDX firmware image (TDVF): what the VMM adds and measures before the first instruction of a TD.
// spec/tdx-dcap.md §4.5. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::predict {

inline constexpr std::size_t kMaxFirmware = 64U << 20;
inline constexpr std::size_t kMaxSections = 64;
inline constexpr std::uint64_t kMaxMeasuredMemory = 1ULL << 30;  // of all sections together
inline constexpr std::uint64_t kPage = 4096;

enum class SectionType : std::uint32_t {
  bfv = 0,
  cfv = 1,
  td_hob = 2,
  temp_mem = 3,
  perm_mem = 4,
  payload = 5,
  payload_param = 6,
  td_info = 7,
  td_params = 8,
};

struct Section {
  std::uint32_t data_offset = 0;  // in the image
  std::uint32_t raw_size = 0;
  std::uint64_t address = 0;  // guest-physical
  std::uint64_t memory_size = 0;
  SectionType type = SectionType::bfv;
  bool measured = false;     // MR.EXTEND
  bool added_later = false;  // PAGE.AUG

  [[nodiscard]] std::uint64_t end() const { return address + memory_size; }
};

// The sections of the image's TDX metadata, in its order. malformed where the metadata is missing or breaks its rules:
// page-aligned, data inside the image, raw size within memory size, at most kMaxMeasuredMemory in all.
[[nodiscard]] Result<std::vector<Section>> parse_firmware(ByteView image);

// How the VMM orders its calls: per page (QEMU 9 and later, td-shim), or all additions of a section before its
// measurements (QEMU 8 TDX forks). The same image gives two different MRTDs.
enum class PageOrder { single_pass, two_pass };
[[nodiscard]] Digest<48> mrtd(ByteView image, const std::vector<Section>& sections, PageOrder order);

// SHA-384 of the configuration volume's data; not_found where the image has none.
[[nodiscard]] Result<Digest<48>> configuration_volume_digest(ByteView image, const std::vector<Section>& sections);

}  // namespace cairn::predict
