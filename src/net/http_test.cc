#include "net/http.h"

#include <gtest/gtest.h>

namespace cairn::net {
namespace {

TEST(Headers, CompareWithoutCaseAndKeepOrder) {
  Headers h{{"A", "1"}, {"b", "2"}, {"a", "3"}};
  EXPECT_EQ(h.get("a"), "1");
  EXPECT_EQ(h.all("A").size(), 2U);
  h.set("A", "9");
  EXPECT_EQ(h.size(), 2U);
  EXPECT_EQ(h.get("a"), "9");
  h.add("Connection", "keep-alive, X-Drop");
  h.add("x-drop", "1");
  h.add("TE", "trailers");
  EXPECT_TRUE(h.has_token("connection", "x-drop"));
  EXPECT_FALSE(h.has_token("connection", "x"));
  h.remove_hop_by_hop();
  EXPECT_EQ(h, (Headers{{"A", "9"}, {"b", "2"}}));
  EXPECT_FALSE(valid_field_name(""));
  EXPECT_FALSE(valid_field_name("a b"));
  EXPECT_FALSE(valid_field_value("a\r\nb"));
  EXPECT_TRUE(valid_field_value("a\tb \xff"));
}

TEST(Url, ParsesAndFormats) {
  struct Case {
    std::string in, out;
  };
  for (const Case& c : {Case{"http://a", "http://a/"}, Case{"HTTP://A:80/x?y=1#f", "http://a/x?y=1"},
                        Case{"https://a:8443?q", "https://a:8443/?q"}, Case{"http://[::1]:81/", "http://[::1]:81/"},
                        Case{"http+unix://%2Frun%2Fx.sock/v1", "http+unix://%2Frun%2Fx.sock/v1"}}) {
    const auto url = Url::parse(c.in);
    ASSERT_TRUE(url) << c.in << " " << url.error().text();
    EXPECT_EQ(url->text(), c.out);
    EXPECT_EQ(Url::parse(url->text()).value(), *url);
  }
  for (const char* bad :
       {"", "a", "ftp://a", "http://", "http:///x", "http://a:0/", "http://a:65536/", "http://a:b/", "http://u:p@a/",
        "http://a b/", "http://a/\n", "http://[::1/", "http://a\\b/", "http://a:/", "http+unix://run/x", "http://%41/"})
    EXPECT_FALSE(Url::parse(bad)) << bad;
  EXPECT_TRUE(Url::parse("http://a/" + std::string(limits::kUrl - 9, 'x')));
  EXPECT_FALSE(Url::parse("http://a/" + std::string(limits::kUrl - 8, 'x')));
  EXPECT_EQ(Url::parse("http://a/api/?q").value().under("/kbs/v0").text(), "http://a/api/kbs/v0");
}

TEST(Paths, AreDecodedOnceAndResolved) {
  const auto path = [](std::string_view raw) { return normalised_path(raw).value_or("refused"); };
  EXPECT_EQ(path("/"), "/");
  EXPECT_EQ(path("/a/./b/../c"), "/a/c");
  EXPECT_EQ(path("/a/b/"), "/a/b/");
  EXPECT_EQ(path("/a/%2e%2e/b"), "/b");
  EXPECT_EQ(path("/a%2Fb"), "/a/b");
  EXPECT_EQ(path("/%252e"), "/%2e");
  EXPECT_EQ(path("/a/.."), "/");
  EXPECT_EQ(path("/.."), "refused");
  EXPECT_EQ(path("/%2e%2e/x"), "refused");
  EXPECT_EQ(path("/a%00"), "refused");
  EXPECT_EQ(path("/a%0"), "refused");
  EXPECT_EQ(path("x"), "refused");
}

TEST(RequestHead, SplitsItsTarget) {
  RequestHead head;
  head.target = "/p/q?a=1&b=x%20y+z&c&a=2";
  EXPECT_EQ(head.path(), "/p/q");
  EXPECT_EQ(head.parameter("a"), "1");
  EXPECT_EQ(head.parameter("b"), "x y z");
  EXPECT_EQ(head.parameter("c"), "");
  EXPECT_EQ(head.parameter("d"), std::nullopt);
  head.headers = {{"Cookie", "x=1; kbs-session-id=abc"}, {"cookie", "kbs-session-id=def"}};
  EXPECT_EQ(head.cookie("kbs-session-id"), "abc");
  EXPECT_EQ(head.cookie("session-id"), std::nullopt);
}

TEST(Dates, AreThoseOfTheRfc) {
  const Time t = from_civil(1994, 11, 6, 8, 49, 37);
  EXPECT_EQ(http_date(t), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").value(), t);
  for (const char* bad :
       {"", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06-Nov-94 08:49:37 GMT"})
    EXPECT_FALSE(parse_http_date(bad)) << bad;
}

TEST(CookieJar, KeepsToHostPathTimeAndSecurity) {
  const Time now{1'000'000'000};
  const Url here = Url::parse("http://kbs:8080/kbs/v0/auth").value();
  CookieJar jar;
  jar.store(here,
            {{"Set-Cookie", "kbs-session-id=abc; Expires=Sun, 09 Sep 2001 02:46:40 GMT"},
             {"Set-Cookie", "deep=1; Path=/kbs/v0/resource"},
             {"Set-Cookie", "foreign=1; Domain=evil"},
             {"Set-Cookie", "s=1; Secure"},
             {"Set-Cookie", "old=1; Max-Age=0"},
             {"Set-Cookie", "bad name=1"}},
            now);
  EXPECT_EQ(jar.size(), 2U);
  EXPECT_EQ(jar.header(Url::parse("http://kbs:8080/kbs/v0/attest").value(), now), "kbs-session-id=abc");
  EXPECT_EQ(jar.header(Url::parse("http://kbs:8080/kbs/v0/resource/a").value(), now), "kbs-session-id=abc; deep=1");
  EXPECT_EQ(jar.header(Url::parse("http://kbs:8080/kbs/v0/resources").value(), now), "kbs-session-id=abc");
  EXPECT_EQ(jar.header(Url::parse("http://other/kbs/v0/attest").value(), now), "");
  EXPECT_EQ(jar.header(here, now.plus(3600)), "");
  jar.store(here, {{"Set-Cookie", "kbs-session-id=def; Path=/kbs/v0"}}, now);
  EXPECT_EQ(jar.header(here, now), "kbs-session-id=def");
  for (int i = 0; i < 200; ++i) jar.store(here, {{"Set-Cookie", "c" + std::to_string(i) + "=1"}}, now);
  EXPECT_EQ(jar.size(), limits::kCookies);
}

}  // namespace
}  // namespace cairn::net
