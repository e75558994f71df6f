#include "guest/aa/gpu.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/log.h"

namespace cairn::aa {
namespace {

std::string_view architecture(unsigned number) {
  return number == 9 ? "HOPPER" : number == 10 ? "BLACKWELL" : "UNKNOWN";
}

}  // namespace

Result<GpuMode> gpu_mode_named(std::string_view name) {
  if (name == "off") return GpuMode::off;
  if (name == "auto") return GpuMode::automatic;
  if (name == "required") return GpuMode::required;
  return fail(ErrorCode::invalid_argument, "gpu", "unknown choice \"" + printable(name) + "\"; off, auto or required");
}

Json gpu_evidence(const device::GpuCollection& collection, Time collected) {
  if (collection.gpus.empty()) return {};
  Json list = Json::array();
  for (const auto& gpu : collection.gpus)
    list.push_back({{"index", gpu.index},
                    {"uuid", gpu.uuid},
                    {"name", gpu.name},
                    {"driver_version", collection.system.driver_version},
                    {"vbios_version", gpu.vbios_version},
                    {"attestation_report", base64(gpu.report)},
                    {"certificate", base64(as_bytes(gpu.certificate_chain))},
                    {"cc_enabled", collection.system.confidential}});
  return {{"evidence_list", std::move(list)}, {"collection_time", rfc3339(collected)}};
}

Json nvidia_evidence(const device::GpuCollection& collection) {
  Json list = Json::array();
  for (const auto& gpu : collection.gpus)
    list.push_back({{"arch", architecture(gpu.architecture)},
                    {"uuid", gpu.uuid},
                    {"evidence", base64(gpu.report)},
                    {"certificate", base64(as_bytes(gpu.certificate_chain))}});
  return {{"device_evidence_list", std::move(list)}};
}

Result<std::unique_ptr<Gpu>> Gpu::open(GpuMode mode, const std::filesystem::path& library) {
  if (mode == GpuMode::off) return nullptr;
  auto nvml = device::Nvml::open(library);
  auto system = nvml ? (*nvml)->system() : Result<device::GpuSystem>(fail(nvml.error()));
  if (system && !system->confidential)
    system = fail(ErrorCode::unsupported, "gpu", "the GPUs are not in confidential mode");
  if (system) {
    spdlog::info("attesting {} GPU(s), driver {}", system->count, printable(system->driver_version));
    return std::unique_ptr<Gpu>(new Gpu(mode, *std::move(nvml)));
  }
  if (mode == GpuMode::required) return fail(std::move(system.error()).in("GPU evidence is required"));
  if (system.error().code != ErrorCode::not_found) spdlog::warn("no GPU evidence: {}", system.error().text());
  return nullptr;
}

Result<std::optional<device::GpuCollection>> Gpu::collect(ByteView report_data) {
  device::GpuNonce nonce{};
  std::ranges::copy(report_data.first(std::min(report_data.size(), nonce.size())), nonce.begin());
  auto collection = nvml_->collect(nonce);
  if (collection) return *std::move(collection);
  if (mode_ == GpuMode::required) return fail(std::move(collection).error());
  spdlog::warn("no GPU evidence: {}", collection.error().text());
  return std::nullopt;
}

}  // namespace cairn::aa
