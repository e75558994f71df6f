#include "net/http2.h"

#include <gtest/gtest.h>

namespace cairn::net {
namespace {

using namespace std::chrono_literals;

RequestHead request(std::string method, std::string target = "/") {
  RequestHead head;
  head.method = std::move(method);
  head.scheme = "http";
  head.authority = "tng.internal";
  if (head.method != "CONNECT") head.target = std::move(target);
  return head;
}

// A client and a server session joined in memory; `test` gets the client.
Result<> with_sessions(Http2Session::OnStream serve, std::function<Task<>(Http2Session&, Http2Session&)> test,
                       Http2Options client_options = {}, Http2Options server_options = {}) {
  return run_task([&](Runtime&) -> Task<> {
    const Executor loop = co_await this_loop();
    auto [a, b] = memory_pair(loop);
    const auto client = Http2Session::client(std::move(a), client_options);
    const auto server = Http2Session::server(std::move(b), serve, server_options);
    TaskGroup group(loop);
    group.spawn(client->run(), "client");
    group.spawn(server->run(), "server");
    const Result<> result = co_await with_timeout(test(*client, *server), 20s);
    client->close();
    server->close();
    co_await group.stop(2s);
    co_return result;
  });
}

// CONNECT streams echo; others get 400.
Task<> echo(Http2StreamPtr stream) {
  if (stream->request().method != "CONNECT") co_return co_await stream->respond({400, {}}, true);
  ResponseHead accepted{200, {}};
  accepted.headers.add("Server", "tng");
  CAIRN_CO_CHECK(co_await stream->respond(std::move(accepted)));
  Bytes buffer(100'000);
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
    if (n == 0) co_return co_await stream->shutdown_write();
    CAIRN_CO_CHECK(co_await stream->write(ByteView(buffer).first(n)));
  }
}

Task<> send_all(Stream& stream, std::size_t total) {
  const Bytes block(70'000, 'd');
  for (std::size_t sent = 0; sent < total; sent += block.size()) {
    const ByteView step = ByteView(block).first(std::min(block.size(), total - sent));
    CAIRN_CO_CHECK(co_await stream.write(step));
  }
  co_return co_await stream.shutdown_write();
}
Task<> receive_all(Stream& stream, std::size_t& total) {
  Bytes buffer(50'000);
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await stream.read_some(buffer));
    if (n == 0) co_return Result<>{};
    total += n;
  }
}

Task<> connect_and_echo(Http2Session& session, std::size_t size) {
  CAIRN_CO_TRY(auto stream, co_await session.open(request("CONNECT")));
  CAIRN_CO_TRY(const ResponseHead head, co_await stream->response());
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.get("server"), "tng");
  std::size_t back = 0;
  CAIRN_CO_CHECK(co_await both(send_all(*stream, size), receive_all(*stream, back)));
  EXPECT_EQ(back, size);
  co_return Result<>{};
}

TEST(Http2, ConnectStreamsAreBytePipesWithHalfClose) {
  const auto result = with_sessions(echo, [](Http2Session& client, Http2Session& server) -> Task<> {
    CAIRN_CO_CHECK(co_await connect_and_echo(client, 0));
    CAIRN_CO_CHECK(co_await connect_and_echo(client, 5'000'000));
    TaskGroup group(co_await this_loop());
    for (int i = 0; i < 150; ++i) group.spawn(connect_and_echo(client, 20'000), "echo");
    co_await group.join();
    CAIRN_CO_CHECK(co_await sleep_for(5ms));
    EXPECT_EQ(client.streams(), 0U);
    EXPECT_EQ(server.streams(), 0U);
    EXPECT_TRUE(client.credit_ever_returned());
    CAIRN_CO_TRY(auto bad, co_await client.open(request("GET"), true));
    CAIRN_CO_TRY(const ResponseHead refused, co_await bad->response());
    EXPECT_EQ(refused.status, 400);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, PostBodiesFlowBothWaysAtOnce) {
  const auto serve = [](Http2StreamPtr stream) -> Task<> {
    EXPECT_TRUE(stream->request().headers.has("tng"));
    CAIRN_CO_CHECK(co_await stream->respond({200, {}}));
    std::array<std::uint8_t, 4> four;
    for (int i = 0; i < 3; ++i) {
      CAIRN_CO_CHECK(co_await stream->read_exactly(four));
      CAIRN_CO_CHECK(co_await stream->write(ByteView(four)));
    }
    Headers sum;
    sum.add("X-Sum", "12");
    co_return co_await stream->send_trailers(std::move(sum));
  };
  const auto result = with_sessions(serve, [](Http2Session& client, Http2Session&) -> Task<> {
    auto head = request("POST", "/");
    head.headers.add("tng", "{}");
    CAIRN_CO_TRY(auto stream, co_await client.open(std::move(head)));
    CAIRN_CO_CHECK(co_await stream->response());
    std::array<std::uint8_t, 4> four;
    for (const char* word : {"ping", "pong", "last"}) {
      CAIRN_CO_CHECK(co_await stream->write(word));
      CAIRN_CO_CHECK(co_await stream->read_exactly(four));
      EXPECT_EQ(as_text(four), word);
    }
    std::uint8_t byte;
    EXPECT_EQ((co_await stream->read_some({&byte, 1})).value(), 0U);
    EXPECT_EQ(stream->trailers().get("x-sum"), "12");
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, UnreadBytesHoldTheSenderBack) {
  Event go;
  std::size_t got = 0;
  const auto serve = [&](Http2StreamPtr stream) -> Task<> {
    CAIRN_CO_CHECK(co_await stream->respond({200, {}}));
    CAIRN_CO_CHECK(co_await go.wait());
    co_return co_await receive_all(*stream, got);
  };
  Http2Options small;
  small.stream_window = 65'535;
  const auto result = with_sessions(
      serve,
      [&](Http2Session& client, Http2Session&) -> Task<> {
        CAIRN_CO_TRY(auto stream, co_await client.open(request("CONNECT")));
        CAIRN_CO_CHECK(co_await stream->response());
        constexpr std::size_t kTotal = 2'000'000;
        std::size_t sent = 0;
        const auto pour = [](Http2Stream& s, std::size_t& count) -> Task<> {
          const Bytes block(10'000);
          while (count < kTotal) {
            CAIRN_CO_CHECK(co_await s.write(ByteView(block)));
            count += block.size();
          }
          co_return co_await s.shutdown_write();
        };
        TaskGroup group(co_await this_loop());
        group.spawn(pour(*stream, sent), "pour");
        CAIRN_CO_CHECK(co_await sleep_for(30ms));
        EXPECT_LT(sent, 500'000U);  // the window and what write() leaves behind
        EXPECT_EQ(stream->send_credit(), 0);
        EXPECT_FALSE(stream->credit_ever_returned());
        go.set();
        co_await group.join();
        CAIRN_CO_CHECK(co_await sleep_for(10ms));
        EXPECT_EQ(got, kTotal);
        EXPECT_TRUE(stream->credit_ever_returned());
        co_return Result<>{};
      },
      {}, small);
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, ResetsAreToldToBothSides) {
  bool told = false;
  const auto serve = [&](Http2StreamPtr stream) -> Task<> {
    stream->on_reset([&] { told = true; });
    CAIRN_CO_CHECK(co_await stream->respond({200, {}}));
    std::uint8_t byte;
    const auto n = co_await stream->read_some({&byte, 1});
    EXPECT_EQ(n.error().code, ErrorCode::unavailable);
    EXPECT_FALSE(co_await stream->write("x"));
    co_return Result<>{};
  };
  const auto result = with_sessions(serve, [&](Http2Session& client, Http2Session& server) -> Task<> {
    {
      CAIRN_CO_TRY(auto stream, co_await client.open(request("CONNECT")));
      CAIRN_CO_CHECK(co_await stream->response());
    }  // destroyed while open
    CAIRN_CO_CHECK(co_await sleep_for(10ms));
    EXPECT_TRUE(told);
    EXPECT_EQ(server.streams(), 0U);
    EXPECT_TRUE(client.can_open());
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, AnswersInFullEvenIfTheRequestIsNotRead) {
  const std::string body(600'000, 'b');
  const auto serve = [&](Http2StreamPtr stream) -> Task<> {
    CAIRN_CO_CHECK(co_await stream->respond({200, {}}));
    CAIRN_CO_CHECK(co_await stream->write(body));
    co_return co_await stream->shutdown_write();  // and the handle is gone with most of it unsent
  };
  const auto result = with_sessions(serve, [&](Http2Session& client, Http2Session& server) -> Task<> {
    CAIRN_CO_TRY(auto stream, co_await client.open(request("POST")));
    CAIRN_CO_CHECK(co_await stream->write("never read"));
    std::size_t got = 0;
    CAIRN_CO_CHECK(co_await receive_all(*stream, got));
    EXPECT_EQ(got, body.size());
    CAIRN_CO_CHECK(co_await sleep_for(5ms));
    EXPECT_EQ(server.streams(), 0U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, ShutdownLetsStreamsFinish) {
  const auto result = with_sessions(echo, [](Http2Session& client, Http2Session& server) -> Task<> {
    CAIRN_CO_TRY(auto stream, co_await client.open(request("CONNECT")));
    CAIRN_CO_CHECK(co_await stream->response());
    server.shutdown();
    CAIRN_CO_CHECK(co_await sleep_for(5ms));
    EXPECT_FALSE(client.can_open());
    EXPECT_FALSE(co_await client.open(request("CONNECT")));
    CAIRN_CO_CHECK(co_await stream->write("still"));
    std::array<std::uint8_t, 5> five;
    CAIRN_CO_CHECK(co_await stream->read_exactly(five));
    CAIRN_CO_CHECK(co_await stream->shutdown_write());
    std::uint8_t byte;
    EXPECT_EQ((co_await stream->read_some({&byte, 1})).value(), 0U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, DeadPeersAreNoticedByPings) {
  const auto result = run_task([](Runtime&) -> Task<> {
    auto [a, silent] = memory_pair(co_await this_loop());
    const auto client =
        Http2Session::client(std::move(a), {.ping_interval = Milliseconds(10), .ping_timeout = Milliseconds(10)});
    CAIRN_CO_TRY(auto stream, co_await client->open(request("CONNECT")));
    const auto end = co_await with_timeout(client->run(), 5s);
    EXPECT_EQ(end.error().code, ErrorCode::timed_out);
    EXPECT_NE(end.error().message.find("ping"), std::string::npos);
    EXPECT_EQ((co_await stream->response()).error().code, ErrorCode::unavailable);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Http2, HostileClientsAreTurnedAway) {
  const auto result = run_task([](Runtime&) -> Task<> {
    const std::string preface(http2_preface());
    const std::string settings("\0\0\0\x04\0\0\0\0\0", 9);
    const std::vector<std::string> cases = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        preface + std::string("\0\0\x04\0\0\0\0\0\x01"
                              "abcd",
                              13),  // DATA before SETTINGS
        preface + settings +
            std::string("\0\0\x04\0\0\0\0\0\x01"
                        "abcd",
                        13),                                                     // DATA on an idle stream
        preface + settings + std::string("\xff\xff\xff\x01\x04\0\0\0\x01", 9),   // a frame past our limit
        preface + settings + std::string("\0\0\x01\x01\x04\0\0\0\x02\x82", 10),  // an even stream id
    };
    for (const auto& bytes : cases) {
      auto [a, b] = memory_pair(co_await this_loop());
      bool reached = false;
      const auto session = Http2Session::server(std::move(b), [&](Http2StreamPtr) -> Task<> {
        reached = true;
        co_return Result<>{};
      });
      CAIRN_CO_CHECK(co_await a->write(bytes));
      const auto end = co_await with_timeout(session->run(), 5s);
      EXPECT_FALSE(reached);
      EXPECT_TRUE(end || end.error().code != ErrorCode::timed_out) << bytes.size();
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

}  // namespace
}  // namespace cairn::net
