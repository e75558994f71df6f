// The three content ciphers on OpenSSL. AES-GCM is the fallback of ipsec-mb; the other two only run here.
#include "crypto/openssl.h"
#include "gocryptfs/engine.h"

namespace cairn::gocryptfs {
namespace {

using crypto::EvpCipherCtx;
using Cipher = crypto::Owned<EVP_CIPHER, EVP_CIPHER_free>;

bool update(EVP_CIPHER_CTX* ctx, std::uint8_t* out, ByteView in) {
  int written = 0;
  return EVP_CipherUpdate(ctx, out, &written, in.data(), static_cast<int>(in.size())) == 1;
}
bool finish(EVP_CIPHER_CTX* ctx) {
  std::array<std::uint8_t, 32> rest;
  int written = 0;
  return EVP_CipherFinal_ex(ctx, rest.data(), &written) == 1;
}
bool set_tag(EVP_CIPHER_CTX* ctx, ByteView tag) {
  return EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                             const_cast<std::uint8_t*>(tag.data())) == 1;
}
bool get_tag(EVP_CIPHER_CTX* ctx, std::uint8_t* tag) {
  return EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, kTagSize, tag) == 1;
}

// A context for one direction with the key already expanded; sessions copy it.
EvpCipherCtx keyed(const EVP_CIPHER* cipher, const Secret& key, std::size_t nonce_size, bool encrypt) {
  EvpCipherCtx ctx(EVP_CIPHER_CTX_new());
  if (!ctx || EVP_CipherInit_ex2(ctx.get(), cipher, nullptr, nullptr, encrypt, nullptr) != 1) return nullptr;
  if (nonce_size != 0 &&
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_IVLEN, static_cast<int>(nonce_size), nullptr) != 1)
    return nullptr;
  if (EVP_CipherInit_ex2(ctx.get(), nullptr, key.view().data(), nullptr, encrypt, nullptr) != 1) return nullptr;
  return ctx;
}

class GcmSession final : public Session {
 public:
  GcmSession(const EVP_CIPHER_CTX* opening, const EVP_CIPHER_CTX* sealing)
      : opening_(EVP_CIPHER_CTX_dup(opening)), sealing_(EVP_CIPHER_CTX_dup(sealing)) {}
  bool open(ByteView stored, ByteView aad, std::uint8_t* out) override {
    EVP_CIPHER_CTX* ctx = opening_.get();
    return ctx != nullptr && EVP_CipherInit_ex2(ctx, nullptr, nullptr, stored.data(), -1, nullptr) == 1 &&
           update(ctx, nullptr, aad) && update(ctx, out, stored.subspan(16, stored.size() - 32)) &&
           set_tag(ctx, stored.last(kTagSize)) && finish(ctx);
  }
  bool seal(ByteView nonce, ByteView plain, ByteView aad, std::uint8_t* out) override {
    EVP_CIPHER_CTX* ctx = sealing_.get();
    std::copy(nonce.begin(), nonce.end(), out);
    return ctx != nullptr && EVP_CipherInit_ex2(ctx, nullptr, nullptr, nonce.data(), -1, nullptr) == 1 &&
           update(ctx, nullptr, aad) && update(ctx, out + 16, plain) && finish(ctx) &&
           get_tag(ctx, out + 16 + plain.size());
  }

 private:
  EvpCipherCtx opening_, sealing_;
};

// RFC 5297 with the associated data [AAD, nonce]; stored as nonce, tag, ciphertext.
class SivSession final : public Session {
 public:
  SivSession(const EVP_CIPHER* cipher, const Secret& key) : cipher_(cipher), key_(key) {}
  bool open(ByteView stored, ByteView aad, std::uint8_t* out) override {
    const EvpCipherCtx ctx = keyed(cipher_, key_, 0, false);
    return ctx && set_tag(ctx.get(), stored.subspan(16, kTagSize)) && update(ctx.get(), nullptr, aad) &&
           update(ctx.get(), nullptr, stored.first(16)) && update(ctx.get(), out, stored.subspan(32)) &&
           finish(ctx.get());
  }
  bool seal(ByteView nonce, ByteView plain, ByteView aad, std::uint8_t* out) override {
    const EvpCipherCtx ctx = keyed(cipher_, key_, 0, true);
    std::copy(nonce.begin(), nonce.end(), out);
    return ctx && update(ctx.get(), nullptr, aad) && update(ctx.get(), nullptr, nonce) &&
           update(ctx.get(), out + 32, plain) && finish(ctx.get()) && get_tag(ctx.get(), out + 16);
  }

 private:
  const EVP_CIPHER* cipher_;
  const Secret& key_;
};

std::uint32_t word(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
         static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
}

