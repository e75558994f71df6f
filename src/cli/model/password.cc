#include "cli/model/password.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/random.h"
#include "gocryptfs/config.h"

namespace cairn::cli {
namespace {

constexpr std::size_t kKeyFileMax = 64U << 10;

Result<Secret> first_line(Result<Secret> source) {
  if (!source) return source;
  bool more = false;
  auto out = gocryptfs::password_from(source->view(), &more);
  if (more) spdlog::warn("the key has more than one line; only the first is used");
  return out;
}

Result<Secret> make_key(const std::filesystem::path& path) {
  const Secret random = crypto::random_secret(32);
  Secret text = Secret::take(base64url(random.view()) + "\n");
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST)
    return fail(ErrorCode::already_exists, path.string(),
                "a key is there already; give it with --key-file to go on with it");
  if (!fd) return fail(errno_error(errno, path.string(), "cannot make the key file"));
  CAIRN_CHECK(write_all(fd.get(), text.view()));
  if (::fsync(fd.get()) != 0) return fail(errno_error(errno, path.string(), "cannot write the key file"));
  return gocryptfs::password_from(text.view());
}

// Without echo.
Result<Secret> ask(const char* prompt) {
  const Fd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC));
  termios before{};
  if (!terminal || ::tcgetattr(terminal.get(), &before) != 0)
    return fail(ErrorCode::invalid_argument, "key", "give it with --key-file FILE or --key-stdin");
  (void)write_all(terminal.get(), as_bytes(prompt));
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  (void)::tcsetattr(terminal.get(), TCSAFLUSH, &silent);
  Secret line(gocryptfs::kPasswordMax + 1);
  std::size_t size = 0;
  while (size < line.size() && ::read(terminal.get(), line.mutable_view().data() + size, 1) == 1 &&
         line.view()[size] != '\n')
    ++size;
  (void)::tcsetattr(terminal.get(), TCSAFLUSH, &before);
  (void)write_all(terminal.get(), as_bytes("\n"));
  return gocryptfs::password_from(line.view().first(size));
}

}  // namespace

void add_key_options(CLI::App& app, KeySource& source, bool with_new) {
  auto* file = app.add_option("--key-file", source.file, "file whose first line is the password");
  auto* in = app.add_flag("--key-stdin", source.standard_input,
                          "read the password from standard input, up to the first line feed");
  file->excludes(in);
  if (with_new)
    app.add_option("--new-key", source.new_file, "make this file with a random password")->excludes(file)->excludes(in);
}

Result<Secret> take_key(const KeySource& source, bool confirm) {
  if (!source.new_file.empty()) return make_key(source.new_file);
  if (!source.file.empty()) return first_line(read_secret(source.file, kKeyFileMax));
  if (source.standard_input) return first_line(read_secret("/dev/stdin", kKeyFileMax));
  CAIRN_TRY(Secret once, ask("Password: "));
  if (!confirm) return once;
  CAIRN_TRY(const Secret twice, ask("Again: "));
  if (!constant_time_equal(once.view(), twice.view()))
    return fail(ErrorCode::invalid_argument, "key", "the two passwords differ");
  return once;
}

}  // namespace cairn::cli
