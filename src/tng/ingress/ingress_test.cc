#include "tng/ingress/ingress.h"

#include <gtest/gtest.h>

#include "tng/ingress/socks5_wire.h"

namespace cairn::tng {
namespace {

TEST(Route, FiltersDecide) {
  HostFilter llm;
  llm.domain = "llm.example";
  const auto to = [](const char* host, std::uint16_t port) { return net::Endpoint::tcp(host, port); };
  EXPECT_EQ(route({}, false, to("x", 1)), Route::tunnel);
  EXPECT_EQ(route({llm}, true, to("llm.example", 80)), Route::tunnel);
  EXPECT_EQ(route({llm}, true, to("llm.example", 81)), Route::direct);
  EXPECT_EQ(route({llm}, false, to("other", 80)), Route::refuse);
}

TEST(Glimpse, AuthorityAndPath) {
  const auto g = glimpse_http1("GET /a/b?c HTTP/1.1\r\nAccept: */*\r\nhost:  x.example:81 \r\n\r\n");
  ASSERT_TRUE(g);
  EXPECT_EQ(g->authority, "x.example:81");
  EXPECT_EQ(g->path, "/a/b");
  EXPECT_EQ(glimpse_http1("GET http://y/p HTTP/1.1\r\nHost: x\r\n\r\n")->authority, "y");
  EXPECT_FALSE(glimpse_http1("GET / HTTP/1.1\r\nHost: x\r\n"));
  EXPECT_FALSE(glimpse_http1("SSH-2.0-x\r\n\r\n"));
  EXPECT_FALSE(glimpse_http1("GET / HTTP/1.1\r\n\r\n"));
}

TEST(Socks5, MessagesInPieces) {
  const Bytes greeting{5, 2, 0, 2};
  for (std::size_t n = 0; n < greeting.size(); ++n) EXPECT_FALSE(*socks5::parse_greeting(ByteView(greeting).first(n)));
  EXPECT_EQ((*socks5::parse_greeting(greeting))->message.methods, (Bytes{0, 2}));
  EXPECT_FALSE(socks5::parse_greeting(Bytes{4, 1}));
  EXPECT_FALSE(socks5::parse_greeting(Bytes{5, 0}));
  const Bytes password{1, 1, 'u', 2, 'p', 'w'};
  for (std::size_t n = 0; n < password.size(); ++n) EXPECT_FALSE(*socks5::parse_password(ByteView(password).first(n)));
  EXPECT_EQ((*socks5::parse_password(password))->message.password, "pw");
}

TEST(Socks5, Requests) {
  const Bytes v4{5, 1, 0, 1, 127, 0, 0, 1, 0, 80}, name{5, 1, 0, 3, 2, 'a', 'b', 1, 0};
  EXPECT_EQ((*socks5::parse_request(v4))->message.host, "127.0.0.1");
  EXPECT_EQ((*socks5::parse_request(name))->message.host, "ab");
  EXPECT_EQ((*socks5::parse_request(name))->message.port, 256);
  for (std::size_t n = 0; n < name.size(); ++n) EXPECT_FALSE(*socks5::parse_request(ByteView(name).first(n)));
  Bytes v6{5, 1, 0, 4};
  v6.resize(20);
  v6[19] = 1;
  append(v6, Bytes{0, 80});
  EXPECT_EQ((*socks5::parse_request(v6))->message.host, "::1");
  EXPECT_FALSE(socks5::parse_request(Bytes{5, 1, 1, 1, 127, 0, 0, 1, 0, 80}));        // reserved byte
  EXPECT_FALSE(socks5::parse_request(Bytes{5, 1, 0, 3, 0, 0, 80}));                   // empty name
  EXPECT_FALSE(socks5::parse_request(Bytes{5, 1, 0, 3, 2, 'a', '\r', 0, 80}));        // not a name
  EXPECT_TRUE((*socks5::parse_request(Bytes{5, 1, 0, 9, 1}))->message.host.empty());  // unknown address type
}

}  // namespace
}  // namespace cairn::tng
