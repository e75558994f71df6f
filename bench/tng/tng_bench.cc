// What the tunnel costs: requests per second, latency, throughput and event delay, straight to a server and through a
// pair of gateways, in one run. Each part is a process of its own, as in production: server with agent and attestation
// service, server gateway, client gateway, and the load.
//
//   tng_bench [--seconds N] [--connections N] [--wrap none|encap] [--no-ra] [--json FILE]
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <vector>

#include "base/log.h"
#include "net/http_client.h"
#include "tng/service/gateway.h"
#include "tng/service/test_peers.h"

namespace {

using namespace cairn;
using Clock = std::chrono::steady_clock;

struct Settings {
  int seconds = 3;
  int connections = 16;
  std::string wrap = "encap";
  bool no_ra = false;
};

std::int64_t now_ns() { return Clock::now().time_since_epoch().count(); }

// ------------------------------------------------------------------------------------------------- the processes

net::Task<> answer(net::Exchange& exchange) {
  const auto& head = exchange.request();
  if (head.path() == "/bulk") {
    std::size_t left = std::stoull(std::string(head.query()));
    const Bytes block(256U << 10, 'x');
    net::ResponseHead response;
    response.headers.add("Content-Length", std::to_string(left));
    CAIRN_CO_CHECK(co_await exchange.begin(std::move(response)));
    while (left > 0) {
      const std::size_t n = std::min(left, block.size());
      CAIRN_CO_CHECK(co_await exchange.write(ByteView(block).first(n)));
      left -= n;
    }
    co_return co_await exchange.end();
  }
  if (head.path() == "/events") {
    net::ResponseHead response;
    response.headers.add("Content-Type", "text/event-stream");
    CAIRN_CO_CHECK(co_await exchange.begin(std::move(response)));
    for (int i = 0; i < 200; ++i) {
      CAIRN_CO_CHECK(co_await net::sleep_for(net::Milliseconds(5)));
      CAIRN_CO_CHECK(co_await exchange.write("data: " + std::to_string(now_ns()) + "\n\n"));
    }
    co_return co_await exchange.end();
  }
  if (head.method == "POST") {
    std::vector<std::uint8_t> buffer(256U << 10);
    std::size_t total = 0;
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await exchange.read_some(buffer));
      if (n == 0) break;
      total += n;
    }
    co_return co_await exchange.respond(net::Response::text(200, std::to_string(total)));
  }
  co_return co_await exchange.respond(net::Response::text(200, "hello"));
}

// Runs `role` in a child that tells its line of text when it is ready; dies with the parent.
class Child {
 public:
  explicit Child(const std::function<net::Task<>(net::Runtime&, std::function<void(std::string)>)>& role) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      net::Runtime runtime({.loops = 1, .workers = 1});
      auto told = [&](std::string line) { (void)!write(ends[1], (line + "\n").data(), line.size() + 1); };
      auto end = runtime.run([&](net::Runtime& r) { return role(r, told); });
      if (!end) std::cerr << end.error().text() << "\n";
      _exit(end ? 0 : 1);
    }
    close(ends[1]);
    char c = 0;
    while (read(ends[0], &c, 1) == 1 && c != '\n') line_.push_back(c);
    close(ends[0]);
    if (line_.empty()) {
      std::cerr << "a process of the benchmark did not start\n";
      std::exit(1);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] const std::string& line() const { return line_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
  std::string line_;
};

net::Task<> serve_peers(net::Runtime& runtime, std::function<void(std::string)> told, std::filesystem::path socket) {
  tng::testing::FakeAgent agent(runtime, std::move(socket));
  tng::testing::FakeService service(runtime);
  net::HttpServer server(runtime, answer);
  CAIRN_CO_CHECK(agent.listen());
  CAIRN_CO_CHECK(service.listen());
  CAIRN_CO_TRY(const auto at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
  told(std::to_string(at.port) + " " + service.address() + " " + agent.address());
  co_return co_await runtime.stop_requested();
}

net::Task<> serve_gateway(net::Runtime& runtime, std::function<void(std::string)> told, std::string config,
                          bool ingress) {
  CAIRN_CO_TRY(auto parsed, tng::parse_config(config));
  CAIRN_CO_TRY(auto gateway, tng::Gateway::create(runtime, std::move(parsed)));
  CAIRN_CO_CHECK(co_await gateway->start());
  told(ingress ? gateway->ingress_address(0) : gateway->egress_address(0));
  co_return co_await runtime.stop_requested();
}

// -------------------------------------------------------------------------------------------------------- the load

struct Figures {
  double requests_per_s = 0, p50_ms = 0, p99_ms = 0, down_gbps = 0, up_gbps = 0, event_p50_us = 0, event_p99_us = 0;
};

net::RequestHead request(std::string method, const std::string& host, std::string target, bool proxy) {
  net::RequestHead head{
      .method = std::move(method), .authority = host, .target = std::move(target), .absolute_form = proxy};
  head.scheme = "http";
  return head;
}

net::Task<> one_client(net::Endpoint to, std::string host, bool proxy, std::int64_t until,
                       std::vector<double>& latencies) {
  CAIRN_CO_TRY(auto stream, co_await net::connect(to));
  net::Http1Connection connection(std::move(stream));
  std::array<std::uint8_t, 4096> buffer;
  while (now_ns() < until) {
    const std::int64_t begin = now_ns();
    CAIRN_CO_TRY(auto exchange, co_await connection.start(request("GET", host, "/", proxy), net::BodyKind::none));
    CAIRN_CO_TRY(const auto head, co_await exchange->head());
    if (head.status != 200) co_return fail(ErrorCode::internal, "HTTP " + std::to_string(head.status));
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await exchange->read_some(buffer));
      if (n == 0) break;
    }
    latencies.push_back(static_cast<double>(now_ns() - begin) / 1e6);
  }
  co_return Result<>{};
}

