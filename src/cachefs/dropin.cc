#include "cachefs/dropin.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/encoding.h"
#include "base/log.h"
#include "cachefs/dropin_options.h"
#include "cachefs/store/check.h"
#include "cachefs/store/init.h"
#include "cachefs/supervisor.h"
#include "crypto/random.h"

namespace cairn::cachefs {
namespace {

namespace fs = std::filesystem;
using Action = DropinOptions::Action;

constexpr int kExitInit = 7, kExitLoadConfig = 8, kExitMasterKey = 14, kExitWriteConfig = 24, kExitFsck = 26;
constexpr std::size_t kPassfileRead = gocryptfs::kPasswordMax + 2;

int refuse(const Error& error, int code) {
  std::fprintf(stderr, "%s\n", error.code == ErrorCode::unauthenticated ? "Password incorrect." : error.text().c_str());
  return code;
}
int refuse(const Error& error) { return refuse(error, exit_code(error)); }

// The first line of a descriptor, byte by byte: what follows stays for the next reader.
Result<Secret> first_line(int fd) {
  Secret line(gocryptfs::kPasswordMax + 1);
  std::size_t size = 0;
  while (size < line.size()) {
    const ssize_t n = ::read(fd, line.mutable_view().data() + size, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || line.view()[size] == '\n') break;
    ++size;
  }
  return gocryptfs::password_from(line.view().first(size));
}

Result<Secret> from_program(const std::string& words) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t blank = std::min(words.find(' ', at), words.size());
    if (blank > at) parts.push_back(words.substr(at, blank - at));
    at = blank + 1;
  }
  std::vector<char*> argv;
  for (auto& p : parts) argv.push_back(p.data());
  argv.push_back(nullptr);
  int pipe[2];
  if (parts.empty() || ::pipe2(pipe, O_CLOEXEC) != 0)
    return fail(ErrorCode::invalid_argument, "password", "-extpass names no program");
  const Fd out(pipe[0]);
  Fd in(pipe[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    (void)::dup2(in.get(), STDOUT_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  in.reset();
  auto line = first_line(out.get());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0)
    return fail(ErrorCode::unavailable, "password", "the program of -extpass failed");
  return line;
}

Result<Secret> from_files(const std::vector<fs::path>& files) {
  Secret all(files.size() * kPassfileRead);
  std::size_t size = 0;
  for (const auto& path : files) {
    auto source = read_secret(path);
    if (!source) return fail(source.error().code, "password", source.error().text());
    bool more = false;
    CAIRN_TRY(const Secret line, gocryptfs::password_from(source->view(), &more));
    if (more) spdlog::warn("{}: only the first line is used", path.string());
    std::ranges::copy(line.view(), all.mutable_view().begin() + static_cast<std::ptrdiff_t>(size));
    size += line.size();
  }
  return gocryptfs::password_from(all.view().first(size));
}

Result<Secret> password(const DropinOptions& o) {
  if (!o.passfiles.empty()) return from_files(o.passfiles);
  if (!o.extpass.empty()) return from_program(o.extpass);
  if (::isatty(STDIN_FILENO) == 1) std::fprintf(stderr, "Password: ");
  return first_line(STDIN_FILENO);
}

Result<VolumeKey> volume_key(const DropinOptions& o) {
  VolumeKey key;
  if (o.zero_key) {
    key.master_key = Secret(gocryptfs::kMasterKeySize);
  } else if (!o.master_key.empty()) {
    Secret text = Secret(as_bytes(o.master_key));
    if (o.master_key == "stdin") {
      CAIRN_TRY(text, first_line(STDIN_FILENO));
    }
    std::string digits(as_text(text.view()));
    std::erase(digits, '-');
    auto bytes = from_hex(digits);
    wipe(digits.data(), digits.size());
    if (!bytes || bytes->size() != gocryptfs::kMasterKeySize)
      return fail(ErrorCode::invalid_argument, "master key", "must be 64 hexadecimal digits");
    key.master_key = Secret::take(std::move(*bytes));
  } else {
    CAIRN_TRY(key.password, password(o));
  }
  return key;
}

bool folder_missing(const DropinOptions& o) {
  std::error_code ec;
  if (fs::is_directory(o.paths[0], ec)) return false;
  std::fprintf(stderr, "Invalid cipherdir: %s is not a folder\n", o.paths[0].c_str());
  return true;
}
OpenOptions where(const DropinOptions& o) { return {.source = o.paths[0], .config = o.config}; }

int run_init(const DropinOptions& o) {
  std::error_code ec;
  if (folder_missing(o)) return kExitCipherDir;
  if (!fs::is_empty(o.paths[0], ec))
    return refuse(Error{ErrorCode::already_exists, o.paths[0], "is not empty"}, kExitCipherDir);
  const auto secret = password(o);
  if (!secret) return refuse(secret.error(), kExitPassword);
  const auto made = init_volume(o.paths[0], secret->view(), o.features, static_cast<std::uint8_t>(o.long_name_max),
                                o.log_n, o.config);
  if (!made) return refuse(made.error(), made.error().code == ErrorCode::unsupported ? kExitUsage : kExitInit);
  if (!o.quiet)
    std::printf("The volume has been created.\nMount it with: gocryptfs %s MOUNTPOINT\n", o.paths[0].c_str());
  return kExitOk;
}

int run_passwd(const DropinOptions& o) {
  if (folder_missing(o)) return kExitCipherDir;
  const auto config = read_config(where(o));
  if (!config) return refuse(config.error());
  const auto old_password = password(o);
  if (!old_password) return refuse(old_password.error(), kExitPassword);
  const auto key = gocryptfs::unwrap_master_key(*config, old_password->view());
  if (!key) return refuse(key.error());
  const auto fresh = first_line(STDIN_FILENO);
  if (!fresh) return refuse(fresh.error(), kExitPassword);
  auto changed = gocryptfs::wrap_master_key(*key, fresh->view(), config->features, config->long_name_max, o.log_n);
  if (!changed) return refuse(changed.error());
  changed->creator = config->creator;
  const fs::path path = o.config.empty() ? fs::path(o.paths[0]) / gocryptfs::kConfName : o.config;
  if (const auto written = write_text(path, gocryptfs::write_config(*changed), 0400); !written)
    return refuse(written.error(), kExitWriteConfig);
  if (!o.quiet) std::printf("Password changed.\n");
  return kExitOk;
}

int run_info(const DropinOptions& o) {
  const auto c = read_config(where(o));
  if (!c) return refuse(c.error(), kExitLoadConfig);
  const auto mode = c->features.has(gocryptfs::Feature::xchacha)   ? gocryptfs::ContentMode::xchacha
                    : c->features.has(gocryptfs::Feature::aes_siv) ? gocryptfs::ContentMode::aes_siv
                                                                   : gocryptfs::ContentMode::aes_gcm;
  std::printf(
      "Creator:           %s\nFeatureFlags:      %s\nEncryptedKey:      %zuB\nScryptObject:      Salt=%zuB N=%llu R=%u "
      "P=%u KeyLen=32\ncontentEncryption: %s\n",
      printable(c->creator).c_str(), c->features.text().c_str(), c->encrypted_key.size(), c->scrypt.salt.size(),
      static_cast<unsigned long long>(c->scrypt.n), c->scrypt.r, c->scrypt.p,
      std::string(gocryptfs::name(mode)).c_str());
  return kExitOk;
}

int run_fsck(const DropinOptions& o) {
  if (folder_missing(o)) return kExitCipherDir;
  const auto config = read_config(where(o));
  if (!config) return refuse(config.error());
  const auto key = volume_key(o);
  if (!key) return refuse(key.error(), key.error().where == "master key" ? kExitMasterKey : kExitPassword);
  auto master = key->password.empty() ? Result<Secret>(key->master_key.clone())
                                      : gocryptfs::unwrap_master_key(*config, key->password.view());
  if (!master) return refuse(master.error());
  auto source = open_folder(o.paths[0]);
  if (!source) return refuse(source.error());
  const auto volume = open_volume(std::move(*source), *config, *master);
  if (!volume) return refuse(volume.error());
  const auto report = check_volume(*volume, gocryptfs::Holes::allow);
  if (!report) return refuse(report.error());
  for (const Damage& d : report->damage)
    std::printf("fsck: corrupt entry %s%s: %s\n", printable(d.disk_path, 8192).c_str(),
                d.offset ? (" at offset " + std::to_string(*d.offset)).c_str() : "", d.reason.c_str());
  if (report->clean()) {
    std::printf("fsck summary: no problems found\n");
    return kExitOk;
  }
  std::printf("fsck summary: %llu corrupt files, 0 files skipped\n", static_cast<unsigned long long>(report->damaged));
  return kExitFsck;
}

int run_speed() {
  constexpr std::size_t kRun = 256U << 10;
  constexpr std::chrono::milliseconds kFor{500};
  for (const auto mode :
       {gocryptfs::ContentMode::aes_gcm, gocryptfs::ContentMode::aes_siv, gocryptfs::ContentMode::xchacha}) {
    const auto cipher = gocryptfs::ContentCipher::create(
        mode, crypto::random_secret(mode == gocryptfs::ContentMode::aes_siv ? 64 : 32));
    if (!cipher) return refuse(cipher.error());
    const auto id = gocryptfs::random_file_id();
    Bytes plain(kRun), stored(cipher->sealed_size(kRun));
    (void)cipher->seal_blocks(plain, 0, id, stored);
    const auto started = std::chrono::steady_clock::now();
    std::uint64_t bytes = 0;
    while (std::chrono::steady_clock::now() - started < kFor &&
           cipher->open_blocks(stored, 0, id, gocryptfs::Holes::deny, plain))
      bytes += kRun;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    std::printf("%-20s %-16s %8.2f MB/s\n", std::string(gocryptfs::name(mode)).c_str(),
                std::string(cipher->engine()).c_str(), static_cast<double>(bytes) / seconds / 1e6);
  }
  return kExitOk;
}

// In the background unless -fg: the caller gets control back when the mount serves.
int run_mount_action(const DropinOptions& o) {
  if (folder_missing(o)) return kExitCipherDir;
  if (const auto config = read_config(where(o)); !config) return refuse(config.error());
  auto key = volume_key(o);
  if (!key) return refuse(key.error(), key.error().where == "master key" ? kExitMasterKey : kExitPassword);
  MountOptions m;
  m.source = o.paths[0];
  m.mountpoint = o.paths[1];
  m.config = o.config;
  m.allow_other = o.allow_other;
  m.nonempty = o.nonempty;
  m.all_features = true;
  m.holes = gocryptfs::Holes::allow;
  m.type = "gocryptfs";
  m.name = o.name;
  m.read_write = !o.read_only;
  if (o.read_only) m.mode = Mode::streaming;
  m.notify_process = o.notify_process;
  if (o.foreground) return run_mount(m, std::move(*key));
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return kExitOther;
  const Fd ready(pipe[0]);
  Fd tell(pipe[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    (void)::setsid();
    m.ready_fd = tell.get();
    m.detach = true;
    ::_exit(run_mount(m, std::move(*key)));
  }
  tell.reset();
  char byte = 0;
  if (::read(ready.get(), &byte, 1) == 1) {
    if (!o.quiet) std::printf("Filesystem mounted and ready.\n");
    return kExitOk;
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : kExitOther;
}

}  // namespace

int run_dropin(const std::vector<std::string>& words) {
  const auto o = parse_dropin(words);
  if (!o) return refuse(o.error(), kExitUsage);
  if (o->action == Action::version) {
    std::printf("gocryptfs (cairn-cachefs 0.1.0)\n");
    return kExitOk;
  }
  if (o->action == Action::help) {
    std::printf(
        "Usage: gocryptfs -init|-passwd|-info|-fsck [OPTIONS] CIPHERDIR\n   or  gocryptfs [OPTIONS] CIPHERDIR "
        "MOUNTPOINT\n");
    return kExitOk;
  }
  if (o->action == Action::speed) return run_speed();
  if (o->paths.size() != (o->action == Action::mount ? 2U : 1U)) {
    std::fprintf(stderr, "Wrong number of arguments. gocryptfs -h shows the usage.\n");
    return kExitUsage;
  }
  switch (o->action) {
    case Action::init: return run_init(*o);
    case Action::passwd: return run_passwd(*o);
    case Action::info: return run_info(*o);
    case Action::fsck: return run_fsck(*o);
    default: return run_mount_action(*o);
  }
}

}  // namespace cairn::cachefs
