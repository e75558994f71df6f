// The TEEs "sample" and "sampledevice": evidence that anyone can write. For tests of the handshake on machines without
// a TEE; only where the configuration enables it. spec/trustee.md §9.5.
#pragma once

#include <memory>

#include "trustee/as/verifier.h"

namespace cairn::trustee::as {

[[nodiscard]] std::unique_ptr<TeeVerifier> sample_verifier();
[[nodiscard]] std::unique_ptr<TeeVerifier> sample_device_verifier();

}  // namespace cairn::trustee::as
