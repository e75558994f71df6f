// Comparison, numbers, bits, types and casts.
#include "policy/builtins.h"
#include "policy/number.h"

namespace cairn::policy {
namespace {

using Args = std::span<const Value>;

template <class F>
Value compared(Args a, F&& f) {
  return Value::boolean(f(compare(a[0], a[1])));
}
Value eq(CallContext&, Args a) { return Value::boolean(equal(a[0], a[1])); }
Value neq(CallContext&, Args a) { return Value::boolean(!equal(a[0], a[1])); }
Value lt(CallContext&, Args a) {
  return compared(a, [](int c) { return c < 0; });
}
Value lte(CallContext&, Args a) {
  return compared(a, [](int c) { return c <= 0; });
}
Value gt(CallContext&, Args a) {
  return compared(a, [](int c) { return c > 0; });
}
Value gte(CallContext&, Args a) {
  return compared(a, [](int c) { return c >= 0; });
}

Value two_numbers(CallContext& c, Args a, Arithmetic op) {
  if (!a[0].is(Kind::number)) return c.wrong(1, "number", a[0]);
  if (!a[1].is(Kind::number)) return c.wrong(2, "number", a[1]);
  return arithmetic(op, a[0], a[1], c.arena, c.problem);
}
Value plus(CallContext& c, Args a) { return two_numbers(c, a, Arithmetic::plus); }
Value mul(CallContext& c, Args a) { return two_numbers(c, a, Arithmetic::times); }
Value div_(CallContext& c, Args a) { return two_numbers(c, a, Arithmetic::divide); }
Value rem(CallContext& c, Args a) { return two_numbers(c, a, Arithmetic::remainder); }

Value minus(CallContext& c, Args a) {
  if (a[0].is(Kind::number) && a[1].is(Kind::number))
    return arithmetic(Arithmetic::minus, a[0], a[1], c.arena, c.problem);
  if (!a[0].is(Kind::set))
    return c.wrong(a[0].is(Kind::number) ? 2 : 1, a[0].is(Kind::number) ? "number" : "one of {number, set}",
                   a[a[0].is(Kind::number) ? 1 : 0]);
  if (!a[1].is(Kind::set)) return c.wrong(2, "set", a[1]);
  c.charge(a[0].size());
  std::vector<Value> out;
  for (const Value& v : a[0].items())
    if (find(a[1], v) == nullptr) out.push_back(v);
  return c.arena.set(out);
}

template <Rounding op>
Value rounded(CallContext& c, Args a) {
  return a[0].is(Kind::number) ? rounding(op, a[0], c.arena, c.problem) : c.wrong(1, "number", a[0]);
}

template <Bits op>
Value bitwise(CallContext& c, Args a) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!a[i].is(Kind::number)) return c.wrong(static_cast<int>(i + 1), "number", a[i]);
  return bits(op, a[0], a.size() > 1 ? a[1] : Value::integer(0), c.arena, c.problem);
}

template <Kind kind>
Value is_kind(CallContext&, Args a) {
  return Value::boolean(a[0].is(kind));
}

Value type_name_of(CallContext& c, Args a) { return c.arena.string(type_name(a[0].kind())); }

Value to_number(CallContext& c, Args a) {
  switch (a[0].kind()) {
    case Kind::null: return Value::integer(0);
    case Kind::boolean: return Value::integer(a[0].boolean() ? 1 : 0);
    case Kind::number: return a[0];
    case Kind::string: {
      if (!is_number_text(a[0].text())) return c.fail("invalid syntax");
      return c.arena.number(a[0].text());
    }
    default: return c.wrong(1, "one of {boolean, null, number, string}", a[0]);
  }
}

Value format_int(CallContext& c, Args a) {
  if (!a[0].is(Kind::number)) return c.wrong(1, "number", a[0]);
  const auto base = a[1].is(Kind::number) ? to_int(a[1]) : std::nullopt;
  if (!base || (*base != 2 && *base != 8 && *base != 10 && *base != 16))
    return c.fail("operand 2 must be one of {2, 8, 10, 16}");
  return c.arena.string(format_base(a[0], static_cast<int>(*base)));
}

