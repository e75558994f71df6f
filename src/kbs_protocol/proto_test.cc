#include "kbs_protocol/proto.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "kbs_protocol/agent_api.h"

namespace cairn::proto {
namespace {

struct Inner {
  std::int32_t code = 0;
  std::string message;
  static void fields(auto& m, auto&& field) {
    field(1, m.code);
    field(2, m.message);
  }
};
struct Everything {
  bool flag = false;
  std::int64_t number = 0;
  std::vector<std::string> names;
  std::vector<Inner> inners;
  std::optional<Inner> maybe;
  std::map<std::string, std::string> options;
  static void fields(auto& m, auto&& field) {
    field(1, m.flag);
    field(2, m.number);
    field(3, m.names);
    field(4, m.inners);
    field(5, m.maybe);
    field(6, m.options);
  }
};

// Encodings worked out by hand from the protobuf rules; the second is the payload of a captured frame.
TEST(Proto, KnownBytes) {
  EXPECT_EQ(hex(encode(agent::TokenRequest{"kbs", {}})), "0a036b6273");
  EXPECT_EQ(hex(encode(agent::RuntimeDataRequest{{0, 1, 2}})), "0a03000102");
  EXPECT_EQ(hex(encode(agent::ExtendRequest{"d", "o", "c", 300})), "0a016412016f1a016320ac02");
  EXPECT_EQ(hex(encode(agent::ExtendRequest{"", "", "", 0})), "2000");  // optional: present at its default
  EXPECT_EQ(hex(encode(agent::Empty{})), "");
  EXPECT_EQ(hex(encode(Inner{-1, ""})), "08ffffffffffffffffff01");
}

TEST(Proto, RoundTrip) {
  Everything e;
  e.flag = true;
  e.number = -5;
  e.names = {"a", "", "c"};
  e.inners = {{1, "x"}, {0, ""}};
  e.maybe = Inner{};
  e.options = {{"k", "v"}, {"empty", ""}};
  const auto back = decode<Everything>(encode(e));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->number, -5);
  EXPECT_EQ(back->names, e.names);
  EXPECT_EQ(back->inners.size(), 2U);
  EXPECT_EQ(back->inners[0].message, "x");
  EXPECT_TRUE(back->maybe);
  EXPECT_EQ(back->options, e.options);
  EXPECT_TRUE(back->flag);
}

TEST(Proto, UnknownMembersAreSkippedAndTheLastValueWins) {
  const auto r =
      decode<agent::TokenRequest>(*from_hex("0a0161"
                                            "9a0602ffff"
                                            "2805"
                                            "310000000000000000"
                                            "3d00000000"
                                            "0a0162"));
  ASSERT_TRUE(r);
  EXPECT_EQ(r->token_type, "b");
}

TEST(Proto, MalformedIsRefused) {
  for (const char* bad : {"0a", "0a05", "0a0261", "08", "0aff", "0affffffffffffffffff7f", "0b", "0c", "00", "0a01ff",
                          "0801", "80808080808080808080808001", "ffffffffffffffffff02"})
    EXPECT_FALSE(decode<agent::TokenRequest>(*from_hex(bad))) << bad;
  EXPECT_FALSE(decode<Everything>(*from_hex("220208")));  // a nested message that ends early
}

TEST(Proto, EveryTruncationIsHarmless) {
  const Bytes whole = encode(agent::ExtendRequest{"domain", "operation", "content", 17});
  for (std::size_t n = 0; n < whole.size(); ++n) (void)decode<agent::ExtendRequest>(ByteView(whole).first(n));
}

}  // namespace
}  // namespace cairn::proto
