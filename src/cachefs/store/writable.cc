#include "cachefs/store/writable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

namespace cairn::cachefs {

using gocryptfs::FileId;
using gocryptfs::kBlockSize;

namespace {

constexpr std::size_t kRunBytes = 256 * kBlockSize;  // encrypted and written at once

std::unexpected<int> failed() { return std::unexpected(errno); }

Sys<> check_end(std::uint64_t offset, std::uint64_t size) {
  if (offset > gocryptfs::kFileSizeMax || size > gocryptfs::kFileSizeMax - offset) return std::unexpected(EFBIG);
  return {};
}

Sys<std::size_t> read_up_to(int fd, std::span<std::uint8_t> out, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Sys<> write_whole(int fd, ByteView bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Sys<> cut(int fd, std::uint64_t cipher_size) {
  if (::ftruncate(fd, static_cast<off_t>(cipher_size)) != 0) return failed();
  return {};
}

Sys<> reserve_stored(int fd, std::uint64_t offset, std::uint64_t size) {
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size)) != 0) return failed();
  return {};
}

}  // namespace

Sys<std::uint64_t> WritableFile::plain_size(int fd) const {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return failed();
  return volume_.layout().plain_size(static_cast<std::uint64_t>(status.st_size));
}

// The id of a file that has contents. The mutex is held.
Sys<FileId> WritableFile::known_id(int fd) {
  if (id_) return *id_;
  std::array<std::uint8_t, gocryptfs::kHeaderSize> header{};
  CAIRN_TRY(const std::size_t size, read_up_to(fd, header, 0));
  const auto parsed = gocryptfs::parse_header(ByteView(header).first(size));
  if (!parsed) return std::unexpected(EIO);
  return *parsed;
}

// Before contents are written: true when there was no header and one was made.
Sys<bool> WritableFile::need_id(int fd) {
  if (id_) return false;
  CAIRN_TRY(const std::uint64_t size, plain_size(fd));
  if (size != 0) {
    CAIRN_TRY(id_, known_id(fd));
    return false;
  }
  const FileId fresh = gocryptfs::random_file_id();
  CAIRN_CHECK(write_whole(fd, gocryptfs::write_header(fresh), 0));
  id_ = fresh;
  return true;
}

Sys<std::size_t> WritableFile::read_blocks(int fd, std::uint64_t first, std::size_t count,
                                           std::span<std::uint8_t> out) {
  Bytes stored(count * volume_.layout().cipher_block());
  CAIRN_TRY(const std::size_t got, read_up_to(fd, stored, volume_.layout().block_offset(first)));
  if (got == 0) return 0;
  CAIRN_TRY(const FileId id, known_id(fd));
  const auto opened =
      volume_.content().open_blocks(ByteView(stored).first(got), first, id, gocryptfs::Holes::allow, out);
  if (!opened) return std::unexpected(EIO);
  return *opened;
}

Sys<> WritableFile::write_blocks(int fd, std::uint64_t first, ByteView plain) {
  Bytes stored(volume_.content().sealed_size(plain.size()));
  const std::uint64_t offset = volume_.layout().block_offset(first);
  // Space first: a disk that is full must not leave half a block.
  if (const auto room = reserve_stored(fd, offset, stored.size());
      !room && room.error() != EOPNOTSUPP && room.error() != EINTR)
    return room;
  (void)volume_.content().seal_blocks(plain, first, *id_, stored);
  return write_whole(fd, stored, offset);
}

// Writes within the file or right at its end; `size` is what it has now.
Sys<> WritableFile::splice(int fd, std::uint64_t offset, ByteView bytes, std::uint64_t size) {
  while (!bytes.empty()) {
    const std::uint64_t first = offset / kBlockSize;
    const std::size_t skip = offset % kBlockSize;
    const ByteView piece = bytes.first(std::min(bytes.size(), kRunBytes - skip));
    const std::uint64_t end = offset + piece.size(), last = (end - 1) / kBlockSize;
    Bytes plain((last - first + 1) * kBlockSize);
    std::size_t whole = end - first * kBlockSize;  // bytes of `plain` that the file has afterwards
    const auto keep = [&](std::uint64_t block) -> Sys<> {
      const std::size_t at = (block - first) * kBlockSize;
      CAIRN_TRY(const std::size_t got, read_blocks(fd, block, 1, std::span(plain).subspan(at, kBlockSize)));
      whole = std::max(whole, at + got);
      return {};
    };
    if (skip != 0) CAIRN_CHECK(keep(first));
    if (end % kBlockSize != 0 && end < size && (last != first || skip == 0)) CAIRN_CHECK(keep(last));
    std::ranges::copy(piece, plain.begin() + static_cast<std::ptrdiff_t>(skip));
    CAIRN_CHECK(write_blocks(fd, first, ByteView(plain).first(whole)));
    offset = end;
    size = std::max(size, end);
    bytes = bytes.subspan(piece.size());
  }
  return {};
}

