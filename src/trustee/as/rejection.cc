#include "trustee/as/rejection.h"

#include <spdlog/spdlog.h>

#include <array>

#include "base/log.h"
#include "trustee/limits.h"

namespace cairn::trustee::as {
namespace {

struct CodeInfo {
  Code code;
  std::string_view name, kind, title;
  int status;
};
constexpr std::array<CodeInfo, 12> kCodes{{
    {Code::invalid_json, "AS.REQUEST.INVALID_JSON", "InvalidJson", "The request is not valid JSON", 400},
    {Code::invalid_argument, "AS.REQUEST.INVALID_ARGUMENT", "InvalidArgument", "The request is not valid", 400},
    {Code::unsupported_tee, "AS.REQUEST.UNSUPPORTED_TEE", "UnsupportedTee", "The TEE is not supported", 400},
    {Code::invalid_token, "AS.CHALLENGE.INVALID_TOKEN", "InvalidToken", "The challenge token is not valid", 401},
    {Code::invalid_format, "AS.EVIDENCE.INVALID_FORMAT", "InvalidFormat", "The evidence does not parse", 400},
    {Code::invalid_encoding, "AS.EVIDENCE.INVALID_ENCODING", "InvalidEncoding", "The evidence is not well encoded",
     400},
    {Code::invalid_quote, "AS.EVIDENCE.INVALID_QUOTE", "InvalidQuote", "The quote is not valid", 422},
    {Code::verification_failed, "AS.EVIDENCE.VERIFICATION_FAILED", "VerificationFailed", "The evidence does not verify",
     422},
    {Code::binding_mismatch, "AS.EVIDENCE.BINDING_MISMATCH", "BindingMismatch",
     "The evidence is not bound to the request", 422},
    {Code::policy_denied, "AS.POLICY.DENIED", "PolicyDenied", "The policy refuses the evidence", 422},
    {Code::unavailable, "AS.DEPENDENCY.UNAVAILABLE", "DependencyUnavailable", "A service is not available", 503},
    {Code::internal, "AS.INTERNAL.ERROR", "InternalError", "Internal error", 500},
}};
const CodeInfo& info(Code code) { return kCodes[static_cast<std::size_t>(code)]; }

}  // namespace

std::string_view code_name(Code code) { return info(code).name; }
int code_status(Code code) { return info(code).status; }

Json to_json(const std::vector<Reason>& reasons) {
  Json out = Json::array();
  for (const auto& reason : reasons)
    out.push_back({{"code", reason.code}, {"claim", reason.claim}, {"detail", reason.detail}});
  return out;
}

std::unexpected<Rejection> reject(Code code, std::string reason, std::string detail, std::string field) {
  return std::unexpected(
      Rejection{code, std::move(reason), printable(detail, limits::kReasonText), std::move(field), {}});
}

std::unexpected<Rejection> reject(const Error& error) {
  spdlog::error("attestation service: {}", error.text());
  if (error.code == ErrorCode::unavailable || error.code == ErrorCode::timed_out)
    return reject(Code::unavailable, "unavailable", error.message);
  return reject(Code::internal, "internal", "the attestation service met an internal error; its log says more");
}

net::Response problem(const Rejection& rejection) {
  const auto& code = info(rejection.code);
  Json body = {
      {"type", "https://github.com/confidential-containers/attestation-service/errors/" + std::string(code.kind)},
      {"title", code.title},
      {"status", code.status},
      {"code", code.name},
      {"detail", rejection.detail},
      {"retryable", rejection.code == Code::unavailable},
      {"reason", rejection.reason}};
  if (!rejection.field.empty()) body["field"] = rejection.field;
  if (!rejection.reasons.empty()) body["reasons"] = to_json(rejection.reasons);
  net::Response response{code.status, {}, compact_json(body)};
  response.headers.set("Content-Type", "application/problem+json");
  return response;
}

}  // namespace cairn::trustee::as
