// Opens confidential GPUs to work at start: judged here first, recorded in the event log second, ready last.
// spec/nvidia-gpu.md §9.1, §9.3, §8.5 item 30.
#pragma once

#include "evidence/nvidia/verify.h"
#include "guest/aa/config.h"
#include "guest/aa/event_log.h"
#include "guest/aa/gpu.h"
#include "net/task.h"

namespace cairn::aa {

// What GPUs are judged with, read from the configuration's files.
struct GpuJudging {
  nvidia::TrustRoots roots;
  nvidia::Policy policy;
  nvidia::Collateral documents;
  std::string rim_url, ocsp_url;  // "": nothing is fetched
};
[[nodiscard]] Result<GpuJudging> read_gpu_judging(const GpuConfig& config);

// Before anything else asks for evidence. `log` may be nullptr: nothing is recorded then. Refused devices, and devices
// that are not those recorded earlier in this boot, lose the ready state; where there is no verdict (no report,
// services away) it stays as it is. An error in mode "required"; in mode "auto" the cause is logged, as for all
// evidence.
[[nodiscard]] net::Task<> make_gpus_ready(net::Runtime& runtime, Gpu& gpu, EventLog* log, GpuConfig config, Time now);

}  // namespace cairn::aa
