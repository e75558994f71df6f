// X.509 certificates and requests as values, in the shape that Go's crypto/x509 gives them.
#pragma once

#include <openssl/x509.h>

#include <memory>

#include "crypto/x509.h"
#include "policy/builtins.h"

namespace cairn::policy {

template <auto release>
struct Release {
  void operator()(auto* p) const { release(p); }
};
template <class T, auto release>
using Owned = std::unique_ptr<T, Release<release>>;

// Undefined where Go would not read it. `texts`: with URIStrings, which is not Go's.
[[nodiscard]] Value certificate_value(CallContext& c, const crypto::Certificate& cert, bool texts = true);
// `der`: what it was read from.
[[nodiscard]] Value request_value(CallContext& c, X509_REQ* request, ByteView der);
// Go's number of an extended key usage; -1 where it has none.
[[nodiscard]] std::int64_t extended_usage(std::string_view oid);

}  // namespace cairn::policy
