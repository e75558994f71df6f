// Answers of the remote service, with a key of theirs and without: whatever is in them is refused or read.
#include "evidence/nvidia/nras.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  static const std::vector<crypto::Jwk> keys = {
      {nvidia::nvidia_roots().device.front().certificate.public_key().value(), "", "k", {}}};
  if (const auto answer = parse_json(as_text({data, size}), {.depth = 16})) {
    (void)nvidia::verify_nras(*answer, keys, nvidia::kNrasIssuer, {1'795'305'600});
    (void)nvidia::looks_like_evidence(*answer);
  }
  return 0;
}
