// The attestation agent: what its API means. The wire is in service.h. spec/guest.md §2.5.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/secret.h"
#include "guest/aa/attester.h"
#include "guest/aa/config.h"
#include "kbs_protocol/client.h"
#include "net/task.h"

namespace cairn::aa {

struct AgentOptions {
  kbs::Profile profile = kbs::Profile::p1;
  Config config = {};
  std::optional<InitData> init_data = {};
  bool sample_device = false;  // P2: the sample device as an additional TEE
};

// One loop. Slow device calls run on the runtime's workers.
class Agent final : public kbs::EvidenceProvider {
 public:
  // `attester` and `runtime` must outlive it.
  Agent(net::Runtime& runtime, Attester& attester, AgentOptions options);
  ~Agent() override;

  // Collects instance info and prepares the first TEE key.
  [[nodiscard]] net::Task<> start();

  [[nodiscard]] net::Task<std::string> tee_type() override;
  [[nodiscard]] net::Task<std::string> evidence(Bytes runtime_data) override;
  [[nodiscard]] net::Task<std::string> additional_evidence(Bytes runtime_data) override;
  [[nodiscard]] std::vector<std::string> additional_tees() const;
  // "kbs": a new handshake under a new TEE key, {"token","tee_keypair"}. "coco_as": the service's token text.
  [[nodiscard]] net::Task<Secret> token(std::string type, std::optional<std::string> additional_data);
  [[nodiscard]] net::Task<> extend(eventlog::AaelEvent event, std::optional<std::uint64_t> pcr);
  [[nodiscard]] net::Task<> bind_init_data(Bytes digest);
  // P1. The event log and heartbeats keep what they started with. The text is TOML or JSON.
  [[nodiscard]] Result<void> update_configuration(std::string_view text);

  [[nodiscard]] const AgentOptions& options() const;
  [[nodiscard]] const std::string& instance_info() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::aa
