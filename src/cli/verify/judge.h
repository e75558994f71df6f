// One verdict of `cairn verify`: the quote, the logs that go with it, and the policy.
#pragma once

#include <optional>
#include <vector>

#include "cli/verify/gpu.h"
#include "cli/verify/input.h"
#include "evidence/tdx/policy.h"
#include "evidence/tdx/verify.h"

namespace cairn::cli {

struct Judgement {
  tdx::Verdict verdict;
  std::vector<tdx::Finding> findings;  // of the policy, the event logs and what else the evidence carries
  std::vector<std::string> logs;       // which logs were replayed to the quote's registers
  std::vector<std::string> bindings;   // what beside the quote its report data is proven to answer
  std::optional<GpuJudgement> gpu;     // of the devices beside an authentic quote
  [[nodiscard]] bool affirming() const { return verdict.authentic() && findings.empty() && (!gpu || gpu->affirming()); }
};

// `evidence.collateral` wins over `collateral`. The verdict's time is options.time.
[[nodiscard]] Judgement judge(const Evidence& evidence, const tdx::Collateral& collateral, tdx::Verifier& verifier,
                              const tdx::Options& options, const tdx::Policy& policy, GpuSetup& gpu);

// What of the event logs does not replay to the registers of `td`; the names of those that do go to `matched`.
[[nodiscard]] std::vector<tdx::Finding> check_event_logs(const Evidence& evidence, const tdx::TdReport& td,
                                                         std::vector<std::string>& matched);

// Expected measurements {"mrtd":[hex], "rtmr0":[hex], ...} into the policy's lists; single strings are taken as lists
// of one, and members of other names are left alone.
[[nodiscard]] Result<void> add_reference_values(std::string_view json, tdx::Policy& policy);

}  // namespace cairn::cli
