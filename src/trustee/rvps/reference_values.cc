#include "trustee/rvps/reference_values.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "trustee/limits.h"

namespace cairn::trustee::rvps {
namespace {

Json to_json(const ReferenceValue& value) {
  return {{"version", "0.1.0"}, {"name", value.name}, {"expiration", rfc3339(value.expires)}, {"value", value.value}};
}

// {"hash-value":[{"alg","value"}]} of the older form as an array of values.
Json hash_values(const Json& list) {
  Json out = Json::array();
  for (const auto& entry : list)
    if (entry.is_object() && entry.contains("value")) out.push_back(entry["value"]);
  return out;
}

Result<ReferenceValue> from_json(const Json& json, const std::string& path, Problems& problems) {
  Fields f(json, path, problems);
  ReferenceValue out;
  (void)f.optional<std::string>("version");
  out.name = f.required<std::string>("name");
  const auto expires = parse_rfc3339(f.required<std::string>("expiration"));
  if (expires)
    out.expires = *expires;
  else
    f.problem("expiration", "not a time such as 2026-01-31T12:00:00Z");
  const Json* value = f.raw("value");
  const Json* hashes = f.raw("hash-value");
  if (value)
    out.value = *value;
  else if (hashes && hashes->is_array())
    out.value = hash_values(*hashes);
  else
    f.problem("value", "missing");
  f.done();
  return out;
}

Result<void> check(const ReferenceValue& value) {
  if (value.name.empty() || value.name.size() > limits::kReferenceName)
    return fail(ErrorCode::invalid_argument, value.name.substr(0, 64), "a reference value's name has 1 to 512 bytes");
  if (value.value.is_array() && value.value.size() > limits::kReferenceValues)
    return fail(ErrorCode::too_large, value.name, "more than 4096 values of one name");
  return {};
}

void merge_into(Json& existing, const Json& more) {
  if (!existing.is_array() || !more.is_array()) {
    existing = more;
    return;
  }
  for (const auto& value : more)
    if (std::ranges::find(existing, value) == existing.end()) existing.push_back(value);
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(std::filesystem::path file) {
  auto store = std::unique_ptr<Store>(new Store(std::move(file)));
  if (!std::filesystem::exists(store->file_)) return store;
  CAIRN_TRY(const std::string text, read_text(store->file_, limits::kReferenceFile));
  CAIRN_TRY(const Json all, parse_json(text, {.bytes = limits::kReferenceFile}));
  if (!all.is_array()) return fail(ErrorCode::malformed, store->file_, "the file is not an array of reference values");
  Problems problems;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (auto value = from_json(all[i], "$[" + std::to_string(i) + "]", problems))
      store->values_.push_back(*std::move(value));
  if (auto result = problems.result(); !result) return fail(std::move(result.error()).in(store->file_.string()));
  std::ranges::sort(store->values_, {}, &ReferenceValue::name);
  return store;
}

Result<void> Store::save(const std::vector<ReferenceValue>& values) {
  Json all = Json::array();
  for (const auto& value : values) all.push_back(to_json(value));
  const std::string text = compact_json(all);
  if (text.size() > limits::kReferenceFile) return fail(ErrorCode::too_large, "the reference values exceed 64 MiB");
  return write_text(file_, text, 0600);
}

Result<void> Store::put(const std::vector<ReferenceValue>& values, Mode mode, Time now) {
  for (const auto& value : values) CAIRN_CHECK(check(value));
  const std::scoped_lock lock(mutex_);
  auto next = values_;
  std::erase_if(next, [&](const auto& value) { return value.expires <= now; });
  for (const auto& value : values) {
    const auto at = std::ranges::lower_bound(next, value.name, {}, &ReferenceValue::name);
    if (at == next.end() || at->name != value.name) {
      next.insert(at, value);
    } else if (mode == Mode::replace) {
      *at = value;
    } else {
      merge_into(at->value, value.value);
      at->expires = std::max(at->expires, value.expires);
      CAIRN_CHECK(check(*at));
    }
  }
  if (next.size() > limits::kReferenceNames) return fail(ErrorCode::too_large, "more than 20000 reference values");
  CAIRN_CHECK(save(next));
  values_ = std::move(next);
  snapshot_.reset();
  return {};
}

Result<void> Store::remove(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto next = values_;
  if (std::erase_if(next, [&](const auto& value) { return value.name == name; }) == 0)
    return fail(ErrorCode::not_found, printable(name), "there is no such reference value");
  CAIRN_CHECK(save(next));
  values_ = std::move(next);
  snapshot_.reset();
  return {};
}

std::shared_ptr<const Snapshot> Store::snapshot(Time now) const {
  const std::scoped_lock lock(mutex_);
  if (snapshot_ && now < snapshot_->valid_until) return snapshot_;
  auto made = std::make_shared<Snapshot>();
  made->valid_until = now.plus(365LL * 86400);
  for (const auto& value : values_) {
    if (value.expires <= now) {
      spdlog::warn("reference value {} expired at {} and is not used", printable(value.name), rfc3339(value.expires));
      continue;
    }
    made->values[value.name] = value.value;
    made->valid_until = std::min(made->valid_until, value.expires);
  }
  snapshot_ = made;
  return made;
}

}  // namespace cairn::trustee::rvps
