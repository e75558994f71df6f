#include "cachefs/supervisor.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <deque>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "cachefs/front.h"
#include "cachefs/mount_point.h"
#include "cachefs/status.h"
#include "cachefs/writer_front.h"

namespace cairn::cachefs {
namespace {

using namespace std::chrono_literals;

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
  return set;
}

// In the worker: when the supervisor is gone (PDEATHSIG) nobody else will unmount.
void watch_parent(const MountPoint& mount, pid_t parent) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  for (;;) {
    int signal = 0;
    if (::sigwait(&set, &signal) != 0) continue;
    if (::getppid() == parent) continue;  // the supervisor unmounts by itself
    mount.unmount();
    ::_exit(1);
  }
}

// A caller that reads our output to its end must not wait for as long as the mount lives. Later log lines go to
// syslog.
void leave_terminal() {
  spdlog::set_default_logger(spdlog::syslog_logger_mt("syslog", "cairn-cachefs", LOG_PID, LOG_DAEMON));
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) (void)::dup2(null.get(), fd);
}

// To whoever waits for the mount.
void announce(const MountOptions& o, const MountPoint& mount) {
  if (!mount.set_read_ahead(o.read_ahead_kb))
    spdlog::info("read-ahead stays at the kernel's default: /sys cannot be written");
  if (o.ready_fd >= 0) (void)write_all(o.ready_fd, as_bytes("ready\n"));
  if (o.notify_process > 0) (void)::kill(o.notify_process, SIGUSR1);
  if (!o.ready_file.empty()) (void)write_text(o.ready_file, "ready\n", 0644);
}

class Supervisor {
 public:
  Supervisor(Model& model, Resident* resident, MountPoint mount, StatusProcess& status)
      : model_(model), resident_(resident), mount_(std::move(mount)), status_(status) {}

  int run() {
    const sigset_t set = handled_signals();
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
    started_ms_ = monotonic_ms();
    int code = start_worker() ? watch() : static_cast<int>(kExitMountFailed);
    mount_.unmount();
    end_worker();
    if (!model_.options().ready_file.empty()) ::unlink(model_.options().ready_file.c_str());
    return code;
  }

