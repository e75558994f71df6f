#include "tng/egress/egress.h"

#include <array>

#include "base/log.h"
#include "tng/http_forward.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

constexpr const char* refusal_text =
    "This service is protected: it answers only through an attested tunnel (use a TNG client in front of your "
    "application). To let a path pass in plaintext, its operator adds it to allow_non_tng_traffic_regexes.\n";

std::uint32_t mark_of(const Egress& config) {
  const auto* netfilter = std::get_if<NetfilterEgress>(&config.mode);
  return netfilter != nullptr ? netfilter->so_mark : 0;
}

// §3.5: what a 2.2.4 client, which returns no credit, can still be sent in this session.
bool nearly_starved(const net::Http2Stream* carrier) {
  return carrier != nullptr && !carrier->credit_ever_returned() &&
         carrier->send_credit() < static_cast<std::int64_t>(limits::legacy_credit_server);
}

}  // namespace

FirstBytes classify(ByteView first) {
  if (first.empty()) return FirstBytes::other;
  if (first[0] == 0x16) return first.size() == 1 || first[1] == 0x03 ? FirstBytes::tls : FirstBytes::other;
  return first[0] >= 'A' && first[0] <= 'Z' ? FirstBytes::http : FirstBytes::other;
}

EgressShard::EgressShard(const Egress& config, std::shared_ptr<Security> security, BlockStatusPtr status)
    : config_(&config), security_(std::move(security)), status_(std::move(status)), mark_(mark_of(config)) {}
EgressShard::~EgressShard() = default;

net::Task<> EgressShard::serve(net::StreamPtr stream, net::Endpoint service) {
  std::array<std::uint8_t, 16384> buffer;
  stream->set_deadline(limits::first_byte);
  CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
  if (n == 0) co_return Result<>{};
  stream->set_deadline(std::nullopt);
  const ByteView first = ByteView(buffer).first(n);
  const FirstBytes kind = classify(first);
  stream = net::with_prefix(to_bytes(first), std::move(stream));
  const bool inspects = config_->decap_from_http || config_->plaintext;
  if (kind == FirstBytes::tls && !config_->decap_from_http)
    co_return co_await attested(std::move(stream), std::move(service), nullptr);
  if (kind == FirstBytes::http && inspects) co_return co_await plain_http(std::move(stream), std::move(service));
  ++status_->plaintext_refused;
  co_return fail(ErrorCode::unauthenticated, kind == FirstBytes::tls
                                                 ? "TLS without the HTTP wrapping that decap_from_http asks for"
                                                 : "the connection is not an attested tunnel");
}

net::Task<net::StreamPtr> EgressShard::connect_service(net::Endpoint service) {
  auto stream = co_await net::connect(service, {.timeout = limits::connect, .mark = mark_});
  if (!stream) co_return fail(std::move(stream).error().in("the service behind the gateway"));
  co_return stream;
}

net::Task<> EgressShard::attested(net::StreamPtr stream, net::Endpoint service, const char* wrapping) {
  const auto* carrier = dynamic_cast<const net::Http2Stream*>(stream.get());
  const std::string peer = stream->peer().text();
  CAIRN_CO_TRY(Secured secured, co_await security_->handshake(std::move(stream)));
  const net::TlsInfo& info = secured.stream->info();
  const bool direct = info.alpn == alpn_direct;
  status_->session({.protocol = direct                ? "ra-tls"
                                : wrapping != nullptr ? wrapping
                                                      : "ra-tls-h2",
                    .tls_version = info.version,
                    .group = info.group,
                    .cipher = info.cipher,
                    .alpn = info.alpn,
                    .peer = peer,
                    .certificate_compressed = info.certificate_compressed});
  if (direct) {
    CAIRN_CO_TRY(auto upstream, co_await connect_service(std::move(service)));
    const Busy busy(*status_);
    co_return co_await counted_relay(*secured.stream, *upstream, *status_);
  }
  std::shared_ptr<net::Http2Session> session;
  const auto on_stream = [&](net::Http2StreamPtr tunnel) {
    if (nearly_starved(carrier)) session->shutdown();
    return tunnel_stream(std::move(tunnel), service);
  };
  session = net::Http2Session::server(std::move(secured.stream), on_stream);
  if (auto end = co_await session->run(); !end)
    spdlog::debug("{}: session with {}: {}", status_->name(), peer, end.error().text());
  co_return Result<>{};
}

