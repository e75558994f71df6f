// What the simulator's report and manifest agree on.
#pragma once

#include <array>
#include <string>

#include "device/simulator/gpu/gpu_simulator.h"

namespace cairn::device::simulator {

inline constexpr std::string_view kSwitchBios = "96.10.55.00.01";
inline constexpr std::array<std::uint8_t, 8> kVbios = {0x00, 0x9F, 0x00, 0x96, 0x01, 0, 0, 0};  // 96.00.9F.00.01
inline constexpr std::string_view kVbiosVersion = "96.00.9F.00.01";
inline constexpr std::uint16_t kSvnRecord = nvidia::opaque::kFspUcodeSvn;
inline constexpr std::uint16_t kSvn = 7;

// Golden value of measurement `index`; of what is in no manifest too.
[[nodiscard]] nvidia::Measurement golden(const GpuMachine& machine, nvidia::Kind kind, std::size_t index);
// Whether a manifest has the index among its active ones.
[[nodiscard]] bool covered(nvidia::RimSource source, nvidia::Kind kind, std::size_t index);
[[nodiscard]] std::string rim_id(const GpuMachine& machine, nvidia::RimSource source, nvidia::Kind kind);

}  // namespace cairn::device::simulator
