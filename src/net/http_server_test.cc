#include "net/http_server.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "net/http2.h"
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
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
       "HTTP/1.1 200 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 417 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "},
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

// What the handlers of the following tests have in common.
Router routes() {
  Router router;
  router.add("GET", "/hello", responder([](Exchange&) -> Task<Response> { co_return Response::text(200, "hello"); }));
  router.add("GET", "/r/{repository}/{type}/{tag}", responder([](Exchange& e) -> Task<Response> {
               co_return Response::text(
                   200, e.parameter("repository") + "|" + e.parameter("type") + "|" + e.parameter("tag"));
             }));
  router.add("GET", "/r/fixed/{type}/{tag}",
             responder([](Exchange&) -> Task<Response> { co_return Response::text(200, "fixed"); }));
  router.add("*", "/rest/{path*}",
             responder([](Exchange& e) -> Task<Response> { co_return Response::text(200, e.parameter("path")); }));
  router.add("POST", "/echo", [](Exchange& e) -> Task<> {
    CAIRN_CO_CHECK(co_await e.begin({200, {}}));
    std::array<std::uint8_t, 1000> buffer;
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await e.read_some(buffer));
      if (n == 0) break;
      CAIRN_CO_CHECK(co_await e.write(ByteView(buffer).first(n)));
    }
    Headers trailers;
    trailers.add("X-Done", "yes");
    co_return co_await e.end(std::move(trailers));
  });
  router.add("GET", "/bytes/{count}", [](Exchange& e) -> Task<> {
    std::size_t left = std::stoul(e.parameter("count"));
    CAIRN_CO_CHECK(co_await e.begin({200, {}}));
    const std::string block(100'000, 'b');
    for (; left > 0; left -= std::min(left, block.size())) CAIRN_CO_CHECK(co_await e.write(block.substr(0, left)));
    co_return co_await e.end();
  });
  router.add("GET", "/fail", [](Exchange&) -> Task<> { co_return fail(ErrorCode::conflict, "state \"changed\""); });
  router.add("GET", "/bug", [](Exchange&) -> Task<> {
    throw std::runtime_error("secret detail");
    co_return Result<>{};
  });
  router.add("GET", "/silent", [](Exchange&) -> Task<> { co_return Result<>{}; });
  router.add("GET", "/injected", responder([](Exchange&) -> Task<Response> {
               Response r = Response::text(200, "x");
               r.headers.add("X", "a\r\nSet-Cookie: b");
               co_return r;
             }));
  router.add("GET", "/none", responder([](Exchange&) -> Task<Response> { co_return Response::empty(204); }));
  return router;
}

std::string status_line(const Result<std::string>& answer) {
  return answer ? answer->substr(0, answer->find("\r\n")) : answer.error().text();
}
std::string get(const std::string& target, const std::string& more = "", const std::string& method = "GET") {
  return method + " " + target + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n";
}

