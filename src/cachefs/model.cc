#include "cachefs/model.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "cachefs/objects/object_source.h"
#include "cachefs/store/disk.h"

namespace cairn::cachefs {
namespace {

constexpr std::size_t kPassfileMax = 64U << 10;
constexpr std::size_t kAttributeListMax = 64U << 10;

SharedState* share() {
  void* memory = ::mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return new (memory) SharedState;
}

// Overwrites before removing: the file may lie on a disk, or stay open elsewhere.
Result<void> wipe_file(const std::filesystem::path& path) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail(errno_error(errno, path.string(), "cannot wipe the password file"));
  CAIRN_TRY(const struct stat status, stat_of(fd.get(), path.string()));
  const Bytes zeros(std::min<std::size_t>(static_cast<std::size_t>(status.st_size), kPassfileMax));
  CAIRN_CHECK(write_at(fd.get(), zeros, 0, path.string()));
  if (::fsync(fd.get()) != 0 || ::ftruncate(fd.get(), 0) != 0 || ::unlink(path.c_str()) != 0)
    return fail(errno_error(errno, path.string(), "cannot remove the password file"));
  return {};
}

}  // namespace

Result<VolumeKey> take_password(const MountOptions& options) {
  const auto unreadable = [](const Error& error) { return fail(error.code, "password", error.text()); };
  const bool standard_input = options.passfile == "-";
  auto source = read_secret(standard_input ? "/dev/stdin" : options.passfile, kPassfileMax);
  if (!source) return unreadable(source.error());
  if (options.wipe_passfile) {
    if (auto wiped = wipe_file(options.passfile); !wiped) return unreadable(wiped.error());
  }
  bool more = false;
  auto password = gocryptfs::password_from(source->view(), &more);
  if (more) spdlog::warn("the password file has more than one line; only the first is used");
  if (!password) return fail(std::move(password).error());
  return VolumeKey{std::move(*password), {}};
}

namespace {
Result<Secret> master_key_of(const gocryptfs::Config& config, const VolumeKey& key) {
  if (key.password.empty()) return key.master_key.clone();
  return gocryptfs::unwrap_master_key(config, key.password.view());
}
}  // namespace

