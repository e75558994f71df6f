#include "base/time_zone.h"

#include <chrono>
#include <stdexcept>

namespace cairn {

std::optional<ZoneOffset> zone_offset(std::string_view zone, std::int64_t seconds) {
  try {
    const auto info = std::chrono::locate_zone(zone)->get_info(std::chrono::sys_seconds(std::chrono::seconds(seconds)));
    return ZoneOffset{static_cast<std::int32_t>(info.offset.count()), info.abbrev};
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

}  // namespace cairn
