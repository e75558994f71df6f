// TCB info and QE identity of the simulated platform, signed, in the shape of Intel's service. spec/tdx-dcap.md
// §2.6-2.9.
#pragma once

#include "device/simulator/pki.h"
#include "evidence/tdx/collateral.h"

namespace cairn::device::simulator {

// The quoting enclave's signer and version, as the QE identity demands them.
inline constexpr std::uint16_t kQeProductId = 2;
inline constexpr std::uint16_t kQeSvn = 8;
[[nodiscard]] Digest<32> qe_signer();
// TEE_TCB_SVN of the simulated TDX module: version 1, minor SVN 5, SEAM loader SVN 7.
inline constexpr std::array<std::uint8_t, 16> kTeeTcbSvn = {5, 1, 7};

// A whole bundle as of `at`, with the defect of `scenario`: TCB levels by the first component SVN (9 UpToDate, 8
// SWHardeningNeeded, 7 ConfigurationNeeded, 6 both, 5 OutOfDate, 4 OutOfDateConfigurationNeeded, 3 Revoked).
[[nodiscard]] Result<tdx::Collateral> make_collateral(const Keys& keys, const Certificates& certificates,
                                                      Scenario scenario, Time at);

}  // namespace cairn::device::simulator
