#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>

#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/encrypt.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/staging.h"
#include "cachefs/store/tree.h"
#include "cachefs/store/work.h"

namespace cairn::cachefs {
namespace {

struct DecryptJob {
  NodeId node = 0;
  std::string temporary;
  std::once_flag started;
  Result<void> start_result;
  std::optional<CipherFile> source;
  Fd target;
  std::atomic<std::uint64_t> bytes = 0;  // written so far
};

class Decryptor {
 public:
  Decryptor(const DecryptOptions& options, const OpenVolume& volume, const Staging& staging)
      : options_(options), volume_(volume), tree_(volume.tree), staging_(staging) {}

  Result<void> run() {
    for (NodeId id = 1; id < tree_.size(); ++id) CAIRN_CHECK(plan(id));
    std::vector<WorkFile> work;
    for (const DecryptJob& job : jobs_) work.push_back({tree_.at(job.node).size, true});
    Meter meter("decrypting", tree_.total_bytes(), tree_.file_count(), options_.progress);
    const auto each = [&](const WorkRange& range) -> Result<void> {
      DecryptJob& job = jobs_[range.file];
      std::call_once(job.started, [&] { job.start_result = start(job); });
      CAIRN_CHECK(Result<void>(job.start_result));
      CAIRN_CHECK(copy(job, range, meter));
      if (job.bytes.fetch_add(range.size) + range.size != tree_.at(job.node).size) return {};
      CAIRN_CHECK(finish(job));
      return meter.add(0, 1);
    };
    CAIRN_CHECK(for_each_range(work, options_.threads, each));
    meter.finish();
    for (NodeId id = static_cast<NodeId>(tree_.size()); id-- > 0;)
      if (tree_.at(id).type == NodeType::folder) CAIRN_CHECK(set_times(id));
    return {};
  }

 private:
  // Folders and links are made here; files are noted. Parents have smaller numbers than their children.
  Result<void> plan(NodeId id) {
    const Node& node = tree_.at(id);
    const std::string path = tree_.path(id);
    if (node.damaged) return fail(ErrorCode::crypto_failed, printable(path), "is damaged");
    CAIRN_TRY(const Fd parent,
              open_beneath(staging_.folder(), tree_.path(node.parent), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    switch (node.type) {
      case NodeType::folder:
        if (::mkdirat(parent.get(), node.name.c_str(), 0700) != 0 && errno != EEXIST)
          return fail(errno_error(errno, printable(path), "cannot make the folder"));
        return {};
      case NodeType::link:
        (void)::unlinkat(parent.get(), node.name.c_str(), 0);
        if (::symlinkat(node.target.c_str(), parent.get(), node.name.c_str()) != 0)
          return fail(errno_error(errno, printable(path), "cannot make the link"));
        return {};
      case NodeType::special:
        return fail(ErrorCode::unsupported, printable(path), "a device, socket or pipe is not decrypted");
      case NodeType::file: break;
    }
    DecryptJob& job = jobs_.emplace_back();
    job.node = id;
    job.temporary = ".cairn-" + std::to_string(id) + ".tmp";
    return {};
  }

  Result<void> start(DecryptJob& job) {
    CAIRN_TRY(CipherFile file, CipherFile::open(*volume_.source, tree_, job.node, volume_.volume));
    job.source.emplace(std::move(file));
    job.target = Fd(::openat(staging_.folder(), job.temporary.c_str(),
                             O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!job.target) return fail(errno_error(errno, job.temporary, "cannot create the file"));
    return {};
  }

  Result<void> copy(const DecryptJob& job, const WorkRange& range, Meter& meter) const {
    thread_local Bytes piece(kPieceBytes);
    const std::string where = printable(tree_.path(job.node));
    const auto holes = options_.holes ? gocryptfs::Holes::allow : gocryptfs::Holes::deny;
    for (std::uint64_t done = 0; done < range.size;) {
      const auto want = std::span(piece).first(std::min<std::uint64_t>(piece.size(), range.size - done));
      auto got = job.source->read(range.offset + done, want, holes);
      if (!got) return fail(got.error().code, where + ", " + got.error().where, got.error().message);
      CAIRN_CHECK(write_at(job.target.get(), want, range.offset + done, where));
      done += want.size();
      CAIRN_CHECK(meter.add(want.size()));
    }
    return {};
  }

  Result<void> finish(DecryptJob& job) {
    const Node& node = tree_.at(job.node);
    const std::string where = printable(tree_.path(job.node));
    const timespec times[2] = {to_timespec(node.mtime_ns), to_timespec(node.mtime_ns)};
    if (::fchmod(job.target.get(), node.mode & 0777) != 0 || ::futimens(job.target.get(), times) != 0)
      return fail(errno_error(errno, where, "cannot set its mode and time"));
    CAIRN_TRY(const Fd folder,
              open_beneath(staging_.folder(), tree_.path(node.parent), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (::renameat(staging_.folder(), job.temporary.c_str(), folder.get(), node.name.c_str()) != 0)
      return fail(errno_error(errno, where, "cannot put it in place"));
    job.source.reset();
    job.target.reset();
    return {};
  }

  Result<void> set_times(NodeId id) const {
    const Node& node = tree_.at(id);
    CAIRN_TRY(const Fd folder, open_beneath(staging_.folder(), tree_.path(id), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    const timespec times[2] = {to_timespec(node.mtime_ns), to_timespec(node.mtime_ns)};
    if (::fchmod(folder.get(), (node.mode & 0777) | 0700) != 0 || ::futimens(folder.get(), times) != 0)
      return fail(errno_error(errno, printable(tree_.path(id)), "cannot set the folder's mode and time"));
    return {};
  }

  const DecryptOptions& options_;
  const OpenVolume& volume_;
  const Tree& tree_;
  const Staging& staging_;
  std::deque<DecryptJob> jobs_;
};

}  // namespace

Result<DecryptReport> decrypt_model(const DecryptOptions& options) {
  const OpenOptions where{.source = options.source, .config = {}, .all_features = options.all_features};
  auto source = options.opened ? Result<std::shared_ptr<const Source>>(options.opened) : open_folder(options.source);
  if (!source) return fail(std::move(source).error());
  CAIRN_TRY(const auto config, read_config(where, **source));
  CAIRN_TRY(const Secret key, gocryptfs::unwrap_master_key(config, options.password.view()));
  CAIRN_TRY(const OpenVolume volume, open_volume(std::move(*source), config, key));
  if (!volume.damage.empty())
    return fail(ErrorCode::crypto_failed, printable(volume.damage.front().disk_path), volume.damage.front().reason);
  for (NodeId id = 1; id < volume.tree.size(); ++id) {
    const Node& node = volume.tree.at(id);
    if (node.parent == 0 && Staging::is_temporary(node.name))
      return fail(ErrorCode::unsupported, printable(node.name),
                  "this name is used for temporary files while decrypting");
  }
  CAIRN_TRY(Staging staging, Staging::open(options.destination, options.source, volume.tree.total_bytes()));
  CAIRN_CHECK(Decryptor(options, volume, staging).run());
  CAIRN_CHECK(staging.publish());
  return DecryptReport{volume.tree.file_count(), volume.tree.total_bytes()};
}

}  // namespace cairn::cachefs
