// cairn-trustee as a process: listeners over a Trustee.
#pragma once

#include "net/task.h"
#include "trustee/config.h"

namespace cairn::trustee {

// Opens the data folder, listens, serves until a stop is requested, drains for at most 30 seconds. Bodies are read on
// the loops; the parts answer on worker threads.
[[nodiscard]] net::Task<> serve(net::Runtime& runtime, Config config);

}  // namespace cairn::trustee
