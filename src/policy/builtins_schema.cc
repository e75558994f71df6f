// JSON Schema (drafts 4 to 7 as far as validation goes; references only within the schema).
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <re2/re2.h>

#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

struct Problem {
  std::string type, field, text;
};

const Value* member(const Value& v, std::string_view name) { return find(v, name); }

std::string json_type(const Value& v) {
  if (v.is(Kind::number)) return is_integer(v) ? "integer" : "number";
  return std::string(type_name(v.kind()));
}

class Validator {
 public:
  Validator(CallContext& c, const Value& root) : c_(c), root_(root) {}
  std::vector<Problem> problems;

  // The schema's own mistakes; "" where it has none.
  std::string check(const Value& s, std::size_t depth = 0) {
    if (s.is(Kind::boolean) || depth > max_value_depth) return {};
    if (!s.is(Kind::object)) return "schema is invalid";
    c_.charge(4);
    if (const Value* t = member(s, "type"); t != nullptr) {
      const auto known = [](const Value& v) {
        static constexpr std::string_view all[] = {"array", "boolean", "integer", "number", "null", "object", "string"};
        return v.is(Kind::string) && std::ranges::find(all, v.text()) != std::end(all);
      };
      const auto bad = [](const Value& v) {
        return "has a primitive type that is NOT VALID -- given: /" +
               (v.is(Kind::string) ? std::string(v.text()) : json_type(v)) +
               "/ Expected valid values are:[array boolean integer number null object string]";
      };
      if (t->is(Kind::array)) {
        for (const Value& v : t->items())
          if (!known(v)) return bad(v);
      } else if (!known(*t)) {
        return bad(*t);
      }
    }
    for (const std::string_view key : {"properties", "patternProperties", "definitions", "$defs"})
      if (const Value* m = member(s, key); m != nullptr) {
        if (!m->is(Kind::object)) return std::string(key) + " must be of type object";
        for (std::size_t i = 0; i < m->size(); ++i)
          if (auto e = check(m->value(i), depth + 1); !e.empty()) return e;
      }
    for (const std::string_view key : {"allOf", "anyOf", "oneOf"})
      if (const Value* m = member(s, key); m != nullptr) {
        if (!m->is(Kind::array)) return std::string(key) + " must be of type array";
        for (const Value& v : m->items())
          if (auto e = check(v, depth + 1); !e.empty()) return e;
      }
    for (const std::string_view key :
         {"not", "additionalProperties", "contains", "propertyNames", "if", "then", "else"})
      if (const Value* m = member(s, key); m != nullptr)
        if (auto e = check(*m, depth + 1); !e.empty()) return e;
    if (const Value* m = member(s, "items"); m != nullptr) {
      if (m->is(Kind::array)) {
        for (const Value& v : m->items())
          if (auto e = check(v, depth + 1); !e.empty()) return e;
      } else if (auto e = check(*m, depth + 1); !e.empty()) {
        return e;
      }
    }
    if (const Value* m = member(s, "required"); m != nullptr && !m->is(Kind::array))
      return "required must be of type array";
    if (const Value* p = member(s, "pattern"); p != nullptr && (!p->is(Kind::string) || !pattern(p->text())))
      return "pattern must be a valid regex";
    if (const Value* r = member(s, "$ref"); r != nullptr && r->is(Kind::string) && !r->text().starts_with('#'))
      return "references outside of the schema are not supported";
    return {};
  }

  void validate(const Value& v, const Value& schema, const std::string& at, std::size_t depth = 0) {
    c_.charge(8);
    if (depth > max_value_depth) throw Stop{{ErrorCode::too_large, {}, "json.match_schema: references go in circles"}};
    if (schema.is(Kind::boolean)) {
      if (!schema.boolean()) add("false", at, "False always fails validation");
      return;
    }
    if (!schema.is(Kind::object)) return;
    if (const Value* r = member(schema, "$ref"); r != nullptr && r->is(Kind::string)) {
      if (const Value* target = resolve(r->text()); target != nullptr) validate(v, *target, at, depth + 1);
      return;
    }
    type(v, schema, at);
    choices(v, schema, at, depth);
    if (v.is(Kind::object)) object(v, schema, at, depth);
    if (v.is(Kind::array)) array(v, schema, at, depth);
    if (v.is(Kind::string)) string(v, schema, at);
    if (v.is(Kind::number)) number(v, schema, at);
  }

