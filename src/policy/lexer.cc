#include "policy/lexer.h"

#include <algorithm>

#include "base/encoding.h"

namespace cairn::policy {
namespace {

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string_view text, std::uint32_t file, std::size_t limit, Lexed& out)
      : text_(text), file_(file), limit_(limit), out_(out) {}

  bool run() {
    out_.tokens.reserve(std::min(limit_, text_.size() / 4) + 1);
    for (;;) {
      skip();
      if (!problem.empty()) return false;
      begin();
      if (at_ >= text_.size()) {
        push(Tok::end);
        if (!braces_.empty()) return refuse("non-terminated string");
        return true;
      }
      if (!token()) return false;
      if (out_.tokens.size() > limit_) return refuse("too many tokens");
    }
  }
  std::string problem;
  Location where;

 private:
  [[nodiscard]] char peek(std::size_t n = 0) const { return at_ + n < text_.size() ? text_[at_ + n] : '\0'; }
  [[nodiscard]] Location here() const {
    return {file_, line_, static_cast<std::uint32_t>(at_ - line_start_ + 1), static_cast<std::uint32_t>(at_)};
  }
  bool refuse(std::string what) {
    if (problem.empty()) {
      problem = std::move(what);
      where = here();
    }
    return false;
  }
  void newline() {
    ++line_;
    line_start_ = at_ + 1;
  }

  void skip() {
    space_ = newline_ = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') {
        newline();
        newline_ = true;
      } else if (c == '#') {
        comment();
        space_ = true;
        --at_;
        continue;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return;
      }
      space_ = true;
    }
  }

  void comment() {
    Comment c;
    c.loc = here();
    const std::size_t from = ++at_;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    auto body = text_.substr(from, at_ - from);
    if (body.ends_with('\r')) body.remove_suffix(1);
    c.text = std::string(body);
    out_.comments.push_back(std::move(c));
  }

  void begin() {
    start_ = at_;
    loc_ = here();
  }
  void push(Tok kind) {
    Token t;
    t.kind = kind;
    t.space_before = space_;
    t.newline_before = newline_;
    t.loc = loc_;
    t.end_offset = static_cast<std::uint32_t>(at_);
    t.text = text_.substr(start_, at_ - start_);
    out_.tokens.push_back(t);
  }
  bool one(Tok kind, std::size_t length = 1) {
    at_ += length;
    push(kind);
    return true;
  }

  bool token() {
    const char c = peek();
    if (letter(c)) {
      while (letter(peek()) || digit(peek())) ++at_;
      push(Tok::name);
      return true;
    }
    if (digit(c)) return number();
    switch (c) {
      case '"': return string();
      case '`': return raw_string();
      case '$':
        if (peek(1) != '"' && peek(1) != '`') return refuse("illegal $ character");
        at_ += 2;
        return template_part(text_[at_ - 1] == '`');
      case '[': return one(Tok::lbrack);
      case ']': return one(Tok::rbrack);
      case '{':
        if (!braces_.empty()) ++braces_.back().depth;
        return one(Tok::lbrace);
      case '}': return close_brace();
      case '(': return one(Tok::lparen);
      case ')': return one(Tok::rparen);
      case ',': return one(Tok::comma);
      case ';': return one(Tok::semicolon);
      case '.': return one(Tok::dot);
      case '+': return one(Tok::plus);
      case '-': return one(Tok::minus);
      case '*': return one(Tok::times);
      case '/': return one(Tok::slash);
      case '%': return one(Tok::percent);
      case '&': return one(Tok::amp);
      case '|': return one(Tok::bar);
      case ':': return peek(1) == '=' ? one(Tok::assign, 2) : one(Tok::colon);
      case '=': return peek(1) == '=' ? one(Tok::equal, 2) : one(Tok::unify);
      case '<': return peek(1) == '=' ? one(Tok::lte, 2) : one(Tok::lt);
      case '>': return peek(1) == '=' ? one(Tok::gte, 2) : one(Tok::gt);
      case '!':
        if (peek(1) == '=') return one(Tok::neq, 2);
        return refuse("illegal ! character");
      default: return refuse("illegal character");
    }
  }

  // A } that ends the expression inside a template string goes on with its text.
  bool close_brace() {
    if (braces_.empty()) return one(Tok::rbrace);
    if (braces_.back().depth > 0) {
      --braces_.back().depth;
      return one(Tok::rbrace);
    }
    const bool raw = braces_.back().raw;
    braces_.pop_back();
    one(Tok::rbrace);
    space_ = newline_ = false;
    begin();
    return template_part(raw);
  }

  bool template_part(bool raw) {
    for (;; ++at_) {
      if (at_ >= text_.size()) return refuse("non-terminated string");
      const char c = text_[at_];
      if (c == '\n') {
        if (!raw) return refuse("non-terminated string");
        newline();
      } else if (c == '\\') {
        if (!raw || peek(1) == '{') ++at_;
      } else if (c == (raw ? '`' : '"')) {
        ++at_;
        push(Tok::text_end);
        break;
      } else if (c == '{') {
        ++at_;
        push(Tok::text_part);
        if (braces_.size() >= 64) return refuse("template strings are nested too deeply");
        braces_.push_back({raw, 0});
        break;
      }
    }
    out_.tokens.back().raw = raw;
    return true;
  }

  bool number() {
    while (digit(peek())) ++at_;
    if (peek() == '.') {
      ++at_;
      if (!digit(peek())) return refuse("expected fraction");
      while (digit(peek())) ++at_;
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digit(peek())) return refuse("expected exponent");
      while (digit(peek())) ++at_;
    }
    if (letter(peek())) return refuse("illegal number format");
    push(Tok::number);
    return true;
  }

  bool string() {
    for (++at_;; ++at_) {
      if (at_ >= text_.size() || text_[at_] == '\n') return refuse("non-terminated string");
      if (text_[at_] == '\\') {
        ++at_;
        if (at_ < text_.size() && std::string_view("\\\"/bfnrtu").find(text_[at_]) == std::string_view::npos)
          return refuse("illegal escape sequence");
      } else if (text_[at_] == '"') {
        break;
      }
    }
    ++at_;
    push(Tok::string);
    return true;
  }

  bool raw_string() {
    for (++at_;; ++at_) {
      if (at_ >= text_.size()) return refuse("non-terminated string");
      if (text_[at_] == '\n') newline();
      if (text_[at_] == '`') break;
    }
    ++at_;
    push(Tok::raw_string);
    return true;
  }

  struct Template {
    bool raw;
    std::size_t depth;
  };
  std::string_view text_;
  std::uint32_t file_;
  std::size_t limit_;
  Lexed& out_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
  std::size_t line_start_ = 0;
  std::uint32_t line_ = 1;
  bool space_ = false;
  bool newline_ = false;
  Location loc_;
  std::vector<Template> braces_;
};

}  // namespace

