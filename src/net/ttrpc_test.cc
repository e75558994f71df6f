#include "net/ttrpc.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/file.h"

namespace cairn::net {
namespace {

using namespace std::chrono_literals;

Bytes bytes(std::string_view text) { return to_bytes(text); }

TEST(TtrpcWire, DecodesAndReencodesFramesOfTheGoImplementation) {
  const std::filesystem::path file = CAIRN_SHARED_DATA "/guest/ttrpc/frames.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "shared data not present";
  const auto vectors = nlohmann::json::parse(read_text(file).value());
  std::size_t seen = 0;
  for (const auto& v : vectors["frames"]) {
    const Bytes wire = from_hex(v["hex"].get<std::string>()).value();
    SCOPED_TRACE(v["name"].get<std::string>());
    const auto header = ttrpc::parse_header(ByteView(wire).first(ttrpc::kHeaderSize)).value();
    EXPECT_EQ(header.stream, v["stream"].get<std::uint32_t>());
    EXPECT_EQ(header.type, v["type"].get<unsigned>());
    const ByteView data = ByteView(wire).subspan(ttrpc::kHeaderSize);
    if (data.size() != header.length) continue;  // vectors of frames that are too large or cut
    ++seen;
    if (header.type == 1) {
      const auto request = ttrpc::decode_request(data);
      if (!request) continue;
      EXPECT_EQ(request->timeout_nano, v.value("timeout_nano", std::int64_t{0}));
      EXPECT_EQ(ttrpc::frame(header.stream, ttrpc::FrameType::request, header.flags, ttrpc::encode(*request)), wire);
    } else {
      const auto response = ttrpc::decode_response(data).value();
      const auto status = v.value("status", nlohmann::json());
      EXPECT_EQ(static_cast<int>(response.status.code), status.is_object() ? status.value("code", 0) : 0);
      if (status.is_object() && response.status.code == RpcCode::ok)
        continue;  // the explicit OK form: accepted, not sent
      EXPECT_EQ(ttrpc::frame(header.stream, ttrpc::FrameType::response, header.flags, ttrpc::encode(response)), wire);
    }
  }
  EXPECT_GE(seen, 5U);
}

TEST(TtrpcWire, RefusesDamagedMessages) {
  const ttrpc::Request request{"svc", "m", bytes("payload"), 5, {{"k", "v"}, {"", "x"}}};
  const Bytes good = ttrpc::encode(request);
  const auto back = ttrpc::decode_request(good).value();
  EXPECT_EQ(back.metadata, request.metadata);
  EXPECT_EQ(back.payload, request.payload);
  std::size_t refused = 0;
  for (std::size_t n = 0; n < good.size(); ++n)
    if (!ttrpc::decode_request(ByteView(good).first(n))) ++refused;
  EXPECT_GT(refused, good.size() / 2);  // a cut between two fields is a shorter message
  EXPECT_FALSE(ttrpc::decode_request(from_hex("20ffffffffffffffffff7f").value()));  // 70-bit number
  EXPECT_FALSE(ttrpc::decode_request(from_hex("0b").value()));                      // group
  EXPECT_FALSE(ttrpc::decode_request(from_hex("0aff01").value()));                  // longer than what follows
  EXPECT_EQ(ttrpc::decode_request(from_hex("7a0161"
                                           "5dffffffff"
                                           "0a0161")
                                      .value())
                .value()
                .service,
            "a");  // unknown fields skipped
}

// A server with a few methods, on a unix socket.
struct Harness {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("ttrpc_test." + std::to_string(::getpid()) + ".sock");

