// The parts of NVIDIA's management library that attestation uses, as laid out by its ABI. spec/nvidia-gpu.md §2.1.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::device::nvml {

using Device = void*;

enum Code : int {
  kOk = 0,
  kUninitialised = 1,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kNoPermission = 4,
  kNotFound = 6,
  kDriverNotLoaded = 9,
  kTimeout = 10,
  kLibraryNotFound = 12,
  kFunctionNotFound = 13,
  kGpuLost = 15,
  kMismatch = 18,
  kVersionMismatch = 25,
  kNotReady = 27,
  kInvalidState = 29,
};

struct SystemState {
  std::uint32_t environment, cc_feature, dev_tools_mode;  // environment: 0 unavailable, 1 simulation, 2 production
};
static_assert(sizeof(SystemState) == 12);

struct SystemSettings {
  std::uint32_t version, environment, cc_feature, dev_tools_mode, multi_gpu_mode;
};
static_assert(sizeof(SystemSettings) == 20);
inline constexpr std::uint32_t kSettingsVersion = 0x01000014;

struct GpuCertificate {
  std::uint32_t chain_size, attestation_chain_size;
  std::uint8_t chain[4096];
  std::uint8_t attestation_chain[5120];
};
static_assert(sizeof(GpuCertificate) == 9224 && offsetof(GpuCertificate, attestation_chain) == 4104);

struct GpuAttestationReport {
  std::uint32_t cec_present, report_size, cec_report_size;
  std::uint8_t nonce[32];  // in
  std::uint8_t report[8192];
  std::uint8_t cec_report[4096];
};
static_assert(sizeof(GpuAttestationReport) == 12332 && offsetof(GpuAttestationReport, report) == 44);

struct Functions {
  int (*init)();
  int (*shutdown)();
  int (*driver_version)(char*, unsigned);
  int (*count)(unsigned*);
  int (*handle)(unsigned, Device*);
  int (*uuid)(Device, char*, unsigned);
  int (*name)(Device, char*, unsigned);
  int (*vbios)(Device, char*, unsigned);
  int (*architecture)(Device, unsigned*);
  int (*state)(SystemState*);
  int (*settings)(SystemSettings*);  // may be absent in older drivers
  int (*ready)(unsigned*);
  int (*set_ready)(unsigned);
  int (*certificate)(Device, GpuCertificate*);
  int (*report)(Device, GpuAttestationReport*);
};

}  // namespace cairn::device::nvml
