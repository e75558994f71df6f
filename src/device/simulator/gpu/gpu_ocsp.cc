// The simulated OCSP responder.
#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "base/encoding.h"
#include "crypto/openssl.h"
#include "device/simulator/gpu/gpu_simulator.h"

namespace cairn::device {
namespace {

using crypto::Owned;
using OcspRequest = Owned<OCSP_REQUEST, OCSP_REQUEST_free>;
using OcspResponse = Owned<OCSP_RESPONSE, OCSP_RESPONSE_free>;
using OcspBasic = Owned<OCSP_BASICRESP, OCSP_BASICRESP_free>;
using OcspId = Owned<OCSP_CERTID, OCSP_CERTID_free>;
using OcspTime = Owned<ASN1_TIME, ASN1_TIME_free>;

constexpr std::int64_t kAnswerLife = 24 * 60 * 60;
constexpr std::string_view kSigningPurpose = "1.3.6.1.5.5.7.3.9";

Result<Bytes> encoded_response(const OCSP_RESPONSE* response) {
  std::uint8_t* data = nullptr;
  const int size = i2d_OCSP_RESPONSE(response, &data);
  if (size <= 0) return crypto::openssl_error("OCSP response");
  Bytes out(data, data + size);
  OPENSSL_free(data);
  return out;
}

Result<Bytes> refusal(int status) {
  const OcspResponse response(OCSP_response_create(status, nullptr));
  return encoded_response(response.get());
}

struct Status {
  int status = V_OCSP_CERTSTATUS_GOOD;
  int reason = -1;
};
Status status_of(GpuScenario s, const std::string& subject) {
  const bool provisioner = subject.contains("Provisioner"), identity = subject.contains("GH100 Identity"),
             signer = subject.contains("L4 Signer");
  if (s == GpuScenario::ocsp_unknown && provisioner) return {V_OCSP_CERTSTATUS_UNKNOWN, -1};
  if (s == GpuScenario::ocsp_held && signer) return {V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_CERTIFICATEHOLD};
  if (s == GpuScenario::device_revoked && identity)
    return {V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_KEYCOMPROMISE};
  if (s == GpuScenario::device_revoked && provisioner) return {V_OCSP_CERTSTATUS_UNKNOWN, -1};
  if (s == GpuScenario::rim_revoked && signer) return {V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_SUPERSEDED};
  return {};
}

}  // namespace

Result<Bytes> GpuSimulator::answer(const crypto::Certificate& about, const Issuer& issuer, ByteView nonce,
                                   Time at) const {
  const bool spoiled = about.common_name().contains("Provisioner");
  const GpuScenario s = machine_.scenario;
  if (spoiled && s == GpuScenario::ocsp_garbage) return Bytes(40, 0x30);
  if (spoiled && s == GpuScenario::ocsp_refused) return refusal(OCSP_RESPONSE_STATUS_UNAUTHORIZED);
  const std::int64_t shift = !spoiled                        ? 0
                             : s == GpuScenario::ocsp_stale  ? -2 * kAnswerLife
                             : s == GpuScenario::ocsp_future ? kAnswerLife
                                                             : 0;
  const Time from = at.plus(shift - 60);
  // The responder, certified by the CA that issued the certificate asked about.
  const Issuer& certifier = spoiled && s == GpuScenario::ocsp_other_ca ? rim_cas_[1] : issuer;
  CAIRN_TRY(const crypto::PrivateKey responder_key, key("responder"));
  crypto::CertificateTemplate what{
      .subject = {{"CN", "TEST OCSP responder"}, {"O", "Cairn TEST"}},
      .issuer = {{"CN", certifier.certificate.common_name()}, {"O", "Cairn TEST"}, {"C", "US"}},
      .serial = {1},
      .not_before = at.plus(-2 * kAnswerLife),
      .not_after = at.plus(30 * kAnswerLife),
      .key_usage = crypto::kDigitalSignature};
  if (!spoiled || s != GpuScenario::ocsp_no_eku) what.extended_key_usage = {std::string(kSigningPurpose)};
  CAIRN_TRY(const auto responder, crypto::issue(what, responder_key.public_key(), certifier.key));

  const bool other = spoiled && s == GpuScenario::ocsp_other;
  const OcspId id(
      OCSP_cert_to_id(EVP_sha384(), (other ? rim_cas_[0].certificate : about).native(), issuer.certificate.native()));
  const OcspBasic basic(OCSP_BASICRESP_new());
  const OcspTime this_update(ASN1_TIME_set(nullptr, from.seconds)),
      next_update(ASN1_TIME_set(nullptr, from.plus(kAnswerLife).seconds));
  const Status status = status_of(s, about.common_name());
  ASN1_TIME* const revoked = status.status == V_OCSP_CERTSTATUS_REVOKED ? this_update.get() : nullptr;
  OCSP_SINGLERESP* const single = OCSP_basic_add1_status(basic.get(), id.get(), status.status, status.reason, revoked,
                                                         this_update.get(), next_update.get());
  if (single == nullptr) return crypto::openssl_error("OCSP answer");
  if (!nonce.empty()) {
    Bytes value = to_bytes(nonce);
    if (OCSP_basic_add1_nonce(basic.get(), value.data(), static_cast<int>(value.size())) != 1)
      return crypto::openssl_error("OCSP nonce");
  }
  if (OCSP_basic_sign(basic.get(), responder.native(), responder_key.native(), EVP_sha384(), nullptr, 0) != 1)
    return crypto::openssl_error("OCSP signature");
  const OcspResponse response(OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.get()));
  CAIRN_TRY(Bytes out, encoded_response(response.get()));
  if (spoiled && s == GpuScenario::ocsp_flip) {
    const ASN1_OCTET_STRING* signature = OCSP_resp_get0_signature(basic.get());
    const ByteView bytes(ASN1_STRING_get0_data(signature), static_cast<std::size_t>(ASN1_STRING_length(signature)));
    auto place = std::ranges::search(out, bytes);
    if (!place.empty()) *(place.end() - 1) ^= 1;
  }
  return out;
}

