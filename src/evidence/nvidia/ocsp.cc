#include "evidence/nvidia/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>

#include <algorithm>
#include <array>

#include "crypto/openssl.h"
#include "evidence/nvidia/limits.h"

namespace cairn::nvidia {
namespace {

using crypto::Certificate;
using crypto::Owned;
using Id = Owned<OCSP_CERTID, OCSP_CERTID_free>;
using Request = Owned<OCSP_REQUEST, OCSP_REQUEST_free>;
using Response = Owned<OCSP_RESPONSE, OCSP_RESPONSE_free>;
using Basic = Owned<OCSP_BASICRESP, OCSP_BASICRESP_free>;
struct FreeStack {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using Stack = std::unique_ptr<STACK_OF(X509), FreeStack>;

constexpr std::string_view kOcspSigning = "1.3.6.1.5.5.7.3.9";
constexpr std::size_t kMaxNonce = 32;

template <class T, class Encode>
Result<Bytes> der(const T* value, Encode encode, std::string_view what) {
  std::uint8_t* data = nullptr;
  const int size = encode(value, &data);
  if (size <= 0) return crypto::openssl_error(std::string(what));
  Bytes out(data, data + size);
  OPENSSL_free(data);
  return out;
}

Result<Id> make_id(const Certificate& certificate, const Certificate& issuer) {
  Id id(OCSP_cert_to_id(EVP_sha384(), certificate.native(), issuer.native()));
  if (!id) return crypto::openssl_error("certificate id");
  return id;
}

Result<Response> parse(ByteView bytes) {
  if (bytes.size() > kMaxOcsp)
    return fail(ErrorCode::malformed, "an OCSP response has at most " + std::to_string(kMaxOcsp) + " bytes");
  const std::uint8_t* at = bytes.data();
  Response out(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(bytes.size())));
  if (!out || at != bytes.data() + bytes.size()) {
    ERR_clear_error();
    return fail(ErrorCode::malformed, "not an OCSP response");
  }
  return out;
}

std::optional<Time> time_of(const ASN1_GENERALIZEDTIME* value) {
  std::tm t{};
  if (value == nullptr || ASN1_TIME_to_tm(value, &t) != 1) return std::nullopt;
  return from_civil(t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

// Signed with SHA-2, whatever the key.
bool strong(const OCSP_BASICRESP* basic) {
  const ASN1_OBJECT* object = nullptr;
  X509_ALGOR_get0(&object, nullptr, nullptr, OCSP_resp_get0_tbs_sigalg(basic));
  int hash = NID_undef;
  if (OBJ_find_sigid_algs(OBJ_obj2nid(object), &hash, nullptr) != 1) return false;
  return hash == NID_sha256 || hash == NID_sha384 || hash == NID_sha512;
}

Result<Bytes> certificate_der(const X509* certificate) {
  return der(certificate, i2d_X509, "the responder's certificate");
}

// The certificate that signed the answer: the issuer's, or one that it made for this.
Checked<Certificate> find_responder(OCSP_BASICRESP* basic, const Certificate& issuer) {
  const std::string where = issuer.common_name();
  const Stack known(sk_X509_new_null());
  if (!known || sk_X509_push(known.get(), issuer.native()) <= 0)
    return fault(Failure::ocsp_responder, where, "out of memory");
  X509* signer = nullptr;
  if (OCSP_resp_get0_signer(basic, &signer, known.get()) != 1 || signer == nullptr)
    return fault(Failure::ocsp_responder, where, "the answer has no certificate of its signer");
  auto out = certificate_der(signer).and_then([](const Bytes& b) { return Certificate::from_der(b); });
  if (!out) return fault(Failure::ocsp_responder, where, out.error());
  if (equal(out->der(), issuer.der())) return *std::move(out);
  const Result<crypto::PublicKey> key = issuer.public_key();
  if (out->issuer_der() != issuer.subject_der() || !key || !out->signed_by(*key))
    return fault(Failure::ocsp_responder, where, out->common_name() + " was not certified by this issuer");
  if (!std::ranges::contains(out->extended_key_usage(), kOcspSigning))
    return fault(Failure::ocsp_responder, where, out->common_name() + " is not certified to sign OCSP answers");
  return *std::move(out);
}

// The one answer about `id`.
OCSP_SINGLERESP* find_single(OCSP_BASICRESP* basic, const OCSP_CERTID* id) {
  OCSP_SINGLERESP* out = nullptr;
  for (int i = 0; i < OCSP_resp_count(basic); ++i) {
    OCSP_SINGLERESP* const single = OCSP_resp_get0(basic, i);
    if (OCSP_id_cmp(OCSP_SINGLERESP_get0_id(single), id) != 0) continue;
    if (out != nullptr) return nullptr;
    out = single;
  }
  return out;
}

Checked<> read_single(OCSP_SINGLERESP* single, const std::string& where, OcspAnswer& out) {
  int reason = -1;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *from = nullptr, *until = nullptr;
  const int status = OCSP_single_get0_status(single, &reason, &revoked, &from, &until);
  const std::optional<Time> this_update = time_of(from);
  out.next_update = time_of(until);
  if (!this_update || (until != nullptr && !out.next_update))
    return fault(Failure::ocsp_format, where, "the answer's times do not parse");
  if (OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0)
    return fault(Failure::ocsp_format, where, "a critical extension");
  out.this_update = *this_update;
  if (reason >= 0) out.reason = reason;
  out.status = status == V_OCSP_CERTSTATUS_GOOD      ? CertificateStatus::good
               : status == V_OCSP_CERTSTATUS_REVOKED ? CertificateStatus::revoked
                                                     : CertificateStatus::unknown;
  return {};
}

// The nonce extension's value: an OCTET STRING in the extension's own.
Bytes nonce_of(OCSP_BASICRESP* basic) {
  const int at = OCSP_BASICRESP_get_ext_by_NID(basic, NID_id_pkix_OCSP_Nonce, -1);
  if (at < 0) return {};
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(basic, at));
  const auto* data = ASN1_STRING_get0_data(value);
  const auto size = static_cast<std::size_t>(ASN1_STRING_length(value));
  if (size < 2 || data[0] != 0x04 || data[1] != size - 2) return {};
  return {data + 2, data + size};
}

}  // namespace

Result<Bytes> ocsp_certificate_id(const Certificate& certificate, const Certificate& issuer) {
  CAIRN_TRY(const Id id, make_id(certificate, issuer));
  return der(id.get(), i2d_OCSP_CERTID, "certificate id");
}

Result<Bytes> ocsp_request(const Certificate& certificate, const Certificate& issuer, ByteView nonce) {
  if (nonce.empty() || nonce.size() > kMaxNonce)
    return fail(ErrorCode::invalid_argument, "an OCSP nonce has 1 to 32 bytes");
  const Request request(OCSP_REQUEST_new());
  CAIRN_TRY(Id id, make_id(certificate, issuer));
  if (!request || OCSP_request_add0_id(request.get(), id.get()) == nullptr)
    return crypto::openssl_error("OCSP request");
  (void)id.release();  // the request's now
  Bytes value = to_bytes(nonce);
  if (OCSP_request_add1_nonce(request.get(), value.data(), static_cast<int>(value.size())) != 1)
    return crypto::openssl_error("OCSP nonce");
  return der(request.get(), i2d_OCSP_REQUEST, "OCSP request");
}

Result<bool> ocsp_may_retry(ByteView response) {
  CAIRN_TRY(const Response parsed, parse(response));
  const int status = OCSP_response_status(parsed.get());
  return status == OCSP_RESPONSE_STATUS_TRYLATER || status == OCSP_RESPONSE_STATUS_INTERNALERROR;
}

std::string_view name(CertificateStatus status) {
  switch (status) {
    case CertificateStatus::good: return "good";
    case CertificateStatus::unknown: return "unknown";
    case CertificateStatus::revoked: return "revoked";
  }
  return "";
}

Time OcspAnswer::expires() const {
  return std::min(next_update.value_or(this_update.plus(kOcspDefaultLife)), responder_not_after);
}

Checked<OcspAnswer> read_ocsp(ByteView response, const Certificate& certificate, const Certificate& issuer) {
  const std::string where = certificate.common_name();
  const Result<Response> parsed = parse(response);
  if (!parsed) return fault(Failure::ocsp_format, where, parsed.error());
  if (const int status = OCSP_response_status(parsed->get()); status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return fault(Failure::ocsp_format, where, std::string("the responder says ") + OCSP_response_status_str(status));
  const Basic basic(OCSP_response_get1_basic(parsed->get()));
  const Result<Id> id = make_id(certificate, issuer);
  if (!basic || !id) {
    ERR_clear_error();
    return fault(Failure::ocsp_format, where, "not a basic OCSP response");
  }
  if (OCSP_BASICRESP_get_ext_by_critical(basic.get(), 1, -1) >= 0)
    return fault(Failure::ocsp_format, where, "a critical extension");
  OCSP_SINGLERESP* const single = find_single(basic.get(), id->get());
  if (single == nullptr) return fault(Failure::ocsp_format, where, "not exactly one answer about this certificate");
  CAIRN_TRY(const Certificate responder, find_responder(basic.get(), issuer));
  // The chain is judged above, by stricter rules; this is the signature alone.
  const Stack signers(sk_X509_new_null());
  if (!signers || sk_X509_push(signers.get(), responder.native()) <= 0 || !strong(basic.get()) ||
      OCSP_basic_verify(basic.get(), signers.get(), nullptr, OCSP_NOVERIFY | OCSP_NOINTERN) != 1) {
    ERR_clear_error();
    return fault(Failure::ocsp_signature, where, "not signed by " + responder.common_name());
  }
  OcspAnswer out{.nonce = nonce_of(basic.get()),
                 .responder_not_before = responder.not_before(),
                 .responder_not_after = responder.not_after()};
  CAIRN_CHECK(read_single(single, where, out));
  return out;
}

Checked<> check_fresh(const OcspAnswer& answer, Time at, std::int64_t grace) {
  if (answer.this_update > at.plus(kClockSkew) || answer.responder_not_before > at.plus(kClockSkew))
    return fault(Failure::ocsp_stale, "", "it is from the future: " + rfc3339(answer.this_update));
  if (answer.expires().plus(kClockSkew + grace) <= at)
    return fault(Failure::ocsp_stale, "", "it ended at " + rfc3339(answer.expires()));
  return {};
}

std::string revocation_reason(int reason) {
  constexpr std::array<std::string_view, 11> kNames = {
      "UNSPECIFIED",     "KEY_COMPROMISE",         "CA_COMPROMISE",    "AFFILIATION_CHANGED",
      "SUPERSEDED",      "CESSATION_OF_OPERATION", "CERTIFICATE_HOLD", "UNKNOWN",
      "REMOVE_FROM_CRL", "PRIVILEGE_WITHDRAWN",    "AA_COMPROMISE"};
  if (reason < 0 || static_cast<std::size_t>(reason) >= kNames.size()) return "UNKNOWN";
  return std::string(kNames[static_cast<std::size_t>(reason)]);
}

}  // namespace cairn::nvidia
