// The corners of ECDSA verification, each with and without a table, against OpenSSL's own ECDSA as the second opinion.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "evidence/pki/p256.h"

#include <gtest/gtest.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>

#include "base/encoding.h"
#include "crypto/openssl.h"

namespace cairn::pki {
namespace {

using crypto::Owned;
using PointPtr = Owned<EC_POINT, EC_POINT_free>;

// A number modulo the group's order (or any other 256-bit number).
class Number {
 public:
  Number(int value = 0) : bn_(BN_new()) { BN_set_word(bn_.get(), static_cast<BN_ULONG>(value)); }
  Number(const Number& other) : bn_(BN_dup(other.get())) {}
  static Number of(const BIGNUM* value) {
    Number out;
    BN_copy(out.get(), value);
    return out;
  }
  Number& operator=(Number other) { return bn_.swap(other.bn_), *this; }
  ~Number() = default;
  static Number random(const Number& below) {
    Number out;
    BN_rand_range(out.get(), below.get());
    return out;
  }
  [[nodiscard]] BIGNUM* get() const { return bn_.get(); }
  [[nodiscard]] Digest<32> bytes() const {
    Digest<32> out{};
    EXPECT_EQ(BN_bn2binpad(get(), out.data(), 32), 32);
    return out;
  }
  friend Number operator+(const Number& a, const Number& b) {
    return out([&](BIGNUM* x) { BN_add(x, a.get(), b.get()); });
  }
  friend Number operator-(const Number& a, const Number& b) {
    return out([&](BIGNUM* x) { BN_sub(x, a.get(), b.get()); });
  }
  friend Number operator<<(const Number& a, int n) {
    return out([&](BIGNUM* x) { BN_lshift(x, a.get(), n); });
  }
  friend bool operator==(const Number& a, const Number& b) { return BN_cmp(a.get(), b.get()) == 0; }

 private:
  template <class F>
  static Number out(F f) {
    Number x;
    f(x.get());
    return x;
  }
  crypto::BnPtr bn_;
};

struct Field {
  Owned<EC_GROUP, EC_GROUP_free> group{EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)};
  Owned<BN_CTX, BN_CTX_free> ctx{BN_CTX_new()};
  Number p = Number::of(EC_GROUP_get0_field(group.get())), n = Number::of(EC_GROUP_get0_order(group.get()));

  [[nodiscard]] Number mul(const Number& a, const Number& b) const {
    Number out;
    BN_mod_mul(out.get(), a.get(), b.get(), n.get(), ctx.get());
    return out;
  }
  [[nodiscard]] Number div(const Number& a, const Number& b) const {
    Number out;
    EXPECT_NE(BN_mod_inverse(out.get(), b.get(), n.get(), ctx.get()), nullptr);
    return mul(a, out);
  }
  [[nodiscard]] Number neg(const Number& a) const { return n - a; }
  [[nodiscard]] Number random() const { return Number::random(n - 1) + 1; }
  // a*G + b*Q.
  [[nodiscard]] PointPtr combine(const Number& a, const EC_POINT* q = nullptr, const Number& b = 0) const {
    PointPtr out(EC_POINT_new(group.get()));
    EC_POINT_mul(group.get(), out.get(), a.get(), q, q == nullptr ? nullptr : b.get(), ctx.get());
    return out;
  }
  [[nodiscard]] Number x(const EC_POINT* point) const {
    Number out;
    EC_POINT_get_affine_coordinates(group.get(), point, out.get(), nullptr, ctx.get());
    return out;
  }
  // The first point whose x is `from` or more.
  [[nodiscard]] PointPtr point_at(Number from) const {
    PointPtr out(EC_POINT_new(group.get()));
    while (EC_POINT_set_compressed_coordinates(group.get(), out.get(), from.get(), 0, ctx.get()) != 1) from = from + 1;
    return out;
  }
};

struct Signed {
  PointPtr key;
  Number e, r, s;
};

class P256Corner : public testing::Test {
 protected:
  Field f;

  // The key and hash for which (r, s) makes verification arrive at `sum` = u1*G + u2*Q.
  [[nodiscard]] Signed arriving_at(const EC_POINT* sum, const Number& r) const {
    const Number u1 = f.random(), u2 = f.random(), s = f.div(r, u2), w = f.div(1, u2);
    return {.key = f.combine(f.mul(f.neg(u1), w), sum, w), .e = f.mul(u1, s), .r = r, .s = s};
  }

