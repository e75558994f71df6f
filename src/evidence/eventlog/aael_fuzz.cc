// AAEL text logs, dstack logs, manifests and the measurement scheme over any text.
#include <cstdlib>

#include "evidence/eventlog/claims.h"
#include "evidence/eventlog/dstack.h"
#include "evidence/eventlog/measure.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::eventlog;
  const std::string_view text = cairn::as_text(cairn::ByteView(data, size));
  if (const auto log = parse_text_log(text)) {
    if (!replay_text_log(*log)) std::abort();
    if (log->lines.size() != log->events.size() + 1) std::abort();
    for (std::size_t i = 0; i < log->events.size(); ++i)
      if (log->events[i].text() != log->lines[i + 1]) std::abort();
    (void)aael_claims(log->events);
    if (const auto read = read_measurements(log->events, false, true)) {
      const auto run = MeasureRun::begin("boot", log->events);
      if (!run) std::abort();
    }
  }
  if (const auto events = parse_dstack_log(text)) (void)replay_dstack_log(*events);
  if (const auto manifest = parse_manifest(text))
    if (manifest_text(*manifest).value_or("") != text) std::abort();
  return 0;
}
