// GPU evidence as `cairn verify` judges it: alone, with a nonce of the caller's, or beside a quote, whose report data
// is the nonce.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/verify/fetch.h"
#include "evidence/nvidia/verify.h"

namespace cairn::cli {

struct GpuOptions {
  // Bundles {"rims", "ocsp"}, answers of the RIM service {"id", "rim"}, or manifests in files named ID.xml or
  // ID.swidtag.
  std::vector<std::filesystem::path> collateral;
  std::vector<std::filesystem::path> device_roots, rim_roots;  // trusted beside NVIDIA's and marked as simulated
  std::filesystem::path policy;                                // JSON, evidence/nvidia/verify.h
  std::string nonce;                                           // hex, 32 bytes; of evidence without a quote
};
struct GpuSetup {
  explicit GpuSetup(nvidia::TrustRoots trusted) : roots(std::move(trusted)), verifier(roots) {}
  nvidia::TrustRoots roots;
  nvidia::Verifier verifier;
  nvidia::Policy policy;
  nvidia::Collateral collateral;
  std::optional<nvidia::Nonce> nonce;
  std::optional<FetchOptions> fetch;  // what judges in place of documents, or where those come from that `collateral`
                                      // lacks; absent: nothing is asked
};
// Given documents, others are fetched only from services that are named. conflict: a remote verifier besides documents,
// or offline.
[[nodiscard]] Result<GpuSetup> read_gpu_setup(const GpuOptions& options, const FetchOptions& fetch);

// GPU evidence that stands alone, in any of its shapes; nullopt where `bytes` are something else.
[[nodiscard]] std::optional<Json> find_gpu_evidence(ByteView bytes);

struct GpuJudgement {
  nvidia::Verdict verdict;
  [[nodiscard]] bool affirming() const { return verdict.affirming(); }
};
// malformed where the evidence cannot be read; the errors of a service that gave no answer.
[[nodiscard]] Result<GpuJudgement> judge_gpu(const Json& evidence, GpuSetup& setup,
                                             const std::optional<nvidia::Nonce>& nonce, Time at);

void print(std::ostream& out, const std::string& file, const GpuJudgement& judgement, Time at);
[[nodiscard]] Json to_json(const std::string& file, const GpuJudgement& judgement, Time at);
// The devices alone, below whatever they belong to.
void print_devices(std::ostream& out, const nvidia::Verdict& verdict);

}  // namespace cairn::cli
