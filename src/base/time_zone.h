// Time zones by name, from the system's database. Pure areas are handed zone_offset by whoever calls them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

struct ZoneOffset {
  std::int32_t east = 0;  // seconds to add to UTC
  std::string abbreviation;
};

// What clocks in a zone such as "Europe/Vienna" show at a moment, in seconds since 1970; nullopt where the database has
// no such zone or cannot be read.
[[nodiscard]] std::optional<ZoneOffset> zone_offset(std::string_view zone, std::int64_t seconds);

}  // namespace cairn
