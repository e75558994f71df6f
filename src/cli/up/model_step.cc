// The model: encrypted once, its plain copy not kept; afterwards only the ciphertext and a record of what it is.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "cachefs/store/encrypt.h"
#include "cli/up/owner.h"
#include "cli/up/session.h"
#include "crypto/random.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kPasswordBytes = 32;

struct Source {
  std::uint64_t files = 0, bytes = 0;
  std::string file;         // the one the engine loads
  std::string fingerprint;  // path, size and time of every file: tells cheaply whether anything changed
};

// What the engine is given: the only file, or the first shard of a split GGUF, or the only GGUF.
Result<std::string> file_to_load(const std::vector<std::string>& paths) {
  std::vector<std::string> gguf;
  for (const auto& p : paths)
    if (p.ends_with(".gguf") && (p.find("-of-") == std::string::npos || p.find("-00001-of-") != std::string::npos))
      gguf.push_back(p);
  if (gguf.size() == 1) return gguf.front();
  if (paths.size() == 1) return paths.front();
  return fail(ErrorCode::invalid_argument, "--model",
              gguf.empty()
                  ? "the folder holds no .gguf file, which llama-server needs; for other formats give --engine URL"
                  : "the folder holds several models; name one .gguf file");
}

Result<Source> inspect(const fs::path& model) {
  std::error_code ec;
  Source out;
  std::vector<fs::path> files;
  if (fs::is_regular_file(model, ec)) {
    files.push_back(model);
  } else if (fs::is_directory(model, ec)) {
    for (const auto& entry : fs::recursive_directory_iterator(model, ec))
      if (entry.is_regular_file()) files.push_back(entry.path());
  } else {
    return fail(ErrorCode::not_found, model.string(), "there is no such model; --model takes a file or a folder");
  }
  if (ec) return fail(errno_error(ec.value(), model.string(), "cannot read the model"));
  std::ranges::sort(files);
  std::vector<std::string> names;
  for (const auto& file : files) {
    struct stat info{};
    if (::stat(file.c_str(), &info) != 0 || ::access(file.c_str(), R_OK) != 0)
      return fail(errno_error(errno, file.string(), "cannot read the model"));
    if (info.st_size == 0 && files.size() == 1) return fail(ErrorCode::malformed, file.string(), "the model is empty");
    ++out.files;
    out.bytes += static_cast<std::uint64_t>(info.st_size);
    out.fingerprint += file.string() + ":" + std::to_string(info.st_size) + ":" + std::to_string(info.st_mtim.tv_sec) +
                       "." + std::to_string(info.st_mtim.tv_nsec) + "\n";
    names.push_back(files.size() == 1 && file == model ? file.filename().string()
                                                       : file.lexically_relative(model).string());
  }
  CAIRN_TRY(out.file, file_to_load(names));
  return out;
}

// A GGUF file begins with its magic; anything else with that ending is not one.
Result<void> check_magic(const fs::path& model, const std::string& file) {
  if (!file.ends_with(".gguf")) return {};
  const fs::path path = fs::is_directory(model) ? model / file : model;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char magic[4] = {};
  if (!fd || ::read(fd.get(), magic, 4) != 4 || std::string_view(magic, 4) != "GGUF")
    return fail(ErrorCode::malformed, path.string(), "this is not a GGUF model: it does not begin with GGUF");
  return {};
}

Result<void> check_space(const fs::path& folder, std::uint64_t bytes) {
  struct statvfs info{};
  if (::statvfs(folder.c_str(), &info) != 0)
    return fail(errno_error(errno, folder.string(), "cannot ask for free space"));
  const std::uint64_t free = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  if (free < 2 * bytes)
    return fail(ErrorCode::too_large, folder.string(),
                "not enough space: twice the model is needed (" + human_bytes(2 * bytes) + "), " + human_bytes(free) +
                    " are free. Another place: --state FOLDER");
  return {};
}

fs::path record_path(const Session& s) { return s.options.state / "model" / "record.json"; }

