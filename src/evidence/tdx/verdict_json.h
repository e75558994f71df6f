// A verdict as JSON: for --json, logs and claims.
#pragma once

#include "base/json.h"
#include "evidence/tdx/verify.h"

namespace cairn::tdx {

// Everything a verdict holds, in this product's own names. PPID and platform instance id identify a machine: they are
// given as SHA-256 unless `identities` asks for the values.
[[nodiscard]] Json to_json(const Verdict& verdict, bool identities = false);
// Header and body fields with the names of the CoCo claims (§9.2 of the trustee specification): the object "quote".
[[nodiscard]] Json quote_claims(const Quote& quote);
// The union of the supplemental claims of the trustee profiles B (object tcb_verification) and C (tcb_status,
// advisory_ids, root_key_id, ...): merged into the TEE's claims. Only for an authentic verdict.
[[nodiscard]] Json supplemental_claims(const Verdict& verdict);

}  // namespace cairn::tdx
