// Arrays, sets, aggregates, membership, walk and graphs.
#include <algorithm>
#include <deque>

#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

Value boolean(bool b) { return Value::boolean(b); }
Value member_2(CallContext& c, Args a) {
  if (!a[1].is_collection()) return boolean(false);
  if (a[1].is(Kind::set)) return boolean(find(a[1], a[0]) != nullptr);
  c.charge(a[1].size() / 4);
  const bool object = a[1].is(Kind::object);
  for (std::size_t i = 0; i < a[1].size(); ++i)
    if (equal(object ? a[1].value(i) : a[1].items()[i], a[0])) return boolean(true);
  return boolean(false);
}

Value member_3(CallContext&, Args a) {
  const Value* v = find(a[2], a[0]);
  return boolean(v != nullptr && equal(*v, a[1]));
}

Value count(CallContext& c, Args a) {
  if (a[0].is_collection()) return Value::integer(static_cast<std::int64_t>(a[0].size()));
  if (!a[0].is(Kind::string)) return c.wrong(1, "one of {array, object, set, string}", a[0]);
  return Value::integer(static_cast<std::int64_t>(code_points(a[0].text()).size()));
}

Value fold(CallContext& c, Args a, Arithmetic op, std::int64_t start) {
  if (!is_list(a[0])) return c.wrong(1, "one of {array, set}", a[0]);
  c.charge(a[0].size());
  Value out = Value::integer(start);
  for (const Value& v : a[0].items()) {
    if (!v.is(Kind::number)) return c.fail("operand 1 must be " + std::string(type_name(a[0].kind())) + " of numbers");
    out = arithmetic(op, out, v, c.arena, c.problem);
  }
  return out;
}
Value sum(CallContext& c, Args a) { return fold(c, a, Arithmetic::plus, 0); }
Value product(CallContext& c, Args a) { return fold(c, a, Arithmetic::times, 1); }

Value extreme(CallContext& c, Args a, int sign) {
  if (!is_list(a[0])) return c.wrong(1, "one of {array, set}", a[0]);
  if (a[0].size() == 0) return {};
  c.charge(a[0].size());
  const Value* best = &a[0].items()[0];
  for (const Value& v : a[0].items())
    if (compare(v, *best) * sign > 0) best = &v;
  return *best;
}
Value max_(CallContext& c, Args a) { return extreme(c, a, 1); }
Value min_(CallContext& c, Args a) { return extreme(c, a, -1); }

Value sort(CallContext& c, Args a) {
  if (!is_list(a[0])) return c.wrong(1, "one of {array, set}", a[0]);
  c.charge(a[0].size() * 4);
  std::vector<Value> items(a[0].items().begin(), a[0].items().end());
  std::ranges::stable_sort(items, less);
  return c.arena.array(items);
}

Value all_(CallContext& c, Args a) {
  if (!is_list(a[0])) return c.wrong(1, "one of {array, set}", a[0]);
  return boolean(std::ranges::all_of(a[0].items(), [](const Value& v) { return v.is(Kind::boolean) && v.boolean(); }));
}
Value any_(CallContext& c, Args a) {
  if (!is_list(a[0])) return c.wrong(1, "one of {array, set}", a[0]);
  return boolean(std::ranges::any_of(a[0].items(), [](const Value& v) { return v.is(Kind::boolean) && v.boolean(); }));
}

Value concat(CallContext& c, Args a) {
  for (int i = 0; i < 2; ++i)
    if (!a[static_cast<std::size_t>(i)].is(Kind::array)) return c.wrong(i + 1, "array", a[static_cast<std::size_t>(i)]);
  std::vector<Value> items(a[0].items().begin(), a[0].items().end());
  items.insert(items.end(), a[1].items().begin(), a[1].items().end());
  c.charge(items.size());
  return c.arena.array(items);
}

Value reverse(CallContext& c, Args a) {
  if (!a[0].is(Kind::array)) return c.wrong(1, "array", a[0]);
  std::vector<Value> items(a[0].items().rbegin(), a[0].items().rend());
  c.charge(items.size());
  return c.arena.array(items);
}

Value slice(CallContext& c, Args a) {
  if (!a[0].is(Kind::array)) return c.wrong(1, "array", a[0]);
  std::int64_t at[2];
  for (std::size_t i = 1; i < 3; ++i) {
    if (!a[i].is(Kind::number)) return c.wrong(static_cast<int>(i + 1), "number", a[i]);
    const auto n = to_int(a[i]);
    if (!n) return c.fail("operand " + std::to_string(i + 1) + " must be an integer");
    at[i - 1] = std::clamp<std::int64_t>(*n, 0, static_cast<std::int64_t>(a[0].size()));
  }
  if (at[1] < at[0]) at[1] = at[0];
  c.charge(static_cast<std::uint64_t>(at[1] - at[0]));
  return c.arena.array(a[0].items().subspan(static_cast<std::size_t>(at[0]), static_cast<std::size_t>(at[1] - at[0])));
}

Value flatten(CallContext& c, Args a) {
  if (!a[0].is(Kind::array)) return c.wrong(1, "array", a[0]);
  std::vector<Value> out;
  for (const Value& x : a[0].items()) {
    if (x.is(Kind::array))
      out.insert(out.end(), x.items().begin(), x.items().end());
    else
      out.push_back(x);
  }
  c.charge(out.size());
  return c.arena.array(out);
}

