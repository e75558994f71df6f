#include "device/nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "device/limits.h"
#include "device/nvml_abi.h"

namespace cairn::device {

namespace {

std::string_view meaning(int code) {
  switch (code) {
    case nvml::kUninitialised: return "the library is not initialised";
    case nvml::kNotSupported: return "not supported: the GPU is not in a confidential mode";
    case nvml::kNoPermission: return "no permission";
    case nvml::kNotFound: return "not found";
    case nvml::kDriverNotLoaded: return "the NVIDIA driver is not loaded";
    case nvml::kTimeout: return "the GPU did not answer in time";
    case nvml::kFunctionNotFound: return "the driver is too old for this function";
    case nvml::kGpuLost: return "the GPU has fallen off the bus";
    case nvml::kMismatch: return "library and driver do not match";
    case nvml::kVersionMismatch: return "another structure version is expected";
    case nvml::kNotReady: return "the GPU is not ready";
    case nvml::kInvalidState: return "not possible in the GPU's present state";
    default: return "it failed";
  }
}

Result<void> check(int code, std::string_view where) {
  if (code == nvml::kOk) return {};
  auto kind = ErrorCode::io_failed;
  if (code == nvml::kNotSupported || code == nvml::kFunctionNotFound || code == nvml::kVersionMismatch)
    kind = ErrorCode::unsupported;
  if (code == nvml::kNoPermission) kind = ErrorCode::permission_denied;
  if (code == nvml::kDriverNotLoaded || code == nvml::kNotReady) kind = ErrorCode::unavailable;
  if (code == nvml::kTimeout) kind = ErrorCode::timed_out;
  return fail(kind, std::string(where), std::string(meaning(code)) + " (NVML " + std::to_string(code) + ")");
}

// A text that the library wrote into a buffer of ours.
template <std::size_t N>
Result<std::string> text(std::string_view where, const std::function<int(char*, unsigned)>& call) {
  char buffer[N] = {};
  CAIRN_CHECK(check(call(buffer, N), where));
  const auto end = std::ranges::find(buffer, '\0');
  return std::string(std::begin(buffer), end);
}

}  // namespace

struct Nvml::Library {
  void* handle = nullptr;
  nvml::Functions f{};
  std::mutex mutex;
  bool started = false, hung = false;
  std::chrono::milliseconds limit = limits::gpu_collect;

  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (started) (void)f.shutdown();
    if (handle != nullptr) ::dlclose(handle);
  }

  template <class F>
  bool find(F*& function, const char* symbol) {
    function = reinterpret_cast<F*>(::dlsym(handle, symbol));
    return function != nullptr;
  }

  Result<void> load(const std::filesystem::path& path) {
    handle = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (handle == nullptr)
      return fail(ErrorCode::not_found, path.string(),
                  "no NVIDIA management library: no GPU evidence from this machine");
    const bool all = find(f.init, "nvmlInit_v2") && find(f.shutdown, "nvmlShutdown") &&
                     find(f.driver_version, "nvmlSystemGetDriverVersion") && find(f.count, "nvmlDeviceGetCount_v2") &&
                     find(f.handle, "nvmlDeviceGetHandleByIndex_v2") && find(f.uuid, "nvmlDeviceGetUUID") &&
                     find(f.name, "nvmlDeviceGetName") && find(f.vbios, "nvmlDeviceGetVbiosVersion") &&
                     find(f.architecture, "nvmlDeviceGetArchitecture") &&
                     find(f.state, "nvmlSystemGetConfComputeState") &&
                     find(f.ready, "nvmlSystemGetConfComputeGpusReadyState") &&
                     find(f.set_ready, "nvmlSystemSetConfComputeGpusReadyState") &&
                     find(f.certificate, "nvmlDeviceGetConfComputeGpuCertificate") &&
                     find(f.report, "nvmlDeviceGetConfComputeGpuAttestationReport");
    if (!all)
      return fail(ErrorCode::unsupported, path.string(), "this NVIDIA driver has no confidential computing functions");
    (void)find(f.settings, "nvmlSystemGetConfComputeSettings");
    CAIRN_CHECK(check(f.init(), "nvmlInit"));
    started = true;
    return {};
  }

