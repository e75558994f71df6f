// The EC_POINT functions used here are deprecated in OpenSSL 3 in favour of EVP_PKEY, which costs a DER encoding, a
// context and several provider calls per verification. Quotes are verified thousands of times a second; they stay in
// 3.5 LTS.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "evidence/pki/p256.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#include <bit>

#include "crypto/hash.h"
#include "crypto/openssl.h"
#include "evidence/pki/der.h"

namespace cairn::pki {

using crypto::BnPtr;
using crypto::Owned;

namespace {

using Ctx = Owned<BN_CTX, BN_CTX_free>;
using Group = Owned<EC_GROUP, EC_GROUP_free>;
using Point256 = Owned<EC_POINT, EC_POINT_free>;
using Words = std::array<unsigned long long, 4>;  // 256 bits, least significant first

struct Curve {
  Group group{EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)};
  const BIGNUM* p = EC_GROUP_get0_field(group.get());
  const BIGNUM* n = EC_GROUP_get0_order(group.get());
  BnPtr p_less_n{BN_new()};
  BnPtr shift_back{BN_new()};  // 2^-512 mod n
  Words order{};

  Curve() {
    const Ctx ctx(BN_CTX_new());
    BN_sub(p_less_n.get(), p, n);
    BN_set_bit(shift_back.get(), 512);
    BN_mod_inverse(shift_back.get(), shift_back.get(), n, ctx.get());
    order = words(n);
  }
  static Words words(const BIGNUM* value) {
    std::array<std::uint8_t, 32> bytes{};
    BN_bn2binpad(value, bytes.data(), bytes.size());
    Words out{};
    for (std::size_t i = 0; i < bytes.size(); ++i) out[3 - i / 8] = out[3 - i / 8] << 8 | bytes[i];
    return out;
  }
};
const Curve& curve() {
  static const Curve c;
  return c;
}

// The curve with `point` as its generator and OpenSSL's table of that generator's multiples; null if it has none.
Group group_of_multiples(const EC_POINT* point) {
  Group out(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Ctx ctx(BN_CTX_new());
  const bool ok = out && ctx && EC_GROUP_set_generator(out.get(), point, curve().n, BN_value_one()) == 1 &&
                  EC_GROUP_precompute_mult(out.get(), ctx.get()) == 1 && EC_GROUP_have_precompute_mult(out.get()) == 1;
  if (!ok) ERR_clear_error();
  return ok ? std::move(out) : nullptr;
}

void add(Words& a, const Words& b) {
  unsigned long long carry = 0;
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = __builtin_addcll(a[i], b[i], carry, &carry);
}
void subtract(Words& a, const Words& b) {
  unsigned long long borrow = 0;
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = __builtin_subcll(a[i], b[i], borrow, &borrow);
}
bool less(const Words& a, const Words& b) {
  for (std::size_t i = a.size(); i-- > 0;)
    if (a[i] != b[i]) return a[i] < b[i];
  return false;
}
// Halves `a` until it is odd and doubles `b` as often; returns how often.
unsigned make_odd(Words& a, Words& b) {
  unsigned total = 0;
  while ((a[0] & 1) == 0) {
    const unsigned z = a[0] == 0 ? 63 : static_cast<unsigned>(std::countr_zero(a[0]));
    for (std::size_t i = 0; i < 3; ++i) a[i] = a[i] >> z | a[i + 1] << (64 - z);
    a[3] >>= z;
    for (std::size_t i = 3; i > 0; --i) b[i] = b[i] << z | b[i - 1] >> (64 - z);
    b[0] <<= z;
    total += z;
  }
  return total;
}

// out = s^-1 mod n for s in [1, n-1], by Kaliski's almost inverse: four times as fast as BN_mod_inverse, which was a
// third of a verification with a table. Not constant in time: signatures are public. The result proves itself.
bool inverse_mod_order(BIGNUM* out, const BIGNUM* s, BN_CTX* ctx) {
  // Always n = u*t + v*r, so none of the four outgrows n, and s*r = -u*2^k, s*t = v*2^k (mod n).
  Words u = curve().order, v = Curve::words(s), r{}, t{1};
  unsigned k = make_odd(v, r);
  while (u != v) {
    if (less(v, u)) {
      subtract(u, v), add(r, t);
      k += make_odd(u, t);
    } else {
      subtract(v, u), add(t, r);
      k += make_odd(v, r);
    }
  }
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[31 - i] = static_cast<std::uint8_t>(t[i / 8] >> (8 * (i % 8)));
  const BnPtr one(BN_new());
  return one && k <= 512 && BN_bin2bn(bytes.data(), bytes.size(), out) != nullptr &&
         BN_lshift(out, out, static_cast<int>(512 - k)) == 1 &&
         BN_mod_mul(out, out, curve().shift_back.get(), curve().n, ctx) == 1 &&
         BN_mod_mul(one.get(), out, s, curve().n, ctx) == 1 && BN_is_one(one.get()) == 1;
}

// Whether the point's affine x, taken modulo n, is r: X = x*Z^2 for x = r and, where it is below p, x = r + n. Saves
// the inversion that making x would cost.
bool has_x(const EC_POINT* point, const BIGNUM* r, BN_CTX* ctx) {
  if (EC_POINT_is_at_infinity(curve().group.get(), point) == 1) return false;
  const BnPtr big_x(BN_new()), zz(BN_new()), x(BN_new());
  if (!big_x || !zz || !x ||
      EC_POINT_get_Jprojective_coordinates_GFp(curve().group.get(), point, big_x.get(), nullptr, zz.get(), ctx) != 1 ||
      BN_mod_sqr(zz.get(), zz.get(), curve().p, ctx) != 1 || BN_mod_mul(x.get(), r, zz.get(), curve().p, ctx) != 1)
    return false;
  if (BN_cmp(x.get(), big_x.get()) == 0) return true;
  return BN_cmp(r, curve().p_less_n.get()) < 0 && BN_add(x.get(), r, curve().n) == 1 &&
         BN_mod_mul(x.get(), x.get(), zz.get(), curve().p, ctx) == 1 && BN_cmp(x.get(), big_x.get()) == 0;
}

}  // namespace

struct P256Key::Native {
  Point256 point;
  Group multiples;

