// What an event log may hold before it is refused.
#pragma once

#include <cstddef>

namespace cairn::eventlog::limits {

inline constexpr std::size_t ccel_bytes = 4U << 20;  // a whole log area with padding; firmware offers 64 KiB to 1 MiB
inline constexpr std::size_t ccel_events = 8192;
inline constexpr std::size_t digests_per_event = 8;
inline constexpr std::size_t algorithms = 8;  // entries of a Spec ID record
inline constexpr std::size_t aael_bytes = 1U << 20;
inline constexpr std::size_t aael_events = 8192;
inline constexpr std::size_t aael_line = 16U << 10;  // one event's text
inline constexpr std::size_t manifest_bytes = 64U << 20;
inline constexpr std::size_t manifest_files = 200'000;
inline constexpr std::size_t manifest_path = 4096;
inline constexpr std::size_t manifest_name = 255;  // one part of a path

}  // namespace cairn::eventlog::limits
