#include "kbs_protocol/uri.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "kbs_protocol/limits.h"

namespace cairn::kbs {
namespace {

std::unexpected<Error> refuse(std::string_view text, std::string_view why) {
  return fail(ErrorCode::invalid_argument, printable(text), std::string(why));
}

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

// What the broker's own store accepts (spec/trustee.md §3.6).
bool is_segment(std::string_view s) {
  return !s.empty() && is_word(s.front()) && std::ranges::all_of(s, [](char c) { return is_word(c) || c == '.'; });
}

bool is_query(std::string_view s) {
  return std::ranges::all_of(s, [](char c) { return c > 0x20 && c < 0x7F && c != '#'; });
}

}  // namespace

Result<ResourceUri> ResourceUri::from_path(std::string_view path) {
  if (path.size() > limits::uri_bytes) return refuse(path, "the resource name is too long");
  std::array<std::string_view, 3> parts;
  std::string_view rest = path;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t slash = i + 1 < parts.size() ? rest.find('/') : std::string_view::npos;
    parts[i] = rest.substr(0, slash);
    if (!is_segment(parts[i]))
      return refuse(
          path, "a resource is named <repository>/<type>/<tag>, each of letters, digits, '_', '-' and, not first, '.'");
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  return ResourceUri{std::string(parts[0]), std::string(parts[1]), std::string(parts[2]), {}};
}

Result<ResourceUri> ResourceUri::parse(std::string_view text) {
  constexpr std::string_view scheme = "kbs://";
  if (text.size() > limits::uri_bytes) return refuse(text, "the URI is too long");
  if (!text.starts_with(scheme)) return refuse(text, "the URI must begin with kbs://");
  std::string_view rest = text.substr(scheme.size());
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos)
    return refuse(text, "the URI has no path; expected kbs:///<repository>/<type>/<tag>");
  if (rest.substr(0, slash).find_first_of("?#@\\ ") != std::string_view::npos)
    return refuse(text, "the URI's authority is not a host and port");
  rest.remove_prefix(slash + 1);
  const std::size_t mark = rest.find('?');
  auto uri = from_path(rest.substr(0, mark));
  if (!uri) return refuse(text, uri.error().message);
  if (mark != std::string_view::npos) {
    uri->query = rest.substr(mark + 1);
    if (!is_query(uri->query)) return refuse(text, "the URI's query holds characters that must be percent-encoded");
  }
  return uri;
}

}  // namespace cairn::kbs
