// Resources: raw files below a folder, read at each request. spec/trustee.md §3.6.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/secret.h"

namespace cairn::trustee::kbs {

struct ResourceName {
  std::string repository, type, tag;
  [[nodiscard]] std::string text() const { return repository + "/" + type + "/" + tag; }
};
// "repo/type/tag": exactly three segments of [A-Za-z0-9_-][A-Za-z0-9_.-]*, at most 255 bytes each.
[[nodiscard]] Result<ResourceName> parse_resource_name(std::string_view text);

class Resources {
 public:
  // Makes the folder and `default` in it.
  [[nodiscard]] static Result<Resources> open(std::filesystem::path folder);
  [[nodiscard]] Result<Secret> read(const ResourceName& name) const;  // not_found; too_large past limits::kResource
  [[nodiscard]] Result<void> write(const ResourceName& name, ByteView bytes) const;  // 0600, replaced atomically
  [[nodiscard]] Result<void> remove(const ResourceName& name) const;
  [[nodiscard]] Result<std::vector<ResourceName>> list() const;  // sorted; files that are no valid names are left out

 private:
  explicit Resources(std::filesystem::path folder) : folder_(std::move(folder)) {}
  [[nodiscard]] std::filesystem::path path(const ResourceName& name) const {
    return folder_ / name.repository / name.type / name.tag;
  }

  std::filesystem::path folder_;
};

}  // namespace cairn::trustee::kbs
