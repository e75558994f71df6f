#include "evidence/nvidia/xml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "base/encoding.h"
#include "evidence/nvidia/limits.h"

namespace cairn::nvidia {
namespace {

constexpr std::string_view kXmlUri = "http://www.w3.org/XML/1998/namespace";
constexpr std::string_view kXmlnsUri = "http://www.w3.org/2000/xmlns/";

bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool name_part(char c) { return name_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '.'; }

// A character that XML 1.0 lets into a document.
bool allowed(std::uint32_t c) {
  return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xD7FF) || (c >= 0xE000 && c <= 0xFFFD) ||
         (c >= 0x10000 && c <= 0x10FFFF);
}

void put_utf8(std::uint32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr std::array<std::uint32_t, 4> kLead = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[static_cast<std::size_t>(more)] | (c >> (6 * more)));
  for (int i = more; i-- > 0;) out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
}

// An element's start tag as written, before its namespaces are known.
struct Tag {
  std::string name;
  std::vector<std::pair<std::string, std::string>> attributes;
  bool empty = false;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Xml> document() {
    CAIRN_CHECK(declaration());
    skip_space();
    if (!eat('<')) return wrong("a root element is wanted");
    CAIRN_CHECK(open());
    while (!stack_.empty()) CAIRN_CHECK(next());
    skip_space();
    if (at_ != text_.size()) return wrong("something follows the root element");
    return std::move(out_);
  }

