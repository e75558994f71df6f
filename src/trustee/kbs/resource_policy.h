// The resource policy: one Rego file that decides who gets what. spec/trustee.md §6.6.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "policy/policy.h"

namespace cairn::trustee::kbs {

// Releases to verdicts that are affirming under policy "default": strict where packaged upstream defaults are not.
[[nodiscard]] std::string_view default_resource_policy();

struct Decision {
  bool allow = false;
  std::vector<std::string> reasons;  // rule `reasons`, each "code: detail"; empty when allowed
};

// Any thread.
class ResourcePolicy {
 public:
  // Writes the default where `file` is missing.
  [[nodiscard]] static Result<std::unique_ptr<ResourcePolicy>> open(std::filesystem::path file);
  [[nodiscard]] Result<std::string> text() const;
  [[nodiscard]] Result<void> set(const std::string& text);  // must compile; nothing is written otherwise
  // `resource_path`: "resource/default/aliyun/key". An error when `allow` is not true or false.
  [[nodiscard]] Result<Decision> decide(const policy::Document& claims, const std::string& resource_path, Time now);

 private:
  explicit ResourcePolicy(std::filesystem::path file) : file_(std::move(file)) {}
  [[nodiscard]] Result<policy::Policy> current();

  std::filesystem::path file_;
  std::mutex mutex_;
  std::filesystem::file_time_type changed_{};
  std::uintmax_t size_ = 0;
  std::optional<policy::Policy> compiled_;
};

}  // namespace cairn::trustee::kbs
