#include "cachefs/objects/disk_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/encoding.h"
#include "cachefs/store/disk.h"
#include "crypto/hash.h"
#include "crypto/random.h"

namespace cairn::cachefs {
namespace {

constexpr std::string_view kPieceSuffix = ".piece";
constexpr std::string_view kUnfinishedSuffix = ".new";
constexpr std::size_t kPiecesMax = 1U << 24;
constexpr std::int64_t kUnfinishedForNs = 3'600'000'000'000;  // after that nobody is writing it any more

}  // namespace

std::string DiskCache::name_of(std::string_view identity) {
  return hex(crypto::sha256(as_bytes(identity)).view().first(20)) + std::string(kPieceSuffix);
}

Result<std::unique_ptr<DiskCache>> DiskCache::open(const std::filesystem::path& path, std::uint64_t bytes_max) {
  CAIRN_CHECK(make_dirs(path, 0700));
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail(errno_error(errno, path.string(), "cannot open the cache"));
  CAIRN_TRY(const struct stat status, stat_of(folder.get(), path.string()));
  if (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0)
    return fail(ErrorCode::permission_denied, path.string(), "the cache must be ours, and others may not write to it");
  std::unique_ptr<DiskCache> out(new DiskCache(std::move(folder), bytes_max));
  CAIRN_CHECK(out->scan());
  return out;
}

Result<void> DiskCache::scan() {
  CAIRN_TRY(auto entries, list_folder(folder_, "the cache", kPiecesMax));
  std::ranges::sort(entries, {}, [](const DirEntry& e) { return nanoseconds(e.status.st_mtim); });
  const std::int64_t newest = entries.empty() ? 0 : nanoseconds(entries.back().status.st_mtim);
  for (const DirEntry& e : entries) {
    if (!S_ISREG(e.status.st_mode)) continue;
    if (e.name.ends_with(kUnfinishedSuffix) && nanoseconds(e.status.st_mtim) < newest - kUnfinishedForNs)
      (void)::unlinkat(folder_.get(), e.name.c_str(), 0);
    if (!e.name.ends_with(kPieceSuffix)) continue;
    const auto size = static_cast<std::uint64_t>(e.status.st_size);
    kept_[e.name] = {size, ++uses_};
    bytes_ += size;
  }
  return {};
}

bool DiskCache::load(const std::string& name, std::span<std::uint8_t> out) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = kept_.find(name);
    if (found == kept_.end()) return false;
    found->second.used = ++uses_;
  }
  const Fd fd(::openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  const auto status = fd ? stat_of(fd.get(), name) : Result<struct stat>(fail(ErrorCode::not_found, name));
  const bool good = status && S_ISREG(status->st_mode) && static_cast<std::uint64_t>(status->st_size) == out.size() &&
                    read_at(fd.get(), out, 0, name).value_or(0) == out.size();
  if (!good) drop(name);
  if (good) (void)::futimens(fd.get(), nullptr);  // for the order of the next start
  return good;
}

void DiskCache::store(const std::string& name, ByteView bytes) {
  if (bytes.size() > bytes_max_) return;
  {
    const std::scoped_lock lock(mutex_);
    if (kept_.contains(name)) return;
    while (bytes_ + bytes.size() > bytes_max_ && !kept_.empty())
      forget(std::ranges::min_element(kept_, {}, [](const auto& k) { return k.second.used; }));
  }
  const std::string unfinished = hex(crypto::random_bytes(16)) + std::string(kUnfinishedSuffix);
  if (!create_file(folder_.get(), unfinished, bytes, 0600) ||
      ::renameat(folder_.get(), unfinished.c_str(), folder_.get(), name.c_str()) != 0) {
    (void)::unlinkat(folder_.get(), unfinished.c_str(), 0);
    return;
  }
  const std::scoped_lock lock(mutex_);
  if (kept_.emplace(name, Kept{bytes.size(), ++uses_}).second) bytes_ += bytes.size();
}

void DiskCache::drop(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = kept_.find(name); found != kept_.end()) forget(found);
}

void DiskCache::forget(std::map<std::string, Kept>::iterator at) {
  (void)::unlinkat(folder_.get(), at->first.c_str(), 0);
  bytes_ -= at->second.size;
  kept_.erase(at);
}

std::uint64_t DiskCache::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

}  // namespace cairn::cachefs
