#include "cachefs/status.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/log.h"
#include "net/http_server.h"

namespace cairn::cachefs {
namespace {

struct Counter {
  const char* name;
  const char* type;
  const char* help;
  const std::atomic<std::uint64_t> SharedState::* value;
};
constexpr Counter kCounters[] = {
    {"cachefs_source_reads", "counter", "Reads of ciphertext that were decrypted", &SharedState::reads},
    {"cachefs_source_bytes", "counter", "Plaintext bytes decrypted", &SharedState::read_bytes},
    {"cachefs_lookups", "counter", "Names looked up", &SharedState::lookups},
    {"cachefs_failures", "counter", "Reads and entries that were damaged or missing", &SharedState::failures},
    {"cachefs_worker_restarts", "counter", "Workers that died and were replaced", &SharedState::restarts},
    {"cachefs_resident_bytes", "gauge", "Plaintext in memory (resident mode)", &SharedState::resident_bytes},
    {"cachefs_resident_total_bytes", "gauge", "Plaintext to be in memory", &SharedState::resident_total},
    {"cachefs_passthrough_opens", "counter", "Opens of files in memory that the kernel reads by itself",
     &SharedState::passthrough_opens},
    {"cachefs_streamed_files", "counter",
     "Files that were opened before they were in memory, and are left to their readers", &SharedState::streamed_files},
    {"cachefs_cache_bytes", "gauge", "Plaintext in the cache (bounded mode)", &SharedState::cache_bytes},
    {"cachefs_cache_hits", "counter", "Reads answered from the cache", &SharedState::cache_hits},
    {"cachefs_cache_misses", "counter", "Reads that had to wait for the source", &SharedState::cache_misses},
    {"cachefs_prefetched_bytes", "counter", "Plaintext decrypted ahead of its readers", &SharedState::prefetched_bytes},
};

}  // namespace

const char* mode_in_force(const Model& model, const Resident* resident) {
  if (resident != nullptr) return "resident";
  return model.options().mode == Mode::bounded ? "bounded" : "streaming";
}

bool is_ready(const Model& model) { return model.shared().ready && !model.shared().poisoned; }

Json status_json(const Model& model, const Resident* resident, bool names) {
  const SharedState& shared = model.shared();
  Json out = {{"ready", is_ready(model)},
              {"refusing", shared.poisoned.load()},
              {"mode", mode_in_force(model, resident)},
              {"engine", model.volume().content().engine()},
              {"manifest", model.digest()},
              {"model_files", model.tree().file_count()},
              {"model_bytes", model.tree().total_bytes()},
              {"files", Json::array()}};
  for (const Counter& c : kCounters) out[std::string(c.name).substr(8)] = (shared.*c.value).load();
  for (const SourceCounter& c : model.source().counters()) out[c.name] = c.value;
  if (resident == nullptr) return out;
  for (const auto& p : resident->progress())
    out["files"].push_back(
        {{"path", printable(names ? model.tree().path(p.node) : model.tree().disk_path(p.node), 8192)},
         {"size", p.size},
         {"loaded", p.loaded}});
  return out;
}

std::string metrics_text(const Model& model) {
  std::string out = "# HELP cachefs_ready Whether the mount serves\n# TYPE cachefs_ready gauge\ncachefs_ready ";
  out += is_ready(model) ? "1\n" : "0\n";
  for (const Counter& c : kCounters) {
    const std::string name = c.name;
    out += "# HELP " + name + " " + c.help + "\n# TYPE " + name + " " + c.type + "\n" + name + " " +
           std::to_string((model.shared().*c.value).load()) + "\n";
  }
  for (const SourceCounter& c : model.source().counters()) {
    const std::string name = std::string("cachefs_") + c.name;
    out += "# HELP " + name + " " + c.help + "\n# TYPE " + name + " counter\n" + name + " " + std::to_string(c.value) +
           "\n";
  }
  return out;
}

namespace {

net::Handler answer(std::function<net::Response(net::Exchange&)> make) {
  return net::responder([make = std::move(make)](net::Exchange& e) -> net::Task<net::Response> { co_return make(e); });
}

// Until the process ends; returns only with an error.
Result<void> serve_status(const Model& model, const Resident* resident) {
  CAIRN_TRY(const net::Endpoint endpoint, net::Endpoint::parse(model.options().status));
  net::Router router;
  router.add("GET", "/livez", answer([](net::Exchange&) { return net::Response::text(200, "ok"); }));
  router.add("GET", "/readyz", answer([&](net::Exchange&) {
               return is_ready(model) ? net::Response::text(200, "ok") : net::Response::text(503, "not ready");
             }));
  router.add("GET", "/metrics", answer([&](net::Exchange&) { return net::Response::text(200, metrics_text(model)); }));
  // Plain names are for those who may open the socket's file, not for the network.
  router.add("GET", "/status", answer([&, names = endpoint.is_unix()](net::Exchange&) {
               return net::Response::json(200, compact_json(status_json(model, resident, names)) + "\n");
             }));
  net::Runtime runtime({.loops = 1, .workers = 1, .signals = false});
  return runtime.run([&](net::Runtime& r) -> net::Task<> {
    net::HttpServer server(r, std::move(router), {.max_connections = kStatusConnectionsMax});
    CAIRN_CO_TRY(const auto bound, server.listen(endpoint));
    spdlog::info("status on {}", bound.text());
    CAIRN_CO_CHECK(co_await r.stop_requested());
    co_return co_await server.stop(net::Milliseconds(0));
  });
}

}  // namespace

StatusProcess::StatusProcess(const Model& model, const Resident* resident) : model_(model), resident_(resident) {
  start();
}

StatusProcess::~StatusProcess() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  const auto endpoint = net::Endpoint::parse(model_.options().status);
  if (endpoint && endpoint->is_unix()) ::unlink(endpoint->path.c_str());
}

void StatusProcess::start() {
  if (model_.options().status.empty()) return;
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ != 0) return;
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(1);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (const auto served = serve_status(model_, resident_); !served) spdlog::error("status: {}", served.error().text());
  std::this_thread::sleep_for(kStatusRestartPause);  // before the next one tries
  ::_exit(1);
}

void StatusProcess::replace_if_ended() {
  if (process_ <= 0 || ::waitpid(process_, nullptr, WNOHANG) != process_) return;
  spdlog::error("the status server ended; starting another");
  start();
}

}  // namespace cairn::cachefs
