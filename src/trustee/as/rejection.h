// Why an attestation request was refused: a stable code for programs, a stable cause, and one sentence for people.
// spec/trustee.md §4.2 (errors of profile B 1.9.0).
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "net/http.h"

namespace cairn::trustee::as {

enum class Code {
  invalid_json,         // AS.REQUEST.INVALID_JSON 400
  invalid_argument,     // AS.REQUEST.INVALID_ARGUMENT 400
  unsupported_tee,      // AS.REQUEST.UNSUPPORTED_TEE 400
  invalid_token,        // AS.CHALLENGE.INVALID_TOKEN 401
  invalid_format,       // AS.EVIDENCE.INVALID_FORMAT 400
  invalid_encoding,     // AS.EVIDENCE.INVALID_ENCODING 400
  invalid_quote,        // AS.EVIDENCE.INVALID_QUOTE 422
  verification_failed,  // AS.EVIDENCE.VERIFICATION_FAILED 422
  binding_mismatch,     // AS.EVIDENCE.BINDING_MISMATCH 422
  policy_denied,        // AS.POLICY.DENIED 422 (ours: a Simple policy said no)
  unavailable,          // AS.DEPENDENCY.UNAVAILABLE 503, retryable
  internal,             // AS.INTERNAL.ERROR 500
};
[[nodiscard]] std::string_view code_name(Code code);
[[nodiscard]] int code_status(Code code);

// One check of a policy that did not hold.
struct Reason {
  std::string code;    // stable: "mr_td_not_registered", "tcb_status", ...
  std::string claim;   // the trust claim it lowers: "hardware", "executables", "configuration", "file_system"; or ""
  std::string detail;  // a sentence with the value found
};
[[nodiscard]] Json to_json(const std::vector<Reason>& reasons);

struct Rejection {
  Code code = Code::internal;
  std::string reason;  // stable cause below the code: "tdx.QuoteSignature", "rtmr_mismatch", "report_data", ...
  std::string detail;  // one sentence; never a secret
  std::string field = {};
  std::vector<Reason> reasons = {};  // policy_denied
};
template <class T = void>
using Outcome = std::expected<T, Rejection>;

[[nodiscard]] std::unexpected<Rejection> reject(Code code, std::string reason, std::string detail,
                                                std::string field = {});
// An internal failure or a dependency's, as a rejection that tells a client nothing but what it may do.
[[nodiscard]] std::unexpected<Rejection> reject(const Error& error);
// application/problem+json.
[[nodiscard]] net::Response problem(const Rejection& rejection);

}  // namespace cairn::trustee::as
