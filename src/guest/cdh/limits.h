// Bounds of the confidential data hub.
#pragma once

#include <chrono>
#include <cstddef>

namespace cairn::cdh::limits {

inline constexpr std::size_t config_bytes = 1U << 20;
inline constexpr std::size_t credentials = 256;               // fetched at start
inline constexpr std::size_t sealed_secret_bytes = 1U << 20;  // sealed.<header>.<payload>.<signature>
inline constexpr std::size_t key_file_bytes = 64U << 10;      // a JWK that signs sealed secrets
inline constexpr std::size_t annotation_bytes = 1U << 20;     // key provider input, annotation packet
inline constexpr std::size_t offline_file_bytes = 8U << 20;
inline constexpr std::size_t injection_sessions = 64;
inline constexpr std::chrono::minutes injection_lifetime{5};
inline constexpr std::size_t injection_nonce_bytes = 1024;
inline constexpr unsigned retries_max = 1000;
inline constexpr std::chrono::milliseconds retry_first{200};  // pause after the first failed attempt, doubling
inline constexpr std::chrono::milliseconds retry_most{5000};
inline constexpr std::chrono::milliseconds drain_timeout{10'000};

}  // namespace cairn::cdh::limits
