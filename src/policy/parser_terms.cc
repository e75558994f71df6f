// Expressions and terms.
#include <algorithm>
#include <utility>

#include "policy/number.h"
#include "policy/parser_impl.h"

namespace cairn::policy {

bool Parser::braced(Body& body) {
  if (!at(Tok::lbrace)) return illegal("expected {");
  ++pos_;
  if (!body_until(Tok::rbrace, body)) return false;
  ++pos_;
  return true;
}

bool Parser::body_until(Tok end, Body& body) {
  if (!enter()) return false;
  const Leave leave(*this);
  if (at(end)) return error_at(pos_, "found empty body");
  for (;;) {
    Expr* e = literal();
    if (e == nullptr) return false;
    body.push_back(e);
    if (at(Tok::semicolon)) {
      ++pos_;
      continue;
    }
    if (at(end)) return true;
    if (!tok().newline_before) return illegal("expected \\n or ; or " + std::string(token_name(end)));
  }
}

Expr* Parser::literal() {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  const bool outermost = !std::exchange(in_literal_, true);
  if (outermost) links_ = 0;
  Expr* e = literal_inner();
  in_literal_ = !outermost;
  return e;
}

Expr* Parser::literal_inner() {
  const Location loc = tok().loc;
  if (at(Tok::lbrace) && logical_active()) {  // { … } and …
    const std::size_t back = pos_;
    Operand left{{}, true, loc};
    if (braced(left.body) && at_logical()) {
      Expr* e = or_chain(std::move(left));
      return e != nullptr && with(*e) ? e : nullptr;
    }
    if (hard_) return nullptr;
    pos_ = back;
  }
  if (at(Tok::lparen) && logical_active()) {
    Operand out;
    const Group g = group(out, false);
    if (g == Group::failed) return nullptr;
    if (g == Group::yes) {
      if (at_logical()) {
        Expr* e = or_chain(std::move(out));
        return e != nullptr && with(*e) ? e : nullptr;
      }
      return with(*out.body[0]) ? out.body[0] : nullptr;
    }
  }
  if (keyword_ref()) return plain(false, loc);
  bool negated = false;
  if (word() == Word::not_) {
    negated = true;
    ++pos_;
  }
  if (negated && not_bodies_ && at(Tok::lbrace)) {
    Expr* e = not_body(loc);
    return e == nullptr ? nullptr : finish(e);
  }
  if (word() == Word::some && !keyword_ref()) {
    if (negated) {
      illegal("illegal negation of 'some'");
      return nullptr;
    }
    return some();
  }
  if (word() == Word::every && !keyword_ref()) {
    if (negated) {
      illegal("illegal negation of 'every'");
      return nullptr;
    }
    return every();
  }
  return plain(negated, loc);
}

Expr* Parser::finish(Expr* left) {
  if (at_logical()) {
    left = or_chain({{left}, false, left->loc});
    if (left == nullptr) return nullptr;
  }
  return with(*left) ? left : nullptr;
}

Expr* Parser::wrap_not(Body body, bool explicit_body, Location loc) {
  Expr* e = pool_.expr(ExprKind::not_, loc);
  e->body = std::move(body);
  e->explicit_body = explicit_body;
  return e;
}

Expr* Parser::not_body(Location loc) {
  Body body;
  if (!braced(body)) return nullptr;
  return wrap_not(std::move(body), true, loc);
}

Expr* Parser::plain(bool negated, Location loc) {
  if (negated && not_bodies_ && at(Tok::lparen)) {
    Operand out;
    const Group g = group(out, true);
    if (g == Group::failed) return nullptr;
    if (g == Group::yes) return finish(wrap_not(std::move(out.body), out.explicit_body, loc));
  }
  const bool brace_led = at(Tok::lbrace);
  const std::size_t start = pos_;
  Expr* e = expression();
  if (e == nullptr) return nullptr;
  e->loc = loc;
  const bool has_with = word() == Word::with;
  if (!with(*e)) return nullptr;
  if (negated && not_bodies_) {
    Expr* outer = wrap_not({e}, false, loc);
    outer->with = std::move(e->with);
    e->with.clear();
    e = outer;
  } else {
    e->negated = negated;
  }
  if (!at_logical()) return e;
  if (has_with) {
    error_at(pos_, "`with` modifier is not allowed on operand of `" + std::string(tok().text) + "`");
    return nullptr;
  }
  if (brace_led && !negated) {
    error_at(start, "operand of `" + std::string(tok().text) + "` cannot begin with `{` unless the braces hold a body");
    return nullptr;
  }
  return finish(e);
}

bool Parser::with(Expr& e) {
  while (word() == Word::with && !keyword_ref()) {
    With w;
    w.loc = tok().loc;
    ++pos_;
    if (!at_name()) return illegal("expected ident");
    w.target = term();
    if (w.target == nullptr) return false;
    if (w.target->kind != TermKind::ref && w.target->kind != TermKind::var) return illegal("expected with target path");
    if (word() != Word::as) return illegal("expected as keyword");
    ++pos_;
    w.value = infix();
    if (w.value == nullptr) return false;
    e.with.push_back(w);
  }
  return true;
}

Expr* Parser::some() {
  Expr* e = pool_.expr(ExprKind::some, tok().loc);
  const std::size_t back = pos_;
  ++pos_;
  Term* t = infix();
  if (t != nullptr && t->kind == TermKind::call && !t->grouped) {
    const std::string op = operator_name(t->items[0]);
    if (op != "internal.member_2" && op != "internal.member_3") {
      error_at(back + 1, "expected `x in xs` or `x, y in xs` expression");
      return nullptr;
    }
    e->items = {t};
    return with(*e) ? e : nullptr;
  }
  if (hard_) return nullptr;
  pos_ = back;
  do {
    ++pos_;
    if (!at(Tok::name) || (word() != Word::none && word() != Word::contains)) {
      illegal("expected var");
      return nullptr;
    }
    Term* v = pool_.var(tok().text == "_" ? pool_.wildcard() : pool_.symbol(tok().text), tok().loc);
    v->wildcard = tok().text == "_";
    e->items.push_back(v);
    ++pos_;
  } while (at(Tok::comma));
  return e;
}

Expr* Parser::every() {
  Expr* e = pool_.expr(ExprKind::every, tok().loc);
  const std::size_t start = ++pos_;
  Term* t = infix();
  if (t == nullptr) return nullptr;
  const std::string op = t->kind == TermKind::call ? operator_name(t->items[0]) : std::string();
  if (op == "internal.member_2") {
    e->items = {nullptr, t->items[1], t->items[2]};
  } else if (op == "internal.member_3") {
    e->items = {t->items[1], t->items[2], t->items[3]};
    if (e->items[0]->kind != TermKind::var) {
      error_at(start, "expected key to be a variable");
      return nullptr;
    }
  } else {
    error_at(start, "expected `x[, y] in xs { ... }` expression");
    return nullptr;
  }
  if (e->items[1]->kind != TermKind::var) {
    error_at(start, "expected value to be a variable");
    return nullptr;
  }
  if (!at(Tok::lbrace)) {
    illegal("missing body");
    return nullptr;
  }
  return braced(e->body) && with(*e) ? e : nullptr;
}

bool Parser::operand(Operand& out, std::string_view op) {
  if (!enter()) return false;
  const Leave leave(*this);
  out = {};
  out.loc = tok().loc;
  if (at(Tok::lbrace)) {
    out.explicit_body = true;
    return braced(out.body);
  }
  bool negated = false;
  const Location loc = tok().loc;
  if (word() == Word::not_ && !keyword_ref()) {
    negated = true;
    ++pos_;
  }
  if (negated && not_bodies_ && at(Tok::lbrace)) {
    Expr* e = not_body(loc);
    if (e == nullptr) return false;
    out.body = {e};
    return true;
  }
  if (at(Tok::lparen) && logical_active() && (!negated || not_bodies_)) {
    Operand inner;
    const Group g = group(inner, true);
    if (g == Group::failed) return false;
    if (g == Group::yes) {
      if (negated) {
        out.body = {wrap_not(std::move(inner.body), inner.explicit_body, loc)};
      } else {
        out = std::move(inner);
      }
      return true;
    }
  }
  Expr* e = expression();
  if (e == nullptr) return false;
  e->loc = loc;
  if (negated && not_bodies_)
    e = wrap_not({e}, false, loc);
  else
    e->negated = negated;
  if (word() == Word::with && !op.empty()) {
    const std::size_t at_with = pos_;
    Expr probe;
    if (!with(probe)) return false;
    if (at_logical())
      return error_at(at_with, "`with` modifier is not allowed on operand of `" + std::string(op) + "`");
    pos_ = at_with;
  }
  out.body = {e};
  return true;
}

bool Parser::and_chain(Operand& left) {
  while (word() == Word::and_) {
    ++pos_;
    Operand right;
    if (!link() || !operand(right, "and")) return false;
    Expr* e = pool_.expr(ExprKind::and_, left.loc);
    e->body = std::move(left.body);
    e->explicit_body = left.explicit_body;
    e->right = std::move(right.body);
    e->explicit_right = right.explicit_body;
    left = {{e}, false, left.loc};
  }
  return true;
}

Expr* Parser::or_chain(Operand left) {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  if (!and_chain(left)) return nullptr;
  while (word() == Word::or_) {
    ++pos_;
    Operand right;
    if (!link() || !operand(right, "or") || !and_chain(right)) return nullptr;
    Expr* e = pool_.expr(ExprKind::or_, left.loc);
    e->body = std::move(left.body);
    e->explicit_body = left.explicit_body;
    e->right = std::move(right.body);
    e->explicit_right = right.explicit_body;
    left = {{e}, false, left.loc};
  }
  return left.body[0];
}

// ( … and … ): a group of operands in parentheses. Not one: the position is unchanged.
Parser::Group Parser::group(Operand& out, bool operand_context) {
  if (!enter()) return Group::failed;
  const Leave leave(*this);
  const std::size_t back = pos_;
  const auto none = [&] {
    if (hard_) return Group::failed;
    pos_ = back;
    return Group::no;
  };
  ++pos_;
  Operand left;
  if (at(Tok::rparen) || !operand(left, "")) return none();
  const auto close = [&](Operand&& result) {
    if (!at(Tok::rparen)) {
      error_at(pos_, "expected ) to close parenthesized group");
      return Group::failed;
    }
    ++pos_;
    out = std::move(result);
    return Group::yes;
  };
  if (at_logical()) {
    Expr* e = or_chain(std::move(left));
    if (e == nullptr || !with(*e)) return Group::failed;
    return close({{e}, false, e->loc});
  }
  if (word() == Word::with && !left.explicit_body && left.body.size() == 1) {
    if (!with(*left.body[0])) return Group::failed;
    if (!at(Tok::rparen)) return none();
    ++pos_;
    if (operand_context || at_logical()) {
      out = std::move(left);
      return Group::yes;
    }
    return none();
  }
  if (left.explicit_body || left.body.size() != 1) return none();
  const Expr* e = left.body[0];
  const bool logical = e->kind == ExprKind::and_ || e->kind == ExprKind::or_;
  if (logical || e->negated || e->kind == ExprKind::not_) return close(std::move(left));
  return none();
}

Expr* Parser::expression() {
  const Location loc = tok().loc;
  Term* left = infix();
  if (left == nullptr) return nullptr;
  if (at(Tok::assign) || at(Tok::unify)) {
    const bool assign = at(Tok::assign);
    const Location op = tok().loc;
    ++pos_;
    Term* right = infix();
    if (right == nullptr) return nullptr;
    Expr* e = pool_.expr(ExprKind::call, loc);
    e->items = {pool_.var(pool_.symbol(assign ? "assign" : "eq"), op), left, right};
    return e;
  }
  Expr* e = pool_.expr(left->kind == TermKind::call ? ExprKind::call : ExprKind::term, loc);
  if (left->kind == TermKind::call)
    e->items = left->items;
  else
    e->items = {left};
  return e;
}

Term* Parser::call(std::string_view name, Location loc, std::vector<Term*> operands) {
  Term* t = pool_.term(TermKind::call, loc);
  t->items = {pool_.var(pool_.symbol(name), loc)};
  t->items.insert(t->items.end(), operands.begin(), operands.end());
  return t;
}

Term* Parser::in(bool key_value) {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  Term* left = relation();
  if (left == nullptr) return nullptr;
  const Location loc = left->loc;
  for (;;) {
    if (key_value && at(Tok::comma)) {
      const std::size_t back = pos_;
      ++pos_;
      Term* middle = relation();
      if (middle != nullptr && word() == Word::in && !keyword_ref()) {
        ++pos_;
        Term* right = link() ? relation() : nullptr;
        if (right == nullptr) return nullptr;
        left = call("internal.member_3", loc, {left, middle, right});
        if (word() != Word::in) return left;
        continue;
      }
      if (hard_) return nullptr;
      pos_ = back;
    }
    if (word() != Word::in || keyword_ref()) return left;
    ++pos_;
    Term* right = link() ? relation() : nullptr;
    if (right == nullptr) return nullptr;
    left = call("internal.member_2", loc, {left, right});
    if (word() != Word::in) return left;
  }
}

Term* Parser::relation() {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  Term* left = binary(0);
  while (left != nullptr) {
    std::string_view name;
    switch (tok().kind) {
      case Tok::equal: name = "equal"; break;
      case Tok::neq: name = "neq"; break;
      case Tok::lt: name = "lt"; break;
      case Tok::lte: name = "lte"; break;
      case Tok::gt: name = "gt"; break;
      case Tok::gte: name = "gte"; break;
      default: return left;
    }
    ++pos_;
    Term* right = link() ? binary(0) : nullptr;
    if (right == nullptr) return nullptr;
    left = call(name, left->loc, {left, right});
  }
  return nullptr;
}

// | then & then + - then * / %, from loosest to tightest.
Term* Parser::binary(int level) {
  if (level == 4) return term();
  if (!enter()) return nullptr;
  const Leave leave(*this);
  Term* left = binary(level + 1);
  while (left != nullptr) {
    std::string_view name;
    switch (tok().kind) {
      case Tok::bar: name = level == 0 ? "or" : ""; break;
      case Tok::amp: name = level == 1 ? "and" : ""; break;
      case Tok::plus: name = level == 2 ? "plus" : ""; break;
      case Tok::minus: name = level == 2 ? "minus" : ""; break;
      case Tok::times: name = level == 3 ? "mul" : ""; break;
      case Tok::slash: name = level == 3 ? "div" : ""; break;
      case Tok::percent: name = level == 3 ? "rem" : ""; break;
      default: break;
    }
    if (name.empty()) return left;
    const Location loc = tok().loc;
    ++pos_;
    Term* right = link() ? binary(level + 1) : nullptr;
    if (right == nullptr) return nullptr;
    left = call(name, left->loc, {left, right});
    left->items[0]->loc = loc;
  }
  return nullptr;
}

// Terms are parsed again by every alternative that backtracks over them: remember them.
Term* Parser::term() {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  const std::size_t start = pos_;
  if (const Memo& known = terms_[start]; known.age == age_) {
    pos_ = known.end;
    return known.term;
  }
  Term* t = term_uncached();
  if (!hard_) terms_[start] = {t, pos_, age_};
  return t;
}

Term* Parser::term_uncached() {
  const Location loc = tok().loc;
  if (at(Tok::minus)) {
    ++pos_;
    if (at_name()) {  // -x is 0 - x
      Term* t = primary();
      t = t == nullptr ? nullptr : ref_tail(t, false);
      return t == nullptr ? nullptr : call("minus", loc, {pool_.scalar(Value::integer(0), loc), t});
    }
    Term* t = number(true);
    return t == nullptr ? nullptr : ref_tail(t, false);
  }
  Term* t = primary();
  return t == nullptr ? nullptr : ref_tail(t, false);
}

Term* Parser::primary() {
  const Location loc = tok().loc;
  switch (tok().kind) {
    case Tok::dot:
    case Tok::number: return number(false);
    case Tok::string:
    case Tok::raw_string: return string();
    case Tok::text_part:
    case Tok::text_end: return text();
    case Tok::lbrack: return array();
    case Tok::lbrace: return braces();
    case Tok::lparen: {
      ++pos_;
      Term* t = infix();
      if (t == nullptr) return nullptr;
      if (!at(Tok::rparen)) {
        error_at(pos_, "non-terminated expression");
        return nullptr;
      }
      ++pos_;
      t->grouped = true;
      return t;
    }
    case Tok::name: break;
    default: illegal({}); return nullptr;
  }
  const bool call_follows = toks_[pos_ + 1].kind == Tok::lparen && !toks_[pos_ + 1].space_before;
  if (at_name() || (at_logical() && call_follows)) {
    const bool wild = tok().text == "_";
    Term* t = pool_.var(wild ? pool_.wildcard() : pool_.symbol(tok().text), loc);
    t->wildcard = wild;
    ++pos_;
    return t;
  }
  Value v;
  switch (word()) {
    case Word::true_: v = Value::boolean(true); break;
    case Word::false_: v = Value::boolean(false); break;
    case Word::null: v = Value::null(); break;
    default: illegal({}); return nullptr;
  }
  ++pos_;
  return pool_.scalar(v, loc);
}

Term* Parser::number(bool negative) {
  const Location loc = tok().loc;
  std::string s = negative ? "-" : "";
  if (at(Tok::dot)) {
    s += "0.";
    ++pos_;
    if (!at(Tok::number) || tok().text.find('.') != std::string_view::npos) {
      illegal("expected number");
      return nullptr;
    }
  } else if (!at(Tok::number)) {
    illegal("expected number");
    return nullptr;
  }
  s += tok().text;
  if (!is_number_text(s)) {
    illegal("expected number without leading zero");
    return nullptr;
  }
  if (s.size() > max_number_digits) {
    error_at(pos_, "number too big");
    return nullptr;
  }
  if (const auto e = s.find_first_of("eE"); e != std::string::npos && s.size() - e > 6) {
    error_at(pos_, "number too big");
    return nullptr;
  }
  ++pos_;
  return pool_.scalar(pool_.constants.number(s), loc);
}

Term* Parser::string() {
  std::string s;
  if (!unescape(tok(), s)) {
    error_at(pos_, "illegal string literal: " + std::string(tok().text));
    return nullptr;
  }
  Term* t = pool_.string(s, tok().loc);
  t->raw = at(Tok::raw_string);
  ++pos_;
  return t;
}

Term* Parser::text() {
  pool_.templates = true;
  Term* t = pool_.term(TermKind::text, tok().loc);
  t->raw = tok().raw;
  for (;;) {
    std::string s;
    if (!unescape(tok(), s)) {
      error_at(pos_, "illegal template-string part: " + std::string(tok().text));
      return nullptr;
    }
    if (!s.empty()) {
      Expr* e = pool_.expr(ExprKind::term, tok().loc);
      e->generated = true;
      e->items = {pool_.string(s, tok().loc)};
      t->body.push_back(e);
    }
    const bool last = at(Tok::text_end);
    ++pos_;
    if (last) return t;
    const std::size_t start = pos_;
    Expr* e = literal();
    if (e == nullptr) {
      error_at(start, "invalid template-string expression");
      return nullptr;
    }
    const std::string op = e->kind == ExprKind::call ? operator_name(e->items[0]) : std::string();
    if (e->negated || op == "eq" || op == "assign" || (e->kind != ExprKind::term && e->kind != ExprKind::call)) {
      error_at(start, "unexpected expression in template-string: only a value may stand there");
      return nullptr;
    }
    t->body.push_back(e);
    if (!at(Tok::rbrace)) {
      error_at(pos_, "expected } to end template string expression");
      return nullptr;
    }
    ++pos_;
  }
}

bool Parser::list(Tok end, std::vector<Term*>& out) {
  while (!at(end)) {
    Term* t = in_list();
    if (t == nullptr) return false;
    out.push_back(t);
    if (at(end)) break;
    if (!at(Tok::comma)) return illegal("expected \",\" or \"" + std::string(token_name(end)) + "\"");
    ++pos_;
  }
  ++pos_;
  return true;
}

bool Parser::pairs(std::vector<Term*>& out) {
  for (;;) {
    if (at(Tok::rbrace)) break;
    Term* k = in_list();
    if (k == nullptr) return false;
    if (!at(Tok::colon)) return illegal("expected \":\"");
    ++pos_;
    Term* v = in_list();
    if (v == nullptr) return false;
    out.push_back(k);
    out.push_back(v);
    if (at(Tok::rbrace)) break;
    if (!at(Tok::comma)) return illegal("expected \",\" or \"}\"");
    ++pos_;
  }
  ++pos_;
  return true;
}

Term* Parser::array() {
  const Location loc = tok().loc;
  ++pos_;
  bool comprehension = true;
  if (at(Tok::comma)) {
    comprehension = false;
    ++pos_;
  }
  const std::size_t back = pos_;
  if (!at(Tok::rbrack) && comprehension) {
    Term* head = term();
    if (head == nullptr) return nullptr;
    if (at(Tok::bar)) {
      ++pos_;
      Term* t = pool_.term(TermKind::array_of, loc);
      t->items = {head};
      if (body_until(Tok::rbrack, t->body)) {
        ++pos_;
        return t;
      }
      if (hard_ || !at(Tok::comma)) return nullptr;
    }
    pos_ = back;
  }
  Term* t = pool_.term(TermKind::array, loc);
  return list(Tok::rbrack, t->items) ? t : nullptr;
}

Term* Parser::braces() {
  const Location loc = tok().loc;
  ++pos_;
  if (at(Tok::rbrace)) {
    ++pos_;
    return pool_.term(TermKind::object, loc);
  }
  bool comprehension = true;
  if (at(Tok::comma)) {
    comprehension = false;
    ++pos_;
  }
  const std::size_t back = pos_;
  Term* head = term();
  if (head == nullptr) return nullptr;
  if (at(Tok::colon)) return object_rest(head, loc, comprehension);
  if (at(Tok::bar) && comprehension) {
    ++pos_;
    Term* t = pool_.term(TermKind::set_of, loc);
    t->items = {head};
    if (body_until(Tok::rbrace, t->body)) {
      ++pos_;
      return t;
    }
    if (hard_ || !at(Tok::comma)) return nullptr;
  }
  pos_ = back;
  head = in_list();
  if (head == nullptr) return nullptr;
  if (at(Tok::colon)) return object_rest(head, loc, comprehension);
  if (!at(Tok::rbrace) && !at(Tok::comma)) {
    illegal("non-terminated set");
    return nullptr;
  }
  pos_ = back;
  Term* t = pool_.term(TermKind::set, loc);
  return list(Tok::rbrace, t->items) ? t : nullptr;
}

Term* Parser::object_rest(Term* key, Location loc, bool comprehension) {
  ++pos_;  // the colon
  const std::size_t back = pos_;
  Term* v = term();
  if (v == nullptr) return nullptr;
  if (comprehension && at(Tok::bar)) {
    ++pos_;
    Term* t = pool_.term(TermKind::object_of, loc);
    t->items = {key, v};
    if (body_until(Tok::rbrace, t->body)) {
      ++pos_;
      return t;
    }
    if (hard_) return nullptr;
  }
  pos_ = back;
  v = in_list();
  if (v == nullptr) return nullptr;
  Term* t = pool_.term(TermKind::object, loc);
  t->items = {key, v};
  if (at(Tok::rbrace)) {
    ++pos_;
    return t;
  }
  if (!at(Tok::comma)) {
    illegal("non-terminated object");
    return nullptr;
  }
  ++pos_;
  return pairs(t->items) ? t : nullptr;
}

// What follows a term without white space: .name, [term] and (arguments).
Term* Parser::ref_tail(Term* head, bool rule_head) {
  if (!enter()) return nullptr;
  const Leave leave(*this);
  const auto extend = [&](Term* base, Term* with) {
    if (base->kind == TermKind::ref && base != head) {
      base->items.push_back(with);
      return base;
    }
    Term* r = pool_.term(TermKind::ref, base->loc);
    r->items = {base, with};
    return r;
  };
  const bool can = head->kind != TermKind::scalar && head->kind != TermKind::text;
  Term* t = head;
  if (rule_head && tok().space_before && at(Tok::lbrack) && !tok().newline_before) {
    // v0 allowed nothing here; a space before [ ends the head.
  }
  while (!tok().space_before && (at(Tok::dot) || at(Tok::lbrack) || at(Tok::lparen))) {
    if (!can) {
      error_at(pos_, "illegal ref (head cannot be " + std::string(type_name(head->value.kind())) + ")");
      return nullptr;
    }
    if (t->kind == TermKind::ref && !fits(t->items.size(), limits_.nesting * 8)) return nullptr;
    if (at(Tok::dot)) {
      ++pos_;
      if (!at(Tok::name) || tok().space_before) {
        illegal("expected identifier");
        return nullptr;
      }
      t = extend(t, pool_.string(tok().text, tok().loc));
      ++pos_;
    } else if (at(Tok::lbrack)) {
      ++pos_;
      Term* k = infix();
      if (k == nullptr) return nullptr;
      if (!at(Tok::rbrack)) {
        illegal("expected ]");
        return nullptr;
      }
      ++pos_;
      t = extend(t, k);
    } else {
      if (t->kind != TermKind::var && t->kind != TermKind::ref) {
        illegal({});
        return nullptr;
      }
      if (head->kind == TermKind::call && !link()) return nullptr;
      ++pos_;
      Term* c = pool_.term(TermKind::call, head->loc);
      c->items = {t};
      if (!list(Tok::rparen, c->items)) return nullptr;
      if (c->items.size() == 1 && t->kind == TermKind::var && *t->name == "set")
        c = pool_.term(TermKind::set, head->loc);
      t = c;
      head = t;
      if (rule_head) break;
    }
  }
  if (t->kind == TermKind::var && (*t->name == "input" || *t->name == "data")) {
    Term* r = pool_.term(TermKind::ref, t->loc);
    r->items = {t};
    return r;
  }
  return t;
}

}  // namespace cairn::policy
