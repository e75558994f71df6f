// Any text as a sealed secret, as a payload and as a signer's key.
#include "guest/cdh/sealed_secret.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = cairn::as_text({data, size});
  if (const auto secret = cairn::cdh::split_sealed_secret(text)) {
    (void)cairn::cdh::signer_of(*secret);
    (void)cairn::cdh::parse_payload(secret->payload);
  }
  (void)cairn::cdh::parse_payload(text);
  (void)cairn::cdh::signer_key(text);
  return 0;
}
