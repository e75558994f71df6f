// Objects; paths, patches and filters of JSON documents.
#include <algorithm>

#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

Value get(CallContext& c, Args a) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  if (!a[1].is(Kind::array)) {
    const Value* v = find(a[0], a[1]);
    return v != nullptr ? *v : a[2];
  }
  const Value* v = &a[0];
  for (const Value& k : a[1].items()) {
    v = find(*v, k);
    if (v == nullptr) return a[2];
  }
  return *v;
}

Value keys(CallContext& c, Args a) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  std::vector<Value> out;
  for (std::size_t i = 0; i < a[0].size(); ++i) out.push_back(a[0].key(i));
  c.charge(out.size());
  return c.arena.set(out);
}

// The keys named by an array, a set or the keys of an object.
bool key_list(CallContext& c, const Value& v, int n, std::vector<Value>& out) {
  if (is_list(v)) {
    out.assign(v.items().begin(), v.items().end());
    return true;
  }
  if (v.is(Kind::object)) {
    for (std::size_t i = 0; i < v.size(); ++i) out.push_back(v.key(i));
    return true;
  }
  (void)c.wrong(n, "one of {object, set, array}", v);
  return false;
}

Value selected(CallContext& c, Args a, bool keep) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  std::vector<Value> names;
  if (!key_list(c, a[1], 2, names)) return {};
  std::ranges::sort(names, less);
  c.charge(names.size() + a[0].size());
  std::vector<Pair> out;
  for (std::size_t i = 0; i < a[0].size(); ++i)
    if (std::ranges::binary_search(names, a[0].key(i), less) == keep) out.emplace_back(a[0].key(i), a[0].value(i));
  return c.arena.object(out);
}
Value filter(CallContext& c, Args a) { return selected(c, a, true); }
Value remove(CallContext& c, Args a) { return selected(c, a, false); }

// Recursion is bounded by max_value_depth.
Value merged(CallContext& c, const Value& x, const Value& y) {
  if (!x.is(Kind::object) || !y.is(Kind::object)) return y;
  c.charge(x.size() + y.size());
  std::vector<Pair> out;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (find(y, x.key(i)) == nullptr) out.emplace_back(x.key(i), x.value(i));
  for (std::size_t i = 0; i < y.size(); ++i) {
    const Value* there = find(x, y.key(i));
    out.emplace_back(y.key(i), there != nullptr ? merged(c, *there, y.value(i)) : y.value(i));
  }
  return c.arena.object(out);
}

Value object_union(CallContext& c, Args a) {
  for (std::size_t i = 0; i < 2; ++i)
    if (!a[i].is(Kind::object)) return c.wrong(static_cast<int>(i + 1), "object", a[i]);
  return merged(c, a[0], a[1]);
}

Value union_n(CallContext& c, Args a) {
  if (!a[0].is(Kind::array)) return c.wrong(1, "array", a[0]);
  for (const Value& v : a[0].items())
    if (!v.is(Kind::object))
      return c.fail("operand 1 must be array of objects but got array containing " + std::string(type_name(v.kind())));
  Value out = c.arena.object({});
  for (const Value& v : a[0].items()) out = merged(c, out, v);
  return out;
}

bool subset_of(CallContext& c, const Value& super, const Value& sub) {
  c.charge(1);
  if (super.is(Kind::object) && sub.is(Kind::object)) {
    for (std::size_t i = 0; i < sub.size(); ++i) {
      const Value* v = find(super, sub.key(i));
      if (v == nullptr) return false;
      const Value& w = sub.value(i);
      const bool deep = v->kind() == w.kind() && w.is_collection();
      if (!(deep ? subset_of(c, *v, w) : equal(*v, w))) return false;
    }
    return true;
  }
  if (super.is(Kind::set) && sub.is(Kind::set))
    return std::ranges::all_of(sub.items(), [&](const Value& v) { return find(super, v) != nullptr; });
  if (super.is(Kind::array) && sub.is(Kind::array)) {  // as a run of neighbours
    const auto x = super.items();
    const auto y = sub.items();
    c.charge(x.size() * (y.size() + 1));
    if (y.empty()) return true;
    return std::search(x.begin(), x.end(), y.begin(), y.end(), equal) != x.end();
  }
  if (super.is(Kind::array) && sub.is(Kind::set)) {
    c.charge(super.size() * (sub.size() + 1));
    return std::ranges::all_of(sub.items(), [&](const Value& v) {
      return std::ranges::any_of(super.items(), [&](const Value& w) { return equal(v, w); });
    });
  }
  return false;
}

Value subset(CallContext& c, Args a) {
  const bool same = a[0].kind() == a[1].kind() && a[0].is_collection();
  if (!same && !(a[0].is(Kind::array) && a[1].is(Kind::set)))
    return c.fail("both arguments object.subset must be of the same type or array and set");
  return Value::boolean(subset_of(c, a[0], a[1]));
}

// --- paths: "a/b~1c" or ["a", "b/c"]

using Path = std::vector<Value>;

