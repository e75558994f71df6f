#include "cachefs/store/check.h"

#include <sys/xattr.h>

#include <deque>
#include <mutex>

#include "base/limits.h"
#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/work.h"

namespace cairn::cachefs {

using gocryptfs::Holes;
using gocryptfs::kBlockSize;

namespace {

// The source does not answer, or not us: nothing is known about the data.
bool is_away(const Error& error) {
  return error.code == ErrorCode::unavailable || error.code == ErrorCode::timed_out ||
         error.code == ErrorCode::permission_denied;
}

class Checker {
 public:
  Checker(const OpenVolume& v, Holes holes, const ProgressFn& progress)
      : v_(v), holes_(holes), meter_("checking", v.tree.total_bytes(), v.tree.file_count(), progress) {}

  Result<CheckReport> run(unsigned threads) {
    report_.files = v_.tree.file_count();
    report_.bytes = v_.tree.total_bytes();
    for (const Damage& d : v_.damage) note(d);
    std::vector<NodeId> files;
    std::vector<WorkFile> work;
    for (NodeId id = 0; id < v_.tree.size(); ++id) {
      const Node& node = v_.tree.at(id);
      if (node.type == NodeType::file || node.type == NodeType::folder) check_attributes(id);
      if (node.type != NodeType::file) continue;
      if (!v_.volume.layout().legal_cipher_size(node.cipher_size))
        note({v_.tree.disk_path(id), std::nullopt, "the file ends inside its header or inside a block"});
      files.push_back(id);
      work.push_back({node.size, true});
    }
    CAIRN_CHECK(for_each_range(work, threads, [&](const WorkRange& r) { return check_range(files[r.file], r); }));
    meter_.finish();
    return std::move(report_);
  }

 private:
  void note(Damage damage) {
    const std::scoped_lock lock(mutex_);
    ++report_.damaged;
    if (report_.damage.size() < kDamageListMax) report_.damage.push_back(std::move(damage));
  }

  Result<void> check_range(NodeId id, const WorkRange& range) {
    thread_local Bytes piece(kPieceBytes);
    const auto file = CipherFile::open(*v_.source, v_.tree, id, v_.volume);
    if (!file && is_away(file.error())) return fail(file.error());
    if (!file) {
      if (range.offset == 0) note({v_.tree.disk_path(id), std::nullopt, file.error().message});
      return meter_.add(range.size, range.last ? 1 : 0);
    }
    for (std::uint64_t done = 0; done < range.size;) {
      const auto want = std::span(piece).first(std::min<std::uint64_t>(piece.size(), range.size - done));
      const auto got = file->read(range.offset + done, want, holes_);
      if (!got && is_away(got.error())) return fail(got.error());
      if (!got) check_blocks(*file, id, range.offset + done, want);
      done += want.size();
      CAIRN_CHECK(meter_.add(want.size()));
    }
    return meter_.add(0, range.last ? 1 : 0);
  }

  void check_blocks(const CipherFile& file, NodeId id, std::uint64_t offset, std::span<std::uint8_t> room) {
    for (std::size_t at = 0; at < room.size(); at += kBlockSize) {
      const auto block = room.subspan(at, std::min(kBlockSize, room.size() - at));
      if (const auto got = file.read(offset + at, block, holes_); !got)
        note({v_.tree.disk_path(id), offset + at, got.error().where + ": " + got.error().message});
    }
  }

