#include "trustee/as/policies.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "trustee/limits.h"

namespace cairn::trustee::as {
namespace {

constexpr std::string_view kClaims[] = {"instance-identity", "configuration",  "executables",    "file-system",
                                        "hardware",          "runtime-opaque", "storage-opaque", "sourced-data"};
constexpr std::string_view kPackage = "data.policy.";

std::unexpected<Error> bad_id() {
  return fail(ErrorCode::invalid_argument, "policy_id", "a policy id is 1 to 128 letters, digits, '_' or '-'");
}

// Arrays, or a set's array, of {"code","claim","detail"} objects or plain texts.
std::vector<Reason> reasons_of(const Json& value) {
  std::vector<Reason> out;
  if (!value.is_array()) return out;
  const auto text = [](const Json& entry, const char* name) {
    const Json member = entry.value(name, Json());
    return member.is_string() ? printable(member.get_ref<const std::string&>(), limits::kReasonText) : std::string();
  };
  for (const auto& entry : value) {
    if (out.size() == limits::kReasons) break;
    if (entry.is_string())
      out.push_back({"policy", "", printable(entry.get_ref<const std::string&>(), limits::kReasonText)});
    else if (entry.is_object())
      out.push_back({text(entry, "code"), text(entry, "claim"), text(entry, "detail")});
  }
  return out;
}

std::unexpected<Rejection> policy_error(const LoadedPolicy& policy, std::string detail) {
  return reject(Code::policy_denied, "policy_error", "policy " + policy.id + ": " + std::move(detail));
}

// Evaluates the rules of one policy against one document.
class Evaluation {
 public:
  Evaluation(const LoadedPolicy& policy, const policy::Document& input, const PolicyData::View& data, Time now)
      : policy_(policy),
        options_{.input = &input, .data = &data.data, .now_ns = now.seconds * 1'000'000'000, .zones = zone_offset} {
    options_.limits.instructions = limits::kPolicyInstructions;
    options_.host["query_reference_value"] = [&data](std::span<const Json> arguments) -> Result<Json> {
      if (arguments.empty() || !arguments[0].is_string()) return Json();
      const auto found = data.values->values.find(arguments[0].get_ref<const std::string&>());
      return found == data.values->values.end() ? Json() : *found;
    };
  }

  // nullopt where the policy has no such rule.
  [[nodiscard]] Outcome<std::optional<Json>> rule(std::string_view name) const {
    const std::string path = std::string(kPackage) + std::string(name);
    if (!policy_.compiled.defines(path)) return std::nullopt;
    auto value = policy_.compiled.evaluate(path, options_);
    if (!value) return policy_error(policy_, "rule " + std::string(name) + " failed: " + value.error().text());
    if (!*value) return std::optional<Json>(Json());  // there, but undefined
    return *std::move(value);
  }

