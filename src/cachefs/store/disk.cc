#include "cachefs/store/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <memory>

namespace cairn::cachefs {
namespace {

int openat2_beneath(int folder, const char* path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (fd >= 0 || errno != EINTR) return static_cast<int>(fd);
  }
}

}  // namespace

Result<Fd> open_beneath(int root, std::string_view path, int flags, mode_t mode) {
  Fd step;
  int from = root;
  std::string_view rest = path;
  while (rest.size() >= PATH_MAX) {
    const std::size_t cut = rest.rfind('/', PATH_MAX - 1);
    if (cut == std::string_view::npos) return fail(ErrorCode::too_large, std::string(path), "a name is too long");
    Fd next(openat2_beneath(from, std::string(rest.substr(0, cut)).c_str(), O_PATH | O_DIRECTORY, 0));
    if (!next) return fail(errno_error(errno, std::string(path), "cannot open"));
    step = std::move(next);
    from = step.get();
    rest.remove_prefix(cut + 1);
  }
  Fd out(openat2_beneath(from, rest.empty() ? "." : std::string(rest).c_str(), flags, mode));
  if (!out) return fail(errno_error(errno, std::string(path), "cannot open"));
  return out;
}

Result<struct stat> stat_of(int fd, std::string_view where) {
  struct stat out{};
  if (::fstat(fd, &out) != 0) return fail(errno_error(errno, std::string(where), "cannot stat"));
  return out;
}

Result<std::vector<DirEntry>> list_folder(const Fd& folder, std::string_view where, std::size_t limit) {
  const int copy = ::openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return fail(errno_error(errno, std::string(where), "cannot list the folder"));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), ::closedir);
  if (!stream) {
    ::close(copy);
    return fail(errno_error(errno, std::string(where), "cannot list the folder"));
  }
  std::vector<DirEntry> out;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return fail(errno_error(errno, std::string(where), "cannot list the folder"));
    if (entry == nullptr) return out;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (out.size() == limit)
      return fail(ErrorCode::too_large, std::string(where), "more than " + std::to_string(limit) + " entries");
    DirEntry item{std::string(name), {}};
    if (::fstatat(copy, entry->d_name, &item.status, AT_SYMLINK_NOFOLLOW) != 0)
      return fail(errno_error(errno, join(where, name), "cannot stat"));
    out.push_back(std::move(item));
  }
}

Result<std::string> read_link(int folder, const std::string& name, std::size_t limit) {
  std::string out(limit + 1, '\0');
  const ssize_t n = ::readlinkat(folder, name.c_str(), out.data(), out.size());
  if (n < 0) return fail(errno_error(errno, name, "cannot read the link"));
  if (static_cast<std::size_t>(n) > limit) return fail(ErrorCode::too_large, name, "the link's target is too long");
  out.resize(static_cast<std::size_t>(n));
  return out;
}

Result<Bytes> read_small(int folder, const std::string& name, std::size_t limit) {
  CAIRN_TRY(const Fd fd, open_beneath(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  CAIRN_TRY(const struct stat status, stat_of(fd.get(), name));
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::malformed, name, "not a regular file");
  Bytes out(limit + 1);
  CAIRN_TRY(const std::size_t size, read_at(fd.get(), out, 0, name));
  if (size > limit) return fail(ErrorCode::malformed, name, "larger than " + std::to_string(limit) + " bytes");
  out.resize(size);
  return out;
}

Result<std::size_t> read_at(int fd, std::span<std::uint8_t> out, std::uint64_t offset, std::string_view where) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error(errno, std::string(where), "cannot read"));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<void> write_at(int fd, ByteView bytes, std::uint64_t offset, std::string_view where) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error(errno, std::string(where), "cannot write"));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> create_file(int folder, const std::string& name, ByteView bytes, mode_t mode) {
  const Fd fd(::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return fail(errno_error(errno, name, "cannot create"));
  CAIRN_CHECK(write_at(fd.get(), bytes, 0, name));
  if (::fchmod(fd.get(), mode) != 0) return fail(errno_error(errno, name, "cannot set the mode"));
  return {};
}

std::int64_t nanoseconds(const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; }
timespec to_timespec(std::int64_t ns) {
  const std::int64_t nano = ((ns % 1'000'000'000) + 1'000'000'000) % 1'000'000'000;
  return {(ns - nano) / 1'000'000'000, nano};
}

std::string join(std::string_view folder, std::string_view name) {
  return folder.empty() ? std::string(name) : std::string(folder) + "/" + std::string(name);
}

}  // namespace cairn::cachefs
