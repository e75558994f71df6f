// The EC_KEY interface is deprecated in OpenSSL 3 in favour of EVP_PKEY, which costs a DER encoding, a context and
// several provider calls per verification. Quotes are verified thousands of times a second; EC_KEY stays in 3.5 LTS.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "evidence/pki/p256.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#include "crypto/hash.h"
#include "crypto/openssl.h"
#include "evidence/pki/der.h"

namespace cairn::pki {

using crypto::Owned;

struct P256Key::Native {
  Owned<EC_KEY, EC_KEY_free> key;
};

Result<P256Key> P256Key::from_point(ByteView xy) {
  P256Key out;
  if (xy.size() != out.point_.size()) return fail(ErrorCode::crypto_failed, "a P-256 key has 64 bytes");
  std::ranges::copy(xy, out.point_.begin());
  std::array<std::uint8_t, 65> encoded{4};
  std::ranges::copy(xy, encoded.begin() + 1);
  auto native = std::make_shared<Native>();
  native->key.reset(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  if (!native->key || EC_KEY_oct2key(native->key.get(), encoded.data(), encoded.size(), nullptr) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::crypto_failed, "the key is not a point of P-256");
  }
  out.native_ = std::move(native);
  return out;
}

bool P256Key::verify(const Digest<32>& digest, ByteView r_s) const {
  if (r_s.size() != 64 || !native_) return false;
  Owned<ECDSA_SIG, ECDSA_SIG_free> sig(ECDSA_SIG_new());
  crypto::BnPtr r(BN_bin2bn(r_s.data(), 32, nullptr));
  crypto::BnPtr s(BN_bin2bn(r_s.data() + 32, 32, nullptr));
  if (!sig || !r || !s || ECDSA_SIG_set0(sig.get(), r.get(), s.get()) != 1) return false;
  (void)r.release();
  (void)s.release();
  const bool ok = ECDSA_do_verify(digest.data(), static_cast<int>(digest.size()), sig.get(), native_->key.get()) == 1;
  if (!ok) ERR_clear_error();
  return ok;
}

bool P256Key::verify_message(ByteView message, ByteView r_s) const { return verify(crypto::sha256(message), r_s); }

Result<std::array<std::uint8_t, 64>> raw_signature(ByteView der) {
  Der outer(der);
  CAIRN_TRY(const Tlv sequence, outer.next(tag::kSequence));
  CAIRN_CHECK(outer.end());
  Der in(sequence);
  std::array<std::uint8_t, 64> out{};
  for (const std::size_t end : {32U, 64U}) {
    CAIRN_TRY(const Tlv t, in.next(tag::kInteger));
    ByteView v = t.value;
    if (v.empty() || (v[0] & 0x80U) != 0) return fail(ErrorCode::malformed, "a signature number is negative");
    if (v.size() > 1 && v[0] == 0) {
      v = v.subspan(1);
      if ((v[0] & 0x80U) == 0) return fail(ErrorCode::malformed, "a signature number has a leading zero");
    }
    if (v.size() > 32) return fail(ErrorCode::malformed, "a signature number has more than 32 bytes");
    std::ranges::copy(v, out.begin() + static_cast<std::ptrdiff_t>(end - v.size()));
  }
  CAIRN_CHECK(in.end());
  return out;
}

}  // namespace cairn::pki
