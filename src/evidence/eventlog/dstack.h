// Event logs as dstack guests report them: JSON entries with an RTMR number each. spec/tdx-dcap.md §4.4.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evidence/eventlog/eventlog.h"

namespace cairn::eventlog {

// Runtime events (RTMR3): their digest is SHA-384(LE32(type) ":" event ":" payload).
inline constexpr std::uint32_t dstack_runtime_event = 0x0800'0001;

struct DstackEvent {
  unsigned rtmr = 0;
  std::uint32_t type = 0;
  Digest<48> digest{};
  std::string event;
  Bytes payload;
  bool authenticated = false;  // the digest was recomputed from event and payload
};

// A JSON array of {imr, event_type, digest, event, event_payload}. Runtime events may leave the digest empty; where it
// is given it must be the recomputed one (evidence_rejected). Other events need it. Bounded as a CCEL is.
[[nodiscard]] Result<std::vector<DstackEvent>> parse_dstack_log(std::string_view json);
[[nodiscard]] Rtmrs replay_dstack_log(const std::vector<DstackEvent>& events);

}  // namespace cairn::eventlog
