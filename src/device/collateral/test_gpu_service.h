// The services that GPU evidence is judged with, for tests: RIM service, OCSP responder and remote verifier of one
// simulated machine.
#pragma once

#include <future>
#include <string>
#include <thread>

#include "base/encoding.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "device/simulator/gpu/test_nras.h"
#include "net/http_server.h"

namespace cairn::device {

inline constexpr Time kGpuNow{1795305600};  // 2026-11-22

struct GpuService {
  explicit GpuService(const GpuMachine& machine = {}, Time at = kGpuNow)
      : simulator(GpuSimulator::make(machine, at).value()), now(at) {}
  GpuService(const GpuService&) = delete;
  GpuService& operator=(const GpuService&) = delete;

  GpuSimulator simulator;
  TestNras nras{simulator};
  Time now;
  int fail_first = 0;
  bool away = false, wrong_id = false, without_rims = false, refuse_key = false;
  std::size_t rims_asked = 0, ocsp_asked = 0, nras_asked = 0, keys_asked = 0;
  std::string authorization;  // of the last request that had one

  net::Response answer(const net::RequestHead& head, const std::string& body) {
    if (const auto given = head.headers.get("Authorization")) authorization = *given;
    if (away || fail_first-- > 0) return net::Response::text(503, "busy");
    const std::string_view path = head.path();
    if (path == "/.well-known/jwks.json") {
      ++keys_asked;
      return net::Response::json(200, compact_json(nras.jwks()));
    }
    if (path.starts_with("/v4/attest/")) {
      ++nras_asked;
      return refuse_key ? net::Response::text(403, "key") : net::Response::json(200, nras.answer(body, now));
    }
    if (head.method == "POST") {
      ++ocsp_asked;
      net::Response out = net::Response::text(200, "");
      out.body = std::string(as_text(simulator.answer_ocsp(as_bytes(body), now).value()));
      return out;
    }
    ++rims_asked;
    const std::string id(path.substr(std::string_view("/v1/rim/").size()));
    const auto rims = simulator.rims().value();
    if (without_rims || !rims.contains(id)) return net::Response::text(404, R"({"message":"RIM_NOT_FOUND"})");
    const Json json{{"id", wrong_id ? "NV_OTHER" : id}, {"rim", base64(rims.at(id))}, {"rim_format", "xml"}};
    return net::Response::json(200, compact_json(json));
  }
  // Serves it.
  net::Handler handler() {
    return net::responder([this](net::Exchange& e) -> net::Task<net::Response> {
      CAIRN_CO_TRY(const std::string body, co_await e.body());
      co_return answer(e.request(), body);
    });
  }
};

// Serves from a thread of its own until it ends, for what is tested on the caller's.
class Served {
 public:
  explicit Served(net::Handler handler) : runtime_({.loops = 1, .workers = 1, .signals = false}) {
    auto ready = ready_.get_future();
    thread_ = std::thread([this, handler = std::move(handler)] {
      (void)runtime_.run([&](net::Runtime& r) -> net::Task<> {
        net::HttpServer server(r, handler);
        CAIRN_CO_TRY(const net::Endpoint at, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
        ready_.set_value("http://" + at.text());
        CAIRN_CO_CHECK(co_await r.stop_requested());
        co_return co_await server.stop(net::Milliseconds(200));
      });
    });
    url = ready.get();
  }
  ~Served() {
    runtime_.request_stop();
    thread_.join();
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  std::string url;

 private:
  std::promise<std::string> ready_;
  net::Runtime runtime_;
  std::thread thread_;
};

}  // namespace cairn::device
