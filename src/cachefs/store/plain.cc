#include "cachefs/store/plain.h"

#include <fcntl.h>

#include <deque>

#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/work.h"

namespace cairn::cachefs {
namespace {

Result<PlainEntry> entry_of(int folder, std::string path, const std::string& name, const struct stat& s) {
  PlainEntry out;
  out.path = std::move(path);
  out.mode = s.st_mode;
  out.mtime_ns = nanoseconds(s.st_mtim);
  if (out.path.size() > kPathMax) return fail(ErrorCode::too_large, printable(out.path), "the path is too long");
  if (S_ISDIR(s.st_mode)) {
    out.type = NodeType::folder;
  } else if (S_ISREG(s.st_mode)) {
    out.size = static_cast<std::uint64_t>(s.st_size);
  } else if (S_ISLNK(s.st_mode)) {
    out.type = NodeType::link;
    CAIRN_TRY(out.target, read_link(folder, name, kPathMax));
  } else {
    return fail(ErrorCode::unsupported, printable(out.path), "a device, socket or pipe has no place in a model");
  }
  return out;
}

Result<void> scan_folders(PlainSource& out) {
  std::vector<std::pair<std::string, std::size_t>> todo{{"", 0}};  // path, depth
  while (!todo.empty()) {
    const auto [path, depth] = std::move(todo.back());
    todo.pop_back();
    if (depth > kTreeDepthMax) return fail(ErrorCode::too_large, printable(path), "folders nested too deeply");
    CAIRN_TRY(const Fd folder, open_beneath(out.root.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    CAIRN_TRY(const auto entries, list_folder(folder, path, kTreeEntriesMax - out.entries.size()));
    for (const DirEntry& e : entries) {
      CAIRN_TRY(PlainEntry entry, entry_of(folder.get(), join(path, e.name), e.name, e.status));
      if (entry.type == NodeType::folder) todo.emplace_back(entry.path, depth + 1);
      out.entries.push_back(std::move(entry));
    }
  }
  std::ranges::sort(out.entries, {}, &PlainEntry::path);
  return {};
}

std::string parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return std::string(path.substr(0, slash == std::string_view::npos ? 0 : slash));
}

// `target` seen from `folder`, as a path of the source; nullopt when it leaves it.
std::optional<std::string> inside(std::string folder, std::string_view target) {
  if (target.empty() || target.starts_with('/')) return std::nullopt;
  while (!target.empty()) {
    const std::size_t slash = std::min(target.find('/'), target.size());
    const std::string_view part = target.substr(0, slash);
    target.remove_prefix(std::min(slash + 1, target.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      folder = join(folder, part);
      continue;
    }
    if (folder.empty()) return std::nullopt;
    folder = parent_of(folder);
  }
  return folder;
}

}  // namespace

std::optional<std::size_t> PlainSource::find(std::string_view path) const {
  const auto found =
      std::ranges::lower_bound(entries, path, {}, [](const PlainEntry& e) { return std::string_view(e.path); });
  if (found == entries.end() || found->path != path) return std::nullopt;
  return static_cast<std::size_t>(found - entries.begin());
}

std::optional<std::size_t> PlainSource::resolve(std::size_t entry) const {
  for (std::size_t step = 0; step < kLinksFollowed; ++step) {
    const PlainEntry& e = entries[entry];
    if (e.type != NodeType::link) return entry;
    const auto path = inside(parent_of(e.path), e.target);
    if (!path) return std::nullopt;
    const auto next = find(*path);
    if (!next) return std::nullopt;
    entry = *next;
  }
  return std::nullopt;
}

Result<PlainSource> scan_plain(const std::filesystem::path& source) {
  PlainSource out;
  std::error_code ec;
  const auto real = std::filesystem::canonical(source, ec);
  if (ec) return fail(errno_error(ec.value(), source.string(), "cannot open the source"));
  out.name = (source.has_filename() ? source : source.parent_path()).filename().string();
  if (out.name.empty() || out.name == "." || out.name == "..") out.name = real.filename().string();
  struct stat status{};
  if (::stat(real.c_str(), &status) != 0) return fail(errno_error(errno, source.string(), "cannot open the source"));
  const bool folder = S_ISDIR(status.st_mode);
  out.root = Fd(::open((folder ? real : real.parent_path()).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out.root) return fail(errno_error(errno, source.string(), "cannot open the source"));
  out.mtime_ns = nanoseconds(status.st_mtim);
  if (folder) {
    out.mode = status.st_mode;
    CAIRN_CHECK(scan_folders(out));
  } else {
    CAIRN_TRY(PlainEntry entry, entry_of(out.root.get(), real.filename().string(), real.filename().string(), status));
    out.entries.push_back(std::move(entry));
  }
  for (const PlainEntry& e : out.entries) {
    if (e.type != NodeType::file) continue;
    out.bytes += e.size;
    ++out.files;
  }
  return out;
}

Result<void> unchanged(int fd, const PlainEntry& entry) {
  CAIRN_TRY(const struct stat s, stat_of(fd, printable(entry.path)));
  if (static_cast<std::uint64_t>(s.st_size) == entry.size && nanoseconds(s.st_mtim) == entry.mtime_ns) return {};
  return fail(ErrorCode::conflict, printable(entry.path), "the file changed while it was being read; start again");
}

Result<Fd> open_plain(const PlainSource& source, const PlainEntry& entry) {
  CAIRN_TRY(Fd fd, open_beneath(source.root.get(), entry.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  CAIRN_CHECK(unchanged(fd.get(), entry));
  return fd;
}

Result<Manifest> assemble_manifest(const PlainSource& source, std::string_view name,
                                   const std::map<std::size_t, ContentDigest>& digests) {
  Manifest out{.kind = "model", .name = name.empty() ? source.name : std::string(name), .files = {}};
  for (std::size_t i = 0; i < source.entries.size(); ++i) {
    const PlainEntry& entry = source.entries[i];
    if (entry.type == NodeType::folder || !manifest_covers(entry.path) || entry.path == kSealName) continue;
    const auto to = source.resolve(i);
    if (!to || !digests.contains(*to))
      return fail(
          ErrorCode::unsupported, printable(entry.path),
          "a link that does not lead to a file inside the model: a manifest cannot hold it. Replace it by the file");
    const PlainEntry& file = source.entries[*to];
    out.files.push_back(manifest_file(entry.path, file.size, digests.at(*to), (file.mode & S_IXUSR) != 0));
  }
  return out;
}

Result<Manifest> manifest_of_plain(const std::filesystem::path& source, std::string_view name, unsigned threads,
                                   const ProgressFn& progress) {
  CAIRN_TRY(const PlainSource plain, scan_plain(source));
  std::vector<std::size_t> files;
  std::vector<WorkFile> work;
  std::deque<FileDigest> digests;
  for (std::size_t i = 0; i < plain.entries.size(); ++i) {
    if (plain.entries[i].type != NodeType::file || plain.entries[i].path == kManifestName ||
        plain.entries[i].path == kSealName)
      continue;
    files.push_back(i);
    work.push_back({plain.entries[i].size, plain.entries[i].size >= kVerityFrom});
    digests.emplace_back(plain.entries[i].size);
  }
  Meter meter("reading", plain.bytes, plain.files, progress);
  const auto each = [&](const WorkRange& range) -> Result<void> {
    thread_local Bytes piece(kPieceBytes);
    const PlainEntry& entry = plain.entries[files[range.file]];
    CAIRN_TRY(const Fd fd, open_plain(plain, entry));
    auto part = digests[range.file].part(range.offset);
    for (std::uint64_t done = 0; done < range.size;) {
      const auto want = std::span(piece).first(std::min<std::uint64_t>(piece.size(), range.size - done));
      CAIRN_TRY(const std::size_t got, read_at(fd.get(), want, range.offset + done, printable(entry.path)));
      if (got != want.size())
        return fail(ErrorCode::conflict, printable(entry.path), "the file became shorter meanwhile");
      part.update(want);
      done += got;
      CAIRN_CHECK(meter.add(got));
    }
    digests[range.file].finish(std::move(part));
    CAIRN_CHECK(unchanged(fd.get(), entry));
    return meter.add(0, range.last ? 1 : 0);
  };
  CAIRN_CHECK(for_each_range(work, threads, each));
  meter.finish();
  std::map<std::size_t, ContentDigest> results;
  for (std::size_t i = 0; i < files.size(); ++i) results.emplace(files[i], digests[i].result());
  return assemble_manifest(plain, name, results);
}

}  // namespace cairn::cachefs
