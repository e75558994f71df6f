// `cairn policy eval|check|test|fmt`: write, try out and test policies. docs/policy.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace cairn::cli {

inline constexpr int kPolicyOk = 0;
inline constexpr int kPolicyBroken = 1;    // a file cannot be read, a policy does not compile, an evaluation fails
inline constexpr int kPolicyNegative = 2;  // undefined or false; a test failed; a file is not formatted

struct PolicyOptions {
  std::vector<std::filesystem::path> files;  // .rego texts; folders are searched for them
  std::filesystem::path input;               // JSON
  std::filesystem::path data;                // JSON object
  std::filesystem::path reference;           // JSON object: what query_reference_value(name) answers
  std::string query = "data.policy.allow";
  std::string at;  // RFC 3339; empty: now
  bool explain = false;
  bool strict = false;  // errors inside built-ins end the evaluation
  bool v0 = false;
  bool write = false;  // fmt: rewrite the files
  bool list = false;   // fmt: only name the files that would change
};

// Adds the verb to `app`; its run sets `exit_code`.
void add_policy(CLI::App& app, int& exit_code);
[[nodiscard]] int run_policy_eval(const PolicyOptions& options, std::ostream& out, std::ostream& err);
[[nodiscard]] int run_policy_check(const PolicyOptions& options, std::ostream& out, std::ostream& err);
[[nodiscard]] int run_policy_test(const PolicyOptions& options, std::ostream& out, std::ostream& err);
[[nodiscard]] int run_policy_format(const PolicyOptions& options, std::ostream& out, std::ostream& err);

}  // namespace cairn::cli
