#include "crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "crypto/openssl.h"

namespace cairn::crypto {
namespace {

using Kdf = Owned<EVP_KDF, EVP_KDF_free>;
using KdfCtx = Owned<EVP_KDF_CTX, EVP_KDF_CTX_free>;

Result<Secret> derive(const char* algorithm, const OSSL_PARAM* parameters, std::size_t size) {
  const Kdf kdf(EVP_KDF_fetch(nullptr, algorithm, nullptr));
  const KdfCtx context(kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr);
  if (!context) return openssl_error(std::string(algorithm) + " is not available");
  Secret out(size);
  if (EVP_KDF_derive(context.get(), out.mutable_view().data(), size, parameters) != 1)
    return openssl_error(std::string(algorithm) + " failed");
  return out;
}

OSSL_PARAM octets(const char* name, ByteView v) {
  // An empty value still needs an address.
  static std::uint8_t none = 0;
  return OSSL_PARAM_construct_octet_string(name, v.empty() ? &none : const_cast<std::uint8_t*>(v.data()), v.size());
}

}  // namespace

Result<Secret> hkdf(Hash hash, ByteView key, ByteView salt, ByteView info, std::size_t size) {
  if (size == 0 || size > 255 * hash_size(hash)) return fail(ErrorCode::invalid_argument, "HKDF output size");
  std::string name(hash_name(hash));
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name.data(), 0),
                                   octets(OSSL_KDF_PARAM_KEY, key), octets(OSSL_KDF_PARAM_SALT, salt),
                                   octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  return derive("HKDF", parameters, size);
}

Result<Secret> scrypt(ByteView password, ByteView salt, std::uint64_t n, std::uint32_t r, std::uint32_t p,
                      std::size_t size, std::uint64_t max_memory) {
  if (n < 2 || (n & (n - 1)) != 0 || r == 0 || p == 0 || size == 0)
    return fail(ErrorCode::invalid_argument, "scrypt parameters: N a power of two above 1, r and p at least 1");
  if (n > max_memory / 128 / r || p > (std::uint64_t{1} << 30) / r)
    return fail(ErrorCode::too_large, "scrypt parameters ask for more memory than allowed");
  constexpr std::uint64_t kBeside = 64U << 20;  // what OpenSSL counts besides the N * r * 128 bytes
  std::uint64_t limit = max_memory + kBeside;
  const OSSL_PARAM parameters[] = {octets(OSSL_KDF_PARAM_PASSWORD, password),
                                   octets(OSSL_KDF_PARAM_SALT, salt),
                                   OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
                                   OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
                                   OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
                                   OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &limit),
                                   OSSL_PARAM_construct_end()};
  return derive("SCRYPT", parameters, size);
}

}  // namespace cairn::crypto