bool lex(std::string_view text, std::uint32_t file, std::size_t token_limit, Lexed& out, std::string& problem,
         Location& where) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (!is_utf8(text)) {
    problem = "the text is not UTF-8";
    where = {file, 1, 1, 0};
    return false;
  }
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    problem = "illegal null character";
    where = {file, 1, 1, static_cast<std::uint32_t>(nul)};
    return false;
  }
  Lexer lexer(text, file, token_limit, out);
  if (lexer.run()) return true;
  problem = lexer.problem;
  where = lexer.where;
  return false;
}

bool unescape(const Token& token, std::string& out) {
  out.clear();
  if (token.kind == Tok::raw_string) {
    out = std::string(token.text.substr(1, token.text.size() - 2));
    return true;
  }
  const bool is_template = token.kind == Tok::text_part || token.kind == Tok::text_end;
  std::string_view inner = token.text;
  if (is_template) {
    // A part after the first may start with $ too, but with $ and the quote only where these are all of it.
    if (inner.size() > 2 && inner.starts_with(token.raw ? "$`" : "$\"")) inner.remove_prefix(2);
    inner.remove_suffix(1);
  } else {
    inner = inner.substr(1, inner.size() - 2);
  }
  if (inner.find('\\') == std::string_view::npos) {
    out = std::string(inner);
    return true;
  }
  // Template escapes of braces become braces; what is left is a JSON string.
  std::string json = "\"";
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '\\' && i + 1 < inner.size()) {
      if (is_template && inner[i + 1] == '{') {
        json += '{';
        ++i;
        continue;
      }
      if (!token.raw) {
        json += inner[i];
        json += inner[++i];
        continue;
      }
    }
    json += inner[i];
  }
  if (token.raw) {
    out = json.substr(1);
    return true;
  }
  json += '"';
  Arena scratch;
  std::string problem;
  const Value v = read_json(json, scratch, problem);
  if (!v.is(Kind::string)) return false;
  out = std::string(v.text());
  return true;
}

std::string_view token_name(Tok t) {
  switch (t) {
    case Tok::end: return "eof";
    case Tok::name: return "identifier";
    case Tok::number: return "number";
    case Tok::string:
    case Tok::raw_string: return "string";
    case Tok::text_part:
    case Tok::text_end: return "template string";
    case Tok::lbrack: return "[";
    case Tok::rbrack: return "]";
    case Tok::lbrace: return "{";
    case Tok::rbrace: return "}";
    case Tok::lparen: return "(";
    case Tok::rparen: return ")";
    case Tok::comma: return ",";
    case Tok::colon: return ":";
    case Tok::semicolon: return ";";
    case Tok::dot: return ".";
    case Tok::assign: return ":=";
    case Tok::unify: return "=";
    case Tok::equal: return "==";
    case Tok::neq: return "!=";
    case Tok::lt: return "<";
    case Tok::lte: return "<=";
    case Tok::gt: return ">";
    case Tok::gte: return ">=";
    case Tok::plus: return "+";
    case Tok::minus: return "-";
    case Tok::times: return "*";
    case Tok::slash: return "/";
    case Tok::percent: return "%";
    case Tok::amp: return "&";
    case Tok::bar: return "|";
  }
  return "?";
}

}  // namespace cairn::policy
