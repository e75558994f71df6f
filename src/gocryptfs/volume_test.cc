#include "gocryptfs/volume.h"

#include "gocryptfs/test_data.h"

namespace cairn::gocryptfs {
namespace {
using test::unhex;

Volume volume(FeatureSet features = kDefaultFeatures) {
  const Secret key(Bytes(32, 9));
  return Volume::open(wrap_master_key(key, as_bytes("pw"), features, 255, kLogNMin).value(), key).value();
}

TEST(Volume, OpensWithThePasswordOnly) {
  const Config config = wrap_master_key(Secret(Bytes(32, 9)), as_bytes("pw"), kDefaultFeatures, 255, kLogNMin).value();
  const auto opened = Volume::open(config, as_bytes("pw"));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->disk_name("x", DirIv{})->name, volume().disk_name("x", DirIv{})->name);
  EXPECT_EQ(Volume::open(config, as_bytes("no")).error().code, ErrorCode::unauthenticated);
}

TEST(Volume, Symlinks) {
  for (const FeatureSet& features :
       {kDefaultFeatures, FeatureSet{Feature::hkdf, Feature::gcm_iv128, Feature::plaintext_names},
        FeatureSet{Feature::hkdf, Feature::xchacha, Feature::dir_iv, Feature::eme_names, Feature::raw64},
        FeatureSet{Feature::gcm_iv128, Feature::aes_siv, Feature::dir_iv, Feature::eme_names}}) {
    const Volume v = volume(features);
    for (const std::string& target :
         {std::string(), std::string("a"), std::string("/a/b/../c"), std::string(3039, 'x')})
      EXPECT_EQ(v.open_symlink(v.seal_symlink(target)).value(), target);
  }
  const Volume v = volume();
  EXPECT_EQ(v.seal_symlink(std::string(3039, 'x')).size(), kSymlinkTextMax);
  std::string bad = v.seal_symlink("target");
  bad[10] = bad[10] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(v.open_symlink(bad));
  EXPECT_FALSE(v.open_symlink("x"));
}

TEST(Volume, ExtendedAttributes) {
  const Volume v = volume();
  const std::string stored = v.xattr_disk_name("user.foo").value();
  EXPECT_TRUE(stored.starts_with("user.gocryptfs."));
  EXPECT_EQ(v.xattr_plain_name(stored).value(), "user.foo");
  EXPECT_EQ(v.xattr_plain_name("user.other").error().code, ErrorCode::not_found);
  EXPECT_EQ(v.xattr_plain_name("system.posix_acl_access").value(), "system.posix_acl_access");
  EXPECT_FALSE(v.xattr_disk_name(std::string_view("a\0b", 3)));
  const Bytes value = v.seal_xattr(as_bytes("bar"));
  EXPECT_EQ(as_text(v.open_xattr(value).value()), "bar");
  EXPECT_EQ(as_text(v.open_xattr(as_bytes(v.names().encode(value))).value()), "bar");
  EXPECT_FALSE(v.open_xattr(as_bytes("garbage of some length, more than thirty-two bytes")));
}

TEST(Volume, SharedSymlinkAndXattrVector) {
  REQUIRE_SHARED_VECTORS(vectors);
  const Json& v = vectors["gcm_symlink_or_xattr_value"];
  const auto cipher = ContentCipher::create(ContentMode::aes_gcm, Secret(unhex(v["content_key"]))).value();
  EXPECT_EQ(hex(cipher.open_blob(unhex(v["blob"])).value()), v["plaintext"].get<std::string>());
}

TEST(Volume, SharedXattrs) {
  const auto text = read_text(std::string(CAIRN_SHARED_DATA) + "/gocryptfs/generated/xattr-raw.json");
  REQUIRE_SHARED_VECTORS(vectors);
  ASSERT_TRUE(text);
  const Json raw = parse_json(*text).value();
  Bytes master;
  for (const Json& v : vectors["volumes"])
    if (v["volume"] == "generated/xattr") master = unhex(v["masterkey"]);
  const Secret key(master);
  const Volume v =
      Volume::open(wrap_master_key(key, as_bytes("pw"), kDefaultFeatures, 255, kLogNMin).value(), key).value();
  std::map<std::string, std::string> seen;
  for (const auto& [path, attributes] : raw.items())
    for (const auto& [name, value] : attributes.items())
      seen[v.xattr_plain_name(name).value()] =
          as_text(v.open_xattr(from_base64(value.get<std::string>()).value()).value());
  EXPECT_EQ(seen["user.foo"], "bar");
  EXPECT_EQ(seen["user.bin"], std::string("\0\1\2\xff", 4));
  EXPECT_EQ(seen["security.foo"], "x");
  EXPECT_EQ(seen["trusted.t"], "tval");
  EXPECT_EQ(seen["user.d"], "dirval");
}

}  // namespace
}  // namespace cairn::gocryptfs
