#include "cli/verify/verify.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "cli/verify/report.h"
#include "cli/verify/token.h"

namespace cairn::cli {
namespace {

// A system clock that says less than this is wrong; `--at` may ask for any time.
constexpr Time kClockFloor{1793491200};  // 2026-11-01

struct Setup {
  std::vector<tdx::TrustRoot> roots;
  tdx::Verifier verifier;
  tdx::Options options;
  tdx::Policy policy;
  tdx::Collateral collateral;
  token::Trust tokens;
  bool has_collateral = false;
  GpuSetup gpu;
};

Result<Time> verification_time(const std::string& at) {
  if (!at.empty()) return parse_rfc3339(at);
  const Time t = now();
  if (t < kClockFloor)
    return fail(ErrorCode::invalid_argument, "the clock says " + rfc3339(t) + ", which cannot be; set it, or use --at");
  return t;
}

// "NAME=FILE" or "FILE".
Result<tdx::TrustRoot> read_root(const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::filesystem::path path = equals == std::string::npos ? text : text.substr(equals + 1);
  CAIRN_TRY(const Bytes certificate, read_file(path, kSmallFileMax));
  auto root = tdx::trust_root(equals == std::string::npos ? path.stem().string() : text.substr(0, equals), certificate);
  return root ? root : fail(std::move(root.error()).in(path.string()));
}

Result<std::vector<tdx::TrustRoot>> read_roots(const std::vector<std::string>& named) {
  std::vector<tdx::TrustRoot> out = {tdx::intel_root()};
  for (const std::string& text : named) {
    CAIRN_TRY(tdx::TrustRoot root, read_root(text));
    if (root.simulated) out.push_back(std::move(root));
  }
  return out;
}

Result<tdx::Policy> read_policy(const VerifyOptions& o) {
  tdx::Policy out;
  out.allow_simulated = !o.roots.empty();  // who names a root means it; a policy file has the last word
  if (!o.policy.empty()) {
    CAIRN_TRY(const std::string text, read_text(o.policy));
    CAIRN_TRY(const Json json, parse_json(text));
    CAIRN_TRY(out, tdx::parse_policy(json));
  }
  if (!o.reference_values.empty()) {
    CAIRN_TRY(const std::string text, read_text(o.reference_values));
    CAIRN_CHECK(add_reference_values(text, out));
  }
  if (!o.report_data.empty()) {
    CAIRN_TRY(const Bytes value, from_hex(o.report_data));
    if (value.size() > ReportData::length)
      return fail(ErrorCode::invalid_argument, "--report-data has more than 64 bytes");
    out.report_data.emplace();
    std::ranges::copy(value, out.report_data->begin());
  }
  return out;
}

Result<Setup> set_up(const VerifyOptions& o) {
  CAIRN_TRY(const std::vector<tdx::TrustRoot> roots, read_roots(o.roots));
  CAIRN_TRY(GpuSetup gpu, read_gpu_setup(o.gpu, o.fetch));
  Setup out{.roots = roots,
            .verifier = tdx::Verifier(roots),
            .options = {},
            .policy = {},
            .collateral = {},
            .tokens = {},
            .gpu = std::move(gpu)};
  CAIRN_TRY(out.options.time, verification_time(o.at));
  out.options.expiry = o.flag_expired ? tdx::Expiry::flag : tdx::Expiry::strict;
  out.options.grace_seconds = o.grace_seconds;
  CAIRN_TRY(out.policy, read_policy(o));
  CAIRN_TRY(out.tokens, read_token_trust(o.token_roots));
  if (!o.collateral.empty()) {
    CAIRN_TRY(const std::string text, read_text(o.collateral, tdx::kMaxBundle));
    auto collateral = tdx::parse_collateral(text);
    if (!collateral) return fail(std::move(collateral.error()).in(o.collateral.string()));
    out.collateral = *std::move(collateral);
    out.has_collateral = true;
  }
  return out;
}

Result<Judgement> judge_evidence(Evidence evidence, const FetchOptions& fetch, Setup& setup) {
  if (!setup.has_collateral && !evidence.collateral) {
    auto fetched = fetch_collateral(evidence.quote, setup.roots, fetch, setup.options.time);
    if (!fetched)
      return fail(std::move(fetched.error()).in("no collateral to judge it by (--collateral gives a bundle)"));
    evidence.collateral = *std::move(fetched);
  }
  return judge(evidence, setup.collateral, setup.verifier, setup.options, setup.policy, setup.gpu);
}

// What became of one file.
enum class Outcome { affirming, refused };

template <class J>
Outcome report(const J& judgement, const Json& json, const std::string& file, Time at, std::ostream* out, Json& all) {
  if (out)
    print(*out, file, judgement, at);
  else
    all.push_back(json);
  return judgement.affirming() ? Outcome::affirming : Outcome::refused;
}

// Verdicts go to `out`, or, where that is null, to `all`.
Result<Outcome> judge_file(const std::filesystem::path& file, const VerifyOptions& o, Setup& setup, std::ostream* out,
                           Json& all) {
  const Time at = setup.options.time;
  CAIRN_TRY(const Bytes bytes, read_file(file, kMaxEvidence));
  if (const auto token = find_token(bytes)) {
    const TokenJudgement j = judge_token(*token, setup.tokens, setup.policy, at);
    return report(j, to_json(file.string(), j, at), file.string(), at, out, all);
  }
  if (const auto devices = find_gpu_evidence(bytes)) {
    CAIRN_TRY(const GpuJudgement j, judge_gpu(*devices, setup.gpu, setup.gpu.nonce, at));
    return report(j, to_json(file.string(), j, at), file.string(), at, out, all);
  }
  CAIRN_TRY(Evidence evidence, parse_evidence(bytes));
  CAIRN_TRY(const Judgement j, judge_evidence(std::move(evidence), o.fetch, setup));
  return report(j, to_json(file.string(), j, at, o.identities), file.string(), at, out, all);
}

int run_case_file(const VerifyOptions& o, std::ostream& out, std::ostream& err) {
  const Result<std::vector<CaseResult>> cases = run_cases(o.cases);
  if (!cases) {
    err << o.cases.string() << ": " << cases.error().text() << '\n';
    return kUnreadable;
  }
  if (o.json)
    out << to_json(*cases).dump(1) << '\n';
  else
    print(out, *cases);
  return std::ranges::all_of(*cases, &CaseResult::as_wanted) ? kAffirming : kNotAffirming;
}

}  // namespace

int run_verify(const VerifyOptions& o, std::ostream& out, std::ostream& err) {
  if (!o.cases.empty()) return run_case_file(o, out, err);
  Result<Setup> setup = set_up(o);
  if (!setup) {
    err << setup.error().text() << '\n';
    return kUnreadable;
  }
  bool unreadable = false, refused = false;
  Json all = Json::array();
  for (const std::filesystem::path& file : o.files) {
    const Result<Outcome> done = judge_file(file, o, *setup, o.json ? nullptr : &out, all);
    if (!done) err << file.string() << ": " << done.error().text() << '\n';
    const bool rejected = done ? *done == Outcome::refused : done.error().code == ErrorCode::evidence_rejected;
    refused |= rejected;
    unreadable |= !done && !rejected;
  }
  if (o.json) out << all.dump(1) << '\n';
  return refused ? kNotAffirming : unreadable ? kUnreadable : kAffirming;
}

void add_verify(CLI::App& app, int& exit_code) {
  CLI::App* verb =
      app.add_subcommand("verify", "Judge a quote, attestation evidence or a token; exit 0 affirming, 2 not affirming");
  auto o = std::make_shared<VerifyOptions>();
  auto* files = verb->add_option("FILE", o->files, "Quote (binary, hex, base64), evidence JSON, or token")
                    ->check(CLI::ExistingFile);
  auto* cases = verb->add_option("--cases", o->cases, "Run a case file of vectors instead")->excludes(files);
  verb->add_option("--collateral", o->collateral, "Collateral bundle to judge by");
  verb->add_option("--root", o->roots, "Trust this root certificate too (FILE or NAME=FILE); its evidence is simulated")
      ->allow_extra_args(false);
  verb->add_option("--token-root", o->token_roots,
                   "Authority certificate (PEM) or key set (JWKS) of the tokens' issuer; may be repeated")
      ->check(CLI::ExistingFile)
      ->allow_extra_args(false);
  verb->add_option("--at", o->at, "Time of the verdict, RFC 3339 (default: now)");
  verb->add_option("--policy", o->policy, "Policy JSON (default: the strict policy of the product)");
  verb->add_option("--reference-values", o->reference_values, "Expected mrtd and rtmr0 to rtmr3, JSON");
  verb->add_option("--nonce", o->gpu.nonce, "What GPU evidence without a quote must answer, hex, 32 bytes");
  verb->add_option("--gpu-collateral", o->gpu.collateral,
                   "GPU documents: a bundle of RIMs and OCSP answers, a RIM service's answer, or a RIM in ID.xml")
      ->check(CLI::ExistingFile)
      ->allow_extra_args(false);
  verb->add_option("--gpu-root", o->gpu.device_roots, "Trust this root of GPU certificates too; they are simulated")
      ->check(CLI::ExistingFile)
      ->allow_extra_args(false);
  verb->add_option("--rim-root", o->gpu.rim_roots, "Trust this root of RIM signers too; they are simulated")
      ->check(CLI::ExistingFile)
      ->allow_extra_args(false);
  verb->add_option("--gpu-policy", o->gpu.policy, "Policy JSON for GPUs (default: the strict policy of the product)");
  verb->add_option("--report-data", o->report_data, "Expected report data, hex, zero-padded to 64 bytes");
  verb->add_option("--grace", o->grace_seconds, "Seconds past its expiry that collateral is still taken")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--flag-expired", o->flag_expired,
                 "Finish the verdict on expired collateral and leave it to the policy");
  verb->add_flag("--identities", o->identities, "Show what identifies the machine instead of its digest");
  verb->add_option("--pccs", o->fetch.services,
                   "Collateral service (PCS or PCCS address) to ask where no bundle is given")
      ->allow_extra_args(false);
  verb->add_option("--rim-service", o->fetch.rim_service,
                   "Where GPU reference manifests come from; an id is appended (default: NVIDIA's service)");
  verb->add_option("--ocsp", o->fetch.ocsp, "Responder for the certificates of GPUs (default: NVIDIA's)");
  verb->add_option("--nras", o->fetch.nras,
                   "NVIDIA's remote service (https://nras.attestation.nvidia.com/v4/attest) judges GPUs' measurements");
  verb->add_option("--qcnl", o->fetch.qcnl,
                   "qcnl configuration file (default: QCNL_CONF_PATH, /etc/sgx_default_qcnl.conf)");
  verb->add_flag("--early", o->fetch.early, "Ask for the newest TCB data set (update=early)");
  verb->add_flag("--offline", o->fetch.offline, "Fetch nothing: a bundle, or what the cache folder has");
  verb->add_flag("--json", o->json, "Machine-readable output");
  verb->callback([o, files, cases, &exit_code] {
    if (files->empty() && cases->empty()) throw CLI::RequiredError("FILE or --cases");
    exit_code = run_verify(*o, std::cout, std::cerr);
  });
}

}  // namespace cairn::cli
