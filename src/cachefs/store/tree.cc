#include "cachefs/store/tree.h"

#include <fcntl.h>

#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/limits.h"
#include "cachefs/store/pages.h"
#include "crypto/hash.h"

namespace cairn::cachefs {

using gocryptfs::DirIv;
using gocryptfs::EntryKind;
using gocryptfs::Holes;
using gocryptfs::kBlockSize;
using gocryptfs::Volume;

namespace {
constexpr std::size_t kRunBlocks = 64;    // blocks read and decrypted at once: buffers that stay in a core's cache
constexpr std::size_t kOverheadMax = 40;  // of a block, in any content mode

NodeType type_of(mode_t mode) {
  if (S_ISDIR(mode)) return NodeType::folder;
  if (S_ISREG(mode)) return NodeType::file;
  return S_ISLNK(mode) ? NodeType::link : NodeType::special;
}
}  // namespace

// Breadth first, so that the children of a folder lie side by side.
class Scanner {
 public:
  Scanner(const Source& source, const Volume& volume, std::vector<Damage>& damage)
      : source_(source), volume_(volume), damage_(damage) {}

  Result<Tree> run() {
    CAIRN_TRY(const struct stat status, source_.root_status());
    if (!S_ISDIR(status.st_mode)) return fail(ErrorCode::invalid_argument, "the volume", "not a folder");
    tree_.nodes_.push_back(node_of(status));
    depth_.push_back(0);
    for (NodeId id = 0; id < tree_.nodes_.size(); ++id)
      if (tree_.nodes_[id].type == NodeType::folder) CAIRN_CHECK(scan_folder(id));
    return std::move(tree_);
  }

 private:
  void note(const std::string& path, std::string reason) { damage_.push_back({path, std::nullopt, std::move(reason)}); }

  Node node_of(const struct stat& s) const {
    Node n;
    n.type = type_of(s.st_mode);
    n.mode = s.st_mode;
    n.uid = s.st_uid;
    n.gid = s.st_gid;
    n.links = static_cast<std::uint32_t>(s.st_nlink);
    n.inode = s.st_ino;
    n.blocks = static_cast<std::uint64_t>(s.st_blocks);
    n.rdev = s.st_rdev;
    n.mtime_ns = nanoseconds(s.st_mtim);
    n.ctime_ns = nanoseconds(s.st_ctim);
    n.atime_ns = nanoseconds(s.st_atim);
    if (n.type == NodeType::folder) n.size = static_cast<std::uint64_t>(s.st_size);
    if (n.type == NodeType::file) {
      n.cipher_size = static_cast<std::uint64_t>(s.st_size);
      n.size = volume_.layout().plain_size(n.cipher_size);
    }
    return n;
  }

  // The folder's IV; nullopt and the node marked where it is damaged.
  std::optional<DirIv> iv_of(const SourceFolder& folder, NodeId id, const std::string& path) {
    if (!volume_.has_dir_iv()) return DirIv{};
    auto iv = folder.read_small(std::string(gocryptfs::kDirIvName), gocryptfs::kDirIvSize).and_then([](const Bytes& b) {
      return gocryptfs::parse_dir_iv(b);
    });
    if (iv) return *iv;
    tree_.nodes_[id].damaged = true;
    note(join(path, gocryptfs::kDirIvName), iv.error().message);
    return std::nullopt;
  }

  // The encrypted name's text: the entry's name, or the content of its .name file.
  Result<std::string> name_text(const SourceFolder& folder, const std::string& disk_name) const {
    if (volume_.plaintext_names() || gocryptfs::entry_kind(disk_name) != EntryKind::long_content) return disk_name;
    CAIRN_TRY(const Bytes text,
              folder.read_small(disk_name + std::string(gocryptfs::kLongNameSuffix), gocryptfs::kLongNameTextMax));
    return std::string(as_text(text));
  }

