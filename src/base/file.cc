#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace cairn {
namespace {

std::span<std::uint8_t> writable(Bytes& bytes) { return bytes; }
std::span<std::uint8_t> writable(Secret& secret) { return secret.mutable_view(); }
Bytes resized(Bytes bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}
Secret resized(const Secret& secret, std::size_t size) {
  Secret out(size);
  std::ranges::copy(secret.view().first(std::min(size, secret.size())), out.mutable_view().begin());
  return out;
}

// Reads into a buffer of the size that the file reports, and grows it where that was too little.
template <class Buffer>
Result<Buffer> read_whole(const std::filesystem::path& path, std::size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error(errno, path.string(), "cannot open the file"));
  struct stat about{};
  if (::fstat(fd.get(), &about) != 0) return fail(errno_error(errno, path.string(), "cannot read the file"));
  const auto reported = static_cast<std::size_t>(std::max<off_t>(about.st_size, kReadLeast));
  Buffer all(std::min(reported, limit) + 1);  // one more: a full buffer means that there may be more
  for (std::size_t size = 0;;) {
    const auto room = writable(all).subspan(size);
    const ssize_t n = ::read(fd.get(), room.data(), room.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error(errno, path.string(), "cannot read the file"));
    if (n == 0) return resized(std::move(all), size);
    size += static_cast<std::size_t>(n);
    if (size > limit)
      return fail(ErrorCode::too_large, path.string(), "the file exceeds " + std::to_string(limit) + " bytes");
    if (size == all.size()) all = resized(std::move(all), std::min(2 * size, limit + 1));
  }
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Bytes> read_file(const std::filesystem::path& path, std::size_t limit) { return read_whole<Bytes>(path, limit); }

Result<std::string> read_text(const std::filesystem::path& path, std::size_t limit) {
  CAIRN_TRY(const Bytes bytes, read_file(path, limit));
  return std::string(as_text(bytes));
}

Result<Secret> read_secret(const std::filesystem::path& path, std::size_t limit) {
  return read_whole<Secret>(path, limit);
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