double at(std::vector<double>& values, double quantile) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(quantile * static_cast<double>(values.size() - 1))];
}

net::Task<> requests(Figures& out, const net::Endpoint& to, const std::string& host, bool proxy, const Settings& s) {
  for (const int clients : {1, s.connections}) {
    std::vector<double> latencies;
    const std::int64_t begin = now_ns(), until = begin + std::int64_t{s.seconds} * 1'000'000'000;
    net::TaskGroup group(co_await net::this_loop());
    for (int i = 0; i < clients; ++i) group.spawn(one_client(to, host, proxy, until, latencies), "client");
    co_await group.join();
    const double seconds = static_cast<double>(now_ns() - begin) / 1e9;
    if (clients == 1) {
      out.p50_ms = at(latencies, 0.5);
      out.p99_ms = at(latencies, 0.99);
    } else {
      out.requests_per_s = static_cast<double>(latencies.size()) / seconds;
    }
  }
  co_return Result<>{};
}

net::Task<> bulk(Figures& out, const net::Endpoint& to, const std::string& host, bool proxy) {
  constexpr std::size_t total = std::size_t{1} << 30;
  std::vector<std::uint8_t> buffer(256U << 10, 'x');
  CAIRN_CO_TRY(auto stream, co_await net::connect(to));
  net::Http1Connection connection(std::move(stream));
  std::int64_t begin = now_ns();
  {
    CAIRN_CO_TRY(auto exchange, co_await connection.start(request("GET", host, "/bulk?" + std::to_string(total), proxy),
                                                          net::BodyKind::none));
    CAIRN_CO_CHECK(co_await exchange->head());
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await exchange->read_some(buffer));
      if (n == 0) break;
    }
  }
  out.down_gbps = static_cast<double>(total) / static_cast<double>(now_ns() - begin);
  begin = now_ns();
  auto head = request("POST", host, "/", proxy);
  head.headers.add("Content-Length", std::to_string(total));
  CAIRN_CO_TRY(auto exchange, co_await connection.start(head, net::BodyKind::sized));
  for (std::size_t left = total; left > 0; left -= std::min(left, buffer.size()))
    CAIRN_CO_CHECK(co_await exchange->write(ByteView(buffer).first(std::min(left, buffer.size()))));
  CAIRN_CO_CHECK(co_await exchange->end());
  CAIRN_CO_CHECK(co_await exchange->head());
  CAIRN_CO_CHECK(co_await exchange->body());
  out.up_gbps = static_cast<double>(total) / static_cast<double>(now_ns() - begin);
  co_return Result<>{};
}

net::Task<> events(Figures& out, const net::Endpoint& to, const std::string& host, bool proxy) {
  CAIRN_CO_TRY(auto stream, co_await net::connect(to));
  net::Http1Connection connection(std::move(stream));
  CAIRN_CO_TRY(auto exchange, co_await connection.start(request("GET", host, "/events", proxy), net::BodyKind::none));
  CAIRN_CO_CHECK(co_await exchange->head());
  std::vector<double> delays;
  std::array<std::uint8_t, 4096> buffer;
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await exchange->read_some(buffer));
    if (n == 0) break;
    const std::int64_t arrived = now_ns();
    const std::string text(as_text(ByteView(buffer).first(n)));
    if (text.starts_with("data: ")) delays.push_back(static_cast<double>(arrived - std::stoll(text.substr(6))) / 1e3);
  }
  out.event_p50_us = at(delays, 0.5);
  out.event_p99_us = at(delays, 0.99);
  co_return Result<>{};
}

