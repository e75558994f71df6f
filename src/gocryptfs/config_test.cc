#include "gocryptfs/config.h"

#include "crypto/random.h"
#include "gocryptfs/keys.h"
#include "gocryptfs/test_data.h"

namespace cairn::gocryptfs {
namespace {
using test::unhex;

Config small_config(FeatureSet features = kDefaultFeatures) {
  return wrap_master_key(Secret(Bytes(32, 7)), as_bytes("pw"), features, 255, kLogNMin).value();
}
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}
ErrorCode code_of(const std::string& text) {
  const auto result = parse_config(text);
  EXPECT_FALSE(result) << text;
  return result ? ErrorCode::internal : result.error().code;
}

TEST(Config, WrapsAndUnwrapsTheMasterKey) {
  for (const FeatureSet& features :
       {kDefaultFeatures, FeatureSet{Feature::gcm_iv128, Feature::dir_iv, Feature::eme_names}}) {
    const Config config = small_config(features);
    const auto parsed = parse_config(write_config(config));
    ASSERT_TRUE(parsed) << parsed.error().text();
    const auto key = unwrap_master_key(*parsed, as_bytes("pw"));
    ASSERT_TRUE(key) << key.error().text();
    EXPECT_TRUE(equal(key->view(), Bytes(32, 7)));
    EXPECT_EQ(unwrap_master_key(*parsed, as_bytes("pW")).error().code, ErrorCode::unauthenticated);
    EXPECT_EQ(unwrap_master_key(*parsed, as_bytes("")).error().code, ErrorCode::unauthenticated);
  }
}

TEST(Config, AChangedConfigLooksLikeAWrongPassword) {
  Config config = small_config();
  config.encrypted_key[20] ^= 1;
  EXPECT_EQ(unwrap_master_key(config, as_bytes("pw")).error().code, ErrorCode::unauthenticated);
  config = small_config();
  std::ranges::fill(std::span(config.encrypted_key).first(16), std::uint8_t{0});
  EXPECT_EQ(unwrap_master_key(config, as_bytes("pw")).error().code, ErrorCode::unauthenticated);
  config = small_config();
  config.features.clear(Feature::hkdf);
  EXPECT_EQ(unwrap_master_key(config, as_bytes("pw")).error().code, ErrorCode::unauthenticated);
}

TEST(Config, WritesWhatGocryptfsWrites) {
  const std::string text = write_config(small_config());
  EXPECT_TRUE(text.starts_with("{\n\t\"Creator\": \"cairn ")) << text;
  EXPECT_NE(text.find("\"FeatureFlags\": "
                      "[\n\t\t\"HKDF\",\n\t\t\"GCMIV128\",\n\t\t\"DirIV\",\n\t\t\"EMENames\",\n\t\t\"LongNames\","
                      "\n\t\t\"Raw64\"\n\t]"),
            std::string::npos)
      << text;
  EXPECT_TRUE(text.ends_with("\n}\n"));
}

TEST(Config, ReadsKeysInAnyCaseAndIgnoresUnknownOnes) {
  std::string text = write_config(small_config());
  text = replaced(text, "\"EncryptedKey\"", "\"VolumeName\": \"x\", \"encryptedkey\"");
  EXPECT_TRUE(parse_config(text)) << parse_config(text).error().text();
}

TEST(Config, RefusesBrokenText) {
  const std::string good = write_config(small_config());
  EXPECT_EQ(code_of(""), ErrorCode::malformed);
  EXPECT_EQ(code_of("[]"), ErrorCode::malformed);
  EXPECT_EQ(code_of(good + "x"), ErrorCode::malformed);
  EXPECT_EQ(code_of(replaced(good, "\"Version\": 2", "\"Version\": 70000")), ErrorCode::malformed);
  EXPECT_EQ(code_of(replaced(good, "\"Version\": 2", "\"Version\": \"2\"")), ErrorCode::malformed);
  EXPECT_EQ(code_of(replaced(good, "\"Version\": 2", "\"Version\": 2, \"LongNameMax\": 256")), ErrorCode::malformed);
  EXPECT_EQ(code_of(replaced(good, "\"EncryptedKey\": \"", "\"EncryptedKey\": \"*")), ErrorCode::malformed);
  EXPECT_EQ(code_of(replaced(good, "\"Version\"", "\"salt\": 1, \"version\": 2, \"Version\"")), ErrorCode::malformed);
  EXPECT_EQ(code_of(good + std::string(kConfigMax, ' ')), ErrorCode::malformed);
}

TEST(Config, RefusesWhatItDoesNotSupportByName) {
  const std::string good = write_config(small_config());
  const auto refused = [&](std::string_view from, std::string_view to, std::string_view named) {
    const auto result = parse_config(replaced(good, from, to));
    ASSERT_FALSE(result) << to;
    EXPECT_EQ(result.error().code, ErrorCode::unsupported) << result.error().text();
    EXPECT_NE(result.error().text().find(named), std::string::npos) << result.error().text();
  };
  refused("\"Version\": 2", "\"Version\": 3", "Version");
  refused("\"N\": 1024", "\"N\": 3000", "power of two");
  refused("\"N\": 1024", "\"N\": 512", "N");
  refused("\"N\": 1024", "\"N\": 2097152", "1 GiB");
  refused("\"R\": 8", "\"R\": 7", "R");
  refused("\"P\": 1", "\"P\": 0", "P");
  refused("\"P\": 1", "\"P\": 17", "P");
  refused("\"KeyLen\": 32", "\"KeyLen\": 64", "KeyLen");
  refused("\"HKDF\"", "\"Quantum\"", "Quantum");
  refused("\"GCMIV128\"", "\"HKDF\"", "GCMIV128");
  refused("\"HKDF\"", "\"XChaCha20Poly1305\"", "GCMIV128");
  refused("\"HKDF\"", "\"PlaintextNames\"", "PlaintextNames");
  refused("\"HKDF\"", "\"LongNameMax\"", "LongNameMax");
  refused("\"Version\": 2", "\"Version\": 2, \"LongNameMax\": 100", "LongNameMax");
  refused("\"EncryptedKey\": \"", "\"EncryptedKey\": \"AAAA", "EncryptedKey");
}

TEST(Config, NamesFlagsThatAreNotTheDefaults) {
  EXPECT_TRUE(require_default_features(small_config()));
  Config config = small_config();
  config.features.set(Feature::aes_siv);
  config.features.clear(Feature::raw64);
  const auto result = require_default_features(config);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("lacks Raw64, has AESSIV"), std::string::npos) << result.error().message;
}

