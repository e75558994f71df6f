// What caches of collateral tell of themselves.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::device {

// Since the cache was made.
struct CollateralCounts {
  std::uint64_t hits = 0;      // uses of what was held
  std::uint64_t fetches = 0;   // of what was not, or was due
  std::uint64_t failures = 0;  // of these
  std::size_t held = 0;        // now
  std::int64_t oldest = 0;     // seconds since the fetch of the oldest held; 0: nothing is
};

}  // namespace cairn::device
