// The parser's class, shared by parser.cc (modules and rules) and parser_terms.cc (expressions).
#pragma once

#include <array>
#include <optional>

#include "policy/lexer.h"
#include "policy/parser.h"

namespace cairn::policy {

enum class Word : std::uint8_t {
  as,
  default_,
  else_,
  false_,
  import,
  not_,
  null,
  package,
  some,
  true_,
  with,
  if_,
  in,
  every,
  contains,
  and_,
  or_,  // keywords only where enabled
  none,
};

class Parser {
 public:
  Parser(const Lexed& lexed, std::uint32_t file, Syntax syntax, const CompileLimits& limits, AstPool& pool);
  [[nodiscard]] std::optional<Module> module();
  [[nodiscard]] std::optional<Body> whole_query();
  [[nodiscard]] Diagnostic diagnostic() const;

 private:
  class Leave {
   public:
    explicit Leave(Parser& p) : p_(p) {}
    Leave(const Leave&) = delete;
    Leave& operator=(const Leave&) = delete;
    ~Leave() { --p_.depth_; }

   private:
    Parser& p_;
  };

  [[nodiscard]] const Token& tok() const { return toks_[pos_]; }
  [[nodiscard]] Word word() const { return words_[pos_]; }
  [[nodiscard]] bool at(Tok t) const { return tok().kind == t; }
  // Reports and returns false; of several problems the one furthest into the text is kept.
  bool error_at(std::size_t token, std::string message);
  bool illegal(std::string_view note);
  [[nodiscard]] bool enter();
  [[nodiscard]] bool link();
  [[nodiscard]] bool fits(std::size_t parts, std::size_t most);
  void cache_words();
  void enable_v2();

  // Modules and rules.
  [[nodiscard]] bool at_name() const;
  [[nodiscard]] bool keyword_ref() const;
  [[nodiscard]] bool at_if() const { return word() == Word::if_ && !keyword_ref(); }
  [[nodiscard]] bool path(std::vector<std::string>& out);
  [[nodiscard]] bool package(Module& module);
  [[nodiscard]] bool import(Module& module);
  [[nodiscard]] bool keyword_import(const Import& import, Module& module, std::size_t token);
  [[nodiscard]] bool rules(Module& module);
  [[nodiscard]] bool head(Rule& rule);
  [[nodiscard]] bool default_rule(Rule& rule, std::size_t start);
  [[nodiscard]] bool body_of(Rule& rule);
  [[nodiscard]] bool more_bodies(Module& module, const Rule* first);
  [[nodiscard]] bool bare_rule(Module& module, Rule* rule, std::size_t start);
  [[nodiscard]] bool checked(const Rule& rule, std::size_t start);
  [[nodiscard]] bool end_of_statement();
  [[nodiscard]] Rule* else_rule(const Rule& of);
  void copy_head(Rule& rule);
  void true_body(Rule& rule);

  // Expressions; nullptr where they do not parse.
  [[nodiscard]] bool braced(Body& body);  // { … }
  [[nodiscard]] bool body_until(Tok end, Body& body);
  [[nodiscard]] Expr* literal();
  [[nodiscard]] Expr* literal_inner();
  [[nodiscard]] Expr* some();
  [[nodiscard]] Expr* every();
  [[nodiscard]] Expr* not_body(Location loc);
  [[nodiscard]] Expr* plain(bool negated, Location loc);
  [[nodiscard]] bool with(Expr& e);
  [[nodiscard]] Expr* expression();
  [[nodiscard]] Expr* finish(Expr* left);
  [[nodiscard]] bool logical_active() const { return future_[4] || future_[5]; }
  [[nodiscard]] bool at_logical() const { return word() == Word::and_ || word() == Word::or_; }
  struct Operand {
    Body body;
    bool explicit_body = false;
    Location loc;
  };
  [[nodiscard]] bool operand(Operand& out, std::string_view op);
  [[nodiscard]] Expr* or_chain(Operand left);
  [[nodiscard]] bool and_chain(Operand& left);
  enum class Group : std::uint8_t { no, yes, failed };
  [[nodiscard]] Group group(Operand& out, bool operand_context);
  [[nodiscard]] Expr* wrap_not(Body body, bool explicit_body, Location loc);

  // Terms.
  [[nodiscard]] Term* infix() { return in(true); }
  [[nodiscard]] Term* in_list() { return in(false); }
  [[nodiscard]] Term* in(bool key_value);
  [[nodiscard]] Term* relation();
  [[nodiscard]] Term* binary(int level);
  [[nodiscard]] Term* term();
  [[nodiscard]] Term* term_uncached();
  [[nodiscard]] Term* primary();
  [[nodiscard]] Term* number(bool negative);
  [[nodiscard]] Term* string();
  [[nodiscard]] Term* text();
  [[nodiscard]] Term* array();
  [[nodiscard]] Term* braces();
  [[nodiscard]] Term* object_rest(Term* key, Location loc, bool comprehension);
  [[nodiscard]] bool list(Tok end, std::vector<Term*>& out);
  [[nodiscard]] bool pairs(std::vector<Term*>& out);
  [[nodiscard]] Term* ref_tail(Term* head, bool rule_head);
  [[nodiscard]] Term* call(std::string_view name, Location loc, std::vector<Term*> operands);

  struct Memo {
    Term* term = nullptr;
    std::size_t end = 0;
    std::uint32_t age = 0;  // counts where age_ does
  };
  const std::vector<Token>& toks_;
  std::vector<Word> all_words_;  // of the tokens, were all keywords enabled
  std::vector<Word> words_;
  std::uint32_t file_;
  bool v1_;
  bool not_bodies_ = false;
  std::array<bool, 6> future_{};  // if, in, every, contains, and, or
  const CompileLimits& limits_;
  AstPool& pool_;
  std::size_t pos_ = 0;
  std::size_t depth_ = 0;
  std::size_t budget_ = 0;
  std::size_t links_ = 0;  // operators of the outermost expression, which chain terms into a deep tree
  bool in_literal_ = false;
  bool hard_ = false;  // no alternative is worth trying
  std::size_t error_token_ = 0;
  std::string message_;
  std::vector<Memo> terms_;  // by token: what starts there, as far as it has been parsed since age_ began
  std::uint32_t age_ = 0;
};

}  // namespace cairn::policy
