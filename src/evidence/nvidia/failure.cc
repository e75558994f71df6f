// Names, sentences and numbers of Failure.
#include "evidence/nvidia/failure.h"

#include <algorithm>
#include <iterator>

namespace cairn::nvidia {
namespace {

struct Row {
  Failure failure;
  std::string_view name, sentence;
  int code;
};
constexpr Row kRows[] = {
    {Failure::none, "None", "everything was verified", 0},
    {Failure::report_format, "ReportFormat", "the attestation report does not parse", 401},
    {Failure::opaque_format, "OpaqueFormat", "the report's opaque data lacks a field or has a wrong one", 402},
    {Failure::firmware_unsupported, "FirmwareUnsupported", "the report is of a newer form than is known", 510},
    {Failure::chain_format, "ChainFormat", "the device's certificate chain is not five P-384 certificates", 802},
    {Failure::chain_untrusted, "ChainUntrusted", "the device's certificates lead to a root that is not trusted", 802},
    {Failure::chain_name, "ChainName", "a certificate does not name the next one as its issuer", 802},
    {Failure::chain_constraint, "ChainConstraint", "a certificate is not allowed the use made of it", 802},
    {Failure::chain_signature, "ChainSignature", "a certificate is not signed by its issuer", 802},
    {Failure::chain_not_yet_valid, "ChainNotYetValid", "a certificate of the device is not yet valid", 802},
    {Failure::chain_expired, "ChainExpired", "a certificate of the device has expired", 802},
    {Failure::report_signature, "ReportSignature", "the report is not signed by the device's key", 508},
    {Failure::nonce_mismatch, "NonceMismatch", "the report answers another nonce", 504},
    {Failure::arch_mismatch, "ArchMismatch", "the device is of another architecture than claimed, or an unknown one",
     502},
    {Failure::device_id_mismatch, "DeviceIdMismatch", "the device's certificates are of two devices", 800},
    {Failure::fwid_absent, "FwidAbsent", "the firmware id is missing from the certificate or the report", 800},
    {Failure::fwid_mismatch, "FwidMismatch", "the certificate is of other firmware than the report", 507},
    {Failure::rim_id, "RimId", "the report's versions name no reference manifest", 101},
    {Failure::rim_absent, "RimAbsent", "a reference manifest is missing", 104},
    {Failure::rim_format, "RimFormat", "a reference manifest does not parse or breaks its schema", 106},
    {Failure::rim_chain, "RimChain", "the certificates of a reference manifest are not a valid chain", 105},
    {Failure::rim_untrusted, "RimUntrusted", "a reference manifest's signer leads to a root that is not trusted", 105},
    {Failure::rim_signature, "RimSignature", "a reference manifest's signature is wrong", 105},
    {Failure::rim_not_yet_valid, "RimNotYetValid", "a reference manifest's signer is not yet valid", 105},
    {Failure::rim_expired, "RimExpired", "a reference manifest's signer has expired", 105},
    {Failure::rim_version, "RimVersion", "a reference manifest is of another version than the report", 505},
    {Failure::rim_product, "RimProduct", "a reference manifest is of another product than the device", 106},
    {Failure::rim_empty, "RimEmpty", "a reference manifest has no active golden value", 107},
    {Failure::rim_conflict, "RimConflict", "the reference manifests of driver and VBIOS cover the same measurement",
     108},
    {Failure::ocsp_absent, "OcspAbsent", "a certificate's revocation status is not known", 204},
    {Failure::ocsp_format, "OcspFormat", "a revocation answer does not parse or is of another certificate", 201},
    {Failure::ocsp_responder, "OcspResponder", "a revocation answer comes from a responder that may not give it", 201},
    {Failure::ocsp_signature, "OcspSignature", "a revocation answer's signature is wrong", 201},
    {Failure::ocsp_nonce, "OcspNonce", "a revocation answer is not the one to this request", 201},
    {Failure::ocsp_stale, "OcspStale", "a revocation answer is not valid at the verification time", 201},
    {Failure::ocsp_unknown, "OcspUnknown", "the responder does not know a certificate", 204},
    {Failure::certificate_held, "CertificateHeld", "a certificate is on hold", 204},
    {Failure::certificate_revoked, "CertificateRevoked", "a certificate is revoked", 204},
    {Failure::measurement, "Measurement", "a measurement differs from every golden value", 403},
    {Failure::security_version, "SecurityVersion", "a security version is below its minimum", 402},
    {Failure::remote_token, "RemoteToken", "the remote service gave no token of this device", 701},
    {Failure::remote_refused, "RemoteRefused", "the remote service did not find the device sound", 700},
    {Failure::no_device, "NoDevice", "the evidence has no device", 503},
    {Failure::device_count, "DeviceCount", "another number of devices than expected", 503},
    {Failure::duplicate_device, "DuplicateDevice", "the same device is there twice", 503},
    {Failure::mixed_mode, "MixedMode", "the GPUs differ in mode, chip or driver", 509},
    {Failure::topology_count, "TopologyCount", "not eight GPUs and four switches", 503},
    {Failure::topology_links, "TopologyLinks", "the devices do not report one fabric", 503},
    {Failure::topology_identity, "TopologyIdentity", "the certificates are of other devices than the fabric reports",
     503},
    {Failure::topology_lock, "TopologyLock", "a switch is not locked", 509},
    {Failure::topology_position, "TopologyPosition", "two switches claim one position", 503},
    {Failure::simulated, "Simulated", "the evidence is a simulator's", 11},
    {Failure::arch_not_allowed, "ArchNotAllowed", "the policy does not allow this architecture", 11},
    {Failure::driver_too_old, "DriverTooOld", "the driver is older than the policy's minimum", 11},
    {Failure::multi_tenant, "MultiTenant", "the GPU is shared between tenants", 11},
};

const Row& row(Failure failure) { return *std::ranges::find(kRows, failure, &Row::failure); }

}  // namespace

static_assert(std::size(kRows) == static_cast<std::size_t>(Failure::multi_tenant) + 1);

std::string_view name(Failure failure) { return row(failure).name; }
std::string_view sentence(Failure failure) { return row(failure).sentence; }
int nvidia_code(Failure failure) { return row(failure).code; }

Error to_error(const Finding& f) {
  std::string text(sentence(f.failure));
  if (!f.where.empty()) text += " (" + f.where + ")";
  if (!f.detail.empty()) text += ": " + f.detail;
  return {ErrorCode::evidence_rejected, "nvidia." + std::string(name(f.failure)), std::move(text)};
}

}  // namespace cairn::nvidia
