// CCEL and TCG2 AAEL parsers, replay, claims and measurements over any bytes.
#include <cstdlib>

#include "evidence/eventlog/claims.h"
#include "evidence/eventlog/measure.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::eventlog;
  const cairn::ByteView bytes(data, size);
  (void)parse_ccel_table(bytes);
  for (const auto& log : {parse_ccel(bytes), parse_records(bytes)}) {
    if (!log) continue;
    if (log->end_offset > size) std::abort();
    (void)replay_rtmrs(*log);
    (void)uefi_event_logs(*log);
    (void)ccel_claims(*log);
    for (const auto& event : log->events) (void)authenticated_text(event);
    if (const auto events = aael_events(*log)) (void)read_measurements(*events, false, true);
    // What was parsed is found again behind which AA's own records stand.
    if (log->spec_id_signature) {
      const auto joined = evidence_log(bytes, tagged_event_record({"d", "o", "c"}));
      if (!joined) std::abort();
      const auto again = parse_ccel(*joined);
      const bool listed = std::ranges::contains(log->algorithms, Algorithm::sha384);
      if (again.has_value() && again->events.size() != log->events.size() + 1) std::abort();
      if (!again && listed) std::abort();
    }
  }
  return 0;
}