TEST(Router, FindsTheMostSpecificRoute) {
  const auto result = with_server(routes(), {}, [](Runtime&, Endpoint at) -> Task<> {
    struct Case {
      std::string target, answer;
    };
    const std::vector<Case> cases = {{"/hello", "hello"},
                                     {"/hello?x=/y", "hello"},
                                     {"/hell%6f", "hello"},
                                     {"/r/a/b%20c/d", "a|b c|d"},
                                     {"/r/fixed/x/y", "fixed"},
                                     {"/rest/a/b/c", "a/b/c"},
                                     {"/rest/", ""},
                                     {"/hello/", "not found"},
                                     {"/r/a/b", "not found"},
                                     {"/r/a/b/c/d", "not found"},
                                     {"/r/a//c", "not found"},
                                     {"/r/a/%2e%2e/c", "not found"},
                                     {"/r/a/../c", "not found"},
                                     {"/r/a/x%2Fy/c", "not found"},
                                     {"/r/a/x%00/c", "not found"},
                                     {"/r/a/%zz/c", "not found"}};
    HttpClient client;
    for (const Case& c : cases) {
      CAIRN_CO_TRY(const std::string answer, co_await raw(at, get(c.target)));
      EXPECT_EQ(answer.substr(answer.find("\r\n\r\n") + 4), c.answer) << c.target;
    }
    CAIRN_CO_TRY(const std::string refused, co_await raw(at, get("/hello", "", "DELETE")));
    EXPECT_TRUE(refused.starts_with("HTTP/1.1 405 "));
    EXPECT_NE(refused.find("Allow: GET\r\n"), std::string::npos);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, TellsErrorsWithoutDetailsOfBugs) {
  const auto result = with_server(routes(), {.server_header = "cairn"}, [](Runtime&, Endpoint at) -> Task<> {
    CAIRN_CO_TRY(const std::string conflict, co_await raw(at, get("/fail")));
    EXPECT_TRUE(conflict.starts_with("HTTP/1.1 409 "));
    EXPECT_TRUE(conflict.ends_with(R"({"error":"state \"changed\""})")) << conflict;
    EXPECT_NE(conflict.find("Server: cairn\r\n"), std::string::npos);
    for (const char* target : {"/bug", "/silent", "/injected"}) {
      CAIRN_CO_TRY(const std::string bug, co_await raw(at, get(target)));
      EXPECT_TRUE(bug.starts_with("HTTP/1.1 500 ")) << target << bug;
      EXPECT_EQ(bug.find("secret"), std::string::npos);
      EXPECT_EQ(bug.find("Set-Cookie"), std::string::npos);
    }
    CAIRN_CO_TRY(const std::string none, co_await raw(at, get("/none")));
    EXPECT_EQ(none.find("Content-Length"), std::string::npos);
    CAIRN_CO_TRY(const std::string head, co_await raw(at, get("/hello", "", "HEAD")));
    EXPECT_NE(head.find("Content-Length: 5\r\n"), std::string::npos);
    EXPECT_TRUE(head.ends_with("\r\n\r\n"));
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, PipelinesKeepsAliveAndCloses) {
  const auto result = with_server(routes(), {.max_requests = 3}, [](Runtime&, Endpoint at) -> Task<> {
    const auto count = [](const std::string& text, const std::string& what) {
      std::size_t n = 0;
      for (auto p = text.find(what); p != std::string::npos; p = text.find(what, p + 1)) ++n;
      return n;
    };
    CAIRN_CO_TRY(const std::string two,
                 co_await raw(at, get("/hello") + get("/hello", "Connection: close\r\n") + get("/hello")));
    EXPECT_EQ(count(two, "HTTP/1.1 200 OK"), 2U);
    CAIRN_CO_TRY(const std::string three,
                 co_await raw(at, get("/hello") + get("/hello") + get("/hello") + get("/hello")));
    EXPECT_EQ(count(three, "HTTP/1.1 200 OK"), 3U);  // max_requests
    EXPECT_EQ(count(three, "Connection: close"), 1U);
    // A body that the handler did not read does not become the next request.
    CAIRN_CO_TRY(
        const std::string body,
        co_await raw(at, "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nGET /fail" + get("/none")));
    EXPECT_EQ(count(body, "HTTP/1.1 "), 2U);
    EXPECT_EQ(count(body, "HTTP/1.1 204"), 1U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, SlowClientsAreCutOff) {
  ServerOptions options;
  options.head_timeout = 30ms;
  options.idle_timeout = 60ms;
  options.stall_timeout = 40ms;
  const auto result = with_server(routes(), options, [](Runtime&, Endpoint at) -> Task<> {
    EXPECT_TRUE(status_line(co_await raw(at, "GET /hello HT", false)).starts_with("HTTP/1.1 408 "));
    EXPECT_EQ((co_await raw(at, "", false)).value(), "");  // idle: closed without a word
    const auto body = co_await raw(at, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", false);
    EXPECT_EQ(body->find("0\r\n\r\n"), std::string::npos);  // cut, not completed
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, ManyHeadersUpToTheLimit) {
  const auto result = with_server(routes(), {}, [](Runtime&, Endpoint at) -> Task<> {
    const auto fields = [](std::size_t n) {
      std::string out;
      for (std::size_t i = 0; i < n; ++i) out += "A" + std::to_string(i) + ": b\r\n";
      return out;
    };
    EXPECT_EQ(status_line(co_await raw(at, get("/hello", fields(limits::kHeaders - 1)))), "HTTP/1.1 200 OK");
    EXPECT_TRUE(status_line(co_await raw(at, get("/hello", fields(limits::kHeaders)))).starts_with("HTTP/1.1 431 "));
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, ConnectionsAreBounded) {
  const auto result = with_server(routes(), {.max_connections = 2}, [](Runtime&, Endpoint at) -> Task<> {
    CAIRN_CO_TRY(StreamPtr one, co_await connect(at));
    CAIRN_CO_TRY(StreamPtr two, co_await connect(at));
    CAIRN_CO_CHECK(co_await sleep_for(20ms));
    const auto third = co_await raw(at, get("/hello"));
    EXPECT_TRUE(!third || third->empty());
    one.reset();
    CAIRN_CO_CHECK(co_await sleep_for(20ms));
    EXPECT_EQ(status_line(co_await raw(at, get("/hello"))), "HTTP/1.1 200 OK");
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, NoticesThatTheClientHasGone) {
  bool gone = false, ended = false;
  Handler wait = [&](Exchange& e) -> Task<> {
    Event event;
    e.on_gone([&] {
      gone = true;
      event.set();
    });
    const auto r = co_await with_timeout(event.wait(), 5s);
    ended = r.has_value();
    co_return co_await e.respond(Response::text(200, "late"));
  };
  const auto result = with_server(wait, {}, [&](Runtime&, Endpoint at) -> Task<> {
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
    CAIRN_CO_CHECK(co_await stream->write(get("/")));
    CAIRN_CO_CHECK(co_await sleep_for(10ms));
    EXPECT_FALSE(gone);
    stream.reset();
    CAIRN_CO_CHECK(co_await sleep_for(20ms));
    EXPECT_TRUE(gone);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
  EXPECT_TRUE(ended);
}

TEST(HttpServer, WatchingForTheClientLosesNothing) {
  Handler watched = [](Exchange& e) -> Task<> {
    bool gone = false;
    e.on_gone([&gone] { gone = true; });
    CAIRN_CO_CHECK(co_await sleep_for(10ms));
    EXPECT_FALSE(gone);
    co_return co_await e.respond(Response::text(200, e.request().target));
  };
  const auto result = with_server(watched, {}, [](Runtime&, Endpoint at) -> Task<> {
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
    stream->set_deadline(5s);
    for (const char* target : {"/1", "/2", "/3"}) CAIRN_CO_CHECK(co_await stream->write(get(target)));
    std::string all;
    std::array<std::uint8_t, 500> buffer;
    while (all.find("/3") == std::string::npos) {
      CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
      if (n == 0) break;
      all += as_text(ByteView(buffer).first(n));
    }
    EXPECT_NE(all.find("/1"), std::string::npos);
    EXPECT_NE(all.find("/2"), std::string::npos);
    EXPECT_NE(all.find("/3"), std::string::npos);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, StoppingFinishesWhatIsUnderWay) {
  const auto result = run_task([](Runtime& runtime) -> Task<> {
    HttpServer server(runtime, [](Exchange& e) -> Task<> {
      const bool quick = e.request().target == "/quick";
      CAIRN_CO_CHECK(co_await sleep_for(quick ? 30ms : 3'600'000ms));
      co_return co_await e.respond(Response::text(200, "done"));
    });
    CAIRN_CO_TRY(const Endpoint at, server.listen(Endpoint::tcp("127.0.0.1", 0)));
    CAIRN_CO_TRY(StreamPtr idle, co_await connect(at));
    std::string quick, stuck;
    const auto ask = [](Endpoint where, std::string target, std::string& out) -> Task<> {
      CAIRN_CO_TRY(out, co_await raw(where, get(target), false));
      co_return Result<>{};
    };
    const auto stop = [](HttpServer& s) -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(10ms));
      co_return co_await s.stop(100ms);
    };
    CAIRN_CO_CHECK(co_await both(both(ask(at, "/quick", quick), ask(at, "/stuck", stuck)), stop(server)));
    EXPECT_TRUE(quick.ends_with("done"));
    EXPECT_EQ(stuck, "");
    EXPECT_FALSE(co_await connect(at));
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, TunnelsAfterConnectAndUpgrade) {
  Handler tunnel = [](Exchange& e) -> Task<> {
    ResponseHead head{e.request().method == "CONNECT" ? 200 : 101, {}};
    if (head.status == 101) head.headers.add("Upgrade", "echo");
    CAIRN_CO_TRY(StreamPtr stream, co_await e.tunnel(std::move(head)));
    std::array<std::uint8_t, 100> buffer;
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
      if (n == 0) co_return co_await stream->shutdown_write();
      CAIRN_CO_CHECK(co_await stream->write(ByteView(buffer).first(n)));
    }
  };
  const auto result = with_server(tunnel, {}, [](Runtime&, Endpoint at) -> Task<> {
    CAIRN_CO_TRY(const std::string connected,
                 co_await raw(at, "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\nat once"));
    EXPECT_TRUE(connected.starts_with("HTTP/1.1 200 OK\r\n"));
    EXPECT_TRUE(connected.ends_with("\r\n\r\nat once")) << connected;
    EXPECT_EQ(connected.find("Content-Length"), std::string::npos);
    CAIRN_CO_TRY(const std::string upgraded,
                 co_await raw(at, get("/", "Upgrade: echo\r\nConnection: Upgrade\r\n") + "raw"));
    EXPECT_TRUE(upgraded.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    EXPECT_TRUE(upgraded.ends_with("\r\n\r\nraw"));
    EXPECT_TRUE(status_line(co_await raw(at, get("/"))).starts_with("HTTP/1.1 400 "));  // 101 without being asked
    // The client side of both.
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
    Http1Connection connection(std::move(stream));
    RequestHead head;
    head.method = "CONNECT";
    head.authority = "a.b:443";
    CAIRN_CO_TRY(auto exchange, co_await connection.start(head, BodyKind::none));
    CAIRN_CO_CHECK(co_await exchange->head());
    CAIRN_CO_TRY(StreamPtr pipe, co_await exchange->tunnel());
    EXPECT_FALSE(connection.reusable());
    CAIRN_CO_CHECK(co_await pipe->write("12345"));
    std::array<std::uint8_t, 5> five;
    CAIRN_CO_CHECK(co_await pipe->read_exactly(five));
    EXPECT_EQ(as_text(five), "12345");
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

// ---- clients by others

// Runs a shell command on a worker; its output, or the exit status as an error.
Task<std::string> shell(Runtime& runtime, std::string command) {
  CAIRN_CO_TRY(auto out, co_await runtime.workers().offload([command]() -> std::string {
    std::string text;
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    std::array<char, 4096> buffer;
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
    const int status = ::pclose(pipe);
    return status == 0 ? text : "exit " + std::to_string(status) + ": " + text;
  }));
  co_return out;
}

TEST(HttpServer, SpeaksWithCurl) {
  if (std::system("command -v curl >/dev/null 2>&1") != 0) GTEST_SKIP() << "curl is not installed";
  const auto result = with_server(routes(), {}, [](Runtime& runtime, Endpoint at) -> Task<> {
    const std::string base = "http://" + at.text();
    for (const char* version : {"--http1.1", "--http2-prior-knowledge", "--http1.0"}) {
      const std::string curl = std::string("curl -sS --max-time 10 ") + version + " ";
      EXPECT_EQ((co_await shell(runtime, curl + base + "/hello")).value(), "hello") << version;
      EXPECT_EQ((co_await shell(runtime, curl + base + "/hello " + base + "/r/a/b/c")).value(), "helloa|b|c")
          << version;
      EXPECT_EQ(
          (co_await shell(runtime, curl + "-o /dev/null -w '%{http_code} %{size_download}' " + base + "/bytes/3000000"))
              .value(),
          "200 3000000")
          << version;
      EXPECT_EQ((co_await shell(runtime,
                                "head -c 2000000 /dev/zero | " + curl + "--data-binary @- " + base + "/echo | wc -c"))
                    .value(),
                "2000000\n")
          << version;
      EXPECT_EQ((co_await shell(runtime, curl + "-o /dev/null -w '%{http_code}' " + base + "/fail")).value(), "409")
          << version;
      EXPECT_EQ((co_await shell(runtime, curl + "-I -o /dev/null -w '%{http_code}' " + base + "/hello")).value(), "200")
          << version;
      EXPECT_EQ((co_await shell(runtime, curl + "-X DELETE -o /dev/null -w '%{http_code}' " + base + "/hello")).value(),
                "405")
          << version;
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpServer, TwoProtocolsOneHandlerSameAnswers) {
  const auto result = with_server(routes(), {}, [](Runtime&, Endpoint at) -> Task<> {
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
    const auto session = Http2Session::client(std::move(stream));
    TaskGroup group(co_await this_loop());
    group.spawn(session->run(), "client");
    const auto ask = [](Http2Session& s, std::string method, std::string target, std::string body,
                        ResponseHead& head) -> Task<std::string> {
      RequestHead request;
      request.method = std::move(method);
      request.scheme = "http";
      request.authority = "x";
      request.target = std::move(target);
      CAIRN_CO_TRY(auto one, co_await s.open(std::move(request), body.empty()));
      if (!body.empty()) {
        CAIRN_CO_CHECK(co_await one->write(body));
        CAIRN_CO_CHECK(co_await one->shutdown_write());
      }
      CAIRN_CO_TRY(head, co_await one->response());
      std::string out;
      std::array<std::uint8_t, 1000> buffer;
      for (;;) {
        CAIRN_CO_TRY(const std::size_t n, co_await one->read_some(buffer));
        if (n == 0) break;
        out += as_text(ByteView(buffer).first(n));
      }
      if (one->trailers().has("x-done")) out += "+trailers";
      co_return out;
    };
    const auto or_error = [](const Result<std::string>& r) { return r ? *r : "error: " + r.error().text(); };
    ResponseHead head;
    EXPECT_EQ((or_error(co_await ask(*session, "GET", "/hello", "", head))), "hello");
    EXPECT_EQ(head.headers.get("content-length"), "5");
    EXPECT_EQ((or_error(co_await ask(*session, "POST", "/echo", "body", head))), "body+trailers");
    EXPECT_EQ((or_error(co_await ask(*session, "GET", "/bug", "", head))), R"({"error":"internal error"})");
    EXPECT_EQ(head.status, 500);
    EXPECT_EQ((or_error(co_await ask(*session, "HEAD", "/hello", "", head))), "");
    EXPECT_EQ(head.headers.get("content-length"), "5");
    EXPECT_EQ((or_error(co_await ask(*session, "GET", "/" + std::string(limits::kTarget, 'a'), "", head))), "");
    EXPECT_EQ(head.status, 414);
    session->close();
    co_await group.stop(1s);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

}  // namespace
}  // namespace cairn::net
