#include "gocryptfs/content.h"

#include <vector>

#include "base/cursor.h"
#include "crypto/random.h"
#include "gocryptfs/engine.h"

namespace cairn::gocryptfs {
namespace {

constexpr std::uint16_t kHeaderVersion = 2;
constexpr std::size_t kNoncesAtOnce = 256;
constexpr std::array<std::uint8_t, 8> kBlobAad{};

// Block number (big endian), then the file's id.
class BlockAad {
 public:
  explicit BlockAad(const FileId& id) { std::copy(id.begin(), id.end(), bytes_.begin() + 8); }
  [[nodiscard]] ByteView of(std::uint64_t block) {
    for (std::size_t i = 0; i < 8; ++i) bytes_[i] = static_cast<std::uint8_t>(block >> (56 - 8 * i));
    return bytes_;
  }

 private:
  std::array<std::uint8_t, 8 + kFileIdSize> bytes_{};
};

// Nonces that are never zero, from the generator in batches.
class Nonces {
 public:
  explicit Nonces(std::size_t size, std::size_t count) : size_(size), left_(count) {}
  [[nodiscard]] ByteView next() {
    ByteView out;
    do {
      if (at_ == pool_.size()) refill();
      out = ByteView(pool_).subspan(at_, size_);
      at_ += size_;
    } while (all_zero(out));
    return out;
  }

