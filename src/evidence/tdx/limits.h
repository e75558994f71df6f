// Bounds of the TDX verifier that are not part of the public headers. Each is tested at the limit and one past it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::tdx {

inline constexpr std::size_t kMaxJsonDepth = 16;
inline constexpr std::size_t kMaxJsonMembers = 128;  // of one object; Intel's largest has 18
inline constexpr std::size_t kMaxTcbLevels = 1024;   // of one list
inline constexpr std::size_t kMaxModules = 64;
inline constexpr std::size_t kMaxAdvisories = 256;  // of one level
inline constexpr std::size_t kMaxAdvisoryLength = 64;

inline constexpr std::uint32_t kUsesBeforeTable = 1024;  // of an authority's key; its table costs 600 uses

}  // namespace cairn::tdx