net::Task<> measure(Figures& out, net::Endpoint to, std::string host, bool proxy, const Settings& s) {
  std::vector<double> warm;
  CAIRN_CO_CHECK(co_await one_client(to, host, proxy, now_ns() + 300'000'000, warm));
  CAIRN_CO_CHECK(co_await requests(out, to, host, proxy, s));
  CAIRN_CO_CHECK(co_await bulk(out, to, host, proxy));
  co_return co_await events(out, to, host, proxy);
}

Json json(const Figures& f) {
  return {{"requests_per_s", f.requests_per_s}, {"p50_ms", f.p50_ms},   {"p99_ms", f.p99_ms},
          {"down_GBps", f.down_gbps},           {"up_GBps", f.up_gbps}, {"event_p50_us", f.event_p50_us},
          {"event_p99_us", f.event_p99_us}};
}

long resident_kib(pid_t pid) {
  const auto text = read_text("/proc/" + std::to_string(pid) + "/status").value_or("");
  const auto p = text.find("VmHWM:");
  return p == std::string::npos ? 0 : std::stol(text.substr(p + 6));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Cost of the attested tunnel against a direct connection"};
  Settings s;
  std::string file;
  app.add_option("--seconds", s.seconds);
  app.add_option("--connections", s.connections);
  app.add_option("--wrap", s.wrap)->check(CLI::IsMember({"none", "encap"}));
  app.add_flag("--no-ra", s.no_ra);
  app.add_option("--json", file);
  CLI11_PARSE(app, argc, argv);
  (void)start_logging("tng_bench", "warn");
  tng::testing::TemporaryFolder folder;
  const Child peers([&](net::Runtime& r, auto told) { return serve_peers(r, told, folder / "aa.sock"); });
  std::istringstream line(peers.line());
  std::uint16_t port = 0;
  std::string service, agent;
  line >> port >> service >> agent;
  Json server = {
      {"mapping", {{"in", {{"host", "127.0.0.1"}, {"port", 0}}}, {"out", {{"host", "127.0.0.1"}, {"port", port}}}}}};
  Json client = {{"http_proxy", {{"proxy_listen", {{"host", "127.0.0.1"}, {"port", 0}}}}}};
  if (s.no_ra) {
    server["no_ra"] = client["no_ra"] = true;
  } else {
    server["attest"] = {{"aa_addr", agent}};
    client["verify"] = {{"as_addr", service}, {"policy_ids", {"default"}}};
  }
  if (s.wrap == "encap") server["decap_from_http"] = client["encap_in_http"] = Json::object();
  const std::string egress_text = Json({{"add_egress", {server}}}).dump(),
                    ingress_text = Json({{"add_ingress", {client}}}).dump();
  const Child egress([&](net::Runtime& r, auto told) { return serve_gateway(r, told, egress_text, false); });
  const Child ingress([&](net::Runtime& r, auto told) { return serve_gateway(r, told, ingress_text, true); });
  Figures direct, tunnel;
  auto end = net::run_task([&](net::Runtime&) -> net::Task<> {
    CAIRN_CO_CHECK(
        co_await measure(direct, net::Endpoint::tcp("127.0.0.1", port), "127.0.0.1:" + std::to_string(port), false, s));
    co_return co_await measure(tunnel, *net::Endpoint::parse(ingress.line()), egress.line(), true, s);
  });
  if (!end) {
    std::cerr << end.error().text() << "\n";
    return 1;
  }
  std::printf("%-26s %12s %12s %8s\n", "", "direct", "tunnel", "ratio");
  const auto row = [](const char* name, double a, double b) {
    std::printf("%-26s %12.3f %12.3f %8.2f\n", name, a, b, a > 0 ? b / a : 0);
  };
  row("requests/s, keep-alive", direct.requests_per_s, tunnel.requests_per_s);
  row("latency p50 ms", direct.p50_ms, tunnel.p50_ms);
  row("latency p99 ms", direct.p99_ms, tunnel.p99_ms);
  row("download GB/s", direct.down_gbps, tunnel.down_gbps);
  row("upload GB/s", direct.up_gbps, tunnel.up_gbps);
  row("event delay p50 us", direct.event_p50_us, tunnel.event_p50_us);
  row("event delay p99 us", direct.event_p99_us, tunnel.event_p99_us);
  std::printf("peak resident KiB: client gateway %ld, server gateway %ld\n", resident_kib(ingress.pid()),
              resident_kib(egress.pid()));
  if (!file.empty())
    (void)write_text(file, compact_json({{"direct", json(direct)}, {"tunnel", json(tunnel)}, {"wrap", s.wrap}}) + "\n");
  return 0;
}
