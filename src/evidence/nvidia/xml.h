// The XML of RIM documents: a strict reader of the subset they are written in, and its canonical form. No document
// type, entity declaration, processing instruction, comment, CDATA section or attribute of the xml namespace is taken,
// so what is read is exactly what the canonical form covers. XML 1.0, Namespaces in XML 1.0, Canonical XML 1.1.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace cairn::nvidia {

struct XmlAttribute {
  std::string name, uri, local;  // as written; namespace ("" for none); name in it
  std::string value;             // normalized
};
struct XmlNamespace {
  std::string prefix, uri;  // prefix "": the default
};

// An element, or a run of text.
struct XmlNode {
  bool element = false;
  std::string text;                      // of a text node
  std::string name, uri, local;          // of an element, as an attribute's
  std::vector<XmlNamespace> namespaces;  // declared here, sorted by prefix
  std::vector<XmlAttribute> attributes;  // sorted by namespace, then name: canonical order
  std::size_t parent = 0;                // the root's is itself
  std::size_t end = 0;                   // one past the last node below this
};

// Nodes in document order; the first is the root element.
struct Xml {
  std::vector<XmlNode> nodes;

  [[nodiscard]] const XmlNode& root() const { return nodes.front(); }
  // Child elements of a node, in order.
  [[nodiscard]] std::vector<std::size_t> children(std::size_t node) const;
  // The text directly inside an element that has no child elements; nullptr if it has.
  [[nodiscard]] const std::string* text(std::size_t node) const;
  // Value of an attribute; nullptr if absent.
  [[nodiscard]] const std::string* attribute(std::size_t node, std::string_view uri, std::string_view local) const;
};

// malformed at a byte; limits in limits.h.
[[nodiscard]] Result<Xml> parse_xml(ByteView document);

// Canonical XML 1.1 without comments of the subtree at `node`, leaving out the one at `without` (0: nothing).
[[nodiscard]] std::string canonical_xml(const Xml& xml, std::size_t node, std::size_t without);

}  // namespace cairn::nvidia
