#include "cli/verify/gpu.h"

#include <algorithm>
#include <iomanip>
#include <ostream>

#include "base/encoding.h"
#include "base/file.h"
#include "cli/verify/input.h"
#include "evidence/nvidia/claims.h"
#include "evidence/nvidia/limits.h"

namespace cairn::cli {
namespace {

Result<void> add_roots(const std::vector<std::filesystem::path>& files, std::vector<nvidia::TrustRoot>& out) {
  for (const auto& file : files) {
    CAIRN_TRY(const Bytes certificate, read_file(file, nvidia::kMaxChainPem));
    auto root = nvidia::trust_root(file.stem().string(), certificate);
    if (!root) return fail(std::move(root.error()).in(file.string()));
    if (root->simulated) out.push_back(*std::move(root));
  }
  return {};
}

// A bundle, one answer of the RIM service, or a manifest named by its file.
Result<void> add_documents(const std::filesystem::path& file, nvidia::Collateral& out) {
  CAIRN_TRY(const Bytes bytes, read_file(file, nvidia::kMaxBundleJson));
  const std::string_view text = as_text(bytes);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '<') {
    out.rims[file.stem().string()] = bytes;
    return {};
  }
  CAIRN_TRY(const Json json, parse_json(text, {.bytes = nvidia::kMaxBundleJson, .depth = 8}));
  if (json.is_object() && json.contains("id") && json.contains("rim")) {
    if (!json["id"].is_string() || !json["rim"].is_string()) return fail(ErrorCode::malformed, "$.rim", "not text");
    CAIRN_TRY(out.rims[json["id"].get<std::string>()], from_base64(json["rim"].get<std::string>()));
    return {};
  }
  CAIRN_TRY(nvidia::Collateral more, nvidia::parse_collateral(text));
  out.rims.merge(more.rims);
  out.ocsp.merge(more.ocsp);
  return {};
}

// Whether a device's findings have one of these.
bool any_of(const nvidia::Verdict& verdict, std::initializer_list<nvidia::Failure> failures) {
  return std::ranges::any_of(verdict.devices, [&](const nvidia::DeviceVerdict& d) {
    return std::ranges::any_of(
        d.findings, [&](const nvidia::Finding& f) { return std::ranges::find(failures, f.failure) != failures.end(); });
  });
}

Result<GpuJudgement> judge_remotely(const nvidia::Evidence& evidence, GpuSetup& setup, const nvidia::Options& options) {
  GpuJudgement out{setup.verifier.verify_remote(evidence, {}, options, setup.policy)};
  auto requests = nvidia::nras_requests(evidence, out.verdict);
  if (requests.empty()) return out;  // not authentic, whatever anybody says
  auto said = ask_nras(std::move(requests), *setup.fetch, options.time);
  if (!said) return fail(std::move(said.error()).in("the remote service gave no verdict"));
  return GpuJudgement{setup.verifier.verify_remote(evidence, *said, options, setup.policy)};
}

void print_findings(std::ostream& out, const std::vector<nvidia::Finding>& findings, std::string_view indent) {
  for (const std::string& line : nvidia::errors(findings)) out << indent << "- " << line << '\n';
}

void print_device(std::ostream& out, const nvidia::DeviceVerdict& d) {
  out << "  " << std::left << std::setw(14) << d.label << (d.verified() ? "verified" : "NOT VERIFIED") << '\n';
  if (d.authentic) {
    const auto& a = *d.authentic;
    const auto fact = [&](std::string_view label, const std::string& text) {
      out << "    " << std::left << std::setw(12) << label << text << '\n';
    };
    fact("model", a.identity.hwmodel + ", device " + a.identity.ueid);
    fact("root", a.root_name + (a.simulated ? " (SIMULATED)" : ""));
    if (!a.facts.driver_version.empty()) fact("driver", a.facts.driver_version);
    fact("firmware", a.facts.firmware_version + ", FWID " + hex(a.identity.fwid).substr(0, 16));
    for (const nvidia::RimFacts* rim : {&a.driver, &a.firmware})
      if (!rim->id.empty())
        fact("manifest", rim->id + (rim->enrolled             ? " (the policy's own values)"
                                    : rim->signature_verified ? ", signed, until " + rfc3339(rim->chain->not_after)
                                                              : " (not verified)"));
    if (a.remote.is_null())
      fact("measured",
           std::to_string(a.matched) + " golden values match, " + std::to_string(a.mismatches.size()) + " differ");
    else
      fact("measured", a.compared ? "as golden, says the remote service" : "not as golden, or not judged");
  }
  print_findings(out, d.findings, "    ");
}

}  // namespace

