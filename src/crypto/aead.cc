#include "crypto/aead.h"

#include "crypto/openssl.h"

namespace cairn::crypto {
namespace {

const EVP_CIPHER* cipher(Aead aead) {
  static const EVP_CIPHER* const ciphers[] = {EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr),
                                              EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr),
                                              EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr)};
  return ciphers[static_cast<std::size_t>(aead)];
}

Result<EvpCipherCtx> start(Aead aead, ByteView key, ByteView nonce, ByteView aad, bool encrypt) {
  if (key.size() != aead_key_size(aead)) return fail(ErrorCode::invalid_argument, "key of the wrong size");
  const bool gcm = aead != Aead::chacha20_poly1305;
  if (gcm ? nonce.empty() || nonce.size() > 16 : nonce.size() != 12)
    return fail(ErrorCode::invalid_argument, "nonce of the wrong size");
  EvpCipherCtx context(EVP_CIPHER_CTX_new());
  int n = 0;
  if (!context || EVP_CipherInit_ex2(context.get(), cipher(aead), nullptr, nullptr, encrypt, nullptr) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, static_cast<int>(nonce.size()), nullptr) != 1 ||
      EVP_CipherInit_ex2(context.get(), nullptr, key.data(), nonce.data(), encrypt, nullptr) != 1 ||
      (!aad.empty() && EVP_CipherUpdate(context.get(), nullptr, &n, aad.data(), static_cast<int>(aad.size())) != 1))
    return openssl_error("AEAD set-up failed");
  return context;
}

constexpr std::size_t kLargest = std::size_t{1} << 30;

}  // namespace

std::size_t aead_key_size(Aead aead) { return aead == Aead::aes_128_gcm ? 16 : 32; }

Result<Bytes> seal(Aead aead, ByteView key, ByteView nonce, ByteView aad, ByteView plaintext) {
  if (plaintext.size() > kLargest) return fail(ErrorCode::too_large, "message too large for one AEAD call");
  CAIRN_TRY(const auto context, start(aead, key, nonce, aad, true));
  Bytes out(plaintext.size() + kTagSize);
  int n = 0, last = 0;
  if ((!plaintext.empty() &&
       EVP_CipherUpdate(context.get(), out.data(), &n, plaintext.data(), static_cast<int>(plaintext.size())) != 1) ||
      EVP_CipherFinal_ex(context.get(), out.data() + n, &last) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, out.data() + plaintext.size()) != 1)
    return openssl_error("AEAD encryption failed");
  return out;
}

Result<Secret> open(Aead aead, ByteView key, ByteView nonce, ByteView aad, ByteView ciphertext_and_tag) {
  if (ciphertext_and_tag.size() < kTagSize) return fail(ErrorCode::crypto_failed, "ciphertext shorter than its tag");
  if (ciphertext_and_tag.size() > kLargest) return fail(ErrorCode::too_large, "message too large for one AEAD call");
  const ByteView body = ciphertext_and_tag.first(ciphertext_and_tag.size() - kTagSize);
  Bytes tag = to_bytes(ciphertext_and_tag.last(kTagSize));
  CAIRN_TRY(const auto context, start(aead, key, nonce, aad, false));
  Secret out(body.size());
  std::uint8_t none = 0;
  int n = 0, last = 0;
  if (EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()) != 1 ||
      (!body.empty() && EVP_CipherUpdate(context.get(), out.mutable_view().data(), &n, body.data(),
                                         static_cast<int>(body.size())) != 1) ||
      EVP_CipherFinal_ex(context.get(), body.empty() ? &none : out.mutable_view().data() + n, &last) != 1)
    return openssl_error("the authentication tag does not match");
  return out;
}

namespace {
// AES key wrap works in one EVP call for both directions.
Result<Secret> wrap(ByteView kek, ByteView data, bool encrypt) {
  const char* name = kek.size() == 16 ? "AES-128-WRAP" : kek.size() == 24 ? "AES-192-WRAP" : "AES-256-WRAP";
  if (kek.size() != 16 && kek.size() != 24 && kek.size() != 32)
    return fail(ErrorCode::invalid_argument, "key-encryption key of the wrong size");
  if (data.size() % 8 != 0 || data.size() < (encrypt ? 16U : 24U) || data.size() > 4096)
    return fail(encrypt ? ErrorCode::invalid_argument : ErrorCode::crypto_failed, "wrapped key of the wrong size");
  const Owned<EVP_CIPHER, EVP_CIPHER_free> method(EVP_CIPHER_fetch(nullptr, name, nullptr));
  const EvpCipherCtx context(EVP_CIPHER_CTX_new());
  if (!method || !context) return openssl_error("AES key wrap is not available");
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  Secret out(data.size() + (encrypt ? 8 : 0) - (encrypt ? 0 : 8));
  Secret room(data.size() + 16);
  int n = 0;
  if (EVP_CipherInit_ex2(context.get(), method.get(), kek.data(), nullptr, encrypt, nullptr) != 1 ||
      EVP_CipherUpdate(context.get(), room.mutable_view().data(), &n, data.data(), static_cast<int>(data.size())) !=
          1 ||
      static_cast<std::size_t>(n) != out.size())
    return openssl_error(encrypt ? "AES key wrap failed" : "the wrapped key does not verify");
  std::ranges::copy(room.view().first(out.size()), out.mutable_view().begin());
  return out;
}
}  // namespace

Result<Bytes> aes_key_wrap(ByteView kek, ByteView data) {
  return wrap(kek, data, true).transform([](const Secret& s) { return to_bytes(s.view()); });
}
Result<Secret> aes_key_unwrap(ByteView kek, ByteView wrapped) { return wrap(kek, wrapped, false); }

}  // namespace cairn::crypto
