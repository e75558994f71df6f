// What a cipher implementation provides to ContentCipher: one block at a time, of any length.
#pragma once

#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"
#include "gocryptfs/content.h"

namespace cairn::gocryptfs {

// The state of one call; used by one thread.
class Session {
 public:
  virtual ~Session() = default;
  // `stored` is nonce, ciphertext and tag (SIV: nonce, tag, ciphertext). `out` has room for stored.size() - overhead
  // bytes. False when the tag does not match.
  [[nodiscard]] virtual bool open(ByteView stored, ByteView aad, std::uint8_t* out) = 0;
  // Writes what open() reads, under `nonce`; false only when the library fails.
  [[nodiscard]] virtual bool seal(ByteView nonce, ByteView plain, ByteView aad, std::uint8_t* out) = 0;
};

struct ContentCipher::Engine {
  explicit Engine(ContentMode m) : mode(m), layout(Layout::of(m)) {}
  virtual ~Engine() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Session> session() const = 0;
  ContentMode mode;
  Layout layout;
};

// nullptr where this build or this processor has no intel-ipsec-mb.
[[nodiscard]] std::unique_ptr<ContentCipher::Engine> ipsec_engine(const Secret& key);
// Any mode. crypto_failed when OpenSSL lacks the cipher.
[[nodiscard]] Result<std::unique_ptr<ContentCipher::Engine>> openssl_engine(ContentMode mode, const Secret& key);

}  // namespace cairn::gocryptfs
