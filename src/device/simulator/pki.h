// The simulator's certificate hierarchy: the same names, extensions and usages as Intel's, under keys of its own.
// spec/tdx-dcap.md §2.2, §8.1.
#pragma once

#include <filesystem>

#include "base/clock.h"
#include "crypto/x509.h"
#include "device/simulator/simulator.h"
#include "evidence/sgx/pck_extension.h"

namespace cairn::device::simulator {

// Every private key of a simulated platform. The first four are Intel's in the real world, the PCK key is the
// processor's, the attestation key the quoting enclave's, the MAC key the TDX module's.
struct Keys {
  crypto::PrivateKey root, other_root, platform_ca, tcb_signing, pck, attestation;
  Secret mac;

  // Reads `dir`. A key that is not there is made (0600) where `make`, else not_found: a platform does not change its
  // keys. permission_denied where a key is readable by others.
  [[nodiscard]] static Result<Keys> open(const std::filesystem::path& dir, bool make = true);
  // The root that signs under `scenario`.
  [[nodiscard]] const crypto::PrivateKey& signing_root(Scenario scenario) const {
    return scenario == Scenario::other_root ? other_root : root;
  }
};

inline constexpr std::int64_t kDay = 24 * 60 * 60;  // seconds

// What a platform is born with.
struct Platform {
  std::array<std::uint8_t, 16> ppid{}, instance_id{}, qe_id{};
  Bytes pck_serial;  // 20 bytes, positive
};

struct Certificates {
  crypto::Certificate root, platform_ca, tcb_signing, pck;
  [[nodiscard]] std::string pck_chain() const { return pck.pem() + platform_ca.pem() + root.pem(); }
  [[nodiscard]] std::string pck_issuer_chain() const { return platform_ca.pem() + root.pem(); }
  [[nodiscard]] std::string tcb_chain() const { return tcb_signing.pem() + root.pem(); }
};

inline constexpr std::array<std::uint8_t, 6> kFmspc = {0xC0, 0xAA, 0x01, 0x00, 0x00, 0x00};
inline constexpr std::uint16_t kPceSvn = 13;
// Component SVNs of the PCK certificate whose first decides the TCB status (collateral_maker.h holds the levels).
[[nodiscard]] std::array<std::uint8_t, 16> components(Scenario scenario);

// All valid from a day before `at`. The root is made once; the others anew with every change of scenario.
[[nodiscard]] Result<crypto::Certificate> make_root(const crypto::PrivateKey& key, Time at);
[[nodiscard]] Result<Certificates> make_certificates(const Keys& keys, const Platform& platform,
                                                     const crypto::Certificate& root, Scenario scenario, Time at);
[[nodiscard]] Result<crypto::Crl> make_root_crl(const Keys& keys, const Certificates& certificates, Scenario scenario,
                                                Time at);
[[nodiscard]] Result<crypto::Crl> make_pck_crl(const Keys& keys, const Certificates& certificates, Scenario scenario,
                                               Time at);

}  // namespace cairn::device::simulator
