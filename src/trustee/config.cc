#include "trustee/config.h"

#include "base/file.h"
#include "trustee/limits.h"

namespace cairn::trustee {
namespace {

std::int64_t ranged(Fields& f, std::string_view key, std::int64_t fallback, std::int64_t least, std::int64_t most) {
  const auto value = f.value_or<std::int64_t>(key, fallback);
  if (value >= least && value <= most) return value;
  f.problem(key, "must be from " + std::to_string(least) + " to " + std::to_string(most));
  return fallback;
}

std::vector<std::filesystem::path> paths(Fields& f, std::string_view key) {
  std::vector<std::filesystem::path> out;
  for (auto& text : f.value_or<std::vector<std::string>>(key, {})) out.emplace_back(std::move(text));
  return out;
}

void parse_tls(Fields f, Config& out) {
  out.tls_certificate = f.value_or<std::string>("certificate", "");
  out.tls_private_key = f.value_or<std::string>("private_key", "");
  if (out.tls_certificate.empty() != out.tls_private_key.empty())
    f.problem(out.tls_certificate.empty() ? "certificate" : "private_key",
              "certificate and private_key are given together");
  f.done();
}

void parse_kbs(Fields f, Config& out) {
  out.kbs_listen = f.value_or<std::string>("listen", "");
  out.session_minutes = ranged(f, "timeout", 5, 1, 1440);
  out.body_mib = ranged(f, "payload_request_size", 2, 1, limits::kBody >> 20);
  out.trusted_certs = paths(f, "trusted_certs_paths");
  out.extra_teekey_paths = f.value_or<std::vector<std::string>>("extra_teekey_paths", {});
  for (const auto& path : out.extra_teekey_paths)
    if (!path.starts_with('/')) f.problem("extra_teekey_paths", "\"" + path + "\" is not a JSON pointer such as /a/b");
  f.done();
}

void parse_token(Fields f, Config& out) {
  const auto type = f.value_or<std::string>("type", "auto");
  if (type == "Simple")
    out.token_kind = as::TokenKind::simple;
  else if (type == "Ear")
    out.token_kind = as::TokenKind::ear;
  else if (type != "auto")
    f.problem("type", "must be \"auto\", \"Simple\" or \"Ear\"");
  const auto x5c = f.value_or<std::string>("x5c", "base64url");
  if (x5c == "base64")
    out.token.x5c = crypto::X5cForm::base64;
  else if (x5c != "base64url")
    f.problem("x5c", "must be \"base64url\" or \"base64\"");
  out.token.duration_seconds = 60 * ranged(f, "duration_min", 5, 1, 1440);
  out.token.issuer = f.value_or("issuer_name", out.token.issuer);
  out.token.developer = f.value_or("developer_name", out.token.developer);
  out.token.build = f.value_or("build_name", out.token.build);
  out.token.profile = f.value_or("profile_name", out.token.profile);
  f.done();
}

void parse_as(Fields f, Config& out) {
  out.as_listen = f.value_or<std::string>("listen", "");
  f.done();
}

// An http(s) address; "" where absent.
std::string address(Fields& f, std::string_view key) {
  auto text = f.value_or<std::string>(key, "");
  if (text.empty()) return text;
  if (const auto url = net::Url::parse(text); !url || url->scheme == "http+unix")
    f.problem(key, "\"" + text + "\" is not an address: " + (url ? "it is no http or https" : url.error().message));
  return text;
}

void parse_collateral_service(Fields& f, Config& out) {
  if (const auto url = f.value_or<std::string>("pccs_url", ""); !url.empty()) out.pccs_urls.push_back(url);
  for (auto& url : f.value_or<std::vector<std::string>>("pccs_urls", {})) out.pccs_urls.push_back(std::move(url));
  for (const auto& text : out.pccs_urls)
    if (const auto url = net::Url::parse(text); !url)
      f.problem("pccs_url", "\"" + text + "\" is not an address: " + url.error().message);
  out.qcnl = f.value_or<std::string>("qcnl", "");
  const auto update = f.value_or<std::string>("tcb_update", "");
  if (update == "early" || update == "standard")
    out.tcb_update = update == "early" ? device::TcbUpdate::early : device::TcbUpdate::standard;
  else if (!update.empty())
    f.problem("tcb_update", "must be \"standard\" or \"early\"");
  out.pccs_ca = f.value_or<std::string>("pccs_ca", "");
  out.pccs_insecure = !f.value_or("pccs_check_certificate", true);
  out.collateral_refresh_hours = ranged(f, "collateral_refresh_hours", device::kRefreshAfter / 3600, 1, 24 * 30);
  out.collateral_expire_hours = ranged(f, "collateral_expire_hours", 0, 0, 24 * 365);
}

void parse_tdx(Fields f, Config& out) {
  f.objects("extra_roots", [&](Fields& root) {
    out.simulated_roots.emplace_back(root.required<std::string>("path"));
    if (!root.required<bool>("simulated"))
      root.problem("simulated", "must be true: only Intel's root, which is built in, stands for genuine machines");
    root.done();
  });
  out.bundles = paths(f, "bundles");
  parse_collateral_service(f, out);
  out.accept_expired_collateral = f.value_or("accept_expired_collateral", false);
  out.min_tcb_eval_num = f.value_or<std::uint32_t>("min_tcb_eval_num", 0);
  f.done();
}

// Trustee's own words, which write the type in capitals, and ours.
void parse_gpu_services(Fields& f, Config& out) {
  const auto type = f.value_or<std::string>("type", "local");
  out.gpu_remote = type == "remote" || type == "Remote";
  if (!out.gpu_remote && type != "local" && type != "Local") f.problem("type", "must be \"local\" or \"remote\"");
  out.gpu_rim_url = address(f, "rim_url");
  out.gpu_ocsp_url = address(f, "ocsp_url");
  out.gpu_verifier_url = address(f, "verifier_url");
  out.gpu_rim_cache_hours = ranged(f, "rim_cache_hours", 24, 1, 24);
  out.gpu_service_key = f.value_or<std::string>("service_key_file", "");
  out.gpu_service_ca = f.value_or<std::string>("service_ca", "");
  if (!out.gpu_remote && !out.gpu_verifier_url.empty()) f.problem("verifier_url", "is asked only with type \"remote\"");
  if (!out.gpu_service_key.empty() && out.gpu_rim_url.starts_with("http:"))
    f.problem("rim_url", "must be https: the service key is sent there");
  if (!out.gpu_remote) return;
  const std::pair<const char*, bool> documents[] = {{"rim_url", !out.gpu_rim_url.empty()},
                                                    {"ocsp_url", !out.gpu_ocsp_url.empty()},
                                                    {"bundles", !out.gpu_bundles.empty()},
                                                    {"extra_roots (rim)", !out.gpu_rim_roots.empty()}};
  for (const auto& [key, given] : documents)
    if (given) f.problem(key, "is of no use with type \"remote\", whose service has documents of its own");
}

void parse_nvidia(Fields f, Config& out) {
  f.objects("extra_roots", [&](Fields& root) {
    const auto of = root.required<std::string>("of");
    if (of != "device" && of != "rim") root.problem("of", "is neither \"device\" nor \"rim\"");
    (of == "rim" ? out.gpu_rim_roots : out.gpu_device_roots).emplace_back(root.required<std::string>("path"));
    if (!root.required<bool>("simulated"))
      root.problem("simulated", "must be true: only NVIDIA's roots, which are built in, stand for genuine devices");
    root.done();
  });
  out.gpu_bundles = paths(f, "bundles");
  out.gpu_policy = f.value_or<std::string>("policy", "");
  parse_gpu_services(f, out);
  f.done();
}

void parse_verifier(Fields f, Config& out) {
  parse_tdx(f.object("tdx"), out);
  parse_nvidia(f.object("nvidia"), out);
  Fields sample = f.object("sample");
  out.sample = sample.value_or("enabled", false);
  sample.done();
  f.done();
}

void parse_audit(Fields f, Config& out) {
  out.audit.max_records = ranged(f, "max_records", 1000, 1, 10'000'000);
  out.audit.retention_days = ranged(f, "retention_days", 3, 1, 3650);
  out.audit.cleanup_interval_hours = ranged(f, "cleanup_interval_hours", 24, 1, 8760);
  out.audit.heartbeat_timeout_minutes = ranged(f, "heartbeat_timeout_minutes", 10, 1, 1440);
  f.done();
}

}  // namespace

Result<Config> parse_config(const Json& document) {
  Problems problems;
  Fields f(document, "$", problems);
  Config out;
  out.data = f.value_or<std::string>("data", out.data.string());
  out.listen = f.value_or("listen", out.listen);
  out.cors = f.value_or("cors", true);
  parse_tls(f.object("tls"), out);
  Fields admin = f.object("admin");
  out.admin_public_key = admin.value_or<std::string>("auth_public_key", "");
  admin.done();
  parse_kbs(f.object("kbs"), out);
  parse_as(f.object("attestation_service"), out);
  parse_token(f.object("attestation_token"), out);
  parse_verifier(f.object("verifier"), out);
  parse_audit(f.object("audit"), out);
  f.done();
  CAIRN_CHECK(problems.result());
  return out;
}

Result<Config> load_config(const std::filesystem::path& file) {
  CAIRN_TRY(const std::string text, read_text(file, kConfigFileMax));
  CAIRN_TRY(const Json document, parse_toml(text, file.string()));
  auto config = parse_config(document);
  if (!config) return fail(std::move(config.error()).in(file.string()));
  return config;
}

}  // namespace cairn::trustee
