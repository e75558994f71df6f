// What Intel certifies about a machine inside its PCK certificate: OID 1.2.840.113741.1.13.1. tdx-dcap §2.4.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace cairn::sgx {

inline constexpr std::string_view kPckExtensionOid = "1.2.840.113741.1.13.1";

enum class PlatformType : std::uint8_t { standard = 0, scalable = 1, scalable_with_integrity = 2 };
[[nodiscard]] std::string_view name(PlatformType type);  // "Standard", "Scalable", "ScalableWithIntegrity"

struct PckExtension {
  std::array<std::uint8_t, 16> ppid{};
  std::array<std::uint8_t, 16> components{};  // component SVNs 1 to 16
  std::uint16_t pce_svn = 0;
  std::array<std::uint8_t, 16> cpu_svn{};
  std::array<std::uint8_t, 2> pce_id{};
  std::array<std::uint8_t, 6> fmspc{};
  PlatformType type = PlatformType::scalable;
  // Platform-CA certificates only:
  std::optional<std::array<std::uint8_t, 16>> platform_instance_id;
  std::optional<bool> dynamic_platform;
  std::optional<bool> cached_keys;
  std::optional<bool> smt_enabled;
  bool has_configuration = false;  // entry 7 is present, even if empty

  bool operator==(const PckExtension&) const = default;
};

// `der` is the content of the extension's OCTET STRING. Strict DER; each known entry at most once, the first five
// required, unknown entries ignored.
[[nodiscard]] Result<PckExtension> parse_pck_extension(ByteView der);
[[nodiscard]] Bytes encode(const PckExtension& extension);

}  // namespace cairn::sgx
