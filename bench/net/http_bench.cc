// Requests per second over loopback keep-alive; bytes per second through relay(), TLS and HTTP/2.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "crypto/x509.h"
#include "net/http2.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace {

using namespace cairn;
using namespace cairn::net;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Processor time of this process: what a busy machine does not distort.
double cpu_seconds() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Task<> ask(Endpoint at, int requests) {
  CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
  Http1Connection connection(std::move(stream));
  RequestHead head;
  head.method = "GET";
  head.authority = at.text();
  head.target = "/";
  for (int i = 0; i < requests; ++i) {
    CAIRN_CO_TRY(auto exchange, co_await connection.start(head, BodyKind::none));
    CAIRN_CO_CHECK(co_await exchange->head());
    CAIRN_CO_CHECK(co_await exchange->body());
  }
  co_return Result<>{};
}

Task<> requests(Runtime& runtime, int connections, int each) {
  HttpServer server(runtime, responder([](Exchange&) -> Task<Response> { co_return Response::text(200, "hello"); }));
  CAIRN_CO_TRY(const Endpoint at, server.listen(Endpoint::tcp("127.0.0.1", 0)));
  const auto start = Clock::now();
  const double cpu = cpu_seconds();
  TaskGroup group(co_await this_loop());
  for (int i = 0; i < connections; ++i)
    group.spawn(on_loop(runtime.loop(static_cast<std::size_t>(i)), ask(at, each)), "ask");
  co_await group.join();
  std::printf("http/1.1 keep-alive, %3d connections: %8.0f requests/s, %8.0f per cpu second (client and server)\n",
              connections, connections * each / seconds_since(start), connections * each / (cpu_seconds() - cpu));
  co_return co_await server.stop(1s);
}

Task<> send_all(StreamPtr stream, std::size_t total) {
  const Bytes block(256U << 10, 'x');
  for (std::size_t sent = 0; sent < total; sent += block.size())
    CAIRN_CO_CHECK(co_await stream->write(ByteView(block)));
  CAIRN_CO_CHECK(co_await stream->shutdown_write());
  std::uint8_t byte = 0;
  (void)co_await stream->read_some({&byte, 1});
  co_return Result<>{};
}

Task<> drain(StreamPtr stream) {
  Bytes buffer(256U << 10);
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
    if (n == 0) co_return co_await stream->shutdown_write();
  }
}

