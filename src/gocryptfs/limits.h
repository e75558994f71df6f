// Sizes of the gocryptfs format and the bounds this implementation sets on hostile volumes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::gocryptfs {

// Of the format.
inline constexpr std::size_t kBlockSize = 4096;  // plaintext bytes of a full block
inline constexpr std::size_t kHeaderSize = 18;   // version (2) and file id (16)
inline constexpr std::size_t kFileIdSize = 16;
inline constexpr std::size_t kDirIvSize = 16;
inline constexpr std::size_t kTagSize = 16;
inline constexpr std::size_t kMasterKeySize = 32;
inline constexpr std::size_t kNameMax = 255;          // bytes of a plaintext name
inline constexpr std::size_t kLongNameTextMax = 344;  // padded base64 of 256 bytes: the longest content of a .name file
inline constexpr std::size_t kSymlinkTextMax = 4095;  // as stored
inline constexpr std::uint64_t kFileSizeMax = std::uint64_t{1} << 52;

// Of ours.
inline constexpr std::size_t kPasswordMax = 2048;     // gocryptfs' own limit
inline constexpr std::size_t kConfigMax = 64U << 10;  // bytes of gocryptfs.conf
inline constexpr std::size_t kSaltMax = 1024;
inline constexpr std::uint64_t kScryptMemoryMax = std::uint64_t{1} << 30;  // 128·N·r
inline constexpr std::uint32_t kScryptParallelMax = 16;
inline constexpr int kLogNMin = 10;
inline constexpr int kLogNMax = 20;
inline constexpr int kLogNDefault = 16;
inline constexpr std::size_t kXattrValueMax = 64U << 10;

}  // namespace cairn::gocryptfs
