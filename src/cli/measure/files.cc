#include "cli/measure/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "crypto/hash.h"
#include "evidence/eventlog/limits.h"

namespace cairn::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kChunk = 1U << 20;
constexpr unsigned kMaxThreads = 16;

Result<Fd> open_read(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return fail(errno_error(errno, path.string(), "opening the file"));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail(errno_error(errno, path.string(), "reading its kind"));
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::invalid_argument, path.string(), "not a regular file");
  return fd;
}

// Reads a descriptor from where it stands, chunk by chunk.
Result<void> read_through(int fd, const fs::path& name, const std::function<Result<void>(ByteView)>& each) {
  Bytes buffer(kChunk);
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error(errno, name.string(), "reading the file"));
    if (n == 0) return {};
    CAIRN_CHECK(each(ByteView(buffer).first(static_cast<std::size_t>(n))));
  }
}

class FileHasher {
 public:
  Result<void> take(ByteView bytes) {
    size_ += bytes.size();
    sha384_.update(bytes);
    sha256_.update(bytes);
    return {};
  }
  FileDigests finish() {
    FileDigests out;
    out.size = size_;
    std::ranges::copy(sha384_.finish(), out.sha384.begin());
    std::ranges::copy(sha256_.finish(), out.sha256.begin());
    return out;
  }

 private:
  std::uint64_t size_ = 0;
  crypto::Hasher sha384_{crypto::Hash::sha384}, sha256_{crypto::Hash::sha256};
};

bool left_out(const fs::path& relative, TreeRules rules) {
  if (rules == TreeRules::everything) return false;
  const std::string file = relative.filename();
  if (relative == kManifestName || file.ends_with(".lock") || *relative.begin() == ".cache") return true;
  return std::ranges::any_of(relative, [](const fs::path& part) { return part.string().starts_with(".git"); });
}

bool inside(const fs::path& path, const fs::path& root) { return std::ranges::mismatch(root, path).in1 == root.end(); }

// One entry of a folder: nullopt for what does not count, an error for what may not be there.
Result<std::optional<eventlog::ManifestFile>> classify(const fs::directory_entry& entry, const fs::path& root,
                                                       TreeRules rules) {
  std::error_code error;
  const fs::path relative = entry.path().lexically_relative(root);
  if (entry.is_directory(error) && !entry.is_symlink(error)) return std::nullopt;
  if (left_out(relative, rules)) return std::nullopt;
  if (entry.is_symlink(error)) {
    const auto target = fs::canonical(entry.path(), error);
    if (error || !inside(target, root))
      return fail(ErrorCode::invalid_argument, entry.path().string(),
                  "a symbolic link that leads out of the folder, or nowhere");
  }
  if (!entry.is_regular_file(error))
    return fail(ErrorCode::invalid_argument, entry.path().string(), "only regular files can be measured");
  const auto mode = entry.status(error).permissions();
  eventlog::ManifestFile file;
  file.path = relative.generic_string();
  file.executable = (mode & fs::perms::owner_exec) != fs::perms::none;
  return file;
}

Result<std::vector<eventlog::ManifestFile>> list_tree(const fs::path& root, TreeRules rules) {
  std::vector<eventlog::ManifestFile> out;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(root, error); !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    CAIRN_TRY(auto file, classify(*it, root, rules));
    if (!file) continue;
    if (out.size() == eventlog::limits::manifest_files)
      return fail(ErrorCode::too_large, root.string(), "too many files");
    out.push_back(std::move(*file));
  }
  if (error) return fail(errno_error(error.value(), root.string(), "listing the folder"));
  std::ranges::sort(out, {}, &eventlog::ManifestFile::path);
  return out;
}

Result<void> hash_one(const fs::path& root, eventlog::ManifestFile& file,
                      const std::function<void(std::uint64_t)>& add) {
  const fs::path path = root / file.path;
  CAIRN_TRY(const Fd fd, open_read(path));
  crypto::Hasher hasher(crypto::Hash::sha384);
  CAIRN_CHECK(read_through(fd.get(), path, [&](ByteView bytes) -> Result<void> {
    file.size += bytes.size();
    hasher.update(bytes);
    add(bytes.size());
    return {};
  }));
  Digest<48> digest;
  std::ranges::copy(hasher.finish(), digest.begin());
  file.sha384 = digest;
  return {};
}

// Hashes every file; the first error wins and stops the rest.
Result<void> hash_all(const fs::path& root, std::vector<eventlog::ManifestFile>& files,
                      const std::function<void(std::uint64_t)>& progress) {
  std::atomic<std::size_t> next = 0;
  std::atomic<std::uint64_t> done = 0;
  std::mutex mutex;
  Result<void> outcome;
  const auto work = [&] {
    for (std::size_t i; (i = next.fetch_add(1)) < files.size();) {
      auto one = hash_one(root, files[i], [&](std::uint64_t n) {
        const auto total = done.fetch_add(n) + n;
        if (progress) progress(total);
      });
      if (one) continue;
      next = files.size();
      const std::lock_guard lock(mutex);
      if (outcome) outcome = std::move(one);
    }
  };
  {
    std::vector<std::jthread> threads;
    const auto wanted =
        std::min<std::size_t>(std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads), files.size());
    for (std::size_t i = 1; i < wanted; ++i) threads.emplace_back(work);
    work();
  }
  return outcome;
}

