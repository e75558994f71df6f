#include "tng/egress/egress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace cairn::tng {
namespace {

TEST(FirstBytes, TellProtocolsApart) {
  EXPECT_EQ(classify(Bytes{0x16, 0x03, 0x01}), FirstBytes::tls);
  EXPECT_EQ(classify(Bytes{0x16}), FirstBytes::tls);
  EXPECT_EQ(classify(Bytes{0x16, 0x02}), FirstBytes::other);
  EXPECT_EQ(classify(as_bytes("PRI * HTTP/2.0")), FirstBytes::http);
  EXPECT_EQ(classify(as_bytes("GET / HTTP/1.1")), FirstBytes::http);
  EXPECT_EQ(classify(as_bytes("get / HTTP/1.1")), FirstBytes::other);
  EXPECT_EQ(classify(as_bytes("\r\n")), FirstBytes::other);
  EXPECT_EQ(classify({}), FirstBytes::other);
}

// What a block without attestation answers to `sent`, and how serving it ended. No service stands behind it.
struct Answer {
  std::string text;
  Result<> end;
};
net::Task<Answer> answer(bool decap, std::vector<std::string> rules, std::string sent) {
  Egress config;
  config.mode = MappingEgress{};
  if (decap) config.decap_from_http.emplace();
  if (!rules.empty()) config.plaintext.emplace();
  for (const auto& rule : rules) CAIRN_CO_CHECK(config.plaintext->add(rule));
  auto status = std::make_shared<BlockStatus>("egress", 0, "mapping", std::map<std::string, std::string>{});
  CAIRN_CO_TRY(auto security, Security::create(Security::Side::server, {}, Compat::v2_2_4, {alpn_h2}, status));
  EgressShard shard(config, security, status);
  auto [client, server] = net::memory_pair(co_await net::this_loop());
  Answer out;
  const auto talk = [](net::Stream& stream, std::string text, std::string& got) -> net::Task<> {
    CAIRN_CO_CHECK(co_await stream.write(text));
    std::array<std::uint8_t, 4096> bytes;
    for (;;) {
      auto n = co_await stream.read_some(bytes);
      if (!n || *n == 0) co_return Result<>{};
      got += as_text(ByteView(bytes).first(*n));
    }
  };
  const auto serve = [](EgressShard& egress, net::StreamPtr stream, Result<>& end) -> net::Task<> {
    end = co_await egress.serve(std::move(stream), net::Endpoint::tcp("127.0.0.1", 1));
    co_return Result<>{};
  };
  CAIRN_CO_CHECK(
      co_await net::both(talk(*client, std::move(sent), out.text), serve(shard, std::move(server), out.end)));
  co_return out;
}

Answer ask(bool decap, std::vector<std::string> rules, std::string sent) {
  auto got = net::run_to_end<Answer>(
      [&](net::Runtime&) { return net::with_timeout(answer(decap, rules, sent), std::chrono::seconds(20)); });
  EXPECT_TRUE(got) << got.error().text();
  return got.value_or(Answer{});
}

TEST(Egress, PlaintextIsRefusedWhereWrappingIsExpected) {
  const auto got = ask(true, {}, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(got.text, ::testing::StartsWith("HTTP/1.1 418"));
  EXPECT_THAT(got.text, ::testing::HasSubstr("attested tunnel"));
}

TEST(Egress, WithoutWrappingOnlyTlsIsAccepted) {
  for (const char* sent : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    const auto got = ask(false, {}, sent);
    EXPECT_EQ(got.text, "") << sent;
    ASSERT_FALSE(got.end);
    EXPECT_EQ(got.end.error().code, ErrorCode::unauthenticated);
  }
}

TEST(Egress, TlsOutsideTheWrappingIsRefused) {
  const auto got = ask(true, {}, std::string("\x16\x03\x01\x00\x05hello", 10));
  EXPECT_EQ(got.text, "");
  EXPECT_FALSE(got.end);
}

TEST(Egress, ExemptRequestsThatCouldCarryMoreAreRefused) {
  const std::string host = "Host: x\r\n";
  for (const std::string& sent :
       {"CONNECT x:80 HTTP/1.1\r\n" + host + "\r\n",
        "GET /public/a HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "GET http://y/public/a HTTP/1.1\r\n" + host + "\r\n",
        "POST /public/a HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /public/a HTTP/1.1\r\n" + host + " folded: x\r\n\r\n"}) {
    const auto got = ask(true, {"/public/.*"}, sent);
    EXPECT_THAT(got.text, ::testing::MatchesRegex("HTTP/1.1 4[01][08](.|\n|\r)*")) << sent;
  }
  // The same path on its own would have been forwarded (to a service that is not there).
  EXPECT_THAT(ask(true, {"/public/.*"}, "GET /public/a HTTP/1.1\r\nConnection: close\r\n" + host + "\r\n").text,
              ::testing::StartsWith("HTTP/1.1 502"));
}

}  // namespace
}  // namespace cairn::tng
