// A verdict as claims: in the names of NVIDIA's Entity Attestation Tokens (version 3.0), and in those of Alibaba's
// Trustee. nvidia-gpu §5.9, §10.1, §10.2.
#pragma once

#include "base/json.h"
#include "evidence/nvidia/verify.h"

namespace cairn::nvidia {

// One device. Of a device whose report is not authentic nothing is claimed but that, and why.
[[nodiscard]] Json device_claims(const DeviceVerdict& device);
// One GPU as Alibaba's Trustee names it, with what is verified; of `evidence` only name and uuid are taken, as the
// hints that they are.
[[nodiscard]] Json gpu_claims(const Device& evidence, const DeviceVerdict& device);
// The whole: {"gpu_count", "gpu_verified_count", "switch_count", "switch_verified_count", "ppcie", "verified",
// "simulated", "errors", "devices": {"GPU-0": device_claims}}.
[[nodiscard]] Json set_claims(const Verdict& verdict);
// The devices as one value, whatever their order: SHA-384 over "ueid:pdi:fwid" and a line feed for each, sorted, the
// latter two in hex and from the certificates. evidence_rejected unless the verdict affirms. nvidia-gpu §9.1.
[[nodiscard]] Result<Digest<48>> inventory(const Verdict& verdict);
// Findings as text: "GPU-0: FwidMismatch: ...".
[[nodiscard]] std::vector<std::string> errors(const std::vector<Finding>& findings);

}  // namespace cairn::nvidia
