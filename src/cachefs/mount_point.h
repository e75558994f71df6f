// The mount itself: made and removed with the system calls, so that no helper program is needed.
#pragma once

#include <filesystem>
#include <string>

#include "base/file.h"
#include "cachefs/options.h"

namespace cairn::cachefs {

class MountPoint {
 public:
  // The folder must exist, be empty (or nonempty allowed), and neither hold nor lie in the source. permission_denied
  // and unavailable say what is missing: root, /dev/fuse.
  [[nodiscard]] static Result<MountPoint> mount(const MountOptions& options);
  MountPoint(MountPoint&&) noexcept = default;
  MountPoint& operator=(MountPoint&&) noexcept = default;

  [[nodiscard]] int device() const { return device_.get(); }  // the /dev/fuse descriptor of the connection
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // After unmount(): attaches another file system there, read-only; a mount that is attached nowhere.
  [[nodiscard]] Result<void> attach(int file_system);
  // Still the file system that mount() or attach() put there, by the mount table alone: no request is sent.
  [[nodiscard]] bool mounted() const;
  // Now where nobody uses it, else as soon as the last user is gone; new users see the folder beneath at once.
  void unmount() const;
  // The kernel's read-ahead for this mount; false where /sys cannot be written.
  bool set_read_ahead(unsigned kb) const;
  // "shared:" in the mount table: the mount propagates to others.
  [[nodiscard]] bool propagates() const;

 private:
  MountPoint(Fd device, std::filesystem::path path) : device_(std::move(device)), path_(std::move(path)) {}
  Fd device_;
  std::filesystem::path path_;
  std::string device_number_;  // "0:57"
};

}  // namespace cairn::cachefs