  Result<std::string> plain_name(const SourceFolder& folder, const std::string& disk_name, const DirIv& iv) const {
    CAIRN_TRY(const std::string text, name_text(folder, disk_name));
    CAIRN_TRY(std::string name, volume_.plain_name(text, iv));
    // Encrypting it again must lead back here: no second spelling, no .name beside another object.
    CAIRN_TRY(const gocryptfs::DiskName again, volume_.disk_name(name, iv));
    if (again.name != disk_name) return fail(ErrorCode::malformed, disk_name, "not the entry's one name");
    return name;
  }

  bool hidden(NodeId folder, const std::string& disk_name) const {
    if (folder == 0 && disk_name == gocryptfs::kConfName) return true;
    if (volume_.plaintext_names()) return false;
    const EntryKind kind = gocryptfs::entry_kind(disk_name);
    return kind == EntryKind::internal || kind == EntryKind::long_name;
  }

  Result<void> scan_folder(NodeId id) {
    const std::string path = tree_.disk_path(id);
    auto opened = source_.folder(path);
    if (!opened && id == 0) return fail(std::move(opened).error().in("cannot scan the volume"));
    if (!opened) {
      tree_.nodes_[id].damaged = true;
      note(path, opened.error().message);
      return {};
    }
    const SourceFolder& folder = **opened;
    const auto iv = iv_of(folder, id, path);
    if (!iv) return {};
    CAIRN_TRY(const auto entries, folder.list(kTreeEntriesMax));
    std::vector<Node> children;
    for (const DirEntry& entry : entries) {
      if (hidden(id, entry.name)) continue;
      auto name = plain_name(folder, entry.name, *iv);
      if (!name) {
        note(join(path, entry.name), "hidden: " + name.error().message);
        continue;
      }
      Node node = node_of(entry.status);
      node.parent = id;
      node.name = std::move(*name);
      node.disk_name = entry.name;
      if (node.cipher_size > gocryptfs::kFileSizeMax) {
        note(join(path, entry.name), "hidden: impossible size");
        continue;
      }
      if (node.type == NodeType::link) read_target(folder, path, node);
      children.push_back(std::move(node));
    }
    return adopt(id, std::move(children));
  }

  void read_target(const SourceFolder& folder, const std::string& path, Node& node) {
    auto target = folder.read_link(node.disk_name, gocryptfs::kSymlinkTextMax).and_then([&](const std::string& t) {
      return volume_.open_symlink(t);
    });
    if (target) {
      node.size = target->size();
      node.target = std::move(*target);
    } else {
      node.damaged = true;
      note(join(path, node.disk_name), "link: " + target.error().message);
    }
  }

  Result<void> adopt(NodeId id, std::vector<Node> children) {
    if (children.size() > kTreeEntriesMax - tree_.nodes_.size())
      return fail(ErrorCode::too_large, "the volume", "more than " + std::to_string(kTreeEntriesMax) + " entries");
    if (depth_[id] == kTreeDepthMax && !children.empty())
      return fail(ErrorCode::too_large, "the volume", "folders nested deeper than " + std::to_string(kTreeDepthMax));
    std::ranges::sort(children, {}, &Node::name);
    tree_.nodes_[id].first_child = static_cast<NodeId>(tree_.nodes_.size());
    tree_.nodes_[id].children = static_cast<std::uint32_t>(children.size());
    for (Node& child : children) {
      if (child.type == NodeType::file) {
        tree_.total_bytes_ += child.size;
        ++tree_.file_count_;
      }
      tree_.nodes_.push_back(std::move(child));
      depth_.push_back(static_cast<std::uint16_t>(depth_[id] + 1));
    }
    return {};
  }

  const Source& source_;
  const Volume& volume_;
  std::vector<Damage>& damage_;
  Tree tree_;
  std::vector<std::uint16_t> depth_;
};

Result<Tree> Tree::scan(const Source& source, const Volume& volume, std::vector<Damage>& damage) {
  return Scanner(source, volume, damage).run();
}

std::optional<NodeId> Tree::child(NodeId folder, std::string_view name) const {
  const Node& f = nodes_[folder];
  const auto begin = nodes_.begin() + f.first_child, end = begin + f.children;
  const auto found =
      std::ranges::lower_bound(begin, end, name, {}, [](const Node& n) { return std::string_view(n.name); });
  if (found == end || found->name != name) return std::nullopt;
  return static_cast<NodeId>(found - nodes_.begin());
}

std::optional<NodeId> Tree::find(std::string_view path) const {
  NodeId at = 0;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    const auto next = child(at, part);
    if (!next) return std::nullopt;
    at = *next;
  }
  return at;
}

