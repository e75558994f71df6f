// Authenticated encryption of one message at a time. (Model blocks in bulk: gocryptfs/, through intel-ipsec-mb.)
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

namespace cairn::crypto {

enum class Aead { aes_128_gcm, aes_256_gcm, chacha20_poly1305 };

inline constexpr std::size_t kTagSize = 16;
[[nodiscard]] std::size_t aead_key_size(Aead aead);

// Ciphertext followed by the 16-byte tag. Nonce: 12 bytes, or for GCM any of 1 to 16 (gocryptfs: 16).
[[nodiscard]] Result<Bytes> seal(Aead aead, ByteView key, ByteView nonce, ByteView aad, ByteView plaintext);
// crypto_failed when the tag does not match; nothing of the plaintext is returned then.
[[nodiscard]] Result<Secret> open(Aead aead, ByteView key, ByteView nonce, ByteView aad, ByteView ciphertext_and_tag);

// RFC 3394 with the default initial value; `data` a multiple of 8 and at least 16 bytes.
[[nodiscard]] Result<Bytes> aes_key_wrap(ByteView kek, ByteView data);
[[nodiscard]] Result<Secret> aes_key_unwrap(ByteView kek, ByteView wrapped);

}  // namespace cairn::crypto