 private:
  const LoadedPolicy& policy_;
  policy::EvalOptions options_;
};

Outcome<> read_trust_vector(const LoadedPolicy& policy, const Evaluation& evaluation, Json& out) {
  for (const auto claim : kClaims) {
    std::string rule(claim);
    std::ranges::replace(rule, '-', '_');
    const auto value = evaluation.rule(rule);
    if (!value) return std::unexpected(value.error());
    if (!*value) continue;
    const Json& number = **value;
    if (!number.is_number_integer() || number < -128 || number > 127)
      return policy_error(policy, "rule " + rule + " gives no integer from -128 to 127");
    out[std::string(claim)] = number;
  }
  if (out.empty()) return policy_error(policy, "At least one policy claim must be set.");
  return {};
}

}  // namespace

bool valid_policy_id(std::string_view id) {
  return !id.empty() && id.size() <= limits::kPolicyId && std::ranges::all_of(id, [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

Result<policy::Policy> compile_policy(const std::string& name, const std::string& text) {
  policy::CompileOptions options;
  options.host = {{"query_reference_value", 1}};
  return policy::compile({{name, text}}, options);
}

Result<std::unique_ptr<PolicyStore>> PolicyStore::open(std::filesystem::path folder, std::string_view default_text) {
  CAIRN_CHECK(make_dirs(folder));
  auto store = std::unique_ptr<PolicyStore>(new PolicyStore(std::move(folder)));
  if (!std::filesystem::exists(store->file("default"))) CAIRN_CHECK(store->set("default", std::string(default_text)));
  return store;
}

Result<void> PolicyStore::set(const std::string& id, const std::string& text) {
  if (!valid_policy_id(id)) return bad_id();
  if (text.size() > limits::kPolicyText) return fail(ErrorCode::too_large, "policy", "a policy has at most 1 MiB");
  if (!is_utf8(text)) return fail(ErrorCode::malformed, "policy", "the policy is not UTF-8 text");
  CAIRN_TRY(const auto compiled, compile_policy(id + ".rego", text));
  (void)compiled;
  if (!std::filesystem::exists(file(id))) {
    CAIRN_TRY(const auto all, list());
    if (all.size() >= limits::kPolicies) return fail(ErrorCode::too_large, "policy", "more than 256 policies");
  }
  return write_text(file(id), text);
}

Result<std::string> PolicyStore::get(const std::string& id) const {
  if (!valid_policy_id(id)) return bad_id();
  if (!std::filesystem::exists(file(id))) return fail(ErrorCode::not_found, id, "there is no such policy");
  return read_text(file(id), limits::kPolicyText);
}

Result<void> PolicyStore::remove(const std::string& id) {
  if (!valid_policy_id(id)) return bad_id();
  if (id == "default")
    return fail(ErrorCode::permission_denied, id, "the default policy can be replaced but not deleted");
  std::error_code error;
  if (!std::filesystem::remove(file(id), error)) return fail(ErrorCode::not_found, id, "there is no such policy");
  const std::scoped_lock lock(mutex_);
  cache_.erase(id);
  return {};
}

Result<std::vector<PolicyStore::Entry>> PolicyStore::list() const {
  std::vector<Entry> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string id = entry.path().stem().string();
    if (entry.path().extension() != ".rego" || !valid_policy_id(id)) continue;
    CAIRN_TRY(const std::string text, read_text(entry.path(), limits::kPolicyText));
    out.push_back({id, crypto::sha384(as_bytes(text))});
  }
  if (error) return fail(errno_error(error.value(), folder_, "list the policies"));
  std::ranges::sort(out, {}, &Entry::id);
  return out;
}

Result<std::shared_ptr<const LoadedPolicy>> PolicyStore::load(const std::string& id) {
  if (!valid_policy_id(id)) return bad_id();
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(file(id), error);
  const auto size = error ? 0 : std::filesystem::file_size(file(id), error);
  if (error) return fail(ErrorCode::not_found, id, "there is no policy \"" + id + "\"");
  {
    const std::scoped_lock lock(mutex_);
    const auto cached = cache_.find(id);
    if (cached != cache_.end() && cached->second.changed == changed && cached->second.size == size)
      return cached->second.policy;
  }
  CAIRN_TRY(const std::string text, read_text(file(id), limits::kPolicyText));
  CAIRN_TRY(auto compiled, compile_policy(id + ".rego", text));
  auto loaded = std::make_shared<const LoadedPolicy>(
      LoadedPolicy{std::move(compiled), id, hex(crypto::sha384(as_bytes(text)).view())});
  const std::scoped_lock lock(mutex_);
  cache_[id] = {changed, size, loaded};
  return loaded;
}

Result<std::shared_ptr<const PolicyData::View>> PolicyData::view(Time now) {
  auto values = store_->snapshot(now);
  const std::scoped_lock lock(mutex_);
  if (view_ && view_->values == values) return view_;
  CAIRN_TRY(auto data, policy::Document::from_json({{"reference", values->values}}));
  view_ = std::make_shared<const View>(View{std::move(values), std::move(data)});
  return view_;
}

Outcome<PolicyVerdict> evaluate(const LoadedPolicy& policy, Rules rules, const Json& input,
                                const PolicyData::View& data, Time now) {
  const auto document = policy::Document::from_json(input);
  if (!document) return reject(document.error());
  const Evaluation evaluation(policy, *document, data, now);
  PolicyVerdict out;
  if (rules == Rules::allow) {
    const auto allow = evaluation.rule("allow");
    if (!allow) return std::unexpected(allow.error());
    if (!*allow || !(*allow)->is_boolean())
      return policy_error(policy, "it has no rule allow that gives true or false");
    out.allow = (*allow)->get<bool>();
    if (*out.allow) return out;
  } else if (auto read = read_trust_vector(policy, evaluation, out.trust_vector); !read) {
    return std::unexpected(read.error());
  }
  const auto reasons = evaluation.rule("reasons");
  if (!reasons)
    spdlog::warn("{}", reasons.error().detail);  // the verdict stands without its explanation
  else if (*reasons)
    out.reasons = reasons_of(**reasons);
  return out;
}

}  // namespace cairn::trustee::as
