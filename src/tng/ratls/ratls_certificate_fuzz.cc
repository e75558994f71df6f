// A peer's certificate, as it arrives before anything about the peer is known.
#include "tng/ratls/certificate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)cairn::tng::read_peer_certificate({data, size}, {1'780'000'000});
  (void)cairn::tng::read_quote_certificate({data, size});
  return 0;
}
