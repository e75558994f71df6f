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

namespace {

using Ctx = Owned<BN_CTX, BN_CTX_free>;
using Group = Owned<EC_GROUP, EC_GROUP_free>;
using Point256 = Owned<EC_POINT, EC_POINT_free>;

const EC_GROUP* p256() {
  static const Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  return group.get();
}

// The curve with `point` as its generator and OpenSSL's table of that generator's multiples; null if it has none.
Group group_of_multiples(const EC_POINT* point) {
  Group out(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Ctx ctx(BN_CTX_new());
  const bool ok = out && ctx &&
                  EC_GROUP_set_generator(out.get(), point, EC_GROUP_get0_order(p256()), BN_value_one()) == 1 &&
                  EC_GROUP_precompute_mult(out.get(), ctx.get()) == 1 && EC_GROUP_have_precompute_mult(out.get()) == 1;
  if (!ok) ERR_clear_error();
  return ok ? std::move(out) : nullptr;
}

// FIPS 186-5 §6.4.2 over OpenSSL's own group operations: (r, s) signs `digest` under the key whose multiples `key` has.
// EC_KEY would multiply the key without a table. All values are public.
bool verify_with_table(const EC_GROUP* key, const Digest<32>& digest, const BIGNUM* r, const BIGNUM* s) {
  const BIGNUM* n = EC_GROUP_get0_order(p256());
  const auto in_range = [&](const BIGNUM* x) {
    return BN_is_zero(x) == 0 && BN_is_negative(x) == 0 && BN_cmp(x, n) < 0;
  };
  if (!in_range(r) || !in_range(s)) return false;
  const Ctx ctx(BN_CTX_new());
  const crypto::BnPtr e(BN_bin2bn(digest.data(), static_cast<int>(digest.size()), nullptr));
  const crypto::BnPtr w(BN_new()), u1(BN_new()), u2(BN_new()), x(BN_new());
  const Point256 g(EC_POINT_new(p256())), q(EC_POINT_new(p256()));
  if (!ctx || !e || !w || !u1 || !u2 || !x || !g || !q) return false;
  const bool ok = BN_mod_inverse(w.get(), s, n, ctx.get()) != nullptr &&
                  BN_mod_mul(u1.get(), e.get(), w.get(), n, ctx.get()) == 1 &&
                  BN_mod_mul(u2.get(), r, w.get(), n, ctx.get()) == 1 &&
                  EC_POINT_mul(p256(), g.get(), u1.get(), nullptr, nullptr, ctx.get()) == 1 &&
                  EC_POINT_mul(key, q.get(), u2.get(), nullptr, nullptr, ctx.get()) == 1 &&
                  EC_POINT_add(p256(), g.get(), g.get(), q.get(), ctx.get()) == 1 &&
                  EC_POINT_is_at_infinity(p256(), g.get()) == 0 &&
                  EC_POINT_get_affine_coordinates(p256(), g.get(), x.get(), nullptr, ctx.get()) == 1 &&
                  BN_nnmod(x.get(), x.get(), n, ctx.get()) == 1;
  return ok && BN_cmp(x.get(), r) == 0;
}

}  // namespace

struct P256Key::Native {
  Owned<EC_KEY, EC_KEY_free> key;
  Group multiples;
};

void P256Key::prepare() {
  if (native_ && !native_->multiples)
    native_->multiples = group_of_multiples(EC_KEY_get0_public_key(native_->key.get()));
}

bool P256Key::prepared() const { return native_ && native_->multiples; }

Result<P256Key> P256Key::from_point(ByteView xy) {
  P256Key out;
  if (xy.size() != out.point_.size()) return fail(ErrorCode::crypto_failed, "a P-256 key has 64 bytes");
  std::ranges::copy(xy, out.point_.begin());
  std::array<std::uint8_t, 65> encoded{4};
  std::ranges::copy(xy, encoded.begin() + 1);
  auto native = std::make_shared<Native>(Native{.key = nullptr, .multiples = nullptr});
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
  crypto::BnPtr r(BN_bin2bn(r_s.data(), 32, nullptr));
  crypto::BnPtr s(BN_bin2bn(r_s.data() + 32, 32, nullptr));
  if (!r || !s) return false;
  bool ok = false;
  if (native_->multiples) {
    ok = verify_with_table(native_->multiples.get(), digest, r.get(), s.get());
  } else {
    const Owned<ECDSA_SIG, ECDSA_SIG_free> sig(ECDSA_SIG_new());
    if (!sig || ECDSA_SIG_set0(sig.get(), r.get(), s.get()) != 1) return false;
    (void)r.release();
    (void)s.release();
    ok = ECDSA_do_verify(digest.data(), static_cast<int>(digest.size()), sig.get(), native_->key.get()) == 1;
  }
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
