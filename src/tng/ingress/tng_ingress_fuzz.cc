// What applications send to the front ends: SOCKS5 messages and the first bytes of HTTP/1 requests.
#include "tng/ingress/ingress.h"
#include "tng/ingress/socks5_wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn::tng;
  const cairn::ByteView input(data, size);
  (void)socks5::parse_greeting(input);
  (void)socks5::parse_password(input);
  (void)socks5::parse_request(input);
  (void)glimpse_http1(cairn::as_text(input));
  return 0;
}
