// The one door: everything behind /api. Routes, audit, health, agents' heartbeats. spec/trustee.md §2.
#pragma once

#include <functional>
#include <string>

#include "trustee/api.h"
#include "trustee/gateway/audit.h"

namespace cairn::trustee::gateway {

// A part behind the gateway: answers a call whose path starts at the part.
using Part = std::function<net::Response(const Call&)>;

struct Parts {
  Part kbs;                                           // below /kbs/v0
  Part as;                                            // below /attestation-service and /as
  Part rvps;                                          // below /rvps
  std::function<std::string(Time now)> metrics = {};  // GET /metrics, as Prometheus reads it
};

class Gateway {
 public:
  // `cors`: browsers of any origin may read answers (credentials are never asked for).
  Gateway(Parts parts, Audit& audit, bool cors) : parts_(std::move(parts)), audit_(&audit), cors_(cors) {}
  // `call.path` is the whole raw path; `client_ip` the address of the peer.
  [[nodiscard]] net::Response handle(const Call& call, const std::string& client_ip);

 private:
  [[nodiscard]] net::Response route(const Call& call, const std::string& client_ip);
  [[nodiscard]] net::Response kbs(const Call& call, const std::string& client_ip);
  [[nodiscard]] net::Response attestation_service(const Call& call, const std::string& client_ip);
  [[nodiscard]] net::Response health(Time now);
  [[nodiscard]] net::Response heartbeat(const Call& call, const std::string& client_ip);

  Parts parts_;
  Audit* audit_;
  bool cors_;
};

}  // namespace cairn::trustee::gateway
