// The key broker's errors: {"type":".../errors/<Variant>","detail":…} without a content type. spec/trustee.md §3.12.
#pragma once

#include <string>
#include <string_view>

#include "net/http.h"
#include "trustee/as/rejection.h"

namespace cairn::trustee::kbs {

// `code` and `reason` are ours: members beside type and detail where they are not empty.
[[nodiscard]] net::Response error(int status, std::string_view variant, std::string_view detail,
                                  std::string_view code = {}, std::string_view reason = {});
// AttestationError for a refused handshake, with the attestation service's words.
[[nodiscard]] net::Response error(int status, const as::Rejection& rejection);

}  // namespace cairn::trustee::kbs
