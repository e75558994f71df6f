// Any bytes as a quote: what parses is written back to the same bytes, and everything said of it can be printed.
#include <cstdlib>

#include "evidence/tdx/hardware_report.h"
#include "evidence/tdx/verdict_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const ByteView bytes(data, size);
  if (const auto parsed = tdx::parse_quote(bytes)) {
    const Result<Bytes> again = tdx::encode(parsed->quote);
    // Version 3 may leave zeros at the end of its authentication data; the writer does not.
    if (!again || again->size() > parsed->bytes.size()) std::abort();
    if (parsed->quote.header.version > 3 && !equal(*again, parsed->bytes)) std::abort();
    if (tdx::quote_claims(parsed->quote).empty()) std::abort();
    (void)tdx::collateral_key(bytes);
  }
  if (const auto report = tdx::parse_hardware_report(bytes)) {
    if (!equal(tdx::encode(*report), bytes)) std::abort();
    (void)tdx::quote_shape(*report);
  }
  return 0;
}
