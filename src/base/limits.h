// Sizes that hold wherever nothing narrower is said.
#pragma once

#include <cstddef>

namespace cairn {

inline constexpr std::size_t kFileMax = 64U << 20;       // a file read whole
inline constexpr std::size_t kTextFileMax = 8U << 20;    // a text read whole
inline constexpr std::size_t kConfigFileMax = 1U << 20;  // a configuration file or certificate bundle
inline constexpr std::size_t kSmallFileMax = 64U << 10;  // a key file, a certificate, a file of /proc or /sys
inline constexpr std::size_t kReadBuffer = 64U << 10;    // bytes read at a time
inline constexpr std::size_t kReadLeast = 4095;          // bytes made room for where a file reports fewer
inline constexpr std::size_t kJsonMax = 8U << 20;        // bytes of one JSON text
inline constexpr std::size_t kJsonDepth = 64;            // arrays and objects inside each other

}  // namespace cairn