  // The answer of all three; they must agree.
  [[nodiscard]] bool verify(const Signed& c) const {
    std::array<std::uint8_t, 65> encoded{};
    EXPECT_EQ(EC_POINT_point2oct(f.group.get(), c.key.get(), POINT_CONVERSION_UNCOMPRESSED, encoded.data(),
                                 encoded.size(), f.ctx.get()),
              encoded.size());
    const P256Key plain = P256Key::from_point(ByteView(encoded).subspan(1)).value();
    P256Key prepared = P256Key::from_point(ByteView(encoded).subspan(1)).value();
    prepared.prepare();
    EXPECT_TRUE(prepared.prepared());
    Bytes signature = to_bytes(c.r.bytes().view());
    append(signature, c.s.bytes().view());
    const Owned<EC_KEY, EC_KEY_free> key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    EXPECT_EQ(EC_KEY_set_public_key(key.get(), c.key.get()), 1);
    const crypto::EcdsaSigPtr sig(ECDSA_SIG_new());
    EXPECT_EQ(ECDSA_SIG_set0(sig.get(), BN_dup(c.r.get()), BN_dup(c.s.get())), 1);
    const Digest<32> digest = c.e.bytes();
    const bool openssl = ECDSA_do_verify(digest.data(), 32, sig.get(), key.get()) == 1;
    EXPECT_EQ(plain.verify(digest, signature), openssl) << hex(signature);
    EXPECT_EQ(prepared.verify(digest, signature), openssl) << hex(signature);
    return openssl;
  }
};

TEST_F(P256Corner, XAboveTheOrder) {
  const PointPtr sum = f.point_at(f.n);
  ASSERT_LT(BN_cmp(f.x(sum.get()).get(), f.p.get()), 0);
  const Number r = f.x(sum.get()) - f.n;
  EXPECT_TRUE(verify(arriving_at(sum.get(), r)));
  EXPECT_FALSE(verify(arriving_at(sum.get(), r + 1)));
  Signed unreduced = arriving_at(sum.get(), r);
  unreduced.r = unreduced.r + f.n;
  EXPECT_FALSE(verify(unreduced));
}

// r + n is x only below p, never modulo p.
TEST_F(P256Corner, XThatOnlyWrapsAroundIsRefused) {
  const PointPtr sum = f.point_at(5);
  const Number x = f.x(sum.get());
  EXPECT_TRUE(verify(arriving_at(sum.get(), x)));
  EXPECT_FALSE(verify(arriving_at(sum.get(), x + (f.p - f.n))));
}

TEST_F(P256Corner, SumAtInfinityIsRefused) {
  const Number d = f.random(), u2 = f.random(), r = f.random(), s = f.div(r, u2);
  EXPECT_FALSE(verify({.key = f.combine(d), .e = f.mul(f.neg(f.mul(u2, d)), s), .r = r, .s = s}));
}

TEST_F(P256Corner, SumOfEqualPoints) {
  const Number d = f.random(), u1 = f.random();
  const Number r = f.x(f.combine(u1 + u1).get());
  const Number e = f.mul(r, d);
  EXPECT_TRUE(verify({.key = f.combine(d), .e = e, .r = r, .s = f.div(e, u1)}));
}

TEST_F(P256Corner, HashThatIsZeroModuloTheOrder) {
  const Number d = f.random(), k = f.random(), r = f.x(f.combine(k).get());
  const Number s = f.div(f.mul(r, d), k);
  EXPECT_TRUE(verify({.key = f.combine(d), .e = 0, .r = r, .s = s}));
  EXPECT_TRUE(verify({.key = f.combine(d), .e = f.n, .r = r, .s = s}));
  EXPECT_FALSE(verify({.key = f.combine(d), .e = 1, .r = r, .s = s}));
}

TEST_F(P256Corner, KeysNextToTheGenerator) {
  for (const Number& d : {Number(1), Number(2), f.n - 1, f.n - 2}) {
    const Number k = f.random(), r = f.x(f.combine(k).get()), e = f.random();
    EXPECT_TRUE(verify({.key = f.combine(d), .e = e, .r = r, .s = f.div(e + f.mul(r, d), k)}));
  }
}

TEST_F(P256Corner, OutOfRange) {
  const Number d = f.random(), k = f.random(), r = f.x(f.combine(k).get()), e = f.random();
  const Number s = f.div(e + f.mul(r, d), k), top = (Number(1) << 256) - 1;
  EXPECT_TRUE(verify({.key = f.combine(d), .e = e, .r = r, .s = s}));
  EXPECT_TRUE(verify({.key = f.combine(d), .e = e, .r = r, .s = f.neg(s)}));  // low s is not asked for
  for (const Number& bad : {Number(0), f.n, f.n + 1, top}) {
    EXPECT_FALSE(verify({.key = f.combine(d), .e = e, .r = bad, .s = s}));
    EXPECT_FALSE(verify({.key = f.combine(d), .e = e, .r = r, .s = bad}));
    EXPECT_FALSE(verify({.key = f.combine(d), .e = e, .r = bad, .s = bad}));
  }
}

// Every shape that the inversion of s can meet: powers of two, their neighbours and negatives, and any.
TEST_F(P256Corner, AnyS) {
  const Number d = f.random(), k = f.random(), r = f.x(f.combine(k).get());
  const PointPtr key = f.combine(d);
  std::array<std::uint8_t, 65> encoded{};
  EC_POINT_point2oct(f.group.get(), key.get(), POINT_CONVERSION_UNCOMPRESSED, encoded.data(), 65, f.ctx.get());
  const P256Key plain = P256Key::from_point(ByteView(encoded).subspan(1)).value();
  const auto accepts = [&](const Number& s) {
    Bytes signature = to_bytes(r.bytes().view());
    append(signature, s.bytes().view());
    const Number e = f.mul(f.mul(s, k) + f.n + f.n - f.mul(r, d), 1);
    return plain.verify(e.bytes(), signature);
  };
  for (int bit = 0; bit < 256; ++bit)
    for (const Number& s : {Number(1) << bit, (Number(1) << bit) + 1, f.n - (Number(1) << bit)})
      EXPECT_TRUE(accepts(s)) << bit;
  for (int i = 0; i < 500; ++i) EXPECT_TRUE(accepts(f.random()));
  for (int i = 1; i < 9; ++i) EXPECT_FALSE(accepts(Number(i) + f.n)) << "equal modulo the order, but out of range";
  for (int i = 1; i < 256; ++i) EXPECT_TRUE(accepts(Number::random((Number(1) << i) - 1) + 1)) << i;
}

}  // namespace
}  // namespace cairn::pki
