#include "cli/up/session.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "crypto/hash.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kManifestFile = ".cairn-manifest.json";
constexpr std::size_t kChunk = 4U << 20;

Result<std::string> file_sha256(const fs::path& path, const std::function<void(std::uint64_t)>& progress,
                                std::uint64_t& done) {
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return fail(errno_error(errno, path.string(), "cannot read"));
  std::setvbuf(file, nullptr, _IONBF, 0);
  crypto::Hasher hasher(crypto::Hash::sha256);
  Bytes buffer(kChunk);
  std::size_t n = 0;
  while ((n = std::fread(buffer.data(), 1, buffer.size(), file)) > 0) {
    hasher.update(ByteView(buffer).first(n));
    done += n;
    if (progress) progress(done);
  }
  const int error = std::ferror(file) != 0 ? errno : 0;
  std::fclose(file);
  if (error != 0) return fail(errno_error(error, path.string(), "cannot read"));
  return hex(hasher.finish());
}

}  // namespace

Result<std::string> model_sha256(const fs::path& source, const std::function<void(std::uint64_t)>& progress) {
  std::uint64_t done = 0;
  if (!fs::is_directory(source)) return file_sha256(source, progress, done);
  std::vector<std::string> paths;
  std::error_code ec;
  for (const auto& entry : fs::recursive_directory_iterator(source, ec))
    if (entry.is_regular_file() && entry.path().filename() != kManifestFile)
      paths.push_back(entry.path().lexically_relative(source).string());
  if (ec) return fail(errno_error(ec.value(), source.string(), "cannot read the folder"));
  std::ranges::sort(paths);
  if (paths.size() == 1) return file_sha256(source / paths.front(), progress, done);
  std::string lines;
  for (const auto& path : paths) {
    CAIRN_TRY(const auto digest, file_sha256(source / path, progress, done));
    lines += digest + "  " + path + "\n";
  }
  return hex(crypto::sha256(as_bytes(lines)));
}

Result<Process*> Session::start(const std::string& program, std::vector<std::string> arguments,
                                std::vector<std::string> environment, const std::string& instance) {
  const fs::path path = programs / program;
  if (::access(path.c_str(), X_OK) != 0)
    return fail(ErrorCode::not_found, path.string(),
                "the program is missing: the build or the installation is not whole");
  const std::string title = instance.empty() ? program : program + " (" + instance + ")";
  const fs::path log = logs / ((instance.empty() ? program : program + "-" + instance) + ".log");
  std::error_code ec;
  fs::remove(log, ec);
  arguments.insert(arguments.begin(), path.string());
  CAIRN_TRY(auto process, Process::start({.name = title,
                                          .argv = std::move(arguments),
                                          .environment = std::move(environment),
                                          .log = log,
                                          .root = {},
                                          .binds = {}}));
  processes.push_back(std::move(process));
  return &processes.back();
}

Result<void> Session::all_running() {
  if (stopping && stopping()) return fail(ErrorCode::cancelled, "stopped on request");
  for (auto& p : processes) {
    if (const auto status = p.ended()) {
      const auto line = last_error_line(p.log());
      return fail(ErrorCode::unavailable, p.name(),
                  "ended unexpectedly with " + describe_status(*status) + (line.empty() ? "" : ": " + line));
    }
  }
  return {};
}

Result<void> Session::wait_until(std::string_view what, std::int64_t timeout_ms, const std::function<bool()>& ready) {
  const std::int64_t deadline = monotonic_ms() + timeout_ms;
  while (!ready()) {
    CAIRN_CHECK(all_running());
    if (monotonic_ms() > deadline)
      return fail(ErrorCode::timed_out, std::string(what),
                  "not ready after " + std::to_string(timeout_ms / 1000) + " s");
    ::usleep(5'000);
    if (screen != nullptr) screen->progress(what);
  }
  return {};
}

std::unexpected<Error> Session::refuse(std::string code, std::string sentence) {
  refusal = Refusal{code, sentence};
  return fail(ErrorCode::evidence_rejected, std::move(code), std::move(sentence));
}

}  // namespace cairn::cli
