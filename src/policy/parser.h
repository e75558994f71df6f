// Policy text to tree.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "policy/ast.h"
#include "policy/lexer.h"

namespace cairn::policy {

struct Syntax {
  bool v1 = true;        // v1 rules: `if` before bodies, `contains` for sets
  bool keywords = true;  // if, in, every, contains
  bool logical = false;  // and, or, and bodies after not (rego.v2)
};

// A text's tokens, which are the same in every syntax and point into it; false with one diagnostic.
[[nodiscard]] bool tokens_of(std::string_view text, std::uint32_t file, const CompileLimits& limits, Lexed& lexed,
                             Diagnostic& problem);
// The module, or nullopt with one diagnostic. Nodes live in `pool`.
[[nodiscard]] std::optional<Module> parse_module(const Lexed& lexed, std::uint32_t file, Syntax syntax,
                                                 const CompileLimits& limits, AstPool& pool, Diagnostic& problem);
// A query: expressions separated by ; or newlines.
[[nodiscard]] std::optional<Body> parse_query(std::string_view text, std::uint32_t file, Syntax syntax,
                                              const CompileLimits& limits, AstPool& pool, Diagnostic& problem);

}  // namespace cairn::policy