Value range(CallContext& c, Args a) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!a[i].is(Kind::number)) return c.wrong(static_cast<int>(i + 1), "number", a[i]);
  const auto from = to_int(a[0]);
  const auto to = to_int(a[1]);
  auto step = a.size() > 2 ? to_int(a[2]) : std::optional<std::int64_t>(1);
  if (!step && is_integer(a[2]) && compare(a[2], Value::integer(0)) > 0) step = INT64_MAX;
  if (!is_integer(a[0]) || !is_integer(a[1]) || !step) return c.fail("operands must be integer numbers");
  if (!from || !to) {
    if (equal(a[0], a[1])) return c.arena.array(a.first(1));
    throw Stop{{ErrorCode::too_large, {}, "numbers.range goes beyond 64 bits"}};
  }
  if (*step <= 0) return c.fail("numbers.range_step: step must be a positive number above zero");
  const bool up = *to >= *from;
  const auto distance = up ? static_cast<std::uint64_t>(*to) - static_cast<std::uint64_t>(*from)
                           : static_cast<std::uint64_t>(*from) - static_cast<std::uint64_t>(*to);
  const std::uint64_t count = distance / static_cast<std::uint64_t>(*step) + 1;
  if (count > max_range) throw Stop{{ErrorCode::too_large, {}, "numbers.range makes more numbers than the limit"}};
  c.charge(count);
  std::vector<Value> out;
  out.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto by = static_cast<std::int64_t>(i * static_cast<std::uint64_t>(*step));
    out.push_back(Value::integer(up ? *from + by : *from - by));
  }
  return c.arena.array(out);
}

Value cast(CallContext& c, Args a, Kind kind) { return a[0].is(kind) ? a[0] : c.wrong(1, type_name(kind), a[0]); }
Value cast_string(CallContext& c, Args a) { return cast(c, a, Kind::string); }
Value cast_boolean(CallContext& c, Args a) { return cast(c, a, Kind::boolean); }
Value cast_null(CallContext& c, Args a) { return cast(c, a, Kind::null); }
Value cast_object(CallContext& c, Args a) { return cast(c, a, Kind::object); }
Value cast_array(CallContext& c, Args a) {
  if (a[0].is(Kind::array)) return a[0];
  return a[0].is(Kind::set) ? c.arena.array(a[0].items()) : c.wrong(1, "one of {array, set}", a[0]);
}
Value cast_set(CallContext& c, Args a) {
  if (a[0].is(Kind::set)) return a[0];
  if (!a[0].is(Kind::array)) return c.wrong(1, "one of {array, set}", a[0]);
  std::vector<Value> items(a[0].items().begin(), a[0].items().end());
  return c.arena.set(items);
}

Value trace(CallContext& c, Args a) { return all_strings(c, a, 1) ? Value::boolean(true) : Value(); }

}  // namespace

std::span<const Entry> core_builtins() {
  static constexpr Entry all[] = {
      {"eq", eq},
      {"assign", eq},
      {"equal", eq},
      {"neq", neq},
      {"lt", lt},
      {"lte", lte},
      {"gt", gt},
      {"gte", gte},
      {"plus", plus},
      {"minus", minus},
      {"mul", mul},
      {"div", div_},
      {"rem", rem},
      {"abs", rounded<Rounding::absolute>},
      {"round", rounded<Rounding::round>},
      {"ceil", rounded<Rounding::ceil>},
      {"floor", rounded<Rounding::floor>},
      {"bits.and", bitwise<Bits::conjunction>},
      {"bits.or", bitwise<Bits::disjunction>},
      {"bits.xor", bitwise<Bits::exclusive>},
      {"bits.negate", bitwise<Bits::negate>},
      {"bits.lsh", bitwise<Bits::left>},
      {"bits.rsh", bitwise<Bits::right>},
      {"is_null", is_kind<Kind::null>},
      {"is_boolean", is_kind<Kind::boolean>},
      {"is_number", is_kind<Kind::number>},
      {"is_string", is_kind<Kind::string>},
      {"is_array", is_kind<Kind::array>},
      {"is_object", is_kind<Kind::object>},
      {"is_set", is_kind<Kind::set>},
      {"type_name", type_name_of},
      {"to_number", to_number},
      {"format_int", format_int},
      {"numbers.range", range},
      {"numbers.range_step", range},
      {"cast_string", cast_string},
      {"cast_boolean", cast_boolean},
      {"cast_null", cast_null},
      {"cast_object", cast_object},
      {"cast_array", cast_array},
      {"cast_set", cast_set},
      {"trace", trace},
  };
  return all;
}

}  // namespace cairn::policy
