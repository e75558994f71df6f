#include "cachefs/mount_point.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <optional>
#include <sstream>
#include <vector>

namespace cairn::cachefs {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMountTableMax = 64U << 20;

struct TableEntry {
  std::string number, path, optional_fields;
};

// \040 and the like, as the kernel writes them.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// The topmost mount at `path`: the last line of the table that names it.
std::optional<TableEntry> find_mount(const fs::path& path) {
  const auto table = read_text("/proc/self/mountinfo", kMountTableMax);
  if (!table) return std::nullopt;
  std::optional<TableEntry> found;
  std::istringstream lines(*table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string id, parent, number, root, point, flags, rest;
    fields >> id >> parent >> number >> root >> point >> flags;
    if (unescape(point) != path.string()) continue;
    std::getline(fields, rest);
    found = TableEntry{number, path.string(), rest.substr(0, rest.find(" - "))};
  }
  return found;
}

bool inside(const fs::path& outer, const fs::path& inner) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

Result<fs::path> check_folder(const MountOptions& options) {
  std::error_code ec;
  const fs::path path = fs::canonical(options.mountpoint, ec);
  if (ec || !fs::is_directory(path, ec))
    return fail(ErrorCode::not_found, options.mountpoint.string(), "the mount point is not a folder");
  if (!is_store_url(options.source.string())) {
    const fs::path source = fs::canonical(options.source, ec);
    if (ec) return fail(ErrorCode::not_found, options.source.string(), "the ciphertext folder is not there");
    if (inside(path, source) || inside(source, path))
      return fail(ErrorCode::invalid_argument, path.string(),
                  "the mount point shadows the ciphertext folder or lies inside it");
  }
  if (!options.nonempty && !fs::is_empty(path, ec))
    return fail(ErrorCode::invalid_argument, path.string(), "the mount point is not empty");
  return path;
}

}  // namespace

Result<MountPoint> MountPoint::mount(const MountOptions& options) {
  CAIRN_TRY(const fs::path path, check_folder(options));
  Fd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device)
    return fail(ErrorCode::unavailable, "/dev/fuse",
                std::string("cannot be opened (") + ::strerror(errno) +
                    "): load the fuse module, or give this container the device");
  std::string data = "fd=" + std::to_string(device.get()) + ",rootmode=40000,user_id=" + std::to_string(::geteuid()) +
                     ",group_id=" + std::to_string(::getegid()) +
                     ",default_permissions,max_read=" + std::to_string(kRequestMax);
  if (options.allow_other) data += ",allow_other";
  const std::string name = !options.name.empty()                   ? options.name
                           : is_store_url(options.source.string()) ? options.source.string()
                                                                   : fs::canonical(options.source).string();
  if (::mount(name.c_str(), path.c_str(), ("fuse." + options.type).c_str(),
              MS_NOSUID | MS_NODEV | (options.read_write ? 0UL : static_cast<unsigned long>(MS_RDONLY)),
              data.c_str()) != 0) {
    const int error = errno;
    if (error == EPERM) return fail(ErrorCode::permission_denied, path.string(), "mounting needs root (CAP_SYS_ADMIN)");
    return fail(errno_error(error, path.string(), "cannot mount"));
  }
  MountPoint out(std::move(device), path);
  if (const auto entry = find_mount(path)) out.device_number_ = entry->number;
  return out;
}

Result<void> MountPoint::attach(int file_system) {
  if (::move_mount(file_system, "", AT_FDCWD, path_.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail(errno_error(errno, path_.string(), "cannot mount the memory"));
  if (const auto entry = find_mount(path_)) device_number_ = entry->number;
  // Its own files are open for writing here, so it is a second mount of the same that is made read-only, above it.
  const char* path = path_.c_str();
  if (::mount(path, path, nullptr, MS_BIND, nullptr) == 0 &&
      ::mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) == 0)
    return {};
  const int error = errno;
  unmount();
  return fail(errno_error(error, path_.string(), "cannot make the memory read-only"));
}

bool MountPoint::mounted() const {
  const auto entry = find_mount(path_);
  return entry && entry->number == device_number_;
}

void MountPoint::unmount() const {
  for (int layer = 0; layer < 2 && mounted(); ++layer)  // attach() makes two
    if (::umount2(path_.c_str(), UMOUNT_NOFOLLOW) != 0) (void)::umount2(path_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

bool MountPoint::set_read_ahead(unsigned kb) const {
  const Fd fd(::open(("/sys/class/bdi/" + device_number_ + "/read_ahead_kb").c_str(), O_WRONLY | O_CLOEXEC));
  return fd && write_all(fd.get(), as_bytes(std::to_string(kb))).has_value();
}

bool MountPoint::propagates() const {
  const auto entry = find_mount(path_);
  return entry && entry->optional_fields.find("shared:") != std::string::npos;
}

}  // namespace cairn::cachefs
