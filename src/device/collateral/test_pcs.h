// A collateral service, for tests.
#pragma once

#include "base/encoding.h"
#include "evidence/tdx/collateral.h"
#include "net/http.h"

namespace cairn::device {

// What a caching service answers for one platform.
inline net::Response answer_pcs(const tdx::Collateral& c, const net::RequestHead& head) {
  net::Response out = net::Response::text(200, "");
  const std::string_view path = head.path();
  if (path == "/tdx/certification/v4/tcb") {
    out.body = c.tcb_info;
    out.headers.set("TCB-Info-Issuer-Chain", percent_encode(c.tcb_signing_chain));
  } else if (path == "/tdx/certification/v4/qe/identity") {
    out.body = c.qe_identity;
    out.headers.set("SGX-Enclave-Identity-Issuer-Chain", percent_encode(c.qe_signing_chain));
  } else if (path == "/sgx/certification/v4/pckcrl") {
    out.body = as_text(c.pck_crl);
    out.headers.set("SGX-PCK-CRL-Issuer-Chain", percent_encode(c.pck_crl_issuer_chain));
  } else if (path == "/sgx/certification/v4/rootcacrl") {
    out.body = hex(c.root_crl);
  } else {
    return net::Response::text(404, "no");
  }
  return out;
}

}  // namespace cairn::device
