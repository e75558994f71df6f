#include "guest/rest/facade.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/json.h"

namespace cairn::rest {
namespace {

// Answers with what it was asked, and fails when told to.
struct FakeBackend final : Backend {
  bool broken = false;
  std::string extended;
  template <class T>
  Result<T> give(T value) {
    if (broken) return fail(ErrorCode::internal, "[ERROR:attestation-agent] AA-KBC get token failed");
    return value;
  }
  net::Task<std::string> tee_type() override { co_return give<std::string>("tdx"); }
  net::Task<std::vector<std::string>> additional_tees() override { co_return std::vector<std::string>{"nvidia"}; }
  net::Task<std::string> evidence(Bytes data) override { co_return give("E:" + hex(data)); }
  net::Task<std::string> additional_evidence(Bytes data) override { co_return give("A:" + hex(data)); }
  net::Task<Secret> token(std::string type) override {
    if (broken) co_return fail(ErrorCode::internal, "[ERROR:attestation-agent] AA-KBC get token failed");
    co_return Secret(as_bytes("T:" + type));
  }
  net::Task<> extend(std::string domain, std::string operation, std::string content,
                     std::optional<std::uint64_t> pcr) override {
    extended = domain + " " + operation + " " + content + " " + (pcr ? std::to_string(*pcr) : "-");
    co_return Result<>{};
  }
  net::Task<Secret> resource(std::string uri) override {
    if (broken) co_return fail(ErrorCode::internal, "[CDH] [ERROR]: Get Resource failed");
    co_return Secret(as_bytes("R:" + uri));
  }
  net::Task<cdh::api::PrepareInjectionResponse> prepare_injection(cdh::api::PrepareInjectionRequest r) override {
    co_return cdh::api::PrepareInjectionResponse{"id " + r.resource_path, r.nonce, R"({"kty":"EC"})", to_bytes("ev")};
  }
  net::Task<> commit_injection(cdh::api::CommitInjectionRequest r) override {
    extended = r.session_id + " " + r.resource_path + " " + std::string(as_text(r.encrypted_resource));
    co_return Result<>{};
  }
};

struct Facade {
  FakeBackend backend;
  Rules rules{.profile = kbs::Profile::p1, .aa = true, .cdh = true};

