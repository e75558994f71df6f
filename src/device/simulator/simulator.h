// A trust domain in software: registers, event log, quoting enclave and a private certificate hierarchy made at first
// start. Its evidence has every byte that real evidence has and is judged by the same verifier; only the trust anchor
// differs, so a verifier accepts it only when started with this folder's root.pem. spec/tdx-dcap.md §8, DESIGN §7.
//
// State folder, shared by any number of processes of one user under a lock:
//   root.pem         the trust anchor: the only thing a verifier must be given to accept these quotes
//   collateral.json  bundle in the format of evidence/tdx/collateral.h, fit for the quotes of now
//   pck-chain.pem    leaf, platform CA, root, as the quotes carry it
//   td.json          platform identity, measurements, registers, scenario
//   ccel.bin         the boot's event log
//   keys/            private keys, 0700 and 0600
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "device/tee.h"

namespace cairn::device {

// Ways to be refused. Each is one deliberate defect; everything else stays sound.
enum class Scenario {
  none,
  // collateral and certificates
  tcb_out_of_date,       // TCB level OutOfDate
  tcb_revoked,           // TCB level Revoked
  tcb_sw_hardening,      // SWHardeningNeeded
  tcb_configuration,     // ConfigurationNeeded
  tcb_unsupported,       // below every level
  pck_revoked,           // PCK certificate on the CRL
  pck_expired,           // PCK certificate past notAfter
  ca_revoked,            // platform CA on the root CRL
  tcb_signing_revoked,   // TCB signing certificate on the root CRL
  collateral_expired,    // TCB info and QE identity past nextUpdate
  crl_expired,           // PCK CRL past nextUpdate
  wrong_fmspc,           // TCB info of another platform
  tcb_info_signature,    // one bit of its signature
  qe_identity_mismatch,  // quoting enclave of another signer
  other_root,            // quotes under a second hierarchy that root.pem does not anchor
  // the trust domain
  td_debug,          // DEBUG attribute
  td_sept_ve_clear,  // SEPT_VE_DISABLE not set
  td_service,        // MRSERVICETD not zero (a v5 quote)
  module_mismatch,   // TDX module of another signer
  // the quote
  quote_flip,           // one bit of MRTD after signing
  quote_signature,      // one bit of the quote signature
  qe_report_signature,  // one bit of the QE report signature
  qe_report_data,       // QE report binds another attestation key
  quote_replay,         // always the quote made when this scenario was set, over a nonce of long ago
  quote_truncated,      // the last bytes are missing
};
// "none", "tcb-out-of-date", …; and back, invalid_argument naming the nearest.
[[nodiscard]] std::string_view name(Scenario scenario);
[[nodiscard]] Result<Scenario> scenario_named(std::string_view name);
[[nodiscard]] std::vector<Scenario> all_scenarios();

// What the simulated machine booted with: goes into MRTD, RTMR0-2 and the CCEL.
struct BootOptions {
  std::string firmware = "simulated firmware";  // stand-ins for the files: only their SHA-384 is measured
  std::string kernel = "simulated kernel";
  std::string initrd = "simulated initrd";
  std::string kernel_cmdline = "console=hvc0 root=/dev/vda1 ro";
  Digest<48> mr_config_id{};
  bool quote_v5 = false;  // TD 1.5 body
};

class Simulator final : public Tee {
 public:
  // Opens a state folder, making it (PKI, first boot) where it does not exist. permission_denied where `hardware`
  // exists and `force` is not set: a machine with a TEE must not pretend; also where a private key is readable by
  // others.
  [[nodiscard]] static Result<std::unique_ptr<Simulator>> open(
      const std::filesystem::path& dir, bool force = false, const std::filesystem::path& hardware = "/dev/tdx_guest");
  ~Simulator() override;

  [[nodiscard]] std::string_view type() const override { return "tdx"; }
  [[nodiscard]] bool simulated() const override { return true; }
  [[nodiscard]] std::string description() const override;
  [[nodiscard]] Result<Bytes> quote(const ReportData& report_data) override;
  [[nodiscard]] Result<void> extend_rtmr(unsigned index, const Digest<48>& value) override;
  [[nodiscard]] Result<Digest<48>> read_rtmr(unsigned index) override;
  [[nodiscard]] Result<Bytes> ccel() override;
  [[nodiscard]] Result<Digest<48>> mr_config_id() override;

  // A restart of the TD: registers as after firmware and kernel, RTMR3 zero, a new CCEL. The PKI stays.
  [[nodiscard]] Result<void> boot(const BootOptions& options = {});
  // Takes effect for this and every other process that has the folder open; rewrites collateral and PCK chain.
  [[nodiscard]] Result<void> set_scenario(Scenario scenario);
  [[nodiscard]] Result<Scenario> scenario();
  // Makes dates, CRLs and signatures of collateral.json anew, as of `at`. Happens by itself once a day.
  [[nodiscard]] Result<void> refresh_collateral(Time at);

  [[nodiscard]] std::filesystem::path root_path() const;
  [[nodiscard]] std::filesystem::path collateral_path() const;
  // Lower-case hex SHA-256 of the root certificate: how logs tell simulators apart.
  [[nodiscard]] const std::string& root_fingerprint() const;
  // MRTD and the registers of now, for `cairn measure` and screens.
  [[nodiscard]] Result<Digest<48>> mr_td();

 private:
  struct State;
  explicit Simulator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cairn::device
