#include "trustee/kbs/resource_policy.h"

#include <spdlog/spdlog.h>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "trustee/limits.h"

namespace cairn::trustee::kbs {
namespace {

std::vector<std::string> texts(const Json& reasons) {
  std::vector<std::string> out;
  if (!reasons.is_array()) return out;
  for (const auto& reason : reasons) {
    if (out.size() == limits::kReasons) break;
    if (reason.is_string()) out.push_back(printable(reason.get_ref<const std::string&>(), limits::kReasonText));
  }
  return out;
}

}  // namespace

std::string_view default_resource_policy() {
  return R"rego(# Resource policy: a resource goes to holders of an affirming verdict under the attestation policy "default".
#
# input: the claims of the attestation token. data["resource-path"]: "resource/<repository>/<type>/<tag>".
package policy

import rego.v1

default allow := false

allow if count(objections) == 0

# What people are told: the attestation policy's own words where it left some, else the objections.
reasons := specific if count(specific) > 0

else := objections

objections contains "no_verdict: the token carries no verdict" if {
	not input.submods
	not input["evaluation-reports"]
}

# Simple tokens exist only where every policy they name allowed the evidence.
objections contains "policy: the evidence was not appraised under policy \"default\"" if {
	not input.submods
	input["evaluation-reports"]
	not appraised
}

# A device beside no TEE proves nothing about who would hold the resource.
objections contains "no_verdict: the token has no verdict on a cpu" if {
	not input.submods
	input["evaluation-reports"]
	not of_a_cpu
}

of_a_cpu if input.tee in {"tdx", "sample"}

appraised if {
	some report in input["evaluation-reports"]
	report["policy-id"] == "default"
}

# EARs: every component must be affirmed.
objections contains "no_verdict: the token has no verdict on a cpu" if {
	input.submods
	not some_cpu
}

some_cpu if {
	some name, _ in input.submods
	startswith(name, "cpu")
}

objections contains sprintf("policy: %s was not appraised under policy \"default\"", [name]) if {
	some name, module in input.submods
	not by_default(module)
}

by_default(module) if module["ear.appraisal-policy-id"] == "default"

objections contains sprintf("status: the verdict on %s is not affirming", [name]) if {
	some name, module in input.submods
	not affirming(module)
}

affirming(module) if module["ear.status"] == "affirming"

objections contains sprintf("%s: the claim %s of %s is not affirming", [claim, claim, name]) if {
	some name, module in input.submods
	some claim in ["configuration", "executables", "file-system", "hardware"]
	not affirmed(module, claim)
}

affirmed(module, claim) if {
	value := module["ear.trustworthiness-vector"][claim]
	is_number(value)
	value >= 2
	value <= 31
}

# Why, as the attestation policy saw it.
specific contains sprintf("%s: %s", [reason.code, reason.detail]) if {
	some module in input.submods
	some reason in module["cairn.reasons"]
}
)rego";
}

Result<std::unique_ptr<ResourcePolicy>> ResourcePolicy::open(std::filesystem::path file) {
  auto out = std::unique_ptr<ResourcePolicy>(new ResourcePolicy(std::move(file)));
  if (!std::filesystem::exists(out->file_)) CAIRN_CHECK(out->set(std::string(default_resource_policy())));
  CAIRN_TRY(const auto checked, out->current());
  (void)checked;
  return out;
}

Result<std::string> ResourcePolicy::text() const { return read_text(file_, limits::kPolicyText); }

Result<void> ResourcePolicy::set(const std::string& text) {
  if (text.size() > limits::kPolicyText) return fail(ErrorCode::too_large, "a policy has at most 1 MiB");
  if (!is_utf8(text)) return fail(ErrorCode::malformed, "the policy is not UTF-8 text");
  CAIRN_TRY(const auto compiled, policy::compile({{file_.filename().string(), text}}));
  (void)compiled;
  return write_text(file_, text);
}

Result<policy::Policy> ResourcePolicy::current() {
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(file_, error);
  const auto size = error ? 0 : std::filesystem::file_size(file_, error);
  if (error) return fail(ErrorCode::io_failed, file_, "the resource policy cannot be read: " + error.message());
  const std::scoped_lock lock(mutex_);
  if (compiled_ && changed == changed_ && size == size_) return *compiled_;
  CAIRN_TRY(const std::string text, read_text(file_, limits::kPolicyText));
  CAIRN_TRY(compiled_, policy::compile({{file_.filename().string(), text}}));
  changed_ = changed;
  size_ = size;
  return *compiled_;
}

Result<Decision> ResourcePolicy::decide(const policy::Document& claims, const std::string& resource_path, Time now) {
  CAIRN_TRY(const auto compiled, current());
  CAIRN_TRY(const auto data, policy::Document::from_json({{"resource-path", resource_path}}));
  policy::EvalOptions options{
      .input = &claims, .data = &data, .now_ns = now.seconds * 1'000'000'000, .zones = zone_offset};
  options.limits.instructions = limits::kPolicyInstructions;
  CAIRN_TRY(const auto allow, compiled.evaluate("data.policy.allow", options));
  if (!allow || !allow->is_boolean())
    return fail(ErrorCode::internal, "the resource policy's rule allow gives neither true nor false");
  if (allow->get<bool>()) return Decision{true, {}};
  Decision out;
  if (!compiled.defines("data.policy.reasons")) return out;
  const auto reasons = compiled.evaluate("data.policy.reasons", options);
  if (!reasons)
    spdlog::warn("resource policy: {}", reasons.error().text());
  else if (*reasons)
    out.reasons = texts(**reasons);
  return out;
}

}  // namespace cairn::trustee::kbs