  void check_attributes(NodeId id) {
    const std::string path = v_.tree.disk_path(id);
    const auto fd = v_.source->attributes(path);
    if (!fd) return;
    std::string names(kReadBuffer, '\0');
    const ssize_t size = ::flistxattr(fd->get(), names.data(), names.size());
    for (std::string_view rest(names.data(), size > 0 ? static_cast<std::size_t>(size) : 0); !rest.empty();) {
      const std::string name(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      check_attribute(fd->get(), path, name);
    }
  }
  void check_attribute(int fd, const std::string& path, const std::string& name) {
    const auto plain = v_.volume.xattr_plain_name(name);
    if (!plain && plain.error().code == ErrorCode::not_found) return;
    if (!plain) return note({path, std::nullopt, "attribute name: " + plain.error().message});
    if (*plain == name) return;  // an ACL: stored in clear
    Bytes value(gocryptfs::kXattrValueMax);
    const ssize_t size = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
    if (size < 0 || !v_.volume.open_xattr(ByteView(value).first(static_cast<std::size_t>(size))))
      note({path, std::nullopt, "attribute value does not authenticate"});
  }

  const OpenVolume& v_;
  Holes holes_;
  Meter meter_;
  std::mutex mutex_;
  CheckReport report_;
};

struct ToDigest {
  NodeId node;
  DigestKind kind;
};

// The digests of these files, in their order.
Result<std::vector<ContentDigest>> digest_files(const OpenVolume& v, const std::vector<ToDigest>& files,
                                                unsigned threads, const ProgressFn& progress, const ReadFn& read) {
  std::vector<WorkFile> work;
  std::deque<FileDigest> digests;
  std::uint64_t total = 0;
  for (const ToDigest& f : files) {
    const std::uint64_t size = v.tree.at(f.node).size;
    work.push_back({size, f.kind == DigestKind::verity});
    digests.emplace_back(size, f.kind);
    total += size;
  }
  Meter meter("reading", total, files.size(), progress);
  const auto each = [&](const WorkRange& range) -> Result<void> {
    thread_local Bytes piece(kPieceBytes);
    const NodeId id = files[range.file].node;
    const std::string where = printable(v.tree.path(id));
    std::optional<CipherFile> file;
    if (!read) {
      CAIRN_TRY(file, CipherFile::open(*v.source, v.tree, id, v.volume));
    }
    auto part = digests[range.file].part(range.offset);
    for (std::uint64_t done = 0; done < range.size;) {
      const auto want = std::span(piece).first(std::min<std::uint64_t>(piece.size(), range.size - done));
      const auto got = read ? read(id, range.offset + done, want)
                            : file->read(range.offset + done, want, Holes::deny).transform([](std::size_t) {});
      if (!got) return fail(got.error().code, where + ", " + got.error().where, got.error().message);
      part.update(want);
      done += want.size();
      CAIRN_CHECK(meter.add(want.size()));
    }
    digests[range.file].finish(std::move(part));
    return meter.add(0, range.last ? 1 : 0);
  };
  CAIRN_CHECK(for_each_range(work, threads, each));
  meter.finish();
  std::vector<ContentDigest> out;
  for (FileDigest& d : digests) out.push_back(d.result());
  return out;
}

// Every path that a manifest lists, with the file it leads to.
Result<std::vector<std::pair<std::string, NodeId>>> listed_files(const Tree& tree) {
  std::vector<std::pair<std::string, NodeId>> out;
  for (NodeId id = 1; id < tree.size(); ++id) {
    const Node& node = tree.at(id);
    std::string path = tree.path(id);
    if (node.type == NodeType::folder || !manifest_covers(path)) continue;
    const auto to = tree.resolve(id);
    if (!to || tree.at(*to).type != NodeType::file)
      return fail(ErrorCode::unsupported, printable(path), "not a file, nor a link to one inside the model");
    out.emplace_back(std::move(path), *to);
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace

Result<CheckReport> check_volume(const OpenVolume& volume, Holes holes, unsigned threads, const ProgressFn& progress) {
  return Checker(volume, holes, progress).run(threads);
}

Result<Manifest> manifest_of_volume(const OpenVolume& volume, std::string_view name, unsigned threads,
                                    const ProgressFn& progress) {
  CAIRN_TRY(const auto listed, listed_files(volume.tree));
  std::vector<ToDigest> files;
  for (const auto& [path, id] : listed)
    files.push_back({id, volume.tree.at(id).size >= kVerityFrom ? DigestKind::verity : DigestKind::sha384});
  CAIRN_TRY(auto digests, digest_files(volume, files, threads, progress, {}));
  Manifest out{.kind = "model", .name = std::string(name), .files = {}};
  for (std::size_t i = 0; i < listed.size(); ++i) {
    const Node& node = volume.tree.at(listed[i].second);
    out.files.push_back(manifest_file(listed[i].first, node.size, digests[i], (node.mode & S_IXUSR) != 0));
  }
  return out;
}

Result<std::string> stored_manifest(const OpenVolume& volume) {
  const auto id = volume.tree.child(0, kManifestName);
  if (!id || volume.tree.at(*id).type != NodeType::file)
    return fail(ErrorCode::not_found, std::string(kManifestName), "this volume has no manifest");
  if (volume.tree.at(*id).size > kManifestMax)
    return fail(ErrorCode::too_large, std::string(kManifestName), "is too large");
  CAIRN_TRY(const CipherFile file, CipherFile::open(*volume.source, volume.tree, *id, volume.volume));
  Bytes text(file.size());
  auto got = file.read(0, text, Holes::deny);
  if (!got) return fail(got.error().code, std::string(kManifestName), got.error().where + ": " + got.error().message);
  return std::string(as_text(text));
}

Result<void> take_seals(OpenVolume& volume, const Manifest& manifest) {
  const std::string name(kSealName);
  const auto listed = std::ranges::find(manifest.files, name, &ManifestFile::path);
  if (listed == manifest.files.end())
    return fail(ErrorCode::not_found, name, "this model has no seals; encrypt it with --seals, or verify it in full");
  const auto id = volume.tree.child(0, kSealName);
  if (!id || listed->size > kManifestMax) return fail(ErrorCode::crypto_failed, name, "missing, or too large");
  CAIRN_TRY(const CipherFile file, CipherFile::open(*volume.source, volume.tree, *id, volume.volume));
  Bytes bytes(file.size());
  auto got = file.read(0, bytes, Holes::deny);
  if (!got) return fail(got.error().code, name, got.error().where + ": " + got.error().message);
  const ContentDigest wanted = digest_of(*listed);
  FileDigest digest(bytes.size(), wanted.kind);
  auto part = digest.part(0);
  part.update(bytes);
  digest.finish(std::move(part));
  if (bytes.size() != listed->size || digest.result() != wanted)
    return fail(ErrorCode::crypto_failed, name, "the contents differ from the manifest");
  CAIRN_TRY(auto records, parse_seals(bytes));
  CAIRN_CHECK(volume.tree.seal(std::move(records)));
  CAIRN_TRY(const auto files, listed_files(volume.tree));
  for (const auto& [path, node] : files)
    if (path != kSealName && volume.tree.at(node).sealed == nullptr)
      return fail(ErrorCode::crypto_failed, printable(path), "is not sealed");
  return {};
}

Result<void> verify_names(const OpenVolume& volume, const Manifest& manifest) {
  CAIRN_TRY(const auto listed, listed_files(volume.tree));
  const auto differs = [](const std::string& path, std::string message) {
    return fail(ErrorCode::crypto_failed, printable(path), std::move(message));
  };
  for (std::size_t i = 0; i < std::max(listed.size(), manifest.files.size()); ++i) {
    if (i == listed.size()) return differs(manifest.files[i].path, "the manifest lists this file, the volume lacks it");
    if (i == manifest.files.size() || listed[i].first < manifest.files[i].path)
      return differs(listed[i].first, "the volume has this file, the manifest does not list it");
    if (listed[i].first > manifest.files[i].path)
      return differs(manifest.files[i].path, "the manifest lists this file, the volume lacks it");
    const std::uint64_t size = volume.tree.at(listed[i].second).size;
    if (size != manifest.files[i].size)
      return differs(listed[i].first, "has " + std::to_string(size) + " bytes, the manifest says " +
                                          std::to_string(manifest.files[i].size));
  }
  return {};
}

Result<void> pin_files(OpenVolume& volume) {
  for (NodeId id = 1; id < volume.tree.size(); ++id) {
    const Node& node = volume.tree.at(id);
    if (node.type != NodeType::file || node.size == 0 || !manifest_covers(volume.tree.path(id))) continue;
    auto file = CipherFile::open(*volume.source, volume.tree, id, volume.volume);
    if (!file) return fail(file.error().code, printable(volume.tree.path(id)), file.error().message);
    volume.tree.pin(id, file->id());
  }
  return {};
}

Result<void> verify_volume(const OpenVolume& volume, const Manifest& manifest, unsigned threads,
                           const ProgressFn& progress, const ReadFn& read) {
  CAIRN_CHECK(verify_names(volume, manifest));
  CAIRN_TRY(const auto listed, listed_files(volume.tree));
  std::vector<ToDigest> files;
  for (std::size_t i = 0; i < listed.size(); ++i)
    files.push_back({listed[i].second, digest_of(manifest.files[i]).kind});
  CAIRN_TRY(const auto digests, digest_files(volume, files, threads, progress, read));
  for (std::size_t i = 0; i < listed.size(); ++i)
    if (digests[i] != digest_of(manifest.files[i]))
      return fail(ErrorCode::crypto_failed, printable(listed[i].first), "the contents differ from the manifest");
  return {};
}

}  // namespace cairn::cachefs