 private:
  [[nodiscard]] std::unexpected<Error> wrong(std::string message) const {
    return fail(ErrorCode::malformed, "byte " + std::to_string(at_), std::move(message));
  }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool eat(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  bool eat(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool skip_space() {
    const std::size_t start = at_;
    while (at_ < text_.size() && space(text_[at_])) ++at_;
    return at_ != start;
  }

  Result<void> declaration() {
    if (!eat("<?xml ")) return {};
    const std::size_t end = text_.find("?>", at_);
    if (end == std::string_view::npos) return wrong("the XML declaration does not end");
    std::string inside(text_.substr(at_, end - at_));
    std::ranges::replace(inside, '\'', '"');
    while (inside.ends_with(' ')) inside.pop_back();
    const std::string_view version = R"(version="1.0")";
    const bool known = inside == version || inside == std::string(version) + R"( encoding="UTF-8")" ||
                       inside == std::string(version) + R"( encoding="utf-8")" ||
                       inside == std::string(version) + R"( encoding="UTF-8" standalone="yes")" ||
                       inside == std::string(version) + R"( encoding="UTF-8" standalone="no")";
    if (!known) return wrong("an XML declaration other than version 1.0 in UTF-8");
    at_ = end + 2;
    return {};
  }

  Result<std::string> name() {
    const std::size_t start = at_;
    if (!name_start(peek())) return wrong("a name is wanted");
    while (name_part(peek())) ++at_;
    if (peek() == ':') {
      ++at_;
      if (!name_start(peek())) return wrong("a name is wanted after the prefix");
      while (name_part(peek())) ++at_;
    }
    return std::string(text_.substr(start, at_ - start));
  }

  // After '&'.
  Result<void> reference(std::string& out) {
    constexpr std::pair<std::string_view, char> kNamed[] = {
        {"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};
    for (const auto& [word, c] : kNamed)
      if (eat(word)) {
        out += c;
        return {};
      }
    if (!eat('#')) return wrong("an entity that is not one of XML's own");
    const bool hexadecimal = eat('x');
    std::uint32_t value = 0;
    const char* const first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), value, hexadecimal ? 16 : 10);
    at_ += static_cast<std::size_t>(end - first);
    if (error != std::errc() || !eat(';') || !allowed(value))
      return wrong("a character reference that names no character");
    put_utf8(value, out);
    return {};
  }

  Result<std::string> attribute_value() {
    const char quote = peek();
    if (quote != '"' && quote != '\'') return wrong("a quoted value is wanted");
    ++at_;
    std::string out;
    while (!eat(quote)) {
      if (at_ == text_.size()) return wrong("a value does not end");
      const char c = text_[at_];
      if (c == '<') return wrong("'<' in a value");
      ++at_;
      if (c == '&') {
        CAIRN_CHECK(reference(out));
      } else if (c == '\r' && peek() == '\n') {
        continue;
      } else {
        out += space(c) ? ' ' : c;
      }
    }
    return out;
  }

  // After '<'.
  Result<Tag> start_tag() {
    Tag out;
    CAIRN_TRY(out.name, name());
    while (true) {
      const bool separated = skip_space();
      if (eat('>')) return out;
      if (eat("/>")) {
        out.empty = true;
        return out;
      }
      if (!separated) return wrong("white space is wanted before an attribute");
      if (out.attributes.size() == kMaxXmlAttributes) return wrong("too many attributes");
      auto& [key, value] = out.attributes.emplace_back();
      CAIRN_TRY(key, name());
      skip_space();
      if (!eat('=')) return wrong("'=' is wanted after an attribute's name");
      skip_space();
      CAIRN_TRY(value, attribute_value());
    }
  }

  Result<void> declare(const std::string& prefix, const std::string& uri, XmlNode& node) {
    if (uri.empty() || uri == kXmlUri || uri == kXmlnsUri || prefix == "xml" || prefix == "xmlns")
      return wrong("a namespace that cannot be declared");
    if (std::ranges::contains(node.namespaces, prefix, &XmlNamespace::prefix))
      return wrong("a namespace is declared twice");
    if (node.namespaces.size() == kMaxXmlNamespaces) return wrong("too many namespaces");
    node.namespaces.push_back({prefix, uri});
    return {};
  }

  [[nodiscard]] const std::string* find_namespace(std::string_view prefix, const XmlNode& node) const {
    const auto in = [&](const XmlNode& n) {
      const auto found = std::ranges::find(n.namespaces, prefix, &XmlNamespace::prefix);
      return found == n.namespaces.end() ? nullptr : &found->uri;
    };
    if (const std::string* uri = in(node)) return uri;
    for (std::size_t i = stack_.size(); i-- > 0;)
      if (const std::string* uri = in(out_.nodes[stack_[i]])) return uri;
    return nullptr;
  }

  // The namespace and local part of a written name. Attributes without prefix are in no namespace.
  Result<void> resolve(const std::string& written, bool attribute, const XmlNode& node, std::string& uri,
                       std::string& local) {
    const std::size_t colon = written.find(':');
    const std::string prefix = colon == std::string::npos ? "" : written.substr(0, colon);
    local = colon == std::string::npos ? written : written.substr(colon + 1);
    uri.clear();
    if (prefix.empty() && attribute) return {};
    const std::string* found = find_namespace(prefix, node);
    if (found != nullptr)
      uri = *found;
    else if (!prefix.empty())
      return wrong("the prefix of " + written + " is not declared");
    return {};
  }

  Result<void> set_attributes(const Tag& tag, XmlNode& node) {
    for (const auto& [key, value] : tag.attributes) {
      if (key == "xmlns") CAIRN_CHECK(declare("", value, node));
      if (key.starts_with("xmlns:")) CAIRN_CHECK(declare(key.substr(6), value, node));
    }
    for (const auto& [key, value] : tag.attributes) {
      if (key == "xmlns" || key.starts_with("xmlns:")) continue;
      XmlAttribute a{.name = key, .uri = {}, .local = {}, .value = value};
      CAIRN_CHECK(resolve(key, true, node, a.uri, a.local));
      node.attributes.push_back(std::move(a));
    }
    std::ranges::sort(node.namespaces, {}, &XmlNamespace::prefix);
    const auto key = [](const XmlAttribute& a) { return std::tie(a.uri, a.local); };
    std::ranges::sort(node.attributes, {}, key);
    if (std::ranges::adjacent_find(node.attributes, {}, key) != node.attributes.end())
      return wrong("an attribute is there twice");
    return {};
  }

  Result<std::size_t> add(XmlNode node) {
    if (out_.nodes.size() == kMaxXmlNodes) return wrong("too many elements");
    node.parent = stack_.empty() ? 0 : stack_.back();
    out_.nodes.push_back(std::move(node));
    out_.nodes.back().end = out_.nodes.size();
    return out_.nodes.size() - 1;
  }

  void close() {
    out_.nodes[stack_.back()].end = out_.nodes.size();
    stack_.pop_back();
  }

  // An element after its '<'.
  Result<void> open() {
    if (stack_.size() == kMaxXmlDepth) return wrong("elements are nested too deep");
    CAIRN_TRY(const Tag tag, start_tag());
    XmlNode node{.element = true, .name = tag.name};
    CAIRN_CHECK(set_attributes(tag, node));
    CAIRN_CHECK(resolve(tag.name, false, node, node.uri, node.local));
    CAIRN_TRY(const std::size_t index, add(std::move(node)));
    stack_.push_back(index);
    if (tag.empty) close();
    return {};
  }

  Result<void> text() {
    XmlNode node;
    while (at_ < text_.size() && text_[at_] != '<') {
      if (text_.substr(at_).starts_with("]]>")) return wrong("']]>' in text");
      const char c = text_[at_++];
      if (c == '&') {
        CAIRN_CHECK(reference(node.text));
      } else if (c != '\r') {
        node.text += c;
      } else if (peek() != '\n') {
        node.text += '\n';
      }
    }
    return add(std::move(node)).transform([](std::size_t) {});
  }

  // Whatever comes next inside the innermost open element.
  Result<void> next() {
    if (at_ == text_.size()) return wrong("the document ends inside an element");
    if (peek() != '<') return text();
    ++at_;
    if (!eat('/')) return open();
    CAIRN_TRY(const std::string closing, name());
    if (closing != out_.nodes[stack_.back()].name) return wrong("another element is closed than is open");
    skip_space();
    if (!eat('>')) return wrong("'>' is wanted");
    close();
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Xml out_;
  std::vector<std::size_t> stack_;  // open elements
};

// Characters that XML forbids; encoding is known to be valid.
std::optional<std::size_t> forbidden(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<std::uint8_t>(text[i]);
    if (c < 0x20 && c != '\t' && c != '\n' && c != '\r') return i;
    if (text.substr(i).starts_with("\xEF\xBF\xBE") || text.substr(i).starts_with("\xEF\xBF\xBF")) return i;
  }
  return std::nullopt;
}

void escape(std::string_view text, bool attribute, std::string& out) {
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '\r': out += "&#xD;"; break;
      case '>': out += attribute ? ">" : "&gt;"; break;
      case '"': out += attribute ? "&quot;" : "\""; break;
      case '\t': out += attribute ? "&#x9;" : "\t"; break;
      case '\n': out += attribute ? "&#xA;" : "\n"; break;
      default: out += c;
    }
  }
}

