#include "tng/ratls/attester.h"

#include "base/log.h"
#include "kbs_protocol/aa_client.h"
#include "tng/limits.h"
#include "tng/ratls/certificate.h"

namespace cairn::tng {
namespace {

std::shared_ptr<const net::TlsIdentity> tls_identity(const crypto::Certificate& certificate,
                                                     const crypto::PrivateKey& key) {
  return std::make_shared<const net::TlsIdentity>(net::TlsIdentity{certificate.pem(), key.pkcs8_pem()});
}

net::Task<std::shared_ptr<const net::TlsIdentity>> attempt(Attest config, BindingForm form) {
  CAIRN_CO_TRY(const auto key, crypto::PrivateKey::generate(crypto::KeyType::ec_p256));
  const Binding binding = Binding::of(form, key.public_key().spki_der());
  CAIRN_CO_TRY(auto agent, agent::Client::at(config.aa_socket));
  CocoEvidence coco;
  CAIRN_CO_TRY(coco.tee, co_await agent.tee_type());
  CAIRN_CO_TRY(const std::string evidence, co_await agent.evidence(to_bytes(binding.report_data.view())));
  coco.evidence = to_bytes(evidence);
  coco.runtime_data = binding.runtime_data;
  if (form == BindingForm::b) {
    coco.has_additional = true;
    CAIRN_CO_TRY(const std::string devices, co_await agent.additional_evidence({}));
    if (!devices.empty()) coco.additional = to_bytes(devices);
  }
  const Bytes tagged = TaggedEvidence{tag_coco_evidence, coco.encode(), binding.claims_buffer}.encode();
  CAIRN_CO_TRY(const auto certificate, ratls_certificate(key, tagged, now()));
  co_return tls_identity(certificate, key);
}

net::Task<std::shared_ptr<const net::TlsIdentity>> attempts(Attest config, BindingForm form) {
  for (int i = 1;; ++i) {
    auto made = co_await attempt(config, form);
    if (made || i == limits::certificate_attempts || made.error().code == ErrorCode::cancelled) co_return made;
    spdlog::warn("no evidence from {} (attempt {} of {}): {}", config.aa_socket, i, limits::certificate_attempts,
                 printable(made.error().text(), 512));
    CAIRN_CO_CHECK(co_await net::sleep_for(limits::certificate_retry));
  }
}

}  // namespace

net::Task<std::shared_ptr<const net::TlsIdentity>> attested_identity(Attest config, BindingForm form) {
  auto made = co_await net::with_timeout(attempts(config, form), limits::certificate_build);
  if (!made)
    co_return fail(std::move(made).error().in("no evidence from the attestation agent at " + config.aa_socket));
  co_return made;
}

Result<std::shared_ptr<const net::TlsIdentity>> unattested_identity() {
  CAIRN_TRY(const Identity identity, plain_identity(now()));
  return tls_identity(identity.certificate, identity.key);
}

}  // namespace cairn::tng
