#include "cachefs/objects/sigv4.h"

#include <gtest/gtest.h>

namespace cairn::cachefs {
namespace {

// The examples of AWS's documentation, "Signature Calculations for the Authorization Header".
Credentials documented() {
  Credentials out;
  out.access_key_id = "AKIAIOSFODNN7EXAMPLE";
  out.secret_access_key = Secret(as_bytes("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
  return out;
}
constexpr std::string_view kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

ToSign documented_request(std::string_view method, std::string_view path, std::string_view query) {
  return {.method = method,
          .path = path,
          .query = query,
          .host = "examplebucket.s3.amazonaws.com",
          .body_sha256 = kEmpty,
          .region = "us-east-1",
          .time = from_civil(2013, 5, 24, 0, 0, 0)};
}
std::string signature_in(const net::Headers& headers) {
  const std::string text(headers.get("Authorization").value_or(""));
  return text.substr(text.rfind('=') + 1);
}

TEST(SigV4, DocumentedGetWithRange) {
  net::Headers headers{{"Range", "bytes=0-9"}};
  sign(headers, documented_request("GET", "/test.txt", ""), documented());
  EXPECT_EQ(headers.get("Authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(headers.get("x-amz-date"), "20130524T000000Z");
}

TEST(SigV4, DocumentedListAndQueryWithoutValue) {
  net::Headers list, lifecycle;
  sign(list, documented_request("GET", "/", canonical_query({{"prefix", "J"}, {"max-keys", "2"}})), documented());
  EXPECT_EQ(signature_in(list), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  sign(lifecycle, documented_request("GET", "/", canonical_query({{"lifecycle", ""}})), documented());
  EXPECT_EQ(signature_in(lifecycle), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST(SigV4, DocumentedPut) {
  net::Headers headers{{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  const std::string path = "/" + encoded_key("test$file.text");
  ToSign request = documented_request("PUT", path, "");
  request.body_sha256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
  sign(headers, request, documented());
  EXPECT_EQ(signature_in(headers), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(SigV4, SessionTokensAreSignedAndAnonymousIsNot) {
  Credentials with = documented();
  with.session_token = Secret(as_bytes("TOKEN"));
  net::Headers headers;
  sign(headers, documented_request("GET", "/", ""), with);
  EXPECT_EQ(headers.get("x-amz-security-token"), "TOKEN");
  EXPECT_NE(headers.get("Authorization")->find(";x-amz-security-token,"), std::string_view::npos);
  net::Headers anonymous;
  sign(anonymous, documented_request("GET", "/", ""), {});
  EXPECT_FALSE(anonymous.has("Authorization"));
}

TEST(SigV4, Escapes) {
  EXPECT_EQ(encoded_key("a b/c+d~/\xc3\xa4"), "a%20b/c%2Bd~/%C3%A4");
  EXPECT_EQ(canonical_query({{"b", "2 /"}, {"a", ""}}), "a=&b=2%20%2F");
}

}  // namespace
}  // namespace cairn::cachefs
