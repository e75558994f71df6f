// Bounds of the file system process.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace cairn::cachefs {

inline constexpr std::size_t kRequestMax = 1U << 20;        // bytes of one FUSE read
inline constexpr std::size_t kOpenFilesMax = 256;           // ciphertext descriptors kept open
inline constexpr std::size_t kAttributeSweepMax = 100'000;  // entries looked at for extended attributes
inline constexpr unsigned kServeThreadsMin = 4;
inline constexpr unsigned kServeThreadsMax = 64;
inline constexpr std::uint64_t kCacheMibDefault = 256;
inline constexpr std::uint64_t kCacheMibMax = 1U << 24;
inline constexpr std::size_t kStatusConnectionsMax = 64;
inline constexpr std::size_t kSnapshotsKept = 16;  // of the .stats file
inline constexpr unsigned kReadAheadKbDefault = 4096;
inline constexpr unsigned kReadAheadKbMax = 65536;
inline constexpr std::uint32_t kTimeoutSeconds = 86'400;   // names and attributes: a snapshot does not change
inline constexpr std::size_t kReportedFailuresMax = 1000;  // places logged; all are counted
inline constexpr unsigned kWorkerDeathsMax = 20;           // within kWorkerDeathsWindow, then the mount is given up
inline constexpr std::chrono::seconds kWorkerDeathsWindow{60};
inline constexpr std::chrono::milliseconds kWorkerRestartPause{50};
inline constexpr std::chrono::seconds kStatusRestartPause{1};
inline constexpr std::chrono::seconds kDrainTime{2};   // from SIGTERM until the worker is ended
inline constexpr std::chrono::seconds kStartTime{30};  // from mount to the first answer
inline constexpr std::chrono::milliseconds kPreloadPoll{5};
inline constexpr std::chrono::seconds kOpenWait{4};              // an open waits for its file to be whole in memory
inline constexpr std::chrono::milliseconds kShortOpenWait{200};  // where the file could be streamed at once instead
inline constexpr std::chrono::milliseconds kFillSample{50};      // of filling, before its speed is judged
inline constexpr std::chrono::microseconds kSpin{50};            // for the next request, after a small one
inline constexpr std::size_t kSmallRequest = 64U << 10;          // bytes of a FUSE read
inline constexpr std::chrono::milliseconds kOpenPoll{1};         // while opens wait
inline constexpr std::chrono::microseconds kHugePageWorth{600};  // what as much memory costs in pages of 4 KiB
inline constexpr int kHugeLossMax = 16;                          // what is lost by them, as a multiple of that

}  // namespace cairn::cachefs