std::optional<NodeId> Tree::resolve(NodeId id) const {
  for (std::size_t step = 0; step < kLinksFollowed; ++step) {
    const Node& node = nodes_[id];
    if (node.type != NodeType::link) return id;
    if (node.damaged || node.target.empty() || node.target.starts_with('/')) return std::nullopt;
    std::string_view rest = node.target;
    NodeId at = node.parent;
    while (!rest.empty()) {
      const std::size_t slash = std::min(rest.find('/'), rest.size());
      const std::string_view part = rest.substr(0, slash);
      rest.remove_prefix(std::min(slash + 1, rest.size()));
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        if (at == 0) return std::nullopt;  // leaves the volume
        at = nodes_[at].parent;
        continue;
      }
      const auto next = child(at, part);
      if (!next) return std::nullopt;
      at = *next;
    }
    id = at;
  }
  return std::nullopt;
}

Result<void> Tree::seal(std::vector<Sealed> records) {
  seals_ = std::move(records);
  checked_ = std::make_unique<CheckedChunks>();
  for (const Sealed& r : seals_) {
    const auto differs = [&](std::string message) {
      return fail(ErrorCode::crypto_failed, printable(r.path), std::move(message));
    };
    const auto id = find(r.path);
    if (!id) return differs("is sealed, the volume lacks it");
    Node& node = nodes_[*id];
    const NodeType wanted = r.type == SealedType::file     ? NodeType::file
                            : r.type == SealedType::folder ? NodeType::folder
                                                           : NodeType::link;
    if (node.type != wanted) return differs("is another kind of entry than what was sealed");
    if (r.type == SealedType::link && (node.damaged || crypto::sha256(as_bytes(node.target)) != r.chunks[0]))
      return differs("is another link than what was sealed");
    if (r.type != SealedType::file) continue;
    if (node.size != r.size) return differs("has another size than what was sealed");
    node.sealed = &r;
    node.pinned = r.id;
  }
  return {};
}

std::string Tree::path(NodeId id) const {
  return id == 0 ? std::string() : join(path(nodes_[id].parent), nodes_[id].name);
}
std::string Tree::disk_path(NodeId id) const {
  return id == 0 ? std::string() : join(disk_path(nodes_[id].parent), nodes_[id].disk_name);
}

Result<CipherFile> CipherFile::open(const Source& source, const Tree& tree, NodeId id, const Volume& volume) {
  const Node& node = tree.at(id);
  const std::string path = tree.disk_path(id);
  if (node.type != NodeType::file) return fail(ErrorCode::invalid_argument, path, "not a regular file");
  CipherFile out;
  CAIRN_TRY(out.file_, source.file(path, {node.inode, node.cipher_size}));
  out.volume_ = &volume;
  out.size_ = node.size;
  out.cipher_size_ = node.cipher_size;
  if (out.size_ == 0) return out;
  std::array<std::uint8_t, gocryptfs::kHeaderSize> header{};
  CAIRN_TRY(const std::size_t size, out.file_->read(header, 0, path));
  auto parsed = gocryptfs::parse_header(ByteView(header).first(size));
  if (!parsed) return fail(ErrorCode::crypto_failed, path, parsed.error().message);
  out.id_ = *parsed;
  out.sealed_ = node.sealed;
  out.checked_ = tree.checked();
  if (node.pinned != gocryptfs::FileId{} && node.pinned != out.id_)
    return fail(ErrorCode::conflict, path, "the file was exchanged since it was verified");
  return out;
}

