#include "cachefs/store/encrypt.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <map>

#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/plain.h"
#include "cachefs/store/seal.h"
#include "cachefs/store/staging.h"
#include "cachefs/store/work.h"
#include "crypto/random.h"

namespace cairn::cachefs {

using gocryptfs::DirIv;
using gocryptfs::DiskName;
using gocryptfs::FileId;
using gocryptfs::kBlockSize;
using gocryptfs::Volume;

namespace {

struct Folder {
  std::string disk_path;
  DirIv iv{};
};

// One source file on its way into the volume.
struct EncryptJob {
  EncryptJob(std::size_t e, const PlainEntry& entry, std::string folder_path, DiskName n)
      : index(e),
        folder(std::move(folder_path)),
        name(std::move(n)),
        digest(entry.size),
        ranges(entry.size < kVerityFrom ? 1 : (entry.size + kTaskBytes - 1) / kTaskBytes) {}
  std::size_t index;   // of the source entry
  std::string folder;  // ciphertext path of its folder
  DiskName name;
  FileDigest digest;
  std::atomic<std::uint64_t> ranges;  // still to be done
  bool whole = false;                 // written by an earlier run
  std::once_flag started;
  Result<void> start_result;
  Fd source, target;
  std::string temporary;
  FileId id{};
  std::vector<Digest<32>> seals;  // one for each chunk, where they are wanted
};

class Encryptor {
 public:
  explicit Encryptor(const EncryptOptions& options) : options_(options) {}

  Result<EncryptReport> run() {
    CAIRN_TRY(source_, scan_plain(options_.source));
    CAIRN_TRY(staging_, Staging::open(options_.destination, options_.source, cipher_bytes()));
    CAIRN_CHECK(open_volume());
    CAIRN_CHECK(make_folders());
    CAIRN_CHECK(plan_files());
    CAIRN_CHECK(encrypt_files());
    CAIRN_CHECK(make_links());
    if (options_.manifest) CAIRN_CHECK(write_manifest_file());
    CAIRN_CHECK(set_folder_times());
    report_.files = source_.files;
    report_.bytes = source_.bytes;
    CAIRN_CHECK(staging_->publish());
    return std::move(report_);
  }

 private:
  [[nodiscard]] std::uint64_t cipher_bytes() const {
    const auto layout =
        gocryptfs::Layout::of(options_.features.has(gocryptfs::Feature::xchacha) ? gocryptfs::ContentMode::xchacha
                                                                                 : gocryptfs::ContentMode::aes_gcm);
    std::uint64_t total = 0;
    for (const PlainEntry& e : source_.entries) total += layout.cipher_size(e.size);
    return total;
  }
  [[nodiscard]] bool skipped(const PlainEntry& e) const {
    return options_.manifest && (e.path == kManifestName || e.path == kSealName);
  }
  [[nodiscard]] SealWriter sealing(EncryptJob& job, const WorkRange& range) const {
    return {volume_->content().mode(), range.offset / kSealBytes, job.seals};
  }
  [[nodiscard]] int root() const { return staging_->folder(); }

  // The volume of an interrupted run where there is one, else a new one.
  Result<void> open_volume() {
    const std::string conf(gocryptfs::kConfName);
    if (auto text = read_small(root(), conf, gocryptfs::kConfigMax)) {
      CAIRN_TRY(const auto config, gocryptfs::parse_config(as_text(*text)));
      auto volume = Volume::open(config, options_.password.view());
      if (!volume || config.features != options_.features)
        return fail(ErrorCode::conflict, staging_->path(),
                    "an interrupted run with another password or other settings lies here; remove it to start anew");
      volume_.emplace(std::move(*volume));
      return {};
    } else if (text.error().code != ErrorCode::not_found) {
      return fail(std::move(text).error());
    }
    const Secret master_key = crypto::random_secret(gocryptfs::kMasterKeySize);
    CAIRN_TRY(const auto config,
              gocryptfs::wrap_master_key(master_key, options_.password.view(), options_.features, 255, options_.log_n));
    CAIRN_TRY(Volume volume, Volume::open(config, master_key));
    volume_.emplace(std::move(volume));
    return staging_->write(conf, as_bytes(gocryptfs::write_config(config)), 0400);
  }