 private:
  void refill() {
    const std::size_t n = std::clamp<std::size_t>(left_, 1, kNoncesAtOnce);
    left_ -= std::min(left_, n);
    pool_.resize(n * size_);
    crypto::fill_random(pool_);
    at_ = 0;
  }
  std::size_t size_, left_;
  std::size_t at_ = 0;
  Bytes pool_;
};

enum class Outcome { data, hole, bad };

}  // namespace

std::string_view name(ContentMode mode) {
  switch (mode) {
    case ContentMode::aes_gcm: return "AES-GCM-256";
    case ContentMode::aes_siv: return "AES-SIV-512";
    case ContentMode::xchacha: break;
  }
  return "XChaCha20-Poly1305";
}

Layout Layout::of(ContentMode mode) {
  return mode == ContentMode::xchacha ? Layout{.nonce_size = 24, .overhead = 40} : Layout{};
}

std::uint64_t Layout::cipher_size(std::uint64_t size) const {
  if (size == 0) return 0;
  return kHeaderSize + (size - 1) / kBlockSize * cipher_block() + (size - 1) % kBlockSize + overhead + 1;
}

std::uint64_t Layout::plain_size(std::uint64_t size) const {
  if (size <= kHeaderSize) return 0;
  const std::uint64_t body = size - kHeaderSize;
  const std::uint64_t whole = body / cipher_block(), rest = body % cipher_block();
  if (rest == 0) return whole * kBlockSize;
  return whole * kBlockSize + (rest <= overhead ? 1 : rest - overhead);
}

bool Layout::legal_cipher_size(std::uint64_t size) const {
  if (size == 0) return true;
  if (size <= kHeaderSize) return false;
  const std::uint64_t rest = (size - kHeaderSize) % cipher_block();
  return rest == 0 || rest > overhead;
}

Result<FileId> parse_header(ByteView header) {
  Reader reader(header);
  CAIRN_TRY(const std::uint16_t version, reader.u16be());
  if (version != kHeaderVersion)
    return fail(ErrorCode::malformed, "header", "version " + std::to_string(version) + " instead of 2");
  CAIRN_TRY(const FileId id, reader.fixed<FileId>());
  if (all_zero(id.view())) return fail(ErrorCode::malformed, "header", "the file id is all zero");
  return id;
}

std::array<std::uint8_t, kHeaderSize> write_header(const FileId& id) {
  std::array<std::uint8_t, kHeaderSize> out{0, kHeaderVersion};
  std::copy(id.begin(), id.end(), out.begin() + 2);
  return out;
}

FileId random_file_id() {
  FileId out{};
  while (all_zero(out.view())) crypto::fill_random(out);
  return out;
}

ContentCipher::ContentCipher(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
ContentCipher::ContentCipher(ContentCipher&&) noexcept = default;
ContentCipher& ContentCipher::operator=(ContentCipher&&) noexcept = default;
ContentCipher::~ContentCipher() = default;

Result<ContentCipher> ContentCipher::create(ContentMode mode, const Secret& key) {
  if (mode == ContentMode::aes_gcm && key.size() == 32) {
    if (auto engine = ipsec_engine(key)) return ContentCipher(std::move(engine));
  }
  CAIRN_TRY(auto engine, openssl_engine(mode, key));
  return ContentCipher(std::move(engine));
}

ContentMode ContentCipher::mode() const { return engine_->mode; }
const Layout& ContentCipher::layout() const { return engine_->layout; }
std::string_view ContentCipher::engine() const { return engine_->name(); }

namespace {
Outcome open_one(Session& session, const Layout& layout, ByteView stored, ByteView aad, Holes holes,
                 std::uint8_t* out) {
  if (stored.size() <= layout.overhead) return Outcome::bad;
  if (all_zero(stored.first(layout.nonce_size))) {
    const bool hole = holes == Holes::allow && stored.size() == layout.cipher_block() && all_zero(stored);
    return hole ? Outcome::hole : Outcome::bad;
  }
  return session.open(stored, aad, out) ? Outcome::data : Outcome::bad;
}
}  // namespace

Result<std::size_t> ContentCipher::open_blocks(ByteView cipher, std::uint64_t first_block, const FileId& id,
                                               Holes holes, std::span<std::uint8_t> out) const {
  const Layout& layout = engine_->layout;
  const auto session = engine_->session();
  BlockAad aad(id);
  std::size_t written = 0;
  for (std::uint64_t block = first_block; !cipher.empty(); ++block) {
    const ByteView stored = cipher.first(std::min(cipher.size(), layout.cipher_block()));
    cipher = cipher.subspan(stored.size());
    const std::size_t plain = stored.size() - std::min(stored.size(), layout.overhead);
    if (plain > out.size() - written) return fail(ErrorCode::invalid_argument, "blocks", "the buffer is too small");
    const Outcome outcome = open_one(*session, layout, stored, aad.of(block), holes, out.data() + written);
    if (outcome == Outcome::bad) {
      std::ranges::fill(out.subspan(written), std::uint8_t{0});
      return fail(ErrorCode::crypto_failed, "block " + std::to_string(block), "the block does not authenticate");
    }
    if (outcome == Outcome::hole) std::ranges::fill(out.subspan(written, plain), std::uint8_t{0});
    written += plain;
  }
  return written;
}

std::size_t ContentCipher::sealed_size(std::size_t plain) const {
  return plain + (plain + kBlockSize - 1) / kBlockSize * engine_->layout.overhead;
}

std::size_t ContentCipher::seal_blocks(ByteView plain, std::uint64_t first_block, const FileId& id,
                                       std::span<std::uint8_t> out) const {
  const auto session = engine_->session();
  BlockAad aad(id);
  Nonces nonces(engine_->layout.nonce_size, block_count(plain.size()));
  std::size_t written = 0;
  for (std::uint64_t block = first_block; !plain.empty(); ++block) {
    const ByteView piece = plain.first(std::min(plain.size(), kBlockSize));
    plain = plain.subspan(piece.size());
    const std::size_t size = piece.size() + engine_->layout.overhead;
    if (size > out.size() - written) std::abort();  // contract: room for sealed_size()
    // A cipher that fails to encrypt is a broken library; going on would write a block that never opens.
    if (!session->seal(nonces.next(), piece, aad.of(block), out.data() + written)) std::abort();
    written += size;
  }
  return written;
}

Result<Bytes> ContentCipher::open_blob(ByteView blob) const {
  if (blob.empty()) return Bytes{};
  if (blob.size() <= engine_->layout.overhead) return fail(ErrorCode::malformed, "blob", "too short");
  Bytes out(blob.size() - engine_->layout.overhead);
  const auto session = engine_->session();
  if (all_zero(blob.first(engine_->layout.nonce_size)) || !session->open(blob, kBlobAad, out.data()))
    return fail(ErrorCode::crypto_failed, "blob", "does not authenticate");
  return out;
}

Bytes ContentCipher::seal_blob(ByteView plain) const {
  if (plain.empty()) return {};
  Bytes out(plain.size() + engine_->layout.overhead);
  Nonces nonces(engine_->layout.nonce_size, 1);
  if (!engine_->session()->seal(nonces.next(), plain, kBlobAad, out.data())) std::abort();
  return out;
}

}  // namespace cairn::gocryptfs