std::string unescaped(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '~' && i + 1 < s.size() && (s[i + 1] == '0' || s[i + 1] == '1'))
      out += s[++i] == '0' ? '~' : '/';
    else
      out += s[i];
  }
  return out;
}

bool parse_path(CallContext& c, const Value& v, Path& out) {
  if (v.is(Kind::array)) {
    out.assign(v.items().begin(), v.items().end());
    return true;
  }
  if (!v.is(Kind::string)) {
    (void)c.fail("must be one of {set, array} containing string paths or array of path segments but got " +
                 std::string(type_name(v.kind())));
    return false;
  }
  std::string_view s = v.text();
  if (s.starts_with('/')) s.remove_prefix(1);
  if (s.empty() && v.text().empty()) return true;
  for (;;) {
    const auto slash = s.find('/');
    out.push_back(c.arena.string(unescaped(s.substr(0, slash))));
    if (slash == std::string_view::npos) return true;
    s.remove_prefix(slash + 1);
  }
}

bool parse_paths(CallContext& c, const Value& v, std::vector<Path>& out) {
  if (!is_list(v)) {
    (void)c.wrong(2, "one of {set, array}", v);
    return false;
  }
  for (const Value& p : v.items()) {
    out.emplace_back();
    if (!parse_path(c, p, out.back())) return false;
  }
  return true;
}

// Array positions are given as numbers or as their digits.
std::optional<std::size_t> position(const Value& key) {
  if (key.is(Kind::number)) {
    const auto i = to_int(key);
    return i && *i >= 0 ? std::optional<std::size_t>(static_cast<std::size_t>(*i)) : std::nullopt;
  }
  if (!key.is(Kind::string) || key.text().empty() || key.text().size() > 9) return std::nullopt;
  std::size_t n = 0;
  for (const char ch : key.text()) {
    if (ch < '0' || ch > '9') return std::nullopt;
    n = n * 10 + static_cast<std::size_t>(ch - '0');
  }
  if (key.text().size() > 1 && key.text()[0] == '0') return std::nullopt;
  return n;
}

const Value* child(const Value& v, const Value& key) {
  if (!v.is(Kind::array)) return find(v, key);
  const auto at = position(key);
  return at && *at < v.size() ? &v.items()[*at] : nullptr;
}

// Keeps (json.filter) or drops (json.remove) what the paths, grouped by their next step, name.
Value filtered(CallContext& c, const Value& v, std::vector<std::span<const Value>> paths, bool keep) {
  c.charge(paths.size() + 1);
  const bool here = std::ranges::any_of(paths, [](const auto& p) { return p.empty(); });
  if (here) return keep ? v : Value();
  if (paths.empty()) return keep ? Value() : v;
  if (!v.is_collection()) return v;  // a path that goes on below it
  const auto below = [&](const Value& key) {
    std::vector<std::span<const Value>> out;
    for (const auto& p : paths) {
      const bool match = v.is(Kind::array) ? (position(p[0]) && key.is_small() &&
                                              static_cast<std::int64_t>(*position(p[0])) == key.integer())
                                           : equal(p[0], key);
      if (match) out.push_back(p.subspan(1));
    }
    return out;
  };
  std::vector<Value> items;
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < v.size(); ++i) {
    const Value key = v.is(Kind::object) ? v.key(i)
                      : v.is(Kind::set)  ? v.items()[i]
                                         : Value::integer(static_cast<std::int64_t>(i));
    const Value& x = v.is(Kind::object) ? v.value(i) : v.items()[i];
    auto rest = below(key);
    Value y;
    if (rest.empty())
      y = keep ? Value() : x;
    else if (v.is(Kind::set))
      y = keep ? x : (std::ranges::any_of(rest, [](const auto& p) { return p.empty(); }) ? Value() : x);
    else
      y = filtered(c, x, std::move(rest), keep);
    if (!y.defined()) continue;
    if (v.is(Kind::object))
      pairs.emplace_back(key, y);
    else
      items.push_back(y);
  }
  if (v.is(Kind::object)) return c.arena.object(pairs);
  return v.is(Kind::set) ? c.arena.set(items) : c.arena.array(items);
}

Value by_paths(CallContext& c, Args a, bool keep) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  std::vector<Path> paths;
  if (!parse_paths(c, a[1], paths)) return {};
  std::vector<std::span<const Value>> spans(paths.begin(), paths.end());
  if (keep && spans.empty()) return c.arena.object({});
  const Value v = filtered(c, a[0], std::move(spans), keep);
  return v.defined() ? v : c.arena.object({});
}
Value json_filter(CallContext& c, Args a) { return by_paths(c, a, true); }
Value json_remove(CallContext& c, Args a) { return by_paths(c, a, false); }

// --- patches (RFC 6902)

enum class Edit : std::uint8_t { add, remove, replace };

