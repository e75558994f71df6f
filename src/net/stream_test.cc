#include "net/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace cairn::net {
namespace {

using namespace std::chrono_literals;

std::filesystem::path socket_path(const char* name) {
  return std::filesystem::temp_directory_path() / (std::string(name) + "." + std::to_string(::getpid()));
}

Task<std::string> read_all(Stream& stream) {
  std::string out;
  std::array<std::uint8_t, 1000> buffer;
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await stream.read_some(buffer));
    if (n == 0) co_return out;
    out += as_text(ByteView(buffer).first(n));
  }
}

TEST(Endpoint, ParsesAndFormats) {
  for (const char* text : {"127.0.0.1:80", "[::1]:8081", "example.org:1", "unix:///run/x.sock"})
    EXPECT_EQ(Endpoint::parse(text).value().text(), text);
  EXPECT_EQ(Endpoint::parse("unix:/run/x").value().path, "/run/x");
  for (const char* bad : {"", "a", ":1", "a:", "a:70000", "a:1x", "::1:80", "[::1]", "[::1]80", "unix:", "unix:x"})
    EXPECT_FALSE(Endpoint::parse(bad)) << bad;
}

// The contract every kind of stream must keep.
Task<> exercise(StreamPtr a, StreamPtr b) {
  a->set_deadline(20s);
  b->set_deadline(20s);
  // Much more than any buffer holds, both ways at once, then half-close each side.
  const std::string big(3'000'000, 'q');
  std::string at_a, at_b;
  const auto talk = [](Stream& s, const std::string& what, std::string& heard) -> Task<> {
    const auto say = [](Stream& to, const std::string& text) -> Task<> {
      const ByteView pieces[] = {as_bytes(text).first(10), ByteView{}, as_bytes(text).subspan(10)};
      CAIRN_CO_CHECK(co_await to.write(pieces));
      co_return co_await to.shutdown_write();
    };
    const auto hear = [](Stream& from, std::string& into) -> Task<> {
      CAIRN_CO_TRY(into, co_await read_all(from));
      co_return Result<>{};
    };
    co_return co_await both(say(s, what), hear(s, heard));
  };
  CAIRN_CO_CHECK(co_await both(talk(*a, big, at_a), talk(*b, big + "!", at_b)));
  EXPECT_EQ(at_b, big);
  EXPECT_EQ(at_a, big + "!");
  std::uint8_t byte;
  EXPECT_EQ((co_await a->read_some({&byte, 1})).value(), 0U);  // the end stays the end
  a->close();
  EXPECT_EQ((co_await a->read_some({&byte, 1})).error().code, ErrorCode::cancelled);
  EXPECT_FALSE(co_await a->write("x"));
  co_return Result<>{};
}

// close() and set_deadline() end what is under way.
Task<> interrupt(StreamPtr a, StreamPtr b) {
  std::uint8_t byte;
  const auto later = [](Stream& s) -> Task<> {
    CAIRN_CO_CHECK(co_await sleep_for(5ms));
    s.close();
    co_return Result<>{};
  };
  Result<std::size_t> got;
  const auto read = [](Stream& s, std::uint8_t& into, Result<std::size_t>& out) -> Task<> {
    out = co_await s.read_some({&into, 1});
    co_return Result<>{};
  };
  a->set_deadline(5ms);
  CAIRN_CO_CHECK(co_await read(*a, byte, got));
  EXPECT_EQ(got.error().code, ErrorCode::timed_out);
  CAIRN_CO_CHECK(co_await both(read(*b, byte, got), later(*b)));
  EXPECT_EQ(got.error().code, ErrorCode::cancelled);
  co_return Result<>{};
}

using Pair = std::pair<StreamPtr, StreamPtr>;

Task<Pair> connected(Endpoint where) {
  CAIRN_CO_TRY(auto listener, Listener::listen(co_await this_loop(), where));
  CAIRN_CO_TRY(StreamPtr a, co_await connect(listener->local()));
  CAIRN_CO_TRY(StreamPtr b, co_await listener->accept());
  co_return Pair{std::move(a), std::move(b)};
}

