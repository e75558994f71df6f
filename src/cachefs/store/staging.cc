#include "cachefs/store/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cachefs/store/disk.h"
#include "cachefs/store/limits.h"

namespace cairn::cachefs {
namespace {

constexpr std::string_view kTemporaryPrefix = ".cairn-";
constexpr std::string_view kTemporarySuffix = ".tmp";

Result<void> check_destination(const std::filesystem::path& destination, const std::filesystem::path& source) {
  std::error_code ec;
  if (std::filesystem::exists(std::filesystem::symlink_status(destination, ec)) &&
      !(std::filesystem::is_directory(destination, ec) && std::filesystem::is_empty(destination, ec)))
    return fail(ErrorCode::already_exists, destination.string(),
                "is there and not an empty folder; nothing was changed");
  const auto real = std::filesystem::weakly_canonical(destination, ec);
  const auto from = std::filesystem::weakly_canonical(source, ec);
  if (std::mismatch(from.begin(), from.end(), real.begin(), real.end()).first == from.end())
    return fail(ErrorCode::invalid_argument, destination.string(), "lies inside the source");
  return {};
}

Result<void> drop_temporaries(const Fd& folder) {
  CAIRN_TRY(const auto entries, list_folder(folder, "", kTreeEntriesMax));
  for (const DirEntry& e : entries)
    if (Staging::is_temporary(e.name) && ::unlinkat(folder.get(), e.name.c_str(), 0) != 0)
      return fail(errno_error(errno, e.name, "cannot remove a temporary file"));
  return {};
}

}  // namespace

bool Staging::is_temporary(std::string_view name) {
  return name.starts_with(kTemporaryPrefix) && name.ends_with(kTemporarySuffix);
}

Result<Staging> Staging::open(const std::filesystem::path& destination, const std::filesystem::path& source,
                              std::uint64_t bytes) {
  CAIRN_CHECK(check_destination(destination, source));
  Staging out;
  out.destination_ = destination.has_filename() ? destination : destination.parent_path();
  out.partial_ = out.destination_;
  out.partial_ += ".partial";
  const bool fresh = ::mkdir(out.partial_.c_str(), 0700) == 0;
  if (!fresh && errno != EEXIST) return fail(errno_error(errno, out.path(), "cannot make the folder"));
  out.folder_ = Fd(::open(out.partial_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!out.folder_) return fail(errno_error(errno, out.path(), "cannot open the folder"));
  if (::flock(out.folder_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(ErrorCode::conflict, out.path(), "another run is working on it");
  CAIRN_CHECK(drop_temporaries(out.folder_));
  struct statvfs space{};
  if (fresh && ::fstatvfs(out.folder_.get(), &space) == 0 && space.f_bavail * space.f_frsize < bytes)
    return fail(ErrorCode::too_large, out.path(),
                "the disk has " + std::to_string(space.f_bavail * space.f_frsize >> 20) + " MiB free, " +
                    std::to_string(bytes >> 20) + " MiB are needed");
  return out;
}

Result<void> Staging::write_in(int folder, const std::string& name, ByteView bytes, mode_t mode) const {
  const std::string temporary = std::string(kTemporaryPrefix) + "small" + std::string(kTemporarySuffix);
  if (::unlinkat(this->folder(), temporary.c_str(), 0) != 0 && errno != ENOENT)
    return fail(errno_error(errno, temporary, "cannot remove a temporary file"));
  CAIRN_CHECK(create_file(this->folder(), temporary, bytes, mode));
  if (::renameat(this->folder(), temporary.c_str(), folder, name.c_str()) != 0)
    return fail(errno_error(errno, name, "cannot put the file in place"));
  return {};
}

Result<void> Staging::publish() {
  CAIRN_CHECK(drop_temporaries(folder_));
  if (::syncfs(folder_.get()) != 0) return fail(errno_error(errno, path(), "cannot bring the data to the disk"));
  if (::rename(partial_.c_str(), destination_.c_str()) != 0)
    return fail(errno_error(errno, destination_.string(), "cannot give the finished folder its name"));
  const auto parent = destination_.parent_path();
  const Fd folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail(errno_error(errno, parent.string(), "cannot sync the folder"));
  return {};
}

}  // namespace cairn::cachefs
