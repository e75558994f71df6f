// Tokens of a policy text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policy/ast.h"

namespace cairn::policy {

enum class Tok : std::uint8_t {
  end,
  name,
  number,
  string,
  raw_string,
  text_part,
  text_end,  // of a template string: a part before {, and the last part
  lbrack,
  rbrack,
  lbrace,
  rbrace,
  lparen,
  rparen,
  comma,
  colon,
  semicolon,
  dot,
  assign,
  unify,
  equal,
  neq,
  lt,
  lte,
  gt,
  gte,
  plus,
  minus,
  times,
  slash,
  percent,
  amp,
  bar,
};

struct Token {
  Tok kind = Tok::end;
  bool space_before = false;  // white space or a comment
  bool newline_before = false;
  bool raw = false;  // of a raw template string
  Location loc;
  std::uint32_t end_offset = 0;
  std::string_view text;  // as written; into the source
};

struct Lexed {
  std::vector<Token> tokens;  // ends with Tok::end
  std::vector<Comment> comments;
};

// malformed text appends one diagnostic and returns false.
[[nodiscard]] bool lex(std::string_view text, std::uint32_t file, std::size_t token_limit, Lexed& out,
                       std::string& problem, Location& where);
// What a string or template part token stands for; false where an escape is bad.
[[nodiscard]] bool unescape(const Token& token, std::string& out);
[[nodiscard]] std::string_view token_name(Tok t);

}  // namespace cairn::policy
