// Requests per second over loopback keep-alive, and bytes per second through relay().
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "net/http_client.h"
#include "net/http_server.h"

namespace {

using namespace cairn;
using namespace cairn::net;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

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
  TaskGroup group(co_await this_loop());
  for (int i = 0; i < connections; ++i) group.spawn(on_loop(runtime.loop(static_cast<std::size_t>(i)), ask(at, each)), "ask");
  co_await group.join();
  const double t = seconds_since(start);
  std::printf("http/1.1 keep-alive, %3d connections: %8.0f requests/s (client and server in this process)\n", connections,
              connections * each / t);
  co_return co_await server.stop(1s);
}

Task<> send_all(StreamPtr stream, std::size_t total) {
  const Bytes block(256U << 10, 'x');
  for (std::size_t sent = 0; sent < total; sent += block.size()) CAIRN_CO_CHECK(co_await stream->write(ByteView(block)));
  CAIRN_CO_CHECK(co_await stream->shutdown_write());
  std::uint8_t byte = 0;
  (void)co_await stream->read_some({&byte, 1});
  co_return Result<>{};
}

Task<> bulk(Runtime& runtime, std::size_t total) {
  CAIRN_CO_TRY(auto front, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
  CAIRN_CO_TRY(auto back, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
  const auto start = Clock::now();
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
  const auto drain = [](StreamPtr stream) -> Task<> {
    Bytes buffer(256U << 10);
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
      if (n == 0) co_return co_await stream->shutdown_write();
    }
  };
  CAIRN_CO_CHECK(co_await on_loop(runtime.loop(1), drain(std::move(sink))));
  co_await group.join();
  std::printf("relay tcp -> tcp: %.2f GB/s (sender and sink share the other core)\n",
              static_cast<double>(total) / 1e9 / seconds_since(start));
  co_return Result<>{};
}

}  // namespace

int main() {
  Runtime runtime({.loops = 2, .workers = 1, .signals = false});
  const auto result = runtime.run([](Runtime& r) -> Task<> {
    CAIRN_CO_CHECK(co_await requests(r, 1, 20'000));
    CAIRN_CO_CHECK(co_await requests(r, 64, 2'000));
    co_return co_await bulk(r, std::size_t{4} << 30);
  });
  if (!result) std::fprintf(stderr, "%s\n", result.error().text().c_str());
  return result ? 0 : 1;
}
