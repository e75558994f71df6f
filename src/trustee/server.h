// cairn-trustee as a process: listeners over a Trustee.
#pragma once

#include <functional>
#include <vector>

#include "net/stream.h"
#include "trustee/config.h"

namespace cairn::trustee {

// Opens the data folder, listens, serves until a stop is requested, drains for at most 30 seconds. Bodies are read on
// the loops; the parts answer on worker threads. `ready`, if given, learns the addresses bound, the gateway's first.
using Ready = std::function<void(const std::vector<net::Endpoint>&)>;
[[nodiscard]] net::Task<> serve(net::Runtime& runtime, Config config, Ready ready = {});

}  // namespace cairn::trustee