net::Task<> EgressShard::tunnel_stream(net::Http2StreamPtr stream, net::Endpoint service) {
  net::Headers server{{"server", "tng"}};
  if (stream->request().method != "CONNECT") {
    net::ResponseHead refused{.status = 400, .headers = std::move(server)};
    CAIRN_CO_CHECK(co_await stream->respond(std::move(refused)));
    CAIRN_CO_CHECK(co_await stream->write("The method must be CONNECT.\n"));
    co_return co_await stream->shutdown_write();
  }
  const Busy busy(*status_);
  // The client's :authority is not looked at: where streams lead is this side's decision.
  auto upstream = co_await connect_service(std::move(service));
  if (!upstream) {
    ++status_->failed;
    spdlog::warn("{}: {}", status_->name(), printable(upstream.error().text()));
    net::ResponseHead unreachable{.status = upstream.error().code == ErrorCode::timed_out ? 504 : 502,
                                  .headers = std::move(server)};
    co_return co_await stream->respond(std::move(unreachable), true);
  }
  net::ResponseHead connected{.status = 200, .headers = std::move(server)};
  CAIRN_CO_CHECK(co_await stream->respond(std::move(connected)));
  // Ends of any kind belong to the application: an abrupt one was passed on.
  if (auto end = co_await counted_relay(*stream, **upstream, *status_); !end)
    spdlog::debug("{}: stream: {}", status_->name(), end.error().text());
  co_return Result<>{};
}

net::Task<> EgressShard::plain_http(net::StreamPtr stream, net::Endpoint service) {
  net::ServerOptions options;
  options.stall_timeout = std::chrono::minutes(15);
  const net::Handler handler = [this, &service](net::Exchange& exchange) -> net::Task<> {
    const auto& head = exchange.request();
    const bool wrapped = head.version == net::HttpVersion::http2 && head.headers.has("tng") &&
                         config_->decap_from_http && config_->decap_from_http->legacy;
    return wrapped ? unwrap(exchange, service) : plain_request(exchange, service);
  };
  co_return co_await net::serve_connection(std::move(stream), handler, options, &drain_);
}

net::Task<> EgressShard::unwrap(net::Exchange& exchange, const net::Endpoint& service) {
  net::ResponseHead accepted{.status = 200, .headers = {{"server", "tng"}}};
  CAIRN_CO_TRY(auto stream, co_await exchange.tunnel(std::move(accepted)));
  co_return co_await attested(std::move(stream), service, "ra-tls-h2-encap");
}

// Only what cannot carry anything but the one request that was matched.
bool EgressShard::may_pass(const net::RequestHead& head) const {
  if (!config_->plaintext || head.method == "CONNECT" || head.headers.has("Upgrade")) return false;
  if (head.absolute_form && head.headers.get("Host") != head.authority) return false;
  return config_->plaintext->allows(head.target);
}

net::Task<> EgressShard::refuse_plaintext(net::Exchange& exchange) {
  ++status_->plaintext_refused;
  auto response = net::Response::text(418, refusal_text);
  response.headers.add("server", "tng");
  response.headers.add("Connection", "close");
  co_return co_await exchange.respond(std::move(response));
}

net::Task<> EgressShard::plain_request(net::Exchange& exchange, const net::Endpoint& service) {
  if (!may_pass(exchange.request())) co_return co_await refuse_plaintext(exchange);
  const Busy busy(*status_);
  ++status_->plaintext_allowed;
  CAIRN_CO_TRY(const Forwardable what, co_await read_ahead(exchange, upstream_head(exchange.request())));
  auto stream = co_await connect_service(service);
  if (!stream) co_return co_await respond_failure(exchange, stream.error());
  net::Http1Connection upstream(*std::move(stream));
  auto end = co_await forward(exchange, upstream, what, *status_);
  if (!end && !exchange.started()) co_return co_await respond_failure(exchange, end.error());
  co_return end;
}

}  // namespace cairn::tng
