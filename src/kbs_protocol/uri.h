// Names of resources: kbs://[<authority>]/<repository>/<type>/<tag>[?<query>] (spec/guest.md §4.6).
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace cairn::kbs {

struct ResourceUri {
  std::string repository, type, tag;
  std::string query;  // without '?'; may be empty

  // Scheme exactly "kbs", exactly three non-empty segments of A-Z a-z 0-9 _ - and, not first, '.'; the authority is
  // accepted and ignored, as clients in the field do. Fails before any use of the network.
  [[nodiscard]] static Result<ResourceUri> parse(std::string_view text);
  // The same from "<repository>/<type>/<tag>", the form of paths in REST and offline files.
  [[nodiscard]] static Result<ResourceUri> from_path(std::string_view path);

  [[nodiscard]] std::string path() const { return repository + "/" + type + "/" + tag; }
  [[nodiscard]] std::string path_and_query() const { return query.empty() ? path() : path() + "?" + query; }
  [[nodiscard]] std::string text() const { return "kbs:///" + path_and_query(); }
  [[nodiscard]] bool operator==(const ResourceUri&) const = default;
};

}  // namespace cairn::kbs