  // u1*G + u2*Q. With a table two multiplications by tables; OpenSSL would use that of G only.
  bool combine(EC_POINT* out, const BIGNUM* u1, const BIGNUM* u2, BN_CTX* ctx) const {
    const EC_GROUP* group = curve().group.get();
    if (!multiples) return EC_POINT_mul(group, out, u1, point.get(), u2, ctx) == 1;
    const Point256 q(EC_POINT_new(group));
    return q && EC_POINT_mul(group, out, u1, nullptr, nullptr, ctx) == 1 &&
           EC_POINT_mul(multiples.get(), q.get(), u2, nullptr, nullptr, ctx) == 1 &&
           EC_POINT_add(group, out, out, q.get(), ctx) == 1;
  }

  // FIPS 186-5 §6.4.2 over OpenSSL's group operations. All values are public.
  bool verify(const Digest<32>& digest, ByteView r_s) const {
    const Ctx ctx(BN_CTX_new());
    const BnPtr r(BN_bin2bn(r_s.data(), 32, nullptr)), s(BN_bin2bn(r_s.data() + 32, 32, nullptr));
    const BnPtr e(BN_bin2bn(digest.data(), static_cast<int>(digest.size()), nullptr));
    const BnPtr w(BN_new()), u1(BN_new()), u2(BN_new());
    const Point256 sum(EC_POINT_new(curve().group.get()));
    if (!ctx || !r || !s || !e || !w || !u1 || !u2 || !sum) return false;
    const BIGNUM* n = curve().n;
    const auto in_range = [&](const BnPtr& x) { return BN_is_zero(x.get()) == 0 && BN_cmp(x.get(), n) < 0; };
    return in_range(r) && in_range(s) && inverse_mod_order(w.get(), s.get(), ctx.get()) &&
           BN_mod_mul(u1.get(), e.get(), w.get(), n, ctx.get()) == 1 &&
           BN_mod_mul(u2.get(), r.get(), w.get(), n, ctx.get()) == 1 &&
           combine(sum.get(), u1.get(), u2.get(), ctx.get()) && has_x(sum.get(), r.get(), ctx.get());
  }
};

void P256Key::prepare() {
  if (native_ && !native_->multiples) native_->multiples = group_of_multiples(native_->point.get());
}

bool P256Key::prepared() const { return native_ && native_->multiples; }

Result<P256Key> P256Key::from_point(ByteView xy) {
  P256Key out;
  if (xy.size() != out.point_.size()) return fail(ErrorCode::crypto_failed, "a P-256 key has 64 bytes");
  std::ranges::copy(xy, out.point_.begin());
  std::array<std::uint8_t, 65> encoded{4};
  std::ranges::copy(xy, encoded.begin() + 1);
  const EC_GROUP* group = curve().group.get();
  Point256 point(EC_POINT_new(group));
  if (!point || EC_POINT_oct2point(group, point.get(), encoded.data(), encoded.size(), nullptr) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::crypto_failed, "the key is not a point of P-256");
  }
  out.native_ = std::make_shared<Native>(std::move(point), nullptr);
  return out;
}

bool P256Key::verify(const Digest<32>& digest, ByteView r_s) const {
  if (r_s.size() != 64 || !native_) return false;
  const bool ok = native_->verify(digest, r_s);
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
