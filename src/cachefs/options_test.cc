#include "cachefs/options.h"

#include <gtest/gtest.h>

namespace cairn::cachefs {
namespace {

constexpr std::string_view kMinimal = R"({"source":"/c","mountpoint":"/p","passfile":"/k")";

TEST(MountOptions, FromJson) {
  const auto o = parse_mount_options(
      std::string(kMinimal) +
      R"(,"wipe_passfile":true,"allow_other":false,"verify":"full","mode":"resident",)"
      R"("expect_root":"sha384:)" +
      std::string(96, 'a') +
      R"(","serve":"fuse","store_endpoint":"https://h","store_parallel":3,"allow_holes":true,"threads":3,"read_ahead_kb":128,"type":"cachefs","memory_mib":7})");
  ASSERT_TRUE(o) << o.error().text();
  EXPECT_EQ(o->source, "/c");
  EXPECT_EQ(o->passfile, "/k");
  EXPECT_TRUE(o->wipe_passfile);
  EXPECT_FALSE(o->allow_other);
  EXPECT_EQ(o->verify, Verify::full);
  EXPECT_EQ(o->mode, Mode::resident);
  EXPECT_EQ(o->holes, gocryptfs::Holes::allow);
  EXPECT_EQ(o->threads, 3U);
  EXPECT_EQ(o->serve, Serve::fuse);
  EXPECT_EQ(o->store.endpoint, "https://h");
  EXPECT_EQ(o->store.parallel, 3U);
  EXPECT_EQ(o->type, "cachefs");
  EXPECT_TRUE(check_mount_options(*o));
}

TEST(MountOptions, DefaultsAreTheSafeOnes) {
  const auto o = parse_mount_options(std::string(kMinimal) + "}");
  ASSERT_TRUE(o);
  EXPECT_EQ(o->holes, gocryptfs::Holes::deny);
  EXPECT_FALSE(o->all_features);
  EXPECT_FALSE(o->nonempty);
  EXPECT_TRUE(check_mount_options(*o));
}

TEST(MountOptions, EveryProblemIsNamedAtOnce) {
  const auto o = parse_mount_options(R"({"source":"/c","passfil":"/k","verify":"some","mode":"fast","threads":"x"})");
  ASSERT_FALSE(o);
  for (const std::string_view named : {"mountpoint", "passfil", "passfile", "verify", "mode", "threads"})
    EXPECT_NE(o.error().message.find(named), std::string::npos) << named << " in " << o.error().message;
  EXPECT_FALSE(parse_mount_options("[]"));
  EXPECT_FALSE(parse_mount_options(""));
}

TEST(MountOptions, ContradictionsAreRefused) {
  const auto with = [](auto change) {
    MountOptions o;
    o.source = "/c";
    o.mountpoint = "/p";
    o.passfile = "/k";
    change(o);
    return check_mount_options(o).has_value();
  };
  EXPECT_TRUE(with([](MountOptions&) {}));
  EXPECT_FALSE(with([](MountOptions& o) { o.source.clear(); }));
  EXPECT_FALSE(with([](MountOptions& o) { o.passfile.clear(); }));
  EXPECT_FALSE(with([](MountOptions& o) { o.passfile = "-", o.wipe_passfile = true; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.expect_root = "sha384:" + std::string(96, 'a'); }));
  EXPECT_TRUE(with([](MountOptions& o) { o.expect_root = "sha384:" + std::string(96, 'a'), o.verify = Verify::full; }));
  EXPECT_FALSE(
      with([](MountOptions& o) { o.expect_root = "sha384:" + std::string(95, 'a'), o.verify = Verify::full; }));
  EXPECT_TRUE(with([](MountOptions& o) { o.expect_root = "sha384:" + std::string(96, 'a'), o.verify = Verify::seal; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.cache_mib = 0; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.serve = Serve::memory; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.serve = Serve::memory, o.mode = Mode::resident, o.preload = 99; }));
  EXPECT_TRUE(with([](MountOptions& o) { o.serve = Serve::memory, o.mode = Mode::resident, o.preload = 100; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.source = "s3://bucket/x", o.read_write = true; }));
  EXPECT_TRUE(with([](MountOptions& o) { o.store.cache = "/x"; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.store.cache = "/x", o.holes = gocryptfs::Holes::allow; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.store.parallel = 0; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.status = "nowhere"; }));
  EXPECT_TRUE(with([](MountOptions& o) { o.status = "unix:/run/x"; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.type = "a/b"; }));
  EXPECT_TRUE(with([](MountOptions& o) { o.threads = kServeThreadsMax; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.threads = kServeThreadsMax + 1; }));
  EXPECT_TRUE(with([](MountOptions& o) { o.read_ahead_kb = kReadAheadKbMax; }));
  EXPECT_FALSE(with([](MountOptions& o) { o.read_ahead_kb = kReadAheadKbMax + 1; }));
}

}  // namespace
}  // namespace cairn::cachefs
