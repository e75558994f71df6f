// The processes that `cairn up` starts, each with its log, none of which outlives it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace cairn::cli {

struct ProcessSpec {
  std::string name;                      // for messages: "cairn-aa"
  std::vector<std::string> argv;         // argv[0] is the path of the program, inside `root` where one is given
  std::vector<std::string> environment;  // "NAME=value", beside PATH, LANG and HOME; nothing else is inherited
  std::filesystem::path log;             // standard output and error are appended here
  // A root folder of its own: a mount namespace in which `binds` (outside, inside the folder) are visible read-only.
  std::filesystem::path root;
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> binds;
};

// A child process in a group of its own, ended when its parent dies and when this object is destroyed.
class Process {
 public:
  [[nodiscard]] static Result<Process> start(const ProcessSpec& spec);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::filesystem::path& log() const { return log_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }  // readable once the process has ended
  // The wait status once it has ended, without waiting.
  [[nodiscard]] std::optional<int> ended();
  // The wait status; timed_out where it still runs after `timeout_ms`.
  [[nodiscard]] Result<int> wait(std::int64_t timeout_ms);
  // SIGTERM, then SIGKILL to the whole group after `grace_ms`.
  void stop(std::int64_t grace_ms = 5000);

 private:
  Process() = default;
  std::string name_;
  std::filesystem::path log_;
  pid_t pid_ = -1;
  Fd pidfd_;
  std::optional<int> status_;
};

// "exit code 3", "signal 9 (Killed)".
[[nodiscard]] std::string describe_status(int status);
// The last lines of a log that look like an error, or its last line: for one-sentence causes.
[[nodiscard]] std::string last_error_line(const std::filesystem::path& log);
// Is something listening on (or holding) this TCP port of 127.0.0.1?
[[nodiscard]] bool port_in_use(std::uint16_t port);
// A TCP port of 127.0.0.1 that was free a moment ago.
[[nodiscard]] Result<std::uint16_t> free_port();

}  // namespace cairn::cli