 private:
  void add(std::string kind, const std::string& at, std::string text) {
    problems.push_back({std::move(kind), at.empty() ? "(root)" : at, std::move(text)});
  }
  static std::string below(const std::string& at, std::string_view name) {
    return at.empty() ? std::string(name) : at + "." + std::string(name);
  }
  static std::string text(const Value& v) {
    std::string out;
    write_json(v, out, max_string_bytes);
    return out;
  }
  const re2::RE2* pattern(std::string_view p) {
    auto& slot = patterns_[std::string(p)];
    if (!slot) {
      re2::RE2::Options options;
      options.set_log_errors(false);
      options.set_max_mem(max_regex_memory);
      slot = std::make_unique<re2::RE2>(std::string(p), options);
    }
    return slot->ok() ? slot.get() : nullptr;
  }
  bool matches(std::string_view p, std::string_view s) {
    const auto* re = p.size() <= max_regex_bytes ? pattern(p) : nullptr;
    return re != nullptr && re2::RE2::PartialMatch(absl::string_view(s.data(), s.size()), *re);
  }

  const Value* resolve(std::string_view ref) {
    if (ref == "#") return &root_;
    if (!ref.starts_with("#/")) return nullptr;
    const Value* at = &root_;
    ref.remove_prefix(2);
    while (at != nullptr) {
      const auto slash = ref.find('/');
      std::string key;
      for (std::size_t i = 0; i < std::min(slash, ref.size()); ++i) {
        if (ref[i] == '~' && i + 1 < ref.size())
          key += ref[++i] == '1' ? '/' : '~';
        else
          key += ref[i];
      }
      at = at->is(Kind::array) ? nullptr : find(*at, std::string_view(key));
      if (slash == std::string_view::npos) break;
      ref.remove_prefix(slash + 1);
    }
    return at;
  }

  void type(const Value& v, const Value& schema, const std::string& at) {
    const Value* t = member(schema, "type");
    if (t == nullptr) return;
    const std::string given = json_type(v);
    const auto fits = [&](const Value& x) { return x.text() == given || (x.text() == "number" && given == "integer"); };
    if (t->is(Kind::string) ? fits(*t) : std::ranges::any_of(t->items(), fits)) return;
    std::string expected;
    if (t->is(Kind::string))
      expected = std::string(t->text());
    else
      for (const Value& x : t->items()) expected += (expected.empty() ? "" : ", ") + std::string(x.text());
    add("invalid_type", at, "Invalid type. Expected: " + expected + ", given: " + given);
  }

  std::size_t failures(const Value& v, const Value& schema, const std::string& at, std::size_t depth) {
    const std::size_t before = problems.size();
    validate(v, schema, at, depth + 1);
    const std::size_t n = problems.size() - before;
    problems.resize(before);
    return n;
  }

  void choices(const Value& v, const Value& schema, const std::string& at, std::size_t depth) {
    if (const Value* e = member(schema, "enum");
        e != nullptr && e->is(Kind::array) &&
        std::ranges::none_of(e->items(), [&](const Value& x) { return equal(x, v); })) {
      std::string all;
      for (const Value& x : e->items()) all += (all.empty() ? "" : ", ") + text(x);
      add("enum", at, (at.empty() ? "(root)" : at) + " must be one of the following: " + all);
    }
    if (const Value* k = member(schema, "const"); k != nullptr && !equal(*k, v))
      add("const", at, (at.empty() ? "(root)" : at) + " does not match: " + text(*k));
    if (const Value* all = member(schema, "allOf"); all != nullptr) {
      std::size_t bad = 0;
      for (const Value& s : all->items()) {
        const std::size_t before = problems.size();
        validate(v, s, at, depth + 1);
        bad += problems.size() > before ? 1 : 0;
      }
      if (bad > 0) add("number_all_of", at, "Must validate all the schemas (allOf)");
    }
    const auto passing = [&](const Value& list) {
      return std::ranges::count_if(list.items(), [&](const Value& s) { return failures(v, s, at, depth) == 0; });
    };
    if (const Value* any = member(schema, "anyOf"); any != nullptr && passing(*any) == 0)
      add("number_any_of", at, "Must validate at least one schema (anyOf)");
    if (const Value* one = member(schema, "oneOf"); one != nullptr && passing(*one) != 1)
      add("number_one_of", at, "Must validate one and only one schema (oneOf)");
    if (const Value* no = member(schema, "not"); no != nullptr && failures(v, *no, at, depth) == 0)
      add("number_not", at, "Must not validate the schema (not)");
    if (const Value* condition = member(schema, "if"); condition != nullptr) {
      const bool holds = failures(v, *condition, at, depth) == 0;
      if (const Value* then = member(schema, holds ? "then" : "else"); then != nullptr)
        validate(v, *then, at, depth + 1);
    }
  }

