#include "net/http_client.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include "base/encoding.h"
#include "crypto/x509.h"
#include "net/http_server.h"

namespace cairn::net {
namespace {

using namespace std::chrono_literals;

// A peer that answers each connection with fixed bytes once it has seen a request head, then closes or stays.
Result<> with_peer(std::vector<std::string> answers, bool close_after,
                   std::function<Task<>(Endpoint, std::size_t& connections)> test) {
  return run_task([&](Runtime&) -> Task<> {
    const Executor loop = co_await this_loop();
    CAIRN_CO_TRY(auto listener, Listener::listen(loop, Endpoint::tcp("127.0.0.1", 0)));
    std::size_t connections = 0;
    TaskGroup group(loop);
    const auto serve = [](StreamPtr stream, std::vector<std::string>& left, bool close) -> Task<> {
      std::string seen;
      std::array<std::uint8_t, 1000> buffer;
      for (;;) {
        CAIRN_CO_TRY(const std::size_t n, co_await stream->read_some(buffer));
        if (n == 0) co_return Result<>{};
        seen += as_text(ByteView(buffer).first(n));
        if (!seen.ends_with("\r\n\r\n") || left.empty()) continue;
        seen.clear();
        CAIRN_CO_CHECK(co_await stream->write(left.front()));
        left.erase(left.begin());
        if (close) co_return Result<>{};
      }
    };
    const auto accept = [](Listener& l, TaskGroup& g, std::size_t& count, std::vector<std::string>& left, bool close,
                           const auto& fn) -> Task<> {
      for (;;) {
        CAIRN_CO_TRY(StreamPtr stream, co_await l.accept());
        ++count;
        g.spawn(fn(std::move(stream), left, close), "peer");
      }
    };
    group.spawn(accept(*listener, group, connections, answers, close_after, serve), "accept");
    const Result<> result = co_await with_timeout(test(listener->local(), connections), 20s);
    co_await group.stop();
    co_return result;
  });
}

Task<Response> fetch(HttpClient& client, Endpoint at, std::string method = "GET") {
  return client.send({.method = std::move(method), .url = "http://" + at.text() + "/", .timeout = 300ms});
}

TEST(HttpClient, ReadsEveryFraming) {
  const std::vector<std::string> answers = {
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: "
      "3\r\n\r\nabc",
      "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",  // no body whatever it says
  };
  const auto result = with_peer(answers, false, [](Endpoint at, std::size_t& connections) -> Task<> {
    HttpClient client;
    for (int i = 0; i < 3; ++i) {
      CAIRN_CO_TRY(const Response r, co_await fetch(client, at));
      EXPECT_EQ(r.status, 200);
      EXPECT_EQ(r.body, "abc");
    }
    CAIRN_CO_TRY(const Response none, co_await fetch(client, at));
    EXPECT_EQ(none.body, "");
    EXPECT_EQ(connections, 1U);  // all on one connection
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
  const auto closing =
      with_peer({"HTTP/1.0 200 OK\r\n\r\nuntil the end"}, true, [](Endpoint at, std::size_t&) -> Task<> {
        HttpClient client;
        CAIRN_CO_TRY(const Response r, co_await fetch(client, at));
        EXPECT_EQ(r.body, "until the end");
        co_return Result<>{};
      });
  EXPECT_TRUE(closing) << closing.error().text();
}

TEST(HttpClient, RefusesMalformedAnswers) {
  std::vector<std::string> answers = {"HTTP/2 200 OK\r\n\r\n",
                                      "HTTP/1.1 2000 OK\r\n\r\n",
                                      "HTTP/1.1 20 OK\r\n\r\n",
                                      "ICY 200 OK\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
                                      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
                                      "HTTP/1.1 200 OK\r\nA: b\n\r\n",
                                      "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
                                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n fff\r\n\r\n",
                                      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n\r\n"};
  const std::size_t count = answers.size();
  const auto result = with_peer(std::move(answers), true, [&](Endpoint at, std::size_t&) -> Task<> {
    for (std::size_t i = 0; i < count; ++i) {
      HttpClient client;
      const auto r = co_await fetch(client, at);
      EXPECT_EQ(r ? ErrorCode::internal : r.error().code, ErrorCode::malformed) << i;
    }
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpClient, StaleConnectionsAreReplacedForIdempotentRequests) {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
  const auto result = with_peer({ok, ok, ok}, true, [](Endpoint at, std::size_t& connections) -> Task<> {
    HttpClient client;
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(co_await fetch(client, at));
      CAIRN_CO_CHECK(co_await sleep_for(5ms));
    }
    EXPECT_EQ(connections, 3U);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpClient, BoundsTimeAndSize) {
  const auto silent = with_peer({}, false, [](Endpoint at, std::size_t&) -> Task<> {
    HttpClient client;
    const auto r = co_await client.send({.url = "http://" + at.text() + "/", .timeout = 20ms});
    EXPECT_EQ(r.error().code, ErrorCode::timed_out);
    co_return Result<>{};
  });
  EXPECT_TRUE(silent);
  const std::string ten = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
  const auto sized = with_peer({ten, ten}, false, [](Endpoint at, std::size_t&) -> Task<> {
    HttpClient client;
    EXPECT_TRUE(co_await client.send({.url = "http://" + at.text() + "/", .max_body = 10}));
    EXPECT_EQ((co_await client.send({.url = "http://" + at.text() + "/", .max_body = 9})).error().code,
              ErrorCode::too_large);
    co_return Result<>{};
  });
  EXPECT_TRUE(sized) << sized.error().text();
  const auto head =
      with_peer({"HTTP/1.1 200 OK\r\nA: " + std::string(limits::kHeadBytes, 'a') + "\r\n\r\n"}, false,
                [](Endpoint at, std::size_t&) -> Task<> {
                  HttpClient client;
                  EXPECT_EQ((co_await fetch(client, at)).error().code, ErrorCode::too_large);
                  EXPECT_EQ((co_await client.get("http://127.0.0.1:1/")).error().code, ErrorCode::unavailable);
                  EXPECT_EQ((co_await client.get("nonsense")).error().code, ErrorCode::malformed);
                  co_return Result<>{};
                });
  EXPECT_TRUE(head) << head.error().text();
}

// A server of ours to ask for the rest.
Router service() {
  Router router;
  router.add("GET", "/set", responder([](Exchange&) -> Task<Response> {
               Response r = Response::text(200, "");
               r.headers.add("Set-Cookie", "kbs-session-id=abc; Path=/");
               co_return r;
             }));
  router.add("GET", "/cookie", responder([](Exchange& e) -> Task<Response> {
               co_return Response::text(200, e.request().cookie("kbs-session-id").value_or("none"));
             }));
  router.add("GET", "/moved", responder([](Exchange&) -> Task<Response> {
               Response r = Response::empty(302);
               r.headers.add("Location", "/cookie");
               co_return r;
             }));
  router.add("GET", "/events", [](Exchange& e) -> Task<> {
    CAIRN_CO_CHECK(co_await e.begin({200, {}}));
    for (int i = 0; i < 3; ++i) {
      CAIRN_CO_CHECK(co_await e.write("data: " + std::to_string(i) + "\n\n"));
      CAIRN_CO_CHECK(co_await sleep_for(5ms));
    }
    co_return co_await e.end();
  });
  router.add("GET", "/form", responder([](Exchange& e) -> Task<Response> {
               co_return Response::text(200,
                                        e.request().absolute_form ? "absolute " + e.request().authority : "origin");
             }));
  return router;
}

TEST(HttpClient, CookiesRedirectsStreamsAndUnixSockets) {
  const auto path = std::filesystem::temp_directory_path() / ("http_client." + std::to_string(::getpid()));
  const auto result = run_task([&](Runtime& runtime) -> Task<> {
    HttpServer server(runtime, service());
    CAIRN_CO_TRY(const Endpoint at, server.listen(Endpoint::tcp("127.0.0.1", 0)));
    CAIRN_CO_CHECK(server.listen(Endpoint::local(path)));
    const std::string base = "http://" + at.text();
    {
      HttpClient client({.cookies = true, .max_redirects = 1});
      EXPECT_EQ((co_await client.get(base + "/cookie"))->body, "none");
      CAIRN_CO_CHECK((co_await client.get(base + "/set")).transform([](auto&&) {}));
      EXPECT_EQ((co_await client.get(base + "/moved"))->body, "abc");
      HttpClient plain;
      EXPECT_EQ((co_await plain.get(base + "/moved"))->status, 302);
      EXPECT_EQ((co_await plain.get("http+unix://" + percent_encode(path.native()) + "/form"))->body, "origin");
      CAIRN_CO_TRY(auto open, co_await plain.open({.url = base + "/events"}));
      std::string all;
      std::size_t pieces = 0;
      std::array<std::uint8_t, 1000> buffer;
      for (;;) {
        CAIRN_CO_TRY(const std::size_t n, co_await open.exchange->read_some(buffer));
        if (n == 0) break;
        ++pieces;
        all += as_text(ByteView(buffer).first(n));
      }
      EXPECT_EQ(all, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
      EXPECT_EQ(pieces, 3U);  // each as it came
    }
    co_return co_await server.stop(100ms);
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpClient, GoesThroughAProxy) {
  const auto result = run_task([&](Runtime& runtime) -> Task<> {
    HttpServer proxy(runtime, service());
    CAIRN_CO_TRY(const Endpoint at, proxy.listen(Endpoint::tcp("127.0.0.1", 0)));
    {
      HttpClient client({.proxy = "http://" + at.text()});
      EXPECT_EQ((co_await client.get("http://somewhere.test:81/form"))->body, "absolute somewhere.test:81");
      EXPECT_EQ((co_await client.get("https://somewhere.test/form")).error().code,
                ErrorCode::unavailable);  // it refuses CONNECT
    }
    co_return co_await proxy.stop(100ms);
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(HttpClient, TrustsTheRootsItIsGiven) {
  using namespace crypto;
  const auto key = PrivateKey::generate(KeyType::ec_p256).value();
  CertificateTemplate t;
  t.subject = t.issuer = {{"CN", "self"}};
  t.not_before = now().plus(-60);
  t.not_after = now().plus(3600);
  t.ca = true;
  t.key_usage = kKeyCertSign | kDigitalSignature;
  t.ip_addresses = {"127.0.0.1"};
  const auto certificate = issue(t, key.public_key(), key).value();
  const auto result = run_task([&](Runtime& runtime) -> Task<> {
    TlsOptions options;
    options.identity = std::make_shared<const TlsIdentity>(TlsIdentity{certificate.pem(), key.pkcs8_pem()});
    options.alpn = {"h2", "http/1.1"};
    CAIRN_CO_TRY(const auto tls, TlsContext::server(std::move(options)));
    HttpServer server(runtime, service());
    CAIRN_CO_TRY(const Endpoint at, server.listen(Endpoint::tcp("127.0.0.1", 0), tls));
    {
      HttpClient trusting({.extra_roots_pem = certificate.pem()});
      for (int i = 0; i < 2; ++i) EXPECT_EQ((co_await trusting.get("https://" + at.text() + "/form"))->body, "origin");
      HttpClient strange;
      EXPECT_EQ((co_await strange.get("https://" + at.text() + "/form")).error().code, ErrorCode::crypto_failed);
      EXPECT_FALSE(co_await trusting.get("http://" + at.text() + "/form"));  // plain text to a TLS port
    }
    if (std::system("command -v curl >/dev/null 2>&1") == 0) {
      const std::string command = "curl -sSk --max-time 10 -w ' %{http_version}' https://" + at.text() + "/form";
      auto out = co_await runtime.workers().offload([command] {
        std::string text;
        std::array<char, 100> buffer;
        FILE* pipe = ::popen(command.c_str(), "r");
        while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
        ::pclose(pipe);
        return text;
      });
      EXPECT_EQ(out.value(), "origin 2");  // HTTP/2 by ALPN
    }
    co_return co_await server.stop(100ms);
  });
  EXPECT_TRUE(result) << result.error().text();
}

}  // namespace
}  // namespace cairn::net
