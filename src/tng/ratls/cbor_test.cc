#include "tng/ratls/cbor.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

Bytes hex_bytes(std::string_view text) { return *from_hex(text); }

TEST(Cbor, ReadsWhatItWrites) {
  CborWriter out;
  out.tag(0xC0C000).array(4).uint(0).uint(65536).bytes(Bytes(300, 7)).text("käse");
  const Bytes bytes = std::move(out).take();
  CborReader in(bytes);
  EXPECT_EQ(in.tag(), 0xC0C000U);
  EXPECT_EQ(in.array(), 4U);
  EXPECT_EQ(in.uint(), 0U);
  EXPECT_EQ(in.uint(), 65536U);
  EXPECT_EQ(in.bytes(300)->size(), 300U);
  EXPECT_EQ(in.text(10), "käse");
  EXPECT_TRUE(in.end());
}

TEST(Cbor, RefusesWhatIsNotDeterministic) {
  for (const char* bad : {"5f4101ff",  // indefinite byte string
                          "9fff",      // indefinite array
                          "1800",      // 0 in two bytes
                          "190017", "1a0000ffff", "1b00000000ffffffff", "1c"})
    EXPECT_FALSE(CborReader(hex_bytes(bad)).skip()) << bad;
}

TEST(Cbor, RefusesShortAndLongInput) {
  EXPECT_FALSE(CborReader(hex_bytes("4401")).bytes(10));
  EXPECT_FALSE(CborReader(hex_bytes("5affffffff")).bytes(10));
  EXPECT_EQ(CborReader(hex_bytes("4401020304")).bytes(3).error().code, ErrorCode::too_large);
  EXPECT_TRUE(CborReader(hex_bytes("4401020304")).bytes(4));
  EXPECT_FALSE(CborReader(hex_bytes("9bffffffffffffffff")).skip());
  EXPECT_FALSE(CborReader(hex_bytes("bb7fffffffffffffff")).skip());
  EXPECT_FALSE(CborReader(hex_bytes("62c328")).text(10));  // not UTF-8
  EXPECT_FALSE(CborReader({}).peek());
}

TEST(Cbor, MapKeysComeInAnyOrderButOnce) {
  const auto read = [](std::string_view hex_text, std::size_t limit = 8) {
    const Bytes bytes = hex_bytes(hex_text);
    CborReader in(bytes);
    return in.map(limit, [&](std::string_view) { return in.skip(); });
  };
  EXPECT_TRUE(read("a2616201616102"));
  EXPECT_FALSE(read("a2616101616102"));
  EXPECT_FALSE(read("a10102"));  // not a text key
  EXPECT_TRUE(read("a2616201616102", 2));
  EXPECT_EQ(read("a2616201616102", 1).error().code, ErrorCode::too_large);
}

TEST(Cbor, DepthIsBounded) {
  const auto nested = [](std::size_t depth) {
    Bytes out(depth, 0x81);
    out.push_back(0x00);
    return out;
  };
  EXPECT_TRUE(CborReader(nested(limits::cbor_depth)).skip());
  EXPECT_FALSE(CborReader(nested(limits::cbor_depth + 1)).skip());
}

}  // namespace
}  // namespace cairn::tng
