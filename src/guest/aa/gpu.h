// Evidence of confidential GPUs as the agent sends it. spec/guest.md §5.1, §5.4.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "device/nvml.h"

namespace cairn::aa {

enum class GpuMode {
  off,
  automatic,  // where the driver is there and in confidential mode; what fails is logged and left out
  required,   // no driver, no confidential mode or no report is an error
};
[[nodiscard]] Result<GpuMode> gpu_mode_named(std::string_view name);  // "off", "auto", "required"

// Value of `gpu_evidence` in P1; null for no GPUs.
[[nodiscard]] Json gpu_evidence(const device::GpuCollection& collection, Time collected);
// Value of the additional TEE "nvidia" in P2.
[[nodiscard]] Json nvidia_evidence(const device::GpuCollection& collection);

// Any thread; calls block for as long as the driver takes.
class Gpu {
 public:
  // nullptr where there is nothing to attest.
  [[nodiscard]] static Result<std::unique_ptr<Gpu>> open(GpuMode mode,
                                                         const std::filesystem::path& library = "libnvidia-ml.so.1");
  // Reports over the first 32 bytes of `report_data`. nullopt: left out, the cause is logged.
  [[nodiscard]] Result<std::optional<device::GpuCollection>> collect(ByteView report_data);
  // As device::Nvml::set_ready.
  [[nodiscard]] Result<void> set_ready(bool ready) { return nvml_->set_ready(ready); }
  [[nodiscard]] GpuMode mode() const { return mode_; }

 private:
  Gpu(GpuMode mode, std::unique_ptr<device::Nvml> nvml) : mode_(mode), nvml_(std::move(nvml)) {}
  GpuMode mode_;
  std::unique_ptr<device::Nvml> nvml_;
};

}  // namespace cairn::aa
