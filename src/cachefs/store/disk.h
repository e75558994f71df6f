// System calls of this area: paths that cannot leave the volume, reads and writes that are whole.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"

namespace cairn::cachefs {

// openat2 below `root` that never follows a link, whatever the length of `path` ("" is the root itself).
[[nodiscard]] Result<Fd> open_beneath(int root, std::string_view path, int flags, mode_t mode = 0);
[[nodiscard]] Result<struct stat> stat_of(int fd, std::string_view where);

struct DirEntry {
  std::string name;
  struct stat status{};
};
// All entries but "." and "..", in no order, links not followed. too_large past `limit`.
[[nodiscard]] Result<std::vector<DirEntry>> list_folder(const Fd& folder, std::string_view where, std::size_t limit);
[[nodiscard]] Result<std::string> read_link(int folder, const std::string& name, std::size_t limit);
// A small regular file of a folder, whole; malformed when larger than `limit` or not a regular file.
[[nodiscard]] Result<Bytes> read_small(int folder, const std::string& name, std::size_t limit);

// Bytes read: fewer than asked only at the end of the file.
[[nodiscard]] Result<std::size_t> read_at(int fd, std::span<std::uint8_t> out, std::uint64_t offset,
                                          std::string_view where);
[[nodiscard]] Result<void> write_at(int fd, ByteView bytes, std::uint64_t offset, std::string_view where);
// A new file in `folder` with these bytes; already_exists when there is one.
[[nodiscard]] Result<void> create_file(int folder, const std::string& name, ByteView bytes, mode_t mode);

[[nodiscard]] std::int64_t nanoseconds(const timespec& t);
[[nodiscard]] timespec to_timespec(std::int64_t ns);
// "a/b", or "b" when `folder` is empty.
[[nodiscard]] std::string join(std::string_view folder, std::string_view name);

}  // namespace cairn::cachefs
