#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "cli/up/engine.h"
#include "cli/up/owner.h"
#include "net/http.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kEngineStartMs = 600'000;  // loading a large model takes minutes
constexpr std::string_view kModelInside = "/model";
constexpr std::string_view kProbe = "/health";

// Where the engine sees the model: in its root folder under /model, else at the mount itself.
fs::path model_as_seen(const Session& s) {
  return (s.options.engine_root.empty() ? s.mount_dir() : fs::path(kModelInside)) / s.model.file;
}

// Name and version as the engine tells them; empty where it does not.
std::string version_of(const Session& s, const ProcessSpec& engine) {
  ProcessSpec spec = engine;
  spec.argv = {engine.argv.front(), "--version"};
  spec.log = s.logs / "engine-version.log";
  std::error_code ec;
  fs::remove(spec.log, ec);
  auto p = Process::start(spec);
  if (!p || !p->wait(10'000)) return {};
  const auto text = read_text(spec.log).value_or("");
  const std::size_t at = text.find("version: ");
  return at == std::string::npos ? std::string() : printable(text.substr(at + 9, text.find('\n', at) - at - 9), 80);
}

Result<void> use_running_engine(Session& s) {
  CAIRN_TRY(const auto url, net::Url::parse(s.options.engine_url));
  if (url.secure())
    return fail(ErrorCode::unsupported, "--engine",
                "an https engine cannot stand behind the gateway; give its http:// address");
  s.screen->begin("Engine " + url.authority());
  for (const char* path : {"/v1/models", "/health", "/api/version"}) {
    const auto answer = http("GET", url.under(path).text(), {}, {}, 5'000);
    if (!answer) return fail(Error(answer.error()).in("the engine at " + s.options.engine_url + " does not answer"));
    if (answer->status == 200) {
      s.engine_address = url.host + ":" + std::to_string(url.port);
      s.outcome.engine_name = engine_name(s.options);
      s.outcome.engine_url = s.options.engine_url;
      s.screen->done("answers " + std::string(path));
      return {};
    }
  }
  return fail(ErrorCode::unavailable, s.options.engine_url,
              "something answers there, but not as an inference engine does");
}

}  // namespace

std::string engine_name(const UpOptions& options) {
  if (!options.engine_url.empty()) return "external";
  return options.engine_program.filename().string();
}

fs::path engine_program(const UpOptions& options) {
  return options.engine_root.empty() ? options.engine_program
                                     : options.engine_root / options.engine_program.relative_path();
}

Result<std::vector<fs::path>> engine_files(const UpOptions& options) {
  const fs::path program = engine_program(options);
  std::error_code ec;
  if (!fs::is_regular_file(program, ec))
    return fail(ErrorCode::not_found, program.string(),
                "there is no engine there; give --engine URL, --engine-root FOLDER or --engine-program FILE "
                "(./quickstart fetches an unmodified llama-server)");
  std::vector<fs::path> out{program};
  if (!options.engine_root.empty()) {
    for (const auto& entry : fs::recursive_directory_iterator(options.engine_root / "usr" / "lib", ec))
      if (entry.is_regular_file() && !entry.is_symlink() &&
          entry.path().filename().string().find(".so") != std::string::npos)
        out.push_back(entry.path());
    if (ec) return fail(errno_error(ec.value(), options.engine_root.string(), "cannot read the engine's folder"));
  }
  std::ranges::sort(out);
  return out;
}

std::vector<std::string> engine_arguments(const Session& s) {
  return {s.options.engine_program.string(),
          "--model",
          model_as_seen(s).string(),
          "--host",
          "127.0.0.1",
          "--port",
          std::to_string(s.engine_port),
          "--alias",
          s.model.name,
          "--no-webui"};
}

Result<void> start_engine(Session& s) {
  const std::int64_t started = monotonic_ms();
  if (!s.options.engine_url.empty()) return use_running_engine(s);
  s.screen->begin("Engine " + engine_name(s.options));
  ProcessSpec spec{.name = engine_name(s.options),
                   .argv = engine_arguments(s),
                   .environment = {},
                   .log = s.logs / "engine.log",
                   .root = s.options.engine_root,
                   .binds = {}};
  std::error_code ec;
  fs::remove(spec.log, ec);
  if (!spec.root.empty()) spec.binds.emplace_back(s.mount_dir(), kModelInside);
  if (!s.engine_replacement.empty()) spec.binds.emplace_back(s.engine_replacement, s.options.engine_program);
  s.outcome.engine_version = version_of(s, spec);
  CAIRN_TRY(auto process, Process::start(spec));
  s.processes.push_back(std::move(process));
  s.engine_address = "127.0.0.1:" + std::to_string(s.engine_port);
  const std::string health = "http://" + s.engine_address + std::string(kProbe);
  CAIRN_CHECK(s.wait_until("loading the model", kEngineStartMs, [&] {
    const auto answer = http("GET", health, {}, {}, 2'000);
    return answer && answer->status == 200;
  }));
  s.outcome.engine_name = engine_name(s.options);
  s.outcome.engine_url = "http://" + s.engine_address;
  s.timings.engine_ready = monotonic_ms() - started;
  s.screen->done(s.outcome.engine_version);
  return {};
}

}  // namespace cairn::cli
