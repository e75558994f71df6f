// The two certificate hierarchies of GPU evidence: a device's (five certificates, the leaf the attestation key) and a
// RIM signer's (four). All P-384 with SHA-384. A root counts only when it is byte for byte one of the caller's.
// nvidia-gpu §3.4, §4, §5.4.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "crypto/x509.h"
#include "evidence/nvidia/failure.h"
#include "evidence/nvidia/report.h"

namespace cairn::nvidia {

struct TrustRoot {
  std::string name;  // "nvidia", or the caller's
  crypto::Certificate certificate;
  bool simulated = true;  // false only for NVIDIA's
};
struct TrustRoots {
  std::vector<TrustRoot> device, rim;
};
// NVIDIA Device Identity CA and NVIDIA CoRIM signing Root CA.
[[nodiscard]] const TrustRoots& nvidia_roots();
// A self-signed P-384 CA certificate, PEM or DER, under a name of the caller's. NVIDIA's own give nvidia_roots()'s.
[[nodiscard]] Result<TrustRoot> trust_root(std::string name, ByteView certificate);

// Failures of one hierarchy: a device's chain or a RIM's.
enum class ChainKind : std::uint8_t { device, rim };

// A chain up to a trusted root: every name, constraint and signature holds for all time. Validity is judged at use.
struct Chain {
  std::vector<crypto::Certificate> certificates;  // leaf first, root (the trusted one) last
  crypto::PublicKey key;                          // the leaf's
  const TrustRoot* root = nullptr;

  [[nodiscard]] Time earliest_not_after() const;
};
// Five certificates for a device, four for a RIM.
[[nodiscard]] Checked<Chain> verify_chain(std::vector<crypto::Certificate> certificates, ChainKind kind,
                                          const std::vector<TrustRoot>& roots);
[[nodiscard]] Checked<> check_validity(const Chain& chain, ChainKind kind, Time at);

enum class Architecture : std::uint8_t { hopper, blackwell, rubin, ls10 };
[[nodiscard]] std::string_view name(Architecture arch);  // "HOPPER", as evidence claims it
[[nodiscard]] std::string_view chip(Architecture arch);  // "GH100", as driver RIMs' products begin

// What a device's verified chain says of it.
struct DeviceIdentity {
  Architecture arch = Architecture::hopper;
  std::string hwmodel;     // common name of the boot ROM's certificate
  std::string ueid;        // serial number of the leaf, decimal
  std::string san_device;  // "NVIDIA:GH100:..." of the leaf; "" if absent
  std::optional<Pdi> pdi;  // from the boot ROM certificate's serial number
  Measurement fwid{};      // firmware that holds the attestation key

  [[nodiscard]] Kind kind() const { return arch == Architecture::ls10 ? Kind::nvswitch : Kind::gpu; }
};
// arch_mismatch for a chip that is not known, fwid_absent, device_id_mismatch; chain_format for broken extensions.
[[nodiscard]] Checked<DeviceIdentity> read_identity(const Chain& chain);

}  // namespace cairn::nvidia
