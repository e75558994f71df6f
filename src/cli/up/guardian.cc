#include "cli/up/guardian.h"

#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "base/file.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

volatile sig_atomic_t g_child = 0;

void pass_on(int signal) {
  if (g_child > 0) ::kill(g_child, signal);
}

bool in_memory(const char* folder) {
  struct statfs info{};
  return ::statfs(folder, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) &&
         ::access(folder, W_OK) == 0;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const std::string text = entry.path().filename().string();
    if (!std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) continue;
    const auto stat = read_text(entry.path() / "stat", 4096);
    if (!stat) continue;
    const std::size_t at = stat->rfind(") ");
    // "pid (name) state ppid …": the name may hold anything, so look from its last parenthesis.
    if (at != std::string::npos && at + 4 < stat->size() && std::atoi(stat->c_str() + at + 4) == parent)
      out.push_back(std::atoi(text.c_str()));
  }
  return out;
}

// Orphans of the child come to this process (it is their subreaper): end them until none is left.
void end_descendants() {
  for (int round = 0; round < 100; ++round) {
    const auto left = children_of(::getpid());
    for (const pid_t pid : left) ::kill(pid, round < 20 ? SIGTERM : SIGKILL);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (left.empty()) return;
    ::usleep(50'000);
  }
}

std::vector<std::string> mounts_below(const std::string& folder) {
  std::vector<std::string> out;
  const auto text = read_text("/proc/self/mounts").value_or("");
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::size_t from = text.find(' ', at) + 1, to = text.find(' ', from);
    const std::string point = text.substr(from, to - from);
    if (point == folder || point.starts_with(folder + "/")) out.push_back(point);
    at = end + 1;
  }
  return out;
}

}  // namespace

Result<fs::path> make_run_folder() {
  for (const char* parent : {"/run", "/dev/shm"}) {
    if (!in_memory(parent)) continue;
    std::string path = std::string(parent) + "/cairn-up.XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) return fs::path(path);
  }
  return fail(ErrorCode::unavailable, "/run",
              "neither /run nor /dev/shm is a writable file system in memory; the key may not touch a disk. Run as "
              "root, or: mount -t tmpfs tmpfs /run");
}

void remove_run_folder(const fs::path& folder) {
  // Nested mounts come later in the list.
  auto points = mounts_below(folder.string());
  std::ranges::reverse(points);
  for (const auto& point : points) ::umount2(point.c_str(), MNT_DETACH);
  std::error_code ec;
  if (mounts_below(folder.string()).empty()) fs::remove_all(folder, ec);
}

int guarded(const fs::path& folder, const std::function<int()>& body) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t guardian = ::getpid(), child = ::fork();
  if (child < 0) {
    std::perror("cairn: cannot fork");
    remove_run_folder(folder);
    return 1;
  }
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != guardian) ::_exit(1);
    ::setpgid(0, 0);  // what a terminal sends arrives once, through the guardian: twice means at once
    ::signal(SIGTTOU, SIG_IGN);
    const int code = body();
    if (::getppid() != guardian) remove_run_folder(folder);  // nobody else is left to do it
    std::fflush(nullptr);
    ::_exit(code);
  }
  g_child = child;
  struct sigaction action{};
  action.sa_handler = pass_on;
  for (const int s : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(s, &action, nullptr);
  int status = 0;
  while (true) {
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) break;
  }
  g_child = 0;
  end_descendants();
  remove_run_folder(folder);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  std::fprintf(stderr, "cairn: the run was killed by signal %d; everything it had started was stopped and unmounted\n",
               WTERMSIG(status));
  return 1;
}

}  // namespace cairn::cli
