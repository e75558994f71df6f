#include "net/http_server.h"

#include <gtest/gtest.h>

#include "net/http_client.h"

namespace cairn::net {
namespace {

using namespace std::chrono_literals;

// A running server and what to ask of it.
Result<> with_server(Handler handler, ServerOptions options, std::function<Task<>(Runtime&, Endpoint)> test) {
  return run_task([&](Runtime& runtime) -> Task<> {
    HttpServer server(runtime, handler, options);
    CAIRN_CO_TRY(const Endpoint at, server.listen(Endpoint::tcp("127.0.0.1", 0)));
    const Result<> result = co_await test(runtime, at);
    CAIRN_CO_CHECK(co_await server.stop(200ms));
    EXPECT_EQ(server.connections(), 0U);
    co_return result;
  });
}

// Sends bytes, half-closes, and returns all that comes back.
Task<std::string> raw(Endpoint at, std::string bytes, bool half_close = true) {
  CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
  CAIRN_CO_CHECK(co_await stream->write(bytes));
  if (half_close) CAIRN_CO_CHECK(co_await stream->shutdown_write());
  stream->set_deadline(5s);
  std::string out;
  std::array<std::uint8_t, 4096> buffer;
  for (;;) {
    auto n = co_await stream->read_some(buffer);
    if (!n && n.error().code != ErrorCode::unavailable) co_return fail(n.error());
    if (!n || *n == 0) co_return out;
    out += as_text(ByteView(buffer).first(*n));
  }
}

Handler echo() {
  return responder([](Exchange& e) -> Task<Response> {
    CAIRN_CO_TRY(std::string body, co_await e.body());
    co_return Response::text(200, e.request().method + " " + e.request().target + " " + body);
  });
}

TEST(HttpServer, ServesTheClientWithKeepAlive) {
  const auto result = with_server(echo(), {}, [](Runtime&, Endpoint at) -> Task<> {
    HttpClient client;
    const std::string base = "http://" + at.text();
    for (int i = 0; i < 3; ++i) {
      CAIRN_CO_TRY(const Response r, co_await client.send({.method = "POST", .url = base + "/a?b=1", .body = "hello"}));
      EXPECT_EQ(r.status, 200);
      EXPECT_EQ(r.body, "POST /a?b=1 hello");
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, AnswersHeadersAndErrorsExactly) {
  struct Case {
    std::string request;
    std::string begins;
  };
  const std::vector<Case> cases = {
      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "HTTP/1.1 400 "},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 "},
      {"GET / FTP\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
      {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
      {"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n", "HTTP/1.1 200 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 417 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n", "HTTP/1.1 413 "},
      {"GET /" + std::string(limits::kTarget - 1, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
      {"GET /" + std::string(limits::kTarget, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 414 "},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(limits::kHeadBytes, 'a') + "\r\n\r\n", "HTTP/1.1 431 "},
  };
  const auto result = with_server(echo(), {}, [&](Runtime&, Endpoint at) -> Task<> {
    for (const Case& c : cases) {
      CAIRN_CO_TRY(const std::string answer, co_await raw(at, c.request));
      EXPECT_TRUE(answer.starts_with(c.begins)) << c.request.substr(0, 200) << "\n-> " << answer.substr(0, 200);
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

}  // namespace
}  // namespace cairn::net
