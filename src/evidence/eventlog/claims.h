// Event logs as the claims that policies read. spec/trustee.md §9.2.
#pragma once

#include "base/json.h"
#include "evidence/eventlog/aael.h"
#include "evidence/eventlog/eventlog.h"

namespace cairn::eventlog {

// `details` of one event, §9.2.1: {} for types without any. malformed for bytes that its type does not allow.
[[nodiscard]] Result<Json> event_details(const Event& event);

// The array `uefi_event_logs`. `upstream` adds digest_matches_event to each entry (profile C). An event type without a
// TCG name is an error.
enum class ClaimProfile { upstream, openanolis };
[[nodiscard]] Result<Json> uefi_event_logs(const Log& log, ClaimProfile profile = ClaimProfile::upstream);

// The object `ccel` of profile A: measurement.{shim,grub,kernel,initrd,kernel_cmdline}.<alg> and kernel_cmdline.
[[nodiscard]] Json ccel_claims(const Log& log);

// The members of profile A for a list of AAEL events: {"aael": {"<domain>/<operation>": [contents…]},
// "AA.eventlog.<domain>.<operation>": content, …} (the last wins). {} for no events.
[[nodiscard]] Json aael_claims(std::span<const AaelEvent> events);

}  // namespace cairn::eventlog
