// The four parts put together over one data folder. No network: server.h listens.
#pragma once

#include <memory>
#include <optional>

#include "base/file.h"
#include "trustee/as/api.h"
#include "trustee/as/collateral_store.h"
#include "trustee/config.h"
#include "trustee/gateway/gateway.h"
#include "trustee/kbs/api.h"

namespace cairn::trustee {

class Trustee {
 public:
  // Makes what the data folder lacks: administrator's keys (private.key, public.pub), token signers, default policies.
  // conflict when another process uses the folder. `loop`: where collateral is fetched, if a service is configured.
  [[nodiscard]] static Result<std::unique_ptr<Trustee>> open(const Config& config, Time now,
                                                             std::optional<net::Executor> loop = {});
  ~Trustee();

  // Any thread; may take milliseconds. Paths as each port serves them: the gateway's "/api/…", the key broker's
  // "/kbs/v0/…", the attestation service's "/attestation".
  [[nodiscard]] net::Response gateway(const Call& call, const std::string& client_ip);
  [[nodiscard]] net::Response kbs(const Call& call);
  [[nodiscard]] net::Response attestation_service(const Call& call);

  // Ends fetches; while the loop given to open() runs.
  [[nodiscard]] net::Task<> stop();

  [[nodiscard]] as::AttestationService& service() { return *service_; }
  [[nodiscard]] gateway::Audit& audit() { return *audit_; }

 private:
  Trustee() = default;
  [[nodiscard]] Result<void> open_admin(const Config& config);
  [[nodiscard]] Result<void> open_gpu(const Config& config, std::optional<net::Executor> loop);
  [[nodiscard]] Result<void> open_service(const Config& config, Time now, std::optional<net::Executor> loop);
  [[nodiscard]] Result<void> open_broker(const Config& config);

  Fd lock_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<rvps::Store> references_;
  std::unique_ptr<rvps::Api> references_api_;
  std::shared_ptr<as::CollateralStore> collateral_;
  std::shared_ptr<device::GpuCache> gpu_documents_;  // null: none are fetched
  std::shared_ptr<device::NrasCache> gpu_remote_;    // null: no remote service is asked
  std::shared_ptr<const as::GpuJudge> gpu_;
  std::unique_ptr<as::AttestationService> service_;
  std::unique_ptr<as::Api> service_api_;
  std::unique_ptr<kbs::Resources> resources_;
  std::unique_ptr<kbs::ResourcePolicy> resource_policy_;
  std::unique_ptr<kbs::Api> broker_;
  std::unique_ptr<gateway::Audit> audit_;
  std::unique_ptr<gateway::Gateway> gateway_;
};

}  // namespace cairn::trustee
