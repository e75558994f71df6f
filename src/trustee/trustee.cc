#include "trustee/trustee.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>

#include <cerrno>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "trustee/as/sample_verifier.h"
#include "trustee/as/tdx_verifier.h"

namespace cairn::trustee {
namespace {

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

Result<std::unique_ptr<as::TeeVerifier>> tdx(const Config& config) {
  as::TdxOptions options;
  options.roots.push_back(tdx::intel_root());
  for (const auto& file : config.simulated_roots) {
    CAIRN_TRY(const Bytes certificate, read_file(file, tdx::kMaxChain));
    CAIRN_TRY(auto root, tdx::trust_root(file.stem().string(), certificate));
    spdlog::warn("SIMULATED machines are accepted: root {} of {} (verdicts say \"simulated\": true)",
                 hex(root.key_id().view()).substr(0, 16), file.string());
    options.roots.push_back(std::move(root));
  }
  if (config.bundles.empty())
    spdlog::warn("no collateral is configured (verifier.tdx.bundles): TDX quotes cannot be judged");
  if (config.accept_expired_collateral) spdlog::warn("EXPIRED collateral is accepted and becomes a claim");
  options.collateral = as::collateral_files(config.bundles);
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

Result<void> Trustee::open_service(const Config& config, Time now) {
  std::vector<std::unique_ptr<as::TeeVerifier>> verifiers;
  CAIRN_TRY(auto tdx_verifier, tdx(config));
  verifiers.push_back(std::move(tdx_verifier));
  if (config.sample) {
    spdlog::warn("the SAMPLE TEE is accepted: anyone can write its evidence");
    verifiers.push_back(as::sample_verifier());
    verifiers.push_back(as::sample_device_verifier());
  }
  const auto folder = config.data / "attestation-service";
  CAIRN_TRY(service_, as::AttestationService::open({folder, config.token_kind, config.token}, std::move(verifiers),
                                                   *references_, now));
  service_api_ = std::make_unique<as::Api>(*service_, *admin_);
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

Result<std::unique_ptr<Trustee>> Trustee::open(const Config& config, Time now) {
  auto out = std::unique_ptr<Trustee>(new Trustee());
  CAIRN_CHECK(make_dirs(config.data, 0700));
  CAIRN_TRY(out->lock_, lock_folder(config.data));
  CAIRN_CHECK(out->open_admin(config));
  CAIRN_CHECK(make_dirs(config.data / "attestation-service", 0700));
  CAIRN_TRY(out->references_, rvps::Store::open(config.data / "attestation-service" / "reference_values.json"));
  out->references_api_ = std::make_unique<rvps::Api>(*out->references_, *out->admin_);
  CAIRN_CHECK(out->open_service(config, now));
  CAIRN_CHECK(out->open_broker(config));
  const auto database = config.data / "gateway" / "app" / "data" / "trustee-gateway.db";
  CAIRN_TRY(out->audit_, gateway::Audit::open(database, config.audit, now));
  auto* self = out.get();
  gateway::Parts parts{[self](const Call& call) { return self->broker_->handle(call); },
                       [self](const Call& call) { return self->service_api_->handle(call); },
                       [self](const Call& call) { return self->references_api_->handle(call); }};
  out->gateway_ = std::make_unique<gateway::Gateway>(std::move(parts), *out->audit_, config.cors);
  return out;
}

net::Response Trustee::gateway(const Call& call, const std::string& client_ip) {
  return gateway_->handle(call, client_ip);
}

net::Response Trustee::kbs(const Call& call) {
  std::string_view path = call.path;
  if (take_segment(path) != "kbs" || take_segment(path) != "v0") return net::Response::empty(404);
  return broker_->handle({call.head, path, call.body, call.now});
}

net::Response Trustee::attestation_service(const Call& call) { return service_api_->handle(call); }

}  // namespace cairn::trustee
