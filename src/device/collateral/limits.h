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

// Of the GPU cache. The documents that end first go.
inline constexpr std::size_t kMaxGpuRims = 256;
inline constexpr std::size_t kMaxGpuAnswers = 4096;
inline constexpr std::size_t kMaxGpuFlights = 256;
inline constexpr std::int64_t kGpuAnswerRefresh = 3600;  // seconds after which an OCSP answer is asked for again
inline constexpr std::int64_t kGpuRefreshRetry = 600;    // after a refresh that was started
inline constexpr std::int64_t kGpuAbsent = 600;          // a document that the service does not have
inline constexpr std::int64_t kRimRecheck = 600;         // how old a RIM is when a mismatch fetches it anew

// Of the remote service's answers, which serve the request that asked for them.
inline constexpr std::size_t kMaxNrasAnswers = 256;
inline constexpr std::size_t kMaxNrasBody = 4 << 20;    // bytes of an answer or a key set
inline constexpr std::int64_t kNrasAnswerSeconds = 60;  // how long one is used
inline constexpr std::int64_t kNrasKeySeconds = 3600;   // how long a key set is used; keys rotate in two days
inline constexpr std::int64_t kNrasKeyRetry = 60;       // an unknown key fetches it anew no sooner

}  // namespace cairn::device