// HChaCha20(key, nonce[0:16]): the ChaCha20 block function without its final addition. The addend of the words taken
// (the constants and the nonce) is public, so OpenSSL's key stream minus it is that value.
std::optional<Secret> hchacha20(const Secret& key, ByteView nonce16) {
  static constexpr std::array<std::uint32_t, 4> kConstants{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  EvpCipherCtx ctx(EVP_CIPHER_CTX_new());
  Secret stream(64);
  int written = 0;
  if (!ctx || EVP_CipherInit_ex2(ctx.get(), EVP_chacha20(), key.view().data(), nonce16.data(), 1, nullptr) != 1 ||
      EVP_CipherUpdate(ctx.get(), stream.mutable_view().data(), &written, stream.view().data(), 64) != 1)
    return std::nullopt;
  Secret out(32);
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t from = i < 4 ? i : i + 8;
    const std::uint32_t addend = i < 4 ? kConstants[i] : word(nonce16.data() + 4 * (i - 4));
    const std::uint32_t value = word(stream.view().data() + 4 * from) - addend;
    for (std::size_t b = 0; b < 4; ++b) out.mutable_view()[4 * i + b] = static_cast<std::uint8_t>(value >> 8 * b);
  }
  return out;
}

class XChaChaSession final : public Session {
 public:
  explicit XChaChaSession(const Secret& key) : key_(key) {}
  bool open(ByteView stored, ByteView aad, std::uint8_t* out) override {
    const EvpCipherCtx ctx = context(stored.first(kNonce), false);
    return ctx && update(ctx.get(), nullptr, aad) &&
           update(ctx.get(), out, stored.subspan(kNonce, stored.size() - kNonce - kTagSize)) &&
           set_tag(ctx.get(), stored.last(kTagSize)) && finish(ctx.get());
  }
  bool seal(ByteView nonce, ByteView plain, ByteView aad, std::uint8_t* out) override {
    const EvpCipherCtx ctx = context(nonce, true);
    std::copy(nonce.begin(), nonce.end(), out);
    return ctx && update(ctx.get(), nullptr, aad) && update(ctx.get(), out + kNonce, plain) && finish(ctx.get()) &&
           get_tag(ctx.get(), out + kNonce + plain.size());
  }

 private:
  static constexpr std::size_t kNonce = 24;
  [[nodiscard]] EvpCipherCtx context(ByteView nonce, bool encrypt) const {
    const auto subkey = hchacha20(key_, nonce.first(16));
    std::array<std::uint8_t, 12> inner{};
    std::copy_n(nonce.begin() + 16, 8, inner.begin() + 4);
    EvpCipherCtx ctx(EVP_CIPHER_CTX_new());
    if (!subkey || !ctx ||
        EVP_CipherInit_ex2(ctx.get(), EVP_chacha20_poly1305(), subkey->view().data(), inner.data(), encrypt, nullptr) !=
            1)
      return nullptr;
    return ctx;
  }
  const Secret& key_;
};

struct OpensslEngine final : ContentCipher::Engine {
  OpensslEngine(ContentMode m, Secret key) : Engine(m), key_(std::move(key)) {}
  [[nodiscard]] bool start() {
    if (mode == ContentMode::aes_gcm) {
      opening_ = keyed(EVP_aes_256_gcm(), key_, layout.nonce_size, false);
      sealing_ = keyed(EVP_aes_256_gcm(), key_, layout.nonce_size, true);
      return opening_ && sealing_;
    }
    if (mode == ContentMode::aes_siv) siv_.reset(EVP_CIPHER_fetch(nullptr, "AES-256-SIV", nullptr));
    return mode == ContentMode::xchacha || siv_;
  }
  [[nodiscard]] std::string_view name() const override { return "OpenSSL"; }
  [[nodiscard]] std::unique_ptr<Session> session() const override {
    switch (mode) {
      case ContentMode::aes_gcm: return std::make_unique<GcmSession>(opening_.get(), sealing_.get());
      case ContentMode::aes_siv: return std::make_unique<SivSession>(siv_.get(), key_);
      case ContentMode::xchacha: break;
    }
    return std::make_unique<XChaChaSession>(key_);
  }

 private:
  Secret key_;
  EvpCipherCtx opening_, sealing_;
  Cipher siv_;
};

}  // namespace

Result<std::unique_ptr<ContentCipher::Engine>> openssl_engine(ContentMode mode, const Secret& key) {
  if (key.size() != (mode == ContentMode::aes_siv ? 64U : 32U))
    return fail(ErrorCode::invalid_argument, "content key", "has the wrong length");
  auto engine = std::make_unique<OpensslEngine>(mode, key.clone());
  if (!engine->start()) return crypto::openssl_error("the content cipher is not available");
  return engine;
}

}  // namespace cairn::gocryptfs
