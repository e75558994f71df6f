#include "policy/ast.h"

#include <array>

namespace cairn::policy {

Term* AstPool::copy(const Term* t) {
  if (t == nullptr) return nullptr;
  Term* c = term(t->kind, t->loc);
  *c = *t;
  for (auto& item : c->items) item = copy(item);
  c->body = copy(t->body);
  return c;
}

Expr* AstPool::copy(const Expr* e) {
  Expr* c = expr(e->kind, e->loc);
  *c = *e;
  for (auto& item : c->items) item = copy(item);
  for (auto& w : c->with) {
    w.target = copy(w.target);
    w.value = copy(w.value);
  }
  c->body = copy(e->body);
  c->right = copy(e->right);
  return c;
}

Body AstPool::copy(const Body& b) {
  Body out;
  out.reserve(b.size());
  for (const Expr* e : b) out.push_back(copy(e));
  return out;
}

bool is_identifier(std::string_view s) {
  if (s.empty() || (s[0] >= '0' && s[0] <= '9')) return false;
  for (const char c : s)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return false;
  return true;
}

std::string path_text(const std::vector<std::string>& path) {
  std::string out;
  for (const auto& part : path) {
    if (out.empty()) {
      out = part;
    } else if (is_identifier(part)) {
      out += "." + part;
    } else {
      out += "[";
      write_quoted(part, out, false);
      out += "]";
    }
  }
  return out;
}

std::string operator_name(const Term* op) {
  if (op->kind == TermKind::var) return *op->name;
  if (op->kind != TermKind::ref || op->items.empty() || op->items[0]->kind != TermKind::var) return {};
  std::vector<std::string> path{*op->items[0]->name};
  for (std::size_t i = 1; i < op->items.size(); ++i) {
    if (op->items[i]->kind != TermKind::scalar || !op->items[i]->value.is(Kind::string)) return {};
    path.emplace_back(op->items[i]->value.text());
  }
  return path_text(path);
}

std::string_view infix_of(std::string_view builtin) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 16> all{{{"eq", "="},
                                                                                      {"assign", ":="},
                                                                                      {"equal", "=="},
                                                                                      {"neq", "!="},
                                                                                      {"lt", "<"},
                                                                                      {"lte", "<="},
                                                                                      {"gt", ">"},
                                                                                      {"gte", ">="},
                                                                                      {"plus", "+"},
                                                                                      {"minus", "-"},
                                                                                      {"mul", "*"},
                                                                                      {"div", "/"},
                                                                                      {"rem", "%"},
                                                                                      {"and", "&"},
                                                                                      {"or", "|"},
                                                                                      {"internal.member_2", "in"}}};
  for (const auto& [name, sign] : all)
    if (name == builtin) return sign;
  return {};
}

namespace {

void terms_text(const std::vector<Term*>& items, std::size_t from, std::string& out) {
  for (std::size_t i = from; i < items.size(); ++i) {
    if (i > from) out += ", ";
    out += to_text(items[i]);
  }
}

std::string body_text(const Body& body) {
  std::string out;
  for (const Expr* e : body) out += (out.empty() ? "" : "; ") + to_text(e);
  return out;
}

std::string call_text(const std::vector<Term*>& items) {
  const std::string name = operator_name(items[0]);
  if (name == "internal.member_3" && items.size() == 4)
    return to_text(items[1]) + ", " + to_text(items[2]) + " in " + to_text(items[3]);
  if (const auto sign = infix_of(name); !sign.empty() && items.size() == 3)
    return to_text(items[1]) + " " + std::string(sign) + " " + to_text(items[2]);
  std::string out = (name.empty() ? to_text(items[0]) : name) + "(";
  terms_text(items, 1, out);
  return out + ")";
}

std::string ref_text(const Term* t) {
  std::string out = to_text(t->items[0]);
  for (std::size_t i = 1; i < t->items.size(); ++i) {
    const Term* k = t->items[i];
    if (k->kind == TermKind::scalar && k->value.is(Kind::string) && is_identifier(k->value.text()))
      out += "." + std::string(k->value.text());
    else
      out += "[" + to_text(k) + "]";
  }
  return out;
}

std::string template_text(const Term* t) {
  std::string out = t->raw ? "$`" : "$\"";
  for (std::size_t i = 0; i < t->body.size(); ++i) {
    const Expr* part = t->body[i];
    if (part->generated) {
      std::string quoted;
      write_quoted(part->items[0]->value.text(), quoted, false);
      for (const char c : t->raw ? std::string(part->items[0]->value.text()) : quoted.substr(1, quoted.size() - 2))
        out += c == '{' ? std::string("\\{") : std::string(1, c);
    } else {
      out += "{" + to_text(part) + "}";
    }
  }
  return out + (t->raw ? "`" : "\"");
}

}  // namespace

std::string to_text(const Term* t) {
  std::string out;
  switch (t->kind) {
    case TermKind::scalar: write_rego(t->value, out, max_string_bytes); return out;
    case TermKind::var: return t->wildcard ? "_" : *t->name;
    case TermKind::ref: return ref_text(t);
    case TermKind::array:
      out = "[";
      terms_text(t->items, 0, out);
      return out + "]";
    case TermKind::set:
      if (t->items.empty()) return "set()";
      out = "{";
      terms_text(t->items, 0, out);
      return out + "}";
    case TermKind::object:
      out = "{";
      for (std::size_t i = 0; i + 1 < t->items.size(); i += 2)
        out += (i > 0 ? ", " : "") + to_text(t->items[i]) + ": " + to_text(t->items[i + 1]);
      return out + "}";
    case TermKind::array_of: return "[" + to_text(t->items[0]) + " | " + body_text(t->body) + "]";
    case TermKind::set_of: return "{" + to_text(t->items[0]) + " | " + body_text(t->body) + "}";
    case TermKind::object_of:
      return "{" + to_text(t->items[0]) + ": " + to_text(t->items[1]) + " | " + body_text(t->body) + "}";
    case TermKind::call: return t->grouped ? "(" + call_text(t->items) + ")" : call_text(t->items);
    case TermKind::text: return template_text(t);
  }
  return out;
}

std::string to_text(const Expr* e) {
  std::string out = e->negated ? "not " : "";
  switch (e->kind) {
    case ExprKind::term: out += to_text(e->items[0]); break;
    case ExprKind::call: out += call_text(e->items); break;
    case ExprKind::some:
      out += "some ";
      terms_text(e->items, 0, out);
      break;
    case ExprKind::every:
      out += "every " + (e->items[0] != nullptr ? to_text(e->items[0]) + ", " : std::string()) + to_text(e->items[1]) +
             " in " + to_text(e->items[2]) + " { " + body_text(e->body) + " }";
      break;
    case ExprKind::not_:
      out += e->explicit_body ? "not { " + body_text(e->body) + " }" : "not " + body_text(e->body);
      break;
    case ExprKind::and_:
    case ExprKind::or_:
      out += (e->explicit_body ? "{ " + body_text(e->body) + " }" : body_text(e->body)) +
             (e->kind == ExprKind::and_ ? " and " : " or ") +
             (e->explicit_right ? "{ " + body_text(e->right) + " }" : body_text(e->right));
      break;
  }
  for (const auto& w : e->with) out += " with " + to_text(w.target) + " as " + to_text(w.value);
  return out;
}

}  // namespace cairn::policy
