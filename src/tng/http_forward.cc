#include "tng/http_forward.h"

#include <charconv>

#include "base/json.h"
#include "base/log.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

constexpr std::size_t read_ahead_limit = 256U << 10;
constexpr std::size_t body_buffer = 64U << 10;

bool wants_upgrade(const net::Headers& headers) {
  return headers.has("Upgrade") && headers.has_token("Connection", "upgrade");
}

// Lets the exchange's on_gone, which may outlive the upstream exchange, end it while it lasts.
class Cord {
 public:
  explicit Cord(net::ClientExchange& up) : up_(std::make_shared<net::ClientExchange*>(&up)) {}
  Cord(const Cord&) = delete;
  Cord& operator=(const Cord&) = delete;
  ~Cord() { *up_ = nullptr; }
  void tie(net::Exchange& exchange) const {
    exchange.on_gone([up = up_] {
      if (*up != nullptr) (*up)->close();
    });
  }

 private:
  std::shared_ptr<net::ClientExchange*> up_;
};

// Copies the request body; runs beside the response.
net::Task<> upload(net::Exchange& exchange, net::ClientExchange& up, const Cord& cord, BlockStatus& status) {
  std::vector<std::uint8_t> buffer(body_buffer);
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await exchange.read_some(buffer));
    if (n == 0) break;
    status.from_downstream += n;
    CAIRN_CO_CHECK(co_await up.write(ByteView(buffer).first(n)));
  }
  CAIRN_CO_CHECK(co_await up.end(exchange.trailers()));
  cord.tie(exchange);
  co_return Result<>{};
}

net::Task<> switch_protocols(net::Exchange& exchange, net::ClientExchange& up, net::ResponseHead head,
                             BlockStatus& status) {
  CAIRN_CO_TRY(auto upstream, co_await up.tunnel());
  CAIRN_CO_TRY(auto downstream, co_await exchange.tunnel(std::move(head)));
  co_return co_await counted_relay(*downstream, *upstream, status);
}

net::Task<> download(net::Exchange& exchange, net::ClientExchange& up, const std::vector<net::ResponseHead>& interim,
                     BlockStatus& status) {
  const auto begin = std::chrono::steady_clock::now();
  CAIRN_CO_TRY(net::ResponseHead head, co_await up.head());
  status.first_byte.observe(std::chrono::steady_clock::now() - begin);
  for (const auto& early : interim)
    if (early.status != 100) CAIRN_CO_CHECK(co_await exchange.interim(early));
  if (head.status == 101) co_return co_await switch_protocols(exchange, up, std::move(head), status);
  head.headers.remove_hop_by_hop();
  CAIRN_CO_CHECK(co_await exchange.begin(std::move(head)));
  std::vector<std::uint8_t> buffer(body_buffer);
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await up.read_some(buffer));
    if (n == 0) break;
    status.to_downstream += n;
    CAIRN_CO_CHECK(co_await exchange.write(ByteView(buffer).first(n)));
  }
  co_return co_await exchange.end(up.trailers());
}

}  // namespace

net::RequestHead upstream_head(const net::RequestHead& received) {
  net::RequestHead head = received;
  const std::optional<std::string> upgrade =
      wants_upgrade(head.headers) ? std::optional<std::string>(*head.headers.get("Upgrade")) : std::nullopt;
  head.headers.remove_hop_by_hop();
  for (const char* name : {"Proxy-Authorization", "Proxy-Connection", "Proxy-Authenticate", "Expect"})
    head.headers.remove(name);
  if (upgrade) {
    head.headers.set("Connection", "Upgrade");
    head.headers.set("Upgrade", *upgrade);
  }
  if (!head.authority.empty()) head.headers.set("Host", head.authority);
  head.version = net::HttpVersion::http1_1;
  head.absolute_form = false;
  head.scheme = "http";
  return head;
}

net::Task<Forwardable> read_ahead(net::Exchange& exchange, net::RequestHead head) {
  const net::RequestHead& received = exchange.request();
  Forwardable out;
  out.head = std::move(head);
  const auto length = received.headers.get("Content-Length");
  if (length && *length != "0")
    out.body = net::BodyKind::sized;
  else if (received.headers.has("Transfer-Encoding"))
    out.body = net::BodyKind::chunked;
  else if (received.version == net::HttpVersion::http2 && !length &&
           (received.method == "POST" || received.method == "PUT" || received.method == "PATCH"))
    out.body = net::BodyKind::chunked;
  std::size_t size = 0;
  const bool known = out.body == net::BodyKind::sized &&
                     std::from_chars(length->data(), length->data() + length->size(), size).ec == std::errc{};
  if (known && size <= read_ahead_limit) {
    CAIRN_CO_TRY(out.buffered, co_await exchange.body(read_ahead_limit));
  }
  co_return out;
}

net::Task<> forward(net::Exchange& exchange, net::Http1Connection& upstream, const Forwardable& request,
                    BlockStatus& status) {
  std::vector<net::ResponseHead> interim;
  CAIRN_CO_TRY(const auto up, co_await upstream.start(request.head, request.body,
                                                      [&](const net::ResponseHead& head) { interim.push_back(head); }));
  const Cord cord(*up);
  if (request.body == net::BodyKind::none || request.buffered) {
    if (request.buffered) {
      CAIRN_CO_CHECK(co_await up->write(as_bytes(*request.buffered)));
      CAIRN_CO_CHECK(co_await up->end());
      status.from_downstream += request.buffered->size();
    }
    cord.tie(exchange);
    co_return co_await download(exchange, *up, interim, status);
  }
  // The response may come before the request is complete, and may make the rest of it pointless.
  net::TaskGroup uploading(co_await net::this_loop());
  uploading.spawn(upload(exchange, *up, cord, status), "request body");
  auto end = co_await download(exchange, *up, interim, status);
  co_await uploading.stop();
  co_return end;
}

bool is_attestation_error(const Error& error) {
  return error.code == ErrorCode::evidence_rejected || error.where.starts_with("ratls.");
}

net::Task<> respond_failure(net::Exchange& exchange, const Error& error) {
  const bool late = error.code == ErrorCode::timed_out;
  Json body = {{"code", std::string(name(error.code))}, {"message", printable(error.message, 1024)}};
  body["attestation_error"] = is_attestation_error(error) ? Json(error.where) : Json(nullptr);
  co_return co_await exchange.respond(net::Response::json(late ? 504 : 502, compact_json(body) + "\n"));
}

net::Task<> counted_relay(net::Stream& downstream, net::Stream& upstream, BlockStatus& status) {
  net::RelayCounts counts;
  struct Add {
    BlockStatus& status;
    net::RelayCounts& counts;
    ~Add() {
      status.from_downstream += counts.a_to_b;
      status.to_downstream += counts.b_to_a;
    }
  } add{status, counts};
  net::RelayOptions options;
  options.buffer = limits::relay_buffer;
  co_return co_await net::relay(downstream, upstream, options, &counts);
}

}  // namespace cairn::tng
