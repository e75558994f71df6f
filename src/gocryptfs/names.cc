#include "gocryptfs/names.h"

#include "base/encoding.h"
#include "crypto/hash.h"
#include "crypto/openssl.h"
#include "crypto/random.h"

namespace cairn::gocryptfs {
namespace {

constexpr std::size_t kAes = 16;
constexpr std::size_t kEmeBlocksMax = 128;
using Block = std::array<std::uint8_t, kAes>;

void mix(std::uint8_t* into, const std::uint8_t* from) {
  for (std::size_t i = 0; i < kAes; ++i) into[i] = static_cast<std::uint8_t>(into[i] ^ from[i]);
}

// Times 2 in GF(2^128), byte 0 least significant.
void twice(Block& b) {
  const bool carry_out = (b[kAes - 1] & 0x80U) != 0;
  for (std::size_t i = kAes - 1; i > 0; --i) b[i] = static_cast<std::uint8_t>(b[i] << 1 | b[i - 1] >> 7);
  b[0] = static_cast<std::uint8_t>(b[0] << 1 ^ (carry_out ? 0x87 : 0));
}

// AES-256 on whole blocks in place, both directions of one key.
class Aes {
 public:
  static Result<Aes> create(ByteView key) {
    if (key.size() != 32) return fail(ErrorCode::invalid_argument, "name key", "must have 32 bytes");
    Aes out;
    for (const bool encrypt : {false, true}) {
      auto& ctx = out.ctx_[encrypt];
      ctx.reset(EVP_CIPHER_CTX_new());
      if (!ctx || EVP_CipherInit_ex2(ctx.get(), EVP_aes_256_ecb(), key.data(), nullptr, encrypt, nullptr) != 1 ||
          EVP_CIPHER_CTX_set_padding(ctx.get(), 0) != 1)
        return crypto::openssl_error("AES-256 is not available");
    }
    return out;
  }
  // A context of one call's own: contexts are not for several threads, copies are cheap.
  [[nodiscard]] crypto::EvpCipherCtx session(bool encrypt) const {
    return crypto::EvpCipherCtx(EVP_CIPHER_CTX_dup(ctx_[encrypt].get()));
  }

 private:
  std::array<crypto::EvpCipherCtx, 2> ctx_;
};

bool apply(EVP_CIPHER_CTX* ctx, std::uint8_t* data, std::size_t size) {
  int written = 0;
  return ctx != nullptr && EVP_CipherUpdate(ctx, data, &written, data, static_cast<int>(size)) == 1 &&
         static_cast<std::size_t>(written) == size;
}

// L_1 … L_m of EME.
Result<std::vector<Block>> eme_table(const Aes& aes, std::size_t blocks) {
  Block l{};
  if (!apply(aes.session(true).get(), l.data(), kAes)) return crypto::openssl_error("AES-256 failed");
  std::vector<Block> out;
  for (std::size_t i = 0; i < blocks; ++i) {
    twice(l);
    out.push_back(l);
  }
  return out;
}

// In place; `data` is 1 to table.size() blocks, `tweak` one.
Result<void> eme(const Aes& aes, const std::vector<Block>& table, ByteView tweak, std::span<std::uint8_t> data,
                 bool encrypt) {
  const std::size_t m = data.size() / kAes;
  const auto at = [&](std::size_t j) { return data.data() + j * kAes; };
  const auto session = aes.session(encrypt);
  for (std::size_t j = 0; j < m; ++j) mix(at(j), table[j].data());
  bool ok = apply(session.get(), data.data(), data.size());  // A_j
  Block mp{};
  std::copy(tweak.begin(), tweak.end(), mp.begin());
  for (std::size_t j = 0; j < m; ++j) mix(mp.data(), at(j));
  Block mc = mp;
  ok = ok && apply(session.get(), mc.data(), kAes);
  Block mask = mp;
  mix(mask.data(), mc.data());
  Block first = mc;
  mix(first.data(), tweak.data());
  for (std::size_t j = 1; j < m; ++j) {
    twice(mask);
    mix(at(j), mask.data());  // B_j
    mix(first.data(), at(j));
  }
  std::copy(first.begin(), first.end(), at(0));
  ok = ok && apply(session.get(), data.data(), data.size());
  for (std::size_t j = 0; j < m; ++j) mix(at(j), table[j].data());
  if (!ok) return crypto::openssl_error("AES-256 failed");
  return {};
}

}  // namespace

EntryKind entry_kind(std::string_view name) {
  if (name == kDirIvName || name.starts_with("gocryptfs.diriv.rmdir.")) return EntryKind::internal;
  if (!name.starts_with(kLongNamePrefix)) return EntryKind::normal;
  return name.ends_with(kLongNameSuffix) ? EntryKind::long_name : EntryKind::long_content;
}

Result<DirIv> parse_dir_iv(ByteView content) {
  if (content.size() != kDirIvSize)
    return fail(ErrorCode::malformed, std::string(kDirIvName),
                "has " + std::to_string(content.size()) + " bytes instead of 16");
  if (all_zero(content)) return fail(ErrorCode::malformed, std::string(kDirIvName), "is all zero");
  return DirIv::from(content);
}

DirIv random_dir_iv() {
  DirIv out{};
  while (all_zero(out.view())) crypto::fill_random(out);
  return out;
}

Result<void> check_name(std::string_view name) {
  if (name.size() > kNameMax) return fail(ErrorCode::too_large, "name", "longer than 255 bytes");
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos)
    return fail(ErrorCode::malformed, "name", "empty, a dot name, or with a slash or a zero byte");
  return {};
}

