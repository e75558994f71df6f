#include "tng/netfilter/install.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <cstring>

#include "base/log.h"

extern char** environ;  // NOLINT: POSIX

namespace cairn::tng {
namespace {

constexpr int ip6t_so_original_dst = 80;  // linux/netfilter_ipv6/ip6_tables.h does not compile beside netinet/in.h

struct Ended {
  int status;
  std::string output;  // standard error, at most 4 KiB
};

// Runs a tool with `input` on its standard input.
Result<Ended> run_tool(const std::vector<std::string>& command, const std::string& input) {
  std::array<int, 2> in{}, err{};
  if (pipe2(in.data(), O_CLOEXEC) != 0) return fail(errno_error(errno, "pipe", "create"));
  Fd in_read(in[0]), in_write(in[1]);
  if (pipe2(err.data(), O_CLOEXEC) != 0) return fail(errno_error(errno, "pipe", "create"));
  Fd err_read(err[0]), err_write(err[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in_read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, err_write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err_write.get(), 2);
  std::vector<std::string> copy = command;
  std::vector<char*> argv;
  for (auto& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return fail(errno_error(failed, command[0], "run"));
  in_read.reset();
  err_write.reset();
  (void)write_all(in_write.get(), as_bytes(input));  // a tool that ended early says why on standard error
  in_write.reset();
  Ended out{0, {}};
  std::array<char, 1024> buffer;
  for (ssize_t n = 0; (n = read(err_read.get(), buffer.data(), buffer.size())) > 0;)
    if (out.output.size() < 4096) out.output.append(buffer.data(), static_cast<std::size_t>(n));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return out;
}

Result<void> restore(const char* tool, const std::string& text) {
  if (text.empty()) return {};
  CAIRN_TRY(const Ended end, run_tool({tool, "--noflush", "--wait", "5"}, text));
  if (end.status == 0) return {};
  return fail(ErrorCode::permission_denied, tool,
              "the capture rules were refused (NET_ADMIN is needed): " + printable(end.output, 512));
}

template <class Address>
std::string address_text(int family, const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(family, &address, text, sizeof text);
  return text;
}

}  // namespace

bool ipv6_in_use() {
  auto text = read_text("/proc/net/if_inet6", 1U << 16);
  return text && !text->empty();
}

Result<Fd> claim_network_namespace() {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path + 1, "tng", 3);  // abstract
  if (!fd || bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), offsetof(sockaddr_un, sun_path) + 4) != 0) {
    if (errno == EADDRINUSE)
      return fail(ErrorCode::conflict, "netfilter",
                  "another gateway with netfilter blocks runs in this network namespace");
    return fail(errno_error(errno, "@tng", "bind"));
  }
  return fd;
}

void InstalledRules::clean(const RuleSet& rules) {
  for (const char* tool : {"iptables", "ip6tables"})
    for (const auto& arguments : rules.cleanup) {
      std::vector<std::string> command{tool, "-w", "5"};
      command.insert(command.end(), arguments.begin(), arguments.end());
      (void)run_tool(command, {});
    }
}

Result<InstalledRules> InstalledRules::install(RuleSet rules) {
  clean(rules);
  InstalledRules out(std::move(rules));
  CAIRN_CHECK(restore("iptables-restore", out.rules_.v4));
  if (ipv6_in_use()) CAIRN_CHECK(restore("ip6tables-restore", out.rules_.v6));
  return out;
}

InstalledRules::~InstalledRules() {
  if (!rules_.cleanup.empty()) clean(rules_);
}

Result<net::Endpoint> original_destination(const net::Stream& stream) {
  const int fd = stream.native_handle();
  sockaddr_in v4{};
  socklen_t size = sizeof v4;
  if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &v4, &size) == 0 && v4.sin_family == AF_INET)
    return net::Endpoint::tcp(address_text(AF_INET, v4.sin_addr), ntohs(v4.sin_port));
  sockaddr_in6 v6{};
  size = sizeof v6;
  if (getsockopt(fd, SOL_IPV6, ip6t_so_original_dst, &v6, &size) == 0)
    return net::Endpoint::tcp(address_text(AF_INET6, v6.sin6_addr), ntohs(v6.sin6_port));
  return fail(ErrorCode::not_found, "netfilter", "the connection was not redirected here");
}

}  // namespace cairn::tng
