// NVIDIA GPUs and NVSwitches in software: SPDM reports with their certificates, reference manifests and OCSP answers,
// under roots of the simulator's own. Every byte that real evidence has, judged by the same verifier; only the roots
// differ, so a verifier accepts it only when given roots(). nvidia-gpu §11, DESIGN §7.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "evidence/nvidia/verify.h"

namespace cairn::device {

// Ways to be refused. Each is one deliberate defect; everything else stays sound.
enum class GpuScenario : std::uint8_t {
  none,
  // the report of the first device
  report_flip,       // one bit of a measurement after signing
  report_truncated,  // the last byte of the signature is missing
  report_trailing,   // bytes after the signature
  report_replay,     // answers another nonce
  report_twice,      // a type of opaque data twice
  report_newer,      // opaque data of a version to come
  driver_unnamed,    // no driver version
  vbios_unknown,     // a VBIOS version without manifest
  vbios_changed,     // a VBIOS measurement of another firmware
  driver_changed,    // a driver measurement of another driver
  fwid_other,        // firmware id of other firmware than the certificate's
  fwid_missing,      // no firmware id
  multi_tenant,      // feature flag of a shared GPU
  svn_low,           // a security version below the manifest's minimum
  // its certificates
  chain_other_root,    // under a second hierarchy
  chain_short,         // the provisioner's certificate is missing
  chain_name,          // the boot ROM's certificate names another issuer
  chain_flip,          // one bit of the leaf's signature
  chain_other_device,  // a sound chain, of another device
  leaf_is_ca,          // the attestation key may sign certificates
  leaf_expired,        // past notAfter
  leaf_early,          // before notBefore
  leaf_without_fwid,   // no firmware id
  leaf_other_key,      // names the key of another boot ROM
  chip_unknown,        // a chip that nobody knows
  arch_claimed,        // the evidence claims another architecture
  // the VBIOS manifest
  rim_missing,     // not given
  rim_tampered,    // a golden value changed after signing
  rim_forged,      // a changed golden value, signed anew by a key of nobody's, beside the genuine certificates
  rim_debug_root,  // signed under a root for debugging
  rim_expired,     // its signer past notAfter
  rim_early,       // its signer before notBefore
  rim_signer_ca,   // its signer is a CA
  rim_version,     // of another version
  rim_product,     // of a switch
  rim_empty,       // no active value
  rim_conflict,    // an index of the driver's manifest
  rim_doctype,     // with a document type
  rim_two_metas,   // its version twice
  // revocation answers
  ocsp_missing,    // none about the provisioner
  ocsp_garbage,    // not an answer
  ocsp_refused,    // "unauthorized"
  ocsp_other,      // about another certificate
  ocsp_no_eku,     // the responder is not certified for it
  ocsp_other_ca,   // the responder was certified by another CA
  ocsp_flip,       // one bit of the signature
  ocsp_stale,      // past nextUpdate
  ocsp_future,     // thisUpdate lies ahead
  ocsp_unknown,    // "unknown"
  ocsp_held,       // the RIM signer is on hold
  device_revoked,  // the provisioner is revoked, while another answer is "unknown"
  rim_revoked,     // the RIM signer is revoked
  // the set
  no_device,       // an empty list
  device_twice,    // one GPU in two places
  driver_mixed,    // another driver on the last GPU
  ppcie_part,      // a switch is missing
  ppcie_links,     // a GPU of another fabric
  ppcie_identity,  // a switch reports the device id of another
  ppcie_lock,      // a switch is not locked
  ppcie_position,  // two switches in one position
};
// "none", "report-flip", ...; and back, invalid_argument naming the nearest.
[[nodiscard]] std::string_view name(GpuScenario scenario);
[[nodiscard]] Result<GpuScenario> gpu_scenario_named(std::string_view name);
[[nodiscard]] std::vector<GpuScenario> all_gpu_scenarios();
// What a verifier must say of it.
[[nodiscard]] nvidia::Failure expected(GpuScenario scenario);

struct GpuMachine {
  nvidia::Architecture arch = nvidia::Architecture::hopper;
  std::size_t gpus = 1;
  bool ppcie = false;   // eight GPUs and four switches in protected PCIe mode; `gpus` is not used
  bool nvdaod = false;  // the newer form of opaque data, with security versions
  std::string driver = "550.144.03";
  GpuScenario scenario = GpuScenario::none;
  std::uint64_t seed = 1;  // keys and identities are made from it
};

class GpuSimulator {
 public:
  // Certificates valid from a day before `at`.
  [[nodiscard]] static Result<GpuSimulator> make(const GpuMachine& machine, Time at);

  [[nodiscard]] const nvidia::TrustRoots& roots() const { return roots_; }
  [[nodiscard]] Result<nvidia::Evidence> evidence(const nvidia::Nonce& nonce) const;
  // Manifests of its driver and firmware by id.
  [[nodiscard]] Result<std::map<std::string, Bytes>> rims() const;
  // An answer of the responder to an OCSPRequest, with its nonce.
  [[nodiscard]] Result<Bytes> answer_ocsp(ByteView request, Time at) const;
  // Manifests and answers as of `at`, without nonces: a bundle.
  [[nodiscard]] Result<nvidia::Collateral> collateral(Time at) const;

  // A key and its certificate. Public for the simulator's own sources.
  struct Issuer {
    crypto::PrivateKey key;
    crypto::Certificate certificate;
  };
  struct Device {
    nvidia::Kind kind = nvidia::Kind::gpu;
    crypto::PrivateKey key;
    std::string chain;  // PEM
    nvidia::Pdi pdi{};
    nvidia::Measurement fwid{};
    std::uint16_t position = 0;  // of a switch
  };

 private:
  [[nodiscard]] Result<void> make_hierarchies(Time at);
  [[nodiscard]] Result<Device> make_device(nvidia::Kind kind, std::size_t index, Time at) const;
  [[nodiscard]] Result<crypto::PrivateKey> key(std::string_view name) const;
  [[nodiscard]] Result<Bytes> report(std::size_t device, const nvidia::Nonce& nonce) const;
  [[nodiscard]] Result<Bytes> rim(nvidia::RimSource source, nvidia::Kind kind) const;
  [[nodiscard]] Result<Bytes> answer(const crypto::Certificate& about, const Issuer& issuer, ByteView nonce,
                                     Time at) const;

  GpuMachine machine_;
  std::vector<Issuer> device_cas_;  // provisioner, identity, root
  std::vector<Issuer> rim_cas_;     // signer, L3, CA, root
  std::vector<Device> devices_;     // GPUs, then switches
  nvidia::TrustRoots roots_;
};

}  // namespace cairn::device
