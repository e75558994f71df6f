#include "cli/up/up.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "base/clock.h"
#include "base/file.h"
#include "cli/up/guardian.h"
#include "cli/up/result.h"
#include "device/tee.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

volatile sig_atomic_t g_stop = 0;

void request_stop(int) {
  if (g_stop != 0) ::_exit(130);  // asked twice: the guardian cleans up
  g_stop = 1;
}

fs::path default_state() {
  if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg != nullptr && *xdg == '/') return fs::path(xdg) / "cairn";
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/root") / ".local" / "state" / "cairn";
}

Result<fs::path> program_folder() {
  std::error_code ec;
  const auto self = fs::read_symlink("/proc/self/exe", ec);
  if (ec) return fail(errno_error(ec.value(), "/proc/self/exe", "cannot find the programs"));
  return self.parent_path();
}

// Everything that can be known to fail before anything is started.
Result<void> check_machine(const Session& s) {
  const UpOptions& o = s.options;
  if (::geteuid() != 0)
    return fail(ErrorCode::permission_denied, "cairn up",
                "it mounts file systems and records the loopback interface: run it as root");
  if (const Fd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC)); !fuse)
    return fail(
        errno_error(errno, "/dev/fuse",
                    "the encrypted model cannot be mounted (modprobe fuse, or give the container --device /dev/fuse)"));
  CAIRN_TRY(const auto choice, device::tee_choice_named(o.tee));
  if (choice != device::TeeChoice::simulated) {
    if (const auto tee = device::open_tee({.choice = choice, .simulator_dir = {}, .force_simulator = false}); !tee)
      return fail(
          Error(tee.error())
              .in("no TEE to run in; on a machine without one, --tee simulated shows everything but the hardware"));
  }
  const std::pair<std::uint16_t, const char*> ports[] = {
      {o.trustee_port, "--trustee-port"}, {o.proxy_port, "--proxy-port"}, {o.port, "--port"}};
  for (const auto& [port, option] : ports)
    if (port_in_use(port))
      return fail(ErrorCode::conflict, "127.0.0.1:" + std::to_string(port),
                  std::string("another program uses this port; stop it or choose another with ") + option);
  return {};
}

Result<void> bring_up(Session& s) {
  CAIRN_CHECK(check_machine(s));
  CAIRN_TRY(s.engine_port, free_port());
  CAIRN_CHECK(start_trustee(s));
  CAIRN_CHECK(prepare_model(s));
  CAIRN_CHECK(start_tee(s));
  if (const auto verdict = appraise(s); !verdict) {
    s.screen->failed("refused");
    if (s.refusal) CAIRN_CHECK(confirm_key_is_refused(s));
    return verdict;
  }
  CAIRN_CHECK(release_key_and_mount(s));
  CAIRN_CHECK(start_engine(s));
  CAIRN_CHECK(open_tunnel(s));
  return ask(s);
}

// Until told to stop; an error where a process ends by itself.
Result<void> stay_up(Session& s) {
  while (g_stop == 0) {
    std::vector<pollfd> watched;
    for (auto& p : s.processes) watched.push_back({p.pidfd(), POLLIN, 0});
    ::poll(watched.data(), watched.size(), 500);
    if (g_stop == 0) CAIRN_CHECK(s.all_running());
  }
  return {};
}

void stop_all(Session& s) {
  while (!s.processes.empty()) {
    s.processes.back().stop();
    s.processes.pop_back();
  }
}

void write_result(const Session& s, const std::optional<Error>& error) {
  if (s.options.json_file.empty()) return;
  if (const auto written = write_text(s.options.json_file, result_json(s, error).dump(2) + "\n"); !written)
    std::fprintf(stderr, "cairn: %s\n", written.error().text().c_str());
}

int report_failure(Session& s, const Error& error) {
  if (error.code == ErrorCode::cancelled) {
    s.screen->failed("stopped");
    return kExitOk;
  }
  if (s.refusal) {
    s.screen->failed("refused");
    std::fprintf(stderr, "cairn: refused: %s\n", s.refusal->sentence.c_str());
    return kExitRefused;
  }
  s.screen->failed("failed");
  std::fprintf(stderr, "cairn: %s\n", error.text().c_str());
  std::fprintf(stderr, "cairn: the logs of this run are in %s\n", s.logs.c_str());
  return kExitError;
}

