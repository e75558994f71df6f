#include "trustee/kbs/resources.h"

#include <algorithm>

#include "base/file.h"
#include "trustee/limits.h"

namespace cairn::trustee::kbs {
namespace {

bool valid_segment(std::string_view segment) {
  if (segment.empty() || segment.front() == '.' || segment.size() > limits::kResourceSegment) return false;
  return std::ranges::all_of(segment, [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

template <class Fn>
void each_entry(const std::filesystem::path& folder, bool folders, Fn&& fn) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (valid_segment(name) && (folders ? entry.is_directory(error) : entry.is_regular_file(error)))
      fn(name, entry.path());
  }
}

}  // namespace

Result<ResourceName> parse_resource_name(std::string_view text) {
  const auto bad = [] { return fail(ErrorCode::invalid_argument, "a resource is named repository/type/tag"); };
  const auto first = text.find('/');
  const auto second = first == std::string_view::npos ? first : text.find('/', first + 1);
  if (second == std::string_view::npos) return bad();
  ResourceName out{std::string(text.substr(0, first)), std::string(text.substr(first + 1, second - first - 1)),
                   std::string(text.substr(second + 1))};
  if (!valid_segment(out.repository) || !valid_segment(out.type) || !valid_segment(out.tag)) return bad();
  return out;
}

Result<Resources> Resources::open(std::filesystem::path folder) {
  CAIRN_CHECK(make_dirs(folder / "default", 0700));
  return Resources(std::move(folder));
}

Result<Secret> Resources::read(const ResourceName& name) const { return read_secret(path(name), limits::kResource); }

Result<void> Resources::write(const ResourceName& name, ByteView bytes) const {
  if (bytes.size() > limits::kResource) return fail(ErrorCode::too_large, name.text(), "a resource has at most 1 MiB");
  CAIRN_CHECK(make_dirs(path(name).parent_path(), 0700));
  return write_file(path(name), bytes, 0600);
}

Result<void> Resources::remove(const ResourceName& name) const {
  std::error_code error;
  if (std::filesystem::remove(path(name), error)) return {};
  if (error) return fail(errno_error(error.value(), name.text(), "delete the resource"));
  return fail(ErrorCode::not_found, name.text(), "there is no such resource");
}

Result<std::vector<ResourceName>> Resources::list() const {
  std::vector<ResourceName> out;
  each_entry(folder_, true, [&](const std::string& repository, const auto& types) {
    each_entry(types, true, [&](const std::string& type, const auto& tags) {
      each_entry(tags, false, [&](const std::string& tag, const auto&) {
        if (out.size() <= limits::kResourceList) out.push_back({repository, type, tag});
      });
    });
  });
  if (out.size() > limits::kResourceList) return fail(ErrorCode::too_large, "more than 100000 resources");
  std::ranges::sort(out, {}, &ResourceName::text);
  return out;
}

}  // namespace cairn::trustee::kbs
