#include "cachefs/objects/s3_xml.h"

#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"

namespace cairn::cachefs {
namespace {

std::unexpected<Error> bad_xml(std::string message) { return fail(ErrorCode::malformed, "xml", std::move(message)); }

constexpr std::string_view kXmlBlank = " \t\r\n";

bool is_name(std::string_view name) {
  constexpr std::size_t kNameMax = 64;
  return !name.empty() && name.size() <= kNameMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  });
}

// The character of "amp", "#10", "#x2F".
std::optional<std::uint32_t> reference(std::string_view name) {
  constexpr std::pair<std::string_view, char> kNamed[] = {
      {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
  for (const auto& [word, c] : kNamed)
    if (name == word) return static_cast<std::uint32_t>(c);
  if (!name.starts_with('#')) return std::nullopt;
  name.remove_prefix(1);
  const bool hexadecimal = name.starts_with('x');
  if (hexadecimal) name.remove_prefix(1);
  std::uint32_t value = 0;
  const auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), value, hexadecimal ? 16 : 10);
  const bool good = ec == std::errc() && end == name.data() + name.size() && value != 0 && value < 0x110000 &&
                    (value < 0xD800 || value > 0xDFFF);
  return good ? std::optional(value) : std::nullopt;
}

Result<void> append_text(std::string& out, std::string_view raw) {
  while (!raw.empty()) {
    const std::size_t mark = std::min(raw.find('&'), raw.size());
    out.append(raw.substr(0, mark));
    raw.remove_prefix(mark);
    if (raw.empty()) break;
    constexpr std::size_t kReferenceMax = 12;
    const std::size_t end = raw.substr(0, kReferenceMax).find(';');
    if (end == std::string_view::npos) return bad_xml("a reference without its end");
    const auto c = reference(raw.substr(1, end - 1));
    if (!c) return bad_xml("an unknown reference");
    append_utf8(out, *c);
    raw.remove_prefix(end + 1);
  }
  return {};
}

struct Tag {
  std::string_view name;
  bool opens = false, closes = false;
};

// Of what stands between < and >.
Result<Tag> tag_of(std::string_view inside) {
  Tag out;
  out.closes = inside.starts_with('/');
  out.opens = !out.closes;
  if (out.closes) inside.remove_prefix(1);
  if (out.opens && inside.ends_with('/')) {
    out.closes = true;
    inside.remove_suffix(1);
  }
  out.name = inside.substr(0, inside.find_first_of(kXmlBlank));
  if (!is_name(out.name)) return bad_xml("a tag without a name");
  return out;
}

// Where the tag ends whose '<' was at 0; a '>' in an attribute's value does not end it.
std::size_t end_of_tag(std::string_view text) {
  char quote = '\0';
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (quote != '\0') {
      if (text[i] == quote) quote = '\0';
    } else if (text[i] == '"' || text[i] == '\'') {
      quote = text[i];
    } else if (text[i] == '>') {
      return i;
    }
  }
  return std::string_view::npos;
}

template <class T>
Result<T> number(const std::string& text, const char* what) {
  T out{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size())
    return bad_xml(std::string(what) + " is not a number");
  return out;
}

// Only what may stand in a header is used as an ETag.
Result<std::string> etag_of(const XmlElement& e) {
  constexpr std::size_t kEtagMax = 256;
  const std::string text = e.text_of("ETag");
  const bool good = text.size() <= kEtagMax && std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
  if (text.empty() || !good) return bad_xml("an entry without an ETag");
  return text.starts_with('"') ? text : "\"" + text + "\"";
}

Result<ListedObject> object_of(const XmlElement& e, bool encoded) {
  ListedObject out;
  out.key = e.text_of("Key");
  if (encoded) {
    std::ranges::replace(out.key, '+', ' ');
    CAIRN_TRY(out.key, percent_decode(out.key));
  }
  if (out.key.empty() || out.key.size() > kStoreKeyMax) return bad_xml("an impossible key");
  CAIRN_TRY(out.etag, etag_of(e));
  CAIRN_TRY(out.size, number<std::uint64_t>(e.text_of("Size"), "a size"));
  constexpr std::int64_t kSecondsMax = 9'000'000'000;  // as nanoseconds they still fit
  if (const auto time = parse_rfc3339(e.text_of("LastModified")); time && std::abs(time->seconds) < kSecondsMax)
    out.mtime_ns = time->seconds * 1'000'000'000;
  return out;
}

}  // namespace

