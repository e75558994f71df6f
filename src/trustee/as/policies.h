// Attestation policies: Rego files in a folder, compiled once and read again when a file has changed.
// spec/trustee.md §4.5, §6.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/json.h"
#include "policy/policy.h"
#include "trustee/as/rejection.h"
#include "trustee/rvps/reference_values.h"

namespace cairn::trustee::as {

// A policy and the identity of its text.
struct LoadedPolicy {
  policy::Policy compiled;
  std::string id;
  std::string sha384_hex;
};

// [A-Za-z0-9_-]{1,128}
[[nodiscard]] bool valid_policy_id(std::string_view id);

// Compiles a policy as this Trustee runs it: with the built-in query_reference_value.
[[nodiscard]] Result<policy::Policy> compile_policy(const std::string& name, const std::string& text);

// Files <folder>/<id>.rego. Any thread.
class PolicyStore {
 public:
  // Writes `default` where it is missing (the folder is made).
  [[nodiscard]] static Result<std::unique_ptr<PolicyStore>> open(std::filesystem::path folder,
                                                                 std::string_view default_text);

  // invalid_argument for a bad id; malformed where the text does not compile: then nothing is written.
  [[nodiscard]] Result<void> set(const std::string& id, const std::string& text);
  [[nodiscard]] Result<std::string> get(const std::string& id) const;  // the text; not_found
  [[nodiscard]] Result<void> remove(const std::string& id);            // `default` stays: permission_denied
  struct Entry {
    std::string id;
    Digest<48> sha384;
  };
  [[nodiscard]] Result<std::vector<Entry>> list() const;
  [[nodiscard]] Result<std::shared_ptr<const LoadedPolicy>> load(const std::string& id);

 private:
  explicit PolicyStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
  [[nodiscard]] std::filesystem::path file(const std::string& id) const { return folder_ / (id + ".rego"); }

  std::filesystem::path folder_;
  std::mutex mutex_;
  struct Cached {
    std::filesystem::file_time_type changed;
    std::uintmax_t size;
    std::shared_ptr<const LoadedPolicy> policy;
  };
  std::map<std::string, Cached> cache_;
};

// What evaluations share: reference values as a document and as a function.
class PolicyData {
 public:
  explicit PolicyData(const rvps::Store& store) : store_(&store) {}
  struct View {
    std::shared_ptr<const rvps::Snapshot> values;
    policy::Document data;  // {"reference": values}
  };
  [[nodiscard]] Result<std::shared_ptr<const View>> view(Time now);

 private:
  const rvps::Store* store_;
  std::mutex mutex_;
  std::shared_ptr<const View> view_;
};

// The verdict of one policy on one document.
struct PolicyVerdict {
  std::optional<bool> allow;           // rule `allow`; nullopt where the policy has none
  Json trust_vector = Json::object();  // claims that the policy set, with their EAR names ("file-system")
  std::vector<Reason> reasons;         // rule `reasons`, which is ours: why not
};
enum class Rules { allow, trust_vector };
// Simple tokens ask for `allow`, EARs for the eight claims. Rejections: policy_denied where a rule's value has the
// wrong type or its evaluation fails (reason "policy_error"), and where an EAR policy sets no claim.
[[nodiscard]] Outcome<PolicyVerdict> evaluate(const LoadedPolicy& policy, Rules rules, const Json& input,
                                              const PolicyData::View& data, Time now);

}  // namespace cairn::trustee::as