Result<nvidia::Collateral> GpuSimulator::collateral(Time at) const {
  nvidia::Collateral out;
  CAIRN_TRY(out.rims, rims());
  const auto add = [&](const crypto::Certificate& about, const Issuer& issuer) -> Result<void> {
    CAIRN_TRY(const Bytes id, nvidia::ocsp_certificate_id(about, issuer.certificate));
    if (machine_.scenario == GpuScenario::ocsp_missing && about.common_name().contains("Provisioner")) return {};
    CAIRN_TRY(out.ocsp[hex(id)].response, answer(about, issuer, {}, at));
    return {};
  };
  for (std::size_t i = 0; i + 1 < device_cas_.size(); ++i)
    CAIRN_CHECK(add(device_cas_[i].certificate, device_cas_[i + 1]));
  for (std::size_t i = 0; i + 1 < rim_cas_.size(); ++i) CAIRN_CHECK(add(rim_cas_[i].certificate, rim_cas_[i + 1]));
  for (const Device& d : devices_) {
    CAIRN_TRY(const auto chain, crypto::Certificate::from_pem(d.chain));
    CAIRN_CHECK(add(chain.at(1), device_cas_[0]));
  }
  return out;
}

Result<Bytes> GpuSimulator::answer_ocsp(ByteView request, Time at) const {
  const auto* data = request.data();
  const OcspRequest parsed(d2i_OCSP_REQUEST(nullptr, &data, static_cast<long>(request.size())));
  if (!parsed || OCSP_request_onereq_count(parsed.get()) != 1) {
    ERR_clear_error();
    return refusal(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST);
  }
  const OCSP_CERTID* id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(parsed.get(), 0));
  Bytes nonce;
  if (const int i = OCSP_REQUEST_get_ext_by_NID(parsed.get(), NID_id_pkix_OCSP_Nonce, -1); i >= 0) {
    const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(OCSP_REQUEST_get_ext(parsed.get(), i));
    const auto* bytes = ASN1_STRING_get0_data(value);
    nonce.assign(bytes + 2, bytes + ASN1_STRING_length(value));
  }
  const auto matches = [&](const crypto::Certificate& about, const Issuer& issuer) {
    const OcspId own(OCSP_cert_to_id(EVP_sha384(), about.native(), issuer.certificate.native()));
    return OCSP_id_cmp(own.get(), id) == 0;
  };
  for (const auto* cas : {&device_cas_, &rim_cas_})
    for (std::size_t i = 0; i + 1 < cas->size(); ++i)
      if (matches((*cas)[i].certificate, (*cas)[i + 1])) return answer((*cas)[i].certificate, (*cas)[i + 1], nonce, at);
  for (const Device& d : devices_) {
    CAIRN_TRY(const auto chain, crypto::Certificate::from_pem(d.chain));
    if (matches(chain.at(1), device_cas_[0])) return answer(chain.at(1), device_cas_[0], nonce, at);
  }
  return refusal(OCSP_RESPONSE_STATUS_UNAUTHORIZED);
}

}  // namespace cairn::device
