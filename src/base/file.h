// Files, whole: read with a bound, written so that a reader sees the old or the new content and never half of it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/secret.h"

namespace cairn {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// The whole file; too_large past `limit` bytes. Works for /proc and /sys files that report size 0.
[[nodiscard]] Result<Bytes> read_file(const std::filesystem::path& path, std::size_t limit = kFileMax);
[[nodiscard]] Result<std::string> read_text(const std::filesystem::path& path, std::size_t limit = kTextFileMax);
[[nodiscard]] Result<Secret> read_secret(const std::filesystem::path& path, std::size_t limit = kSmallFileMax);

// Writes to a temporary name beside `path`, syncs, renames. The folder must exist.
[[nodiscard]] Result<void> write_file(const std::filesystem::path& path, ByteView bytes, mode_t mode = 0644);
[[nodiscard]] Result<void> write_text(const std::filesystem::path& path, std::string_view text, mode_t mode = 0644);
[[nodiscard]] Result<void> make_dirs(const std::filesystem::path& path, mode_t mode = 0755);

// All of `bytes` to a descriptor, through EINTR and short writes.
[[nodiscard]] Result<void> write_all(int fd, ByteView bytes);

}  // namespace cairn
