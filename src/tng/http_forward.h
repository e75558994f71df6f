// One HTTP request relayed to an HTTP/1.1 upstream over any stream: bodies both ways as they come, upgrades, trailers,
// interim responses; nothing is held back.
#pragma once

#include <memory>
#include <string>

#include "net/http_client.h"
#include "net/http_server.h"
#include "tng/status.h"

namespace cairn::tng {

// The request as an upstream gets it: origin form, without hop-by-hop fields and without those meant for a proxy.
// An Upgrade is kept.
[[nodiscard]] net::RequestHead upstream_head(const net::RequestHead& received);

// A request whose body was read ahead if it is small and of known length, so that it can be sent a second time.
struct Forwardable {
  net::RequestHead head;
  net::BodyKind body = net::BodyKind::none;
  std::optional<std::string> buffered;
};
[[nodiscard]] net::Task<Forwardable> read_ahead(net::Exchange& exchange, net::RequestHead head);

// Sends `request` on `upstream` and the answer to `exchange`. An error before exchange.started() leaves the exchange
// open for another answer or another attempt (only if request.buffered or there is no body).
[[nodiscard]] net::Task<> forward(net::Exchange& exchange, net::Http1Connection& upstream, const Forwardable& request,
                                  BlockStatus& status);

// Answers with {"code","message","attestation_error"}: 504 for timeouts, else 502.
[[nodiscard]] net::Task<> respond_failure(net::Exchange& exchange, const Error& error);
// Whether an error says that the peer's attestation, and nothing else, failed.
[[nodiscard]] bool is_attestation_error(const Error& error);

// Both ways until both have ended, counted.
[[nodiscard]] net::Task<> counted_relay(net::Stream& downstream, net::Stream& upstream, BlockStatus& status);

}  // namespace cairn::tng