 private:
  [[nodiscard]] bool start_worker() {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) return false;
    ready_ = Fd(pipe[0]);
    Fd tell(pipe[1]);
    const pid_t parent = ::getpid();
    worker_ = ::fork();
    if (worker_ == 0) worker(parent, std::move(tell));
    return worker_ > 0;
  }

  [[noreturn]] void worker(pid_t parent, Fd tell) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    signals_.reset();
    ready_.reset();
    std::thread([this, parent] { watch_parent(mount_, parent); }).detach();
    if (::getppid() != parent) {
      mount_.unmount();
      ::_exit(1);
    }
    const int code = serve(model_, resident_, mount_.device(), [&] {
      if (model_.options().detach) leave_terminal();
      (void)write_all(tell.get(), as_bytes("r"));
      tell.reset();
    });
    ::_exit(code);
  }

  // Until told to stop, or the mount is gone.
  int watch() {
    for (;;) {
      pollfd waiting[2] = {{signals_.get(), POLLIN, 0}, {ready_ ? ready_.get() : -1, POLLIN, 0}};
      const bool starting = !model_.shared().ready;
      const int n = ::poll(waiting, 2, starting || in_memory_ ? 1000 : -1);
      if (n < 0 && errno != EINTR) return kExitOther;
      if (starting && model_.options().preload == 0 &&
          monotonic_ms() - started_ms_ > std::chrono::milliseconds(kStartTime).count()) {
        spdlog::error("the mount did not come up in time");
        return kExitMountFailed;
      }
      if (in_memory_ && !mount_.mounted()) {  // FUSE would tell
        spdlog::info("unmounted from outside");
        return kExitOk;
      }
      if (n <= 0) continue;
      if ((waiting[1].revents & (POLLIN | POLLHUP)) != 0)
        if (const auto code = worker_ready()) return *code;
      if ((waiting[0].revents & POLLIN) == 0) continue;
      if (const auto code = on_signal()) return *code;
    }
  }

  // The exit code where it ends here.
  std::optional<int> worker_ready() {
    char byte = 0;
    const bool ready = ::read(ready_.get(), &byte, 1) == 1;
    ready_.reset();
    if (!ready || model_.shared().ready) return std::nullopt;
    if (const auto mounted = mount_memory(); !mounted) {
      spdlog::error("{}", mounted.error().text());
      return exit_code(mounted.error());
    }
    model_.shared().ready = true;
    announce(model_.options(), mount_);
    spdlog::info("serving {} files, {} MiB, on {} ({}{})", model_.tree().file_count(),
                 model_.tree().total_bytes() >> 20, mount_.path().string(), model_.volume().content().engine(),
                 std::string(", ") + mode_in_force(model_, resident_));
    if (model_.options().detach) leave_terminal();
    return std::nullopt;
  }

  // Where the kernel would copy every byte out of this process, the memory itself takes the mount's place: all is in
  // it, and nobody uses the mount yet.
  Result<void> mount_memory() {
    const MountOptions& o = model_.options();
    const bool wanted =
        o.serve == Serve::memory || (o.serve == Serve::automatic && o.preload == 100 && !model_.shared().passthrough);
    if (resident_ == nullptr || !wanted) return {};
    auto named = resident_->name_all();
    model_.source().rest();
    if (!named && o.serve == Serve::automatic) {
      spdlog::info("served by FUSE: {}", named.error().text());
      return {};
    }
    if (!named) return named;
    mount_.unmount();
    end_worker();
    CAIRN_CHECK(mount_.attach(resident_->file_system()));
    in_memory_ = true;
    const pid_t parent = ::getpid();
    worker_ = ::fork();  // only to unmount where this process dies
    if (worker_ != 0) return {};
    (void)::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (::getppid() == parent) watch_parent(mount_, parent);
    mount_.unmount();
    ::_exit(1);
  }

  std::optional<int> on_signal() {
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
    if (info.ssi_signo == SIGCHLD) return on_child();
    if (info.ssi_signo == SIGHUP) return std::nullopt;
    spdlog::info("stopping on signal {}", info.ssi_signo);
    return kExitOk;
  }

  std::optional<int> on_child() {
    int status = 0;
    status_.replace_if_ended();
    if (worker_ <= 0 || ::waitpid(worker_, &status, WNOHANG) != worker_) return std::nullopt;
    worker_ = -1;
    if (in_memory_) {
      spdlog::error("the process that would unmount after this one ended; giving up");
      return kExitOther;
    }
    if (!mount_.mounted()) {
      spdlog::info("unmounted from outside");
      return kExitOk;
    }
    const auto now = std::chrono::milliseconds(monotonic_ms());
    deaths_.push_back(now);
    while (now - deaths_.front() > kWorkerDeathsWindow) deaths_.pop_front();
    if (deaths_.size() > kWorkerDeathsMax) {
      spdlog::error("the worker died {} times within {} s; giving up", deaths_.size(), kWorkerDeathsWindow.count());
      return kExitOther;
    }
    ++model_.shared().restarts;
    spdlog::warn("the worker ended ({} {}); starting another", WIFSIGNALED(status) ? "signal" : "code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    std::this_thread::sleep_for(kWorkerRestartPause);
    if (start_worker()) return std::nullopt;
    return kExitOther;
  }

  // The unmounted worker ends by itself once its last reader is gone; it is not waited for longer than that.
  void end_worker() {
    if (worker_ <= 0) return;
    if (in_memory_) ::kill(worker_, SIGKILL);  // it serves nobody
    const std::int64_t until = monotonic_ms() + std::chrono::milliseconds(kDrainTime).count();
    while (monotonic_ms() < until) {
      if (::waitpid(worker_, nullptr, WNOHANG) == worker_) {
        worker_ = -1;
        return;
      }
      std::this_thread::sleep_for(10ms);
    }
    ::kill(worker_, SIGKILL);
    ::waitpid(worker_, nullptr, 0);
    worker_ = -1;
  }

  Model& model_;
  Resident* resident_;
  MountPoint mount_;
  Fd signals_, ready_;
  StatusProcess& status_;
  pid_t worker_ = -1;
  bool in_memory_ = false;  // nothing is served: the mount is the memory
  std::int64_t started_ms_ = 0;
  std::deque<std::chrono::milliseconds> deaths_;
};

}  // namespace

