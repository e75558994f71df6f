// The list of built-in functions with their types, supported or not.
#pragma once

#include <span>
#include <string_view>

namespace cairn::policy {

struct Signature {
  std::string_view name;
  std::string_view types;
  std::string_view flags;
};
[[nodiscard]] std::span<const Signature> signatures();

}  // namespace cairn::policy