Result<std::string> first_line(const fs::path& path) {
  CAIRN_TRY(auto text, read_text(path, kSmallFileMax));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

Result<FileDigests> hash_file(int fd, const fs::path& name_for_errors) {
  if (::lseek(fd, 0, SEEK_SET) < 0) return fail(errno_error(errno, name_for_errors.string(), "going to its start"));
  FileHasher hasher;
  CAIRN_CHECK(read_through(fd, name_for_errors, [&](ByteView bytes) { return hasher.take(bytes); }));
  return hasher.finish();
}

Result<FileDigests> hash_file(const fs::path& path) {
  CAIRN_TRY(const Fd fd, open_read(path));
  return hash_file(fd.get(), path);
}

Result<eventlog::Manifest> manifest_of(const fs::path& root, std::string kind, std::string name, TreeRules rules,
                                       const std::function<void(std::uint64_t)>& progress) {
  std::error_code error;
  fs::path base = fs::canonical(root, error);
  if (error) return fail(errno_error(error.value(), root.string(), "finding it"));
  eventlog::Manifest out{.kind = std::move(kind), .name = std::move(name), .files = {}};
  if (fs::is_directory(base, error)) {
    CAIRN_TRY(out.files, list_tree(base, rules));
  } else {
    const auto status = fs::status(base, error);
    out.files.push_back({.path = root.filename().string(),
                         .size = 0,
                         .sha384 = {},
                         .verity = {},
                         .executable = (status.permissions() & fs::perms::owner_exec) != fs::perms::none});
    base = fs::path(root).remove_filename();
    if (base.empty()) base = ".";
  }
  if (out.files.empty()) return fail(ErrorCode::not_found, root.string(), "no files to measure");
  CAIRN_CHECK(hash_all(base, out.files, progress));
  return out;
}

Result<void> check_tree(const fs::path& root, const eventlog::Manifest& manifest, TreeRules rules) {
  CAIRN_TRY(const auto found, manifest_of(root, manifest.kind, manifest.name, rules));
  auto wanted = manifest.files;
  std::ranges::sort(wanted, {}, &eventlog::ManifestFile::path);
  const auto differs = [](const std::string& path, std::string_view how) {
    return fail(ErrorCode::evidence_rejected, path, "differs from its manifest: " + std::string(how));
  };
  for (std::size_t i = 0; i < std::max(found.files.size(), wanted.size()); ++i) {
    if (i == found.files.size() || (i < wanted.size() && wanted[i].path < found.files[i].path))
      return differs(wanted[i].path, "the file is missing");
    if (i == wanted.size() || found.files[i].path < wanted[i].path)
      return differs(found.files[i].path, "the file is not in it");
    const auto& f = found.files[i];
    const auto& w = wanted[i];
    if (!w.sha384) return fail(ErrorCode::unsupported, w.path, "a verity digest cannot be checked by reading the file");
    if (f.size != w.size || f.sha384 != w.sha384) return differs(f.path, "other content");
    if (f.executable != w.executable) return differs(f.path, "another executable bit");
  }
  return {};
}

Result<MeasuredProgram> measure_program(const fs::path& path) {
  CAIRN_TRY(const Fd source, open_read(path));
  MeasuredProgram out;
  out.file = Fd(::memfd_create("cairn-measured", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!out.file) return fail(errno_error(errno, path.string(), "making a sealed copy"));
  FileHasher hasher;
  CAIRN_CHECK(read_through(source.get(), path, [&](ByteView bytes) {
    (void)hasher.take(bytes);
    return write_all(out.file.get(), bytes);
  }));
  if (::fchmod(out.file.get(), 0555) != 0 ||
      ::fcntl(out.file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return fail(errno_error(errno, path.string(), "sealing the copy"));
  out.digests = hasher.finish();
  return out;
}

Result<std::string> boot_id() { return first_line("/proc/sys/kernel/random/boot_id"); }
Result<std::string> kernel_cmdline() { return first_line("/proc/cmdline"); }

// --- Measurer ---

Result<Measurer> Measurer::begin(Extend extend, std::string_view boot_id, bool doubles,
                                 std::span<const eventlog::AaelEvent> earlier) {
  CAIRN_TRY(auto run, eventlog::MeasureRun::begin(boot_id, earlier));
  Measurer out(std::move(extend), std::move(run), doubles);
  CAIRN_CHECK(out.send(out.run_.begin_event()));
  return out;
}

Result<void> Measurer::send(const eventlog::AaelEvent& event) {
  if (failed_)
    return fail(ErrorCode::conflict, event.operation, "an earlier measurement failed: nothing may be started");
  failed_ = true;
  CAIRN_CHECK(eventlog::check_event(event));
  auto sent = extend_(event);
  failed_ = !sent.has_value();
  return sent;
}

Result<void> Measurer::subject(eventlog::Kind kind, std::string_view name, const Digest<48>& digest) {
  CAIRN_TRY(const auto event, run_.add(kind, name, digest));
  CAIRN_CHECK(send(event));
  if (doubles_ && !ready_ && kind == eventlog::Kind::model)
    CAIRN_CHECK(send(eventlog::pai_load_model_event(name, digest)));
  return {};
}

Result<void> Measurer::document(eventlog::Kind kind, std::string_view name, std::string_view text) {
  return subject(kind, name, eventlog::subject_digest(text));
}

Result<void> Measurer::program_file(const fs::path& path, const Digest<32>& sha256) {
  if (!doubles_) return {};
  if (ready_ || !path.is_absolute())
    return fail(ErrorCode::invalid_argument, path.string(), "a program is named by its absolute path, before ready");
  return send(eventlog::file_event(path.string(), sha256));
}

Result<void> Measurer::ready() {
  CAIRN_TRY(const auto event, run_.ready());
  CAIRN_CHECK(send(event));
  ready_ = true;
  return {};
}

}  // namespace cairn::cli
