// Bounds of the attestation agent.
#pragma once

#include <chrono>
#include <cstddef>

namespace cairn::aa::limits {

inline constexpr std::size_t runtime_data_bytes = 64;       // REPORTDATA
inline constexpr std::size_t event_field_bytes = 8U << 10;  // domain, operation or content of one event
inline constexpr std::size_t token_type_bytes = 64;
inline constexpr std::size_t config_bytes = 1U << 20;          // configuration file or UpdateConfiguration
inline constexpr std::size_t init_data_bytes = 1U << 20;       // initdata TOML
inline constexpr std::size_t instance_info_bytes = 16U << 10;  // AAInstanceInfo header
inline constexpr std::size_t metadata_bytes = 4096;            // one answer of the metadata service
inline constexpr std::size_t evidence_bytes = 3U << 20;        // evidence JSON: fits one ttrpc message
inline constexpr int consistent_tries = 3;                     // quotes made anew because an event came between
inline constexpr std::chrono::milliseconds metadata_timeout{1000};
inline constexpr std::chrono::milliseconds drain_timeout{10'000};
inline constexpr std::chrono::seconds gpu_documents{60};  // to fetch what GPUs are judged with, at start
inline constexpr unsigned heartbeat_minutes_max = 24 * 60;

}  // namespace cairn::aa::limits
