// Hashes and HMAC.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace cairn::crypto {

enum class Hash { sha1, sha256, sha384, sha512, sm3 };

[[nodiscard]] std::size_t hash_size(Hash hash);                         // 20, 32, 48, 64, 32
[[nodiscard]] std::string_view hash_name(Hash hash);                    // "sha384"
[[nodiscard]] std::optional<Hash> hash_by_name(std::string_view name);  // "sha384", "SHA-384", "SHA384"; any case

[[nodiscard]] Digest<32> sha256(ByteView data);
[[nodiscard]] Digest<48> sha384(ByteView data);
[[nodiscard]] Digest<64> sha512(ByteView data);
[[nodiscard]] Bytes digest(Hash hash, ByteView data);
// What object stores compare bytes with (ETag); worth nothing against somebody who wants to deceive.
[[nodiscard]] Digest<16> md5(ByteView data);

// Hash of parts in order.
class Hasher {
 public:
  explicit Hasher(Hash hash);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  Hasher& update(ByteView data);
  [[nodiscard]] Bytes finish();  // afterwards the object starts anew

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] Bytes hmac(Hash hash, ByteView key, ByteView data);

}  // namespace cairn::crypto
