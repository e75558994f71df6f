// Case mapping of single code points.
#pragma once

namespace cairn::policy {

[[nodiscard]] char32_t to_lower(char32_t c);
[[nodiscard]] char32_t to_upper(char32_t c);

}  // namespace cairn::policy
