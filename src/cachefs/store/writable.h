// A ciphertext file that is read and written in place. spec/gocryptfs.md §6.3. Blocks that a write covers in part are
// read, changed and encrypted anew; every block that is written has a fresh nonce.
#pragma once

#include <expected>
#include <optional>
#include <shared_mutex>
#include <span>

#include "gocryptfs/volume.h"

namespace cairn::cachefs {

// What a system call would return: a value, or a positive errno for whoever called into the mount.
template <class T = void>
using Sys = std::expected<T, int>;

// What all descriptors of one file share: its id, and the order of changes. Any thread.
class WritableFile {
 public:
  explicit WritableFile(const gocryptfs::Volume& volume) : volume_(volume) {}

  // `fd` is open for reading; for the others also for writing. EIO for a block or header that does not authenticate,
  // EFBIG past kFileSizeMax, else what the file system says.
  [[nodiscard]] Sys<std::size_t> read(int fd, std::uint64_t offset, std::span<std::uint8_t> out);
  // All of it or an error; a block is never left half written for want of space.
  [[nodiscard]] Sys<> write(int fd, std::uint64_t offset, ByteView bytes);
  [[nodiscard]] Sys<> truncate(int fd, std::uint64_t size);
  // Space for the ciphertext of [offset, offset + size); the size stays.
  [[nodiscard]] Sys<> reserve(int fd, std::uint64_t offset, std::uint64_t size);

 private:
  [[nodiscard]] Sys<std::uint64_t> plain_size(int fd) const;
  [[nodiscard]] Sys<gocryptfs::FileId> known_id(int fd);
  [[nodiscard]] Sys<bool> need_id(int fd);
  [[nodiscard]] Sys<std::size_t> read_blocks(int fd, std::uint64_t first, std::size_t count,
                                             std::span<std::uint8_t> out);
  [[nodiscard]] Sys<> write_blocks(int fd, std::uint64_t first, ByteView plain);
  [[nodiscard]] Sys<> splice(int fd, std::uint64_t offset, ByteView bytes, std::uint64_t size);
  [[nodiscard]] Sys<> extend(int fd, std::uint64_t from, std::uint64_t to);

  const gocryptfs::Volume& volume_;
  std::shared_mutex mutex_;
  std::optional<gocryptfs::FileId> id_;  // of a file with contents, once it was read or made
};

}  // namespace cairn::cachefs
