#include "trustee/kbs/errors.h"

#include "base/json.h"

namespace cairn::trustee::kbs {

net::Response error(int status, std::string_view variant, std::string_view detail, std::string_view code,
                    std::string_view reason) {
  Json body = {{"type", "https://github.com/confidential-containers/kbs/errors/" + std::string(variant)},
               {"detail", detail}};
  if (!code.empty()) body["code"] = code;
  if (!reason.empty()) body["reason"] = reason;
  return {status, {}, compact_json(body)};
}

net::Response error(int status, const as::Rejection& rejection) {
  Json body = {{"type", "https://github.com/confidential-containers/kbs/errors/AttestationError"},
               {"detail", "Attestation error: " + rejection.detail},
               {"code", as::code_name(rejection.code)},
               {"reason", rejection.reason}};
  if (!rejection.reasons.empty()) body["reasons"] = as::to_json(rejection.reasons);
  return {status, {}, compact_json(body)};
}

}  // namespace cairn::trustee::kbs
