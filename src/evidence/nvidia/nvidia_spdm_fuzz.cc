// Any bytes as an attestation report and as evidence JSON: what parses is consistent and can be read as either kind.
#include <cstdlib>

#include "evidence/nvidia/evidence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  const ByteView bytes(data, size);
  if (const auto report = nvidia::parse_report(bytes)) {
    if (report->signed_size + report->signature.size() + report->trailing != size) std::abort();
    if (report->measurement_record.size() != report->measurements.size() * 55) std::abort();
    for (const auto kind : {nvidia::Kind::gpu, nvidia::Kind::nvswitch})
      if (const auto facts = nvidia::read_facts(*report, kind)) {
        for (const std::string& id : {nvidia::driver_rim_id(*facts, true), nvidia::firmware_rim_id(*facts)})
          if (id.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != std::string::npos) std::abort();
      }
  }
  if (const auto json = parse_json(as_text(bytes), {.bytes = 64 << 10, .depth = 16})) {
    if (const auto evidence = nvidia::parse_evidence(*json))
      for (const auto& device : evidence->devices)
        if (device.report.size() < 2 || device.report[0] != 0x11 || device.certificate.empty()) std::abort();
    (void)nvidia::parse_collateral(as_text(bytes));
  }
  return 0;
}
