#include "cachefs/store/digest.h"

#include "base/cursor.h"
#include "base/encoding.h"

namespace cairn::cachefs {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kHash = 32;
constexpr std::uint64_t kFoldBytes = kBlock / kHash * kBlock;  // plaintext below one block of leaf hashes: 512 KiB

Digest<32> hash_block(ByteView block) {
  if (block.size() == kBlock) return crypto::sha256(block);
  Bytes padded = to_bytes(block);
  padded.resize(kBlock);
  return crypto::sha256(padded);
}

// struct fsverity_descriptor of Linux: SHA-256, blocks of 4096 bytes, no salt.
Digest<32> descriptor_digest(std::uint64_t size, ByteView root) {
  Writer w;
  w.u8(1).u8(1).u8(12).u8(0).u32le(0).u64le(size).bytes(root).zeros(64 - root.size() + 32 + 144);
  return crypto::sha256(w.view());
}

}  // namespace

std::string ContentDigest::text() const { return (kind == DigestKind::verity ? "verity:" : "sha384:") + hex(value); }

FileDigest::FileDigest(std::uint64_t size, DigestKind kind) : size_(size), kind_(kind) {
  if (kind == DigestKind::verity) level_.resize((size + kFoldBytes - 1) / kFoldBytes * kHash);
}

FileDigest::Part::Part(DigestKind kind, std::uint64_t offset)
    : kind_(kind), offset_(offset), whole_(crypto::Hash::sha384) {}

void FileDigest::Part::leaf(ByteView block) {
  append(leaves_, hash_block(block).view());
  if (leaves_.size() == kBlock) fold();
}
void FileDigest::Part::fold() {
  append(folded_, hash_block(leaves_).view());
  leaves_.clear();
}

void FileDigest::Part::update(ByteView piece) {
  if (kind_ == DigestKind::sha384) {
    whole_.update(piece);
    return;
  }
  for (; !piece.empty(); piece = piece.subspan(std::min(piece.size(), kBlock)))
    leaf(piece.first(std::min(piece.size(), kBlock)));
}

void FileDigest::finish(Part part) {
  const std::scoped_lock lock(mutex_);
  if (kind_ == DigestKind::sha384) {
    value_ = part.whole_.finish();
    return;
  }
  // A file of one block has that block's hash as its root; there is no level above it.
  if (size_ <= kBlock)
    part.folded_ = part.leaves_;
  else if (!part.leaves_.empty())
    part.fold();
  std::ranges::copy(part.folded_, level_.begin() + static_cast<std::ptrdiff_t>(part.offset_ / kFoldBytes * kHash));
}

ContentDigest FileDigest::result() {
  if (kind_ == DigestKind::sha384) {
    if (value_.empty()) value_ = to_bytes(crypto::sha384({}).view());
    return {kind_, value_};
  }
  if (size_ == 0) level_.assign(kHash, 0);
  while (level_.size() > kHash) {
    Bytes above;
    for (ByteView rest = level_; !rest.empty(); rest = rest.subspan(std::min(rest.size(), kBlock)))
      append(above, hash_block(rest.first(std::min(rest.size(), kBlock))).view());
    level_ = std::move(above);
  }
  return {kind_, to_bytes(descriptor_digest(size_, level_).view())};
}

}  // namespace cairn::cachefs
