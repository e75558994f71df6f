#include "cachefs/store/writable.h"

#include <fcntl.h>
#include <unistd.h>

#include <random>
#include <set>
#include <thread>

#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using gocryptfs::Feature;
using gocryptfs::kBlockSize;

gocryptfs::Volume volume_with(gocryptfs::FeatureSet features) {
  const Secret key = crypto::random_secret(gocryptfs::kMasterKeySize);
  const auto config = gocryptfs::wrap_master_key(key, as_bytes("pw"), features, 255, gocryptfs::kLogNMin).value();
  return gocryptfs::Volume::open(config, key).value();
}

// Random changes to a file and to the same bytes in memory, in the manner of fsx.
TEST(Writable, DoesWhatMemoryDoes) {
  const TestFolder dir;
  for (const gocryptfs::FeatureSet& features :
       {gocryptfs::kDefaultFeatures,
        gocryptfs::FeatureSet{Feature::hkdf, Feature::xchacha, Feature::dir_iv, Feature::eme_names, Feature::long_names,
                              Feature::raw64},
        gocryptfs::FeatureSet{Feature::hkdf, Feature::gcm_iv128, Feature::aes_siv, Feature::dir_iv, Feature::eme_names,
                              Feature::long_names, Feature::raw64}}) {
    const gocryptfs::Volume volume = volume_with(features);
    const Fd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    WritableFile file(volume);
    std::mt19937_64 random(17);
    Bytes right;
    // Often at the edges of blocks, where the mistakes are.
    const auto place = [&](std::size_t most) {
      const std::size_t at = random() % (most + 1);
      return random() % 3 == 0 ? std::min(most, at / kBlockSize * kBlockSize + random() % 3) : at;
    };
    for (int step = 0; step < 1500; ++step) {
      const std::size_t kind = random() % 10;
      if (kind < 5) {
        const std::size_t at = place(random() % 8 == 0 ? 60'000 : right.size());
        const Bytes bytes = crypto::random_bytes(1 + place(random() % 4 == 0 ? 20'000 : 300));
        ASSERT_TRUE(file.write(fd.get(), at, bytes));
        right.resize(std::max(right.size(), at + bytes.size()));
        std::ranges::copy(bytes, right.begin() + static_cast<std::ptrdiff_t>(at));
      } else if (kind < 7) {
        const std::size_t size = random() % 20 == 0 ? 0 : place(70'000);
        ASSERT_TRUE(file.truncate(fd.get(), size));
        right.resize(size);
      } else if (kind == 7) {
        ASSERT_TRUE(file.reserve(fd.get(), place(50'000), place(9'000)));
      } else {
        Bytes out(1 + place(30'000));
        const std::size_t at = place(right.size());
        ASSERT_EQ(file.read(fd.get(), at, out).value(), std::min(out.size(), right.size() - at));
        out.resize(std::min(out.size(), right.size() - at));
        ASSERT_TRUE(std::equal(out.begin(), out.end(), right.begin() + static_cast<std::ptrdiff_t>(at))) << step;
      }
      ASSERT_EQ(fs::file_size(dir / "file"), volume.layout().cipher_size(right.size())) << step;
    }
    Bytes out(right.size() + 1);
    WritableFile fresh(volume);  // knows nothing yet
    ASSERT_EQ(fresh.read(fd.get(), 0, out).value(), right.size());
    out.resize(right.size());
    EXPECT_EQ(out, right);
  }
}

TEST(Writable, ADamagedBlockIsNotWrittenOver) {
  const TestFolder dir;
  const gocryptfs::Volume volume = volume_with(gocryptfs::kDefaultFeatures);
  const Fd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  WritableFile file(volume);
  ASSERT_TRUE(file.write(fd.get(), 0, crypto::random_bytes(3 * kBlockSize)));
  std::uint8_t byte = 0;
  ASSERT_EQ(::pread(fd.get(), &byte, 1, 18 + 4128 + 50), 1);
  byte ^= 1;
  ASSERT_EQ(::pwrite(fd.get(), &byte, 1, 18 + 4128 + 50), 1);
  const Bytes before = read_file(dir / "file").value();
  Bytes out(10);
  EXPECT_EQ(file.read(fd.get(), kBlockSize, out).error(), EIO);
  EXPECT_EQ(file.write(fd.get(), kBlockSize + 100, out).error(), EIO);
  EXPECT_EQ(file.truncate(fd.get(), kBlockSize + 100).error(), EIO);
  EXPECT_EQ(read_file(dir / "file").value(), before);
  EXPECT_TRUE(file.write(fd.get(), 0, out));
  EXPECT_TRUE(file.write(fd.get(), kBlockSize, crypto::random_bytes(kBlockSize)));  // a whole block may replace it
  EXPECT_EQ(file.read(fd.get(), kBlockSize, out).value(), 10U);
}

TEST(Writable, EveryWriteHasAFreshNonceAndEveryFileItsId) {
  const TestFolder dir;
  const gocryptfs::Volume volume = volume_with(gocryptfs::kDefaultFeatures);
  const Fd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  WritableFile file(volume);
  const Bytes same(kBlockSize, 7);
  std::set<Bytes> seen;
  for (int i = 0; i < 20; ++i) {
    if (i == 10) {
      ASSERT_TRUE(file.truncate(fd.get(), 0));
    }
    ASSERT_TRUE(file.write(fd.get(), 0, same));
    const Bytes stored = read_file(dir / "file").value();
    seen.insert(Bytes(stored.begin() + 18, stored.begin() + 34));
    seen.insert(Bytes(stored.begin() + 2, stored.begin() + 18));
  }
  EXPECT_EQ(seen.size(), 22U);
}

TEST(Writable, WritersAtOnceDoNotMixBlocks) {
  const TestFolder dir;
  const gocryptfs::Volume volume = volume_with(gocryptfs::kDefaultFeatures);
  const Fd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  WritableFile file(volume);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        const Bytes mine(100, static_cast<std::uint8_t>(t + 1));
        for (std::size_t i = 0; i < 200; ++i) {
          if (!file.write(fd.get(), i * 400 + t * 100, mine)) ++wrong;
          Bytes out(100);
          if (file.read(fd.get(), i * 400 + t * 100, out) != Sys<std::size_t>(100) || out != mine) ++wrong;
        }
      });
  }
  EXPECT_EQ(wrong, 0);
  Bytes out(80'000);
  ASSERT_EQ(file.read(fd.get(), 0, out).value(), out.size());
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], i / 100 % 4 + 1) << i;
}

TEST(Writable, LimitsAreErrors) {
  const TestFolder dir;
  const gocryptfs::Volume volume = volume_with(gocryptfs::kDefaultFeatures);
  const Fd fd(::open((dir / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  WritableFile file(volume);
  const Bytes one(1);
  EXPECT_EQ(file.write(fd.get(), gocryptfs::kFileSizeMax, one).error(), EFBIG);
  EXPECT_EQ(file.truncate(fd.get(), gocryptfs::kFileSizeMax + 1).error(), EFBIG);
  EXPECT_EQ(fs::file_size(dir / "file"), 0U);
  const Fd read_only(::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(file.write(read_only.get(), 0, one).error(), EBADF);
  EXPECT_EQ(fs::file_size(dir / "file"), 0U);
}

}  // namespace
}  // namespace cairn::cachefs
