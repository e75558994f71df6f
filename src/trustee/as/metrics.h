// What the attestation service tells Prometheus: how it does with what it fetches.
#pragma once

#include <string>

#include "trustee/as/collateral_store.h"
#include "trustee/as/gpu_judge.h"

namespace cairn::trustee::as {

// Text exposition format 0.0.4. Names nobody: no platform, no device.
[[nodiscard]] std::string metrics(const CollateralStore& collateral, const GpuJudge& gpu, Time now);

}  // namespace cairn::trustee::as
