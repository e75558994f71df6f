// What the reader and the writer of YAML share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cairn::policy {

// Would a plain scalar be read as a number with a fraction or exponent?
[[nodiscard]] bool yaml_float_like(std::string_view s);
// The time that a plain scalar of YAML stands for, as RFC 3339 writes it (though its offset may be a day or more).
[[nodiscard]] std::optional<std::string> yaml_time(std::string_view s);
// Is it a string to the reader when it is written without quotes?
[[nodiscard]] bool yaml_plain_text(const std::string& s);

}  // namespace cairn::policy
