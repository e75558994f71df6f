#include "cachefs/objects/store_target.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cachefs/store/test_data.h"

namespace cairn::cachefs {
namespace {

StoreOptions anonymous(std::string endpoint = "https://s3.oss-cn-hangzhou-internal.aliyuncs.com") {
  StoreOptions out;
  out.endpoint = std::move(endpoint);
  out.anonymous = true;
  return out;
}

TEST(StoreTarget, BucketInTheHostOrInThePath) {
  const auto oss = resolve_store("s3://models/qwen/7b/", anonymous());
  ASSERT_TRUE(oss) << oss.error().text();
  EXPECT_EQ(oss->bucket_url.text(), "https://models.s3.oss-cn-hangzhou-internal.aliyuncs.com/");
  EXPECT_EQ(oss->prefix, "qwen/7b/");
  EXPECT_EQ(oss->region, "oss-cn-hangzhou");
  const auto local = resolve_store("s3://models", anonymous("http://127.0.0.1:9000"));
  ASSERT_TRUE(local);
  EXPECT_EQ(local->bucket_url.text(), "http://127.0.0.1:9000/models/");
  EXPECT_EQ(local->prefix, "");
  StoreOptions by_path = anonymous("https://s3.eu-west-1.amazonaws.com");
  by_path.style = "path";
  const auto aws = resolve_store("s3://models/x", by_path);
  ASSERT_TRUE(aws);
  EXPECT_EQ(aws->bucket_url.text(), "https://s3.eu-west-1.amazonaws.com/models/");
  EXPECT_EQ(aws->region, "eu-west-1");
}

TEST(StoreTarget, BadUrlsAndOptionsAreRefused) {
  for (const char* url : {"s3://", "s3:///x", "s3://UPPER/x", "s3://ab/x", "s3://a..b/x", "s3://-ab/x", "s3://abc/a//b",
                          "s3://abc/../b", "s3://abc/./b", "s3://abc/a\nb", "http://abc/x", "abc"})
    EXPECT_FALSE(resolve_store(url, anonymous())) << url;
  EXPECT_FALSE(resolve_store("s3://abc/x", anonymous("ftp://h")));
  EXPECT_FALSE(resolve_store("s3://abc/x", anonymous("https://h/path")));
  const auto refused = [](auto change) {
    StoreOptions o = anonymous();
    change(o);
    return !check_store_options(o).has_value();
  };
  EXPECT_FALSE(refused([](StoreOptions&) {}));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.style = "host"; }));
  EXPECT_FALSE(refused([](StoreOptions& o) { o.memory_mib = kStoreMemoryMibMin; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.memory_mib = kStoreMemoryMibMin - 1; }));
  EXPECT_FALSE(refused([](StoreOptions& o) { o.parallel = kStoreParallelMax; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.parallel = kStoreParallelMax + 1; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.parallel = 0; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.timeout_s = 0; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.timeout_s = kStoreTimeoutMax + 1; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.cache_mib = 0; }));
  EXPECT_TRUE(refused([](StoreOptions& o) { o.credentials = "/x"; }));
}

TEST(StoreTarget, CredentialFiles) {
  const auto c = parse_credentials(
      "# of the shared file\n[other]\naws_access_key_id = NO\n[default]\naws_access_key_id=ID\r\n"
      "aws_secret_access_key = se/cr+et\nregion = x\naws_session_token = t\n");
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->access_key_id, "ID");
  EXPECT_EQ(as_text(c->secret_access_key.view()), "se/cr+et");
  EXPECT_EQ(as_text(c->session_token.view()), "t");
  EXPECT_TRUE(parse_credentials("aws_access_key_id=a\naws_secret_access_key=b"));
  for (const char* text :
       {"", "aws_access_key_id=a", "nonsense", "aws_access_key_id=a\naws_secret_access_key=b c",
        "aws_access_key_id=\naws_secret_access_key=b", "[x]\naws_access_key_id=a\naws_secret_access_key=b"})
    EXPECT_FALSE(parse_credentials(text)) << text;
}

TEST(StoreTarget, CredentialsAreForTheirOwnerOnly) {
  const TestFolder dir;
  test::put(dir / "c", "aws_access_key_id=a\naws_secret_access_key=VERYSECRET\nbad line\n");
  StoreOptions o = anonymous();
  o.anonymous = false;
  o.credentials = dir / "c";
  ASSERT_EQ(::chmod(o.credentials.c_str(), 0640), 0);
  const auto open = resolve_store("s3://abc/x", o);
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().code, ErrorCode::permission_denied);
  ASSERT_EQ(::chmod(o.credentials.c_str(), 0600), 0);
  const auto bad = resolve_store("s3://abc/x", o);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().text().find("VERYSECRET"), std::string::npos);
  test::put(dir / "c", "aws_access_key_id=a\naws_secret_access_key=VERYSECRET\n");
  EXPECT_TRUE(resolve_store("s3://abc/x", o));
}

}  // namespace
}  // namespace cairn::cachefs