  // The folder's IV, made where it is missing.
  Result<DirIv> folder_iv(const Fd& folder) const {
    if (!volume_->has_dir_iv()) return DirIv{};
    const std::string name(gocryptfs::kDirIvName);
    auto content = read_small(folder.get(), name, gocryptfs::kDirIvSize);
    if (content) return gocryptfs::parse_dir_iv(*content);
    if (content.error().code != ErrorCode::not_found) return fail(std::move(content).error());
    const DirIv iv = gocryptfs::random_dir_iv();
    CAIRN_CHECK(staging_->write_in(folder.get(), name, iv.view(), 0444));
    return iv;
  }

  Result<void> add_folder(const std::string& path, std::string disk_path) {
    CAIRN_TRY(const Fd folder, open_beneath(root(), disk_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    CAIRN_TRY(const DirIv iv, folder_iv(folder));
    folders_.emplace(path, Folder{std::move(disk_path), iv});
    return {};
  }

  // Where an entry goes: its folder and its encrypted name; the .name file is there afterwards.
  Result<std::pair<const Folder*, DiskName>> place(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const Folder& folder = folders_.at(slash == std::string::npos ? std::string() : path.substr(0, slash));
    CAIRN_TRY(DiskName name, volume_->disk_name(path.substr(slash == std::string::npos ? 0 : slash + 1), folder.iv));
    if (!name.long_text.empty()) {
      CAIRN_TRY(const Fd at, open_beneath(root(), folder.disk_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      CAIRN_CHECK(staging_->write_in(at.get(), name.name + std::string(gocryptfs::kLongNameSuffix),
                                     as_bytes(name.long_text), 0444));
    }
    return std::pair(&folder, std::move(name));
  }

  Result<void> make_folders() {
    CAIRN_CHECK(add_folder("", ""));
    for (const PlainEntry& e : source_.entries) {
      if (e.type != NodeType::folder) continue;
      CAIRN_TRY(const auto where, place(e.path));
      CAIRN_TRY(const Fd parent, open_beneath(root(), where.first->disk_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      if (::mkdirat(parent.get(), where.second.name.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(errno_error(errno, printable(e.path), "cannot make the folder"));
      CAIRN_CHECK(add_folder(e.path, join(where.first->disk_path, where.second.name)));
    }
    return {};
  }

  Result<void> plan_files() {
    for (std::size_t i = 0; i < source_.entries.size(); ++i) {
      const PlainEntry& e = source_.entries[i];
      if (e.type != NodeType::file || skipped(e)) continue;
      CAIRN_TRY(auto where, place(e.path));
      EncryptJob& job = jobs_.emplace_back(i, e, where.first->disk_path, std::move(where.second));
      if (options_.seals) job.seals.resize((e.size + kSealBytes - 1) / kSealBytes);
      job.temporary = ".cairn-" + std::to_string(i) + ".tmp";
      const std::string disk_path = join(job.folder, job.name.name);
      const auto found = open_beneath(root(), disk_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if (!found) continue;
      CAIRN_TRY(const struct stat s, stat_of(found->get(), disk_path));
      // The time is set just before a finished file gets its name.
      job.whole = S_ISREG(s.st_mode) && nanoseconds(s.st_mtim) == e.mtime_ns &&
                  static_cast<std::uint64_t>(s.st_size) == volume_->layout().cipher_size(e.size);
      if (job.whole) ++report_.resumed_files;
    }
    return {};
  }

  Result<void> encrypt_files() {
    std::vector<WorkFile> work;
    for (const EncryptJob& job : jobs_) work.push_back({source_.entries[job.index].size, job.ranges > 1});
    Meter meter("encrypting", source_.bytes, source_.files, options_.progress);
    const auto each = [&](const WorkRange& range) -> Result<void> {
      EncryptJob& job = jobs_[range.file];
      std::call_once(job.started, [&] { job.start_result = start(job); });
      CAIRN_CHECK(Result<void>(job.start_result));
      auto part = job.digest.part(range.offset);
      CAIRN_CHECK(job.whole ? reread(job, range, part, meter) : encrypt(job, range, part, meter));
      job.digest.finish(std::move(part));
      if (job.ranges.fetch_sub(1) != 1) return {};
      CAIRN_CHECK(finish(job));
      return meter.add(0, 1);
    };
    CAIRN_CHECK(for_each_range(work, options_.threads, each));
    meter.finish();
    for (EncryptJob& job : jobs_) {
      report_.cipher_bytes += volume_->layout().cipher_size(source_.entries[job.index].size);
      digests_.emplace(job.index, job.digest.result());
    }
    return {};
  }

  Result<void> start(EncryptJob& job) {
    const PlainEntry& entry = source_.entries[job.index];
    if (job.whole) {
      const std::string path = join(job.folder, job.name.name);
      CAIRN_TRY(job.target, open_beneath(root(), path, O_RDONLY | O_NOFOLLOW));
      if (entry.size == 0) return {};
      std::array<std::uint8_t, gocryptfs::kHeaderSize> header{};
      CAIRN_TRY(const std::size_t size, read_at(job.target.get(), header, 0, path));
      CAIRN_TRY(job.id, gocryptfs::parse_header(ByteView(header).first(size)));
      return {};
    }
    CAIRN_TRY(job.source, open_plain(source_, entry));
    (void)::posix_fadvise(job.source.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    job.target = Fd(::openat(root(), job.temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!job.target) return fail(errno_error(errno, printable(entry.path), "cannot create its ciphertext"));
    if (entry.size == 0) return {};
    job.id = gocryptfs::random_file_id();
    return write_at(job.target.get(), gocryptfs::write_header(job.id), 0, printable(entry.path));
  }

  Result<void> encrypt(EncryptJob& job, const WorkRange& range, FileDigest::Part& part, Meter& meter) const {
    thread_local Bytes plain(kPieceBytes), sealed;
    SealWriter seals = sealing(job, range);
    const std::string where = printable(source_.entries[job.index].path);
    sealed.resize(volume_->content().sealed_size(kPieceBytes));
    for (std::uint64_t done = 0; done < range.size;) {
      const auto piece = std::span(plain).first(std::min<std::uint64_t>(kPieceBytes, range.size - done));
      CAIRN_TRY(const std::size_t got, read_at(job.source.get(), piece, range.offset + done, where));
      if (got != piece.size())
        return fail(ErrorCode::conflict, where, "the file became shorter while it was being read");
      const std::uint64_t block = (range.offset + done) / kBlockSize;
      const std::size_t size = volume_->content().seal_blocks(piece, block, job.id, sealed);
      CAIRN_CHECK(
          write_at(job.target.get(), ByteView(sealed).first(size), volume_->layout().block_offset(block), where));
      if (options_.verify) CAIRN_CHECK(check_written(job, piece, block, size));
      seals.add(ByteView(sealed).first(size));
      part.update(piece);
      done += got;
      CAIRN_CHECK(meter.add(got));
    }
    seals.finish();
    return {};
  }

  // What lies in the file must decrypt to what was read.
  Result<void> check_written(const EncryptJob& job, ByteView plain, std::uint64_t block, std::size_t size) const {
    thread_local Bytes stored, opened(kPieceBytes);
    stored.resize(size);
    const std::string where = printable(source_.entries[job.index].path);
    CAIRN_TRY(const std::size_t got, read_at(job.target.get(), stored, volume_->layout().block_offset(block), where));
    auto back =
        volume_->content().open_blocks(ByteView(stored).first(got), block, job.id, gocryptfs::Holes::deny, opened);
    if (back && *back == plain.size() && equal(ByteView(opened).first(*back), plain)) return {};
    return fail(ErrorCode::io_failed, where, "what was written does not read back; the disk or the memory is faulty");
  }

  // A file of an earlier run: authenticated and digested again, never trusted.
  Result<void> reread(EncryptJob& job, const WorkRange& range, FileDigest::Part& part, Meter& meter) const {
    thread_local Bytes stored, opened(kPieceBytes);
    SealWriter seals = sealing(job, range);
    const std::string where = printable(source_.entries[job.index].path);
    for (std::uint64_t done = 0; done < range.size;) {
      const std::size_t want = std::min<std::uint64_t>(kPieceBytes, range.size - done);
      stored.resize(volume_->content().sealed_size(want));
      const std::uint64_t block = (range.offset + done) / kBlockSize;
      CAIRN_TRY(const std::size_t got, read_at(job.target.get(), stored, volume_->layout().block_offset(block), where));
      auto back =
          volume_->content().open_blocks(ByteView(stored).first(got), block, job.id, gocryptfs::Holes::deny, opened);
      if (!back || *back != want)
        return fail(ErrorCode::conflict, staging_->path(),
                    "a file of the interrupted run is damaged; remove it to start anew");
      seals.add(ByteView(stored).first(got));
      part.update(ByteView(opened).first(want));
      done += want;
      CAIRN_CHECK(meter.add(want));
    }
    seals.finish();
    return {};
  }

  Result<void> finish(EncryptJob& job) {
    const PlainEntry& entry = source_.entries[job.index];
    if (job.whole) {
      job.target.reset();
      return {};
    }
    const std::string where = printable(entry.path);
    CAIRN_CHECK(unchanged(job.source.get(), entry));
    const timespec times[2] = {to_timespec(entry.mtime_ns), to_timespec(entry.mtime_ns)};
    if (::fchmod(job.target.get(), entry.mode & 0777) != 0 || ::futimens(job.target.get(), times) != 0)
      return fail(errno_error(errno, where, "cannot set its mode and time"));
    CAIRN_TRY(const Fd folder, open_beneath(root(), job.folder, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (::renameat(root(), job.temporary.c_str(), folder.get(), job.name.name.c_str()) != 0)
      return fail(errno_error(errno, where, "cannot put its ciphertext in place"));
    job.source.reset();
    job.target.reset();
    return {};
  }

  Result<void> make_links() {
    for (const PlainEntry& e : source_.entries) {
      if (e.type != NodeType::link) continue;
      CAIRN_TRY(const auto where, place(e.path));
      const std::string stored = volume_->seal_symlink(e.target);
      if (stored.size() > gocryptfs::kSymlinkTextMax)
        return fail(ErrorCode::too_large, printable(e.path), "the link's target is too long to be encrypted");
      CAIRN_TRY(const Fd folder, open_beneath(root(), where.first->disk_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      const char* name = where.second.name.c_str();
      if (::unlinkat(folder.get(), name, 0) != 0 && errno != ENOENT)
        return fail(errno_error(errno, printable(e.path), "cannot replace the link"));
      if (::symlinkat(stored.c_str(), folder.get(), name) != 0)
        return fail(errno_error(errno, printable(e.path), "cannot make the link"));
      const timespec times[2] = {to_timespec(e.mtime_ns), to_timespec(e.mtime_ns)};
      (void)::utimensat(folder.get(), name, times, AT_SYMLINK_NOFOLLOW);
    }
    return {};
  }

  // A file of ours at the top of the volume.
  Result<void> write_own(std::string_view plain_name, ByteView content) {
    CAIRN_TRY(const DiskName name, volume_->disk_name(plain_name, folders_.at("").iv));
    const FileId id = gocryptfs::random_file_id();
    Bytes file(gocryptfs::kHeaderSize + volume_->content().sealed_size(content.size()));
    std::ranges::copy(gocryptfs::write_header(id), file.begin());
    (void)volume_->content().seal_blocks(content, 0, id, std::span(file).subspan(gocryptfs::kHeaderSize));
    report_.cipher_bytes += file.size();
    return staging_->write(name.name, file, 0444);
  }

  Result<void> write_manifest_file() {
    CAIRN_TRY(Manifest manifest, assemble_manifest(source_, options_.name, digests_));
    if (options_.seals) {
      CAIRN_TRY(ManifestFile seals, write_seal_file());
      manifest.files.push_back(std::move(seals));
    }
    CAIRN_TRY(report_.manifest, write_manifest(manifest));
    report_.digest = manifest_digest(report_.manifest);
    return write_own(kManifestName, as_bytes(report_.manifest));
  }

  // Everything that a mount may show.
  Result<ManifestFile> write_seal_file() {
    std::map<std::size_t, EncryptJob*> jobs;
    for (EncryptJob& job : jobs_) jobs.emplace(job.index, &job);
    std::vector<Sealed> records;
    for (std::size_t i = 0; i < source_.entries.size(); ++i) {
      const PlainEntry& e = source_.entries[i];
      if (skipped(e) || !manifest_covers(e.path) || !check_manifest_path(e.path)) continue;
      Sealed& record = records.emplace_back();
      record.path = e.path;
      if (e.type == NodeType::folder) record.type = SealedType::folder;
      if (e.type == NodeType::link) {
        record.type = SealedType::link;
        record.chunks.push_back(crypto::sha256(as_bytes(e.target)));
      }
      if (e.type != NodeType::file) continue;
      record.size = e.size;
      record.id = jobs.at(i)->id;
      record.chunks = std::move(jobs.at(i)->seals);
    }
    CAIRN_TRY(const Bytes bytes, write_seals(records));
    CAIRN_CHECK(write_own(kSealName, bytes));
    FileDigest digest(bytes.size());
    auto part = digest.part(0);
    part.update(bytes);
    digest.finish(std::move(part));
    return manifest_file(std::string(kSealName), bytes.size(), digest.result(), false);
  }

  // Last, children before parents: making entries touches the folders' times.
  Result<void> set_folder_times() {
    for (auto e = source_.entries.rbegin(); e != source_.entries.rend(); ++e)
      if (e->type == NodeType::folder) CAIRN_CHECK(set_times(folders_.at(e->path).disk_path, e->mode, e->mtime_ns));
    return set_times("", source_.mode, source_.mtime_ns);
  }
  Result<void> set_times(const std::string& disk_path, std::uint32_t mode, std::int64_t mtime_ns) const {
    CAIRN_TRY(const Fd folder, open_beneath(root(), disk_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    const timespec times[2] = {to_timespec(mtime_ns), to_timespec(mtime_ns)};
    if (::fchmod(folder.get(), (mode & 0777) | 0700) != 0 || ::futimens(folder.get(), times) != 0)
      return fail(errno_error(errno, disk_path, "cannot set the folder's mode and time"));
    return {};
  }

  const EncryptOptions& options_;
  PlainSource source_;
  std::optional<Staging> staging_;
  std::optional<Volume> volume_;
  std::map<std::string, Folder> folders_;
  std::deque<EncryptJob> jobs_;
  std::map<std::size_t, ContentDigest> digests_;
  EncryptReport report_;
};

}  // namespace

Result<EncryptReport> encrypt_model(const EncryptOptions& options) {
  if (options.seals && !options.manifest)
    return fail(ErrorCode::invalid_argument, "seals", "need the manifest that lists them");
  if (options.password.empty()) return fail(ErrorCode::invalid_argument, "password", "is empty");
  return Encryptor(options).run();
}

}  // namespace cairn::cachefs
