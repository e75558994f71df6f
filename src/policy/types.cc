#include "policy/types.h"

#include <algorithm>

#include "policy/number.h"

namespace cairn::policy {
namespace {

constexpr std::uint16_t deepest = 64;
constexpr std::size_t most_alternatives = 512;
constexpr std::uint64_t most_steps = 50'000'000;

bool key_less(const std::pair<Value, TypeRef>& a, const std::pair<Value, TypeRef>& b) { return less(a.first, b.first); }

// Sorted by key; of equal keys the last counts.
void arrange(std::vector<std::pair<Value, TypeRef>>& members) {
  std::ranges::stable_sort(members, key_less);
  std::size_t n = 0;
  for (const auto& m : members) {
    if (n > 0 && equal(members[n - 1].first, m.first))
      members[n - 1] = m;
    else
      members[n++] = m;
  }
  members.resize(n);
}

}  // namespace

void Types::step(std::size_t n) {
  steps_ += n;
  if (steps_ > most_steps) throw Stop{{ErrorCode::too_large, {}, "the policy's types are more complex than the limit"}};
}

Types::Types() {
  for (std::size_t i = 0; i < 4; ++i) scalars_[i] = made({.kind = static_cast<TypeKind>(i)});
  any_ = made({});
}

TypeRef Types::made(Type t) {
  std::uint16_t depth = 0;
  const auto part = [&](TypeRef p) {
    t.unknown = t.unknown || unknown(p);
    if (p != nullptr) depth = std::max(depth, p->depth);
  };
  if (t.kind != TypeKind::any)
    for (TypeRef p : t.parts) part(p);
  else
    for (TypeRef p : t.parts) depth = std::max(depth, p->depth);
  for (const auto& [key, p] : t.members) part(p);
  if (t.open) {
    part(t.more_keys);
    part(t.more_values);
  }
  if (t.rest != nullptr || t.kind == TypeKind::set || t.kind == TypeKind::function) part(t.rest);
  step(1 + t.parts.size() + t.members.size());
  if (depth >= deepest && t.kind != TypeKind::function) return any_;
  t.depth = static_cast<std::uint16_t>(depth + 1);
  all_.push_back(std::move(t));
  return &all_.back();
}

TypeRef Types::scalar(Kind kind) const {
  switch (kind) {
    case Kind::null: return scalars_[0];
    case Kind::boolean: return scalars_[1];
    case Kind::number: return scalars_[2];
    default: return scalars_[3];
  }
}

TypeRef Types::array(std::vector<TypeRef> fixed, TypeRef rest) {
  return made({.kind = TypeKind::array, .parts = std::move(fixed), .rest = rest});
}

TypeRef Types::set(TypeRef of) { return made({.kind = TypeKind::set, .rest = of}); }

TypeRef Types::object(std::vector<std::pair<Value, TypeRef>> members) {
  arrange(members);
  return made({.kind = TypeKind::object, .members = std::move(members)});
}

TypeRef Types::object(std::vector<std::pair<Value, TypeRef>> members, TypeRef keys, TypeRef values) {
  arrange(members);
  return made({.kind = TypeKind::object,
               .members = std::move(members),
               .open = true,
               .more_keys = keys,
               .more_values = values});
}

TypeRef Types::function(std::vector<TypeRef> arguments, TypeRef result) {
  return made({.kind = TypeKind::function, .parts = std::move(arguments), .rest = result});
}

// --- signatures

TypeRef Types::parse_one(std::string_view& s) {
  const auto skip = [&](char c) {
    if (!s.starts_with(c)) return false;
    s.remove_prefix(1);
    return true;
  };
  const char first = s.empty() ? 'a' : s.front();
  s.remove_prefix(s.empty() ? 0 : 1);
  switch (first) {
    case 'z': return scalars_[0];
    case 'b': return scalars_[1];
    case 'n': return scalars_[2];
    case 's': return scalars_[3];
    case '<': {
      TypeRef of = parse_one(s);
      skip('>');
      return set(of);
    }
    case '(': {
      TypeRef out = nullptr;
      do out = either(out, parse_one(s));
      while (skip('|'));
      skip(')');
      return out;
    }
    case '[': {
      std::vector<TypeRef> fixed;
      while (!s.empty() && s.front() != '*' && s.front() != ']') {
        fixed.push_back(parse_one(s));
        skip(',');
      }
      TypeRef rest = skip('*') ? parse_one(s) : nullptr;
      skip(']');
      return array(std::move(fixed), rest);
    }
    case '{': {
      std::vector<std::pair<Value, TypeRef>> members;
      bool open = false;
      TypeRef keys = nullptr;
      TypeRef values = nullptr;
      while (!s.empty() && s.front() != '}') {
        if (skip('*')) {
          open = true;
          keys = parse_one(s);
          skip(':');
          values = parse_one(s);
        } else {
          skip('\'');
          const auto end = s.find('\'');
          const Value key = keys_.string(s.substr(0, end));
          s.remove_prefix(end + 1);
          skip(':');
          members.emplace_back(key, parse_one(s));
        }
        skip(',');
      }
      skip('}');
      return open ? object(std::move(members), keys, values) : object(std::move(members));
    }
    default: return any_;
  }
}

TypeRef Types::parse(std::string_view s) {
  std::vector<TypeRef> arguments;
  while (!s.empty() && !s.starts_with("->")) {
    arguments.push_back(parse_one(s));
    if (s.starts_with(',')) s.remove_prefix(1);
  }
  s.remove_prefix(std::min<std::size_t>(2, s.size()));
  return function(std::move(arguments), s.empty() ? nullptr : parse_one(s));
}

TypeRef Types::of(const Value& v) {
  switch (v.kind()) {
    case Kind::array:
    case Kind::set: {
      std::vector<TypeRef> fixed;
      for (const Value& x : v.items()) fixed.push_back(of(x));
      return array(std::move(fixed), nullptr);
    }
    case Kind::object: {
      std::vector<std::pair<Value, TypeRef>> members;
      for (std::size_t i = 0; i < v.size(); ++i) members.emplace_back(v.key(i), of(v.value(i)));
      return object(std::move(members));
    }
    default: return scalar(v.kind());
  }
}

// --- order and union

int Types::compare(TypeRef a, TypeRef b) {
  if (a == b) return 0;
  if (a == nullptr || b == nullptr) return a == nullptr ? -1 : 1;
  step();
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  const auto lists = [&] {
    for (std::size_t i = 0; i < std::min(a->parts.size(), b->parts.size()); ++i)
      if (const int c = compare(a->parts[i], b->parts[i]); c != 0) return c;
    return a->parts.size() == b->parts.size() ? 0 : (a->parts.size() < b->parts.size() ? -1 : 1);
  };
  switch (a->kind) {
    case TypeKind::array:
      if (const int c = compare(a->rest, b->rest); c != 0) return c;
      return lists();
    case TypeKind::object: {
      if (a->open != b->open) return a->open ? 1 : -1;
      if (const int c = compare(a->more_keys, b->more_keys); c != 0) return c;
      if (const int c = compare(a->more_values, b->more_values); c != 0) return c;
      const std::size_t n = std::min(a->members.size(), b->members.size());
      for (std::size_t i = 0; i < n; ++i) {
        if (const int c = policy::compare(a->members[i].first, b->members[i].first); c != 0) return c;
        if (const int c = compare(a->members[i].second, b->members[i].second); c != 0) return c;
      }
      return a->members.size() == b->members.size() ? 0 : (a->members.size() < b->members.size() ? -1 : 1);
    }
    case TypeKind::set: return compare(a->rest, b->rest);
    case TypeKind::any: return lists();
    case TypeKind::function: {
      if (a->parts.size() != b->parts.size()) return a->parts.size() < b->parts.size() ? -1 : 1;
      if (const int c = lists(); c != 0) return c;
      return compare(a->rest, b->rest);
    }
    default: return 0;
  }
}

bool Types::contains(TypeRef a, TypeRef b) {
  if (a == nullptr || a->kind != TypeKind::any) return compare(a, b) == 0;
  if (b != nullptr && b->kind == TypeKind::function) return false;
  return a->parts.empty() ||
         std::ranges::binary_search(a->parts, b, [&](TypeRef x, TypeRef y) { return compare(x, y) < 0; });
}

TypeRef Types::alternatives(TypeRef a, TypeRef b) {
  const auto list = [](const TypeRef& t) {
    return t->kind == TypeKind::any ? std::span<const TypeRef>(t->parts) : std::span<const TypeRef>(&t, 1);
  };
  std::vector<TypeRef> out;
  std::ranges::set_union(list(a), list(b), std::back_inserter(out),
                         [&](TypeRef x, TypeRef y) { return compare(x, y) < 0; });
  if (out.size() > most_alternatives) return any_;
  return made({.kind = TypeKind::any, .parts = std::move(out)});
}

TypeRef Types::either(TypeRef a, TypeRef b) {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  const bool functions = a->kind == TypeKind::function;
  if (functions != (b->kind == TypeKind::function)) return nullptr;
  if (functions) {
    if (a->parts.size() != b->parts.size()) return nullptr;
    std::vector<TypeRef> arguments;
    for (std::size_t i = 0; i < a->parts.size(); ++i) arguments.push_back(either(a->parts[i], b->parts[i]));
    return function(std::move(arguments), either(a->rest, b->rest));
  }
  if (a->anything() || b->anything()) return any_;
  if (a->kind == TypeKind::any && contains(a, b)) return a;
  if (b->kind == TypeKind::any && contains(b, a)) return b;
  if (compare(a, b) == 0) return a;
  return alternatives(a, b);
}

TypeRef Types::merged(TypeRef a, TypeRef b) {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  if (a->kind == TypeKind::any && b->kind != TypeKind::any) std::swap(a, b);
  if (a->kind == TypeKind::set && b->kind == TypeKind::set) return set(either(a->rest, b->rest));
  if (a->kind == TypeKind::object && a->members.empty()) {
    if (b->kind == TypeKind::object && b->members.empty()) {
      if (!a->open) return b;
      if (!b->open) return a;
      return object({}, either(a->more_keys, b->more_keys), merged(a->more_values, b->more_values));
    }
    if (b->kind == TypeKind::any && a->open) {
      for (TypeRef t : b->parts) {
        if (t->kind != TypeKind::object || !t->members.empty() || !t->open) continue;
        TypeRef joined = object({}, either(t->more_keys, a->more_keys), either(t->more_values, a->more_values));
        TypeRef out = joined;
        for (TypeRef other : b->parts)
          if (other != t) out = either(out, other);
        return out;
      }
    }
  }
  return either(a, b);
}

TypeRef Types::with_member(TypeRef o, std::span<const TypeRef> path, TypeRef value) {
  for (std::size_t i = path.size(); i-- > 1;) value = object({}, path[i], value);
  if (path.empty()) return o;
  return object(o->members, either(o->more_keys, path[0]), either(o->more_values, value));
}

// --- parts

TypeRef Types::select(TypeRef t, const Value& key) {
  if (t == nullptr) return nullptr;
  step();
  switch (t->kind) {
    case TypeKind::array: {
      if (!key.is(Kind::number) || !key.is_small() || key.integer() < 0) return nullptr;
      const auto i = static_cast<std::uint64_t>(key.integer());
      return i < t->parts.size() ? t->parts[i] : t->rest;
    }
    case TypeKind::object: {
      const auto it = std::ranges::lower_bound(t->members, key, less, &std::pair<Value, TypeRef>::first);
      if (it != t->members.end() && equal(it->first, key)) return it->second;
      return t->open && contains(t->more_keys, of(key)) ? t->more_values : nullptr;
    }
    case TypeKind::set: {
      TypeRef k = of(key);
      if (compare(t->rest, k) == 0) return t->rest;
      return t->rest != nullptr && t->rest->kind == TypeKind::any && contains(t->rest, k) ? k : nullptr;
    }
    case TypeKind::any: {
      if (t->anything()) return t;
      TypeRef out = nullptr;
      for (TypeRef p : t->parts) out = either(select(p, key), out);
      return out;
    }
    default: return nullptr;
  }
}

TypeRef Types::keys(TypeRef t) {
  if (t == nullptr) return nullptr;
  step();
  TypeRef out = nullptr;
  switch (t->kind) {
    case TypeKind::array: return scalars_[2];
    case TypeKind::object:
      for (const auto& [key, v] : t->members) out = either(out, of(key));
      return t->open ? either(out, t->more_keys) : out;
    case TypeKind::set: return t->rest;
    case TypeKind::any:
      if (t->anything()) return t;
      for (TypeRef p : t->parts) out = either(keys(p), out);
      return out;
    default: return nullptr;
  }
}

TypeRef Types::values(TypeRef t) {
  if (t == nullptr) return nullptr;
  step();
  TypeRef out = nullptr;
  switch (t->kind) {
    case TypeKind::array:
      for (TypeRef p : t->parts) out = either(out, p);
      return either(out, t->rest);
    case TypeKind::object:
      for (const auto& [key, v] : t->members) out = either(out, v);
      return t->open ? either(out, t->more_values) : out;
    case TypeKind::set: return t->rest;
    case TypeKind::any:
      if (t->anything()) return t;
      for (TypeRef p : t->parts) out = either(values(p), out);
      return out;
    default: return nullptr;
  }
}

// --- may two values of these types be equal?

bool Types::unifies_alternative(TypeRef a, TypeRef t) {
  if (t->kind == TypeKind::function) return false;
  return a->parts.empty() || std::ranges::any_of(a->parts, [&](TypeRef p) { return unifies(p, t); });
}

bool Types::unifies(TypeRef a, TypeRef b) {
  if (a == nullptr || b == nullptr) return false;
  step();
  if (a->kind == TypeKind::any && unifies_alternative(a, b)) return true;
  if (b->kind == TypeKind::any && unifies_alternative(b, a)) return true;
  if (a->kind != b->kind || a->kind == TypeKind::any) return false;
  switch (a->kind) {
    case TypeKind::array: {
      const auto fixed = [&](TypeRef x, TypeRef y) {
        for (std::size_t i = 0; i < x->parts.size(); ++i)
          if (!unifies(x->parts[i], i < y->parts.size() ? y->parts[i] : y->rest)) return false;
        return true;
      };
      return fixed(a, b) && fixed(b, a) && (a->rest == nullptr || b->rest == nullptr || unifies(a->rest, b->rest));
    }
    case TypeKind::object: {
      const auto fixed = [&](TypeRef x, TypeRef y) {
        return std::ranges::all_of(x->members, [&](const auto& m) {
          TypeRef other = select(y, m.first);
          if (other == nullptr) return x->more_values != nullptr || y->more_values != nullptr;
          return unifies(m.second, other);
        });
      };
      return fixed(a, b) && fixed(b, a) &&
             (a->more_values == nullptr || b->more_values == nullptr || unifies(a->more_values, b->more_values));
    }
    case TypeKind::set: return a->rest == nullptr || b->rest == nullptr || unifies(a->rest, b->rest);
    case TypeKind::function:
      return a->parts.size() == b->parts.size() &&
             std::ranges::equal(a->parts, b->parts, [&](TypeRef x, TypeRef y) { return unifies(x, y); });
    default: return true;
  }
}

// --- for messages

namespace {

constexpr std::size_t longest_text = 160;

void append_text(TypeRef t, std::string& out) {
  if (out.size() > longest_text) return;
  if (t == nullptr) {
    out += "unknown";
    return;
  }
  const auto list = [&](std::string_view open, std::string_view close) {
    out += open;
    for (std::size_t i = 0; i < t->parts.size() && out.size() <= longest_text; ++i) {
      if (i > 0) out += t->kind == TypeKind::any ? " or " : ", ";
      append_text(t->parts[i], out);
    }
    out += close;
  };
  switch (t->kind) {
    case TypeKind::null: out += "null"; break;
    case TypeKind::boolean: out += "boolean"; break;
    case TypeKind::number: out += "number"; break;
    case TypeKind::string: out += "string"; break;
    case TypeKind::array:
      out += "array";
      if (!t->parts.empty()) list("<", ">");
      if (t->rest != nullptr) {
        out += '[';
        append_text(t->rest, out);
        out += ']';
      }
      break;
    case TypeKind::object:
      out += "object";
      if (!t->members.empty()) {
        out += '<';
        for (std::size_t i = 0; i < t->members.size() && out.size() <= longest_text; ++i) {
          if (i > 0) out += ", ";
          write_rego(t->members[i].first, out, SIZE_MAX);
          out += ": ";
          append_text(t->members[i].second, out);
        }
        out += '>';
      }
      if (t->open) {
        out += '[';
        append_text(t->more_keys, out);
        out += ": ";
        append_text(t->more_values, out);
        out += ']';
      }
      break;
    case TypeKind::set:
      out += "set";
      if (t->rest != nullptr) {
        out += '[';
        append_text(t->rest, out);
        out += ']';
      }
      break;
    case TypeKind::any: t->parts.empty() ? void(out += "any") : list("", ""); break;
    case TypeKind::function: list("function(", ")"); break;
  }
}

}  // namespace

std::string Types::text(TypeRef t) {
  std::string out;
  append_text(t, out);
  if (out.size() > longest_text) out = out.substr(0, longest_text) + "…";
  return out;
}

}  // namespace cairn::policy