  Result<> run(std::function<Task<>(TtrpcServer&, Endpoint)> test) {
    return run_task([&](Runtime& runtime) -> Task<> {
      TtrpcServer server(runtime);
      server.add("svc", "Echo", [](TtrpcCall call) -> asio::awaitable<RpcReply> { co_return std::move(call.payload); });
      server.add("svc", "Slow", [](TtrpcCall call) -> asio::awaitable<RpcReply> {
        (void)co_await sleep_for(Milliseconds(call.payload.empty() ? 3'600'000 : call.payload[0]));
        co_return std::move(call.payload);
      });
      server.add("svc", "Refuse", [](TtrpcCall) -> asio::awaitable<RpcReply> {
        co_return std::unexpected(RpcStatus{RpcCode::permission_denied, "not for you"});
      });
      server.add("svc", "Throw", [](TtrpcCall) -> asio::awaitable<RpcReply> {
        throw std::runtime_error("oops");
        co_return Bytes{};
      });
      server.add("svc", "Who", [](TtrpcCall call) -> asio::awaitable<RpcReply> {
        co_return to_bytes(std::to_string(call.peer ? call.peer->uid : 99999));
      });
      CAIRN_CO_TRY(const Endpoint at, server.listen(Endpoint::local(path)));
      const Result<> result = co_await test(server, at);
      CAIRN_CO_CHECK(co_await server.stop(100ms));
      co_return result;
    });
  }
};

TEST(Ttrpc, CallsConcurrentlyAndOutOfOrder) {
  const auto result = Harness().run([](TtrpcServer&, Endpoint at) -> Task<> {
    TtrpcClient client(at);
    std::vector<int> order;
    TaskGroup group(co_await this_loop());
    const auto slow = [](TtrpcClient& c, std::uint8_t ms, std::vector<int>& out) -> Task<> {
      const auto reply = co_await c.call("svc", "Slow", Bytes{ms});
      EXPECT_TRUE(reply);
      out.push_back(ms);
      co_return Result<>{};
    };
    for (const std::uint8_t ms : std::to_array<std::uint8_t>({90, 50, 5})) group.spawn(slow(client, ms, order));
    co_await group.join();
    EXPECT_EQ(order, (std::vector{5, 50, 90}));
    EXPECT_EQ((co_await client.call("svc", "Echo", bytes("hi"))).value(), bytes("hi"));
    EXPECT_EQ((co_await client.call("svc", "Who", {})).value(), bytes(std::to_string(::getuid())));
    co_await client.close();
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Ttrpc, StatusesOfEveryFailure) {
  const auto result = Harness().run([](TtrpcServer&, Endpoint at) -> Task<> {
    TtrpcClient client(at);
    EXPECT_EQ((co_await client.call("nope", "Echo", {})).error().code, RpcCode::unimplemented);
    EXPECT_EQ((co_await client.call("svc", "Nope", {})).error().code, RpcCode::unimplemented);
    const auto refused = co_await client.call("svc", "Refuse", {});
    EXPECT_EQ(refused.error().code, RpcCode::permission_denied);
    EXPECT_EQ(refused.error().message, "not for you");
    EXPECT_EQ((co_await client.call("svc", "Throw", {})).error().code, RpcCode::internal);
    EXPECT_EQ((co_await client.call("svc", "Slow", {}, 20ms)).error().code, RpcCode::deadline_exceeded);
    EXPECT_EQ((co_await client.call("svc", "Echo", Bytes(limits::kTtrpcMessage))).error().code,
              RpcCode::resource_exhausted);
    EXPECT_TRUE(co_await client.call("svc", "Echo", Bytes(limits::kTtrpcMessage / 2)));
    co_await client.close();
    EXPECT_EQ((co_await client.call("svc", "Echo", {})).error().code, RpcCode::unavailable);
    TtrpcClient nobody(Endpoint::local("/nonexistent/socket"));
    EXPECT_EQ((co_await nobody.call("svc", "Echo", {})).error().code, RpcCode::unavailable);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

Task<std::pair<ttrpc::FrameHeader, ttrpc::Response>> next_response(Stream& stream) {
  std::array<std::uint8_t, ttrpc::kHeaderSize> head;
  CAIRN_CO_CHECK(co_await stream.read_exactly(head));
  CAIRN_CO_TRY(const auto header, ttrpc::parse_header(head));
  Bytes data(header.length);
  if (!data.empty()) CAIRN_CO_CHECK(co_await stream.read_exactly(data));
  CAIRN_CO_TRY(auto response, ttrpc::decode_response(data));
  co_return std::pair(header, std::move(response));
}

TEST(Ttrpc, HostileFramesAreAnsweredOrDropTheConnectionOnly) {
  const auto result = Harness().run([](TtrpcServer&, Endpoint at) -> Task<> {
    const Bytes echo = ttrpc::encode(ttrpc::Request{"svc", "Echo", bytes("still here"), 0, {}});
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(at));
    stream->set_deadline(5s);
    // One byte more than the limit: answered, and the connection lives on.
    CAIRN_CO_CHECK(
        co_await stream->write(ttrpc::frame(7, ttrpc::FrameType::request, 0, Bytes(limits::kTtrpcMessage + 1))));
    CAIRN_CO_TRY(auto large, co_await next_response(*stream));
    EXPECT_EQ(large.first.stream, 7U);
    EXPECT_EQ(large.second.status.code, RpcCode::invalid_argument);
    EXPECT_EQ(large.second.status.message, "message length 4194305 exceed maximum message size of 4194304");
    // An even stream id, a request that does not decode.
    CAIRN_CO_CHECK(co_await stream->write(ttrpc::frame(8, ttrpc::FrameType::request, 0, echo)));
    CAIRN_CO_TRY(auto even, co_await next_response(*stream));
    EXPECT_EQ(even.second.status.message, "stream id must be odd");
    CAIRN_CO_CHECK(co_await stream->write(ttrpc::frame(9, ttrpc::FrameType::request, 0, bytes("\xff\xff"))));
    CAIRN_CO_TRY(auto garbled, co_await next_response(*stream));
    EXPECT_EQ(garbled.second.status.code, RpcCode::invalid_argument);
    CAIRN_CO_CHECK(co_await stream->write(ttrpc::frame(11, ttrpc::FrameType::request, 0, echo)));
    CAIRN_CO_TRY(auto alive, co_await next_response(*stream));
    EXPECT_EQ(alive.second.payload, bytes("still here"));
    // A cut header drops this connection and no other.
    CAIRN_CO_TRY(StreamPtr other, co_await connect(at));
    CAIRN_CO_CHECK(co_await other->write("\x01\x02"));
    CAIRN_CO_CHECK(co_await other->shutdown_write());
    other->set_deadline(5s);
    std::uint8_t byte = 0;
    const auto end = co_await other->read_some({&byte, 1});
    EXPECT_TRUE(!end || *end == 0);
    CAIRN_CO_CHECK(co_await stream->write(ttrpc::frame(13, ttrpc::FrameType::request, 0, echo)));
    CAIRN_CO_TRY(auto again, co_await next_response(*stream));
    EXPECT_EQ(again.second.payload, bytes("still here"));
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Ttrpc, ClientOpensAgainAfterTheServerWentAway) {
  const auto path = std::filesystem::temp_directory_path() / ("ttrpc_again." + std::to_string(::getpid()) + ".sock");
  const auto result = run_task([&](Runtime& runtime) -> Task<> {
    TtrpcClient client(Endpoint::local(path));
    const auto echo = [](TtrpcCall call) -> asio::awaitable<RpcReply> { co_return std::move(call.payload); };
    for (int round = 0; round < 2; ++round) {
      TtrpcServer server(runtime);
      server.add("svc", "Echo", echo);
      CAIRN_CO_CHECK(server.listen(Endpoint::local(path)));
      EXPECT_TRUE(co_await client.call("svc", "Echo", bytes("x"), 1000ms)) << round;
      CAIRN_CO_CHECK(co_await server.stop(50ms));
      CAIRN_CO_CHECK(co_await sleep_for(5ms));
    }
    EXPECT_EQ((co_await client.call("svc", "Echo", bytes("x"), 1000ms)).error().code, RpcCode::unavailable);
    co_await client.close();
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Ttrpc, StoppingCancelsCallsAfterTheGrace) {
  const auto result = Harness().run([](TtrpcServer& server, Endpoint at) -> Task<> {
    TtrpcClient client(at);
    RpcReply reply = Bytes{};
    const auto call = [](TtrpcClient& c, RpcReply& out) -> Task<> {
      out = co_await c.call("svc", "Slow", {});
      co_return Result<>{};
    };
    const auto stop = [](TtrpcServer& s) -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(10ms));
      co_return co_await s.stop(10ms);
    };
    CAIRN_CO_CHECK(co_await both(call(client, reply), stop(server)));
    EXPECT_EQ(reply.error().code, RpcCode::unavailable);
    co_await client.close();
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

}  // namespace
}  // namespace cairn::net
