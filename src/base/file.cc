#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace cairn {
namespace {

// Appends the file's bytes to `out` in chunks through `buffer`.
template <class Sink>
Result<void> slurp(const std::filesystem::path& path, std::size_t limit, std::span<std::uint8_t> buffer, Sink sink) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error(errno, path.string(), "cannot open the file"));
  std::size_t total = 0;
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error(errno, path.string(), "cannot read the file"));
    if (n == 0) return {};
    total += static_cast<std::size_t>(n);
    if (total > limit)
      return fail(ErrorCode::too_large, path.string(), "the file exceeds " + std::to_string(limit) + " bytes");
    sink(ByteView(buffer.data(), static_cast<std::size_t>(n)));
  }
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Bytes> read_file(const std::filesystem::path& path, std::size_t limit) {
  Bytes out, buffer(kReadBuffer);
  CAIRN_CHECK(slurp(path, limit, buffer, [&](ByteView v) { append(out, v); }));
  return out;
}

Result<std::string> read_text(const std::filesystem::path& path, std::size_t limit) {
  CAIRN_TRY(const Bytes bytes, read_file(path, limit));
  return std::string(as_text(bytes));
}

Result<Secret> read_secret(const std::filesystem::path& path, std::size_t limit) {
  Secret all(limit), chunk(std::min<std::size_t>(limit + 1, kReadBuffer));
  std::size_t size = 0;
  CAIRN_CHECK(slurp(path, limit, chunk.mutable_view(), [&](ByteView v) {
    std::ranges::copy(v, all.mutable_view().begin() + static_cast<std::ptrdiff_t>(size));
    size += v.size();
  }));
  return Secret(all.view().first(size));
}

Result<void> write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error(errno, {}, "cannot write"));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> write_file(const std::filesystem::path& path, ByteView bytes, mode_t mode) {
  std::string part = path.string() + ".XXXXXX";
  Fd fd(::mkostemp(part.data(), O_CLOEXEC));
  if (!fd) return fail(errno_error(errno, path.string(), "cannot create the file"));
  auto written = write_all(fd.get(), bytes);
  if (written && (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0 || ::rename(part.c_str(), path.c_str()) != 0))
    written = fail(errno_error(errno, path.string(), "cannot write the file"));
  if (!written) {
    ::unlink(part.c_str());
    written.error().where = path.string();
  }
  return written;
}

Result<void> write_text(const std::filesystem::path& path, std::string_view text, mode_t mode) {
  return write_file(path, as_bytes(text), mode);
}

Result<void> make_dirs(const std::filesystem::path& path, mode_t mode) {
  if (std::filesystem::is_directory(path)) return {};
  if (path.has_parent_path() && path.parent_path() != path) CAIRN_CHECK(make_dirs(path.parent_path(), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return fail(errno_error(errno, path.string(), "cannot make the folder"));
  (void)::chmod(path.c_str(), mode);
  return {};
}

}  // namespace cairn
