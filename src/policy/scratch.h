// What evaluations on one thread use one after another.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/policy.h"
#include "policy/value.h"

namespace re2 {
class RE2;
}

namespace cairn::policy {

// Compiled patterns by their text; forgotten as a whole when there are too many.
struct RegexCache {
  RegexCache();
  ~RegexCache();
  std::unordered_map<std::string, std::unique_ptr<re2::RE2>> patterns;
};

// Conversions at the edges of the area.
[[nodiscard]] Json to_json(const Value& v);
[[nodiscard]] Value from_json(const Json& j, Arena& arena);  // throws Stop

}  // namespace cairn::policy
