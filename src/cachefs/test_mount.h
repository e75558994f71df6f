// A model mounted for real, in tests of this area.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/clock.h"
#include "base/test_folder.h"
#include "cachefs/store/test_data.h"
#include "cachefs/supervisor.h"

namespace cairn::cachefs::test {

inline bool is_mounted(const fs::path& path) {
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
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
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
    const OpenVolume v = open_volume(dir_ / "vol");
    return dir_ / "vol" / v.tree.disk_path(v.tree.find(path).value());
  }
  void change(const fs::path& file, std::size_t at) {
    Bytes bytes = read_file(file).value();
    bytes[at] ^= 1;
    put(file, bytes);
  }
  TestFolder dir_;
  Bytes weights_;
  std::string digest_;
};

}  // namespace cairn::cachefs::test
