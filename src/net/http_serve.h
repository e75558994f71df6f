// What the two protocol engines of the server share. Internal to the area.
#pragma once

#include "net/http_server.h"

namespace cairn::net::serving {

struct Context {
  const Handler& handler;
  const ServerOptions& options;
  Drain* drain;
};

// Runs the handler; what it throws becomes `internal`.
[[nodiscard]] Task<> guarded(const Handler& handler, Exchange& exchange);
// The answer to a handler's error, or to a handler that answered nothing (result ok).
[[nodiscard]] Response answer_for(const Result<>& result);
// Fields the server adds to every final response: Date, Server.
void add_standard(Headers& extra, const Headers& given, const ServerOptions& options);
[[nodiscard]] bool has_no_body(int status);

// Take the stream; return when the connection has ended.
[[nodiscard]] Task<> http1(StreamPtr stream, Context context);
[[nodiscard]] Task<> http2(StreamPtr stream, Context context);

}  // namespace cairn::net::serving
