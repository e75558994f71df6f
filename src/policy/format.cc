// Layout from tokens: indentation by brackets, one space around operators, at most one empty line. Lines and comments
// stay where their author put them, so that nothing but white space can change.
#include <algorithm>

#include "policy/lexer.h"
#include "policy/parser.h"

namespace cairn::policy {
namespace {

bool opens(Tok t) { return t == Tok::lbrace || t == Tok::lbrack || t == Tok::lparen; }
bool closes(Tok t) { return t == Tok::rbrace || t == Tok::rbrack || t == Tok::rparen; }
bool infix(Tok t) { return t >= Tok::assign && t <= Tok::bar; }

class Formatter {
 public:
  Formatter(std::string_view text, const Lexed& lexed) : text_(text), t_(lexed.tokens), comments_(lexed.comments) {}

  std::string run() {
    std::size_t comment = 0;
    std::uint32_t line = 0;
    for (std::size_t i = 0; i < t_.size();) {
      const std::uint32_t next = t_[i].kind == Tok::end ? UINT32_MAX : t_[i].loc.line;
      while (comment < comments_.size() && comments_[comment].loc.line < next) {
        start(comments_[comment].loc.line, line, depth_);
        out_ += "#" + comments_[comment].text + "\n";
        line = comments_[comment++].loc.line;
      }
      if (t_[i].kind == Tok::end) break;
      start(next, line, depth_ - leading_closers(i));
      line = one_line(i);
      if (comment < comments_.size() && comments_[comment].loc.line == line) out_ += " #" + comments_[comment++].text;
      out_ += "\n";
    }
    return out_;
  }

 private:
  void start(std::uint32_t at, std::uint32_t before, std::size_t depth) {
    if (before != 0 && at > before + 1) out_ += "\n";
    out_.append(depth, '\t');
  }

  // Brackets closed before anything else stands on the line, counted by the lines that opened them.
  std::size_t leading_closers(std::size_t i) const {
    std::size_t n = 0;
    auto stack = stack_;
    for (; i < t_.size() && closes(t_[i].kind) && !stack.empty() && (i == 0 || !t_[i].newline_before || n == 0); ++i) {
      n += stack.back() ? 1 : 0;
      stack.pop_back();
    }
    return std::min(n, depth_);
  }

  // Emits the tokens of one line; several brackets opened on it indent the next lines once.
  std::uint32_t one_line(std::size_t& i) {
    const std::uint32_t first = t_[i].loc.line;
    std::uint32_t last = first;
    const std::size_t from = i;
    bool counted = false;
    std::size_t opened_here = 0;
    for (; i < t_.size() && t_[i].kind != Tok::end && (i == from || !t_[i].newline_before); ++i) {
      if (i > from && space(i)) out_ += ' ';
      if (t_[i].kind == Tok::text_part) {  // a template string is copied as it is
        const std::size_t begin = t_[i].loc.offset;
        std::size_t nested = 1;
        while (nested > 0 && i + 1 < t_.size()) {
          ++i;
          if (t_[i].kind == Tok::text_part && t_[i].text.starts_with('$')) ++nested;
          if (t_[i].kind == Tok::text_end && !t_[i].text.starts_with('$')) --nested;
        }
        emit(text_.substr(begin, t_[i].end_offset - begin), last);
        continue;
      }
      emit(t_[i].text, last);
      if (opens(t_[i].kind)) {
        stack_.push_back(!counted);
        if (!counted) ++depth_;
        counted = true;
        ++opened_here;
      } else if (closes(t_[i].kind) && !stack_.empty()) {
        if (stack_.back() && depth_ > 0) {
          --depth_;
          if (opened_here > 0) counted = false;
        }
        if (opened_here > 0) --opened_here;
        stack_.pop_back();
      }
    }
    return last;
  }

  void emit(std::string_view s, std::uint32_t& line) {
    out_ += s;
    line = t_line(s, line);
  }
  // Raw strings go on over lines.
  std::uint32_t t_line(std::string_view s, std::uint32_t line) const {
    return line + static_cast<std::uint32_t>(std::ranges::count(s, '\n'));
  }

  // Is the minus at i a sign?
  bool sign(std::size_t i) const {
    if (t_[i].kind != Tok::minus) return false;
    if (i == 0) return true;
    const Tok p = t_[i - 1].kind;
    if (infix(p) || opens(p) || p == Tok::comma || p == Tok::colon || p == Tok::semicolon) return true;
    return p == Tok::name && t_[i].space_before && !t_[i + 1].space_before;
  }

  bool space(std::size_t i) const {
    const Token& a = t_[i - 1];
    const Token& b = t_[i];
    if (b.kind == Tok::comma || b.kind == Tok::semicolon || b.kind == Tok::colon || b.kind == Tok::dot) return false;
    if (a.kind == Tok::dot) return false;
    if (a.kind == Tok::comma || a.kind == Tok::semicolon || a.kind == Tok::colon) return true;
    if (a.kind == Tok::minus && sign(i - 1)) return false;
    if (b.kind == Tok::rparen || b.kind == Tok::rbrack) return false;
    if (a.kind == Tok::lparen || a.kind == Tok::lbrack) return false;
    if (a.kind == Tok::lbrace || b.kind == Tok::rbrace)
      return b.space_before && !(a.kind == Tok::lbrace && b.kind == Tok::rbrace);
    if (infix(a.kind) || infix(b.kind)) return true;
    if (b.kind == Tok::lbrack || b.kind == Tok::lparen) return b.space_before;  // x[y] is not x [y]
    return b.space_before || b.kind == Tok::lbrace;
  }

  std::string_view text_;
  const std::vector<Token>& t_;
  const std::vector<Comment>& comments_;
  std::string out_;
  std::vector<bool> stack_;  // per open bracket: does it indent?
  std::size_t depth_ = 0;
};

}  // namespace

Result<std::string> format(const Source& source, Dialect dialect) {
  try {
    AstPool pool;
    Diagnostic problem;
    const CompileLimits limits;
    Lexed lexed;
    bool parsed = false;
    const bool lexes = tokens_of(source.text, 0, limits, lexed, problem);
    for (const Syntax& s :
         {Syntax{.v1 = true}, Syntax{.v1 = false, .keywords = true}, Syntax{.v1 = false, .keywords = false}}) {
      if (!lexes || (dialect == Dialect::v1 && !s.v1) || (dialect == Dialect::v0 && (s.v1 || s.keywords))) continue;
      Diagnostic d;
      parsed = parse_module(lexed, 0, s, limits, pool, d).has_value();
      if (parsed) break;
      if (problem.message.empty()) problem = d;
    }
    if (!parsed) {
      problem.file = source.name;
      return fail(ErrorCode::malformed,
                  source.name + ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column),
                  problem.message);
    }
    return Formatter(source.text, lexed).run();
  } catch (Stop& s) {
    return std::unexpected(std::move(s.error));
  }
}

}  // namespace cairn::policy
