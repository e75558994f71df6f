#include "cachefs/writer_front.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <thread>

#include "base/log.h"
#include "cachefs/fuse_api.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/pages.h"
#include "cachefs/store/work.h"
#include "cachefs/store/writable.h"
#include "crypto/random.h"

namespace cairn::cachefs {
namespace {

using gocryptfs::DirIv;
using gocryptfs::DiskName;

constexpr double kWriterTimeout = 1;  // seconds that the kernel may trust names and attributes
constexpr std::size_t kAttributeNamesMax = 64U << 10;

std::unexpected<int> failed() { return std::unexpected(errno); }

// An object of the ciphertext folder that the kernel knows of.
struct Inode {
  Inode(Fd f, const struct stat& s, const gocryptfs::Volume& volume) : fd(std::move(f)), status(s), file(volume) {}
  Fd fd;               // O_PATH
  struct stat status;  // device, number and type do not change
  std::uint64_t lookups = 0;
  WritableFile file;
  std::mutex mutex;
  std::optional<DirIv> iv;  // of a folder, once it was read

  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd.get()); }
};

struct DirEntries {
  std::vector<std::pair<std::string, struct stat>> entries;
};

class VolumeWriter {
 public:
  VolumeWriter(const gocryptfs::Volume& volume, int root) : volume_(volume) {
    Fd fd(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat status{};
    (void)::fstat(fd.get(), &status);
    root_ = std::make_unique<Inode>(std::move(fd), status, volume);
  }

  [[nodiscard]] const gocryptfs::Volume& volume() const { return volume_; }
  [[nodiscard]] Inode& at(fuse_ino_t ino) { return ino == FUSE_ROOT_ID ? *root_ : *reinterpret_cast<Inode*>(ino); }

  [[nodiscard]] Sys<DirIv> iv_of(Inode& folder) {
    if (!volume_.has_dir_iv()) return DirIv{};
    const std::scoped_lock lock(folder.mutex);
    if (!folder.iv) {
      const auto iv = read_small(folder.fd.get(), std::string(gocryptfs::kDirIvName), gocryptfs::kDirIvSize)
                          .and_then([](const Bytes& b) { return gocryptfs::parse_dir_iv(b); });
      if (!iv) return std::unexpected(EIO);
      folder.iv = *iv;
    }
    return *folder.iv;
  }

  [[nodiscard]] Sys<DiskName> disk_name(Inode& folder, const char* name) {
    if (std::strlen(name) > gocryptfs::kNameMax) return std::unexpected(ENAMETOOLONG);
    if (volume_.plaintext_names() && &folder == root_.get() && name == gocryptfs::kConfName)
      return std::unexpected(EPERM);
    CAIRN_TRY(const DirIv iv, iv_of(folder));
    auto out = volume_.disk_name(name, iv);
    if (!out) return std::unexpected(EINVAL);
    return std::move(*out);
  }

  // What the kernel is told of an object, decrypted where that is needed.
  [[nodiscard]] Sys<struct stat> attributes(const Inode& inode) const {
    struct stat out{};
    if (::fstatat(inode.fd.get(), "", &out, AT_EMPTY_PATH) != 0) return failed();
    if (S_ISREG(out.st_mode))
      out.st_size = static_cast<off_t>(volume_.layout().plain_size(static_cast<std::uint64_t>(out.st_size)));
    if (S_ISLNK(out.st_mode)) {
      const auto target = link_target(inode);
      out.st_size = target ? static_cast<off_t>(target->size()) : 0;
    }
    return out;
  }
  [[nodiscard]] Sys<std::string> link_target(const Inode& inode) const {
    std::string text(gocryptfs::kSymlinkTextMax + 1, '\0');
    const ssize_t n = ::readlinkat(inode.fd.get(), "", text.data(), text.size());
    if (n < 0) return failed();
    text.resize(static_cast<std::size_t>(n));
    auto out = volume_.open_symlink(text);
    if (!out) return std::unexpected(EIO);
    return std::move(*out);
  }

  // The object of that name on the disk, with one more reference of the kernel's.
  [[nodiscard]] Sys<fuse_entry_param> entry(const Inode& folder, const std::string& name) {
    Fd fd(::openat(folder.fd.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return failed();
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) return failed();
    Inode* inode = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      auto& place = inodes_[{status.st_dev, status.st_ino}];
      if (!place) place = std::make_unique<Inode>(std::move(fd), status, volume_);
      inode = place.get();
      ++inode->lookups;
    }
    auto attr = attributes(*inode);
    if (!attr) {
      forget(reinterpret_cast<fuse_ino_t>(inode), 1);
      return std::unexpected(attr.error());
    }
    fuse_entry_param out{};
    out.ino = reinterpret_cast<fuse_ino_t>(inode);
    out.attr = *attr;
    out.attr_timeout = out.entry_timeout = kWriterTimeout;
    return out;
  }

  void forget(fuse_ino_t ino, std::uint64_t count) {
    if (ino == FUSE_ROOT_ID) return;
    Inode& inode = at(ino);
    const std::scoped_lock lock(mutex_);
    inode.lookups -= std::min(inode.lookups, count);
    if (inode.lookups == 0) inodes_.erase({inode.status.st_dev, inode.status.st_ino});
  }

  // The .name file of a long name: true when it was made now. One that is there says the same: its name is its hash.
  [[nodiscard]] Sys<bool> make_name_file(const Inode& folder, const DiskName& name) const {
    if (name.long_text.empty()) return false;
    const Fd fd(::openat(folder.fd.get(), name_file(name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (!fd && errno == EEXIST) return false;
    if (!fd) return failed();
    const ssize_t n = ::write(fd.get(), name.long_text.data(), name.long_text.size());
    if (n == static_cast<ssize_t>(name.long_text.size())) return true;
    const int error = n < 0 ? errno : EIO;
    drop_name_file(folder, name);
    return std::unexpected(error);
  }
  void drop_name_file(const Inode& folder, const DiskName& name) const {
    if (!name.long_text.empty()) (void)::unlinkat(folder.fd.get(), name_file(name).c_str(), 0);
  }

  // Makes an object by `make(folder descriptor, disk name)`, which returns 0 or -1 with errno, and gives it its owner.
  template <class Make>
  [[nodiscard]] Sys<fuse_entry_param> create(fuse_req_t request, fuse_ino_t parent, const char* plain,
                                             const Make& make) {
    Inode& folder = at(parent);
    const std::shared_lock lock(tree);
    CAIRN_TRY(const DiskName name, disk_name(folder, plain));
    CAIRN_TRY(const bool named, make_name_file(folder, name));
    if (make(folder.fd.get(), name.name.c_str()) != 0) {
      const int error = errno;
      if (named) drop_name_file(folder, name);
      return std::unexpected(error);
    }
    own(request, folder, name);
    return entry(folder, name.name);
  }

  // A folder is empty when it holds nothing but its IV.
  [[nodiscard]] Sys<> remove_folder(const Inode& folder, const DiskName& name) const {
    const Fd fd(::openat(folder.fd.get(), name.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return failed();
    const auto entries = list_folder(fd, "folder", 2);
    if (!entries) return std::unexpected(entries.error().code == ErrorCode::too_large ? ENOTEMPTY : EIO);
    for (const DirEntry& e : *entries)
      if (!volume_.has_dir_iv() || e.name != gocryptfs::kDirIvName) return std::unexpected(ENOTEMPTY);
    std::uint64_t number = 0;
    crypto::fill_random(std::span(reinterpret_cast<std::uint8_t*>(&number), sizeof number));
    const std::string iv(gocryptfs::kDirIvName), aside = iv + ".rmdir." + std::to_string(number);
    const bool moved = !entries->empty();
    if (moved && ::renameat(fd.get(), iv.c_str(), folder.fd.get(), aside.c_str()) != 0) return failed();
    if (::unlinkat(folder.fd.get(), name.name.c_str(), AT_REMOVEDIR) != 0) {
      const int error = errno;
      if (moved) (void)::renameat(folder.fd.get(), aside.c_str(), fd.get(), iv.c_str());
      return std::unexpected(error);
    }
    if (moved) (void)::unlinkat(folder.fd.get(), aside.c_str(), 0);
    drop_name_file(folder, name);
    return {};
  }

  [[nodiscard]] Sys<> rename(Inode& from, const DiskName& old_name, Inode& to, const DiskName& new_name,
                             unsigned flags) const {
    if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) return std::unexpected(EINVAL);
    CAIRN_TRY(const bool named, make_name_file(to, new_name));
    const auto attempt = [&] {
      return ::renameat2(from.fd.get(), old_name.name.c_str(), to.fd.get(), new_name.name.c_str(), flags) == 0;
    };
    bool done = attempt();
    if (!done && flags == 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
      // The target holds its IV, so the kernel does not take it for empty.
      const auto removed = remove_folder(to, new_name);
      if (!removed) return std::unexpected(removed.error());
      (void)make_name_file(to, new_name);
      done = attempt();
    }
    if (!done) {
      const int error = errno;
      if (named) drop_name_file(to, new_name);
      return std::unexpected(error);
    }
    const bool same = &from == &to && old_name.name == new_name.name;
    if ((flags & RENAME_EXCHANGE) == 0 && !same && !still_there(from, old_name)) drop_name_file(from, old_name);
    return {};
  }

  // The names of a folder, decrypted; what does not decrypt is left out and said.
  [[nodiscard]] Sys<DirEntries> list(Inode& folder) {
    CAIRN_TRY(const DirIv iv, iv_of(folder));
    const auto found = list_folder(folder.fd, "folder", 1'000'000);
    if (!found) return std::unexpected(EIO);
    DirEntries out;
    for (const DirEntry& e : *found) {
      if (&folder == root_.get() && e.name == gocryptfs::kConfName) continue;
      const auto kind = volume_.plaintext_names() ? gocryptfs::EntryKind::normal : gocryptfs::entry_kind(e.name);
      if (kind == gocryptfs::EntryKind::internal || kind == gocryptfs::EntryKind::long_name) continue;
      std::string text = e.name;
      if (kind == gocryptfs::EntryKind::long_content) {
        const auto name =
            read_small(folder.fd.get(), e.name + std::string(gocryptfs::kLongNameSuffix), gocryptfs::kLongNameTextMax);
        text = name ? std::string(as_text(*name)) : std::string();
      }
      auto plain = volume_.plain_name(text, iv);
      const auto again = plain ? volume_.disk_name(*plain, iv) : fail(ErrorCode::malformed, "name");
      if (!again || again->name != e.name) {
        spdlog::warn("hidden entry {}: its name does not decrypt", printable(e.name));
        continue;
      }
      out.entries.emplace_back(std::move(*plain), e.status);
    }
    return out;
  }

  std::shared_mutex tree;  // removing and renaming alone, everything else that makes names together

 private:
  [[nodiscard]] static std::string name_file(const DiskName& name) {
    return name.name + std::string(gocryptfs::kLongNameSuffix);
  }
  // A rename of one hard link onto another leaves both.
  [[nodiscard]] static bool still_there(const Inode& folder, const DiskName& name) {
    return ::faccessat(folder.fd.get(), name.name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  }
  // New objects belong to the caller; in a set-group-ID folder to its group.
  void own(fuse_req_t request, const Inode& folder, const DiskName& name) const {
    if (::geteuid() != 0) return;
    const fuse_ctx* caller = fuse_req_ctx(request);
    struct stat parent{}, made{};
    if (::fstatat(folder.fd.get(), "", &parent, AT_EMPTY_PATH) != 0 ||
        ::fstatat(folder.fd.get(), name.name.c_str(), &made, AT_SYMLINK_NOFOLLOW) != 0)
      return;
    const gid_t group = (parent.st_mode & S_ISGID) != 0 ? parent.st_gid : caller->gid;
    if (::fchownat(folder.fd.get(), name.name.c_str(), caller->uid, group, AT_SYMLINK_NOFOLLOW) != 0)
      spdlog::warn("cannot give a new entry its owner: {}", std::strerror(errno));
    mode_t mode = made.st_mode & 07777;
    if (S_ISDIR(made.st_mode) && (parent.st_mode & S_ISGID) != 0) mode |= S_ISGID;
    if ((mode & (S_ISUID | S_ISGID)) != 0 && ::fchmodat(folder.fd.get(), name.name.c_str(), mode, 0) != 0)
      spdlog::warn("cannot give a new entry its mode: {}", std::strerror(errno));
  }

  const gocryptfs::Volume& volume_;
  std::unique_ptr<Inode> root_;
  std::mutex mutex_;
  std::map<std::pair<dev_t, ino_t>, std::unique_ptr<Inode>> inodes_;
};

VolumeWriter& writer_of(fuse_req_t request) { return *static_cast<VolumeWriter*>(fuse_req_userdata(request)); }
int descriptor(const fuse_file_info* info) { return static_cast<int>(info->fh); }

void reply(fuse_req_t request, const Sys<>& result) { fuse_reply_err(request, result ? 0 : result.error()); }
void reply(fuse_req_t request, int result) { fuse_reply_err(request, result == 0 ? 0 : errno); }
void reply_entry(fuse_req_t request, const Sys<fuse_entry_param>& entry) {
  if (entry)
    fuse_reply_entry(request, &*entry);
  else
    fuse_reply_err(request, entry.error());
}
void reply_attributes(fuse_req_t request, const Inode& inode) {
  const auto attr = writer_of(request).attributes(inode);
  if (attr)
    fuse_reply_attr(request, &*attr, kWriterTimeout);
  else
    fuse_reply_err(request, attr.error());
}

// A descriptor that reads too, whatever the caller asked for: blocks are changed in part.
Fd reopen(const Inode& inode, int flags) {
  const int access = (flags & O_ACCMODE) == O_WRONLY ? O_RDWR : flags & O_ACCMODE;
  return Fd(::open(inode.path().c_str(), access | O_CLOEXEC | O_NONBLOCK));
}

void w_init(void*, fuse_conn_info* connection) {
  connection->max_write = kRequestMax;
  connection->max_readahead = kRequestMax;
  for (const std::uint64_t flag : {FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE, FUSE_CAP_SPLICE_MOVE,
                                   FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_WRITEBACK_CACHE})
    fuse_unset_feature_flag(connection, flag);
  for (const std::uint64_t flag : {FUSE_CAP_ASYNC_READ, FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_AUTO_INVAL_DATA})
    (void)fuse_set_feature_flag(connection, flag);
}

void w_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  VolumeWriter& writer = writer_of(request);
  const auto disk = writer.disk_name(writer.at(parent), name);
  if (!disk) return (void)fuse_reply_err(request, disk.error());
  reply_entry(request, writer.entry(writer.at(parent), disk->name));
}
void w_forget(fuse_req_t request, fuse_ino_t ino, std::uint64_t count) {
  writer_of(request).forget(ino, count);
  fuse_reply_none(request);
}
void w_forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* all) {
  for (std::size_t i = 0; i < count; ++i) writer_of(request).forget(all[i].ino, all[i].nlookup);
  fuse_reply_none(request);
}
void w_getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
  reply_attributes(request, writer_of(request).at(ino));
}

Sys<> set_attributes(Inode& inode, const struct stat& attr, int what, const fuse_file_info* info) {
  if ((what & FUSE_SET_ATTR_MODE) != 0 && ::fchmodat(AT_FDCWD, inode.path().c_str(), attr.st_mode & 07777, 0) != 0)
    return failed();
  if ((what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    const uid_t uid = (what & FUSE_SET_ATTR_UID) != 0 ? attr.st_uid : static_cast<uid_t>(-1);
    const gid_t gid = (what & FUSE_SET_ATTR_GID) != 0 ? attr.st_gid : static_cast<gid_t>(-1);
    if (::fchownat(inode.fd.get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return failed();
  }
  if ((what & FUSE_SET_ATTR_SIZE) != 0) {
    Fd own;
    if (info == nullptr) own = reopen(inode, O_RDWR);
    if (info == nullptr && !own) return failed();
    CAIRN_CHECK(
        inode.file.truncate(info != nullptr ? descriptor(info) : own.get(), static_cast<std::uint64_t>(attr.st_size)));
  }
  if ((what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) != 0) {
    timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    if ((what & FUSE_SET_ATTR_ATIME) != 0) times[0] = attr.st_atim;
    if ((what & FUSE_SET_ATTR_ATIME_NOW) != 0) times[0] = {0, UTIME_NOW};
    if ((what & FUSE_SET_ATTR_MTIME) != 0) times[1] = attr.st_mtim;
    if ((what & FUSE_SET_ATTR_MTIME_NOW) != 0) times[1] = {0, UTIME_NOW};
    if (::utimensat(inode.fd.get(), "", times, AT_EMPTY_PATH) != 0) return failed();
  }
  return {};
}

void w_setattr(fuse_req_t request, fuse_ino_t ino, struct stat* attr, int what, fuse_file_info* info) {
  Inode& inode = writer_of(request).at(ino);
  const auto done = set_attributes(inode, *attr, what, info);
  if (!done) return (void)fuse_reply_err(request, done.error());
  reply_attributes(request, inode);
}

void w_readlink(fuse_req_t request, fuse_ino_t ino) {
  const auto target = writer_of(request).link_target(writer_of(request).at(ino));
  if (target)
    fuse_reply_readlink(request, target->c_str());
  else
    fuse_reply_err(request, target.error());
}

void w_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  reply_entry(request, writer_of(request).create(request, parent, name, [&](int folder, const char* disk) {
    return ::mknodat(folder, disk, mode, device);
  }));
}

void w_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  VolumeWriter& writer = writer_of(request);
  reply_entry(request, writer.create(request, parent, name, [&](int folder, const char* disk) {
    if (::mkdirat(folder, disk, 0700) != 0) return -1;
    const Fd made(::openat(folder, disk, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    bool good = static_cast<bool>(made);
    if (good && writer.volume().has_dir_iv())
      good = create_file(made.get(), std::string(gocryptfs::kDirIvName), gocryptfs::random_dir_iv().view(), 0444)
                 .has_value();
    if (good && ::fchmod(made.get(), mode & 07777) == 0) return 0;
    const int error = errno;
    if (made) (void)::unlinkat(made.get(), std::string(gocryptfs::kDirIvName).c_str(), 0);
    (void)::unlinkat(folder, disk, AT_REMOVEDIR);
    errno = error;
    return -1;
  }));
}

void w_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  VolumeWriter& writer = writer_of(request);
  const std::string stored = writer.volume().seal_symlink(target);
  if (stored.size() > gocryptfs::kSymlinkTextMax) return (void)fuse_reply_err(request, ENAMETOOLONG);
  reply_entry(request, writer.create(request, parent, name, [&](int folder, const char* disk) {
    return ::symlinkat(stored.c_str(), folder, disk);
  }));
}

void w_link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent, const char* plain) {
  VolumeWriter& writer = writer_of(request);
  Inode& folder = writer.at(parent);
  const std::shared_lock lock(writer.tree);
  const auto made = [&]() -> Sys<fuse_entry_param> {
    CAIRN_TRY(const DiskName name, writer.disk_name(folder, plain));
    CAIRN_TRY(const bool named, writer.make_name_file(folder, name));
    if (::linkat(AT_FDCWD, writer.at(ino).path().c_str(), folder.fd.get(), name.name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      const int error = errno;
      if (named) writer.drop_name_file(folder, name);
      return std::unexpected(error);
    }
    return writer.entry(folder, name.name);
  };
  reply_entry(request, made());
}

void w_unlink(fuse_req_t request, fuse_ino_t parent, const char* plain) {
  VolumeWriter& writer = writer_of(request);
  const std::unique_lock lock(writer.tree);
  Inode& folder = writer.at(parent);
  const auto name = writer.disk_name(folder, plain);
  if (!name) return (void)fuse_reply_err(request, name.error());
  if (::unlinkat(folder.fd.get(), name->name.c_str(), 0) != 0) return (void)fuse_reply_err(request, errno);
  writer.drop_name_file(folder, *name);
  fuse_reply_err(request, 0);
}

void w_rmdir(fuse_req_t request, fuse_ino_t parent, const char* plain) {
  VolumeWriter& writer = writer_of(request);
  const std::unique_lock lock(writer.tree);
  Inode& folder = writer.at(parent);
  const auto name = writer.disk_name(folder, plain);
  if (!name) return (void)fuse_reply_err(request, name.error());
  reply(request, writer.remove_folder(folder, *name));
}

void w_rename(fuse_req_t request, fuse_ino_t parent, const char* plain, fuse_ino_t new_parent, const char* new_plain,
              unsigned flags) {
  VolumeWriter& writer = writer_of(request);
  const std::unique_lock lock(writer.tree);
  Inode &from = writer.at(parent), &to = writer.at(new_parent);
  const auto done = [&]() -> Sys<> {
    CAIRN_TRY(const DiskName old_name, writer.disk_name(from, plain));
    CAIRN_TRY(const DiskName new_name, writer.disk_name(to, new_plain));
    return writer.rename(from, old_name, to, new_name, flags);
  };
  reply(request, done());
}

void w_open(fuse_req_t request, fuse_ino_t ino, fuse_file_info* info) {
  Inode& inode = writer_of(request).at(ino);
  Fd fd = reopen(inode, info->flags);
  if (!fd) return (void)fuse_reply_err(request, errno);
  if ((info->flags & O_TRUNC) != 0)
    if (const auto cut = inode.file.truncate(fd.get(), 0); !cut) return (void)fuse_reply_err(request, cut.error());
  info->fh = static_cast<std::uint64_t>(fd.get());
  info->noflush = 1;
  if (fuse_reply_open(request, info) == 0) (void)fd.release();
}

void w_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  VolumeWriter& writer = writer_of(request);
  Fd fd;
  const auto entry = writer.create(request, parent, name, [&](int folder, const char* disk) {
    // Always a new file: what is there already has its owner.
    fd = Fd(::openat(folder, disk, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    return fd ? 0 : -1;
  });
  if (!entry) return (void)fuse_reply_err(request, entry.error());
  info->fh = static_cast<std::uint64_t>(fd.get());
  info->noflush = 1;
  if (fuse_reply_create(request, &*entry, info) == 0)
    (void)fd.release();
  else
    writer.forget(entry->ino, 1);
}

void w_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  (void)::close(descriptor(info));
  fuse_reply_err(request, 0);
}
void w_fsync(fuse_req_t request, fuse_ino_t, int data_only, fuse_file_info* info) {
  reply(request, data_only != 0 ? ::fdatasync(descriptor(info)) : ::fsync(descriptor(info)));
}

void w_read(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  thread_local const Pages buffer(kRequestMax);
  if (offset < 0) return (void)fuse_reply_err(request, EINVAL);
  const auto got = writer_of(request).at(ino).file.read(descriptor(info), static_cast<std::uint64_t>(offset),
                                                        buffer.span().first(std::min(size, kRequestMax)));
  if (!got) return (void)fuse_reply_err(request, got.error());
  fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.span().data()), *got);
}

void w_write(fuse_req_t request, fuse_ino_t ino, const char* bytes, std::size_t size, off_t offset,
             fuse_file_info* info) {
  if (offset < 0) return (void)fuse_reply_err(request, EINVAL);
  const auto done = writer_of(request).at(ino).file.write(descriptor(info), static_cast<std::uint64_t>(offset),
                                                          as_bytes(std::string_view(bytes, size)));
  if (done)
    fuse_reply_write(request, size);
  else
    fuse_reply_err(request, done.error());
}

void w_fallocate(fuse_req_t request, fuse_ino_t ino, int mode, off_t offset, off_t size, fuse_file_info* info) {
  if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0) return (void)fuse_reply_err(request, EOPNOTSUPP);
  Inode& inode = writer_of(request).at(ino);
  const auto end = static_cast<std::uint64_t>(offset) + static_cast<std::uint64_t>(size);
  Sys<> done =
      inode.file.reserve(descriptor(info), static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(size));
  const auto attr = writer_of(request).attributes(inode);
  if (done && mode == 0 && attr && static_cast<std::uint64_t>(attr->st_size) < end)
    done = inode.file.truncate(descriptor(info), end);
  reply(request, done);
}

void w_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  auto entries = std::make_unique<DirEntries>();
  info->fh = reinterpret_cast<std::uint64_t>(entries.get());
  if (fuse_reply_open(request, info) == 0) (void)entries.release();
}
void w_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  delete reinterpret_cast<DirEntries*>(info->fh);
  fuse_reply_err(request, 0);
}
// One reading of a folder at a time for each descriptor: the kernel sees to that. It begins with a fresh list.
void w_readdir(fuse_req_t request, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  auto& list = *reinterpret_cast<DirEntries*>(info->fh);
  Inode& folder = writer_of(request).at(ino);
  if (offset == 0) {
    auto fresh = writer_of(request).list(folder);
    if (!fresh) return (void)fuse_reply_err(request, fresh.error());
    list = std::move(*fresh);
  }
  std::vector<char> out(std::min(size, kRequestMax));
  std::size_t used = 0;
  for (auto at = static_cast<std::size_t>(offset); at < list.entries.size() + 2; ++at) {
    struct stat status = folder.status;
    std::string name = at == 0 ? "." : "..";
    if (at >= 2) std::tie(name, status) = list.entries[at - 2];
    const std::size_t need = fuse_add_direntry(request, out.data() + used, out.size() - used, name.c_str(), &status,
                                               static_cast<off_t>(at + 1));
    if (need > out.size() - used) break;
    used += need;
  }
  fuse_reply_buf(request, out.data(), used);
}
void w_fsyncdir(fuse_req_t request, fuse_ino_t ino, int, fuse_file_info*) {
  const Fd fd(::open(writer_of(request).at(ino).path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  reply(request, fd ? ::fsync(fd.get()) : -1);
}

void w_statfs(fuse_req_t request, fuse_ino_t ino) {
  struct statvfs out{};
  if (::fstatvfs(writer_of(request).at(ino).fd.get(), &out) != 0) return (void)fuse_reply_err(request, errno);
  out.f_namemax = gocryptfs::kNameMax;
  fuse_reply_statfs(request, &out);
}

void w_setxattr(fuse_req_t request, fuse_ino_t ino, const char* name, const char* value, std::size_t size, int flags) {
  VolumeWriter& writer = writer_of(request);
  if (std::string_view(name) == "security.capability") return (void)fuse_reply_err(request, EOPNOTSUPP);
  const auto disk = writer.volume().xattr_disk_name(name);
  if (!disk) return (void)fuse_reply_err(request, EOPNOTSUPP);
  const ByteView plain = as_bytes(std::string_view(value, size));
  const Bytes stored = *disk == name ? to_bytes(plain) : writer.volume().seal_xattr(plain);
  reply(request, ::setxattr(writer.at(ino).path().c_str(), disk->c_str(), stored.data(), stored.size(), flags));
}

void reply_value(fuse_req_t request, std::size_t room, ByteView value) {
  if (room == 0) return (void)fuse_reply_xattr(request, value.size());
  if (value.size() > room) return (void)fuse_reply_err(request, ERANGE);
  fuse_reply_buf(request, reinterpret_cast<const char*>(value.data()), value.size());
}

void w_getxattr(fuse_req_t request, fuse_ino_t ino, const char* name, std::size_t size) {
  VolumeWriter& writer = writer_of(request);
  if (std::string_view(name) == "security.capability") return (void)fuse_reply_err(request, EOPNOTSUPP);
  const auto disk = writer.volume().xattr_disk_name(name);
  if (!disk) return (void)fuse_reply_err(request, ENODATA);
  Bytes stored(gocryptfs::kXattrValueMax);
  const ssize_t n = ::getxattr(writer.at(ino).path().c_str(), disk->c_str(), stored.data(), stored.size());
  if (n < 0) return (void)fuse_reply_err(request, errno);
  stored.resize(static_cast<std::size_t>(n));
  if (*disk == name) return reply_value(request, size, stored);
  const auto value = writer.volume().open_xattr(stored);
  if (!value) return (void)fuse_reply_err(request, EIO);
  reply_value(request, size, *value);
}

void w_listxattr(fuse_req_t request, fuse_ino_t ino, std::size_t size) {
  VolumeWriter& writer = writer_of(request);
  std::string stored(kAttributeNamesMax, '\0'), out;
  const ssize_t n = ::listxattr(writer.at(ino).path().c_str(), stored.data(), stored.size());
  if (n < 0) return (void)fuse_reply_err(request, errno);
  for (std::string_view rest(stored.data(), static_cast<std::size_t>(n)); !rest.empty();) {
    const std::string_view name = rest.substr(0, rest.find('\0'));
    if (const auto plain = writer.volume().xattr_plain_name(name)) out += *plain + '\0';
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  }
  reply_value(request, size, as_bytes(out));
}

void w_removexattr(fuse_req_t request, fuse_ino_t ino, const char* name) {
  VolumeWriter& writer = writer_of(request);
  const auto disk = writer.volume().xattr_disk_name(name);
  if (!disk) return (void)fuse_reply_err(request, ENODATA);
  reply(request, ::removexattr(writer.at(ino).path().c_str(), disk->c_str()));
}

fuse_lowlevel_ops writer_operations() {
  fuse_lowlevel_ops o{};
  o.init = w_init;
  o.lookup = w_lookup;
  o.forget = w_forget;
  o.forget_multi = w_forget_multi;
  o.getattr = w_getattr;
  o.setattr = w_setattr;
  o.readlink = w_readlink;
  o.mknod = w_mknod;
  o.mkdir = w_mkdir;
  o.symlink = w_symlink;
  o.link = w_link;
  o.unlink = w_unlink;
  o.rmdir = w_rmdir;
  o.rename = w_rename;
  o.open = w_open;
  o.create = w_create;
  o.release = w_release;
  o.fsync = w_fsync;
  o.read = w_read;
  o.write = w_write;
  o.fallocate = w_fallocate;
  o.opendir = w_opendir;
  o.releasedir = w_releasedir;
  o.readdir = w_readdir;
  o.fsyncdir = w_fsyncdir;
  o.statfs = w_statfs;
  o.setxattr = w_setxattr;
  o.getxattr = w_getxattr;
  o.listxattr = w_listxattr;
  o.removexattr = w_removexattr;
  return o;
}

}  // namespace

bool serve_writable(const MountOptions& options, const gocryptfs::Volume& volume, int root, int device,
                    const std::function<void()>& on_ready) {
  ::umask(0);  // the kernel has applied the caller's
  VolumeWriter writer(volume, root);
  static char name[] = "cairn-cachefs";
  char* argv[] = {name, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv);
  const fuse_lowlevel_ops operations = writer_operations();
  fuse_session* session = fuse_session_new(&args, &operations, sizeof operations, &writer);
  fuse_opt_free_args(&args);
  const fuse_custom_io io{
      .writev = [](int fd, iovec* parts, int count, void*) { return ::writev(fd, parts, count); },
      .read = [](int fd, void* buffer, std::size_t size, void*) { return ::read(fd, buffer, size); },
      .splice_receive = nullptr,
      .splice_send = nullptr,
      .clone_fd = nullptr};
  if (session == nullptr || fuse_session_custom_io(session, &io, sizeof io, device) != 0) return false;
  const auto loop = [session](bool once) {
    fuse_buf buffer{};
    bool good = true;
    while (good && !fuse_session_exited(session)) {
      const int n = fuse_session_receive_buf(session, &buffer);
      if (n == -EINTR || n == -EAGAIN) continue;
      good = n > 0;
      if (good) fuse_session_process_buf(session, &buffer);
      if (good && once) break;
    }
    std::free(buffer.mem);
    return good;
  };
  if (!loop(true)) return false;  // the first request, alone
  const unsigned count =
      std::clamp(options.threads != 0 ? options.threads : 2 * thread_count(0), kServeThreadsMin, kServeThreadsMax);
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < count; ++i) threads.emplace_back([&] { (void)loop(false); });
  on_ready();
  threads.clear();
  return true;
}

}  // namespace cairn::cachefs