// Whole blocks as stored; valid until this thread's next call.
Result<std::span<const std::uint8_t>> CipherFile::read_stored(std::uint64_t first, std::size_t count) const {
  // Blocks lie at odd offsets; a copy that begins at the same place of a page as its source is the faster one.
  thread_local const Pages memory(kPage + kRunBlocks * (kBlockSize + kOverheadMax));
  thread_local std::optional<Pages> large;  // of a sealed file
  if (count > kRunBlocks && !large) large.emplace(kPage + kSealBlocks * (kBlockSize + kOverheadMax));
  const gocryptfs::Layout& layout = volume_->layout();
  const std::uint64_t start = layout.block_offset(first);
  const std::uint64_t end = std::min(cipher_size_, layout.block_offset(first + count));
  const std::string where = "block " + std::to_string(first);
  if (end <= start) return fail(ErrorCode::io_failed, where, "past the end of the ciphertext");
  const auto piece = (count > kRunBlocks ? large->span() : memory.span()).subspan(start % kPage, end - start);
  CAIRN_TRY(const std::size_t size, file_->read(piece, start, where));
  if (size != piece.size()) return fail(ErrorCode::io_failed, where, "the ciphertext ends early");
  return piece;
}

Result<void> CipherFile::check_chunk(std::uint64_t chunk, ByteView stored) const {
  const auto mode = volume_->content().mode();
  if (chunk >= sealed_->chunks.size() || chunk_seal(mode, chunk, stored) != sealed_->chunks[chunk])
    return fail(ErrorCode::crypto_failed, "chunk " + std::to_string(chunk), "is not what was sealed");
  ChunkTags tags{};
  const std::size_t whole = volume_->layout().cipher_block();
  for (std::size_t i = 0; i * whole < stored.size(); ++i)
    tags[i] = block_tag(mode, stored.subspan(i * whole, std::min(whole, stored.size() - i * whole)));
  checked_->keep(*sealed_, chunk, tags);
  return {};
}

// Decrypts `count` blocks from `first` into `out`, which has room for them.
Result<std::size_t> CipherFile::read_run(std::uint64_t first, std::size_t count, std::span<std::uint8_t> out,
                                         Holes holes) const {
  auto got = read_run_once(first, count, out, holes);
  if (got || got.error().code != ErrorCode::crypto_failed) return got;
  const std::uint64_t from = sealed_ == nullptr ? first : first / kSealBlocks * kSealBlocks;
  const std::uint64_t to = sealed_ == nullptr ? first + count : from + kSealBlocks;
  const std::uint64_t start = volume_->layout().block_offset(from), end = volume_->layout().block_offset(to);
  return file_->distrust(start, end - start) ? read_run_once(first, count, out, holes) : got;
}

Result<std::size_t> CipherFile::read_run_once(std::uint64_t first, std::size_t count, std::span<std::uint8_t> out,
                                              Holes holes) const {
  if (sealed_ == nullptr) {
    CAIRN_TRY(const auto stored, read_stored(first, count));
    return volume_->content().open_blocks(stored, first, id_, holes, out);
  }
  // A chunk whose tags are not at hand is read whole: what is decrypted is the very bytes that were compared.
  const std::uint64_t chunk = first / kSealBlocks;
  const std::size_t whole = volume_->layout().cipher_block();
  if (const auto tags = count <= kRunBlocks ? checked_->find(*sealed_, chunk) : std::nullopt) {
    CAIRN_TRY(const auto stored, read_stored(first, count));
    for (std::size_t i = 0; i * whole < stored.size(); ++i)
      if (block_tag(volume_->content().mode(), stored.subspan(i * whole, std::min(whole, stored.size() - i * whole))) !=
          (*tags)[first % kSealBlocks + i])
        return fail(ErrorCode::crypto_failed, "chunk " + std::to_string(chunk), "is not what was sealed");
    return volume_->content().open_blocks(stored, first, id_, holes, out);
  }
  CAIRN_TRY(const auto stored, read_stored(chunk * kSealBlocks, kSealBlocks));
  CAIRN_CHECK(check_chunk(chunk, stored));
  const std::size_t skip = first % kSealBlocks * whole;
  if (skip >= stored.size()) return fail(ErrorCode::io_failed, "block " + std::to_string(first), "past the end");
  const auto wanted = stored.subspan(skip, std::min(count * whole, stored.size() - skip));
  return volume_->content().open_blocks(wanted, first, id_, holes, out);
}

