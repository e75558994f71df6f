#include "net/tls.h"

#include <gtest/gtest.h>

#include "crypto/x509.h"

namespace cairn::net {
namespace {

using namespace std::chrono_literals;
using crypto::Certificate;
using crypto::PrivateKey;

struct Pki {
  PrivateKey ca_key = PrivateKey::generate(crypto::KeyType::ec_p256).value();
  crypto::Name ca_name = {{"CN", "test CA"}};
  Certificate ca = make(ca_name, ca_name, ca_key, ca_key, true, {}).value();

  static Result<Certificate> make(const crypto::Name& subject, const crypto::Name& issuer, const PrivateKey& key,
                                  const PrivateKey& signer, bool is_ca, std::vector<std::string> names,
                                  std::size_t padding = 0) {
    crypto::CertificateTemplate t;
    t.subject = subject;
    t.issuer = issuer;
    t.not_before = now().plus(-3600);
    t.not_after = now().plus(3600);
    t.ca = is_ca;
    t.key_usage = is_ca ? crypto::kKeyCertSign : crypto::kDigitalSignature;
    t.dns_names = std::move(names);
    if (!is_ca) t.ip_addresses = {"127.0.0.1"};
    if (padding > 0) {  // as evidence would be: text without much repetition
      Bytes noise(padding);
      std::uint32_t x = 12345;
      for (auto& b : noise) b = static_cast<std::uint8_t>(((x = x * 1664525 + 1013904223) >> 26) + 0x30);
      t.extra.push_back({"2.23.133.5.4.9", false, std::move(noise)});
    }
    return crypto::issue(t, key.public_key(), signer);
  }
  std::shared_ptr<const TlsIdentity> identity(const std::string& name, std::size_t padding = 0) const {
    const auto key = PrivateKey::generate(crypto::KeyType::ec_p256).value();
    const auto leaf = make({{"CN", name}}, ca_name, key, ca_key, false, {name}, padding).value();
    return std::make_shared<const TlsIdentity>(TlsIdentity{leaf.pem(), key.pkcs8_pem()});
  }
};

const Pki& pki() {
  static const Pki one;
  return one;
}

struct Ends {
  Result<TlsStreamPtr> client = fail(ErrorCode::internal, "not run"), server = fail(ErrorCode::internal, "not run");
};

// A handshake in memory.
Task<> shake(Result<std::shared_ptr<const TlsContext>> client, Result<std::shared_ptr<const TlsContext>> server,
             std::string name, Ends& ends) {
  CAIRN_CO_CHECK(client);
  CAIRN_CO_CHECK(server);
  auto [a, b] = memory_pair(co_await this_loop());
  const auto left = [](StreamPtr s, std::shared_ptr<const TlsContext> c, std::string n,
                       Result<TlsStreamPtr>& out) -> Task<> {
    out = co_await tls_connect(std::move(s), c, n, 2s);
    co_return Result<>{};
  };
  const auto right = [](StreamPtr s, std::shared_ptr<const TlsContext> c, Result<TlsStreamPtr>& out) -> Task<> {
    out = co_await tls_accept(std::move(s), c, 2s);
    co_return Result<>{};
  };
  co_return co_await both(left(std::move(a), *client, std::move(name), ends.client),
                          right(std::move(b), *server, ends.server));
}

TlsOptions server_options() {
  TlsOptions o;
  o.identity = pki().identity("server.test");
  return o;
}
TlsOptions client_options() {
  TlsOptions o;
  o.trust = TlsTrust::given;
  o.extra_roots_pem = pki().ca.pem();
  return o;
}

Task<std::string> read_until_end(Stream& stream) {
  std::string out;
  Bytes buffer(100'000);
  for (;;) {
    CAIRN_CO_TRY(const std::size_t n, co_await stream.read_some(buffer));
    if (n == 0) co_return out;
    out += as_text(ByteView(buffer).first(n));
  }
}
Task<> say(Stream& stream, std::string text) {
  CAIRN_CO_CHECK(co_await stream.write(text));
  co_return co_await stream.shutdown_write();
}
Task<> hear(Stream& stream, std::string& out) {
  CAIRN_CO_TRY(out, co_await read_until_end(stream));
  co_return Result<>{};
}

TEST(Tls, CarriesBytesBothWaysAndHalfCloses) {
  const auto result = run_task([](Runtime&) -> Task<> {
    auto client = client_options(), server = server_options();
    client.alpn = {"h2", "http/1.1"};
    server.alpn = {"http/1.1", "h2"};
    Ends ends;
    CAIRN_CO_CHECK(co_await shake(TlsContext::client(client), TlsContext::server(server), "server.test", ends));
    if (!ends.client) co_return fail(ends.client.error());
    if (!ends.server) co_return fail(ends.server.error());
    Stream &a = **ends.client, &b = **ends.server;
    EXPECT_EQ(a.tls()->version, "TLSv1.3");
    EXPECT_EQ(a.tls()->alpn, "http/1.1");  // the server's preference
    EXPECT_EQ(b.tls()->server_name, "server.test");
    EXPECT_EQ(a.tls()->peer_chain.size(), 1U);
    EXPECT_TRUE(b.tls()->peer_chain.empty());
    EXPECT_FALSE(a.tls()->group.empty());
    EXPECT_EQ((*ends.client)->export_keying_material("EXPORTER-x", {}, 32).value(),
              (*ends.server)->export_keying_material("EXPORTER-x", {}, 32).value());
    const std::string big(3'000'000, 'z');
    std::string at_a, at_b;
    CAIRN_CO_CHECK(co_await both(both(say(a, big), hear(b, at_b)), both(say(b, big + "!"), hear(a, at_a))));
    EXPECT_EQ(at_b, big);
    EXPECT_EQ(at_a, big + "!");
    EXPECT_FALSE(co_await a.write("more"));
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

// Each sabotage makes the client refuse.
TEST(Tls, ClientsRefuseWhatDoesNotVerify) {
  const auto result = run_task([](Runtime&) -> Task<> {
    const auto refused = [](TlsOptions client, TlsOptions server, std::string name) -> Task<std::string> {
      Ends ends;
      CAIRN_CO_CHECK(
          co_await shake(TlsContext::client(std::move(client)), TlsContext::server(std::move(server)), name, ends));
      if (ends.client) co_return "accepted";
      EXPECT_EQ(ends.client.error().code, ErrorCode::crypto_failed) << ends.client.error().text();
      co_return "refused";
    };
    const Pki stranger;
    EXPECT_EQ((co_await refused(client_options(), server_options(), "server.test")).value(), "accepted");
    EXPECT_EQ((co_await refused(client_options(), server_options(), "127.0.0.1")).value(), "accepted");
    EXPECT_EQ((co_await refused(client_options(), server_options(), "127.0.0.2")).value(), "refused");
    EXPECT_EQ((co_await refused(client_options(), server_options(), "other.test")).value(), "refused");
    auto other_roots = client_options();
    other_roots.extra_roots_pem = stranger.ca.pem();
    EXPECT_EQ((co_await refused(other_roots, server_options(), "server.test")).value(), "refused");
    auto system = client_options();
    system.trust = TlsTrust::system;
    system.extra_roots_pem.clear();
    EXPECT_EQ((co_await refused(system, server_options(), "server.test")).value(), "refused");
    auto protocol = client_options();
    auto picky = server_options();
    protocol.alpn = {"a"};
    picky.alpn = {"b"};
    EXPECT_EQ((co_await refused(protocol, picky, "server.test")).value(), "refused");
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Tls, VerifierDecidesBeforeAnyByteIsReleased) {
  const auto result = run_task([](Runtime&) -> Task<> {
    bool accept = true;
    std::size_t seen = 0;
    const PeerVerifier verifier = [&](const TlsInfo& info) -> Task<> {
      CAIRN_CO_CHECK(co_await sleep_for(2ms));  // as if it asked a service
      seen = info.peer_chain.size();
      if (!accept) co_return fail(ErrorCode::evidence_rejected, "not this one");
      co_return Result<>{};
    };
    TlsOptions client, server = server_options();
    client.trust = server.trust = TlsTrust::verifier;
    client.verifier = server.verifier = verifier;
    client.identity = pki().identity("client.test");
    client.tls13_only = server.tls13_only = server.require_client_certificate = true;
    client.resumption = server.resumption = false;
    Ends ends;
    CAIRN_CO_CHECK(co_await shake(TlsContext::client(client), TlsContext::server(server), "tng.internal", ends));
    EXPECT_TRUE(ends.client) << ends.client.error().text();
    EXPECT_TRUE(ends.server) << ends.server.error().text();
    EXPECT_EQ(seen, 1U);
    accept = false;
    CAIRN_CO_CHECK(co_await shake(TlsContext::client(client), TlsContext::server(server), "tng.internal", ends));
    EXPECT_EQ(ends.client.error().code, ErrorCode::evidence_rejected);
    EXPECT_FALSE(ends.server);
    accept = true;
    client.identity = nullptr;  // a client without the certificate it must have
    Ends naked;
    CAIRN_CO_CHECK(co_await shake(TlsContext::client(client), TlsContext::server(server), "tng.internal", naked));
    EXPECT_EQ(naked.server.error().code, ErrorCode::crypto_failed);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Tls, LargeCertificatesPassUpToTheLimit) {
  const auto result = run_task([](Runtime&) -> Task<> {
    TlsOptions server;
    server.identity = pki().identity("server.test", 1'000'000);
    Ends ends;
    CAIRN_CO_CHECK(
        co_await shake(TlsContext::client(client_options()), TlsContext::server(server), "server.test", ends));
    EXPECT_TRUE(ends.client) << ends.client.error().text();
    if (!certificate_compressions().empty() && ends.client) {
      EXPECT_TRUE((*ends.client)->info().certificate_compressed);
    }
    auto small = client_options();
    small.max_certificate_message = 500'000;
    CAIRN_CO_CHECK(co_await shake(TlsContext::client(small), TlsContext::server(server), "server.test", ends));
    EXPECT_FALSE(ends.client);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Tls, HostileOrSilentPeers) {
  const auto result = run_task([](Runtime&) -> Task<> {
    CAIRN_CO_TRY(const auto context, TlsContext::server(server_options()));
    {
      auto [a, b] = memory_pair(co_await this_loop());
      EXPECT_EQ((co_await tls_accept(std::move(b), context, 10ms)).error().code, ErrorCode::timed_out);
    }
    {
      auto [a, b] = memory_pair(co_await this_loop());
      CAIRN_CO_CHECK(co_await a->write("GET / HTTP/1.1\r\n\r\n"));
      EXPECT_EQ((co_await tls_accept(std::move(b), context, 1s)).error().code, ErrorCode::crypto_failed);
    }
    {
      auto [a, b] = memory_pair(co_await this_loop());
      CAIRN_CO_CHECK(co_await a->shutdown_write());
      EXPECT_EQ((co_await tls_accept(std::move(b), context, 1s)).error().code, ErrorCode::unavailable);
    }
    // Cut without close_notify: an error, not an end.
    CAIRN_CO_TRY(auto listener, Listener::listen(co_await this_loop(), Endpoint::tcp("127.0.0.1", 0)));
    CAIRN_CO_TRY(StreamPtr plain, co_await connect(listener->local()));
    CAIRN_CO_TRY(StreamPtr accepted, co_await listener->accept());
    CAIRN_CO_TRY(const auto client, TlsContext::client(client_options()));
    TlsStreamPtr a, b;
    const auto left = [](StreamPtr s, std::shared_ptr<const TlsContext> c, TlsStreamPtr& out) -> Task<> {
      CAIRN_CO_TRY(out, co_await tls_connect(std::move(s), c, "server.test"));
      co_return Result<>{};
    };
    const auto right = [](StreamPtr s, std::shared_ptr<const TlsContext> c, TlsStreamPtr& out) -> Task<> {
      CAIRN_CO_TRY(out, co_await tls_accept(std::move(s), c));
      co_return Result<>{};
    };
    CAIRN_CO_CHECK(co_await both(left(std::move(plain), client, a), right(std::move(accepted), context, b)));
    CAIRN_CO_CHECK(co_await b->write("half"));
    b->close();
    std::string out;
    EXPECT_EQ((co_await hear(*a, out)).error().code, ErrorCode::unavailable);
    co_return Result<>{};
  });
  EXPECT_TRUE(result) << result.error().text();
}

TEST(Tls, ContextsRefuseImpossibleOptions) {
  EXPECT_FALSE(TlsContext::server({}));
  TlsOptions o;
  o.trust = TlsTrust::verifier;
  EXPECT_FALSE(TlsContext::client(o));
  o = {};
  o.trust = TlsTrust::given;
  EXPECT_FALSE(TlsContext::client(o));
  o = {};
  o.extra_roots_pem = "no certificate";
  EXPECT_FALSE(TlsContext::client(o));
  o = {};
  o.groups = "no-such-group";
  EXPECT_FALSE(TlsContext::client(o));
  const auto one = pki().identity("a"), two = pki().identity("b");
  o = {};
  o.identity = std::make_shared<const TlsIdentity>(TlsIdentity{one->certificate_pem, two->private_key_pem.clone()});
  EXPECT_FALSE(TlsContext::server(o));
}

}  // namespace
}  // namespace cairn::net