using Scope = std::map<std::string, std::string>;  // prefix to namespace

void write_start(const XmlNode& node, const std::vector<XmlNamespace>& namespaces, std::string& out) {
  out += '<' + node.name;
  for (const XmlNamespace& n : namespaces) {
    out += n.prefix.empty() ? " xmlns=\"" : " xmlns:" + n.prefix + "=\"";
    escape(n.uri, true, out);
    out += '"';
  }
  for (const XmlAttribute& a : node.attributes) {
    out += ' ' + a.name + "=\"";
    escape(a.value, true, out);
    out += '"';
  }
  out += '>';
}

// Namespaces in scope at a node: its own and its ancestors'.
Scope scope_at(const Xml& xml, std::size_t node) {
  Scope out;
  while (true) {
    for (const XmlNamespace& n : xml.nodes[node].namespaces) out.emplace(n.prefix, n.uri);
    if (node == 0) return out;
    node = xml.nodes[node].parent;
  }
}

}  // namespace

std::vector<std::size_t> Xml::children(std::size_t node) const {
  std::vector<std::size_t> out;
  for (std::size_t i = node + 1; i < nodes[node].end; i = nodes[i].end)
    if (nodes[i].element) out.push_back(i);
  return out;
}

const std::string* Xml::text(std::size_t node) const {
  static const std::string none;
  if (nodes[node].end == node + 1) return &none;
  return nodes[node].end == node + 2 && !nodes[node + 1].element ? &nodes[node + 1].text : nullptr;
}

const std::string* Xml::attribute(std::size_t node, std::string_view uri, std::string_view local) const {
  for (const XmlAttribute& a : nodes[node].attributes)
    if (a.uri == uri && a.local == local) return &a.value;
  return nullptr;
}

Result<Xml> parse_xml(ByteView document) {
  if (document.size() > kMaxRim)
    return fail(ErrorCode::malformed, "a document has at most " + std::to_string(kMaxRim) + " bytes");
  const std::string_view text = as_text(document);
  if (!is_utf8(text)) return fail(ErrorCode::malformed, "the document is not UTF-8");
  if (const auto at = forbidden(text))
    return fail(ErrorCode::malformed, "byte " + std::to_string(*at), "a character that XML forbids");
  return Parser(text).document();
}

std::string canonical_xml(const Xml& xml, std::size_t node, std::size_t without) {
  struct Open {
    std::size_t node;
    Scope scope;  // in effect inside
  };
  std::string out;
  std::vector<Open> open;
  const auto close_up_to = [&](std::size_t index) {
    while (!open.empty() && xml.nodes[open.back().node].end <= index) {
      out += "</" + xml.nodes[open.back().node].name + '>';
      open.pop_back();
    }
  };
  for (std::size_t i = node; i < xml.nodes[node].end; ++i) {
    close_up_to(i);
    const XmlNode& n = xml.nodes[i];
    if (i == without && without != 0) {
      i = n.end - 1;
      continue;
    }
    if (!n.element) {
      escape(n.text, false, out);
      continue;
    }
    Scope scope = open.empty() ? scope_at(xml, i) : open.back().scope;
    std::vector<XmlNamespace> shown;
    if (open.empty()) {
      for (const auto& [prefix, uri] : scope) shown.push_back({prefix, uri});
    } else {
      for (const XmlNamespace& declared : n.namespaces)
        if (std::exchange(scope[declared.prefix], declared.uri) != declared.uri) shown.push_back(declared);
    }
    write_start(n, shown, out);
    open.push_back({i, std::move(scope)});
  }
  close_up_to(xml.nodes[node].end);
  return out;
}

}  // namespace cairn::nvidia
