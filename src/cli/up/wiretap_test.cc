#include "cli/up/wiretap.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/cursor.h"
#include "cli/up/process.h"

namespace cairn::cli {
namespace {

Bytes ipv4_packet(std::uint32_t sequence, std::string_view payload) {
  Writer w;
  w.u8(0x45).u8(0).u16be(static_cast<std::uint16_t>(40 + payload.size())).zeros(5).u8(6).zeros(10);
  w.u16be(1000).u16be(2000).u32be(sequence).u32be(0).u8(0x50).zeros(7).text(payload);
  return std::move(w).take();
}

TEST(Wiretap, ParsesPacketsAndRefusesRubbish) {
  const auto segment = parse_packet(ipv4_packet(7, "hello"));
  ASSERT_TRUE(segment) << segment.error().text();
  EXPECT_EQ(segment->payload, "hello");
  EXPECT_EQ(segment->sequence, 7U);
  EXPECT_EQ(segment->destination, 2000);
  const Bytes whole = ipv4_packet(7, "hello");
  for (std::size_t n = 0; n < 40; ++n) EXPECT_FALSE(parse_packet(ByteView(whole).first(n)));
  Bytes udp = whole;
  udp[9] = 17;
  EXPECT_FALSE(parse_packet(udp));
}

TEST(Wiretap, PutsStreamsTogetherAcrossReorderingAndRetransmission) {
  std::vector<Segment> segments = {
      {1, 2, 0xFFFFFFFE, "ab"}, {1, 2, 2, "ef"}, {1, 2, 0, "cd"}, {1, 2, 0xFFFFFFFF, "bcd"}, {2, 1, 5, "back"}};
  EXPECT_EQ(reassemble(segments), (std::vector<std::string>{"abcdef", "back"}));
}

TEST(Wiretap, FindsPiecesPlainAndQuoted) {
  EXPECT_TRUE(holds_piece_of({"xx What is the capital of France? yy"}, "What is the capital of France?"));
  EXPECT_TRUE(holds_piece_of({R"({"content":"say \"hi\"\nplease now"})"}, "say \"hi\"\nplease now"));
  EXPECT_FALSE(holds_piece_of({"nothing of the sort"}, "What is the capital of France?"));
  EXPECT_FALSE(holds_piece_of({"abc"}, ""));
}

TEST(Wiretap, RecordsWhatCrossesThePort) {
  if (::geteuid() != 0) GTEST_SKIP() << "recording needs CAP_NET_RAW";
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  auto tap = Wiretap::start(ntohs(address.sin_port));
  ASSERT_TRUE(tap) << tap.error().text();
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_TRUE(write_all(client.get(), as_bytes("a secret that is not secret")));
  bool seen = false;
  for (int i = 0; i < 100 && !seen; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    seen = holds_piece_of((*tap)->recording().streams, "a secret that is not secret");
  }
  EXPECT_TRUE(seen);
  EXPECT_FALSE(holds_piece_of((*tap)->recording().streams, "something else altogether"));
}

}  // namespace
}  // namespace cairn::cli
