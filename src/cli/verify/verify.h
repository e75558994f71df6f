// `cairn verify`: judges quotes, evidence and tokens in files, or a whole case file of vectors. docs/verify.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "cli/verify/fetch.h"
#include "cli/verify/gpu.h"

namespace CLI {
class App;
}

namespace cairn::cli {

// Exit codes of the verb.
inline constexpr int kAffirming = 0;     // everything given is authentic and within policy; every case as wanted
inline constexpr int kUnreadable = 1;    // an input, or something it is to be judged by, cannot be read
inline constexpr int kNotAffirming = 2;  // something was refused; a case differs

struct VerifyOptions {
  std::vector<std::filesystem::path> files;
  std::filesystem::path cases;       // instead of files: a case file in the format of data/tdx
  std::filesystem::path collateral;  // a bundle; else the evidence's own, else it is fetched
  FetchOptions fetch;
  GpuOptions gpu;
  std::vector<std::string> roots;                  // FILE or NAME=FILE, trusted beside Intel's and marked as simulated
  std::vector<std::filesystem::path> token_roots;  // certificates or key sets of token issuers
  std::string at;                                  // RFC 3339; empty: now
  std::filesystem::path policy;                    // JSON, evidence/tdx/policy.h
  std::filesystem::path reference_values;          // JSON {"mrtd":[hex], "rtmr0":[hex], ...}
  std::string report_data;                         // hex, zero-padded to 64 bytes
  bool flag_expired = false;                       // expired collateral is a finding of the policy, not a failure
  std::int64_t grace_seconds = 0;
  bool identities = false;  // show PPID and platform instance id instead of their digests
  bool json = false;
};

// Adds the verb to `app`; its run sets `exit_code`.
void add_verify(CLI::App& app, int& exit_code);
// Verdicts go to `out`, why something could not be read to `err`.
[[nodiscard]] int run_verify(const VerifyOptions& options, std::ostream& out, std::ostream& err);

}  // namespace cairn::cli
