// A client of a key broker and of an attestation service: handshake, session, retries. spec/guest.md §4.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "kbs_protocol/aa_client.h"
#include "kbs_protocol/limits.h"
#include "kbs_protocol/rcar.h"
#include "kbs_protocol/tee_key.h"
#include "kbs_protocol/uri.h"
#include "net/task.h"

namespace cairn::kbs {

// Where evidence comes from: the agent's socket (data hub, gateway) or the device in process (the agent itself).
class EvidenceProvider {
 public:
  virtual ~EvidenceProvider() = default;
  [[nodiscard]] virtual net::Task<std::string> tee_type() = 0;
  // Evidence JSON text bound to `report_data`.
  [[nodiscard]] virtual net::Task<std::string> evidence(Bytes report_data) = 0;
  // P2: JSON object text of tee -> evidence, "" without devices.
  [[nodiscard]] virtual net::Task<std::string> additional_evidence(Bytes report_data) = 0;
};

// Evidence through an attestation agent. The agent client must outlive it.
class AgentEvidence final : public EvidenceProvider {
 public:
  explicit AgentEvidence(agent::Client& agent) : agent_(agent) {}
  [[nodiscard]] net::Task<std::string> tee_type() override { return agent_.tee_type(); }
  [[nodiscard]] net::Task<std::string> evidence(Bytes data) override { return agent_.evidence(std::move(data)); }
  [[nodiscard]] net::Task<std::string> additional_evidence(Bytes data) override {
    return agent_.additional_evidence(std::move(data));
  }

 private:
  agent::Client& agent_;
};

struct ClientOptions {
  std::string url = {};  // base: "http://h:8081/api"; trailing '/' are removed
  Profile profile = Profile::p1;
  std::string extra_roots = {};                         // PEM certificates trusted for https besides the system's
  std::optional<std::string> api_key = {};              // sent as Authorization: Bearer
  std::optional<std::string> instance_info = {};        // JSON for the header AAInstanceInfo
  std::optional<std::string> init_data_toml = {};       // P2
  net::Milliseconds timeout = limits::request_timeout;  // per request
  net::Milliseconds handshake_pause = limits::handshake_pause;  // between failed handshakes of token()
};

// Errors of both clients carry the server's words: `message` is one sentence such as "the key broker refused
// default/aliyun/key: HTTP 403 PolicyDeny: Access denied by policy", and `where` is "kbs.PolicyDeny" ("kbs.http_500"
// where the body names no type). Codes: unauthenticated (401 to the end), permission_denied (403, PolicyDeny),
// evidence_rejected (AttestationError), not_found, unavailable (no answer), crypto_failed (an answer that does not
// decrypt), malformed, timed_out.

// One session with one key broker under one TEE key pair. Calls may overlap; handshakes are made one at a time.
class Client {
 public:
  // Background check: evidence is asked for whenever the broker wants a (new) handshake. `evidence` must outlive this.
  [[nodiscard]] static Result<std::unique_ptr<Client>> create(ClientOptions options, EvidenceProvider& evidence,
                                                              TeeKey key);
  // Passport: token and key pair made elsewhere (AA's GetToken). No handshake; 401 is final.
  [[nodiscard]] static Result<std::unique_ptr<Client>> with_token(ClientOptions options, std::string token, TeeKey key);
  ~Client();

  // Decrypted resource: at most limits::resource_attempts requests, a handshake after each 401.
  [[nodiscard]] net::Task<Secret> resource(ResourceUri uri);
  // A token from a handshake made now, tried limits::handshake_attempts times.
  [[nodiscard]] net::Task<std::string> token();
  [[nodiscard]] const TeeKey& key() const;

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A token straight from an attestation service at `url` (".../api/attestation-service"), §4.7.
struct AttestationServiceOptions {
  std::string url = {};
  Profile profile = Profile::p1;
  std::string extra_roots = {};
  std::optional<std::string> api_key = {};
  std::optional<std::string> instance_info = {};
  std::optional<std::string> additional_data = {};
  std::vector<std::string> policy_ids = {};
  net::Milliseconds timeout = limits::request_timeout;
};
[[nodiscard]] net::Task<std::string> attestation_service_token(AttestationServiceOptions options,
                                                               EvidenceProvider& evidence);

// exp and nbf of a compact JWT, read without verifying it (the verifier is elsewhere): still usable at `now`? Absent
// claims count as valid, no leeway (§4.5).
[[nodiscard]] bool token_is_current(std::string_view token, Time now);

}  // namespace cairn::kbs