TEST(Stream, TcpKeepsTheContract) {
  const auto result = run_task([](Runtime&) -> Task<> {
    CAIRN_CO_TRY(auto v4, co_await connected(Endpoint::tcp("127.0.0.1", 0)));
    EXPECT_EQ(v4.second->peer().host, "127.0.0.1");
    CAIRN_CO_CHECK(co_await exercise(std::move(v4.first), std::move(v4.second)));
    CAIRN_CO_TRY(auto again, co_await connected(Endpoint::tcp("127.0.0.1", 0)));
    co_return co_await interrupt(std::move(again.first), std::move(again.second));
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Stream, UnixKeepsTheContractAndTellsThePeer) {
  const auto path = socket_path("stream_test");
  const auto result = run_task([&](Runtime&) -> Task<> {
    CAIRN_CO_TRY(auto pair, co_await connected(Endpoint::local(path)));
    EXPECT_EQ(peer_credentials(*pair.second).value().uid, ::getuid());
    CAIRN_CO_CHECK(co_await exercise(std::move(pair.first), std::move(pair.second)));
    CAIRN_CO_TRY(auto again, co_await connected(Endpoint::local(path)));
    co_return co_await interrupt(std::move(again.first), std::move(again.second));
  });
  EXPECT_TRUE(result) << result.error().text();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Stream, MemoryKeepsTheContract) {
  const auto result = run_task([](Runtime&) -> Task<> {
    auto [a, b] = memory_pair(co_await this_loop());
    CAIRN_CO_CHECK(co_await exercise(std::move(a), std::move(b)));
    auto [c, d] = memory_pair(co_await this_loop());
    co_return co_await interrupt(std::move(c), std::move(d));
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Stream, PrefixComesFirst) {
  const auto result = run_task([](Runtime&) -> Task<> {
    auto [a, b] = memory_pair(co_await this_loop());
    CAIRN_CO_CHECK(co_await a->write(" world"));
    CAIRN_CO_CHECK(co_await a->shutdown_write());
    const StreamPtr whole = with_prefix(to_bytes("hello"), std::move(b));
    EXPECT_EQ((co_await read_all(*whole)).value(), "hello world");
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Connect, TellsWhyItFailed) {
  const auto result = run_task([](Runtime&) -> Task<> {
    CAIRN_CO_TRY(auto listener, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
    const Endpoint gone = listener->local();
    listener.reset();
    EXPECT_EQ((co_await connect(gone)).error().code, ErrorCode::unavailable);
    EXPECT_EQ((co_await connect(Endpoint::local("/nonexistent"))).error().code, ErrorCode::unavailable);
    EXPECT_EQ((co_await connect(Endpoint::tcp("no-such-name.invalid", 1))).error().code, ErrorCode::unavailable);
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Connect, NamesTryEveryAddress) {
  const auto result = run_task([](Runtime&) -> Task<> {
    CAIRN_CO_TRY(auto listener, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
    auto stream = co_await connect(Endpoint::tcp("localhost", listener->local().port));  // ::1 refuses, if it exists
    EXPECT_TRUE(stream) << stream.error().text();
    co_return Result<>{};
  });
  EXPECT_TRUE(result);
}

TEST(Listener, UnixSocketsAreReplacedOnlyWhenStale) {
  const auto path = socket_path("listener_test");
  const auto result = run_task([&](Runtime&) -> Task<> {
    const Executor loop = co_await this_loop();
    {  // left behind by a process that died
      const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::ranges::copy(path.native(), address.sun_path);
      EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      ::close(fd);
    }
    CAIRN_CO_TRY(auto first, Listener::listen(loop, Endpoint::local(path), {.mode = 0620}));
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0620U);
    EXPECT_EQ(Listener::listen(loop, Endpoint::local(path)).error().code, ErrorCode::conflict);
    first.reset();
    EXPECT_FALSE(std::filesystem::exists(path));
    std::ofstream(path) << "a file";
    EXPECT_EQ(Listener::listen(loop, Endpoint::local(path)).error().code, ErrorCode::conflict);
    std::filesystem::remove(path);
    EXPECT_EQ(Listener::listen(loop, Endpoint::local("/" + std::string(200, 'x'))).error().code,
              ErrorCode::invalid_argument);
    EXPECT_EQ(Listener::listen(loop, Endpoint::tcp("a.name", 0)).error().code, ErrorCode::invalid_argument);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Relay, PassesBytesAndHalfCloses) {
  const auto result = run_task([](Runtime&) -> Task<> {
    const Executor loop = co_await this_loop();
    auto [client, front] = memory_pair(loop);
    CAIRN_CO_TRY(auto link, co_await connected(Endpoint::tcp("127.0.0.1", 0)));
    RelayCounts counts;
    TaskGroup group(loop);
    Result<> relayed = fail(ErrorCode::internal, "not run");
    const auto run = [](Stream& x, Stream& y, RelayCounts& c, Result<>& out) -> Task<> {
      out = co_await relay(x, y, {.idle = Milliseconds(5000)}, &c);
      co_return Result<>{};
    };
    group.spawn(run(*front, *link.first, counts, relayed));
    CAIRN_CO_CHECK(co_await client->write("question"));
    CAIRN_CO_CHECK(co_await client->shutdown_write());
    EXPECT_EQ((co_await read_all(*link.second)).value(), "question");
    CAIRN_CO_CHECK(co_await link.second->write("answer, after the other side had ended"));
    CAIRN_CO_CHECK(co_await link.second->shutdown_write());
    EXPECT_EQ((co_await read_all(*client)).value(), "answer, after the other side had ended");
    co_await group.join();
    EXPECT_TRUE(relayed);
    EXPECT_EQ(counts.a_to_b, 8U);
    EXPECT_EQ(counts.b_to_a, 38U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Relay, EndsIdleAndBrokenConnections) {
  const auto result = run_task([](Runtime&) -> Task<> {
    const Executor loop = co_await this_loop();
    {
      auto [a, b] = memory_pair(loop);
      auto [c, d] = memory_pair(loop);
      EXPECT_EQ((co_await relay(*b, *c, {.idle = Milliseconds(10)})).error().code, ErrorCode::timed_out);
    }
    auto [a, b] = memory_pair(loop);
    auto [c, d] = memory_pair(loop);
    const auto cut = [](Stream& s) -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(5ms));
      s.close();
      co_return Result<>{};
    };
    EXPECT_EQ((co_await both(relay(*b, *c), cut(*a))).error().code, ErrorCode::unavailable);
    std::uint8_t byte;
    EXPECT_FALSE(co_await d->read_some({&byte, 1}));  // passed on as an abrupt end
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

}  // namespace
}  // namespace cairn::net
