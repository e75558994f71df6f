// Makes the certificates this side shows: evidence from the attestation agent around a fresh key (spec/tng.md §5.1).
#pragma once

#include <memory>

#include "net/task.h"
#include "net/tls.h"
#include "tng/config.h"
#include "tng/ratls/evidence.h"

namespace cairn::tng {

// A fresh P-256 key, evidence bound to it in `form`, and the certificate around both. Three attempts, a second apart,
// in at most limits::certificate_build.
[[nodiscard]] net::Task<std::shared_ptr<const net::TlsIdentity>> attested_identity(Attest config, BindingForm form);
// One that proves nothing, for positions where none is asked.
[[nodiscard]] Result<std::shared_ptr<const net::TlsIdentity>> unattested_identity();

}  // namespace cairn::tng
