// The policies that a Trustee starts with (spec/trustee.md §6), in Cairn's own words. One per profile: A is
// Trustee 1.5.2, B 1.9.0, C the current main.
#pragma once

#include <string_view>

namespace cairn::policy::defaults {

[[nodiscard]] std::string_view simple();      // §6.2: data.policy.allow over flattened claims and data.reference
[[nodiscard]] std::string_view ear_a();       // §6.3: data.policy.executables, .hardware, .configuration
[[nodiscard]] std::string_view ear_b();       // §6.4: the same and .file_system; calls query_reference_value
[[nodiscard]] std::string_view ear_c_cpu();   // §6.5: data.policy.trust_claims, .extensions
[[nodiscard]] std::string_view resource_a();  // §6.6: data.policy.allow
[[nodiscard]] std::string_view resource_b();
[[nodiscard]] std::string_view resource_c();
[[nodiscard]] std::string_view resource_affirming();  // at least one submodule, none with another status
[[nodiscard]] std::string_view deny_all();

}  // namespace cairn::policy::defaults