// The document with one change; undefined where the path does not lead anywhere.
Value edited(CallContext& c, const Value& v, std::span<const Value> path, Edit how, const Value& by) {
  c.charge(1 + v.nodes() / 64);
  if (path.empty()) return how == Edit::remove ? Value() : by;
  const Value& key = path[0];
  const bool last = path.size() == 1;
  switch (v.kind()) {
    case Kind::object: {
      const Value* there = find(v, key);
      if (there == nullptr && (!last || how != Edit::add)) return {};
      std::vector<Pair> out;
      for (std::size_t i = 0; i < v.size(); ++i)
        if (!equal(v.key(i), key)) out.emplace_back(v.key(i), v.value(i));
      if (last) {
        if (how != Edit::remove) out.emplace_back(key, by);
      } else {
        const Value x = edited(c, *there, path.subspan(1), how, by);
        if (!x.defined()) return {};
        out.emplace_back(key, x);
      }
      return c.arena.object(out);
    }
    case Kind::array: {
      std::vector<Value> out(v.items().begin(), v.items().end());
      const bool end = key.is(Kind::string) && key.text() == "-";
      const auto at = end ? std::optional(out.size()) : position(key);
      if (!at || *at > out.size() || (*at == out.size() && !(last && how == Edit::add))) return {};
      const auto it = out.begin() + static_cast<std::ptrdiff_t>(*at);
      if (!last) {
        const Value x = edited(c, *it, path.subspan(1), how, by);
        if (!x.defined()) return {};
        *it = x;
      } else if (how == Edit::add) {
        out.insert(it, by);
      } else if (how == Edit::remove) {
        out.erase(it);
      } else {
        *it = by;
      }
      return c.arena.array(out);
    }
    case Kind::set: {
      const Value* there = find(v, key);
      std::vector<Value> out;
      for (const Value& x : v.items())
        if (!equal(x, key)) out.push_back(x);
      if (last) {
        if (how == Edit::add) {
          if (!equal(key, by)) return {};
          out.push_back(by);
        } else if (there == nullptr) {
          return {};
        } else if (how == Edit::replace) {
          out.push_back(by);
        }
      } else {
        if (there == nullptr) return {};
        const Value x = edited(c, *there, path.subspan(1), how, by);
        if (!x.defined()) return {};
        out.push_back(x);
      }
      return c.arena.set(out);
    }
    default: return {};
  }
}

const Value* lookup(const Value& v, std::span<const Value> path) {
  const Value* at = &v;
  for (const Value& k : path) {
    at = child(*at, k);
    if (at == nullptr) return nullptr;
  }
  return at;
}

Value json_patch(CallContext& c, Args a) {
  if (!a[1].is(Kind::array)) return c.wrong(2, "array", a[1]);
  Value doc = a[0];
  for (const Value& p : a[1].items()) {
    if (!p.is(Kind::object))
      return c.fail("must be an array of JSON-Patch objects, but at least one element is not an object");
    const Value* op = find(p, std::string_view("op"));
    const Value* path_value = find(p, std::string_view("path"));
    if (op == nullptr || !op->is(Kind::string)) return c.fail("missing or invalid attribute 'op'");
    if (path_value == nullptr) return c.fail("missing required attribute 'path'");
    Path path;
    if (!parse_path(c, *path_value, path)) return {};
    const auto name = op->text();
    const Value* by = find(p, std::string_view("value"));
    const Value* from_value = find(p, std::string_view("from"));
    Path from;
    if (name == "move" || name == "copy") {
      if (from_value == nullptr) return c.fail("missing required attribute 'from'");
      if (!parse_path(c, *from_value, from)) return {};
      by = lookup(doc, from);
      if (by == nullptr) return c.fail("'from' leads nowhere");
    } else if (name == "add" || name == "replace" || name == "test") {
      if (by == nullptr) return c.fail("missing required attribute 'value'");
    }
    const Value value = by != nullptr ? *by : Value();
    if (name == "test") {
      const Value* there = lookup(doc, path);
      if (there == nullptr || !equal(*there, value)) return c.fail("value from EditTree != patch value");
      continue;
    }
    if (name == "move") doc = edited(c, doc, from, Edit::remove, {});
    if (!doc.defined() && !(name == "move" && from.empty())) return c.fail("the path leads nowhere");
    if (name == "add" || name == "move" || name == "copy")
      doc = edited(c, doc, path, Edit::add, value);
    else if (name == "replace")
      doc = edited(c, doc, path, Edit::replace, value);
    else if (name == "remove")
      doc = edited(c, doc, path, Edit::remove, {});
    else
      return c.fail("unrecognized op '" + std::string(name) + "'");
    if (!doc.defined()) return c.fail("the path leads nowhere");
  }
  return doc;
}

}  // namespace

std::span<const Entry> object_builtins() {
  static constexpr Entry all[] = {
      {"object.get", get},        {"object.keys", keys},          {"object.filter", filter},
      {"object.remove", remove},  {"object.union", object_union}, {"object.union_n", union_n},
      {"object.subset", subset},  {"json.filter", json_filter},   {"json.remove", json_remove},
      {"json.patch", json_patch},
  };
  return all;
}

}  // namespace cairn::policy
