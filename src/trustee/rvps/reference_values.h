// The store of reference values: what a machine must measure to be believed. spec/trustee.md §8.4, §8.5.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace cairn::trustee::rvps {

struct ReferenceValue {
  std::string name;
  Time expires;
  Json value;  // any JSON; extractors give arrays
};

// Values by name, unexpired at the time it was made. Immutable; the same object until something changes.
struct Snapshot {
  Json values = Json::object();
  Time valid_until{};  // the first expiry among them; later a new snapshot is due
};

// A JSON file of stored values, replaced atomically. Any thread.
class Store {
 public:
  // The file need not exist. Reads the stored form of either profile ("hash-value" or "value").
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(std::filesystem::path file);

  enum class Mode { replace, merge };  // merge: arrays of an existing name are joined, without duplicates
  // All or nothing. too_large past the limits.
  [[nodiscard]] Result<void> put(const std::vector<ReferenceValue>& values, Mode mode, Time now);
  // not_found when there is no such name.
  [[nodiscard]] Result<void> remove(const std::string& name);
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot(Time now) const;

 private:
  explicit Store(std::filesystem::path file) : file_(std::move(file)) {}
  [[nodiscard]] Result<void> save(const std::vector<ReferenceValue>& values);

  std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::vector<ReferenceValue> values_;                // sorted by name
  mutable std::shared_ptr<const Snapshot> snapshot_;  // null: to be made
};

}  // namespace cairn::trustee::rvps
