// The file system as its users see it: mounted for real, where root and /dev/fuse are there.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

#include <future>

#include "cachefs/test_mount.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using namespace std::chrono_literals;

TEST_F(Mounts, ShowsThePlainModel) {
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
  EXPECT_EQ(read_file(dir_ / "mnt/link").value(), weights_);
  EXPECT_EQ(read_text(dir_ / "mnt/config.json").value(), "{}\n");
  EXPECT_EQ(read_text(dir_ / "mnt" / std::string(255, 'L')).value(), "long");
  EXPECT_EQ(fs::file_size(dir_ / "mnt/a/weights"), weights_.size());
  EXPECT_EQ(fs::file_size(dir_ / "mnt/empty"), 0U);
  EXPECT_EQ(fs::read_symlink(dir_ / "mnt/link"), "a/weights");
  EXPECT_FALSE(fs::exists(dir_ / "mnt/gocryptfs.conf"));
  EXPECT_FALSE(fs::exists(dir_ / "mnt/missing"));
  std::size_t count = 0;
  for (const auto& e : fs::directory_iterator(dir_ / "mnt")) count += e.path().empty() ? 0 : 1;
  EXPECT_EQ(count, 6U);
  EXPECT_EQ(::open((dir_ / "mnt/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(m.stop(SIGTERM), kExitOk);
}

TEST_F(Mounts, MappedReads) {
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  const Fd fd(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  void* map = ::mmap(nullptr, weights_.size(), PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_TRUE(equal(ByteView(static_cast<const std::uint8_t*>(map), weights_.size()), weights_));
  ::munmap(map, weights_.size());
}

TEST_F(Mounts, AWorkerThatDiesIsReplacedUnderReaders) {
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0, rounds = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] {
      while (!stop) {
        const Fd fd(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
        (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
        const auto bytes = read_file(dir_ / "mnt/a/weights");
        if (!bytes || *bytes != weights_) ++wrong;
        ++rounds;
      }
    });
  for (int i = 0; i < 8; ++i) {
    std::this_thread::sleep_for(150ms);
    if (const pid_t worker = m.worker(); worker > 0) ::kill(worker, SIGKILL);
  }
  std::this_thread::sleep_for(200ms);
  stop = true;
  readers.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(rounds, 3);
  EXPECT_EQ(m.stop(SIGTERM), kExitOk);
}

TEST_F(Mounts, ResidentFilesAreReadByTheKernelAndSurviveWorkers) {
  MountOptions o = options();
  o.mode = Mode::resident;
  o.preload = 100;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
  EXPECT_EQ(read_text(dir_ / "mnt/config.json").value(), "{}\n");
  fs::rename(dir_ / "vol", dir_ / "gone");  // the ciphertext is not needed any more
  const Fd open_before(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  for (int i = 0; i < 3; ++i) {
    ::kill(m.worker(), SIGKILL);
    std::this_thread::sleep_for(100ms);
    Bytes out(weights_.size());
    ASSERT_EQ(::pread(open_before.get(), out.data(), out.size(), 0), static_cast<ssize_t>(out.size()));
    EXPECT_EQ(out, weights_);
    EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
  }
}

TEST_F(Mounts, TheMemoryItselfIsMountedWhereAsked) {
  MountOptions o = options();
  o.mode = Mode::resident;
  o.preload = 100;
  o.serve = Serve::memory;
  o.verify = Verify::full;
  o.expect_root = digest_;
  {
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    fs::rename(dir_ / "vol", dir_ / "gone");  // the ciphertext is not needed any more
    const std::string table = read_text("/proc/self/mountinfo").value();
    EXPECT_NE(table.find("- tmpfs", table.find(" " + (dir_ / "mnt").string() + " ")), std::string::npos);
    EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
    EXPECT_EQ(read_file(dir_ / "mnt/link").value(), weights_);
    EXPECT_EQ(read_text(dir_ / "mnt/config.json").value(), "{}\n");
    EXPECT_EQ(read_text(dir_ / "mnt" / std::string(255, 'L')).value(), "long");
    EXPECT_EQ(fs::file_size(dir_ / "mnt/empty"), 0U);
    struct stat status{};
    ASSERT_EQ(::stat((dir_ / "mnt/a/weights").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0444U);
    EXPECT_EQ(status.st_nlink, 1U);
    EXPECT_EQ(::open((dir_ / "mnt/new").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
    EXPECT_EQ(errno, EROFS);
    EXPECT_EQ(::open((dir_ / "mnt/a/weights").c_str(), O_RDWR | O_CLOEXEC), -1);
    EXPECT_EQ(m.stop(SIGTERM), kExitOk);
    EXPECT_FALSE(is_mounted(dir_ / "mnt"));
  }
  fs::rename(dir_ / "gone", dir_ / "vol");
  {
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    (void)m.stop(SIGKILL);
    const std::int64_t until = monotonic_ms() + 5000;
    while (is_mounted(dir_ / "mnt") && monotonic_ms() < until) std::this_thread::sleep_for(5ms);
    EXPECT_FALSE(is_mounted(dir_ / "mnt"));
  }
  fs::remove(dir_ / "mnt.ready");  // of the one that was killed
  change(stored("a/weights"), 18 + 4128 * 700 + 100);
  EXPECT_EQ(Mounted(o).code(), kExitRefused);
}

TEST_F(Mounts, ResidentWhileItFills) {
  MountOptions o = options();
  o.mode = Mode::resident;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  std::vector<std::jthread> readers;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i)
    readers.emplace_back([&] {
      for (int k = 0; k < 20; ++k)
        if (const auto bytes = read_file(dir_ / "mnt/a/weights"); !bytes || *bytes != weights_) ++wrong;
    });
  readers.clear();
  EXPECT_EQ(wrong, 0);
}

std::uint64_t counter_in(const fs::path& mount, const std::string& name) {
  const std::string text = read_text(mount / ".stats").value(), line = "\n" + name + " ";
  const std::size_t at = text.find(line);
  return at == std::string::npos ? ~std::uint64_t{0} : std::strtoull(text.c_str() + at + line.size(), nullptr, 10);
}

// An open right after the mount waits the moment until the kernel can read the file by itself.
TEST_F(Mounts, AnOpenWaitsForItsFileToBeInMemory) {
  utsname system{};
  ::uname(&system);
  int major = 0, minor = 0;
  ASSERT_EQ(std::sscanf(system.release, "%d.%d", &major, &minor), 2);
  if (major * 100 + minor < 609) GTEST_SKIP() << "no passthrough before Linux 6.9";
  const Bytes large = crypto::random_bytes(150'000'001);
  put(dir_ / "src/large", large);
  put(dir_ / "src/z-second", weights_);
  fs::remove_all(dir_ / "vol");
  ASSERT_TRUE(encrypt_model(encrypting(dir_ / "src", dir_ / "vol")));
  MountOptions o = options();
  o.mode = Mode::resident;
  {
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    EXPECT_TRUE(read_file(dir_ / "mnt/large", large.size()) == large);
    EXPECT_TRUE(read_file(dir_ / "mnt/z-second") == weights_);
    EXPECT_EQ(counter_in(dir_ / "mnt", "cachefs_passthrough_opens"), 2U);
  }
  std::fstream(stored("large"), std::ios::in | std::ios::out | std::ios::binary).seekp(18 + 4128 * 36'000) << "?";
  Mounted m(o);  // never whole: nobody waits for long, and what is good is read
  ASSERT_TRUE(m.ready());
  const std::int64_t before = monotonic_ms();
  const Fd fd(::open((dir_ / "mnt/large").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_LT(monotonic_ms() - before, 3000);
  Bytes out(4096);
  ASSERT_EQ(::pread(fd.get(), out.data(), out.size(), 35'999 * 4096), 4096);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), large.begin() + 35'999 * 4096));
  EXPECT_EQ(::pread(fd.get(), out.data(), out.size(), 36'000 * 4096), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(counter_in(dir_ / "mnt", "cachefs_passthrough_opens"), 0U);
}

// Whoever opens a file before it is whole in memory reads it as when streaming, at once; the rest of the model goes on
// being loaded.
TEST_F(Mounts, AutomaticLeavesAFileToItsReaders) {
  const Bytes large = crypto::random_bytes(150'000'001);
  put(dir_ / "src/large", large);
  put(dir_ / "src/z-second", weights_);
  fs::remove_all(dir_ / "vol");
  ASSERT_TRUE(encrypt_model(encrypting(dir_ / "src", dir_ / "vol")));
  // Nothing of it can be decrypted ahead: so slow that the file is not whole when it is opened.
  std::fstream(stored("large"), std::ios::in | std::ios::out | std::ios::binary).seekp(18 + 4128 * 36'000) << "?";
  MountOptions o = options();
  o.mode = Mode::automatic;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  const Fd fd(::open((dir_ / "mnt/large").c_str(), O_RDONLY | O_CLOEXEC));
  for (const std::size_t at : {0UL, 9UL << 20, 100UL << 20, 149'000'000UL}) {
    Bytes out(1 << 20);
    const ssize_t got = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(at));
    ASSERT_EQ(got, static_cast<ssize_t>(std::min(out.size(), large.size() - at)));
    EXPECT_TRUE(std::equal(out.begin(), out.begin() + got, large.begin() + static_cast<std::ptrdiff_t>(at)));
  }
  EXPECT_TRUE(read_file(dir_ / "mnt/z-second") == weights_);
  EXPECT_EQ(counter_in(dir_ / "mnt", "cachefs_streamed_files"), 1U);
}

TEST_F(Mounts, ResidentDamageIsEioAroundGoodData) {
  change(stored("a/weights"), 18 + 4128 * 700 + 100);
  MountOptions o = options();
  o.mode = Mode::resident;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  const Fd fd(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  Bytes out(4096);
  ASSERT_EQ(::pread(fd.get(), out.data(), out.size(), 701 * 4096), 4096);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), weights_.begin() + 701 * 4096));
  EXPECT_EQ(::pread(fd.get(), out.data(), out.size(), 700 * 4096), -1);
}

TEST_F(Mounts, ResidentNeedsTheMemory) {
  MountOptions o = options();
  o.mode = Mode::resident;
  o.memory_mib = 1;
  EXPECT_EQ(Mounted(o).code(), kExitOther);
  o.mode = Mode::automatic;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
}

// Whether every thread of a process stands still: a signal that stops it takes effect later.
bool is_stopped(pid_t process) {
  return std::ranges::all_of(fs::directory_iterator("/proc/" + std::to_string(process) + "/task"), [](const auto& t) {
    const std::string stat = read_text(t.path() / "stat").value();
    return stat[stat.rfind(')') + 2] == 'T';
  });
}

TEST_F(Mounts, AReadThatWaitsForItsSourceHoldsUpNobody) {
  // The volume lies in a mount of its own: once that one's worker is stopped, reads of the source wait.
  fs::create_directory(dir_ / "lower-src");
  fs::create_directory(dir_ / "lower");
  fs::remove(dir_ / "src/link");  // encrypted it leads nowhere, which no manifest can hold
  fs::remove_all(dir_ / "vol");
  ASSERT_TRUE(encrypt_model(encrypting(dir_ / "src", dir_ / "vol")));
  const fs::path below = dir_ / "lower/vol" / fs::relative(stored("a/weights"), dir_ / "vol");
  fs::rename(dir_ / "vol", dir_ / "lower-src/vol");
  ASSERT_TRUE(encrypt_model(encrypting(dir_ / "lower-src", dir_ / "lower-vol")));
  MountOptions lower = options(), o = options();
  lower.source = dir_ / "lower-vol";
  lower.mountpoint = dir_ / "lower";
  Mounted source(lower);
  ASSERT_TRUE(source.ready());
  o.source = dir_ / "lower/vol";
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  const Fd fd(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM);
  Bytes out(4096);
  ASSERT_EQ(::pread(fd.get(), out.data(), out.size(), 0), 4096);  // its file is open now
  ::posix_fadvise(Fd(::open(below.c_str(), O_RDONLY | O_CLOEXEC)).get(), 0, 0, POSIX_FADV_DONTNEED);
  const pid_t worker = source.worker();
  ::kill(worker, SIGSTOP);
  for (int i = 0; i < 5000 && !is_stopped(worker); ++i) std::this_thread::sleep_for(1ms);
  ASSERT_TRUE(is_stopped(worker));
  std::atomic<bool> read = false;
  std::jthread waiting([&] { read = ::pread(fd.get(), out.data(), out.size(), 4096 * 700) == 4096; });
  std::this_thread::sleep_for(200ms);
  EXPECT_FALSE(read);
  auto others = std::async(std::launch::async, [&] { return read_text(dir_ / "mnt/.stats").has_value(); });
  EXPECT_EQ(others.wait_for(5s), std::future_status::ready);
  ::kill(worker, SIGCONT);
  EXPECT_TRUE(others.get());
  waiting.join();
  EXPECT_TRUE(read);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), weights_.begin() + 4096 * 700));
}

TEST_F(Mounts, AKilledSupervisorLeavesNoMount) {
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  (void)m.stop(SIGKILL);
  const std::int64_t until = monotonic_ms() + 5000;
  while (is_mounted(dir_ / "mnt") && monotonic_ms() < until) std::this_thread::sleep_for(5ms);
  EXPECT_FALSE(is_mounted(dir_ / "mnt"));
}

TEST_F(Mounts, ABusyMountGoesAtOnceForNewUsers) {
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  const Fd busy(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(m.stop(SIGTERM), kExitOk);
  EXPECT_FALSE(is_mounted(dir_ / "mnt"));
  Bytes out(4096);
  EXPECT_EQ(::pread(busy.get(), out.data(), out.size(), 4'000'000), -1);
}

TEST_F(Mounts, DamageIsEioAroundGoodData) {
  const fs::path file = stored("a/weights");
  change(file, 18 + 4128 * 700 + 100);  // block 700
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  const Fd fd(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  Bytes out(4096);
  for (const std::uint64_t block : {0UL, 699UL, 701UL, 1000UL}) {
    ASSERT_EQ(::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(block * 4096)), 4096) << block;
    EXPECT_TRUE(std::equal(out.begin(), out.end(), weights_.begin() + static_cast<std::ptrdiff_t>(block * 4096)));
  }
  EXPECT_EQ(::pread(fd.get(), out.data(), out.size(), 700 * 4096), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_FALSE(read_file(dir_ / "mnt/a/weights"));
}

TEST_F(Mounts, FailClosedStopsEveryRead) {
  change(stored("a/weights"), 18 + 4128 * 700 + 100);
  MountOptions o = options();
  o.fail_closed = true;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  EXPECT_FALSE(read_file(dir_ / "mnt/a/weights"));
  EXPECT_FALSE(read_file(dir_ / "mnt/config.json"));
}

TEST_F(Mounts, VerifyFullComparesBeforeServing) {
  MountOptions o = options();
  o.verify = Verify::full;
  o.expect_root = digest_;
  {
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
    struct stat status{};
    ASSERT_EQ(::stat((dir_ / "mnt/a/weights").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0444U);
  }
  o.mode = Mode::resident;  // verified while it is decrypted into memory: the ciphertext is read once
  {
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    fs::rename(dir_ / "vol", dir_ / "gone");
    EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
    fs::rename(dir_ / "gone", dir_ / "vol");
  }
  change(stored("a/weights"), 18 + 4128 * 700 + 100);
  EXPECT_EQ(Mounted(o).code(), kExitRefused);
  change(stored("a/weights"), 18 + 4128 * 700 + 100);
  o.mode = Mode::streaming;
  o.expect_root = "sha384:" + std::string(96, '0');
  EXPECT_EQ(Mounted(o).code(), kExitRefused);
  o.expect_root = digest_;
  fs::resize_file(stored("a/weights"), 18 + 4128 * 100);  // a cut that the format cannot see
  EXPECT_EQ(Mounted(o).code(), kExitRefused);
}

// The format would take another file's ciphertext of the same size; a verified mount does not, not even a new worker.
TEST_F(Mounts, VerifiedFilesCannotBeExchangedAfterwards) {
  put(dir_ / "src/a/twin", crypto::random_bytes(weights_.size()));
  fs::remove_all(dir_ / "vol");
  ASSERT_TRUE(encrypt_model(encrypting(dir_ / "src", dir_ / "vol")));
  const fs::path weights = stored("a/weights"), twin = stored("a/twin");
  MountOptions o = options();
  for (const Verify verify : {Verify::none, Verify::full}) {
    o.verify = verify;
    const Bytes good = read_file(weights).value(), other = read_file(twin).value();
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    const auto exchange = [&](const Bytes& bytes) {
      std::fstream f(weights, std::ios::in | std::ios::out | std::ios::binary);
      f.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    exchange(other);
    ::kill(m.worker(), SIGKILL);
    std::this_thread::sleep_for(200ms);
    EXPECT_EQ(read_file(dir_ / "mnt/a/weights").has_value(), verify == Verify::none);
    exchange(good);
  }
}

// The format takes an older version of a block; a mount with seals does not, at whatever time it was put there.
TEST_F(Mounts, SealsCompareWhatIsRead) {
  fs::remove_all(dir_ / "vol");
  auto encrypt = encrypting(dir_ / "src", dir_ / "vol");
  encrypt.seals = true;
  const auto report = encrypt_model(encrypt);
  ASSERT_TRUE(report) << report.error().text();
  const fs::path file = stored("a/weights");
  const Bytes now = read_file(file).value();
  Bytes then = now;
  {
    const OpenVolume v = open_volume(dir_ / "vol");
    const auto id = gocryptfs::parse_header(ByteView(now).first(18)).value();
    const std::size_t at = v.volume.layout().block_offset(700);
    (void)v.volume.content().seal_blocks(crypto::random_bytes(4096), 700, id, std::span(then).subspan(at, 4128));
  }
  MountOptions o = options();
  o.expect_root = measured_form(report->digest);
  for (const Mode mode : {Mode::streaming, Mode::resident, Mode::bounded}) {
    o.mode = mode;
    put(file, now);
    o.verify = Verify::seal;
    {
      Mounted m(o);
      ASSERT_TRUE(m.ready());
      EXPECT_EQ(read_file(dir_ / "mnt/a/weights").value(), weights_);
      EXPECT_EQ(read_text(dir_ / "mnt/config.json").value(), "{}\n");
      EXPECT_EQ(fs::read_symlink(dir_ / "mnt/link"), "a/weights");
    }
    put(file, then);
    {
      Mounted m(o);  // nothing is read before it is asked for
      ASSERT_TRUE(m.ready());
      EXPECT_FALSE(read_file(dir_ / "mnt/a/weights"));
      EXPECT_EQ(read_text(dir_ / "mnt/config.json").value(), "{}\n");
    }
    o.verify = Verify::full;
    EXPECT_EQ(Mounted(o).code(), kExitRefused);
  }
  put(file, now);
  o.expect_root = digest_;  // the model as it was without seals
  EXPECT_EQ(Mounted(o).code(), kExitRefused);
}

TEST_F(Mounts, SealsMustBeThere) {
  MountOptions o = options();
  o.verify = Verify::seal;
  EXPECT_EQ(Mounted(o).code(), kExitOther);
}

TEST_F(Mounts, BoundedReadsInAnyOrder) {
  put(dir_ / "src/second", crypto::random_bytes(9'000'001));
  fs::remove_all(dir_ / "vol");
  ASSERT_TRUE(encrypt_model(encrypting(dir_ / "src", dir_ / "vol")));
  const Bytes second = read_file(dir_ / "src/second").value();
  MountOptions o = options();
  o.mode = Mode::bounded;
  o.cache_mib = 4;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  std::atomic<int> wrong = 0;
  const auto reader = [&](const char* name, const Bytes& right, std::uint64_t state) {
    const Fd fd(::open((dir_ / name).c_str(), O_RDONLY | O_CLOEXEC));
    Bytes out(1'500'000);
    for (int i = 0; i < 100; ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      const std::size_t at = (state >> 16) % right.size(), want = 1 + (state >> 40) % (i % 4 == 0 ? out.size() : 9000);
      const auto got = ::pread(fd.get(), out.data(), want, static_cast<off_t>(at));
      if (got != static_cast<ssize_t>(std::min(want, right.size() - at)) ||
          !std::equal(out.begin(), out.begin() + got, right.begin() + static_cast<std::ptrdiff_t>(at)))
        ++wrong;
    }
  };
  {
    std::vector<std::jthread> readers;
    for (std::uint64_t i = 0; i < 4; ++i)
      readers.emplace_back(
          [&, i] { reader(i % 2 == 0 ? "mnt/a/weights" : "mnt/second", i % 2 == 0 ? weights_ : second, i); });
    readers.emplace_back([&] {
      for (int i = 0; i < 3; ++i)
        if (const auto bytes = read_file(dir_ / "mnt/second"); !bytes || *bytes != second) ++wrong;
    });
  }
  EXPECT_EQ(wrong, 0);
  const Fd fd(::open((dir_ / "mnt/a/weights").c_str(), O_RDONLY | O_CLOEXEC));
  void* map = ::mmap(nullptr, weights_.size(), PROT_READ, MAP_PRIVATE, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_TRUE(equal(ByteView(static_cast<const std::uint8_t*>(map), weights_.size()), weights_));
  ::munmap(map, weights_.size());
  const std::string stats = read_text(dir_ / "mnt/.stats").value();
  EXPECT_NE(stats.find("\ncachefs_cache_hits "), std::string::npos);
  const auto bytes = std::stoull(stats.substr(stats.find("\ncachefs_cache_bytes ") + 21));
  EXPECT_GT(bytes, 0U);
  EXPECT_LE(bytes, 4U << 20);
}

TEST_F(Mounts, StatsAreFreshAndNotListed) {
  for (const Mode mode : {Mode::streaming, Mode::resident}) {
    MountOptions o = options();
    o.mode = mode;
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    const auto reads = [&] {
      const std::string text = read_text(dir_ / "mnt/.stats").value();
      return std::stoull(text.substr(text.find("\ncachefs_source_reads ") + 22));
    };
    const auto before = reads();
    EXPECT_EQ(read_text(dir_ / "mnt/config.json").value(), "{}\n");
    EXPECT_GT(reads(), before);
    ::kill(m.worker(), SIGKILL);
    EXPECT_GE(reads(), before);
    for (const auto& e : fs::directory_iterator(dir_ / "mnt")) EXPECT_NE(e.path().filename(), ".stats");
  }
}

// One request, its answer's status and body.
std::string ask(const fs::path& socket, const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(socket.string(), address.sun_path);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return "no answer";
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  if (::write(fd.get(), request.data(), request.size()) != std::ssize(request)) return "no answer";
  std::string out(1U << 20, '\0');
  std::size_t size = 0;
  for (ssize_t n = 0; (n = ::read(fd.get(), out.data() + size, out.size() - size)) > 0;)
    size += static_cast<std::size_t>(n);
  out.resize(size);
  return out.substr(std::min(out.size(), std::string("HTTP/1.1 ").size()));
}

TEST_F(Mounts, TheStatusSocketTellsReadinessAndProgress) {
  MountOptions o = options();
  o.mode = Mode::resident;
  o.preload = 100;
  o.status = "unix:" + (dir_ / "status").string();
  {
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    EXPECT_TRUE(ask(dir_ / "status", "/livez").starts_with("200"));
    EXPECT_TRUE(ask(dir_ / "status", "/readyz").starts_with("200"));
    EXPECT_TRUE(ask(dir_ / "status", "/other").starts_with("404"));
    const std::string answer = ask(dir_ / "status", "/status");
    const Json status = parse_json(answer.substr(answer.find("\r\n\r\n") + 4)).value();
    EXPECT_EQ(status.at("mode"), "resident");
    EXPECT_EQ(status.at("files").at(0).at("path"), "a/weights");
    EXPECT_EQ(status.at("files").at(0).at("loaded"), weights_.size());
    EXPECT_NE(ask(dir_ / "status", "/metrics").find("\ncachefs_resident_bytes " + std::to_string(weights_.size())),
              std::string::npos);
    struct stat socket{};
    ASSERT_EQ(::stat((dir_ / "status").c_str(), &socket), 0);
    EXPECT_EQ(socket.st_mode & 0777, 0600U);
  }
  EXPECT_FALSE(fs::exists(dir_ / "status"));
  change(stored("a/weights"), 18 + 4128 * 700 + 100);
  o.mode = Mode::streaming;
  o.fail_closed = true;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  EXPECT_TRUE(ask(dir_ / "status", "/readyz").starts_with("200"));
  EXPECT_FALSE(read_file(dir_ / "mnt/a/weights"));
  EXPECT_TRUE(ask(dir_ / "status", "/readyz").starts_with("503"));
}

TEST_F(Mounts, WhatTheManifestDoesNotListIsNotShown) {
  {
    const OpenVolume v = open_volume(dir_ / "vol");
    const auto iv = gocryptfs::parse_dir_iv(read_file(dir_ / "vol/gocryptfs.diriv").value()).value();
    put(dir_ / "vol" / v.volume.disk_name("x.lock", iv)->name, "");
  }
  MountOptions o = options();
  {
    Mounted m(o);
    EXPECT_TRUE(fs::exists(dir_ / "mnt/x.lock"));
  }
  o.verify = Verify::full;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  EXPECT_FALSE(fs::exists(dir_ / "mnt/x.lock"));
  for (const auto& e : fs::directory_iterator(dir_ / "mnt")) EXPECT_NE(e.path().filename(), "x.lock");
}

TEST_F(Mounts, RefusalsHaveTheirExitCodes) {
  MountOptions o = options();
  put(dir_ / "bad", "no\n");
  o.passfile = dir_ / "bad";
  EXPECT_EQ(Mounted(o).code(), kExitWrongPassword);
  o = options();
  o.mountpoint = dir_ / "missing";
  EXPECT_EQ(Mounted(o).code(), kExitMountPoint);
  o.mountpoint = dir_ / "src";  // not empty
  EXPECT_EQ(Mounted(o).code(), kExitMountPoint);
  o = options();
  o.source = dir_ / "src";
  EXPECT_EQ(Mounted(o).code(), kExitOther);  // no gocryptfs.conf
  o = options();
  o.passfile = dir_ / "missing";
  EXPECT_EQ(Mounted(o).code(), kExitPassword);
}

TEST_F(Mounts, ThePasswordFileIsWipedWhenAsked) {
  fs::create_hard_link(dir_ / "key", dir_ / "second");
  MountOptions o = options();
  o.wipe_passfile = true;
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  EXPECT_FALSE(fs::exists(dir_ / "key"));
  EXPECT_EQ(read_text(dir_ / "second").value(), "");
}

// Where nothing has attributes the kernel is told so, and does not ask for each file.
TEST_F(Mounts, NoAttributesAnywhere) {
  Mounted m(options());
  ASSERT_TRUE(m.ready());
  for (const char* name : {"mnt/config.json", "mnt/a"}) {
    EXPECT_EQ(::listxattr((dir_ / name).c_str(), nullptr, 0), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
  }
}

TEST_F(Mounts, SharedAttributes) {
  UNPACK_OR_SKIP(path, dir_, "generated/xattr");
  put(dir_ / "testkey", "test");
  const Json raw =
      parse_json(read_text(fs::path(CAIRN_SHARED_DATA) / "gocryptfs/generated/xattr-raw.json").value()).value();
  for (const auto& [name, attributes] : raw.items())
    for (const auto& [attribute, value] : attributes.items()) {
      const Bytes bytes = from_base64(value.get<std::string>()).value();
      if (::setxattr((path / name).c_str(), attribute.c_str(), bytes.data(), bytes.size(), 0) != 0)
        GTEST_SKIP() << "this file system keeps no extended attributes";
    }
  MountOptions o = options();
  o.source = path;
  o.passfile = dir_ / "testkey";
  Mounted m(o);
  ASSERT_TRUE(m.ready());
  std::string out(100, '\0');
  ASSERT_EQ(::getxattr((dir_ / "mnt/f").c_str(), "user.foo", out.data(), out.size()), 3);
  EXPECT_EQ(out.substr(0, 3), "bar");
  EXPECT_EQ(::getxattr((dir_ / "mnt/f").c_str(), "user.empty", out.data(), out.size()), 0);
  EXPECT_EQ(::getxattr((dir_ / "mnt/f").c_str(), "user.none", out.data(), out.size()), -1);
  EXPECT_EQ(errno, ENODATA);
  const ssize_t size = ::listxattr((dir_ / "mnt/f").c_str(), nullptr, 0);
  EXPECT_GT(size, 0);
}

}  // namespace
}  // namespace cairn::cachefs