Result<ModelRecord> read_record(const Session& s, std::string* fingerprint) {
  CAIRN_TRY(const auto text, read_text(record_path(s)));
  CAIRN_TRY(const auto json, parse_json(text));
  Problems problems;
  Fields f(json, "record", problems);
  ModelRecord out;
  out.name = f.required<std::string>("name");
  out.file = f.required<std::string>("file");
  out.files = f.required<std::uint64_t>("files");
  out.bytes = f.required<std::uint64_t>("bytes");
  out.sha256_plain = f.required<std::string>("sha256_plain");
  out.manifest_digest = f.required<std::string>("manifest_digest");
  *fingerprint = f.value_or<std::string>("source", "");
  f.done();
  CAIRN_CHECK(problems.result());
  return out;
}

Result<void> write_record(const Session& s, const ModelRecord& r, const std::string& fingerprint) {
  const Json json = {{"name", r.name},
                     {"file", r.file},
                     {"files", r.files},
                     {"bytes", r.bytes},
                     {"sha256_plain", r.sha256_plain},
                     {"manifest_digest", r.manifest_digest},
                     {"source", fingerprint}};
  return write_text(record_path(s), json.dump(2) + "\n", 0600);
}

// A stop asked for while the work goes on ends it at the next progress report.
cachefs::ProgressFn shown(Session& s) {
  return [&s](const cachefs::Progress& p) {
    s.screen->progress(std::string(p.phase) + " " + human_bytes(p.bytes_done) + " of " + human_bytes(p.bytes_total));
    return !(s.stopping && s.stopping());
  };
}

Result<void> encrypt(Session& s, const Source& source) {
  CAIRN_CHECK(make_dirs(s.options.state / "model", 0700));
  CAIRN_CHECK(check_magic(s.options.model, source.file));
  CAIRN_CHECK(check_space(s.options.state, source.bytes));
  s.screen->begin("Encrypting the model");
  CAIRN_TRY(const auto plain, model_sha256(s.options.model, [&](std::uint64_t done) {
              s.screen->progress("hashing " + human_bytes(done) + " of " + human_bytes(source.bytes));
            }));
  // Stored with the key broker before the first block is written: no ciphertext ever lacks its key.
  const Bytes random = crypto::random_bytes(kPasswordBytes);
  const Secret password = Secret::take(base64url(random));
  CAIRN_CHECK(store_key(s, kKeyPath, password));
  std::error_code ec;
  fs::remove_all(s.cipher_dir(), ec);
  fs::remove_all(s.cipher_dir().string() + ".partial", ec);
  const std::string name = fs::path(source.file).stem().string();
  CAIRN_TRY(const auto report, cachefs::encrypt_model({.source = s.options.model,
                                                       .destination = s.cipher_dir(),
                                                       .password = password.clone(),
                                                       .name = name,
                                                       .progress = shown(s)}));
  s.model = {.name = name,
             .file = source.file,
             .files = source.files,
             .bytes = source.bytes,
             .sha256_plain = plain,
             .manifest_digest = hex(report.digest)};
  CAIRN_CHECK(write_record(s, s.model, source.fingerprint));
  s.screen->done(human_bytes(source.bytes) + ", key " + std::string(kKeyId));
  return {};
}

}  // namespace

Result<void> prepare_model(Session& s) {
  const std::int64_t started = monotonic_ms();
  if (s.options.model.empty() && !s.options.engine_url.empty()) return {};
  std::string fingerprint;
  const auto record = read_record(s, &fingerprint);
  const bool have = record && fs::exists(s.cipher_dir() / "gocryptfs.conf") && key_is_stored(s, kKeyPath);
  if (s.options.model.empty()) {
    if (!have)
      return fail(ErrorCode::invalid_argument, "--model",
                  "no model is encrypted yet; give --model FILE or FOLDER once (./quickstart fetches a small one)");
    s.model = *record;
  } else {
    CAIRN_TRY(const Source source, inspect(s.options.model));
    if (have && fingerprint == source.fingerprint) {
      s.model = *record;
    } else {
      CAIRN_CHECK(encrypt(s, source));
      s.timings.setup = monotonic_ms() - started;
      return {};
    }
  }
  s.screen->begin("Encrypted model");
  s.screen->done(s.model.name + ", " + human_bytes(s.model.bytes) + ", encrypted before");
  s.timings.setup = monotonic_ms() - started;
  return {};
}

}  // namespace cairn::cli
