// Readers of all kinds while workers are killed and source files come and go: right bytes or an error, never wrong
// bytes, never a hang, no growth. CAIRN_SOAK_SECONDS makes it longer (1800 for the long run); each mode gets a third.
#include <sys/mman.h>
#include <sys/uio.h>

#include <random>

#include "cachefs/test_mount.h"

namespace cairn::cachefs {
namespace {
using namespace test;
using namespace std::chrono_literals;

constexpr std::int64_t kHangMs = 15'000;
#ifdef __SANITIZE_ADDRESS__
constexpr std::uint64_t kGrowthKib = 64 << 10;  // the sanitizer keeps what was freed for a while
#else
constexpr std::uint64_t kGrowthKib = 8 << 10;
#endif

std::chrono::milliseconds length_of_run() {
  const char* wanted = std::getenv("CAIRN_SOAK_SECONDS");
  return std::chrono::milliseconds(wanted == nullptr ? 12'000 : std::atol(wanted) * 1000);
}

struct Usage {
  std::uint64_t descriptors = 0, kib = 0;
};
Usage usage_of(pid_t process) {
  Usage out;
  std::error_code ec;
  const fs::path at = fs::path("/proc") / std::to_string(process);
  for (const auto& e : fs::directory_iterator(at / "fd", ec)) out.descriptors += e.path().empty() ? 0 : 1;
  const std::string text = read_text(at / "status").value_or("");
  if (const auto place = text.find("RssAnon:"); place != std::string::npos)
    out.kib = std::strtoull(text.c_str() + place + 8, nullptr, 10);
  return out;
}

class Soak : public Mounts {
 protected:
  void SetUp() override {
    Mounts::SetUp();
    if (IsSkipped()) return;
    plain_.emplace("a/weights", weights_);
    for (const std::size_t size : {0UL, 1UL, 4097UL, 1'048'576UL, 3'333'333UL}) {
      const std::string name = "f" + std::to_string(size);
      plain_.emplace(name, crypto::random_bytes(size));
      put(dir_ / "src" / name, plain_.at(name));
    }
    fs::remove_all(dir_ / "vol");
    auto encrypt = encrypting(dir_ / "src", dir_ / "vol");
    encrypt.seals = true;
    ASSERT_TRUE(encrypt_model(encrypt));
    for (const auto& [name, bytes] : plain_) {
      names_.push_back(name);
      stored_.push_back(stored(name));
    }
  }

  struct Counts {
    std::atomic<std::uint64_t> reads = 0, wrong = 0, errors = 0, slow = 0;
  };

  // One operation of a random kind; errors are counted, wrong bytes too.
  void one_read(std::mt19937_64& random, Counts& counts) {
    const std::string& name = names_[random() % names_.size()];
    const Bytes& right = plain_.at(name);
    const fs::path path = dir_ / "mnt" / name;
    const std::int64_t began = monotonic_ms();
    bool good = true, failed = false;
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
      failed = true;
    } else if (random() % 2 == 0) {
      (void)::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
    if (fd && random() % 3 == 0) {
      const auto whole = read_file(path);
      failed = !whole;
      good = failed || *whole == right;
    } else if (fd && random() % 2 == 0 && !right.empty()) {
      Bytes out(1 + random() % 300'000);
      const std::size_t at = random() % right.size();
      const ssize_t got = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(at));
      failed = got < 0;
      good = failed || std::equal(out.begin(), out.begin() + got, right.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (fd && !right.empty()) {
      // Through a mapping; read by the kernel, so that a page that cannot be had is an error and no signal.
      void* map = ::mmap(nullptr, right.size(), PROT_READ, MAP_PRIVATE, fd.get(), 0);
      failed = map == MAP_FAILED;
      if (!failed) {
        Bytes out(1 + random() % std::min<std::size_t>(right.size(), 100'000));
        const std::size_t at = random() % (right.size() - out.size() + 1);
        const iovec here{out.data(), out.size()}, there{static_cast<char*>(map) + at, out.size()};
        const ssize_t got = ::process_vm_readv(::getpid(), &here, 1, &there, 1, 0);
        failed = got < 0;
        good = failed || std::equal(out.begin(), out.begin() + got, right.begin() + static_cast<std::ptrdiff_t>(at));
        ::munmap(map, right.size());
      }
    }
    ++counts.reads;
    if (!good) ++counts.wrong;
    if (failed) ++counts.errors;
    if (monotonic_ms() - began > kHangMs) ++counts.slow;
  }

  void run(Mode mode, std::chrono::milliseconds length) {
    MountOptions o = options();
    o.mode = mode;
    o.verify = Verify::seal;
    o.cache_mib = 4;
    Mounted m(o);
    ASSERT_TRUE(m.ready());
    Counts counts;
    std::atomic<bool> stop = false;
    std::vector<std::jthread> readers;
    for (unsigned i = 0; i < 4; ++i)
      readers.emplace_back([&, i] {
        std::mt19937_64 random(i);
        while (!stop) one_read(random, counts);
      });
    const Usage before = usage_of(m.supervisor());
    std::mt19937_64 random(99);
    // The supervisor gives up after kWorkerDeathsMax deaths in a minute.
    const auto pause =
        std::max<std::chrono::milliseconds>(400ms, std::min<std::chrono::milliseconds>(length / 8, 3500ms));
    for (const std::int64_t until = monotonic_ms() + length.count() * 2 / 3; monotonic_ms() < until;) {
      const fs::path& gone = stored_[random() % stored_.size()];
      fs::rename(gone, dir_ / "away");
      std::this_thread::sleep_for(pause / 2);
      if (const pid_t worker = m.worker(); worker > 0) ::kill(worker, SIGKILL);
      std::this_thread::sleep_for(pause / 4);
      fs::rename(dir_ / "away", gone);
      std::this_thread::sleep_for(pause / 4);
    }
    // Quiet now: everything is there again, and nothing grows.
    std::this_thread::sleep_for(300ms);
    const std::uint64_t errors = counts.errors;
    const pid_t worker = m.worker();
    std::this_thread::sleep_for(length / 6);
    const Usage middle = usage_of(worker);
    std::this_thread::sleep_for(length / 6);
    const Usage after = usage_of(worker);
    stop = true;
    readers.clear();
    EXPECT_EQ(counts.errors, errors) << "errors though every file is back";
    EXPECT_EQ(counts.wrong, 0U);
    EXPECT_EQ(counts.slow, 0U);
    EXPECT_GT(counts.reads, 100U);
    EXPECT_EQ(m.worker(), worker);
    EXPECT_LE(after.descriptors, std::max<std::uint64_t>(middle.descriptors, stored_.size() + 16));
    EXPECT_LE(after.kib, middle.kib + kGrowthKib);
    const Usage supervisor = usage_of(m.supervisor());
    EXPECT_LE(supervisor.descriptors, before.descriptors + 2);
    EXPECT_LE(supervisor.kib, before.kib + 4 * 1024);
    for (const auto& [name, bytes] : plain_) EXPECT_EQ(read_file(dir_ / "mnt" / name).value(), bytes) << name;
    EXPECT_EQ(m.stop(SIGTERM), kExitOk);
    std::printf("%llu reads, %llu refused while their file was away\n",
                static_cast<unsigned long long>(counts.reads.load()), static_cast<unsigned long long>(errors));
    std::fflush(stdout);  // before the next mount forks
  }

  std::map<std::string, Bytes> plain_;
  std::vector<std::string> names_;
  std::vector<fs::path> stored_;
};

TEST_F(Soak, Streaming) { run(Mode::streaming, length_of_run() / 3); }
TEST_F(Soak, Bounded) { run(Mode::bounded, length_of_run() / 3); }
TEST_F(Soak, Resident) { run(Mode::resident, length_of_run() / 3); }

}  // namespace
}  // namespace cairn::cachefs
