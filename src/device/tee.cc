#include "device/tee.h"

#include "device/linux_tdx.h"
#include "device/simulator/simulator.h"

namespace cairn::device {

Result<TeeChoice> tee_choice_named(std::string_view name) {
  if (name == "auto") return TeeChoice::automatic;
  if (name == "tdx") return TeeChoice::tdx;
  if (name == "simulated") return TeeChoice::simulated;
  return fail(ErrorCode::invalid_argument, "tee", "the TEE is auto, tdx or simulated");
}

Result<std::unique_ptr<Tee>> open_tee(const TeeOptions& options) {
  if (options.choice != TeeChoice::simulated) return open_linux_tdx();
  if (options.simulator_dir.empty())
    return fail(ErrorCode::invalid_argument, "simulator_dir", "the simulator needs a state folder");
  CAIRN_TRY(auto simulator, Simulator::open(options.simulator_dir, options.force_simulator));
  return std::unique_ptr<Tee>(std::move(simulator));
}

}  // namespace cairn::device
