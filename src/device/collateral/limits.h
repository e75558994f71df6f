// Bounds of the collateral cache.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::device {

inline constexpr std::size_t kMaxPlatforms = 256;                // kept in memory; the one used longest ago goes
inline constexpr std::size_t kMaxFlights = 32;                   // fetches under way
inline constexpr std::int64_t kRefreshAfter = 72 * 3600;         // seconds after which a fetch is tried again
inline constexpr std::int64_t kRefreshBeforeExpiry = 24 * 3600;  // or so long before the first item expires
inline constexpr std::int64_t kRefreshRetry = 3600;              // after a refresh that failed
inline constexpr std::int64_t kFailureMemory = 10;               // a failed first fetch is not repeated sooner

}  // namespace cairn::device
