#include "cli/up/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace cairn::cli {
namespace {

constexpr std::size_t kLogTail = 64U << 10;

// What the child does between fork and exec. Writes its errno and step to `report` where something fails.
[[noreturn]] void become(const ProcessSpec& spec, char* const* argv, char* const* environment, int log, int report,
                         pid_t parent) {
  const auto give_up = [&](const char* step) {
    std::string text = std::string(step) + ": " + std::strerror(errno);
    (void)!::write(report, text.data(), text.size());
    ::_exit(127);
  };
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  const int null = ::open("/dev/null", O_RDONLY);
  if (::dup2(null, 0) < 0 || ::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) give_up("cannot set up its output");
  if (!spec.root.empty()) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      give_up("cannot make a mount namespace");
    for (const auto& [outside, inside] : spec.binds) {
      const auto target = spec.root / inside.relative_path();
      if (::mount(outside.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
        give_up("cannot bind a folder into its root");
    }
    const auto proc = spec.root / "proc";
    (void)::mount("proc", proc.c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
    const auto dev = spec.root / "dev";
    (void)::mount("/dev", dev.c_str(), nullptr, MS_BIND | MS_REC, nullptr);
    if (::chroot(spec.root.c_str()) != 0 || ::chdir("/") != 0) give_up("cannot enter its root folder");
  }
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(argv[0], argv, environment);
  give_up("cannot execute it");
  ::_exit(127);
}

// "TIME level program: message" of our own logs -> "message".
std::string_view without_log_prefix(std::string_view line) {
  if (line.size() < 20 || line[4] != '-' || line[10] != 'T') return line;
  const std::size_t program = line.find(" cairn-");
  const std::size_t message = program == std::string_view::npos ? program : line.find(": ", program);
  return message == std::string_view::npos ? line : line.substr(message + 2);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Result<Process> Process::start(const ProcessSpec& spec) {
  const Fd log(::open(spec.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return fail(errno_error(errno, spec.log.string(), "cannot open the log of " + spec.name));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, spec.name, "cannot make a pipe"));
  const Fd report_in(ends[0]);
  Fd report_out(ends[1]);

  std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                          "LANG=C.UTF-8", "HOME=/root"};
  environment.insert(environment.end(), spec.environment.begin(), spec.environment.end());
  const auto argv = pointers(spec.argv), envp = pointers(environment);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return fail(errno_error(errno, spec.name, "cannot fork"));
  if (pid == 0) become(spec, argv.data(), envp.data(), log.get(), report_out.get(), parent);

  Process out;
  out.name_ = spec.name;
  out.log_ = spec.log;
  out.pid_ = pid;
  out.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  report_out.reset();
  char text[512];
  const ssize_t n = ::read(report_in.get(), text, sizeof text);
  if (n > 0) {
    (void)out.wait(1000);
    return fail(ErrorCode::io_failed, spec.name, std::string(text, static_cast<std::size_t>(n)));
  }
  if (!out.pidfd_) return fail(errno_error(errno, spec.name, "cannot watch the process"));
  return out;
}

Process::Process(Process&& other) noexcept
    : name_(std::move(other.name_)),
      log_(std::move(other.log_)),
      pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      status_(other.status_) {}
Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    stop();
    name_ = std::move(other.name_);
    log_ = std::move(other.log_);
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    status_ = other.status_;
  }
  return *this;
}
Process::~Process() { stop(); }

std::optional<int> Process::ended() {
  if (status_ || pid_ < 0) return status_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

Result<int> Process::wait(std::int64_t timeout_ms) {
  const std::int64_t deadline = monotonic_ms() + timeout_ms;
  for (;;) {
    if (const auto status = ended()) return *status;
    const std::int64_t left = deadline - monotonic_ms();
    if (left <= 0)
      return fail(ErrorCode::timed_out, name_, "still running after " + std::to_string(timeout_ms) + " ms");
    pollfd watched{pidfd_.get(), POLLIN, 0};
    // Without a pidfd (it failed to open) look again every 20 ms.
    ::poll(&watched, pidfd_ ? 1 : 0, static_cast<int>(pidfd_ ? left : std::min<std::int64_t>(left, 20)));
  }
}

void Process::stop(std::int64_t grace_ms) {
  if (pid_ < 0) return;
  if (!ended()) {
    ::kill(pid_, SIGTERM);
    if (!wait(grace_ms)) ::kill(-pid_, SIGKILL);
    (void)wait(2000);
  }
  ::kill(-pid_, SIGKILL);  // what it may have left in its group
  pid_ = -1;
}

std::string describe_status(int status) {
  if (WIFEXITED(status)) return "exit code " + std::to_string(WEXITSTATUS(status));
  if (WIFSIGNALED(status))
    return "signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
  return "status " + std::to_string(status);
}

std::string last_error_line(const std::filesystem::path& log) {
  const auto whole = read_text(log, kFileMax);
  if (!whole) return {};
  std::string_view text = *whole;
  if (text.size() > kLogTail) text.remove_prefix(text.size() - kLogTail);
  std::string_view last, error;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    last = line;
    for (const std::string_view mark : {" error ", "error:", "Error", "cannot", "failed"})
      if (line.find(mark) != std::string_view::npos) error = line;
  }
  return printable(without_log_prefix(error.empty() ? last : error), 600);
}

bool port_in_use(std::uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const sockaddr_in address = loopback(port);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
}

Result<std::uint16_t> free_port() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return fail(errno_error(errno, "127.0.0.1", "no free port"));
  return ntohs(address.sin_port);
}

}  // namespace cairn::cli