TEST(Password, IsTheFirstLine) {
  const auto of = [](std::string_view text) {
    bool more = false;
    const auto secret = password_from(as_bytes(text), &more);
    return (secret ? std::string(as_text(secret->view())) : "!") + (more ? "+" : "");
  };
  EXPECT_EQ(of("pw"), "pw");
  EXPECT_EQ(of("pw\n"), "pw");
  EXPECT_EQ(of("pw\n\n"), "pw+");
  EXPECT_EQ(of("pw\nrest"), "pw+");
  EXPECT_EQ(of("pw\r\n"), "pw\r");
  EXPECT_EQ(of("pw "), "pw ");
  EXPECT_EQ(of(""), "!");
  EXPECT_EQ(of("\npw").substr(0, 1), "!");
  EXPECT_EQ(of(std::string(kPasswordMax, 'x')).size(), kPasswordMax);
  EXPECT_EQ(of(std::string(kPasswordMax + 1, 'x')), "!");
}

TEST(Keys, OfSharedVolumes) {
  REQUIRE_SHARED_VECTORS(vectors);
  for (const Json& v : vectors["volumes"]) {
    const std::string volume = v["volume"];
    FeatureSet features{Feature::gcm_iv128};
    if (!volume.starts_with("upstream/v0") && volume != "upstream/v1.1-aessiv") features.set(Feature::hkdf);
    if (volume.find("aessiv") != std::string::npos) features.set(Feature::aes_siv);
    if (volume.find("xchacha") != std::string::npos) features.set(Feature::xchacha);
    const Secret master(unhex(v["masterkey"]));
    EXPECT_EQ(hex(content_key(features, master)->view()), v["content_key"].get<std::string>()) << volume;
    EXPECT_EQ(hex(name_key(features, master)->view()), v["eme_key"].get<std::string>()) << volume;
  }
}

}  // namespace
}  // namespace cairn::gocryptfs