  void object(const Value& v, const Value& schema, const std::string& at, std::size_t depth) {
    if (const Value* r = member(schema, "required"); r != nullptr)
      for (const Value& k : r->items())
        if (find(v, k) == nullptr)
          add("required", at, (k.is(Kind::string) ? std::string(k.text()) : text(k)) + " is required");
    count(v.size(), schema, at, "minProperties", "maxProperties", "properties");
    const Value* properties = member(schema, "properties");
    const Value* by_pattern = member(schema, "patternProperties");
    const Value* more = member(schema, "additionalProperties");
    const Value* names = member(schema, "propertyNames");
    for (std::size_t i = 0; i < v.size(); ++i) {
      const Value& k = v.key(i);
      const auto name = k.is(Kind::string) ? k.text() : std::string_view();
      bool known = false;
      if (const Value* s = properties != nullptr ? find(*properties, k) : nullptr; s != nullptr) {
        known = true;
        validate(v.value(i), *s, below(at, name), depth + 1);
      }
      for (std::size_t p = 0; by_pattern != nullptr && p < by_pattern->size(); ++p)
        if (matches(by_pattern->key(p).text(), name)) {
          known = true;
          validate(v.value(i), by_pattern->value(p), below(at, name), depth + 1);
        }
      if (names != nullptr && failures(k, *names, at, depth) > 0)
        add("invalid_property_name", at, "Property name of \"" + std::string(name) + "\" does not match");
      if (known || more == nullptr) continue;
      if (more->is(Kind::boolean) && !more->boolean())
        add("additional_property_not_allowed", at, "Additional property " + std::string(name) + " is not allowed");
      else if (more->is(Kind::object))
        validate(v.value(i), *more, below(at, name), depth + 1);
    }
    if (const Value* d = member(schema, "dependencies"); d != nullptr && d->is(Kind::object))
      for (std::size_t i = 0; i < d->size(); ++i) {
        if (find(v, d->key(i)) == nullptr) continue;
        if (d->value(i).is(Kind::array)) {
          for (const Value& k : d->value(i).items())
            if (find(v, k) == nullptr) add("missing_dependency", at, "Has a dependency on " + text(k));
        } else {
          validate(v, d->value(i), at, depth + 1);
        }
      }
  }

  void array(const Value& v, const Value& schema, const std::string& at, std::size_t depth) {
    count(v.size(), schema, at, "minItems", "maxItems", "items");
    if (const Value* items = member(schema, "items"); items != nullptr) {
      const Value* more = member(schema, "additionalItems");
      for (std::size_t i = 0; i < v.size(); ++i) {
        const std::string here = below(at, std::to_string(i));
        if (!items->is(Kind::array))
          validate(v.items()[i], *items, here, depth + 1);
        else if (i < items->size())
          validate(v.items()[i], items->items()[i], here, depth + 1);
        else if (more != nullptr && more->is(Kind::boolean) && !more->boolean())
          add("array_no_additional_items", at, "No additional items allowed on array");
        else if (more != nullptr)
          validate(v.items()[i], *more, here, depth + 1);
      }
    }
    if (const Value* u = member(schema, "uniqueItems"); u != nullptr && u->is(Kind::boolean) && u->boolean()) {
      std::vector<Value> sorted(v.items().begin(), v.items().end());
      std::ranges::sort(sorted, less);
      if (std::ranges::adjacent_find(sorted, equal) != sorted.end()) add("unique", at, "array items must be unique");
    }
    if (const Value* s = member(schema, "contains");
        s != nullptr &&
        std::ranges::none_of(v.items(), [&](const Value& x) { return failures(x, *s, at, depth) == 0; }))
      add("contains", at, "At least one of the items must match");
  }

  void string(const Value& v, const Value& schema, const std::string& at) {
    const auto n = code_points(v.text()).size();
    if (const auto least = limit(schema, "minLength"); least && static_cast<double>(n) < *least)
      add("string_gte", at, "String length must be greater than or equal to " + text(*member(schema, "minLength")));
    if (const auto most = limit(schema, "maxLength"); most && static_cast<double>(n) > *most)
      add("string_lte", at, "String length must be less than or equal to " + text(*member(schema, "maxLength")));
    if (const Value* p = member(schema, "pattern");
        p != nullptr && p->is(Kind::string) && !matches(p->text(), v.text()))
      add("pattern", at, "Does not match pattern '" + std::string(p->text()) + "'");
  }

