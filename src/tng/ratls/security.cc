#include "tng/ratls/security.h"

#include <unistd.h>

#include "base/log.h"
#include "tng/limits.h"
#include "tng/ratls/attester.h"

namespace cairn::tng {
namespace {

net::Task<> accept_anyone(const net::TlsInfo&) { co_return Result<>{}; }

net::Task<> accept_verified(std::shared_ptr<PeerVerifier> verifier, Bytes certificate) {
  CAIRN_CO_CHECK(co_await verifier->verify(std::move(certificate)));
  co_return Result<>{};
}

net::Task<> refuse_nameless() {
  co_return fail(ErrorCode::evidence_rejected, "ratls.no_evidence",
                 "the peer presented no certificate, hence no attestation evidence");
}

}  // namespace

Result<std::shared_ptr<Security>> Security::create(Side side, RemoteAttestation ra, Compat compat,
                                                   std::vector<std::string> alpn, BlockStatusPtr status) {
  const BindingForm form = compat == Compat::v2_2_4 ? BindingForm::a : BindingForm::b;
  std::shared_ptr<Security> out(new Security(side, std::move(ra), form, std::move(alpn), std::move(status)));
  if (out->ra_.verify) {
    CAIRN_TRY(out->verifier_, PeerVerifier::create(*out->ra_.verify, out->status_));
  }
  return out;
}

Result<std::shared_ptr<const net::TlsContext>> Security::make_context(
    std::shared_ptr<const net::TlsIdentity> identity) const {
  net::TlsOptions options;
  options.tls13_only = true;
  options.resumption = false;
  options.identity = std::move(identity);
  options.alpn = alpn_;
  options.trust = net::TlsTrust::verifier;
  options.check_host_name = false;
  options.max_certificate_message = limits::certificate;
  options.verifier = accept_anyone;
  if (verifier_)
    options.verifier = [verifier = verifier_](const net::TlsInfo& info) {
      return info.peer_chain.empty() ? refuse_nameless() : accept_verified(verifier, info.peer_chain.front());
    };
  options.require_client_certificate = side_ == Side::server && verifier_ != nullptr;
  return side_ == Side::server ? net::TlsContext::server(std::move(options))
                               : net::TlsContext::client(std::move(options));
}

net::Task<> Security::renew() {
  std::shared_ptr<const net::TlsIdentity> identity;
  if (ra_.attest) {
    CAIRN_CO_TRY(identity, co_await attested_identity(*ra_.attest, form_));
  } else {
    CAIRN_CO_TRY(identity, unattested_identity());
  }
  CAIRN_CO_TRY(auto made, make_context(std::move(identity)));
  const std::scoped_lock lock(mutex_);
  context_ = std::move(made);
  made_at_ms_ = monotonic_ms();
  if (ra_.attest) status_->own_evidence_at = now().seconds;
  co_return Result<>{};
}

net::Task<> Security::prepare() {
  if (ra_.attest && access(ra_.attest->aa_socket.c_str(), F_OK) != 0)
    co_return fail(ErrorCode::not_found, ra_.attest->aa_socket,
                   "aa_addr: no attestation agent listens there; start it first");
  CAIRN_CO_CHECK(co_await renew());
  status_->ready = true;
  co_return Result<>{};
}

net::Task<> Security::keep_fresh() {
  if (!ra_.attest || per_handshake()) co_return Result<>{};
  const auto interval = ra_.attest->refresh_interval;
  for (;;) {
    CAIRN_CO_CHECK(co_await net::sleep_for(interval));
    auto done = co_await renew();
    if (!done)
      spdlog::error("{}: the certificate could not be renewed: {}", status_->name(),
                    printable(done.error().text(), 512));
    const std::scoped_lock lock(mutex_);
    status_->ready = monotonic_ms() - made_at_ms_ <= 2 * std::chrono::milliseconds(interval).count();
  }
}

net::Task<std::shared_ptr<const net::TlsContext>> Security::context() {
  if (per_handshake()) {
    CAIRN_CO_TRY(auto identity, co_await attested_identity(*ra_.attest, form_));
    co_return make_context(std::move(identity));
  }
  const std::scoped_lock lock(mutex_);
  if (!context_) co_return fail(ErrorCode::unavailable, "not ready: there is no certificate yet");
  if (ra_.attest && monotonic_ms() - made_at_ms_ > 2 * std::chrono::milliseconds(ra_.attest->refresh_interval).count())
    co_return fail(ErrorCode::unavailable, "ratls.own_evidence_stale",
                   "this side's evidence is too old and the attestation agent gives no new one");
  co_return context_;
}

net::Task<Secured> Security::handshake(net::StreamPtr stream) {
  const auto begin = std::chrono::steady_clock::now();
  CAIRN_CO_TRY(auto tls, co_await context());
  net::Task<net::TlsStreamPtr> shake =
      side_ == Side::server ? net::tls_accept(std::move(stream), std::move(tls), limits::handshake)
                            : net::tls_connect(std::move(stream), std::move(tls), server_name, limits::handshake);
  Secured out;
  CAIRN_CO_TRY(out.stream, co_await std::move(shake));
  if (verifier_) {
    // Remembered since the handshake, unless it expired this very moment.
    CAIRN_CO_TRY(out.peer, co_await verifier_->verify(out.stream->info().peer_chain.front()));
  }
  status_->handshake.observe(std::chrono::steady_clock::now() - begin);
  co_return out;
}

}  // namespace cairn::tng
