#include "tng/rules.h"

#include <gtest/gtest.h>

#include "tng/limits.h"

namespace cairn::tng {
namespace {

HostFilter domain(std::string_view pattern) {
  HostFilter f;
  f.domain = std::string(pattern);
  return f;
}

TEST(HostFilter, Domains) {
  EXPECT_TRUE(domain("a.example").matches("a.example", 80));
  EXPECT_FALSE(domain("a.example").matches("A.example", 80));
  EXPECT_FALSE(domain("a.example").matches("xa.example", 80));
  EXPECT_TRUE(domain("*.example").matches("b.example", 80));
  EXPECT_FALSE(domain("*.example").matches("example", 80));
  EXPECT_TRUE(domain("10.0.*").matches("10.0.3.4", 80));
  EXPECT_TRUE(domain("*").matches("::1", 80));
  EXPECT_FALSE(domain("a.example").matches("a.example", 81));
  EXPECT_FALSE(HostFilter::check_domain("a*b"));
  EXPECT_FALSE(HostFilter::check_domain("**"));
  EXPECT_TRUE(HostFilter::check_domain("*b"));
}

TEST(HostFilter, RegexIsASearchAndStarMaySkipAddresses) {
  HostFilter f;
  f.domain_regex = *Pattern::compile("llm[0-9]");
  EXPECT_TRUE(f.matches("x.llm7.example", 80));
  EXPECT_FALSE(f.matches("x.llm.example", 80));
  HostFilter star = domain("*");
  star.star_matches_addresses = false;
  EXPECT_FALSE(star.matches("10.1.1.1", 80));
  EXPECT_FALSE(star.matches("[::1]", 80));
  EXPECT_TRUE(star.matches("host", 80));
}

TEST(IpNetwork, HostBitsAndFamilies) {
  EXPECT_FALSE(IpNetwork::parse("10.1.1.1/24"));
  EXPECT_FALSE(IpNetwork::parse("10.1.1.0/33"));
  EXPECT_FALSE(IpNetwork::parse("host"));
  EXPECT_FALSE(IpNetwork::parse("10.1.1.0/"));
  const auto v4 = *IpNetwork::parse("10.1.1.0/24"), v6 = *IpNetwork::parse("fd00::/8"),
             one = *IpNetwork::parse("127.0.0.1");
  EXPECT_TRUE(v4.contains("10.1.1.255"));
  EXPECT_FALSE(v4.contains("10.1.2.0"));
  EXPECT_TRUE(v6.contains("[fdff::1]"));
  EXPECT_FALSE(v6.contains("10.1.1.1"));
  EXPECT_TRUE(one.contains("127.0.0.1"));
  EXPECT_TRUE(one.contains("::ffff:127.0.0.1"));
  EXPECT_FALSE(one.contains("localhost"));
}

TEST(PathRewriter, UpstreamsSpellings) {
  PathRewriter r;
  ASSERT_TRUE(r.add("/foo/([^/]+)/.*", "/bar/\\1"));
  ASSERT_TRUE(r.add("/named/(?P<id>[0-9]+)", "/x/${id}/y"));
  ASSERT_TRUE(r.add("/dollar/(.)", "/$1z"));  // the group "1z" does not exist
  EXPECT_EQ(r.rewrite("/foo/a/b"), "/bar/a");
  EXPECT_EQ(r.rewrite("/named/42"), "/x/42/y");
  EXPECT_EQ(r.rewrite("/dollar/q"), "/");
  EXPECT_EQ(r.rewrite("/foo/a"), "/");  // a full match is needed
  r.keep_original = true;
  EXPECT_EQ(r.rewrite("/foo/a"), "/foo/a");
  EXPECT_FALSE(r.add("(", ""));
  EXPECT_FALSE(r.add(std::string(limits::regex + 1, 'a'), ""));
}

TEST(PlaintextRules, WholePathOnlyBothAsSentAndNormalised) {
  PlaintextRules r;
  ASSERT_TRUE(r.add("/public/.*"));
  ASSERT_TRUE(r.add("/livez"));
  for (const char* yes : {"/public/", "/public/a/b", "/public/a?x=/v1", "/livez", "/public/a%20b", "/public/a/../b"})
    EXPECT_TRUE(r.allows(yes)) << yes;
  for (const char* no : {"/public", "/v1/public/x", "/livez/x", "/public/../v1/completions", "/public/%2e%2e/v1",
                         "/v1/../public/x", "/public/%2fx", "/public/a%5cb", "/public/%00", "/public/%zz",
                         "/public/a\tb", "", "*", "public/x", "/public/#x"})
    EXPECT_FALSE(r.allows(no)) << no;
  r.anchored = false;
  EXPECT_TRUE(r.allows("/v1/public/x"));
}

TEST(DotSegments, Rfc3986) {
  EXPECT_EQ(remove_dot_segments("/a/b/c/./../../g"), "/a/g");
  EXPECT_EQ(remove_dot_segments("/../.."), "/");
  EXPECT_EQ(remove_dot_segments("/a/.."), "/");
  EXPECT_EQ(remove_dot_segments("/a//b/."), "/a//b/");
}

}  // namespace
}  // namespace cairn::tng
