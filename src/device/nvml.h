// Attestation evidence of NVIDIA GPUs through their management library, loaded at run time. spec/nvidia-gpu.md §2.1.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace cairn::device {

using GpuNonce = FixedBytes<32, struct GpuNonceTag>;

struct GpuEvidence {
  unsigned index = 0;
  std::string uuid, name, vbios_version;
  unsigned architecture = 0;      // 9 Hopper, 10 Blackwell
  Bytes report;                   // SPDM request and signed response
  std::string certificate_chain;  // PEM, leaf first
};
// What the driver says of the machine: hints, nobody signs them.
struct GpuSystem {
  std::string driver_version;
  unsigned count = 0;
  bool confidential = false;    // CC mode, or protected PCIe
  bool production = false;      // not a simulation environment
  bool dev_tools = false;       // debugging allowed
  unsigned multi_gpu_mode = 0;  // 1 protected PCIe, 2 NVLE
};
struct GpuCollection {
  GpuSystem system;
  std::vector<GpuEvidence> gpus;
};

class Nvml {
 public:
  // not_found where the library is absent, unsupported where it lacks confidential computing, unavailable where the
  // driver does not start.
  [[nodiscard]] static Result<std::unique_ptr<Nvml>> open(const std::filesystem::path& library = "libnvidia-ml.so.1");
  ~Nvml();

  [[nodiscard]] Result<GpuSystem> system();
  // Every GPU or an error: one that fails fails all. Refused (permission_denied) unless the machine is in production
  // confidential mode without developer tools, or `allow_debug`; invalid_argument for a nonce of zeros;
  // evidence_rejected where a report does not carry the nonce. timed_out when the driver hangs; every later call then
  // fails, because a hung driver call cannot be taken back.
  [[nodiscard]] Result<GpuCollection> collect(const GpuNonce& nonce, bool allow_debug = false);

  // Whether CUDA work is admitted; root may change it. Set it only after a local verdict on every GPU; no other call
  // does. True is refused as collect() is without `allow_debug`. conflict where the driver holds the state as final and
  // only a reboot helps.
  [[nodiscard]] Result<bool> ready();
  [[nodiscard]] Result<void> set_ready(bool ready);

  // For tests: how long the driver may take.
  void set_time_limit(std::chrono::milliseconds limit);

 private:
  struct Library;
  explicit Nvml(std::shared_ptr<Library> library);
  std::shared_ptr<Library> library_;
};

}  // namespace cairn::device
