// Key derivation.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/secret.h"
#include "crypto/hash.h"

namespace cairn::crypto {

// RFC 5869, extract and expand. `size` at most 255 hash lengths.
[[nodiscard]] Result<Secret> hkdf(Hash hash, ByteView key, ByteView salt, ByteView info, std::size_t size);

// RFC 7914. Memory used is 128·n·r bytes: parameters that need more than `max_memory` are too_large.
[[nodiscard]] Result<Secret> scrypt(ByteView password, ByteView salt, std::uint64_t n, std::uint32_t r, std::uint32_t p,
                                    std::size_t size, std::uint64_t max_memory = std::uint64_t{1} << 30);

}  // namespace cairn::crypto
