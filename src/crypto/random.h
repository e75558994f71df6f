// Random bytes from OpenSSL's generator. Failure to get them ends the process: nothing can go on safely.
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

namespace cairn::crypto {

void fill_random(std::span<std::uint8_t> out);
[[nodiscard]] Bytes random_bytes(std::size_t n);
[[nodiscard]] Secret random_secret(std::size_t n);

}  // namespace cairn::crypto
