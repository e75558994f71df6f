// What only several devices together show. nvidia-gpu §5.2 step 12, §9.4.
#pragma once

#include "evidence/nvidia/verify.h"

namespace cairn::nvidia {

// Counts, duplicates, mixed modes, and the fabric of protected PCIe; sets the verdict's findings and `ppcie`.
void check_set(const Policy& policy, Verdict& verdict);

}  // namespace cairn::nvidia
