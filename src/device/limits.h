// Bounds of what devices return and of how long they are asked.
#pragma once

#include <chrono>
#include <cstddef>

namespace cairn::device::limits {

inline constexpr std::size_t quote_bytes = 64U << 10;
inline constexpr std::size_t ccel_bytes = 4U << 20;
inline constexpr unsigned quote_tries = 4;                         // interference or EBUSY, each in a fresh entry
inline constexpr std::chrono::milliseconds quote_retry_wait{250};  // doubled per try
inline constexpr std::chrono::seconds quote_deadline{120};         // a queued request, waiting included
inline constexpr std::size_t waiting_quotes = 1024;
inline constexpr std::size_t epoch_quotes = 16;  // remembered by quote_in_epoch
inline constexpr std::chrono::seconds qgs_timeout{30};
inline constexpr std::chrono::milliseconds gpu_collect{45'000};  // all GPUs of a machine; about one second each
inline constexpr unsigned gpus = 64;

}  // namespace cairn::device::limits
