#include "cli/up/impostor.h"

#include <atomic>
#include <thread>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/up/agent.h"
#include "net/http2.h"
#include "net/tls.h"
#include "tng/ratls/certificate.h"

namespace cairn::cli {
namespace {

std::shared_ptr<const net::TlsIdentity> identity_of(const crypto::Certificate& certificate,
                                                    const crypto::PrivateKey& key) {
  return std::make_shared<const net::TlsIdentity>(net::TlsIdentity{certificate.pem(), key.pkcs8_pem()});
}

// A certificate over our own key, around evidence that the agent bound to another one.
Result<std::shared_ptr<const net::TlsIdentity>> with_evidence_of_another_key(const std::string& agent_socket) {
  CAIRN_TRY(const auto theirs, crypto::PrivateKey::generate(crypto::KeyType::ec_p256));
  CAIRN_TRY(const auto ours, crypto::PrivateKey::generate(crypto::KeyType::ec_p256));
  const auto binding = tng::Binding::of(tng::BindingForm::a, theirs.public_key().spki_der());
  CAIRN_TRY(const auto evidence, agent_evidence(agent_socket, binding.report_data));
  tng::CocoEvidence coco;
  coco.tee = "tdx";
  coco.evidence = to_bytes(evidence);
  coco.runtime_data = binding.runtime_data;
  const tng::TaggedEvidence tagged{tng::tag_coco_evidence, coco.encode(), binding.claims_buffer};
  CAIRN_TRY(const auto certificate, tng::ratls_certificate(ours, tagged.encode(), now()));
  return identity_of(certificate, ours);
}

Result<std::shared_ptr<const net::TlsIdentity>> without_evidence() {
  CAIRN_TRY(const auto plain, tng::plain_identity(now()));
  return identity_of(plain.certificate, plain.key);
}

}  // namespace

struct Impostor::State {
  std::shared_ptr<const net::TlsContext> tls;
  std::atomic<std::uint64_t> handshakes{0}, received{0};
  net::Runtime runtime{net::Runtime::Options{.loops = 1, .workers = 1, .signals = false}};
  std::thread thread;

  net::Task<> serve_stream(net::Http2StreamPtr stream);
  net::Task<> serve(net::StreamPtr connection);
  net::Task<> run(std::uint16_t port, net::Runtime& r, std::atomic<int>& listening);
};

net::Task<> Impostor::State::serve_stream(net::Http2StreamPtr stream) {
  net::ResponseHead accepted;
  accepted.headers.set("server", "tng");
  CAIRN_CO_CHECK(co_await stream->respond(accepted));
  ++handshakes;
  auto handshake = co_await net::tls_accept(std::move(stream), tls);
  if (!handshake) co_return Result<>{};  // the client turned away, as it must
  // An HTTP/2 preface and settings are not yet the application's: count what streams carry.
  auto session = net::Http2Session::server(std::move(*handshake), [this](net::Http2StreamPtr tunnel) -> net::Task<> {
    const net::ResponseHead accepted_too;
    CAIRN_CO_CHECK(co_await tunnel->respond(accepted_too));
    Bytes chunk(kReadBuffer);
    for (;;) {
      CAIRN_CO_TRY(const std::size_t n, co_await tunnel->read_some(chunk));
      if (n == 0) co_return Result<>{};
      received += n;
    }
  });
  (void)co_await session->run();  // however the client leaves
  co_return Result<>{};
}

net::Task<> Impostor::State::serve(net::StreamPtr connection) {
  auto session = net::Http2Session::server(std::move(connection),
                                           [this](net::Http2StreamPtr s) { return serve_stream(std::move(s)); });
  (void)co_await session->run();
  co_return Result<>{};
}

net::Task<> Impostor::State::run(std::uint16_t port, net::Runtime& r, std::atomic<int>& listening) {
  const auto loop = co_await net::this_loop();
  const auto made = net::Listener::listen(loop, net::Endpoint::tcp("127.0.0.1", port));
  listening = made ? 1 : -1;
  if (!made) co_return fail(std::move(made).error());
  net::Listener& listener = **made;
  net::TaskGroup connections(loop);
  auto accepting = [&]() -> net::Task<> {
    for (;;) {
      CAIRN_CO_TRY(auto connection, co_await listener.accept());
      connections.spawn(serve(std::move(connection)), "impostor");
    }
  };
  (void)co_await net::race(accepting(), r.stop_requested());
  co_await connections.stop();
  co_return Result<>{};
}

Result<std::unique_ptr<Impostor>> Impostor::start(std::uint16_t port, Evidence evidence,
                                                  const std::string& agent_socket) {
  CAIRN_TRY(auto identity,
            evidence == Evidence::none ? without_evidence() : with_evidence_of_another_key(agent_socket));
  auto state = std::make_unique<State>();
  CAIRN_TRY(state->tls,
            net::TlsContext::server(
                {.tls13_only = true, .identity = std::move(identity), .alpn = {"h2"}, .resumption = false}));
  auto listening = std::make_shared<std::atomic<int>>(0);
  state->thread = std::thread([s = state.get(), port, listening] {
    (void)s->runtime.run([&](net::Runtime& r) { return s->run(port, r, *listening); });
  });
  std::unique_ptr<Impostor> out(new Impostor(std::move(state)));
  while (*listening == 0) std::this_thread::yield();
  if (*listening < 0) return fail(ErrorCode::conflict, "127.0.0.1:" + std::to_string(port), "the port is in use");
  return out;
}

Impostor::Impostor(std::unique_ptr<State> state) : state_(std::move(state)) {}
Impostor::~Impostor() {
  state_->runtime.request_stop();
  if (state_->thread.joinable()) state_->thread.join();
}
std::uint64_t Impostor::handshakes() const { return state_->handshakes; }
std::uint64_t Impostor::received() const { return state_->received; }

}  // namespace cairn::cli