Result<GpuSetup> read_gpu_setup(const GpuOptions& o, const FetchOptions& fetch) {
  nvidia::TrustRoots roots = nvidia::nvidia_roots();
  CAIRN_CHECK(add_roots(o.device_roots, roots.device));
  CAIRN_CHECK(add_roots(o.rim_roots, roots.rim));
  GpuSetup out(std::move(roots));
  out.policy.allow_simulated = !o.device_roots.empty() || !o.rim_roots.empty();
  if (!o.policy.empty()) {
    CAIRN_TRY(const std::string text, read_text(o.policy));
    CAIRN_TRY(const Json json, parse_json(text));
    auto policy = nvidia::parse_policy(json);
    if (!policy) return fail(std::move(policy.error()).in(o.policy.string()));
    out.policy = *std::move(policy);
    const auto heard = fetch.nras.empty() ? Result<void>() : nvidia::check_remote_policy(out.policy);
    if (!heard) return fail(Error(heard.error()).in(o.policy.string()));
  }
  for (const auto& file : o.collateral)
    if (auto added = add_documents(file, out.collateral); !added)
      return fail(std::move(added.error()).in(file.string()));
  const bool named = !fetch.rim_service.empty() || !fetch.ocsp.empty();
  if (!fetch.nras.empty() && (fetch.offline || named || !o.collateral.empty() || !o.rim_roots.empty()))
    return fail(ErrorCode::conflict, "--nras", "judges with documents of its own, and never offline");
  if (o.collateral.empty() || named) out.fetch = fetch;
  if (o.nonce.empty()) return out;
  const auto nonce = from_hex(o.nonce).and_then([](const Bytes& b) { return nvidia::Nonce::from(b); });
  if (!nonce) return fail(ErrorCode::invalid_argument, "--nonce", "must be 32 bytes of hex");
  out.nonce = *nonce;
  return out;
}

std::optional<Json> find_gpu_evidence(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || (text[first] != '{' && text[first] != '[')) return std::nullopt;
  auto json = parse_json(text, {.bytes = kMaxEvidence, .depth = 64});
  if (!json || (json->is_object() && json->contains("quote")) || !nvidia::looks_like_evidence(*json))
    return std::nullopt;
  return std::optional<Json>(std::in_place, *std::move(json));
}

Result<GpuJudgement> judge_gpu(const Json& evidence, GpuSetup& setup, const std::optional<nvidia::Nonce>& nonce,
                               Time at) {
  CAIRN_TRY(const nvidia::Evidence parsed, nvidia::parse_evidence(evidence));
  const nvidia::Options options{.time = at, .nonce = nonce};
  if (setup.fetch && !setup.fetch->nras.empty()) return judge_remotely(parsed, setup, options);
  GpuJudgement out{setup.verifier.verify(parsed, setup.collateral, options, setup.policy)};
  using enum nvidia::Failure;
  if (!setup.fetch || !any_of(out.verdict, {rim_absent, ocsp_absent, ocsp_stale})) return out;
  const auto fetched = [&](bool fresh) -> Result<GpuJudgement> {
    nvidia::Collateral have = setup.collateral;
    have.ocsp.clear();  // what is given may have ended
    auto all = fetch_gpu_collateral(parsed, setup.verifier, setup.roots, std::move(have), *setup.fetch, at, fresh);
    if (!all) return fail(std::move(all.error()).in("no documents to judge GPUs by (--gpu-collateral gives them)"));
    for (const auto& [id, answer] : setup.collateral.ocsp) all->ocsp.try_emplace(id, answer);
    return GpuJudgement{setup.verifier.verify(parsed, *all, options, setup.policy)};
  };
  CAIRN_TRY(out, fetched(false));
  // What was kept may have been issued anew since.
  if (setup.fetch->offline || !any_of(out.verdict, {measurement, security_version, rim_version})) return out;
  return fetched(true);
}

void print_devices(std::ostream& out, const nvidia::Verdict& verdict) {
  for (const auto& d : verdict.devices) print_device(out, d);
  if (verdict.ppcie) out << "  + the devices are one protected PCIe machine: eight GPUs, four locked switches\n";
  print_findings(out, verdict.findings, "  ");
}

void print(std::ostream& out, const std::string& file, const GpuJudgement& j, Time at) {
  const nvidia::Verdict& v = j.verdict;
  out << file << ": " << (j.affirming() ? "AFFIRMING: " : "NOT AFFIRMING: ") << v.verified_gpus << " of " << v.gpus
      << " GPUs and " << v.verified_switches << " of " << v.switches << " switches verified"
      << (v.simulated ? " [SIMULATED: a root is not NVIDIA's]" : "") << '\n';
  out << "  " << std::left << std::setw(14) << "checked at" << rfc3339(at) << '\n';
  print_devices(out, v);
}

Json to_json(const std::string& file, const GpuJudgement& j, Time at) {
  Json out = nvidia::set_claims(j.verdict);
  out["file"] = file;
  out["affirming"] = j.affirming();
  out["checked_at"] = rfc3339(at);
  return out;
}

}  // namespace cairn::cli
