// Letters of versions and names, whose case makers do not agree on.
#pragma once

#include <string>

namespace cairn::nvidia {

[[nodiscard]] inline std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

}  // namespace cairn::nvidia