Result<WritableVolume> open_writable(const MountOptions& options, const VolumeKey& key) {
  CAIRN_TRY(const gocryptfs::Config config,
            read_config({.source = options.source, .config = options.config, .all_features = options.all_features}));
  CAIRN_TRY(const Secret master_key, master_key_of(config, key));
  CAIRN_TRY(gocryptfs::Volume volume, gocryptfs::Volume::open(config, master_key));
  Fd root(::open(options.source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail(errno_error(errno, options.source.string(), "cannot open the volume"));
  return WritableVolume{std::move(root), std::move(volume)};
}

Model::Model(const MountOptions& options, OpenVolume volume)
    : options_(options), volume_(std::move(volume)), shared_(share()) {}
Model::~Model() { ::munmap(shared_, sizeof(SharedState)); }

Result<std::unique_ptr<Model>> Model::open(const MountOptions& options, const VolumeKey& key) {
  const OpenOptions where{.source = options.source, .config = options.config, .all_features = options.all_features};
  CAIRN_TRY(auto source, open_source(options.source, options.store));
  CAIRN_TRY(const gocryptfs::Config config, read_config(where, *source));
  CAIRN_TRY(const Secret master_key, master_key_of(config, key));
  CAIRN_TRY(OpenVolume volume, open_volume(std::move(source), config, master_key));
  std::unique_ptr<Model> out(new Model(options, std::move(volume)));
  for (const Damage& d : out->volume_.damage) {
    if (++out->shared_->failures > kReportedFailuresMax) break;
    spdlog::error("damaged entry {}: {}", printable(d.disk_path), d.reason);
  }
  if (options.verify != Verify::none) CAIRN_CHECK(out->take_manifest());
  out->volume_.source->rest();
  return out;
}

Result<void> Model::take_manifest() {
  auto text = stored_manifest(volume_);
  if (!text) return fail(std::move(text).error().in("cannot verify the model"));
  digest_ = measured_form(manifest_digest(*text));
  if (!options_.expect_root.empty() && digest_ != options_.expect_root)
    return fail(ErrorCode::crypto_failed, "manifest",
                "this is another model: its manifest is " + digest_ + ", expected " + options_.expect_root);
  CAIRN_TRY(manifest_, parse_manifest(*text));
  auto named = verify_names(volume_, manifest_);
  if (!named) return fail(std::move(named).error().in("the model is not what its manifest says"));
  hide_unlisted(manifest_);
  auto sealed = take_seals(volume_, manifest_);
  if (sealed) return {};
  if (options_.verify == Verify::full && sealed.error().code == ErrorCode::not_found) return pin_files(volume_);
  return fail(std::move(sealed).error().in("cannot verify the model"));
}

Result<void> Model::verify_contents(const ReadFn& read) {
  const Manifest manifest = std::exchange(manifest_, {});
  if (options_.verify != Verify::full) return {};
  auto good = verify_volume(volume_, manifest, options_.threads, {}, read);
  volume_.source->rest();
  if (!good) return fail(std::move(good).error().in("the model is not what its manifest says"));
  spdlog::info("verified {} files, manifest {}", manifest.files.size(), digest_);
  return {};
}

void Model::hide_unlisted(const Manifest& manifest) {
  hidden_.assign(tree().size(), true);
  const auto show = [&](NodeId id) {
    for (; hidden_[id]; id = tree().at(id).parent) hidden_[id] = false;
  };
  show(0);
  for (const ManifestFile& file : manifest.files)
    if (const auto id = tree().find(file.path)) show(*id);
  if (const auto id = tree().child(0, kManifestName)) show(*id);
}

struct stat Model::attributes(NodeId id) const {
  const Node& node = tree().at(id);
  struct stat out{};
  out.st_ino = node.inode;
  out.st_mode = node.mode;
  // The format authenticates no modes: a verified model has the plain ones.
  if (verified() && node.type == NodeType::folder) out.st_mode = S_IFDIR | 0555;
  if (verified() && node.type == NodeType::file) out.st_mode = S_IFREG | ((node.mode & S_IXUSR) != 0 ? 0555 : 0444);
  out.st_nlink = node.links;
  out.st_uid = node.uid;
  out.st_gid = node.gid;
  out.st_rdev = node.rdev;
  out.st_size = static_cast<off_t>(node.size);
  out.st_blksize = 4096;
  out.st_blocks = static_cast<blkcnt_t>(node.blocks);
  out.st_atim = to_timespec(node.atime_ns);
  out.st_mtim = to_timespec(node.mtime_ns);
  out.st_ctim = to_timespec(node.ctime_ns);
  return out;
}

Result<std::shared_ptr<const CipherFile>> Model::file(NodeId id) {
  {
    const std::scoped_lock lock(files_mutex_);
    if (const auto found = files_.find(id); found != files_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second.used);
      return found->second.file;
    }
  }
  CAIRN_TRY(CipherFile opened, CipherFile::open(*volume_.source, tree(), id, volume()));
  auto file = std::make_shared<const CipherFile>(std::move(opened));
  const std::scoped_lock lock(files_mutex_);
  if (const auto found = files_.find(id); found != files_.end()) return found->second.file;
  if (files_.size() == kOpenFilesMax) {
    files_.erase(recent_.back());
    recent_.pop_back();
  }
  recent_.push_front(id);
  files_.emplace(id, OpenFile{file, recent_.begin()});
  return file;
}

int Model::read(NodeId id, std::uint64_t offset, std::span<std::uint8_t> out) {
  if (shared_->poisoned) return -EIO;
  auto open = file(id);
  if (!open) {
    failed(id, offset, open.error());
    return -EIO;
  }
  const auto got = (*open)->read(offset, out, options_.holes);
  if (!got) {
    failed(id, offset, got.error());
    return -EIO;
  }
  shared_->reads.fetch_add(1, std::memory_order_relaxed);
  shared_->read_bytes.fetch_add(*got, std::memory_order_relaxed);
  return static_cast<int>(*got);
}

void Model::failed(NodeId id, std::uint64_t offset, const Error& error) {
  ++shared_->failures;
  if (options_.fail_closed) shared_->poisoned = true;
  const std::scoped_lock lock(failures_mutex_);
  if (reported_.size() >= kReportedFailuresMax || !reported_.emplace(id, error.where).second) return;
  spdlog::error("damaged data in {} ({}) for a read at offset {}: {}", printable(tree().disk_path(id), 1024),
                error.where, offset, error.message);
}

// O_RDONLY where that works; links have no attributes here.
Result<Fd> Model::open_any(NodeId id) const {
  const Node& node = tree().at(id);
  if (node.type != NodeType::file && node.type != NodeType::folder)
    return fail(ErrorCode::not_found, "xattr", "none on this kind of entry");
  return volume_.source->attributes(tree().disk_path(id));
}

bool Model::has_attributes() {
  const std::scoped_lock lock(attributes_mutex_);
  if (!has_attributes_) has_attributes_ = find_attributes();
  return *has_attributes_;
}

bool Model::find_attributes() const {
  if (is_store_url(options_.source.string())) return false;
  if (tree().size() > kAttributeSweepMax) return true;
  for (NodeId id = 0; id < tree().size(); ++id) {
    if (tree().at(id).type != NodeType::file && tree().at(id).type != NodeType::folder) continue;
    const auto fd = open_any(id);
    struct statfs system{};
    if (!fd || ::fstatfs(fd->get(), &system) != 0) return true;
    if (system.f_type == FUSE_SUPER_MAGIC || system.f_type == NFS_SUPER_MAGIC) return true;
    const ssize_t size = ::flistxattr(fd->get(), nullptr, 0);
    if (size < 0 && errno == ENOTSUP) return false;
    if (size < 0) return true;
    if (size > 0 && attribute_names(id).value_or("?") != "") return true;
  }
  return false;
}

Result<std::string> Model::attribute_names(NodeId id) const {
  auto fd = open_any(id);
  if (!fd) return fd.error().code == ErrorCode::not_found ? Result<std::string>("") : fail(std::move(fd).error());
  std::string stored(kAttributeListMax, '\0'), out;
  const ssize_t size = ::flistxattr(fd->get(), stored.data(), stored.size());
  if (size < 0) return errno == ENOTSUP ? Result<std::string>("") : fail(errno_error(errno, "xattr", "cannot list"));
  for (std::string_view rest(stored.data(), static_cast<std::size_t>(size)); !rest.empty();) {
    const std::string_view name = rest.substr(0, rest.find('\0'));
    if (const auto plain = volume().xattr_plain_name(name)) out += *plain + '\0';
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  }
  return out;
}

Result<Bytes> Model::attribute(NodeId id, std::string_view name) const {
  CAIRN_TRY(const Fd fd, open_any(id));
  CAIRN_TRY(const std::string stored_name, volume().xattr_disk_name(name));
  Bytes value(gocryptfs::kXattrValueMax);
  const ssize_t size = ::fgetxattr(fd.get(), stored_name.c_str(), value.data(), value.size());
  if (size < 0) {
    if (errno == ENODATA || errno == ENOTSUP) return fail(ErrorCode::not_found, "xattr", "no such attribute");
    return fail(errno_error(errno, "xattr", "cannot read"));
  }
  value.resize(static_cast<std::size_t>(size));
  if (stored_name == name) return value;
  return volume().open_xattr(value);
}

}  // namespace cairn::cachefs
