// Every bound of the key-broker client, in one place.
#pragma once

#include <chrono>
#include <cstddef>

namespace cairn::kbs::limits {

inline constexpr std::size_t response_bytes = 4U << 20;  // any answer of a KBS or attestation service
inline constexpr std::size_t error_body_bytes = 2048;    // of an error body, what is quoted to the caller
inline constexpr std::size_t uri_bytes = 1024;           // a kbs:// URI
inline constexpr std::size_t nonce_bytes = 1024;         // text of a challenge's nonce
inline constexpr std::size_t runtime_data_bytes = 64;    // REPORTDATA
inline constexpr std::size_t proto_items = 4096;         // elements of one repeated protobuf member
inline constexpr int resource_attempts = 3;              // spec/guest.md §4.5
inline constexpr int handshake_attempts = 5;             // of get_token
inline constexpr std::chrono::milliseconds handshake_pause{1000};
inline constexpr std::chrono::milliseconds request_timeout{60000};
inline constexpr std::chrono::milliseconds agent_timeout{50000};  // one call to the attestation agent

}  // namespace cairn::kbs::limits
