#include "cli/up/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"

namespace cairn::cli {
namespace {

std::filesystem::path scratch() {
  static const auto dir = [] {
    auto d = std::filesystem::temp_directory_path() / ("cairn_process_test." + std::to_string(::getpid()));
    std::filesystem::create_directories(d);
    return d;
  }();
  return dir;
}
ProcessSpec shell(std::string script) {
  return {.name = "shell",
          .argv = {"/bin/sh", "-c", std::move(script)},
          .environment = {"X=1"},
          .log = scratch() / "log",
          .root = {},
          .binds = {}};
}

TEST(Process, RunsAndTellsHowItEnded) {
  auto p = Process::start(shell("echo \"X is $X\"; echo 'error: it broke' >&2; exit 3"));
  ASSERT_TRUE(p) << p.error().text();
  const auto status = p->wait(5000);
  ASSERT_TRUE(status);
  EXPECT_EQ(describe_status(*status), "exit code 3");
  EXPECT_NE(read_text(p->log())->find("X is 1"), std::string::npos);
  EXPECT_EQ(last_error_line(p->log()), "error: it broke");
}

TEST(Process, InheritsNothingButWhatIsNamed) {
  ::setenv("CAIRN_TEST_SECRET", "leak", 1);
  auto spec = shell("env");
  spec.log = scratch() / "env";
  auto p = Process::start(spec);
  ASSERT_TRUE(p && p->wait(5000));
  EXPECT_EQ(read_text(p->log())->find("leak"), std::string::npos);
}

TEST(Process, StopEndsTheWholeGroupEvenWhereTermIsIgnored) {
  auto spec = shell("trap '' TERM; sleep 1000 & echo $! ; wait; wait");
  spec.log = scratch() / "stubborn";
  auto p = Process::start(spec);
  ASSERT_TRUE(p);
  std::string text;
  for (int i = 0; i < 200 && text.find('\n') == std::string::npos; ++i) {
    ::usleep(10'000);
    text = read_text(p->log()).value_or("");
  }
  const pid_t grandchild = std::stoi(text);
  const auto started = monotonic_ms();
  p->stop(200);
  EXPECT_LT(monotonic_ms() - started, 3000);
  for (int i = 0; i < 100 && ::kill(grandchild, 0) == 0; ++i) ::usleep(10'000);
  // Reparented and perhaps not yet reaped, but no longer running.
  const auto state = read_text("/proc/" + std::to_string(grandchild) + "/stat").value_or(") X");
  EXPECT_TRUE(state.find(") Z") != std::string::npos || state.find(") X") != std::string::npos);
}

TEST(Process, AProgramThatIsNotThereIsAnErrorAtStart) {
  auto spec = shell("");
  spec.argv = {"/nonexistent/program"};
  const auto p = Process::start(spec);
  ASSERT_FALSE(p);
  EXPECT_NE(p.error().message.find("No such file"), std::string::npos);
}

TEST(Process, CausesComeWithoutTheLogsPrefix) {
  auto p = Process::start(
      shell("echo '2026-11-22T04:02:28.220+00:00 error cairn-cachefs: the password is wrong' > /dev/stderr"));
  ASSERT_TRUE(p && p->wait(5000));
  EXPECT_EQ(last_error_line(p->log()), "the password is wrong");
}

TEST(Process, FreePortsAreFree) {
  const auto port = free_port();
  ASSERT_TRUE(port);
  EXPECT_FALSE(port_in_use(*port));
}

}  // namespace
}  // namespace cairn::cli