// From one size to a larger one: the last block is filled up with zeros, whole blocks stay holes.
Sys<> WritableFile::extend(int fd, std::uint64_t from, std::uint64_t to) {
  const Bytes zeros(kBlockSize);
  if (const std::size_t rest = from % kBlockSize; rest != 0) {
    const std::size_t fill = std::min<std::uint64_t>(kBlockSize - rest, to - from);
    CAIRN_CHECK(splice(fd, from, ByteView(zeros).first(fill), from));
    from += fill;
  }
  if (from == to) return {};
  const std::uint64_t whole = to / kBlockSize;
  if (whole * kBlockSize > from) CAIRN_CHECK(cut(fd, volume_.layout().block_offset(whole)));
  if (to % kBlockSize == 0) return {};
  return write_blocks(fd, whole, ByteView(zeros).first(to % kBlockSize));
}

Sys<std::size_t> WritableFile::read(int fd, std::uint64_t offset, std::span<std::uint8_t> out) {
  const std::shared_lock lock(mutex_);
  CAIRN_TRY(const std::uint64_t size, plain_size(fd));
  if (offset >= size || out.empty()) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), size - offset));
  const std::uint64_t first = offset / kBlockSize;
  const std::size_t skip = offset % kBlockSize, count = (offset + out.size() - 1) / kBlockSize - first + 1;
  Bytes plain(count * kBlockSize);
  CAIRN_TRY(const std::size_t got, read_blocks(fd, first, count, plain));
  if (got < skip + out.size()) return std::unexpected(EIO);
  std::ranges::copy(ByteView(plain).subspan(skip, out.size()), out.begin());
  return out.size();
}

Sys<> WritableFile::write(int fd, std::uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return {};
  CAIRN_CHECK(check_end(offset, bytes.size()));
  const std::unique_lock lock(mutex_);
  CAIRN_TRY(const std::uint64_t size, plain_size(fd));
  CAIRN_TRY(const bool fresh, need_id(fd));
  Sys<> done = offset > size ? extend(fd, size, offset) : Sys<>{};
  if (done) done = splice(fd, offset, bytes, std::max(size, offset));
  if (!done && fresh) {  // no header without a block
    id_.reset();
    (void)cut(fd, 0);
  }
  return done;
}

Sys<> WritableFile::truncate(int fd, std::uint64_t size) {
  CAIRN_CHECK(check_end(size, 0));
  const std::unique_lock lock(mutex_);
  if (size == 0) {
    CAIRN_CHECK(cut(fd, 0));
    id_.reset();
    return {};
  }
  CAIRN_TRY(const std::uint64_t now, plain_size(fd));
  if (size == now) return {};
  CAIRN_TRY(const bool fresh, need_id(fd));
  if (size > now) {
    auto done = extend(fd, now, size);
    if (!done && fresh) {
      id_.reset();
      (void)cut(fd, 0);
    }
    return done;
  }
  const std::uint64_t block = size / kBlockSize;
  const std::size_t rest = size % kBlockSize;
  Bytes last(kBlockSize);
  if (rest != 0) {
    CAIRN_TRY(const std::size_t got, read_blocks(fd, block, 1, last));
    if (got < rest) return std::unexpected(EIO);
  }
  CAIRN_CHECK(cut(fd, volume_.layout().block_offset(block)));
  if (rest == 0) return {};
  return write_blocks(fd, block, ByteView(last).first(rest));
}

Sys<> WritableFile::reserve(int fd, std::uint64_t offset, std::uint64_t size) {
  CAIRN_CHECK(check_end(offset, size));
  if (size == 0) return {};
  const auto& layout = volume_.layout();
  const std::uint64_t from = layout.block_offset(offset / kBlockSize);
  const std::uint64_t to = layout.block_offset((offset + size - 1) / kBlockSize + 1);
  return reserve_stored(fd, from, to - from);
}

}  // namespace cairn::cachefs