Result<std::size_t> CipherFile::read(std::uint64_t offset, std::span<std::uint8_t> out, Holes holes) const {
  if (offset >= size_ || out.empty()) return 0;
  thread_local const Pages scratch(kRunBlocks * kBlockSize);
  const std::uint64_t end = offset + std::min<std::uint64_t>(out.size(), size_ - offset);
  for (std::uint64_t at = offset; at < end;) {
    const std::uint64_t block = at / kBlockSize;
    const std::size_t skip = at % kBlockSize;
    // A run of a sealed file ends with its chunk.
    const std::uint64_t longest = sealed_ == nullptr ? kRunBlocks : kSealBlocks - block % kSealBlocks;
    std::size_t blocks = std::min<std::uint64_t>(longest, (end - 1) / kBlockSize - block + 1);
    std::size_t whole = std::min<std::uint64_t>(blocks * kBlockSize, size_ - block * kBlockSize);
    const auto target = out.subspan(at - offset);
    const bool direct = skip == 0 && target.size() >= whole;
    if (!direct && blocks > kRunBlocks) {
      blocks = kRunBlocks;
      whole = blocks * kBlockSize;
    }
    auto got = read_run(block, blocks, direct ? target.first(whole) : scratch.span(), holes);
    if (!got) return fail(std::move(got).error());
    if (*got != whole)
      return fail(ErrorCode::crypto_failed, "block " + std::to_string(block), "has another size than stat shows");
    const std::size_t useful = std::min<std::uint64_t>(whole - skip, end - at);
    if (!direct) std::ranges::copy(scratch.span().subspan(skip, useful), target.begin());
    at += useful;
  }
  return end - offset;
}

namespace {
Result<gocryptfs::Config> config_of(Result<std::string> text, const std::string& where, const OpenOptions& options) {
  if (!text && text.error().code == ErrorCode::not_found)
    return fail(ErrorCode::not_found, where, "not a gocryptfs volume (no gocryptfs.conf)");
  if (!text) return fail(std::move(text).error());
  CAIRN_TRY(gocryptfs::Config config, gocryptfs::parse_config(*text));
  if (!options.all_features) {
    auto usual = gocryptfs::require_default_features(config);
    if (!usual) {
      usual.error().message += "; --allow-features accepts them";
      return fail(std::move(usual).error());
    }
  }
  return config;
}
}  // namespace

Result<gocryptfs::Config> read_config(const OpenOptions& options) {
  const auto path = options.config.empty() ? options.source / gocryptfs::kConfName : options.config;
  return config_of(read_text(path, gocryptfs::kConfigMax), path.string(), options);
}

Result<gocryptfs::Config> read_config(const OpenOptions& options, const Source& source) {
  if (!options.config.empty()) return read_config(options);
  return config_of(source.config_text(), source.text(), options);
}

Result<OpenVolume> open_local(const OpenOptions& options, ByteView password) {
  CAIRN_TRY(const gocryptfs::Config config, read_config(options));
  CAIRN_TRY(const Secret key, gocryptfs::unwrap_master_key(config, password));
  CAIRN_TRY(auto source, open_folder(options.source));
  return open_volume(std::move(source), config, key);
}

Result<OpenVolume> open_volume(std::shared_ptr<const Source> source, const gocryptfs::Config& config,
                               const Secret& master_key) {
  CAIRN_TRY(Volume volume, Volume::open(config, master_key));
  std::vector<Damage> damage;
  CAIRN_TRY(Tree tree, Tree::scan(*source, volume, damage));
  return OpenVolume{std::move(source), std::move(volume), std::move(tree), std::move(damage)};
}

}  // namespace cairn::cachefs
