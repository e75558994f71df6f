// The owner's trustee, and the verdict on this machine that it gives.
#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/up/agent.h"
#include "cli/up/owner.h"
#include "cli/up/session.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "device/simulator/simulator.h"
#include "kbs_protocol/token/token.h"

namespace cairn::cli {
namespace {

constexpr std::int64_t kTrusteeStartMs = 30'000;
constexpr std::size_t kNonceBytes = 32;

bool all_four_ok(const Session& s) {
  const auto response = http("GET", s.trustee_url() + "/services-health", {}, {}, 2'000);
  if (!response || response->status != 200) return false;
  const auto json = parse_json(response->body);
  if (!json || !json->is_object()) return false;
  for (const char* part : {"gateway", "kbs", "as", "rvps"})
    if (!json->contains(part) || (*json)[part].value("status", "") != "ok") return false;
  return true;
}

// What an attestation service says when it refuses, as one sentence.
std::string sentence_of(const net::Response& response) {
  if (const auto json = parse_json(response.body); json && json->is_object())
    for (const char* key : {"detail", "error", "title"})
      if (const auto it = json->find(key); it != json->end() && it->is_string()) return it->get<std::string>();
  return "status " + std::to_string(response.status) + ": " + printable(response.body, 400);
}

Result<std::string> fresh_evidence(Session& s, const Json& runtime_data) {
  CAIRN_TRY(const auto text, canonical_json(runtime_data));
  return agent_evidence(s.agent_socket().string(), crypto::sha384(as_bytes(text)));
}

Result<token::Verified> checked(Session& s, const std::string& jwt, const Json& runtime_data) {
  CAIRN_TRY(const auto certificate, http("GET", s.trustee_url() + "/attestation-service/certificate"));
  if (certificate.status != 200)
    return fail(ErrorCode::unavailable, "/attestation-service/certificate", "the trustee names no signing certificate");
  CAIRN_TRY(auto roots, crypto::Certificate::from_pem(certificate.body));
  CAIRN_TRY(auto verified, token::verify(jwt, {.roots = std::move(roots)}, now()));
  CAIRN_CHECK(token::satisfies(
      verified,
      {.policy_ids = {"default"}, .runtime_data = &runtime_data, .allow_simulated = s.options.tee == "simulated"}));
  return verified;
}

std::string text_at(const Json& evidence, const std::string& flat, const std::string& pointer) {
  if (const auto it = evidence.find(flat); it != evidence.end() && it->is_string()) return it->get<std::string>();
  const Json::json_pointer path(pointer);
  return evidence.contains(path) && evidence[path].is_string() ? evidence[path].get<std::string>() : std::string();
}

void take_verdict(Session& s, const token::Verified& v) {
  Outcome& o = s.outcome;
  o.verdict_status = "affirming";
  for (const auto& sub : v.submodules) {
    if (sub.status != "affirming") o.verdict_status = sub.status;
    for (const auto& id : sub.policy_ids) o.policy_ids.push_back(id);
    if (o.trust_vector.empty()) o.trust_vector = sub.trust_vector;  // the machine's own, before its devices'
  }
  o.simulated = v.simulated;
  o.mrtd = text_at(v.evidence, "tdx.quote.body.mr_td", "/tdx/quote/body/mr_td");
  o.rtmr.clear();
  for (const char* n : {"0", "1", "2", "3"})
    o.rtmr.push_back(
        text_at(v.evidence, std::string("tdx.quote.body.rtmr_") + n, std::string("/tdx/quote/body/rtmr_") + n));
}

}  // namespace

Result<std::filesystem::path> simulated_trust(Session& s) {
  CAIRN_TRY(const auto simulator, device::Simulator::open(s.simulator_dir()));
  std::string text = "# Written by cairn up: this trustee judges the TD simulator of this machine.\n[verifier.tdx]\n";
  text += "bundles = [" + Json(simulator->collateral_path().string()).dump() + "]\n";
  if (s.options.tamper != Tamper::root)
    text += "extra_roots = [{ path = " + Json(simulator->root_path().string()).dump() + ", simulated = true }]\n";
  const auto file = s.run / "trustee.toml";
  CAIRN_CHECK(write_text(file, text, 0600));
  s.outcome.root =
      "TD simulator " + simulator->root_fingerprint().substr(0, 16) + "… (trusted because named to the trustee)";
  return file;
}

Result<void> start_trustee(Session& s) {
  const std::int64_t started = monotonic_ms();
  s.screen->begin("Trustee: gateway, KBS, AS, RVPS");
  CAIRN_CHECK(make_dirs(s.trustee_dir(), 0700));
  std::vector<std::string> arguments = {"--data", s.trustee_dir().string(), "--listen",
                                        "127.0.0.1:" + std::to_string(s.options.trustee_port)};
  if (s.options.tee == "simulated") {
    CAIRN_TRY(const auto config, simulated_trust(s));
    arguments.insert(arguments.end(), {"--config", config.string()});
  }
  CAIRN_CHECK(s.start("cairn-trustee", arguments));
  CAIRN_CHECK(s.wait_until("waiting for its four parts", kTrusteeStartMs, [&] { return all_four_ok(s); }));
  s.timings.trustee_ready = monotonic_ms() - started;
  s.screen->done("http://127.0.0.1:" + std::to_string(s.options.trustee_port));
  return {};
}

Result<void> appraise(Session& s) {
  const std::int64_t started = monotonic_ms();
  s.screen->begin("Attestation");
  const Json runtime_data = {{"nonce", base64(crypto::random_bytes(kNonceBytes))}};
  CAIRN_TRY(const auto evidence, fresh_evidence(s, runtime_data));
  // The new form: it is answered with an EAR, which says how far each part of the machine is believed.
  const Json one = {{"tee", "tdx"},
                    {"evidence", base64url(as_bytes(evidence))},
                    {"runtime_data", {{"structured", runtime_data}}},
                    {"runtime_data_hash_algorithm", "sha384"}};
  const Json request = {{"verification_requests", Json::array({one})}, {"policy_ids", {"default"}}};
  CAIRN_TRY(const auto response, http("POST", s.trustee_url() + "/attestation-service/attestation", request.dump(),
                                      {{"Content-Type", "application/json"}}, 60'000));
  if (response.status != 200) return s.refuse("attestation_refused", sentence_of(response));
  const auto verified = checked(s, response.body, runtime_data);
  if (!verified)
    return s.refuse(verified.error().where == "status" ? "attestation_refused" : "token_rejected",
                    verified.error().message);
  take_verdict(s, *verified);
  s.timings.attest = monotonic_ms() - started;
  s.screen->done(s.outcome.verdict_status + (s.outcome.simulated ? ", under the simulator's root" : ""));
  return {};
}

}  // namespace cairn::cli