int exit_code(const Error& error) {
  if (error.where == "password") return kExitPassword;
  switch (error.code) {
    case ErrorCode::unauthenticated: return kExitWrongPassword;
    case ErrorCode::unsupported: return kExitUnsupported;
    case ErrorCode::crypto_failed: return kExitRefused;
    case ErrorCode::invalid_argument: return kExitUsage;
    default: return kExitOther;
  }
}

namespace {
int refuse_mount(const Error& error) {
  spdlog::error("{}", error.text());
  return exit_code(error);
}

int refuse_mount_point(const Error& error) {
  spdlog::error("{}", error.text());
  return error.code == ErrorCode::invalid_argument || error.code == ErrorCode::not_found ? kExitMountPoint
                                                                                         : kExitMountFailed;
}

int verify_and_serve(Model& model, Resident* resident, StatusProcess& status) {
  const auto verified = model.verify_contents(resident != nullptr ? resident->reader() : ReadFn{});
  if (!verified) return refuse_mount(verified.error());
  (void)::malloc_trim(0);  // what parsing needed is not needed again, least of all in every worker
  auto mount = MountPoint::mount(model.options());
  if (!mount) return refuse_mount_point(mount.error());
  return Supervisor(model, resident, std::move(*mount), status).run();
}
// One process: where it dies the mount is dead too, as with gocryptfs.
int run_writable(const MountOptions& options, const VolumeKey& key) {
  const auto opened = open_writable(options, key);
  if (!opened) return refuse_mount(opened.error());
  const auto mount = MountPoint::mount(options);
  if (!mount) return refuse_mount_point(mount.error());
  const sigset_t set = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([&point = *mount, set, file = options.ready_file] {
    for (int signal = 0; ::sigwait(&set, &signal) == 0;) {
      if (signal != SIGTERM && signal != SIGINT) continue;
      spdlog::info("stopping on signal {}", signal);
      point.unmount();
      std::this_thread::sleep_for(kDrainTime);  // somebody still uses it: he gets errors from here on
      if (!file.empty()) ::unlink(file.c_str());
      ::_exit(kExitOk);
    }
  }).detach();
  const bool served = serve_writable(options, opened->volume, opened->root.get(), mount->device(), [&] {
    announce(options, *mount);
    spdlog::info("serving {} for reading and writing on {}", options.source.string(), mount->path().string());
    if (options.detach) leave_terminal();
  });
  if (!served) spdlog::error("the kernel's file system connection did not start");
  mount->unmount();
  if (!options.ready_file.empty()) ::unlink(options.ready_file.c_str());
  return served ? static_cast<int>(kExitOk) : static_cast<int>(kExitMountFailed);
}
}  // namespace

int run_mount(const MountOptions& options) {
  if (const auto good = check_mount_options(options); !good) return refuse_mount(good.error());
  auto key = take_password(options);
  return key ? run_mount(options, std::move(*key)) : refuse_mount(key.error());
}

int run_mount(const MountOptions& options, VolumeKey key) {
  if (options.read_write) return run_writable(options, key);
  auto model = Model::open(options, key);
  key = {};  // wiped: only the derived keys are kept
  if (!model) return refuse_mount(model.error());
  auto resident = Resident::make(**model);
  if (!resident) return refuse_mount(resident.error());
  StatusProcess status(**model, resident->get());
  return verify_and_serve(**model, resident->get(), status);
}

}  // namespace cairn::cachefs
