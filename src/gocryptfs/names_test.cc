#include "gocryptfs/names.h"

#include "crypto/hash.h"
#include "crypto/random.h"
#include "gocryptfs/keys.h"
#include "gocryptfs/test_data.h"

namespace cairn::gocryptfs {
namespace {
using test::unhex;

NameCodec codec(bool raw64 = true, std::size_t longest = 255) {
  const Secret key = name_key(kDefaultFeatures, Secret(Bytes(32, 0))).value();
  return NameCodec::create(key, raw64, longest).value();
}
DirIv counting_iv() { return DirIv::from(unhex("000102030405060708090a0b0c0d0e0f")).value(); }

TEST(Names, EncryptAsGocryptfsDoes) {
  EXPECT_EQ(codec().encrypt("a", DirIv{})->name, "1sKOJa08QdEbbzmV8V5Lug");
  EXPECT_EQ(codec().encrypt("\xe6\xa8\xa1\xe5\x9e\x8b", counting_iv())->name, "QhhZugVWr10FJxRm8KC-BQ");
  EXPECT_EQ(codec(false).encrypt("a", DirIv{})->name, "1sKOJa08QdEbbzmV8V5Lug==");
}

TEST(Names, RoundTripAtEveryLength) {
  const NameCodec names = codec();
  for (std::size_t length = 1; length <= kNameMax; ++length) {
    std::string name;
    for (const std::uint8_t b : crypto::random_bytes(length)) name += static_cast<char>(b == 0 || b == '/' ? 'x' : b);
    if (name == "." || name == "..") name = "ok";
    const DirIv iv = random_dir_iv();
    const auto disk = names.encrypt(name, iv);
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->long_text.empty(), name.size() < 176);
    const std::string& text = disk->long_text.empty() ? disk->name : disk->long_text;
    if (!disk->long_text.empty()) {
      EXPECT_EQ(disk->name.size(), 62U);
      EXPECT_EQ(names.long_name_of(text), disk->name);
      EXPECT_EQ(entry_kind(disk->name), EntryKind::long_content);
      EXPECT_EQ(entry_kind(disk->name + ".name"), EntryKind::long_name);
    }
    EXPECT_EQ(names.decrypt(text, iv).value(), name);
    EXPECT_FALSE(names.decrypt(text, random_dir_iv()) == name);
  }
}

TEST(Names, RefusesWhatIsNotAName) {
  const NameCodec names = codec();
  for (const std::string_view bad : {std::string_view(""), std::string_view("."), std::string_view(".."),
                                     std::string_view("a/b"), std::string_view("a\0b", 3)})
    EXPECT_EQ(names.encrypt(bad, DirIv{}).error().code, ErrorCode::malformed) << bad;
  EXPECT_EQ(names.encrypt(std::string(256, 'x'), DirIv{}).error().code, ErrorCode::too_large);
  for (const std::string_view forbidden : {"..", "a/b"}) {
    const std::string text = names.encrypt_text(forbidden, DirIv{}).value();
    EXPECT_EQ(names.decrypt(text, DirIv{}).error().code, ErrorCode::malformed);
  }
}

TEST(Names, AcceptsOnlyCanonicalText) {
  const NameCodec names = codec();
  const std::string good = "1sKOJa08QdEbbzmV8V5Lug";
  ASSERT_TRUE(names.decrypt(good, DirIv{}));
  for (const std::string& bad :
       {good + "==", good + "\n", std::string("1sKOJa08QdEbbzmV8V5Luh"), std::string("1sKOJa08QdEbbzmV8V5Lu"),
        good + "AAAA", std::string(), std::string("1sKOJa08QdEbbzmV8V5Lu+"), std::string(345, 'A')})
    EXPECT_FALSE(names.decrypt(bad, DirIv{})) << bad;
  const NameCodec padded = codec(false);
  EXPECT_TRUE(padded.decrypt(good + "==", DirIv{}));
  for (const std::string& bad : {good, good + "=", good + "===", good + "======"})
    EXPECT_FALSE(padded.decrypt(bad, DirIv{})) << bad;
}

TEST(Names, LongNameMaxMovesTheLimit) {
  const NameCodec names = codec(true, 100);
  EXPECT_TRUE(names.encrypt(std::string(63, 'x'), DirIv{})->long_text.empty());
  EXPECT_FALSE(names.encrypt(std::string(64, 'x'), DirIv{})->long_text.empty());
}

TEST(Names, EntryKinds) {
  EXPECT_EQ(entry_kind("gocryptfs.diriv"), EntryKind::internal);
  EXPECT_EQ(entry_kind("gocryptfs.diriv.rmdir.123"), EntryKind::internal);
  EXPECT_EQ(entry_kind("gocryptfs.longname.x"), EntryKind::long_content);
  EXPECT_EQ(entry_kind("1sKOJa08QdEbbzmV8V5Lug"), EntryKind::normal);
}

TEST(DirIvFile, MustBe16BytesNotZero) {
  EXPECT_TRUE(parse_dir_iv(Bytes(16, 1)));
  for (const Bytes& bad : {Bytes(15, 1), Bytes(17, 1), Bytes(), Bytes(16, 0)}) EXPECT_FALSE(parse_dir_iv(bad));
}

TEST(Eme, SharedVectors) {
  REQUIRE_SHARED_VECTORS(vectors);
  std::size_t checked = 0;
  for (const Json& v : vectors["eme"]) {
    const Bytes key = unhex(v["key"]), tweak = unhex(v["tweak"]);
    const bool encrypt = v["direction"] == "encrypt";
    Bytes data = v.contains("in") && v["in"].is_string() && v["in"].get<std::string>().find('*') == std::string::npos
                     ? unhex(v["in"])
                     : Bytes(2048, 0);
    for (int i = 0; i < v["repeat"].get<int>(); ++i) data = eme_transform(key, tweak, data, encrypt).value();
    if (v.contains("out")) {
      EXPECT_EQ(hex(data), v["out"].get<std::string>()) << v["name"];
    } else {
      EXPECT_EQ(hex(crypto::sha256(data).view()), v["out_sha256"].get<std::string>()) << v["name"];
    }
    ++checked;
  }
  EXPECT_GE(checked, 6U);
}

TEST(Eme, RefusesOtherSizes) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{15}, std::size_t{17}, std::size_t{2064}})
    EXPECT_FALSE(eme_transform(Bytes(32), Bytes(16), Bytes(size), true));
  EXPECT_FALSE(eme_transform(Bytes(31), Bytes(16), Bytes(16), true));
}

TEST(Names, SharedVectors) {
  REQUIRE_SHARED_VECTORS(vectors);
  const NameCodec names = codec();
  for (const Json& v : vectors["names"]) {
    std::string hex_text = v["plain_hex"];
    Bytes plain;
    if (const auto star = hex_text.find('*'); star != std::string::npos)
      plain = Bytes(std::stoul(hex_text.substr(star + 1)), unhex(hex_text.substr(0, star))[0]);
    else
      plain = unhex(hex_text);
    const auto disk = names.encrypt(as_text(plain), DirIv::from(unhex(v["dir_iv"])).value());
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->name, v["on_disk"].get<std::string>()) << hex_text;
  }
}

}  // namespace
}  // namespace cairn::gocryptfs