  void number(const Value& v, const Value& schema, const std::string& at) {
    const auto bound = [&](std::string_view key) {
      const Value* b = member(schema, key);
      return b != nullptr && b->is(Kind::number) ? b : nullptr;
    };
    const auto exclusive = [&](std::string_view key) {
      const Value* b = member(schema, key);
      return b != nullptr && b->is(Kind::boolean) && b->boolean();
    };
    if (const Value* b = bound("minimum");
        b != nullptr && (compare(v, *b) < 0 || (exclusive("exclusiveMinimum") && compare(v, *b) == 0)))
      add("number_gte", at, "Must be greater than or equal to " + text(*b));
    if (const Value* b = bound("maximum");
        b != nullptr && (compare(v, *b) > 0 || (exclusive("exclusiveMaximum") && compare(v, *b) == 0)))
      add("number_lte", at, "Must be less than or equal to " + text(*b));
    if (const Value* b = bound("exclusiveMinimum"); b != nullptr && compare(v, *b) <= 0)
      add("number_gt", at, "Must be greater than " + text(*b));
    if (const Value* b = bound("exclusiveMaximum"); b != nullptr && compare(v, *b) >= 0)
      add("number_lt", at, "Must be less than " + text(*b));
    if (const Value* b = bound("multipleOf"); b != nullptr && to_double(*b) != 0) {
      const long double q = to_long_double(v) / to_long_double(*b);
      if (std::fabs(q - std::round(q)) > 1e-9L) add("multiple_of", at, "Must be a multiple of " + text(*b));
    }
  }

  std::optional<double> limit(const Value& schema, std::string_view key) {
    const Value* b = member(schema, key);
    return b != nullptr && b->is(Kind::number) ? std::optional(to_double(*b)) : std::nullopt;
  }
  void count(std::size_t n, const Value& schema, const std::string& at, std::string_view least, std::string_view most,
             std::string_view what) {
    const bool items = what == "items";
    if (const auto b = limit(schema, least); b && static_cast<double>(n) < *b)
      add(items ? "array_min_items" : "array_min_properties", at,
          items ? "Array must have at least " + text(*member(schema, least)) + " items"
                : "Must have at least " + text(*member(schema, least)) + " properties");
    if (const auto b = limit(schema, most); b && static_cast<double>(n) > *b)
      add(items ? "array_max_items" : "array_max_properties", at,
          items ? "Array must have at most " + text(*member(schema, most)) + " items"
                : "Must have at most " + text(*member(schema, most)) + " properties");
  }

  CallContext& c_;
  const Value root_;
  std::map<std::string, std::unique_ptr<re2::RE2>> patterns_;
};

// A document or its JSON text.
Value document(CallContext& c, const Value& v, int n) {
  if (v.is(Kind::object)) return v;
  if (!v.is(Kind::string)) return c.wrong(n, "one of {string, object}", v);
  return read_json(v.text(), c.arena, c.problem);
}

Value match_schema(CallContext& c, Args a) {
  const Value doc = document(c, a[0], 1);
  const Value schema = doc.defined() ? document(c, a[1], 2) : Value();
  if (!schema.defined()) return {};
  Validator validator(c, schema);
  if (auto e = validator.check(schema); !e.empty()) return c.fail(std::move(e));
  validator.validate(doc, schema, "");
  std::vector<Value> problems;
  for (const auto& p : validator.problems) {
    std::vector<Pair> o{{c.arena.string("error"), c.arena.string(p.field + ": " + p.text)},
                        {c.arena.string("type"), c.arena.string(p.type)},
                        {c.arena.string("field"), c.arena.string(p.field)},
                        {c.arena.string("desc"), c.arena.string(p.text)}};
    problems.push_back(c.arena.object(o));
  }
  const Value out[2] = {Value::boolean(problems.empty()), c.arena.array(problems)};
  return c.arena.array(out);
}

Value verify_schema(CallContext& c, Args a) {
  std::string problem;
  const Value schema = a[0].is(Kind::string) ? read_json(a[0].text(), c.arena, problem) : a[0];
  if (problem.empty())
    problem = !schema.is(Kind::object) && !schema.is(Kind::boolean) ? "schema is invalid"
                                                                    : Validator(c, schema).check(schema);
  const Value out[2] = {Value::boolean(problem.empty()),
                        problem.empty() ? Value::null() : c.arena.string("jsonschema: " + problem)};
  return c.arena.array(out);
}

}  // namespace

std::span<const Entry> schema_builtins() {
  static constexpr Entry all[] = {{"json.match_schema", match_schema}, {"json.verify_schema", verify_schema}};
  return all;
}

}  // namespace cairn::policy
