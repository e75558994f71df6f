// The XML that S3 stores answer with: elements and text, nothing else. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cachefs/objects/limits.h"

namespace cairn::cachefs {

struct XmlElement {
  std::string name;
  std::string text;  // all of it, with references resolved
  std::vector<XmlElement> children;
  [[nodiscard]] const XmlElement* child(std::string_view wanted) const;  // the first
  [[nodiscard]] std::string text_of(std::string_view wanted) const;      // "" where there is none
};
// Attributes are skipped; comments, document types, CDATA and further processing instructions are malformed.
[[nodiscard]] Result<XmlElement> parse_xml(std::string_view text);
// The text with & < > escaped.
[[nodiscard]] std::string xml_escape(std::string_view text);

struct ListedObject {
  std::string key;   // whole
  std::string etag;  // with its quotes
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
};
struct ListPage {
  std::vector<ListedObject> objects;
  std::string next;  // continuation token; "": the last page
};
// ListBucketResult of ListObjectsV2 with encoding-type=url.
[[nodiscard]] Result<ListPage> parse_list_page(std::string_view text);

struct ListedPart {
  unsigned number = 0;
  std::string etag;
  std::uint64_t size = 0;
};
struct PartsPage {
  std::vector<ListedPart> parts;
  std::string next_marker;  // "": the last page
};
[[nodiscard]] Result<PartsPage> parse_parts_page(std::string_view text);

// "NoSuchKey: The specified key does not exist." of an Error element; "" where there is none.
[[nodiscard]] std::string error_text(std::string_view body);

}  // namespace cairn::cachefs
