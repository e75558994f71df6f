// The attestation service over HTTP: POST attestation, challenge, policy; GET certificate, jwks, policy, status.
// spec/trustee.md §4.1, §4.2. Policies are read and written by administrators only.
#pragma once

#include "trustee/api.h"
#include "trustee/as/collateral_store.h"
#include "trustee/as/gpu_judge.h"
#include "trustee/as/service.h"

namespace cairn::trustee::as {

class Api {
 public:
  Api(AttestationService& service, const Admin& admin, const CollateralStore& collateral, const GpuJudge& gpu)
      : service_(&service), admin_(&admin), collateral_(&collateral), gpu_(&gpu) {}
  // `call.path` starts at the service: "/attestation".
  [[nodiscard]] net::Response handle(const Call& call);

 private:
  [[nodiscard]] net::Response attestation(const Call& call);
  [[nodiscard]] net::Response challenge(const Call& call);
  [[nodiscard]] net::Response policy(const Call& call, std::string_view id);
  [[nodiscard]] net::Response set_policy(const Call& call);
  [[nodiscard]] net::Response list_policies();
  [[nodiscard]] net::Response jwks(Time now);
  [[nodiscard]] net::Response status(Time now);

  AttestationService* service_;
  const Admin* admin_;
  const CollateralStore* collateral_;
  const GpuJudge* gpu_;
};

}  // namespace cairn::trustee::as