  net::Response ask(Request request) {
    auto out = net::run_to_end<net::Response>(
        [&](net::Runtime&) -> net::Task<net::Response> { co_return co_await answer(request, rules, backend); });
    return *out;
  }
  net::Response get(std::string target, bool loopback = true) {
    const std::size_t mark = target.find('?');
    return ask({.method = "GET",
                .path = target.substr(0, mark),
                .query = mark == std::string::npos ? "" : target.substr(mark + 1),
                .body = {},
                .loopback = loopback});
  }
  std::string text(std::string target) {
    const auto r = get(std::move(target));
    return std::to_string(r.status) + " " + r.body;
  }
};

// spec/guest.md §3.1, row by row.
TEST(Rest, P1Table) {
  Facade f;
  EXPECT_EQ(f.text("/aa/token?token_type=kbs"), "200 T:kbs");
  EXPECT_EQ(f.get("/aa/token?token_type=kbs").headers.get("Content-Type"), "application/octet-stream");
  EXPECT_EQ(f.text("/aa/token"), "405 Method Not Allowed");
  EXPECT_EQ(f.text("/aa/token?token_type=kbs&x=1"), "405 Method Not Allowed");
  EXPECT_EQ(f.text("/aa/token?type=kbs"), "400 BAD REQUEST");
  EXPECT_EQ(f.text("/aa/evidence?runtime_data=a%20b"), "200 E:612062");
  EXPECT_EQ(f.text("/aa/evidence?runtime_data=abc&encoding=base64"), "405 Method Not Allowed");
  EXPECT_EQ(f.text("/aa/evidence?data=x"), "400 BAD REQUEST");
  EXPECT_EQ(f.text("/aa/other?x=1"), "404 URL NOT FOUND");
  EXPECT_EQ(f.text("/aa/other"), "405 Method Not Allowed");
  EXPECT_EQ(f.text("/cdh/resource/default/aliyun/key"), "200 R:kbs:///default/aliyun/key");
  EXPECT_EQ(f.text("/cdh/resource/default/key"), "404 URL NOT FOUND");
  EXPECT_EQ(f.text("/cdh/other"), "404 URL NOT FOUND");
  EXPECT_EQ(f.text("/cdh"), "404 ");
  EXPECT_EQ(f.text("/nothing"), "404 ");
  EXPECT_EQ(f.text("/"), "404 ");
  EXPECT_EQ(f.text("/info"), "404 ");
}

TEST(Rest, OtherMachinesAreRefusedFirst) {
  Facade f;
  for (const char* target : {"/aa/token?token_type=kbs", "/aa/x", "/cdh/resource/a/b/c", "/cdh"}) {
    EXPECT_EQ(f.get(target, false).status, 403) << target;
    EXPECT_EQ(f.get(target, false).body, "Forbidden") << target;
  }
  EXPECT_EQ(f.ask({.method = "POST", .path = "/aa/token", .query = "", .body = "", .loopback = false}).status, 403);
  EXPECT_EQ(f.ask({.method = "POST", .path = "/aa/token", .query = "", .body = "", .loopback = true}).status, 405);
  EXPECT_EQ(
      f.ask({.method = "DELETE", .path = "/cdh/resource/a/b/c", .query = "", .body = "", .loopback = true}).status,
      405);
  EXPECT_TRUE(is_loopback("127.0.0.1"));
  EXPECT_TRUE(is_loopback("127.8.9.1"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_TRUE(is_loopback("::ffff:127.0.0.1"));
  EXPECT_FALSE(is_loopback("10.0.0.1"));
  EXPECT_FALSE(is_loopback("::2"));
  EXPECT_FALSE(is_loopback(""));
}

TEST(Rest, BackendErrorsAre500WithTheirText) {
  Facade f;
  f.backend.broken = true;
  EXPECT_NE(f.text("/aa/token?token_type=kbs").find("500 "), std::string::npos);
  EXPECT_NE(f.text("/aa/token?token_type=kbs").find("AA-KBC get token failed"), std::string::npos);
  EXPECT_EQ(f.get("/cdh/resource/a/b/c").status, 500);
}

TEST(Rest, HalvesThatAreOffDoNotExist) {
  Facade f;
  f.rules.aa = false;
  EXPECT_EQ(f.text("/aa/token?token_type=kbs"), "404 ");
  f.rules = {.profile = kbs::Profile::p1, .aa = true, .cdh = false};
  EXPECT_EQ(f.text("/cdh/resource/a/b/c"), "404 ");
}

TEST(Rest, P2Additions) {
  Facade f;
  f.rules.profile = kbs::Profile::p2;
  f.rules.version = "1.2.3";
  EXPECT_EQ(f.text("/info"), R"(200 {"additional_tees":["nvidia"],"tee":"tdx","version":"1.2.3"})");
  EXPECT_EQ(f.text("/aa/evidence?runtime_data=AAEC&encoding=base64"), "200 E:000102");
  EXPECT_EQ(f.text("/aa/evidence?runtime_data=AAEC&encoding=hex"), "400 BAD REQUEST");
  EXPECT_EQ(f.text("/aa/additional-evidence?runtime_data=x"), "200 A:78");
  const auto post = [&](std::string path, std::string body, bool loopback = true) {
    return f.ask(
        {.method = "POST", .path = std::move(path), .query = "", .body = std::move(body), .loopback = loopback});
  };
  EXPECT_EQ(post("/aa/aael", R"({"domain":"d","operation":"o","content":"c","register_index":16})").status, 200);
  EXPECT_EQ(f.backend.extended, "d o c 16");
  EXPECT_EQ(post("/aa/aael", R"({"domain":"d","operation":"o"})").status, 400);
  EXPECT_EQ(post("/aa/aael", "junk").status, 400);
  EXPECT_EQ(post("/aa/aael", R"({"domain":"d","operation":"o","content":"c"})", false).status, 403);
  const auto prepared = post("/cdh/resource-injection/prepare/a/b/c", R"({"nonce":"n"})");
  EXPECT_EQ(prepared.status, 200);
  EXPECT_EQ((*parse_json(prepared.body))["session_id"], "id a/b/c");
  EXPECT_EQ((*parse_json(prepared.body))["tee_pubkey"]["kty"], "EC");
  EXPECT_EQ(
      post("/cdh/resource-injection/commit/a/b/c", R"({"session_id":"s","encrypted_resource":{"iv":"x"}})").status,
      200);
  EXPECT_EQ(f.backend.extended, R"(s a/b/c {"iv":"x"})");
  EXPECT_EQ(post("/cdh/resource-injection/commit/a/b/c", "{}").status, 400);
}

TEST(Rest, RemoteFlagsOpenOnlyWhatTheyName) {
  Facade f;
  f.rules.profile = kbs::Profile::p2;
  EXPECT_EQ(f.get("/aa/evidence?runtime_data=x", false).status, 403);
  f.rules.remote_evidence = true;
  EXPECT_EQ(f.get("/aa/evidence?runtime_data=x", false).status, 200);
  EXPECT_EQ(f.get("/aa/token?token_type=kbs", false).status, 403);
  EXPECT_EQ(f.get("/cdh/resource/a/b/c", false).status, 403);
  EXPECT_EQ(f.ask({.method = "POST",
                   .path = "/cdh/resource-injection/prepare/a/b/c",
                   .query = "",
                   .body = "{}",
                   .loopback = false})
                .status,
            403);
  f.rules.remote_injection = true;
  EXPECT_EQ(f.ask({.method = "POST",
                   .path = "/cdh/resource-injection/prepare/a/b/c",
                   .query = "",
                   .body = R"({"nonce":"n"})",
                   .loopback = false})
                .status,
            200);
  EXPECT_EQ(f.get("/cdh/resource/a/b/c", false).status, 403);
}

}  // namespace
}  // namespace cairn::rest
