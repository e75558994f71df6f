// The policies that this Trustee starts with. Strict: what was not registered is not believed.
#pragma once

#include <string_view>

namespace cairn::trustee::as {

// Attestation policy `default`: `allow` for Simple tokens, the trust claims for EARs, `reasons` for people.
[[nodiscard]] std::string_view default_attestation_policy();

}  // namespace cairn::trustee::as