struct NameCodec::State {
  Aes aes;
  std::vector<Block> table;
  bool raw64;
  std::size_t long_name_max;
};

NameCodec::NameCodec(std::unique_ptr<State> state) : state_(std::move(state)) {}
NameCodec::NameCodec(NameCodec&&) noexcept = default;
NameCodec& NameCodec::operator=(NameCodec&&) noexcept = default;
NameCodec::~NameCodec() = default;

Result<NameCodec> NameCodec::create(const Secret& key, bool raw64, std::size_t long_name_max) {
  CAIRN_TRY(Aes aes, Aes::create(key.view()));
  CAIRN_TRY(auto table, eme_table(aes, kEmeBlocksMax));
  return NameCodec(std::make_unique<State>(std::move(aes), std::move(table), raw64, long_name_max));
}

std::string NameCodec::encode(ByteView bytes) const {
  std::string out = base64url(bytes);
  if (!state_->raw64) out.append((4 - out.size() % 4) % 4, '=');
  return out;
}

Result<Bytes> NameCodec::decode(std::string_view text) const {
  if (!state_->raw64) {
    if (text.size() % 4 != 0) return fail(ErrorCode::malformed, "base64", "padding is missing");
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  }
  return from_base64url(text);
}

Result<std::string> NameCodec::encrypt_text(std::string_view plain, const DirIv& iv) const {
  const std::size_t padding = kAes - plain.size() % kAes;
  Bytes data = to_bytes(plain);
  data.insert(data.end(), padding, static_cast<std::uint8_t>(padding));
  if (data.size() > kEmeBlocksMax * kAes) return fail(ErrorCode::too_large, "name", "longer than 2047 bytes");
  CAIRN_CHECK(eme(state_->aes, state_->table, iv.view(), data, true));
  return encode(data);
}

Result<std::string> NameCodec::decrypt_text(std::string_view text, const DirIv& iv) const {
  CAIRN_TRY(Bytes data, decode(text));
  if (data.empty() || data.size() % kAes != 0 || data.size() > kEmeBlocksMax * kAes)
    return fail(ErrorCode::malformed, "name", "not a whole number of cipher blocks");
  CAIRN_CHECK(eme(state_->aes, state_->table, iv.view(), data, false));
  const std::size_t padding = data.back();
  const bool good =
      padding >= 1 && padding <= kAes && padding < data.size() &&
      std::all_of(
          data.end() - static_cast<std::ptrdiff_t>(padding), data.end(), [&](std::uint8_t b) { return b == padding; });
  if (!good) return fail(ErrorCode::crypto_failed, "name", "does not decrypt in this directory");
  data.resize(data.size() - padding);
  return std::string(as_text(data));
}

Result<DiskName> NameCodec::encrypt(std::string_view name, const DirIv& iv) const {
  CAIRN_CHECK(check_name(name));
  CAIRN_TRY(std::string text, encrypt_text(name, iv));
  if (text.size() <= state_->long_name_max) return DiskName{std::move(text), {}};
  std::string hashed = long_name_of(text);
  return DiskName{std::move(hashed), std::move(text)};
}

Result<std::string> NameCodec::decrypt(std::string_view text, const DirIv& iv) const {
  if (text.size() > kLongNameTextMax) return fail(ErrorCode::too_large, "name", "encrypted name longer than 344 bytes");
  CAIRN_TRY(std::string name, decrypt_text(text, iv));
  CAIRN_CHECK(check_name(name));
  return name;
}

std::string NameCodec::long_name_of(std::string_view text) const {
  return std::string(kLongNamePrefix) + encode(crypto::sha256(as_bytes(text)).view());
}

Result<Bytes> eme_transform(ByteView key, ByteView tweak, ByteView data, bool encrypt) {
  if (tweak.size() != kAes || data.empty() || data.size() % kAes != 0 || data.size() > kEmeBlocksMax * kAes)
    return fail(ErrorCode::invalid_argument, "EME", "a tweak of 16 bytes and 1 to 128 blocks are needed");
  CAIRN_TRY(const Aes aes, Aes::create(key));
  CAIRN_TRY(const auto table, eme_table(aes, data.size() / kAes));
  Bytes out = to_bytes(data);
  CAIRN_CHECK(eme(aes, table, tweak, out, encrypt));
  return out;
}

}  // namespace cairn::gocryptfs
