// The attested tunnel: the server end in front of the engine, the client end as an HTTP proxy.
#include "base/clock.h"
#include "base/file.h"
#include "cli/up/owner.h"
#include "cli/up/session.h"

namespace cairn::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kGatewayMs = 30'000;

Json endpoint(const std::string& host, std::uint16_t port) { return {{"host", host}, {"port", port}}; }

Result<std::uint16_t> start_gateway(Session& s, const std::string& instance, Json config) {
  CAIRN_TRY(const auto control, free_port());
  config["control_interface"] = {{"restful", endpoint("127.0.0.1", control)}};
  const fs::path file = s.run / ("tng-" + instance + ".json");
  CAIRN_CHECK(write_text(file, config.dump(2) + "\n", 0600));
  CAIRN_CHECK(s.start("cairn-tng", {"launch", "-c", file.string()}, {}, instance));
  CAIRN_CHECK(s.wait_until("the gateway (" + instance + ")", kGatewayMs, [&] {
    const auto ready = http("GET", "http://127.0.0.1:" + std::to_string(control) + "/readyz", {}, {}, 1'000);
    return ready && ready->status == 200;
  }));
  return control;
}

Json server_config(const Session& s, std::uint16_t port) {
  const std::size_t colon = s.engine_address.rfind(':');
  const auto engine_port = static_cast<std::uint16_t>(std::stoi(s.engine_address.substr(colon + 1)));
  return {{"add_egress",
           {{{"mapping",
              {{"in", endpoint("127.0.0.1", port)}, {"out", endpoint(s.engine_address.substr(0, colon), engine_port)}}},
             {"decap_from_http", Json::object()},
             {"attest", {{"aa_addr", "unix://" + s.agent_socket().string()}}}}}}};
}

Json client_config(const Session& s, const fs::path& trusted_certificate) {
  Json verify = {{"as_addr", s.trustee_url() + "/attestation-service/"},
                 {"policy_ids", {"default"}},
                 {"trusted_certs_paths", {trusted_certificate.string()}}};
  if (s.outcome.simulated) verify["allow_simulated"] = true;
  return {{"add_ingress",
           {{{"http_proxy", {{"proxy_listen", endpoint("127.0.0.1", s.options.proxy_port)}}},
             {"encap_in_http", Json::object()},
             {"verify", verify}}}}};
}

}  // namespace

Result<void> open_tunnel(Session& s) {
  s.screen->begin("Attested tunnel");
  const auto certificate = http("GET", s.trustee_url() + "/attestation-service/certificate");
  if (!certificate || certificate->status != 200)
    return fail(ErrorCode::unavailable, "/attestation-service/certificate", "the trustee names no signing certificate");
  const fs::path trusted = s.run / "as-ca.pem";
  CAIRN_CHECK(write_text(trusted, certificate->body));
  if (s.options.tamper != Tamper::mitm) CAIRN_CHECK(start_gateway(s, "server", server_config(s, s.options.port)));
  CAIRN_TRY(s.client_control_port, start_gateway(s, "client", client_config(s, trusted)));
  s.screen->done("http proxy 127.0.0.1:" + std::to_string(s.options.proxy_port));
  return {};
}

}  // namespace cairn::cli
