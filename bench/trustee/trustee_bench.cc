// What one core of the Trustee does: handshakes with TDX evidence and resources with a token, in process (the network's
// share is bench/net's). Only the Trustee's own time counts; clients' quotes are made outside of it.
//
//   trustee_bench [SECONDS]     prints a table and a JSON line
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/encoding.h"
#include "base/file.h"
#include "crypto/hash.h"
#include "device/simulator/simulator.h"
#include "kbs_protocol/rcar.h"
#include "kbs_protocol/tee_key.h"
#include "trustee/trustee.h"

namespace {

using namespace cairn;
using Clock = std::chrono::steady_clock;
using kbs::Profile;

constexpr const char* kResource = "/api/kbs/v0/resource/default/bench/key";

// Durations of one kind of work, in microseconds.
class Samples {
 public:
  template <class Fn>
  auto time(Fn&& fn) {
    const auto start = Clock::now();
    auto out = fn();
    all_.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    return out;
  }
  [[nodiscard]] double total() const {
    double sum = 0;
    for (const double one : all_) sum += one;
    return sum;
  }
  void report(const char* name) {
    std::ranges::sort(all_);
    const auto at = [&](double share) {
      return all_[static_cast<std::size_t>(share * static_cast<double>(all_.size() - 1))];
    };
    const double rate = 1e6 * static_cast<double>(all_.size()) / total();
    std::printf("%-28s %10.0f/s   p50 %8.0f us   p99 %8.0f us\n", name, rate, at(0.5), at(0.99));
    std::fprintf(stderr, "{\"name\":\"%s\",\"per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", name, rate, at(0.5),
                 at(0.99));
  }

 private:
  std::vector<double> all_;
};

class Bench {
 public:
  explicit Bench(const std::filesystem::path& folder) : td_(device::Simulator::open(folder / "td", true).value()) {
    trustee::Config config;
    config.data = folder / "data";
    config.simulated_roots = {td_->root_path()};
    config.bundles = {td_->collateral_path()};
    trustee_ = trustee::Trustee::open(config, now()).value();
    admin_ = crypto::PrivateKey::from_pem(as_text(read_secret(config.data / "private.key")->view())).value();
    Json values = {{"tdx.quote.body.mr_td", {hex(td_->mr_td()->view())}}};
    for (unsigned i = 0; i < 3; ++i)
      values["tdx.quote.body.rtmr_" + std::to_string(i)] = {hex(td_->read_rtmr(i)->view())};
    const Json message = {{"type", "sample"}, {"payload", base64(as_bytes(compact_json(values)))}};
    administer("/api/rvps/register", compact_json({{"message", compact_json(message)}}));
    administer("/api/kbs/v0/resource/default/bench/key", std::string(32, 'k'));
  }

  void run(Profile profile, double seconds) {
    const char* name = profile == Profile::p1 ? "0.1.0" : "0.4.0";
    const auto key = kbs::TeeKey::generate(kbs::default_tee_key(profile)).value();
    Samples handshakes, resources;
    net::Headers cookie;
    while (handshakes.total() < seconds * 1e6) cookie = handshake(profile, key, handshakes);
    while (resources.total() < seconds * 1e6) {
      const auto answer = resources.time([&] { return ask("GET", kResource, "", cookie); });
      if (answer.status != 200) return fail(answer);
    }
    handshakes.report((std::string("attest ") + name).c_str());
    resources.report((std::string("resource ") + name).c_str());
  }

 private:
  // auth and attest, timed together as one handshake.
  net::Headers handshake(Profile profile, const kbs::TeeKey& key, Samples& samples) {
    const auto auth = ask("POST", "/api/kbs/v0/auth", kbs::auth_body(profile, "tdx"), {});
    const std::string text(auth.headers.get("Set-Cookie").value_or(""));
    const net::Headers cookie{{"Cookie", text.substr(0, text.find(';'))}};
    const auto challenge = kbs::parse_challenge(profile, auth.body).value();
    const auto bound = kbs::runtime_data(profile, challenge, key.public_jwk(), "").value();
    ReportData data{};
    std::ranges::copy(crypto::sha384(as_bytes(bound)), data.begin());
    const Json evidence = {{"quote", base64(td_->quote(data).value())}, {"cc_eventlog", base64(log_)}};
    const auto body = kbs::attest_body(profile, challenge, key.public_jwk(), {compact_json(evidence), "", {}}).value();
    const auto attested = samples.time([&] { return ask("POST", "/api/kbs/v0/attest", body, cookie); });
    if (attested.status != 200) fail(attested);
    return cookie;
  }
  net::Response ask(std::string method, std::string target, std::string_view body, net::Headers headers) {
    net::RequestHead head{.method = std::move(method), .target = std::move(target), .headers = std::move(headers)};
    return trustee_->gateway({head, head.path(), body, now()}, "127.0.0.1");
  }
  void administer(const char* path, const std::string& body) {
    const auto done =
        ask("POST", path, body, {{"Authorization", "Bearer " + trustee::admin_token(admin_, now()).value()}});
    if (done.status != 200) fail(done);
  }
  static void fail(const net::Response& response) {
    std::fprintf(stderr, "%d %s\n", response.status, response.body.c_str());
    std::exit(1);
  }

  std::unique_ptr<device::Simulator> td_;
  Bytes log_ = td_->ccel().value();
  std::unique_ptr<trustee::Trustee> trustee_;
  crypto::PrivateKey admin_;
};

}  // namespace

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::err);
  std::string name = "/tmp/trustee-bench-XXXXXX";
  const std::filesystem::path folder = mkdtemp(name.data());
  {
    Bench bench(folder);
    const double seconds = argc > 1 ? std::atof(argv[1]) : 3;
    bench.run(Profile::p1, seconds);
    bench.run(Profile::p2, seconds);
  }
  std::filesystem::remove_all(folder);
}
