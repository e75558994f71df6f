// Every way in which GPU evidence fails. Names are stable; NVIDIA's own result codes go beside them. nvidia-gpu §5.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cairn::nvidia {

// In the order of checking.
enum class Failure : std::uint8_t {
  none,
  // one device: nothing is claimed of it after any of these
  report_format,         // ReportFormat
  opaque_format,         // OpaqueFormat
  firmware_unsupported,  // FirmwareUnsupported
  chain_format,          // ChainFormat: not five P-384 certificates in order
  chain_untrusted,       // ChainUntrusted: the root is not one of the caller's
  chain_name,            // ChainName
  chain_constraint,      // ChainConstraint: CA flag, key usage, key ids, algorithm or unknown critical extension
  chain_signature,       // ChainSignature
  chain_not_yet_valid,   // ChainNotYetValid
  chain_expired,         // ChainExpired
  report_signature,      // ReportSignature
  nonce_mismatch,        // NonceMismatch
  arch_mismatch,         // ArchMismatch: the chip of the certificate is not the one claimed, or not known
  device_id_mismatch,    // DeviceIdMismatch: the firmware's certificate names another device key
  fwid_absent,           // FwidAbsent: no firmware id in the certificate, or none in the report
  fwid_mismatch,         // FwidMismatch
  // one device: claims are made, and the policy may make exceptions
  rim_id,               // RimId: the report's versions make no safe RIM id
  rim_absent,           // RimAbsent
  rim_format,           // RimFormat: XML, schema, or another kind of signature than RIMs have
  rim_chain,            // RimChain: the signer's certificates
  rim_untrusted,        // RimUntrusted
  rim_signature,        // RimSignature
  rim_not_yet_valid,    // RimNotYetValid
  rim_expired,          // RimExpired
  rim_version,          // RimVersion: of another version than the report
  rim_product,          // RimProduct: of another chip or edition
  rim_empty,            // RimEmpty: no active golden value
  rim_conflict,         // RimConflict: driver and VBIOS RIM cover the same index
  ocsp_absent,          // OcspAbsent
  ocsp_format,          // OcspFormat
  ocsp_responder,       // OcspResponder: signed by none whom the certificate's issuer names
  ocsp_signature,       // OcspSignature
  ocsp_nonce,           // OcspNonce
  ocsp_stale,           // OcspStale: past nextUpdate, or from the future
  ocsp_unknown,         // OcspUnknown
  certificate_held,     // CertificateHeld
  certificate_revoked,  // CertificateRevoked
  measurement,          // Measurement: differs from every golden value
  security_version,     // SecurityVersion: an opaque record below its minimum
  remote_token,         // RemoteToken: the remote service said nothing of the device, or something of another
  remote_refused,       // RemoteRefused: the remote service did not find the device sound
  // the set
  no_device,          // NoDevice
  device_count,       // DeviceCount
  duplicate_device,   // DuplicateDevice
  mixed_mode,         // MixedMode: protected PCIe on some GPUs, or several chips or drivers
  topology_count,     // TopologyCount
  topology_links,     // TopologyLinks: the fabric ids that devices report do not agree
  topology_identity,  // TopologyIdentity: certificates are of other devices than the fabric reports
  topology_lock,      // TopologyLock
  topology_position,  // TopologyPosition
  // policy
  simulated,         // Simulated: under a root that is not NVIDIA's
  arch_not_allowed,  // ArchNotAllowed
  driver_too_old,    // DriverTooOld
  multi_tenant,      // MultiTenant: the feature flag says the GPU is shared
};
[[nodiscard]] std::string_view name(Failure failure);      // "FwidMismatch"
[[nodiscard]] std::string_view sentence(Failure failure);  // what it means, for a reader
// NVIDIA's number for it (§5.11): 508 for a bad report signature, and so on.
[[nodiscard]] int nvidia_code(Failure failure);

// A failure with its place and reason.
struct Finding {
  Failure failure = Failure::none;
  std::string where;   // "GPU-0", "driver RIM", a certificate's name
  std::string detail;  // why, for a reader
};
template <class T = void>
using Checked = std::expected<T, Finding>;

[[nodiscard]] inline std::unexpected<Finding> fault(Failure failure, std::string where, std::string detail) {
  return std::unexpected(Finding{failure, std::move(where), std::move(detail)});
}
[[nodiscard]] inline std::unexpected<Finding> fault(Failure failure, std::string where, const Error& error) {
  return fault(failure, std::move(where), error.where.empty() ? error.message : error.where + ": " + error.message);
}
// evidence_rejected at "nvidia.FwidMismatch".
[[nodiscard]] Error to_error(const Finding& finding);

}  // namespace cairn::nvidia
