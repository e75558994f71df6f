#include "guest/aa/gpu_ready.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "crypto/random.h"
#include "device/collateral/gpu_client.h"
#include "evidence/eventlog/measure.h"
#include "evidence/nvidia/claims.h"
#include "evidence/nvidia/limits.h"
#include "guest/aa/limits.h"

namespace cairn::aa {
namespace {

using eventlog::Kind;

Result<void> add_roots(const std::vector<std::string>& files, std::vector<nvidia::TrustRoot>& out) {
  for (const std::string& file : files) {
    CAIRN_TRY(const Bytes certificate, read_file(file, nvidia::kMaxChainPem));
    CAIRN_TRY(auto root, nvidia::trust_root(file, certificate));
    spdlog::warn("SIMULATED GPUs are accepted: root {}", file);
    out.push_back(std::move(root));
  }
  return {};
}

// Whether something is missing that could be fetched, or a manifest that may have been issued anew was not met.
bool found(const nvidia::Verdict& verdict, std::initializer_list<nvidia::Failure> failures) {
  return std::ranges::any_of(verdict.devices, [&](const nvidia::DeviceVerdict& d) {
    return std::ranges::any_of(
        d.findings, [&](const nvidia::Finding& f) { return std::ranges::find(failures, f.failure) != failures.end(); });
  });
}

net::Task<nvidia::Verdict> judge(const GpuJudging& with, const nvidia::Evidence& evidence, nvidia::Options options) {
  using enum nvidia::Failure;
  nvidia::Verifier verifier(with.roots);
  nvidia::Verdict out = verifier.verify(evidence, with.documents, options, with.policy);
  if (with.rim_url.empty() && with.ocsp_url.empty()) co_return out;
  device::GpuSource source;
  source.rim_url = with.rim_url;
  source.ocsp_url = with.ocsp_url;
  CAIRN_CO_TRY(const auto client, device::GpuClient::make(std::move(source)));
  for (const bool fresh : {false, true}) {
    if (!(fresh ? found(out, {measurement, security_version, rim_version})
                : found(out, {rim_absent, ocsp_absent, ocsp_stale})))
      continue;
    nvidia::Collateral have = with.documents;
    have.ocsp.clear();  // what is at hand may have ended
    auto fetch = client->fetch(evidence, verifier, with.roots, options.time, std::move(have), fresh);
    CAIRN_CO_TRY(nvidia::Collateral all, co_await net::with_timeout(std::move(fetch), limits::gpu_documents));
    for (const auto& [id, answer] : with.documents.ocsp) all.ocsp.try_emplace(id, answer);
    out = verifier.verify(evidence, all, options, with.policy);
  }
  co_return out;
}

// Records the devices, once in a boot.
Result<void> record(EventLog& log, const Digest<48>& devices) {
  CAIRN_TRY(const auto events, log.events());
  CAIRN_TRY(const auto earlier, eventlog::read_measurements(events, false, true));
  const eventlog::Measurement now{Kind::gpu, std::string(eventlog::gpu_inventory), devices};
  if (earlier.inventory == devices) return {};
  if (earlier.inventory)
    return fail(ErrorCode::evidence_rejected, now.operation(), "the GPUs are not those that this boot recorded");
  if (earlier.open || !earlier.complete.empty())
    return fail(ErrorCode::conflict, now.operation(),
                "a run of measurements has begun, and GPUs are recorded before: the machine must be rebooted");
  return log.extend(eventlog::to_event(now), std::nullopt);
}

// Judged and recorded: evidence_rejected where the devices must not be worked with.
net::Task<> verify(net::Runtime& runtime, Gpu& gpu, EventLog* log, const GpuConfig& config, Time now) {
  CAIRN_CO_TRY(const GpuJudging with, read_gpu_judging(config));
  nvidia::Nonce nonce{};
  crypto::fill_random(nonce);
  CAIRN_CO_TRY(auto collected, co_await runtime.workers().offload([&gpu, nonce] { return gpu.collect(nonce); }));
  CAIRN_CO_CHECK(collected);
  if (!*collected) co_return fail(ErrorCode::unavailable, "GPU", "there are no reports");
  CAIRN_CO_TRY(const nvidia::Evidence evidence, nvidia::parse_evidence(nvidia_evidence(**collected)));
  const nvidia::Options options{.time = now, .nonce = nonce};
  CAIRN_CO_TRY(const nvidia::Verdict verdict, co_await judge(with, evidence, options));
  CAIRN_CO_CHECK(verdict.result());
  CAIRN_CO_TRY(const Digest<48> devices, nvidia::inventory(verdict));
  if (log != nullptr) CAIRN_CO_CHECK(record(*log, devices));
  spdlog::info("{} GPU(s) and {} switch(es) are verified", verdict.verified_gpus, verdict.verified_switches);
  co_return Result<void>{};
}

net::Task<> set_ready(net::Runtime& runtime, Gpu& gpu, bool ready) {
  CAIRN_CO_TRY(auto done, co_await runtime.workers().offload([&gpu, ready] { return gpu.set_ready(ready); }));
  co_return done;
}

}  // namespace

Result<GpuJudging> read_gpu_judging(const GpuConfig& config) {
  GpuJudging out{.roots = nvidia::nvidia_roots(), .policy = {}, .documents = {}, .rim_url = {}, .ocsp_url = {}};
  CAIRN_CHECK(add_roots(config.device_roots, out.roots.device));
  CAIRN_CHECK(add_roots(config.rim_roots, out.roots.rim));
  if (!config.policy.empty()) {
    CAIRN_TRY(const std::string text, read_text(config.policy, kSmallFileMax));
    CAIRN_TRY(const Json json, parse_json(text));
    auto policy = nvidia::parse_policy(json);
    if (!policy) return fail(std::move(policy.error()).in(config.policy));
    out.policy = *std::move(policy);
  }
  out.policy.allow_simulated |= !config.device_roots.empty() || !config.rim_roots.empty();
  for (const std::string& file : config.bundles) {
    CAIRN_TRY(const std::string text, read_text(file, nvidia::kMaxBundleJson));
    CAIRN_TRY(auto more, nvidia::parse_collateral(text));
    out.documents.rims.merge(more.rims);
    out.documents.ocsp.merge(more.ocsp);
  }
  const bool nvidia = config.bundles.empty();
  out.rim_url = config.rim_url.value_or(nvidia ? std::string(device::kNvidiaRims) : "");
  out.ocsp_url = config.ocsp_url.value_or(nvidia ? std::string(device::kNvidiaOcsp) : "");
  return out;
}

net::Task<> make_gpus_ready(net::Runtime& runtime, Gpu& gpu, EventLog* log, GpuConfig config, Time now) {
  if (config.ready == GpuConfig::Ready::leave) co_return Result<void>{};
  Result<void> done;
  if (config.ready == GpuConfig::Ready::verified)
    done = co_await verify(runtime, gpu, log, config, now);
  else
    spdlog::warn("GPUs are set ready without verification, as configured");
  if (done) {
    done = co_await set_ready(runtime, gpu, true);
  } else if (done.error().code == ErrorCode::evidence_rejected) {
    if (const auto closed = co_await set_ready(runtime, gpu, false); !closed)
      spdlog::error("refused GPUs could not be closed: {}", closed.error().text());
  }
  if (done) co_return Result<void>{};
  Error why = std::move(done.error()).in("the GPUs are not made ready");
  if (gpu.mode() == GpuMode::required) co_return fail(std::move(why));
  spdlog::error("{}", why.text());
  co_return Result<void>{};
}

}  // namespace cairn::aa
