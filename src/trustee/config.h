// Configuration of cairn-trustee: a TOML file and a few flags over it. docs/cairn-trustee.md describes every key.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "device/collateral/limits.h"
#include "device/collateral/qcnl.h"
#include "trustee/as/service.h"
#include "trustee/gateway/audit.h"

namespace cairn::trustee {

struct Config {
  std::filesystem::path data = "/opt/trustee";
  std::string listen = "0.0.0.0:8081";
  std::string kbs_listen;  // "": the key broker has no port of its own
  std::string as_listen;   // "": nor has the attestation service
  bool cors = true;
  std::filesystem::path tls_certificate, tls_private_key;  // both or none
  std::filesystem::path admin_public_key;                  // "": <data>/public.pub, made at first start

  std::int64_t session_minutes = 5;
  std::int64_t body_mib = 2;
  std::vector<std::filesystem::path> trusted_certs;  // authorities of other token issuers, PEM
  std::vector<std::string> extra_teekey_paths;

  as::TokenKind token_kind = as::TokenKind::by_form;
  as::TokenOptions token;

  std::vector<std::filesystem::path> simulated_roots;  // [[verifier.tdx.extra_roots]]
  std::vector<std::filesystem::path> bundles;
  std::vector<std::string> pccs_urls;  // tried in order
  std::filesystem::path qcnl;          // "": none
  std::optional<device::TcbUpdate> tcb_update;
  std::filesystem::path pccs_ca;  // PEM, trusted for the service's TLS certificate besides the system's
  bool pccs_insecure = false;
  std::int64_t collateral_refresh_hours = device::kRefreshAfter / 3600;
  std::int64_t collateral_expire_hours = 0;
  bool accept_expired_collateral = false;
  std::uint32_t min_tcb_eval_num = 0;
  bool sample = false;

  std::vector<std::filesystem::path> gpu_device_roots, gpu_rim_roots;  // [[verifier.nvidia.extra_roots]]
  std::vector<std::filesystem::path> gpu_bundles;
  std::filesystem::path gpu_policy;       // JSON, evidence/nvidia/verify.h; "": the strict defaults
  std::string gpu_rim_url, gpu_ocsp_url;  // "": such documents come from bundles alone
  std::int64_t gpu_rim_cache_hours = 24;
  bool gpu_remote = false;                // judged by the service at gpu_verifier_url instead of with documents
  std::string gpu_verifier_url;           // "": NVIDIA's
  std::filesystem::path gpu_service_key;  // sent to the RIM and the remote service; "": none
  std::filesystem::path gpu_service_ca;   // PEM, trusted for these services besides the system's

  gateway::AuditOptions audit;
};

// Every problem of the document at once; unknown keys are problems.
[[nodiscard]] Result<Config> parse_config(const Json& document);
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file);

}  // namespace cairn::trustee
