#include "cli/up/result.h"

namespace cairn::cli {
namespace {
std::string short_hex(const std::string& text) { return text.size() > 20 ? text.substr(0, 16) + "…" : text; }
}  // namespace

Json result_json(const Session& s, const std::optional<Error>& error) {
  const Outcome& o = s.outcome;
  Json out = {{"ok", !error},
              {"answer", o.answer},
              {"engine", {{"name", o.engine_name}, {"version", o.engine_version}, {"url", o.engine_url}}},
              {"tee", {{"type", "tdx"}, {"simulated", o.simulated}}},
              {"verdict",
               {{"status", o.verdict_status},
                {"policy_ids", o.policy_ids},
                {"trust_vector", o.trust_vector},
                {"rtmr", o.rtmr},
                {"mrtd", o.mrtd}}},
              {"model",
               {{"files", s.model.files},
                {"bytes", s.model.bytes},
                {"sha256_plain", s.model.sha256_plain},
                {"sha256_mounted", o.sha256_mounted}}},
              {"key", {{"id", kKeyId}, {"released", o.key_released}}},
              {"wire",
               {{"protocol", "ra-tls-h2-encap"},
                {"tls", o.tls_version},
                {"group", o.tls_group},
                {"plaintext_seen", o.plaintext_seen ? Json(*o.plaintext_seen) : Json(nullptr)}}},
              {"timings_ms",
               {{"setup", s.timings.setup},
                {"trustee_ready", s.timings.trustee_ready},
                {"attest", s.timings.attest},
                {"key", s.timings.key},
                {"mount", s.timings.mount},
                {"engine_ready", s.timings.engine_ready},
                {"first_token", s.timings.first_token},
                {"total", s.timings.total}}},
              {"error", nullptr}};
  if (error)
    out["error"] = {{"code", s.refusal ? s.refusal->code : std::string(name(error->code))},
                    {"message", s.refusal ? s.refusal->sentence : error->text()}};
  return out;
}

std::vector<std::pair<std::string, std::string>> verdict_table(const Session& s) {
  const Outcome& o = s.outcome;
  std::string policies;
  for (const auto& p : o.policy_ids) policies += (policies.empty() ? "" : ", ") + p;
  std::vector<std::pair<std::string, std::string>> rows = {
      {"Machine", o.simulated ? "TD SIMULATOR (no hardware vouches for it)" : "Intel TDX"},
      {"Attested by", "trustee at 127.0.0.1:" + std::to_string(s.options.trustee_port) + ", policy " + policies},
      {"Trust root", o.root},
      {"Verdict", o.verdict_status + (o.simulated ? " (simulated)" : "")},
      {"MRTD", short_hex(o.mrtd)},
      {"RTMR3", o.rtmr.size() == 4 ? short_hex(o.rtmr[3]) + "  (model, engine, configuration)" : ""},
  };
  if (s.model.files > 0) {
    rows.emplace_back("Model", s.model.name + ", " + human_bytes(s.model.bytes) + "; mounted bytes " +
                                   (o.sha256_mounted == s.model.sha256_plain ? "equal" : "DIFFER FROM") +
                                   " the plain model");
    rows.emplace_back("Key",
                      std::string(kKeyId) + (o.key_released ? ", released after attestation" : ", not released"));
  }
  rows.emplace_back("Wire", "TLS " + o.tls_version + " " + o.tls_group + " inside HTTP/2; prompt and answer " +
                                (!o.plaintext_seen   ? "not looked for"
                                 : *o.plaintext_seen ? "SEEN IN PLAIN"
                                                     : "not seen") +
                                " among the recorded bytes");
  return rows;
}

std::vector<std::string> next_commands(const Session& s) {
  const std::string proxy = "http://127.0.0.1:" + std::to_string(s.options.proxy_port);
  const std::string service = "http://127.0.0.1:" + std::to_string(s.options.port);
  return {
      "curl -x " + proxy + " " + service +
          "/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'",
      "curl " + service + "/v1/models        # straight to the protected port: refused",
      "curl " + s.trustee_url() + "/services-health",
  };
}

}  // namespace cairn::cli
