#include "cachefs/store/seal.h"

#include "base/cursor.h"
#include "base/log.h"
#include "cachefs/store/manifest.h"
#include "crypto/hash.h"

namespace cairn::cachefs {

using gocryptfs::ContentMode;
using gocryptfs::FileId;

namespace {

constexpr std::string_view kSealMagic = "CAIRNSL1";
constexpr std::size_t kRecordMin = 2 + 1 + 1 + 8 + gocryptfs::kFileIdSize + 4;
constexpr std::size_t kStampMax = 40;  // nonce and tag of one block

std::uint64_t chunks_of(std::uint64_t size) { return (size + kSealBytes - 1) / kSealBytes; }

// Nonce and tag, as stored: around the ciphertext, or for AES-SIV both before it.
void append_stamp(ContentMode mode, ByteView block, Bytes& out) {
  const auto layout = gocryptfs::Layout::of(mode);
  if (block.size() < layout.overhead) return append(out, block);  // damaged: no seal is like this
  if (mode == ContentMode::aes_siv) return append(out, block.first(layout.overhead));
  append(out, block.first(layout.nonce_size));
  append(out, block.last(layout.overhead - layout.nonce_size));
}

Bytes begin_chunk(std::uint64_t chunk) {
  Writer number;
  Bytes out = std::move(number.u64be(chunk)).take();
  out.reserve(out.size() + kSealBlocks * kStampMax);
  return out;
}

Result<void> check_record(const Sealed& r, const std::string* before) {
  const auto bad = [&](std::string message) {
    return fail(ErrorCode::malformed, "seals: " + printable(r.path), std::move(message));
  };
  CAIRN_CHECK(check_manifest_path(r.path));
  if (before != nullptr && *before >= r.path) return bad("not sorted, or twice");
  if (r.size > gocryptfs::kFileSizeMax) return bad("impossible size");
  const bool contents = r.type == SealedType::file && r.size != 0;
  if (r.type != SealedType::file && r.size != 0) return bad("a size without a file");
  if ((r.id != FileId{}) != contents) return bad("a file id without contents, or contents without one");
  const std::uint64_t wanted = r.type == SealedType::link ? 1 : chunks_of(r.size);
  if (r.chunks.size() != wanted) return bad("the number of seals does not fit the size");
  return {};
}

Result<Sealed> read_record(Reader& reader) {
  Sealed out;
  CAIRN_TRY(const std::uint16_t length, reader.u16be());
  CAIRN_TRY(const std::string_view path, reader.text(length));
  out.path = path;
  CAIRN_TRY(const std::uint8_t type, reader.u8());
  if (type > static_cast<std::uint8_t>(SealedType::link))
    return fail(ErrorCode::malformed, reader.place(), "no such type of entry");
  out.type = static_cast<SealedType>(type);
  CAIRN_TRY(out.size, reader.u64be());
  CAIRN_TRY(out.id, reader.fixed<FileId>());
  CAIRN_TRY(const std::uint32_t count, reader.u32be());
  if (count > reader.remaining() / Digest<32>::length)
    return fail(ErrorCode::malformed, reader.place(), "more seals than bytes");
  out.chunks.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    CAIRN_TRY(const auto seal, reader.fixed<Digest<32>>());
    out.chunks.push_back(seal);
  }
  return out;
}

}  // namespace

Result<Bytes> write_seals(const std::vector<Sealed>& records) {
  Writer w;
  w.text(kSealMagic).u32be(kSealBlocks).u32be(static_cast<std::uint32_t>(records.size()));
  const std::string* before = nullptr;
  for (const Sealed& r : records) {
    CAIRN_CHECK(check_record(r, before));
    before = &r.path;
    w.u16be(static_cast<std::uint16_t>(r.path.size())).text(r.path).u8(static_cast<std::uint8_t>(r.type));
    w.u64be(r.size).bytes(r.id.view()).u32be(static_cast<std::uint32_t>(r.chunks.size()));
    for (const auto& seal : r.chunks) w.bytes(seal.view());
  }
  return std::move(w).take();
}

