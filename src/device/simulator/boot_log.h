// What the simulated firmware, boot loader and kernel measure: a CCEL with the events of a measured GRUB boot, and the
// registers it replays to. spec/guest.md §6.4-6.5, spec/tdx-dcap.md §4.3.
#pragma once

#include "device/simulator/simulator.h"

namespace cairn::device::simulator {

struct Boot {
  Digest<48> mr_td{};
  std::array<Digest<48>, 4> rtmr{};  // RTMR3 is zero
  Bytes ccel;                        // 64 KiB, filled with FF
};
[[nodiscard]] Result<Boot> boot(const BootOptions& options);

}  // namespace cairn::device::simulator