void show_addresses(Session& s) {
  s.screen->heading("Verdict");
  s.screen->table(verdict_table(s));
  if (s.options.once) return;
  s.screen->heading("Serving");
  s.screen->table(
      {{"Protected service", "http://127.0.0.1:" + std::to_string(s.options.port) + "  (attested gateway only)"},
       {"HTTP proxy for clients", "http://127.0.0.1:" + std::to_string(s.options.proxy_port)},
       {"Trustee", s.trustee_url()}});
  s.screen->heading("Try");
  for (const auto& command : next_commands(s)) s.screen->line("  " + command);
  s.screen->line("\nCtrl-C stops and unmounts everything.");
}

int body(UpOptions options, const fs::path& run) {
  struct sigaction action{};
  action.sa_handler = request_stop;
  for (const int n : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(n, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  const std::int64_t started = monotonic_ms();
  Screen screen(::isatty(1) != 0);
  Session s;
  s.options = std::move(options);
  s.screen = &screen;
  s.run = run;
  s.stopping = [] { return g_stop != 0; };
  s.logs = s.options.state / "logs";
  const auto result = [&]() -> Result<void> {
    CAIRN_TRY(s.programs, program_folder());
    CAIRN_CHECK(make_dirs(s.options.state, 0700));
    CAIRN_CHECK(make_dirs(s.logs, 0700));
    screen.line("Cairn: confidential inference, attested before anything is released");
    if (s.options.tamper != Tamper::none) screen.line("Tampering on purpose: " + std::string(name(s.options.tamper)));
    return bring_up(s);
  }();
  s.timings.total = monotonic_ms() - started;
  if (!result) {
    write_result(s, result.error());
    const int code = report_failure(s, result.error());
    stop_all(s);
    return code;
  }
  write_result(s, std::nullopt);
  show_addresses(s);
  int code = kExitOk;
  if (!s.options.once) {
    if (const auto stayed = stay_up(s); !stayed) code = report_failure(s, stayed.error());
  }
  stop_all(s);
  screen.line("Stopped; nothing is left running or mounted.");
  return code;
}

}  // namespace

void add_up_options(CLI::App& app, UpOptions& o) {
  o.state = default_state();
  app.add_flag("--once", o.once, "stop after the first answer");
  app.add_option("--json", o.json_file, "write the machine-readable result to this file");
  app.add_option("--model", o.model,
                 "plain model to encrypt and serve, a file or a folder; afterwards not needed again");
  app.add_option("--prompt", o.prompt, "the first question")->capture_default_str();
  app.add_option("--max-tokens", o.max_tokens, "length of the first answer")->capture_default_str();
  app.add_option("--engine", o.engine_url, "URL of a running vLLM, Ollama or llama-server to stand behind the gateway");
  app.add_option("--engine-root", o.engine_root, "root folder that holds llama-server and its libraries");
  app.add_option("--engine-program", o.engine_program, "llama-server, as seen inside --engine-root, or on this machine")
      ->capture_default_str();
  app.add_flag("--trust-new-engine", o.trust_new_engine,
               "register the engine as it is now, replacing the one registered before");
  app.add_option("--tee", o.tee, "auto, tdx or simulated")->capture_default_str();
  app.add_option_function<std::string>(
      "--tamper",
      [&o](const std::string& word) {
        const auto tamper = tamper_named(word);
        if (!tamper) throw CLI::ValidationError(tamper.error().where, tamper.error().message);
        o.tamper = *tamper;
      },
      "break the machine on purpose and see it refused: model, engine, measurement, eventlog, quote, replay, root, "
      "tcb, key, mitm");
  app.add_option("--state", o.state, "folder for what is kept: ciphertext, trustee, logs")->capture_default_str();
  app.add_option("--port", o.port, "protected port of the inference service")->capture_default_str();
  app.add_option("--proxy-port", o.proxy_port, "HTTP proxy of the client's gateway")->capture_default_str();
  app.add_option("--trustee-port", o.trustee_port, "trustee")->capture_default_str();
}

int run_up(UpOptions options) {
  for (fs::path* p : {&options.model, &options.state, &options.json_file, &options.engine_root})
    if (!p->empty()) *p = fs::absolute(*p);
  const auto run = make_run_folder();
  if (!run) {
    std::fprintf(stderr, "cairn: %s\n", run.error().text().c_str());
    return kExitError;
  }
  return guarded(*run, [&] { return body(std::move(options), *run); });
}

}  // namespace cairn::cli
