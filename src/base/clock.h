// Time as data. Pure areas take a Time; only edges ask the clock.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cairn {

// Seconds since 1970-01-01T00:00:00Z, no leap seconds.
struct Time {
  std::int64_t seconds = 0;
  auto operator<=>(const Time&) const = default;
  [[nodiscard]] Time plus(std::int64_t s) const { return {seconds + s}; }
};

[[nodiscard]] Time now();
[[nodiscard]] std::string rfc3339(Time t);  // "2026-01-31T12:00:00Z"
// RFC 3339 with Z or an offset; fractions of a second are cut. Years 1 to 9999.
[[nodiscard]] Result<Time> parse_rfc3339(std::string_view text);
// Seconds since the epoch of a UTC date and time already checked by the caller to be in range.
[[nodiscard]] Time from_civil(int year, int month, int day, int hour, int minute, int second);

// Milliseconds on a clock that never goes back.
[[nodiscard]] std::int64_t monotonic_ms();

}  // namespace cairn
