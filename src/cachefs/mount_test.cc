// The file system as its users see it: mounted for real, where root and /dev/fuse are there.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/clock.h"
#include "cachefs/store/test_data.h"
#include "cachefs/supervisor.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using namespace std::chrono_literals;

bool is_mounted(const fs::path& path) {
  return read_text("/proc/self/mountinfo").value().find(" " + path.string() + " ") != std::string::npos;
}

// A supervisor in a process of its own.
class Mounted {
 public:
  explicit Mounted(MountOptions options) : options_(std::move(options)) {
    options_.ready_file = options_.mountpoint.string() + ".ready";
    process_ = ::fork();
    if (process_ == 0) ::_exit(run_mount(options_));
    const std::int64_t until = monotonic_ms() + 20'000;
    while (!fs::exists(options_.ready_file) && monotonic_ms() < until && ::waitpid(process_, &status_, WNOHANG) == 0)
      std::this_thread::sleep_for(2ms);
    ready_ = fs::exists(options_.ready_file);
    if (!ready_) process_ = -1;
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  ~Mounted() {
    if (process_ > 0) (void)stop(SIGTERM);
    EXPECT_FALSE(is_mounted(options_.mountpoint));
  }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] int code() const { return WEXITSTATUS(status_); }
  int stop(int signal) {
    ::kill(process_, signal);
    ::waitpid(process_, &status_, 0);
    process_ = -1;
    return code();
  }
  [[nodiscard]] pid_t supervisor() const { return process_; }
  [[nodiscard]] pid_t worker() const {
    const std::string pid = std::to_string(process_);
    return static_cast<pid_t>(std::atoi(read_text("/proc/" + pid + "/task/" + pid + "/children").value().c_str()));
  }

 private:
  MountOptions options_;
  pid_t process_ = -1;
  int status_ = 0;
  bool ready_ = false;
};

class Mounts : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::access("/dev/fuse", R_OK | W_OK) != 0)
      GTEST_SKIP() << "mounting needs root and /dev/fuse";
    weights_ = crypto::random_bytes(5'000'123);
    put(dir_ / "src/config.json", "{}\n");
    put(dir_ / "src/a/weights", weights_);
    put(dir_ / "src/empty", "");
    put(dir_ / "src" / std::string(255, 'L'), "long");
    fs::create_symlink("a/weights", dir_ / "src/link");
    put(dir_ / "key", "pw\n");
    const auto report = encrypt_model(encrypting(dir_ / "src", dir_ / "vol"));
    ASSERT_TRUE(report) << report.error().text();
    digest_ = measured_form(report->digest);
    fs::create_directory(dir_ / "mnt");
  }
  [[nodiscard]] MountOptions options() const {
    MountOptions o;
    o.source = dir_ / "vol";
    o.mountpoint = dir_ / "mnt";
    o.passfile = dir_ / "key";
    o.mode = Mode::streaming;
    return o;
  }
  [[nodiscard]] fs::path stored(std::string_view path) const {
    const LocalVolume v = open_volume(dir_ / "vol");
    return dir_ / "vol" / v.tree.disk_path(v.tree.find(path).value());
  }
  void change(const fs::path& file, std::size_t at) {
    Bytes bytes = read_file(file).value();
    bytes[at] ^= 1;
    put(file, bytes);
  }
  TempDir dir_;
  Bytes weights_;
  std::string digest_;
};

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

TEST_F(Mounts, WhatTheManifestDoesNotListIsNotShown) {
  {
    const LocalVolume v = open_volume(dir_ / "vol");
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