Result<std::vector<Sealed>> parse_seals(ByteView bytes) {
  Reader reader(bytes);
  CAIRN_TRY(const std::string_view magic, reader.text(kSealMagic.size()));
  if (magic != kSealMagic) return fail(ErrorCode::malformed, "seals", "not a list of seals");
  CAIRN_TRY(const std::uint32_t blocks, reader.u32be());
  if (blocks != kSealBlocks)
    return fail(ErrorCode::unsupported, "seals", "chunks of " + std::to_string(blocks) + " blocks; 256 are supported");
  CAIRN_TRY(const std::uint32_t count, reader.u32be());
  if (count > reader.remaining() / kRecordMin) return fail(ErrorCode::malformed, "seals", "more records than bytes");
  std::vector<Sealed> out;
  out.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    CAIRN_TRY(Sealed record, read_record(reader));
    CAIRN_CHECK(check_record(record, out.empty() ? nullptr : &out.back().path));
    out.push_back(std::move(record));
  }
  CAIRN_CHECK(reader.end());
  return out;
}

Digest<32> chunk_seal(ContentMode mode, std::uint64_t chunk, ByteView stored) {
  const std::size_t whole = gocryptfs::Layout::of(mode).cipher_block();
  Bytes input = begin_chunk(chunk);
  for (; !stored.empty(); stored = stored.subspan(std::min(stored.size(), whole)))
    append_stamp(mode, stored.first(std::min(stored.size(), whole)), input);
  return crypto::sha256(input);
}

SealWriter::SealWriter(ContentMode mode, std::uint64_t first, std::vector<Digest<32>>& out)
    : mode_(mode), chunk_(first), out_(out) {}

void SealWriter::add(ByteView stored) {
  if (out_.empty()) return;
  const std::size_t whole = gocryptfs::Layout::of(mode_).cipher_block();
  for (; !stored.empty(); stored = stored.subspan(std::min(stored.size(), whole))) {
    if (blocks_ == 0) input_ = begin_chunk(chunk_);
    append_stamp(mode_, stored.first(std::min(stored.size(), whole)), input_);
    if (++blocks_ == kSealBlocks) finish();
  }
}

void SealWriter::finish() {
  if (blocks_ == 0) return;
  out_[chunk_++] = crypto::sha256(input_);
  blocks_ = 0;
}

std::uint64_t block_tag(ContentMode mode, ByteView stored) {
  const auto layout = gocryptfs::Layout::of(mode);
  std::uint64_t out = 0;
  if (stored.size() < layout.overhead) return out;
  const ByteView tag =
      mode == ContentMode::aes_siv ? stored.subspan(layout.nonce_size) : stored.last(gocryptfs::kTagSize);
  std::memcpy(&out, tag.data(), sizeof out);
  return out;
}

std::size_t CheckedChunks::slot_of(const Sealed& file, std::uint64_t chunk) {
  return (reinterpret_cast<std::uintptr_t>(&file) / sizeof(Sealed) * 977 + chunk) % kSlots;
}

std::optional<ChunkTags> CheckedChunks::find(const Sealed& file, std::uint64_t chunk) {
  const std::scoped_lock lock(mutex_);
  if (slots_.empty()) return std::nullopt;
  const Slot& slot = slots_[slot_of(file, chunk)];
  if (slot.file != &file || slot.chunk != chunk) return std::nullopt;
  return slot.tags;
}

void CheckedChunks::keep(const Sealed& file, std::uint64_t chunk, const ChunkTags& tags) {
  const std::scoped_lock lock(mutex_);
  if (slots_.empty()) slots_.resize(kSlots);
  slots_[slot_of(file, chunk)] = {&file, chunk, tags};
}

}  // namespace cairn::cachefs
