// Any text as a PEM chain, any bytes as a certificate. OpenSSL must accept what the strict parser accepts.
#include <cstdlib>

#include "crypto/x509.h"
#include "evidence/pki/certificate.h"

namespace {

void check(cairn::ByteView der) {
  using namespace cairn;
  const auto c = pki::parse_certificate(der);
  if (!c) return;
  const auto other = crypto::Certificate::from_der(der);
  if (!other) return;  // names and extensions that are not looked into may be broken inside
  if (other->serial() != Bytes(c->serial.begin(), c->serial.end()) && !(c->serial.size() == 1 && c->serial[0] == 0))
    std::abort();
  if (other->not_after() != c->not_after || other->is_ca() != c->ca) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  check({data, size});
  if (const auto chain = pki::parse_pem_chain({reinterpret_cast<const char*>(data), size}))
    for (const Bytes& der : *chain) check(der);
  return 0;
}