const XmlElement* XmlElement::child(std::string_view wanted) const {
  const auto found = std::ranges::find(children, wanted, &XmlElement::name);
  return found == children.end() ? nullptr : &*found;
}
std::string XmlElement::text_of(std::string_view wanted) const {
  const XmlElement* found = child(wanted);
  return found == nullptr ? std::string() : found->text;
}

std::string xml_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out.push_back(c);
  }
  return out;
}

Result<XmlElement> parse_xml(std::string_view text) {
  if (text.size() > kStoreAnswerMax) return bad_xml("too large");
  if (!is_utf8(text)) return bad_xml("not UTF-8");
  if (text.starts_with("<?xml")) {
    const std::size_t end = text.find("?>");
    if (end == std::string_view::npos) return bad_xml("a declaration without its end");
    text.remove_prefix(end + 2);
  }
  XmlElement top;  // holds the root
  std::vector<XmlElement*> open{&top};
  std::size_t elements = 0;
  while (!text.empty()) {
    const std::size_t mark = std::min(text.find('<'), text.size());
    const std::string_view raw = text.substr(0, mark);
    if (open.size() == 1 && raw.find_first_not_of(kXmlBlank) != std::string_view::npos)
      return bad_xml("text outside the root element");
    if (open.size() > 1) CAIRN_CHECK(append_text(open.back()->text, raw));
    text.remove_prefix(mark);
    if (text.empty()) break;
    const std::size_t end = end_of_tag(text);
    if (end == std::string_view::npos) return bad_xml("a tag without its end");
    CAIRN_TRY(const Tag tag, tag_of(text.substr(1, end - 1)));
    text.remove_prefix(end + 1);
    if (tag.opens) {
      if (open.size() == 1 && !top.children.empty()) return bad_xml("two root elements");
      if (open.size() > kStoreXmlDepth || ++elements > kStoreXmlElements) return bad_xml("too many elements");
      // Only the last child of an open element grows, so that its own address stays.
      open.push_back(&open.back()->children.emplace_back());
      open.back()->name = tag.name;
    }
    if (tag.closes) {
      if (open.size() == 1 || open.back()->name != tag.name) return bad_xml("tags that do not match");
      open.pop_back();
    }
  }
  if (open.size() != 1 || top.children.size() != 1) return bad_xml("ends early");
  return std::move(top.children.front());
}

Result<ListPage> parse_list_page(std::string_view text) {
  CAIRN_TRY(const XmlElement root, parse_xml(text));
  if (root.name != "ListBucketResult") return bad_xml("not a list of objects");
  const bool encoded = root.text_of("EncodingType") == "url";
  ListPage out;
  for (const XmlElement& e : root.children) {
    if (e.name != "Contents") continue;
    CAIRN_TRY(ListedObject object, object_of(e, encoded));
    out.objects.push_back(std::move(object));
  }
  const std::string truncated = root.text_of("IsTruncated");
  if (truncated != "true" && truncated != "false") return bad_xml("a list that does not say whether it is whole");
  out.next = root.text_of("NextContinuationToken");
  if ((truncated == "true") == out.next.empty()) return bad_xml("a list that is cut without a way to go on");
  return out;
}

Result<PartsPage> parse_parts_page(std::string_view text) {
  CAIRN_TRY(const XmlElement root, parse_xml(text));
  if (root.name != "ListPartsResult") return bad_xml("not a list of parts");
  PartsPage out;
  for (const XmlElement& e : root.children) {
    if (e.name != "Part") continue;
    ListedPart part;
    CAIRN_TRY(part.number, number<unsigned>(e.text_of("PartNumber"), "a part's number"));
    CAIRN_TRY(part.etag, etag_of(e));
    CAIRN_TRY(part.size, number<std::uint64_t>(e.text_of("Size"), "a part's size"));
    out.parts.push_back(std::move(part));
  }
  if (root.text_of("IsTruncated") == "true") out.next_marker = root.text_of("NextPartNumberMarker");
  return out;
}

std::string error_text(std::string_view body) {
  const auto root = parse_xml(body);
  if (!root || root->name != "Error") return {};
  return printable(root->text_of("Code") + ": " + root->text_of("Message"));
}

}  // namespace cairn::cachefs
