// YAML texts as trees of nodes, with the tokens and the grammar of libyaml. What a scalar means is its reader's affair.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/limits.h"

namespace cairn {

struct YamlLimits {
  std::size_t bytes = kJsonMax;
  std::size_t depth = kJsonDepth;  // sequences and mappings inside each other
  std::size_t nodes = 1'000'000;   // of all documents together
};

struct YamlNode {
  enum class Kind : std::uint8_t { scalar, sequence, mapping, alias };
  Kind kind = Kind::scalar;
  bool plain = true;  // a scalar without quotes that is no block scalar
  std::string tag;    // the whole URI, or what begins with "!"; empty where none is given, and for "!" alone
  std::string value;  // text of a scalar, UTF-8; name of the anchor that an alias refers to
  // Indices of items; of keys and values in turns; of the one node that an alias stands for, which may hold the alias.
  std::vector<std::uint32_t> children;
};

struct YamlStream {
  std::vector<YamlNode> nodes;
  std::vector<std::uint32_t> documents;  // their roots
  bool anchors = false;                  // is there an anchor or an alias?
};

// Reads every document of a stream. malformed, with "line N" as `where`: not UTF-8, control characters, what the
// grammar excludes, an alias before its anchor (anchors outlive their document), a version other than 1.1, and what
// go-yaml, the port of libyaml that OPA uses, refuses besides: '?' inside a plain scalar of a flow collection, "\/", a
// byte-order mark that begins a line, ',' right behind a tag. too_large past a limit. Does not recurse.
[[nodiscard]] Result<YamlStream> read_yaml(std::string_view text, const YamlLimits& limits = {});

}  // namespace cairn