  Result<GpuSystem> system() {
    GpuSystem out;
    CAIRN_TRY(out.driver_version, text<80>("driver version", f.driver_version));
    CAIRN_CHECK(check(f.count(&out.count), "device count"));
    if (out.count > limits::gpus)
      return fail(ErrorCode::too_large, "device count", std::to_string(out.count) + " GPUs");
    nvml::SystemSettings settings{
        .version = nvml::kSettingsVersion, .environment = 0, .cc_feature = 0, .dev_tools_mode = 0, .multi_gpu_mode = 0};
    if (f.settings == nullptr || f.settings(&settings) != nvml::kOk) {
      nvml::SystemState state{};
      CAIRN_CHECK(check(f.state(&state), "confidential computing state"));
      settings = {nvml::kSettingsVersion, state.environment, state.cc_feature, state.dev_tools_mode, 0};
    }
    out.confidential = settings.cc_feature == 1 || settings.multi_gpu_mode == 1;
    out.production = settings.environment == 2;
    out.dev_tools = settings.dev_tools_mode != 0;
    out.multi_gpu_mode = settings.multi_gpu_mode;
    return out;
  }

  Result<GpuEvidence> gpu(unsigned index, const GpuNonce& nonce) {
    const std::string where = "GPU " + std::to_string(index);
    GpuEvidence out{.index = index,
                    .uuid = {},
                    .name = {},
                    .vbios_version = {},
                    .architecture = 0,
                    .report = {},
                    .certificate_chain = {}};
    nvml::Device device = nullptr;
    CAIRN_CHECK(check(f.handle(index, &device), where));
    CAIRN_CHECK(check(f.architecture(device, &out.architecture), where));
    CAIRN_TRY(out.uuid, text<96>(where, [&](char* b, unsigned n) { return f.uuid(device, b, n); }));
    CAIRN_TRY(out.name, text<96>(where, [&](char* b, unsigned n) { return f.name(device, b, n); }));
    CAIRN_TRY(out.vbios_version, text<32>(where, [&](char* b, unsigned n) { return f.vbios(device, b, n); }));
    CAIRN_TRY(out.report, report(device, where, nonce));
    const auto certificate = std::make_unique<nvml::GpuCertificate>();
    CAIRN_CHECK(check(f.certificate(device, certificate.get()), where));
    const auto size = certificate->attestation_chain_size;
    if (size == 0 || size > sizeof certificate->attestation_chain)
      return fail(ErrorCode::malformed, where,
                  "the driver gives a certificate chain of " + std::to_string(size) + " bytes");
    out.certificate_chain = std::string(as_text(ByteView(certificate->attestation_chain, size)));
    return out;
  }

  // The report starts with the SPDM request, whose nonce is at offset 4: it must be ours.
  Result<Bytes> report(nvml::Device device, const std::string& where, const GpuNonce& nonce) {
    constexpr std::size_t kNonceOffset = 4;
    const auto raw = std::make_unique<nvml::GpuAttestationReport>();
    std::ranges::copy(nonce, raw->nonce);
    CAIRN_CHECK(check(f.report(device, raw.get()), where));
    if (raw->report_size < kNonceOffset + nonce.size() || raw->report_size > sizeof raw->report)
      return fail(ErrorCode::malformed, where,
                  "the driver gives a report of " + std::to_string(raw->report_size) + " bytes");
    const ByteView bytes(raw->report, raw->report_size);
    if (!equal(bytes.subspan(kNonceOffset, nonce.size()), nonce.view()))
      return fail(ErrorCode::evidence_rejected, where, "the driver's report answers another nonce");
    return to_bytes(bytes);
  }

