// The TEE of this machine, behind one small interface: hardware and its simulator differ only in what their evidence
// says. spec/guest.md §6, spec/tdx-dcap.md §8.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::device {

// Calls block (a quote takes tens of milliseconds, at worst the kernel's 30 s); every method may be called from any
// thread. Callers with an event loop offload them.
class Tee {
 public:
  virtual ~Tee() = default;

  // The TEE's name on the wire: "tdx".
  [[nodiscard]] virtual std::string_view type() const = 0;
  // True where no hardware vouches for the evidence.
  [[nodiscard]] virtual bool simulated() const = 0;
  // For screens and logs: "Intel TDX (configfs-tsm)", "TD simulator (root 1a2b…)".
  [[nodiscard]] virtual std::string description() const = 0;

  // A raw quote over `report_data`, cut to its own length (no padding). unavailable or timed_out may be tried again.
  [[nodiscard]] virtual Result<Bytes> quote(const ReportData& report_data) = 0;

  // RTMR[index] = SHA-384(RTMR[index] || value), index 0..3. permission_denied for 0 and 1, which belong to firmware.
  [[nodiscard]] virtual Result<void> extend_rtmr(unsigned index, const Digest<48>& value) = 0;
  [[nodiscard]] virtual Result<Digest<48>> read_rtmr(unsigned index) = 0;

  // The whole CCEL area, padding included; not_found where the platform has none.
  [[nodiscard]] virtual Result<Bytes> ccel() = 0;
  [[nodiscard]] virtual Result<Digest<48>> mr_config_id() = 0;
};

// PCR number (as callers of AA use) to RTMR index, spec/guest.md §6.6.
[[nodiscard]] constexpr unsigned rtmr_of_pcr(unsigned pcr) {
  if (pcr == 1 || pcr == 7) return 0;
  if (pcr >= 2 && pcr <= 6) return 1;
  if (pcr >= 8 && pcr <= 15) return 2;
  return 3;
}
// RTMR index to the MR index of event logs.
[[nodiscard]] constexpr unsigned mr_index_of_rtmr(unsigned rtmr) { return rtmr + 1; }

enum class TeeChoice {
  automatic,  // hardware where present; unavailable otherwise, never the simulator
  tdx,        // hardware or nothing
  simulated,  // the simulator in `simulator_dir`
};
// "auto", "tdx", "simulated".
[[nodiscard]] Result<TeeChoice> tee_choice_named(std::string_view name);

struct TeeOptions {
  TeeChoice choice = TeeChoice::automatic;
  std::filesystem::path simulator_dir;  // state folder; needed for `simulated`
  bool force_simulator = false;         // even where /dev/tdx_guest exists
};
// unavailable, with what to do, where there is no TEE and none may be simulated.
[[nodiscard]] Result<std::unique_ptr<Tee>> open_tee(const TeeOptions& options);

}  // namespace cairn::device
