#include "cachefs/store/source.h"

#include <fcntl.h>
#include <sys/uio.h>

#include "gocryptfs/config.h"
#include "gocryptfs/names.h"

namespace cairn::cachefs {
namespace {

class LocalFile final : public SourceFile {
 public:
  explicit LocalFile(Fd fd) : fd_(std::move(fd)) {}
  Result<std::size_t> read(std::span<std::uint8_t> out, std::uint64_t offset, std::string_view where) const override {
    if (QuickSection::active()) {
      const iovec to{out.data(), out.size()};
      if (::preadv2(fd_.get(), &to, 1, static_cast<off_t>(offset), RWF_NOWAIT) == static_cast<ssize_t>(out.size()))
        return out.size();
      QuickSection::leave();
    }
    return read_at(fd_.get(), out, offset, where);
  }

 private:
  Fd fd_;
};

class LocalFolder final : public SourceFolder {
 public:
  LocalFolder(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Result<std::vector<DirEntry>> list(std::size_t limit) const override { return list_folder(fd_, path_, limit); }
  Result<Bytes> read_small(const std::string& name, std::size_t limit) const override {
    return cachefs::read_small(fd_.get(), name, limit);
  }
  Result<std::string> read_link(const std::string& name, std::size_t limit) const override {
    return cachefs::read_link(fd_.get(), name, limit);
  }

 private:
  Fd fd_;
  std::string path_;
};

class LocalSource final : public Source {
 public:
  LocalSource(Fd root, std::filesystem::path path) : root_(std::move(root)), path_(std::move(path)) {}

  std::string text() const override { return path_.string(); }
  Result<struct stat> root_status() const override { return stat_of(root_.get(), "the volume"); }
  Result<std::unique_ptr<SourceFolder>> folder(const std::string& path) const override {
    CAIRN_TRY(Fd fd, open_beneath(root_.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return std::make_unique<LocalFolder>(std::move(fd), path);
  }
  Result<std::unique_ptr<SourceFile>> file(const std::string& path, const SeenFile& seen) const override {
    QuickSection::leave();
    CAIRN_TRY(Fd fd, open_beneath(root_.get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    CAIRN_TRY(const struct stat status, stat_of(fd.get(), path));
    if (!S_ISREG(status.st_mode) || status.st_ino != seen.inode ||
        static_cast<std::uint64_t>(status.st_size) != seen.size)
      return fail(ErrorCode::conflict, path, "the file was replaced or cut since the volume was opened");
    return std::make_unique<LocalFile>(std::move(fd));
  }
  Result<Fd> attributes(const std::string& path) const override {
    return open_beneath(root_.get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  }
  Result<std::string> config_text() const override {
    return read_text(path_ / gocryptfs::kConfName, gocryptfs::kConfigMax);
  }

 private:
  Fd root_;
  std::filesystem::path path_;
};

}  // namespace

Result<std::shared_ptr<const Source>> open_folder(const std::filesystem::path& folder) {
  Fd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail(errno_error(errno, folder.string(), "cannot open the volume"));
  return std::make_shared<const LocalSource>(std::move(root), folder);
}

}  // namespace cairn::cachefs
