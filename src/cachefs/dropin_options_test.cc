#include "cachefs/dropin_options.h"

#include <gtest/gtest.h>

namespace cairn::cachefs {
namespace {

using Action = DropinOptions::Action;
using gocryptfs::Feature;

TEST(Dropin, MountLines) {
  const auto o =
      parse_dropin({"/cipher", "/mnt", "-passfile", "/key", "-nosyslog", "--ro", "-o", "allow_other,nonempty", "-q"});
  ASSERT_TRUE(o) << o.error().text();
  EXPECT_EQ(o->action, Action::mount);
  EXPECT_EQ(o->paths, (std::vector<std::string>{"/cipher", "/mnt"}));
  EXPECT_EQ(o->passfiles.size(), 1U);
  EXPECT_TRUE(o->read_only && o->allow_other && o->nonempty && o->quiet);
  EXPECT_FALSE(o->foreground);
}

TEST(Dropin, InitLines) {
  const auto o =
      parse_dropin({"-init", "-scryptn=12", "-xchacha", "-longnamemax", "100", "-extpass", "cat /f", "--", "-dir"});
  ASSERT_TRUE(o) << o.error().text();
  EXPECT_EQ(o->action, Action::init);
  EXPECT_EQ(o->log_n, 12);
  EXPECT_EQ(o->extpass, "cat /f");
  EXPECT_EQ(o->paths, std::vector<std::string>{"-dir"});
  EXPECT_TRUE(o->features.has(Feature::xchacha) && !o->features.has(Feature::gcm_iv128) &&
              o->features.has(Feature::long_name_max));
  EXPECT_EQ(parse_dropin({"-init", "-plaintextnames", "d"})->features,
            (gocryptfs::FeatureSet{Feature::hkdf, Feature::gcm_iv128, Feature::plaintext_names}));
  EXPECT_FALSE(parse_dropin({"-init", "-raw64=false", "d"})->features.has(Feature::raw64));
}

TEST(Dropin, RefusalsNameTheOption) {
  EXPECT_EQ(parse_dropin({"-reverse", "a", "b"}).error().code, ErrorCode::unsupported);
  EXPECT_EQ(parse_dropin({"-reverse", "a", "b"}).error().where, "-reverse");
  EXPECT_EQ(parse_dropin({"-nonsense", "a", "b"}).error().code, ErrorCode::invalid_argument);
  EXPECT_FALSE(parse_dropin({"-passfile"}));
  EXPECT_FALSE(parse_dropin({"-o"}));
  EXPECT_FALSE(parse_dropin({"-ro=maybe", "a", "b"}));
  EXPECT_FALSE(parse_dropin({"-scryptn", "9", "d"}));
  EXPECT_FALSE(parse_dropin({"-scryptn", "21", "d"}));
  EXPECT_FALSE(parse_dropin({"-longnamemax", "61", "d"}));
}

}  // namespace
}  // namespace cairn::cachefs
