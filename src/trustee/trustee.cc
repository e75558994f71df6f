#include "trustee/trustee.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "evidence/nvidia/limits.h"
#include "trustee/as/metrics.h"
#include "trustee/as/sample_verifier.h"
#include "trustee/as/tdx_verifier.h"

namespace cairn::trustee {
namespace {

constexpr std::string_view kQcnl = "/etc/sgx_default_qcnl.conf";
constexpr std::size_t kMaxQcnl = 64U << 10, kMaxCertificates = 1U << 20;  // bytes of the files

Result<Fd> lock_folder(const std::filesystem::path& folder) {
  const auto file = folder / ".lock";
  Fd fd(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail(errno_error(errno, file, "open the lock"));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  return fail(ErrorCode::conflict, folder,
              "another process uses this data folder; stop it, or choose another folder with --data");
}

Result<std::vector<crypto::Certificate>> certificates(const std::vector<std::filesystem::path>& files) {
  std::vector<crypto::Certificate> out;
  for (const auto& file : files) {
    CAIRN_TRY(const std::string pem, read_text(file));
    CAIRN_TRY(auto some, crypto::Certificate::from_pem(pem));
    out.insert(out.end(), some.begin(), some.end());
  }
  return out;
}

Result<void> add_gpu_roots(const std::vector<std::filesystem::path>& files, std::vector<nvidia::TrustRoot>& out) {
  for (const auto& file : files) {
    CAIRN_TRY(const Bytes certificate, read_file(file, nvidia::kMaxChainPem));
    CAIRN_TRY(auto root, nvidia::trust_root(file.stem().string(), certificate));
    spdlog::warn("SIMULATED GPUs are accepted: root {} (verdicts say \"simulated\": true)", file.string());
    out.push_back(std::move(root));
  }
  return {};
}

Result<as::GpuOptions> gpu_options(const Config& config) {
  as::GpuOptions options{.roots = nvidia::nvidia_roots(), .policy = {}, .bundles = config.gpu_bundles};
  CAIRN_CHECK(add_gpu_roots(config.gpu_device_roots, options.roots.device));
  CAIRN_CHECK(add_gpu_roots(config.gpu_rim_roots, options.roots.rim));
  if (!config.gpu_policy.empty()) {
    CAIRN_TRY(const std::string text, read_text(config.gpu_policy));
    CAIRN_TRY(const Json json, parse_json(text));
    auto policy = nvidia::parse_policy(json);
    if (!policy) return fail(std::move(policy.error()).in(config.gpu_policy.string()));
    options.policy = *std::move(policy);
    const auto heard = config.gpu_remote ? nvidia::check_remote_policy(options.policy) : Result<void>();
    if (!heard) return fail(Error(heard.error()).in(config.gpu_policy.string()));
  }
  options.policy.allow_simulated |= !config.gpu_device_roots.empty() || !config.gpu_rim_roots.empty();
  return options;
}

// What both kinds of service for GPUs are given.
struct GpuAccess {
  std::string authorization, roots_pem;
};
Result<GpuAccess> gpu_access(const Config& config) {
  GpuAccess out;
  if (!config.gpu_service_ca.empty()) {
    CAIRN_TRY(out.roots_pem, read_text(config.gpu_service_ca, kMaxCertificates));
  }
  if (config.gpu_service_key.empty()) return out;
  CAIRN_TRY(const Secret key, read_secret(config.gpu_service_key));
  std::string text(as_text(key.view()));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  out.authorization = "Bearer " + text;
  if (text.empty() || !net::valid_field_value(out.authorization))
    return fail(ErrorCode::invalid_argument, config.gpu_service_key, "is not one line of text: no service key");
  return out;
}

// The service that collateral is fetched from, if any, and for how long what it said is kept (seconds; 0: as long as
// it is valid).
struct Service {
  std::optional<device::CollateralSource> source;
  std::int64_t expire_after = 0;
};
Result<Service> collateral_service(const Config& config) {
  Service out;
  device::CollateralSource source;
  auto qcnl = config.qcnl;
  const char* named = std::getenv("QCNL_CONF_PATH");
  const bool configured = !config.pccs_urls.empty() || !config.bundles.empty();
  if (qcnl.empty() && !configured) qcnl = named && *named ? named : kQcnl;
  if (qcnl.empty() || (config.qcnl.empty() && !std::filesystem::exists(qcnl))) {
    if (config.pccs_urls.empty()) return out;
  } else {
    CAIRN_TRY(const std::string text, read_text(qcnl, kMaxQcnl));
    auto parsed = device::parse_qcnl(text);
    if (!parsed) return fail(std::move(parsed.error()).in(qcnl.string()));
    source = device::CollateralSource::from(*parsed);
    out.expire_after = std::int64_t{parsed->verify_collateral_cache_expire_hours} * 3600;
    if (parsed->local_cache_only)
      spdlog::warn("{}: local_cache_only is ignored: this service has no other cache", qcnl.string());
  }
  if (!config.pccs_urls.empty()) source.urls = config.pccs_urls;
  if (config.tcb_update) source.update = *config.tcb_update;
  if (!config.pccs_ca.empty()) {
    CAIRN_TRY(source.extra_roots_pem, read_text(config.pccs_ca, kMaxCertificates));
  }
  if (config.pccs_insecure) source.check_certificate = false;
  if (!source.check_certificate)
    spdlog::warn("the collateral service's TLS certificate is not checked (what it sends is verified all the same)");
  for (const auto& url : source.urls)
    spdlog::info("collateral comes from {} ({})", url,
                 source.update == device::TcbUpdate::early ? "newest" : "as Intel enforces it now");
  if (config.collateral_expire_hours > 0) out.expire_after = config.collateral_expire_hours * 3600;
  out.source = std::move(source);
  return out;
}

Result<std::vector<tdx::TrustRoot>> trust_roots(const Config& config) {
  std::vector<tdx::TrustRoot> out{tdx::intel_root()};
  for (const auto& file : config.simulated_roots) {
    CAIRN_TRY(const Bytes certificate, read_file(file, tdx::kMaxChain));
    CAIRN_TRY(auto root, tdx::trust_root(file.stem().string(), certificate));
    spdlog::warn("SIMULATED machines are accepted: root {} of {} (verdicts say \"simulated\": true)",
                 hex(root.key_id().view()).substr(0, 16), file.string());
    out.push_back(std::move(root));
  }
  return out;
}

std::unique_ptr<as::TeeVerifier> tdx(const Config& config, std::vector<tdx::TrustRoot> roots,
                                     std::shared_ptr<as::CollateralStore> store,
                                     std::shared_ptr<const as::GpuJudge> gpu) {
  as::TdxOptions options;
  options.roots = std::move(roots);
  options.gpu = std::move(gpu);
  if (config.accept_expired_collateral) spdlog::warn("EXPIRED collateral is accepted and becomes a claim");
  options.collateral = [store = std::move(store)](ByteView quote, Time now, Pending* pending) {
    return store->find(quote, now, pending);
  };
  options.accept_expired_collateral = config.accept_expired_collateral;
  options.min_tcb_eval_num = config.min_tcb_eval_num;
  return as::tdx_verifier(std::move(options));
}

}  // namespace

Trustee::~Trustee() = default;

// The administrator's key pair: configured, or made at first start as the packages of old do.
Result<void> Trustee::open_admin(const Config& config) {
  auto file = config.admin_public_key;
  if (file.empty()) {
    file = config.data / "public.pub";
    if (!std::filesystem::exists(file)) {
      CAIRN_TRY(const auto key, as::load_or_make_key(config.data / "private.key", crypto::KeyType::ed25519));
      CAIRN_CHECK(write_text(file, key.public_key().pem()));
      spdlog::info("made the administrator's key: {} (keep it secret)", (config.data / "private.key").string());
    }
  }
  CAIRN_TRY(const std::string pem, read_text(file, 1U << 16));
  CAIRN_TRY(auto key, crypto::PublicKey::from_pem(pem));
  if (key.type() != crypto::KeyType::ed25519)
    return fail(ErrorCode::invalid_argument, file, "the administrator's key is not an Ed25519 key");
  admin_ = std::make_unique<Admin>(std::move(key));
  return {};
}

// Where GPU evidence's documents come from, or who judges in their place.
Result<void> Trustee::open_gpu(const Config& config, std::optional<net::Executor> loop) {
  CAIRN_TRY(as::GpuOptions options, gpu_options(config));
  const bool fetching = !config.gpu_rim_url.empty() || !config.gpu_ocsp_url.empty();
  if ((fetching || config.gpu_remote) && !loop)
    return fail(ErrorCode::invalid_argument, "verifier.nvidia", "services need a loop to be asked on");
  CAIRN_TRY(GpuAccess access, gpu_access(config));
  if (fetching) {
    device::GpuSource source;
    source.rim_url = config.gpu_rim_url;
    source.ocsp_url = config.gpu_ocsp_url;
    source.authorization = std::move(access.authorization);
    source.extra_roots_pem = std::move(access.roots_pem);
    source.folder = config.data / "attestation-service" / "collateral";
    source.rim_seconds = config.gpu_rim_cache_hours * 3600;
    CAIRN_TRY(gpu_documents_, device::GpuCache::open(*loop, std::move(source), options.roots));
    spdlog::info("GPU manifests come from {}, revocation answers from {}",
                 config.gpu_rim_url.empty() ? "bundles" : config.gpu_rim_url,
                 config.gpu_ocsp_url.empty() ? "bundles" : config.gpu_ocsp_url);
  } else if (config.gpu_remote) {
    device::NrasSource source;
    if (!config.gpu_verifier_url.empty()) source.url = config.gpu_verifier_url;
    source.authorization = std::move(access.authorization);
    source.extra_roots_pem = std::move(access.roots_pem);
    spdlog::info("GPU measurements are judged by {}", source.url);
    CAIRN_TRY(gpu_remote_, device::NrasCache::open(*loop, std::move(source)));
  }
  options.fetched = gpu_documents_;
  options.remote = gpu_remote_;
  gpu_ = std::make_shared<const as::GpuJudge>(std::move(options));
  return {};
}

Result<void> Trustee::open_service(const Config& config, Time now, std::optional<net::Executor> loop) {
  const auto folder = config.data / "attestation-service";
  CAIRN_TRY(const auto roots, trust_roots(config));
  as::CollateralOptions collateral{.bundles = config.bundles,
                                   .source = {},
                                   .folder = folder / "collateral",
                                   .roots = roots,
                                   .refresh_after = config.collateral_refresh_hours * 3600,
                                   .expire_after = 0,
                                   .min_tcb_eval_num = config.min_tcb_eval_num};
  CAIRN_TRY(Service service, collateral_service(config));
  collateral.source = std::move(service.source);
  collateral.expire_after = service.expire_after;
  if (config.bundles.empty() && !collateral.source)
    spdlog::warn("no collateral is configured (verifier.tdx.pccs_url or bundles): TDX quotes cannot be judged");
  CAIRN_TRY(collateral_, as::CollateralStore::open(std::move(collateral), std::move(loop)));
  std::vector<std::unique_ptr<as::TeeVerifier>> verifiers;
  verifiers.push_back(tdx(config, roots, collateral_, gpu_));
  verifiers.push_back(as::nvidia_verifier(gpu_));
  if (config.sample) {
    spdlog::warn("the SAMPLE TEE is accepted: anyone can write its evidence");
    verifiers.push_back(as::sample_verifier());
    verifiers.push_back(as::sample_device_verifier());
  }
  CAIRN_TRY(service_, as::AttestationService::open({folder, config.token_kind, config.token}, std::move(verifiers),
                                                   *references_, now));
  service_api_ = std::make_unique<as::Api>(*service_, *admin_, *collateral_, *gpu_);
  return {};
}

Result<void> Trustee::open_broker(const Config& config) {
  CAIRN_TRY(auto resources, kbs::Resources::open(config.data / "kbs" / "repository"));
  resources_ = std::make_unique<kbs::Resources>(std::move(resources));
  CAIRN_TRY(resource_policy_, kbs::ResourcePolicy::open(config.data / "kbs" / "policy.rego"));
  kbs::Options options;
  options.session_seconds = config.session_minutes * 60;
  options.extra_teekey_paths = config.extra_teekey_paths;
  CAIRN_TRY(options.tokens.roots, certificates(config.trusted_certs));
  options.tokens.roots.push_back(service_->authority().ca());
  broker_ = std::make_unique<kbs::Api>(std::move(options), *service_, *references_api_, *admin_, *resources_,
                                       *resource_policy_);
  return {};
}

Result<std::unique_ptr<Trustee>> Trustee::open(const Config& config, Time now, std::optional<net::Executor> loop) {
  auto out = std::unique_ptr<Trustee>(new Trustee());
  CAIRN_CHECK(make_dirs(config.data, 0700));
  CAIRN_TRY(out->lock_, lock_folder(config.data));
  CAIRN_CHECK(out->open_admin(config));
  CAIRN_CHECK(make_dirs(config.data / "attestation-service", 0700));
  CAIRN_TRY(out->references_, rvps::Store::open(config.data / "attestation-service" / "reference_values.json"));
  out->references_api_ = std::make_unique<rvps::Api>(*out->references_, *out->admin_);
  CAIRN_CHECK(out->open_gpu(config, loop));
  CAIRN_CHECK(out->open_service(config, now, std::move(loop)));
  CAIRN_CHECK(out->open_broker(config));
  const auto database = config.data / "gateway" / "app" / "data" / "trustee-gateway.db";
  CAIRN_TRY(out->audit_, gateway::Audit::open(database, config.audit, now));
  auto* self = out.get();
  gateway::Parts parts{[self](const Call& call) { return self->broker_->handle(call); },
                       [self](const Call& call) { return self->service_api_->handle(call); },
                       [self](const Call& call) { return self->references_api_->handle(call); },
                       [self](Time at) { return as::metrics(*self->collateral_, *self->gpu_, at); }};
  out->gateway_ = std::make_unique<gateway::Gateway>(std::move(parts), *out->audit_, config.cors);
  return out;
}

net::Response Trustee::gateway(const Call& call, const std::string& client_ip) {
  return gateway_->handle(call, client_ip);
}

net::Response Trustee::kbs(const Call& call) {
  std::string_view path = call.path;
  if (take_segment(path) != "kbs" || take_segment(path) != "v0") return net::Response::empty(404);
  return broker_->handle({call.head, path, call.body, call.now, call.pending});
}

net::Response Trustee::attestation_service(const Call& call) { return service_api_->handle(call); }

net::Task<> Trustee::stop() {
  if (gpu_documents_) (void)co_await gpu_documents_->stop();
  if (gpu_remote_) (void)co_await gpu_remote_->stop();
  co_return co_await collateral_->stop();
}

}  // namespace cairn::trustee