Task<> bulk(Runtime& runtime, std::size_t total) {
  CAIRN_CO_TRY(auto front, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
  CAIRN_CO_TRY(auto back, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
  const auto start = Clock::now();
  const double cpu = cpu_seconds();
  TaskGroup group(co_await this_loop());
  const auto sender = [](Endpoint at, std::size_t size) -> Task<> {
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
    co_return co_await send_all(std::move(stream), size);
  };
  group.spawn(on_loop(runtime.loop(1), sender(front->local(), total)), "sender");
  const auto forward = [](Listener& in, Endpoint out) -> Task<> {
    CAIRN_CO_TRY(StreamPtr a, co_await in.accept());
    CAIRN_CO_TRY(StreamPtr b, co_await connect(out));
    co_return co_await relay(*a, *b);
  };
  group.spawn(forward(*front, back->local()), "relay");
  CAIRN_CO_TRY(StreamPtr sink, co_await back->accept(runtime.loop(1)));
  CAIRN_CO_CHECK(co_await on_loop(runtime.loop(1), drain(std::move(sink))));
  co_await group.join();
  std::printf("relay tcp -> tcp: %.2f GB/s, %.2f GB per cpu second (sender, relay and sink)\n",
              static_cast<double>(total) / 1e9 / seconds_since(start),
              static_cast<double>(total) / 1e9 / (cpu_seconds() - cpu));
  co_return Result<>{};
}

// A certificate of our own.
std::shared_ptr<const TlsIdentity> identity() {
  const auto key = crypto::PrivateKey::generate(crypto::KeyType::ec_p256).value();
  crypto::CertificateTemplate t;
  t.subject = t.issuer = {{"CN", "bench"}};
  t.not_before = now().plus(-60);
  t.not_after = now().plus(3600);
  const auto certificate = crypto::issue(t, key.public_key(), key).value();
  return std::make_shared<const TlsIdentity>(TlsIdentity{certificate.pem(), key.pkcs8_pem()});
}

Task<> receive_wrapped(StreamPtr stream, std::shared_ptr<const TlsContext> tls, bool http2) {
  if (tls) {
    CAIRN_CO_TRY(stream, co_await tls_accept(std::move(stream), tls));
  }
  if (!http2) co_return co_await drain(std::move(stream));
  const auto session = Http2Session::server(std::move(stream), [](Http2StreamPtr one) -> Task<> {
    CAIRN_CO_CHECK(co_await one->respond({200, {}}));
    co_return co_await drain(std::move(one));
  });
  co_return co_await session->run();
}

Task<> send_wrapped(Endpoint at, std::shared_ptr<const TlsContext> tls, bool http2, std::size_t total) {
  CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
  if (tls) {
    CAIRN_CO_TRY(stream, co_await tls_connect(std::move(stream), tls, "bench"));
  }
  if (!http2) co_return co_await send_all(std::move(stream), total);
  const auto session = Http2Session::client(std::move(stream));
  TaskGroup group(co_await this_loop());
  group.spawn(session->run(), "session");
  RequestHead head;
  head.method = "CONNECT";
  head.authority = "bench";
  CAIRN_CO_TRY(auto one, co_await session->open(head));
  const Result<> sent = co_await send_all(std::move(one), total);
  session->close();
  co_await group.join();
  co_return sent;
}

// One stream, sender on one loop and receiver on the other.
Task<> wrapped(Runtime& runtime, bool secure, bool http2, std::size_t total) {
  std::shared_ptr<const TlsContext> server, client;
  if (secure) {
    TlsOptions options;
    options.identity = identity();
    CAIRN_CO_TRY(server, TlsContext::server(options));
    options.identity = nullptr;
    options.trust = TlsTrust::verifier;
    options.verifier = [](const TlsInfo&) -> Task<> { co_return Result<>{}; };
    CAIRN_CO_TRY(client, TlsContext::client(options));
  }
  CAIRN_CO_TRY(auto listener, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
  const auto start = Clock::now();
  const double cpu = cpu_seconds();
  TaskGroup group(co_await this_loop());
  group.spawn(on_loop(runtime.loop(1), send_wrapped(listener->local(), client, http2, total)), "sender");
  CAIRN_CO_TRY(StreamPtr stream, co_await listener->accept());
  CAIRN_CO_CHECK(co_await receive_wrapped(std::move(stream), server, http2));
  co_await group.join();
  std::printf("one stream over tcp%s%s: %.2f GB/s, %.2f GB per cpu second (both ends)\n", secure ? " + tls 1.3" : "",
              http2 ? " + http/2 CONNECT" : "", static_cast<double>(total) / 1e9 / seconds_since(start),
              static_cast<double>(total) / 1e9 / (cpu_seconds() - cpu));
  co_return Result<>{};
}

}  // namespace

int main() {
  Runtime runtime({.loops = 2, .workers = 1, .signals = false});
  const auto result = runtime.run([](Runtime& r) -> Task<> {
    CAIRN_CO_CHECK(co_await requests(r, 1, 20'000));
    CAIRN_CO_CHECK(co_await requests(r, 64, 2'000));
    CAIRN_CO_CHECK(co_await bulk(r, std::size_t{2} << 30));
    for (const bool secure : {false, true})
      for (const bool http2 : {false, true}) CAIRN_CO_CHECK(co_await wrapped(r, secure, http2, std::size_t{2} << 30));
    co_return Result<>{};
  });
  if (!result) std::fprintf(stderr, "%s\n", result.error().text().c_str());
  return result ? 0 : 1;
}
