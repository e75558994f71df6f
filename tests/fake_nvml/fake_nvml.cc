// A management library for tests, loaded as the real one is. It answers as the environment variable FAKE_NVML says:
// words separated by commas, such as "count=2,fail-report=15". With "device=ADDRESS", that of a FakeDevice in the
// process that loads it, reports and certificates are whatever that makes.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "device/nvml_abi.h"
#include "fake_nvml.h"

namespace {

using namespace cairn::device::nvml;

unsigned ready_state = 0;

std::string setting(const std::string& key) {
  const char* all = std::getenv("FAKE_NVML");
  const std::string text = "," + std::string(all == nullptr ? "" : all) + ",";
  const auto at = text.find("," + key + "=");
  if (at == std::string::npos) return {};
  const auto from = at + key.size() + 2;
  return text.substr(from, text.find(',', from) - from);
}
unsigned number(const std::string& key, unsigned fallback) {
  const auto text = setting(key);
  return text.empty() ? fallback : static_cast<unsigned>(std::stoul(text));
}
int code(const std::string& function) {
  if (const auto ms = number("delay-" + function, 0)) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  return static_cast<int>(number("fail-" + function, 0));
}
int put(char* out, unsigned size, const std::string& text) {
  std::strncpy(out, text.c_str(), size);
  return kOk;
}
// The loading process's device; nullptr: none.
FakeDevice* device_of_process() {
  const std::string address = setting("device");
  return address.empty() ? nullptr : reinterpret_cast<FakeDevice*>(std::stoull(address, nullptr, 16));
}
unsigned index_of(Device device) { return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(device) - 1); }

}  // namespace

extern "C" {

int nvmlInit_v2() { return code("init"); }
int nvmlShutdown() { return kOk; }
int nvmlSystemGetDriverVersion(char* out, unsigned size) { return put(out, size, "580.95.05"); }
int nvmlDeviceGetCount_v2(unsigned* out) {
  *out = number("count", 1);
  return kOk;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device* out) {
  *out = reinterpret_cast<Device>(static_cast<std::uintptr_t>(index + 1));
  return kOk;
}
int nvmlDeviceGetUUID(Device device, char* out, unsigned size) {
  return put(out, size, "GPU-" + std::to_string(index_of(device)));
}
int nvmlDeviceGetName(Device, char* out, unsigned size) {
  return put(out, size, std::string(number("long-name", 0), 'N') + "NVIDIA H100");
}
int nvmlDeviceGetVbiosVersion(Device, char* out, unsigned size) { return put(out, size, "96.00.9F.00.01"); }
int nvmlDeviceGetArchitecture(Device, unsigned* out) {
  *out = 9;
  return kOk;
}
int nvmlSystemGetConfComputeState(SystemState* out) {
  *out = {number("environment", 2), number("cc", 1), number("dev-tools", 0)};
  return code("state");
}
int nvmlSystemGetConfComputeSettings(SystemSettings* out) {
  if (out->version != kSettingsVersion) return kVersionMismatch;
  *out = {kSettingsVersion, number("environment", 2), number("cc", 1), number("dev-tools", 0), number("multi-gpu", 0)};
  return code("settings");
}
int nvmlSystemGetConfComputeGpusReadyState(unsigned* out) {
  *out = ready_state;
  return kOk;
}
int nvmlSystemSetConfComputeGpusReadyState(unsigned state) {
  if (const int failed = code("set-ready")) return failed;
  if (number("ready-stuck", 0) == 0) ready_state = state;
  return kOk;
}
int nvmlDeviceGetConfComputeGpuCertificate(Device device, GpuCertificate* out) {
  if (FakeDevice* fake = device_of_process()) {
    const std::string chain = fake->certificate(index_of(device));
    out->attestation_chain_size = static_cast<unsigned>(
        chain.copy(reinterpret_cast<char*>(out->attestation_chain), sizeof out->attestation_chain));
    return code("certificate");
  }
  out->attestation_chain_size = number("chain-size", 3);
  std::memcpy(out->attestation_chain, "PEM", 3);
  std::memcpy(out->chain, "bad", 3);  // the chain that is not for attestation
  out->chain_size = 3;
  return code("certificate");
}
int nvmlDeviceGetConfComputeGpuAttestationReport(Device device, GpuAttestationReport* out) {
  if (FakeDevice* fake = device_of_process()) {
    const std::string report = fake->report(index_of(device), out->nonce);
    out->report_size = static_cast<unsigned>(report.copy(reinterpret_cast<char*>(out->report), sizeof out->report));
    return code("report");
  }
  out->report_size = number("report-size", 100);
  std::memcpy(out->report + 4, out->nonce, 32);
  if (number("wrong-nonce", 0) != 0) out->report[4] ^= 1;
  const bool this_one = index_of(device) + 1 == number("count", 1);  // errors hit the last GPU
  return this_one ? code("report") : kOk;
}

}  // extern "C"
