#include "cachefs/store/check.h"

#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using gocryptfs::Holes;

class CheckedVolume : public testing::Test {
 protected:
  void SetUp() override {
    put(dir_ / "src/config.json", "{}");
    put(dir_ / "src/a/weights", crypto::random_bytes(50'000));
    put(dir_ / "src/a/twin", crypto::random_bytes(50'000));
    const auto report = encrypt_model(encrypting(dir_ / "src", dir_ / "vol"));
    ASSERT_TRUE(report) << report.error().text();
    manifest_ = parse_manifest(report->manifest).value();
  }
  [[nodiscard]] fs::path stored(std::string_view path) const {
    const OpenVolume v = open_volume(dir_ / "vol");
    return dir_ / "vol" / v.tree.disk_path(v.tree.find(path).value());
  }
  [[nodiscard]] Result<void> verify() const { return verify_volume(open_volume(dir_ / "vol"), manifest_); }
  [[nodiscard]] CheckReport check(Holes holes = Holes::deny) const {
    return check_volume(open_volume(dir_ / "vol"), holes, 2).value();
  }
  TestFolder dir_;
  Manifest manifest_;
};

TEST_F(CheckedVolume, CleanWhenUntouched) {
  EXPECT_TRUE(check().clean());
  EXPECT_TRUE(verify());
  EXPECT_EQ(write_manifest(manifest_of_volume(open_volume(dir_ / "vol"), "m").value()).value(),
            write_manifest(manifest_).value());
}

TEST_F(CheckedVolume, EveryFlippedRegionIsFoundAtItsOffset) {
  const fs::path file = stored("a/weights");
  const Bytes good = read_file(file).value();
  for (const std::size_t at : {0UL, 1UL, 2UL, 17UL, 18UL, 34UL, 4145UL, 4146UL, 30'000UL, good.size() - 1}) {
    Bytes bad = good;
    bad[at] ^= 0x40;
    put(file, bad);
    const CheckReport report = check();
    ASSERT_FALSE(report.clean()) << at;
    if (at >= 18) {
      ASSERT_EQ(report.damage.size(), 1U);
      EXPECT_EQ(report.damage[0].offset, (at - 18) / 4128 * 4096) << at;
    }
    EXPECT_FALSE(verify()) << at;
  }
  put(file, good);
  EXPECT_TRUE(check().clean());
}

TEST_F(CheckedVolume, CutSwappedAndMissingFilesAreFound) {
  const fs::path weights = stored("a/weights"), twin = stored("a/twin");
  const Bytes good = read_file(weights).value();
  fs::resize_file(weights, 18 + 4128 * 3);
  EXPECT_TRUE(check().clean()) << "the format itself cannot see a cut at a block's end";
  EXPECT_EQ(verify().error().where, "a/weights");
  fs::resize_file(weights, 18 + 4128 * 3 + 20);
  EXPECT_FALSE(check().clean());
  put(weights, good);
  ASSERT_TRUE(verify());
  fs::rename(weights, dir_ / "tmp");
  fs::rename(twin, weights);
  fs::rename(dir_ / "tmp", twin);
  EXPECT_TRUE(check().clean()) << "nor swapped files";
  EXPECT_FALSE(verify());
  fs::rename(weights, dir_ / "tmp");
  EXPECT_FALSE(verify());
}

TEST_F(CheckedVolume, AddedFilesAreFound) {
  const OpenVolume v = open_volume(dir_ / "vol");
  const auto iv = gocryptfs::parse_dir_iv(read_file(dir_ / "vol" / "gocryptfs.diriv").value()).value();
  put(dir_ / "vol" / v.volume.disk_name("extra", iv)->name, "");
  EXPECT_EQ(verify().error().where, "extra");
}

TEST_F(CheckedVolume, AZeroedBlockIsAHoleOnlyWhereAllowed) {
  const fs::path file = stored("a/weights");
  Bytes bytes = read_file(file).value();
  std::fill_n(bytes.begin() + 18 + 4128, 4128, std::uint8_t{0});
  put(file, bytes);
  EXPECT_TRUE(check(Holes::allow).clean());
  EXPECT_EQ(check(Holes::deny).damaged, 1U);
  EXPECT_FALSE(verify());
}

TEST_F(CheckedVolume, MissingDirIvIsFound) {
  fs::remove(stored("a") / "gocryptfs.diriv");
  EXPECT_FALSE(check().clean());
  EXPECT_FALSE(verify());
}

TEST(CheckShared, BrokenVolumesAreReported) {
  const TestFolder dir;
  UNPACK_OR_SKIP(path, dir, "upstream/broken_fs_v1.4");
  const auto report = check_volume(open_volume(path, "test"), Holes::allow);
  ASSERT_TRUE(report);
  EXPECT_GE(report->damaged, 5U);
}

}  // namespace
}  // namespace cairn::cachefs
