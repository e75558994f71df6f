// The agent's ttrpc service: decode, call, encode, and the fixed error texts of the originals. spec/guest.md §2.4.
#pragma once

#include "guest/aa/agent.h"
#include "net/ttrpc.h"

namespace cairn::aa {

// Registers every method of the profile on `server`: P1 has UpdateConfiguration, P2 the additional evidence. `a`
// must outlive the server. Causes of failures go to the log, not to the caller.
void register_service(net::TtrpcServer& server, Agent& a);

}  // namespace cairn::aa