  // The mode of the machine, where it protects.
  Result<GpuSystem> protecting(bool allow_debug) {
    CAIRN_TRY(GpuSystem out, system());
    if (!out.confidential) return fail(ErrorCode::unsupported, "GPU", "the GPUs are not in a confidential mode");
    if (!allow_debug && (!out.production || out.dev_tools))
      return fail(ErrorCode::permission_denied, "GPU", "the GPUs are in a debugging mode or a simulation");
    return out;
  }

  Result<void> set_ready(bool wanted) {
    if (wanted) CAIRN_CHECK(protecting(false));
    const int code = f.set_ready(wanted ? 1 : 0);
    if (code == nvml::kInvalidArgument || code == nvml::kInvalidState)
      return fail(
          ErrorCode::conflict, "ready state",
          "the driver does not change it any more (NVML " + std::to_string(code) + "): the machine must be rebooted");
    return check(code, "ready state");
  }

  Result<GpuCollection> collect(const GpuNonce& nonce, bool allow_debug) {
    GpuCollection out;
    CAIRN_TRY(out.system, protecting(allow_debug));
    for (unsigned i = 0; i < out.system.count; ++i) {
      CAIRN_TRY(auto one, gpu(i, nonce));
      out.gpus.push_back(std::move(one));
    }
    if (out.gpus.empty()) return fail(ErrorCode::not_found, "GPU", "the driver finds no GPU");
    return out;
  }
};

Nvml::Nvml(std::shared_ptr<Library> library) : library_(std::move(library)) {}
Nvml::~Nvml() = default;

Result<std::unique_ptr<Nvml>> Nvml::open(const std::filesystem::path& library) {
  auto loaded = std::make_shared<Library>();
  CAIRN_CHECK(loaded->load(library));
  return std::unique_ptr<Nvml>(new Nvml(std::move(loaded)));
}

void Nvml::set_time_limit(std::chrono::milliseconds limit) { library_->limit = limit; }

Result<GpuSystem> Nvml::system() {
  const std::lock_guard lock(library_->mutex);
  if (library_->hung) return fail(ErrorCode::unavailable, "GPU", "the NVIDIA driver hung before");
  return library_->system();
}

Result<GpuCollection> Nvml::collect(const GpuNonce& nonce, bool allow_debug) {
  if (nonce == GpuNonce{}) return fail(ErrorCode::invalid_argument, "nonce", "a nonce of zeros proves nothing");
  const std::lock_guard lock(library_->mutex);
  if (library_->hung) return fail(ErrorCode::unavailable, "GPU", "the NVIDIA driver hung before");
  // A thread of its own, which keeps the library alive: a driver call that hangs cannot be cancelled.
  std::promise<Result<GpuCollection>> promise;
  auto answer = promise.get_future();
  std::thread([library = library_, nonce, allow_debug, promise = std::move(promise)]() mutable {
    promise.set_value(library->collect(nonce, allow_debug));
  }).detach();
  if (answer.wait_for(library_->limit) == std::future_status::ready) return answer.get();
  library_->hung = true;
  return fail(ErrorCode::timed_out, "GPU", "the NVIDIA driver did not answer in time");
}

Result<bool> Nvml::ready() {
  const std::lock_guard lock(library_->mutex);
  if (library_->hung) return fail(ErrorCode::unavailable, "GPU", "the NVIDIA driver hung before");
  unsigned state = 0;
  CAIRN_CHECK(check(library_->f.ready(&state), "ready state"));
  return state != 0;
}

Result<void> Nvml::set_ready(bool wanted) {
  {
    const std::lock_guard lock(library_->mutex);
    if (library_->hung) return fail(ErrorCode::unavailable, "GPU", "the NVIDIA driver hung before");
    CAIRN_CHECK(library_->set_ready(wanted));
  }
  CAIRN_TRY(const bool now, ready());
  if (now != wanted) return fail(ErrorCode::io_failed, "ready state", "the driver did not take the new state");
  return {};
}

}  // namespace cairn::device
