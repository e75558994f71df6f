// The data hub's ttrpc services: decode, call, encode, and the fixed error texts of the originals. spec/guest.md §9.1.
#pragma once

#include "guest/cdh/hub.h"
#include "net/ttrpc.h"

namespace cairn::cdh {

// Registers every service. `hub` must outlive the server. Causes of failures go to the log, not to the caller.
void register_services(net::TtrpcServer& server, Hub& hub);

}  // namespace cairn::cdh
