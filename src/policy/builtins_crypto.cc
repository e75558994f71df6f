// Hashes and HMAC.
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/encoding.h"
#include "policy/builtins.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

// MD5 is here because policies ask for it; nothing else uses it.
Bytes evp_digest(const EVP_MD* md, std::string_view data) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  EVP_Digest(data.data(), data.size(), out.data(), &size, md, nullptr);
  out.resize(size);
  return out;
}
Bytes evp_hmac(const EVP_MD* md, std::string_view key, std::string_view data) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  HMAC(md, key.data(), static_cast<int>(key.size()), as_bytes(data).data(), data.size(), out.data(), &size);
  out.resize(size);
  return out;
}

template <const EVP_MD* (*md)()>
Value hashed(CallContext& c, Args a) {
  return all_strings(c, a, 1) ? c.arena.string(hex(evp_digest(md(), a[0].text()))) : Value();
}
template <const EVP_MD* (*md)()>
Value hmac(CallContext& c, Args a) {
  return all_strings(c, a, 2) ? c.arena.string(hex(evp_hmac(md(), a[1].text(), a[0].text()))) : Value();
}
Value hmac_equal(CallContext& c, Args a) {
  if (!all_strings(c, a, 2)) return {};
  const auto x = a[0].text();
  const auto y = a[1].text();
  return Value::boolean(x.size() == y.size() && CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0);
}

}  // namespace

std::span<const Entry> crypto_builtins() {
  static constexpr Entry all[] = {
      {"crypto.md5", hashed<EVP_md5>},          {"crypto.sha1", hashed<EVP_sha1>},
      {"crypto.sha256", hashed<EVP_sha256>},    {"crypto.hmac.md5", hmac<EVP_md5>},
      {"crypto.hmac.sha1", hmac<EVP_sha1>},     {"crypto.hmac.sha256", hmac<EVP_sha256>},
      {"crypto.hmac.sha512", hmac<EVP_sha512>}, {"crypto.hmac.equal", hmac_equal},
  };
  return all;
}

}  // namespace cairn::policy
