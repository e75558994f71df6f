#include "policy/parser.h"

#include <algorithm>
#include <array>

#include "policy/builtins.h"
#include "policy/lexer.h"
#include "policy/parser_impl.h"

namespace cairn::policy {

namespace {
constexpr std::array<std::pair<std::string_view, Word>, 18> words{{{"as", Word::as},
                                                                   {"default", Word::default_},
                                                                   {"else", Word::else_},
                                                                   {"false", Word::false_},
                                                                   {"import", Word::import},
                                                                   {"not", Word::not_},
                                                                   {"null", Word::null},
                                                                   {"package", Word::package},
                                                                   {"some", Word::some},
                                                                   {"true", Word::true_},
                                                                   {"with", Word::with},
                                                                   {"if", Word::if_},
                                                                   {"in", Word::in},
                                                                   {"every", Word::every},
                                                                   {"contains", Word::contains},
                                                                   {"and", Word::and_},
                                                                   {"or", Word::or_},
                                                                   {"", Word::none}}};

Word word_of(std::string_view text) {
  const auto it = std::ranges::find_if(words, [&](const auto& w) {
    return w.first.size() == text.size() && !text.empty() && w.first[0] == text[0] && w.first == text;
  });
  return it == words.end() ? Word::none : it->second;
}
}  // namespace

Parser::Parser(const Lexed& lexed, std::uint32_t file, Syntax syntax, const CompileLimits& limits, AstPool& pool)
    : toks_(lexed.tokens), file_(file), v1_(syntax.v1), limits_(limits), pool_(pool) {
  if (syntax.keywords || syntax.v1) future_ = {true, true, true, true, false, false};
  if (syntax.logical) enable_v2();
  budget_ = 20'000 + 200 * toks_.size();
  all_words_.reserve(toks_.size());
  for (const Token& t : toks_) all_words_.push_back(t.kind == Tok::name ? word_of(t.text) : Word::none);
  terms_.resize(toks_.size());
  cache_words();
}

void Parser::enable_v2() {
  future_ = {true, true, true, true, true, true};
  not_bodies_ = true;
}

void Parser::cache_words() {
  words_ = all_words_;
  for (Word& w : words_)
    if (w >= Word::if_ && w != Word::none &&
        !future_[static_cast<std::size_t>(w) - static_cast<std::size_t>(Word::if_)])
      w = Word::none;
  ++age_;
}

bool Parser::error_at(std::size_t token, std::string message) {
  if (message_.empty() || token > error_token_) {
    error_token_ = token;
    message_ = std::move(message);
  }
  return false;
}

bool Parser::illegal(std::string_view note) {
  std::string message =
      "unexpected " +
      (tok().kind == Tok::name ? (word() == Word::none ? "identifier" : "'" + std::string(tok().text) + "' keyword")
                               : std::string(token_name(tok().kind))) +
      " token";
  if (!note.empty()) message += ": " + std::string(note);
  return error_at(pos_, std::move(message));
}

Diagnostic Parser::diagnostic() const {
  Diagnostic d;
  const Token& t = toks_[std::min(error_token_, toks_.size() - 1)];
  d.line = t.loc.line;
  d.column = t.loc.column;
  d.code = "rego_parse_error";
  d.message = message_.empty() ? "the text does not parse" : message_;
  return d;
}

// Bounds nesting and the work of backtracking.
bool Parser::enter() {
  ++depth_;
  if (depth_ > limits_.nesting * 8) {
    hard_ = true;
    return error_at(pos_, "nested too deeply");
  }
  if (budget_ == 0) {
    hard_ = true;
    return error_at(pos_, "the expression is too complex to parse");
  }
  --budget_;
  return true;
}

// Bounds the depth of what a chain of operators becomes.
bool Parser::link() {
  if (++links_ <= limits_.nesting * 16) return true;
  hard_ = true;
  return error_at(pos_, "the expression has more operators than the limit");
}

// Bounds the depth of the tree that paths become.
bool Parser::fits(std::size_t parts, std::size_t most) {
  if (parts <= most) return true;
  hard_ = true;
  return error_at(pos_, "the path has more parts than the limit");
}

// A name or, as the head of a longer reference, a keyword.
bool Parser::at_name() const {
  if (tok().kind != Tok::name) return false;
  if (word() == Word::none || word() == Word::contains) return true;
  return keyword_ref();
}

bool Parser::keyword_ref() const {
  if (tok().kind != Tok::name || word() == Word::none) return false;
  const Token& next = toks_[std::min(pos_ + 1, toks_.size() - 1)];
  return !next.space_before && (next.kind == Tok::dot || next.kind == Tok::lbrack);
}

bool Parser::path(std::vector<std::string>& out) {
  if (tok().kind != Tok::name) return illegal("expected path");
  out.emplace_back(tok().text);
  ++pos_;
  for (;;) {
    if (!fits(out.size(), limits_.nesting)) return false;
    if (tok().space_before) return true;
    if (tok().kind == Tok::dot) {
      ++pos_;
      if (tok().kind != Tok::name) return illegal("expected identifier");
      out.emplace_back(tok().text);
      ++pos_;
    } else if (tok().kind == Tok::lbrack) {
      ++pos_;
      std::string s;
      if ((tok().kind != Tok::string && tok().kind != Tok::raw_string) || !unescape(tok(), s))
        return illegal("expecting string");
      out.push_back(std::move(s));
      ++pos_;
      if (tok().kind != Tok::rbrack) return illegal("expected ]");
      ++pos_;
    } else {
      return true;
    }
  }
}

bool Parser::package(Module& module) {
  module.package_loc = tok().loc;
  ++pos_;
  if (!path(module.package)) return false;
  if (at(Tok::semicolon)) ++pos_;
  return !at(Tok::minus) || illegal({});
}

bool Parser::keyword_import(const Import& import, Module& module, std::size_t token) {
  const auto& p = import.path;
  if (p[0] == "rego") {
    if (p.size() != 2 || (p[1] != "v1" && p[1] != "v2"))
      return error_at(token, "invalid import `" + path_text(p) + "`, must be one of: `rego.v1`, `rego.v2`");
    if (!import.alias.empty()) return error_at(token, "`rego` imports cannot be aliased");
    future_[0] = future_[1] = future_[2] = future_[3] = true;
    v1_ = true;
    if (p[1] == "v2") enable_v2();
    cache_words();
    return true;
  }
  if (p.size() < 2 || p[1] != "keywords") return error_at(token, "invalid import, must be `future.keywords`");
  if (!import.alias.empty()) return error_at(token, "`future` imports cannot be aliased");
  if (p.size() == 2) {
    enable_v2();
  } else {
    bool known = false;
    for (const auto& [text, word] : words)
      if (text == p[2] && word >= Word::if_ && word != Word::none) {
        future_[static_cast<std::size_t>(word) - static_cast<std::size_t>(Word::if_)] = true;
        known = true;
      }
    if (p[2] == "every") future_[1] = true;  // every needs in
    if (p[2] == "not") known = not_bodies_ = true;
    if (!known) return error_at(token, "unexpected keyword, must be one of [and contains every if in not or]");
  }
  cache_words();
  module.not_bodies = not_bodies_;
  return true;
}

bool Parser::import(Module& module) {
  Import imp;
  imp.loc = tok().loc;
  ++pos_;
  const std::size_t token = pos_;
  if (!path(imp.path)) return false;
  if (imp.path[0] != "data" && imp.path[0] != "input" && imp.path[0] != "future" && imp.path[0] != "rego")
    return error_at(token,
                    "unexpected import path, must begin with one of: {data, future, input, rego}, got: " + imp.path[0]);
  if (word() == Word::as && !tok().newline_before) {
    ++pos_;
    if (tok().kind != Tok::name || word() != Word::none) return illegal("expected var");
    imp.alias = std::string(tok().text);
    if (imp.alias == "input" || imp.alias == "data")
      return error_at(pos_, "unexpected import alias, must not be a reserved name, got: " + imp.alias);
    ++pos_;
  } else if (imp.path[0] == "data" || imp.path[0] == "input") {
    for (const auto& [text, word] : words)
      if (text == imp.path.back() && word != Word::none && (word < Word::if_ || (v1_ && word <= Word::contains)))
        return error_at(token, "unexpected import path, must not end with a keyword, got: " + imp.path.back());
  }
  if (at(Tok::semicolon)) ++pos_;
  if (imp.path[0] == "future" || imp.path[0] == "rego") return keyword_import(imp, module, token);
  module.imports.push_back(std::move(imp));
  return true;
}

std::optional<Module> Parser::module() {
  Module m;
  m.file = file_;
  if (tok().kind == Tok::end) {
    error_at(0, "empty module");
    return std::nullopt;
  }
  if (word() != Word::package || keyword_ref()) {
    error_at(pos_, "package expected");
    return std::nullopt;
  }
  if (!package(m)) return std::nullopt;
  while (tok().kind != Tok::end) {
    if (word() == Word::import && !keyword_ref()) {
      if (!import(m)) return std::nullopt;
      continue;
    }
    if (word() == Word::package && !keyword_ref()) {
      error_at(pos_, "unexpected package");
      return std::nullopt;
    }
    ++age_;
    if (!rules(m)) return std::nullopt;
    if (m.rules.size() > limits_.rules) {
      error_at(pos_, "too many rules");
      return std::nullopt;
    }
  }
  m.v1 = v1_;
  m.not_bodies = not_bodies_;
  return m;
}

bool Parser::head(Rule& rule) {
  if (!at_name()) return illegal("expected rule");
  const std::size_t start = pos_;
  if (tok().kind == Tok::name && word() == Word::contains && !keyword_ref() && v1_)
    return error_at(pos_, "contains keyword cannot be used for rule name");
  Term* t = pool_.var(pool_.symbol(tok().text), tok().loc);
  ++pos_;
  if (*t->name == "_") return error_at(start, "expected rule head name");
  Term* full = ref_tail(t, true);
  if (full == nullptr) return false;
  if (full->kind == TermKind::call) {
    rule.function = true;
    Term* op = full->items[0];
    rule.ref = op->kind == TermKind::ref ? op->items : std::vector<Term*>{op};
    rule.args.assign(full->items.begin() + 1, full->items.end());
  } else if (full->kind == TermKind::ref) {
    rule.ref = full->items;
  } else {
    rule.ref = {full};
  }
  if (rule.ref[0]->kind != TermKind::var) return error_at(start, "invalid rule head");
  if (!fits(rule.ref.size(), limits_.nesting)) return false;
  if (word() == Word::contains) {
    if (rule.function) return error_at(pos_, "the contains keyword can only be used with multi-value rule definitions");
    ++pos_;
    rule.uses_contains = true;
    rule.key = infix();
    return rule.key != nullptr || error_at(pos_, "expected rule key term");
  }
  if (tok().kind == Tok::unify || tok().kind == Tok::assign) {
    rule.assign = tok().kind == Tok::assign;
    ++pos_;
    rule.value = infix();
    return rule.value != nullptr || error_at(pos_, "expected rule value term");
  }
  return true;
}

bool Parser::default_rule(Rule& rule, std::size_t start) {
  if (rule.value == nullptr) return error_at(start, "illegal default rule (must have a value)");
  std::vector<const Term*> stack{rule.value};
  while (!stack.empty()) {
    const Term* t = stack.back();
    stack.pop_back();
    if (t->kind == TermKind::var || t->kind == TermKind::ref || t->kind == TermKind::call || t->kind == TermKind::text)
      return error_at(start, "illegal default rule (value cannot contain " +
                                 std::string(t->kind == TermKind::var    ? "var"
                                             : t->kind == TermKind::ref  ? "ref"
                                             : t->kind == TermKind::call ? "call"
                                                                         : "template string") +
                                 ")");
    if (t->kind == TermKind::array || t->kind == TermKind::object || t->kind == TermKind::set)
      stack.insert(stack.end(), t->items.begin(), t->items.end());
  }
  std::vector<Symbol> seen;
  for (const Term* a : rule.args) {
    if (a->kind != TermKind::var) return error_at(start, "illegal default rule (arguments cannot contain values)");
    if (std::ranges::find(seen, a->name) != seen.end())
      return error_at(start, "illegal default rule (arguments cannot be repeated " + *a->name + ")");
    seen.push_back(a->name);
  }
  return true;
}

void Parser::true_body(Rule& rule) {
  Expr* e = pool_.expr(ExprKind::term, rule.loc);
  e->items = {pool_.scalar(Value::boolean(true), rule.loc)};
  e->generated = true;
  rule.body = {e};
  rule.generated_body = true;
}

bool Parser::body_of(Rule& rule) {
  if (at_if()) {
    ++pos_;
    rule.uses_if = true;
    const bool brace = tok().kind == Tok::lbrace;
    const std::size_t back = pos_;
    if (Expr* e = literal(); e != nullptr) {
      const bool set = brace && e->kind == ExprKind::term && e->items[0]->kind == TermKind::set;
      if (!set) {
        rule.body = {e};
        return true;
      }
    }
    if (!brace || hard_) return false;
    pos_ = back;
  }
  return braced(rule.body);
}

bool Parser::rules(Module& module) {
  const std::size_t start = pos_;
  links_ = 0;
  Rule* rule = pool_.rule(tok().loc);
  rule->module = file_;
  if (word() == Word::default_ && !keyword_ref()) {
    rule->is_default = true;
    ++pos_;
  }
  if (tok().kind == Tok::name && word() != Word::none && word() != Word::contains && !keyword_ref())
    return word() == Word::true_ || word() == Word::false_ || word() == Word::null
               ? error_at(pos_, "unexpected '" + std::string(tok().text) + "' keyword token")
               : error_at(pos_, std::string(tok().text) + " keyword cannot be used for rule name");
  if (!head(*rule)) return false;
  if (rule->is_default) {
    if (!default_rule(*rule, start)) return false;
    true_body(*rule);
    rule->generated_body = false;
    module.rules.push_back(rule);
    return end_of_statement();
  }
  const bool has_if = at_if();
  const bool has_brace = at(Tok::lbrace);
  const bool plain = !rule->function && !rule->uses_contains;
  if (!has_if && plain && rule->ref.size() == 2 && rule->value == nullptr) {  // v0: p[x] is a set
    rule->key = rule->ref.back();
    rule->ref.pop_back();
    rule->legacy_key = true;
  }
  if (rule->value == nullptr && rule->key == nullptr) {
    rule->value = pool_.scalar(Value::boolean(true), rule->loc);
    rule->implicit_value = true;
  }
  if (!has_if && !has_brace) return bare_rule(module, rule, start);
  if (!body_of(*rule)) return false;
  rule->end_offset = toks_[pos_ - 1].end_offset;
  if (word() == Word::else_ && !keyword_ref()) {
    if (rule->key != nullptr) return error_at(pos_, "else keyword cannot be used on multi-value rules");
    for (const Term* t : rule->ref)
      if (t != rule->ref[0] && t->kind != TermKind::scalar)
        return error_at(pos_, "else keyword cannot be used on rules with variables in head");
    rule->otherwise = else_rule(*rule);
    if (rule->otherwise == nullptr) return false;
  }
  module.rules.push_back(rule);
  if (!checked(*rule, start)) return false;
  return more_bodies(module, rule);
}

// p { … } { … }: further bodies of the same head.
bool Parser::more_bodies(Module& module, const Rule* first) {
  while (tok().kind == Tok::lbrace) {
    if (first->otherwise != nullptr) return error_at(pos_, "expected else keyword");
    Rule* next = pool_.rule(tok().loc);
    const Location loc = next->loc;
    *next = *first;
    next->loc = loc;
    next->body.clear();
    copy_head(*next);
    if (!braced(next->body)) return false;
    module.rules.push_back(next);
  }
  return end_of_statement();
}

void Parser::copy_head(Rule& rule) {
  for (auto& t : rule.ref) t = pool_.copy(t);
  for (auto& t : rule.args) {
    t = pool_.copy(t);
    if (t->kind == TermKind::var && t->wildcard) t->name = pool_.wildcard();
  }
  rule.key = pool_.copy(rule.key);
  rule.value = pool_.copy(rule.value);
}

// A head without a body: p := 1, f(x) = 1, p contains 1, and v0's p[1].
bool Parser::bare_rule(Module& module, Rule* rule, std::size_t start) {
  if (!rule->uses_contains && rule->implicit_value && !rule->function && rule->ref.size() == 1)
    return error_at(start, "var cannot be used for rule name");
  if (rule->function && rule->implicit_value && rule->args.empty())
    return error_at(start, "rule argument list must take at least one argument");
  true_body(*rule);
  rule->end_offset = toks_[pos_ - 1].end_offset;
  module.rules.push_back(rule);
  if (rule->function && rule->implicit_value) {
    Term op;
    op.kind = TermKind::ref;
    op.items = rule->ref;
    if (find_builtin(operator_name(&op)) != nullptr)
      return error_at(start, "rule name conflicts with built-in function");
  }
  return checked(*rule, start) && end_of_statement();
}

bool Parser::checked(const Rule& rule, std::size_t start) {
  if (!v1_) return true;
  const std::string what = rule.function ? "function" : "rule";
  if (rule.generated_body && rule.implicit_value)
    return error_at(start, what + " must have value assignment and/or body declaration");
  if (!rule.generated_body && !rule.uses_if)
    return error_at(start, "`if` keyword is required before " + what + " body");
  if (rule.key != nullptr && !rule.uses_contains)
    return error_at(start, "`contains` keyword is required for partial set rules");
  for (const Rule* e = rule.otherwise; e != nullptr; e = e->otherwise)
    if (!e->generated_body && !e->uses_if) return error_at(start, "`if` keyword is required before " + what + " body");
  return true;
}

bool Parser::end_of_statement() {
  if (at(Tok::semicolon)) ++pos_;
  return true;
}

Rule* Parser::else_rule(const Rule& of) {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  Rule* rule = pool_.rule(tok().loc);
  const Location loc = rule->loc;
  *rule = of;
  rule->loc = loc;
  rule->otherwise = nullptr;
  rule->body.clear();
  rule->generated_body = rule->uses_if = false;
  copy_head(*rule);
  ++pos_;
  if (tok().kind == Tok::lbrace || at_if()) {
    rule->value = pool_.scalar(Value::boolean(true), loc);
    rule->implicit_value = true;
  } else if (tok().kind == Tok::assign || tok().kind == Tok::unify) {
    rule->assign = tok().kind == Tok::assign;
    rule->implicit_value = false;
    ++pos_;
    rule->value = infix();
    if (rule->value == nullptr) return nullptr;
  } else {
    illegal("expected else value term or rule body");
    return nullptr;
  }
  if (at_if() || tok().kind == Tok::lbrace) {
    if (at_if()) {
      rule->uses_if = true;
      ++pos_;
    }
    if (tok().kind == Tok::lbrace) {
      if (!braced(rule->body)) return nullptr;
    } else {
      Expr* e = literal();
      if (e == nullptr) return nullptr;
      rule->body = {e};
    }
  } else {
    true_body(*rule);
    return rule;
  }
  if (word() == Word::else_ && !keyword_ref()) {
    rule->otherwise = else_rule(of);
    if (rule->otherwise == nullptr) return nullptr;
  }
  return rule;
}

std::optional<Body> Parser::whole_query() {
  Body body;
  while (tok().kind != Tok::end) {
    Expr* e = literal();
    if (e == nullptr) return std::nullopt;
    body.push_back(e);
    if (tok().kind == Tok::semicolon) {
      ++pos_;
      continue;
    }
    if (tok().kind != Tok::end && !tok().newline_before) {
      illegal("expected \\n or ;");
      return std::nullopt;
    }
  }
  if (body.empty()) {
    error_at(0, "empty query");
    return std::nullopt;
  }
  return body;
}

bool tokens_of(std::string_view text, std::uint32_t file, const CompileLimits& limits, Lexed& lexed,
               Diagnostic& problem) {
  problem.code = "rego_parse_error";
  problem.line = problem.column = 1;
  if (text.size() > limits.source_bytes) {
    problem.message = "the text is longer than the limit";
    return false;
  }
  Location where;
  if (lex(text, file, limits.tokens, lexed, problem.message, where)) return true;
  problem.line = where.line;
  problem.column = where.column;
  return false;
}

std::optional<Module> parse_module(const Lexed& lexed, std::uint32_t file, Syntax syntax, const CompileLimits& limits,
                                   AstPool& pool, Diagnostic& problem) {
  Parser parser(lexed, file, syntax, limits, pool);
  auto module = parser.module();
  if (!module) problem = parser.diagnostic();
  return module;
}

std::optional<Body> parse_query(std::string_view text, std::uint32_t file, Syntax syntax, const CompileLimits& limits,
                                AstPool& pool, Diagnostic& problem) {
  Lexed lexed;
  if (!tokens_of(text, file, limits, lexed, problem)) return std::nullopt;
  Parser parser(lexed, file, syntax, limits, pool);
  auto body = parser.whole_query();
  if (!body) problem = parser.diagnostic();
  return body;
}

}  // namespace cairn::policy
