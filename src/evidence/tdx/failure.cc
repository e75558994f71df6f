// Names and sentences of Failure.
#include "evidence/tdx/verify.h"

namespace cairn::tdx {
namespace {

struct Row {
  Failure failure;
  std::string_view name, sentence;
};
constexpr Row kRows[] = {
    {Failure::none, "None", "everything was verified"},
    {Failure::invalid_time, "InvalidTime", "the verification time lies before any such evidence existed"},
    {Failure::crl_issuer, "CrlIssuer", "a revocation list is not of the certificate authority it is needed for"},
    {Failure::crl_extensions, "CrlExtensions", "a revocation list does not parse or has other extensions than it must"},
    {Failure::crl_signature, "CrlSignature", "a revocation list is not signed by its issuer"},
    {Failure::crl_expired, "CrlExpired", "a revocation list is not valid at the verification time"},
    {Failure::chain_format, "ChainFormat", "a certificate chain does not parse or has other certificates than it must"},
    {Failure::cert_name, "CertName", "a certificate is not named for the place it takes"},
    {Failure::cert_extensions, "CertExtensions", "a certificate lacks an extension or has one that is not known"},
    {Failure::cert_constraint, "CertConstraint", "a certificate is not allowed the use made of it"},
    {Failure::untrusted, "Untrusted", "a certificate chain ends in a root that is not trusted"},
    {Failure::cert_signature, "CertSignature", "a certificate is not signed by its issuer"},
    {Failure::cert_expired, "CertExpired", "a certificate of the PCK hierarchy has expired"},
    {Failure::cert_not_yet_valid, "CertNotYetValid", "a certificate is not yet valid at the verification time"},
    {Failure::tcb_signing_revoked, "TcbSigningRevoked", "the certificate that signs collateral is revoked"},
    {Failure::signing_cert_expired, "SigningCertExpired", "a certificate of a collateral signing chain has expired"},
    {Failure::intermediate_revoked, "IntermediateRevoked",
     "the certificate authority of the PCK certificate is revoked"},
    {Failure::pck_revoked, "PckRevoked", "the machine's PCK certificate is revoked"},
    {Failure::tcb_info_signature, "TcbInfoSignature", "the TCB info is not signed by the TCB signing certificate"},
    {Failure::tcb_info_format, "TcbInfoFormat", "the TCB info does not parse or breaks its schema"},
    {Failure::tcb_info_expired, "TcbInfoExpired", "the TCB info has expired"},
    {Failure::tcb_info_not_yet_valid, "TcbInfoNotYetValid", "the TCB info is not yet valid at the verification time"},
    {Failure::qe_identity_signature, "QeIdentitySignature",
     "the QE identity is not signed by the TCB signing certificate"},
    {Failure::qe_identity_format, "QeIdentityFormat", "the QE identity does not parse or breaks its schema"},
    {Failure::qe_identity_expired, "QeIdentityExpired", "the QE identity has expired"},
    {Failure::qe_identity_not_yet_valid, "QeIdentityNotYetValid",
     "the QE identity is not yet valid at the verification time"},
    {Failure::collateral_replayed, "CollateralReplayed", "the collateral is older than the least that is accepted"},
    {Failure::format, "Format", "the quote does not parse"},
    {Failure::unsupported_quote, "UnsupportedQuote",
     "the quote is of a version, key type, TEE or vendor that is not supported"},
    {Failure::unsupported_cert_data, "UnsupportedCertData",
     "the quote carries no PCK certificate chain and none was given"},
    {Failure::tcb_info_id, "TcbInfoId", "the TCB info is of another TEE than the quote"},
    {Failure::fmspc_mismatch, "FmspcMismatch", "the TCB info is of another platform than the quote"},
    {Failure::pceid_mismatch, "PceidMismatch", "the TCB info is of another PCE than the quote"},
    {Failure::tdx_module_mismatch, "TdxModuleMismatch", "the TDX module is not one that the TCB info knows"},
    {Failure::qe_report_signature, "QeReportSignature", "the quoting enclave's report is not signed by the PCK key"},
    {Failure::qe_report_data, "QeReportData", "the quoting enclave's report does not bind the attestation key"},
    {Failure::qe_identity_id, "QeIdentityId", "the QE identity is of another enclave than the quote needs"},
    {Failure::qe_identity_mismatch, "QeIdentityMismatch",
     "the quoting enclave is not the one that the QE identity describes"},
    {Failure::attestation_key, "AttestationKey", "the attestation key is not a point of P-256"},
    {Failure::quote_signature, "QuoteSignature", "the quote is not signed by its attestation key"},
    {Failure::tcb_not_supported, "TcbNotSupported", "the collateral has no level for the TCB of this platform"},
};

const Row& row(Failure failure) {
  for (const Row& r : kRows)
    if (r.failure == failure) return r;
  return kRows[0];
}

}  // namespace

std::string_view name(Failure failure) { return row(failure).name; }
std::string_view sentence(Failure failure) { return row(failure).sentence; }

}  // namespace cairn::tdx
