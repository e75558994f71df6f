// Bounds of model folders and of the work done on them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::cachefs {

inline constexpr std::size_t kTreeEntriesMax = 4'000'000;  // files, folders and links of one volume
inline constexpr std::size_t kTreeDepthMax = 256;          // nested folders
inline constexpr std::size_t kPathMax = 4096;              // bytes of a plaintext path
inline constexpr std::size_t kManifestMax = 64U << 20;     // bytes of a manifest
inline constexpr std::size_t kManifestNameMax = 128;
inline constexpr std::size_t kTaskBytes = 4U << 20;     // plaintext bytes of one unit of parallel work
inline constexpr std::size_t kPieceBytes = 256U << 10;  // plaintext read, sealed, written, checked in a core's cache
inline constexpr std::size_t kLinksFollowed = 40;       // symbolic links on the way to one file
inline constexpr unsigned kThreadsMax = 64;
inline constexpr std::size_t kDamageListMax = 10'000;  // damaged places listed by fsck; all are counted

}  // namespace cairn::cachefs
