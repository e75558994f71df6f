#include "crypto/random.h"

#include <openssl/rand.h>

#include <cstdlib>

namespace cairn::crypto {

void fill_random(std::span<std::uint8_t> out) {
  if (RAND_bytes_ex(nullptr, out.data(), out.size(), 0) != 1) std::abort();
}
Bytes random_bytes(std::size_t n) {
  Bytes out(n);
  fill_random(out);
  return out;
}
Secret random_secret(std::size_t n) {
  Secret out(n);
  fill_random(out.mutable_view());
  return out;
}

}  // namespace cairn::crypto