Value two_sets(CallContext& c, Args a, bool keep_common, bool keep_left) {
  for (std::size_t i = 0; i < 2; ++i)
    if (!a[i].is(Kind::set)) return c.wrong(static_cast<int>(i + 1), "set", a[i]);
  c.charge(a[0].size() + a[1].size());
  std::vector<Value> out;
  if (keep_common && keep_left) {  // union
    std::ranges::set_union(a[0].items(), a[1].items(), std::back_inserter(out), less);
  } else if (keep_common) {
    std::ranges::set_intersection(a[0].items(), a[1].items(), std::back_inserter(out), less);
  } else {
    std::ranges::set_difference(a[0].items(), a[1].items(), std::back_inserter(out), less);
  }
  return c.arena.set(out);
}
Value set_and(CallContext& c, Args a) { return two_sets(c, a, true, false); }
Value set_or(CallContext& c, Args a) { return two_sets(c, a, true, true); }
Value set_diff(CallContext& c, Args a) { return two_sets(c, a, false, true); }

Value union_(CallContext& c, Args a) {
  if (!a[0].is(Kind::set)) return c.wrong(1, "set", a[0]);
  std::vector<Value> out;
  for (const Value& s : a[0].items()) {
    if (!s.is(Kind::set)) return c.fail("operand 1 must be set of sets");
    out.insert(out.end(), s.items().begin(), s.items().end());
    c.charge(s.size() + 1);
  }
  return c.arena.set(out);
}

Value intersection(CallContext& c, Args a) {
  if (!a[0].is(Kind::set)) return c.wrong(1, "set", a[0]);
  std::vector<Value> out;
  for (std::size_t i = 0; i < a[0].size(); ++i) {
    const Value& s = a[0].items()[i];
    if (!s.is(Kind::set)) return c.fail("operand 1 must be set of sets");
    c.charge(s.size() + 1);
    if (i == 0) {
      out.assign(s.items().begin(), s.items().end());
    } else {
      std::erase_if(out, [&](const Value& v) { return find(s, v) == nullptr; });
    }
  }
  return c.arena.set(out);
}

// [path, value] of everything inside, the value itself first.
Value walk(CallContext& c, Args a) {
  std::vector<Value> out;
  std::vector<Value> path;
  const auto visit = [&](auto&& self, const Value& v) -> void {  // bounded by max_value_depth
    c.charge(2 + path.size());
    const Value pair[2] = {c.arena.array(path), v};
    out.push_back(c.arena.array(pair));
    for (std::size_t i = 0; v.is_collection() && i < v.size(); ++i) {
      path.push_back(v.is(Kind::object) ? v.key(i)
                     : v.is(Kind::set)  ? v.items()[i]
                                        : Value::integer(static_cast<std::int64_t>(i)));
      self(self, v.is(Kind::object) ? v.value(i) : v.items()[i]);
      path.pop_back();
    }
  };
  visit(visit, a[0]);
  return c.arena.array(out);
}

// --- graphs: {node: neighbours}

Value reachable(CallContext& c, Args a) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  if (!is_list(a[1])) return c.wrong(2, "one of {array, set}", a[1]);
  std::vector<Value> found;
  std::unordered_multimap<std::uint64_t, Value> seen;
  std::deque<Value> open(a[1].items().begin(), a[1].items().end());
  while (!open.empty()) {
    const Value at = open.front();
    open.pop_front();
    c.charge(1);
    const Value* next = find(a[0], at);
    if (next == nullptr) continue;
    const auto h = hash(at);
    const auto [from, to] = seen.equal_range(h);
    if (std::any_of(from, to, [&](const auto& s) { return equal(s.second, at); })) continue;
    seen.emplace(h, at);
    found.push_back(at);
    if (is_list(*next)) open.insert(open.end(), next->items().begin(), next->items().end());
  }
  return c.arena.set(found);
}

Value reachable_paths(CallContext& c, Args a) {
  if (!a[0].is(Kind::object)) return c.wrong(1, "object", a[0]);
  if (!is_list(a[1])) return c.wrong(2, "one of {array, set}", a[1]);
  std::vector<Value> out;
  std::vector<std::vector<Value>> open;
  for (const Value& v : a[1].items())
    if (find(a[0], v) != nullptr) open.push_back({v});
  while (!open.empty()) {
    const std::vector<Value> path = std::move(open.back());
    open.pop_back();
    c.charge(path.size() + 1);
    if (open.size() * sizeof(Value) * 8 > c.options.limits.memory)
      throw Stop{{ErrorCode::too_large, {}, "graph.reachable_paths needs more memory than the limit"}};
    const Value* next = find(a[0], path.back());
    bool ended = next == nullptr || !is_list(*next) || next->size() == 0;
    if (!ended)
      for (const Value& v : next->items()) {
        const bool again = std::ranges::any_of(path, [&](const Value& p) { return equal(p, v); });
        if (again || find(a[0], v) == nullptr) {
          ended = true;  // goes no further this way
          continue;
        }
        auto longer = path;
        longer.push_back(v);
        open.push_back(std::move(longer));
      }
    if (ended) out.push_back(c.arena.array(path));
  }
  return c.arena.set(out);
}

}  // namespace

std::span<const Entry> collection_builtins() {
  static constexpr Entry all[] = {
      {"internal.member_2", member_2},
      {"internal.member_3", member_3},
      {"count", count},
      {"sum", sum},
      {"product", product},
      {"max", max_},
      {"min", min_},
      {"sort", sort},
      {"all", all_},
      {"any", any_},
      {"array.concat", concat},
      {"array.reverse", reverse},
      {"array.slice", slice},
      {"array.flatten", flatten},
      {"and", set_and},
      {"or", set_or},
      {"set_diff", set_diff},
      {"union", union_},
      {"intersection", intersection},
      {"walk", walk},
      {"graph.reachable", reachable},
      {"graph.reachable_paths", reachable_paths},
  };
  return all;
}

}  // namespace cairn::policy
