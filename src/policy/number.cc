#include "policy/number.h"

#include <algorithm>
#include <array>
#include <boost/multiprecision/cpp_int.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace cairn::policy {
namespace {

using boost::multiprecision::cpp_int;

std::string_view text_of(const Value& v, std::array<char, 24>& room) {
  if (!v.is_small()) return v.number_node()->text();
  const auto end = std::to_chars(room.data(), room.data() + room.size(), v.integer()).ptr;
  return {room.data(), static_cast<std::size_t>(end - room.data())};
}

// ±0.d1d2d3… × 10^point with no zeros at either end of the digits.
struct Decimal {
  bool negative = false;
  std::string digits;
  std::int64_t point = 0;
};

Decimal decimal(std::string_view s) {
  Decimal d;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) {
    d.negative = s[0] == '-';
    s.remove_prefix(1);
  }
  const auto e = s.find_first_of("eE");
  std::string_view mantissa = s.substr(0, e);
  const auto dot = mantissa.find('.');
  d.digits = std::string(mantissa.substr(0, dot));
  d.point = static_cast<std::int64_t>(d.digits.size());
  if (dot != std::string_view::npos) d.digits += mantissa.substr(dot + 1);
  if (e != std::string_view::npos) {
    std::string_view x = s.substr(e + 1);
    if (x.starts_with('+')) x.remove_prefix(1);
    std::int64_t exponent = 0;
    if (std::from_chars(x.data(), x.data() + x.size(), exponent).ec != std::errc{})
      exponent = x.starts_with('-') ? -1'000'000'000'000 : 1'000'000'000'000;
    d.point += std::clamp<std::int64_t>(exponent, -1'000'000'000'000, 1'000'000'000'000);
  }
  const auto first = d.digits.find_first_not_of('0');
  if (first == std::string::npos) return {};
  d.digits.erase(0, first);
  d.point -= static_cast<std::int64_t>(first);
  d.digits.erase(d.digits.find_last_not_of('0') + 1);
  return d;
}

int compare_decimals(const Decimal& a, const Decimal& b) {
  if (a.digits.empty() || b.digits.empty()) {
    if (a.digits.empty() && b.digits.empty()) return 0;
    if (a.digits.empty()) return b.negative ? 1 : -1;
    return a.negative ? -1 : 1;
  }
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  int c = 0;
  if (a.point != b.point)
    c = a.point < b.point ? -1 : 1;
  else if (const int order = a.digits.compare(b.digits); order != 0)
    c = order < 0 ? -1 : 1;
  return a.negative ? -c : c;
}

bool fraction(const Decimal& d) { return static_cast<std::int64_t>(d.digits.size()) > d.point; }

[[noreturn]] void too_many_digits() {
  throw Stop{{ErrorCode::too_large, {}, "a number has more digits than the limit"}};
}

std::optional<cpp_int> big(const Value& v) {
  if (v.is_small()) return cpp_int(v.integer());
  const Decimal d = decimal(v.number_node()->text());
  if (d.digits.empty()) return cpp_int(0);
  if (fraction(d)) return std::nullopt;
  if (d.point > static_cast<std::int64_t>(max_number_digits)) too_many_digits();
  std::string digits = d.digits;
  digits.append(static_cast<std::size_t>(d.point) - digits.size(), '0');
  cpp_int out(digits);
  return d.negative ? cpp_int(-out) : out;
}

Value from_big(const cpp_int& i, Arena& arena) { return arena.number(i.str()); }

// Digits and decimal exponent of the shortest text of |x|: 0.d1d2… × 10^point.
void shortest(long double x, std::string& digits, int& point) {
  std::array<char, 64> room{};
  const auto end = std::to_chars(room.data(), room.data() + room.size(), x, std::chars_format::scientific).ptr;
  std::string_view s(room.data(), static_cast<std::size_t>(end - room.data()));
  const auto e = s.find('e');
  digits = std::string(s.substr(0, 1));
  if (e > 2) digits += s.substr(2, e - 2);
  std::string_view exponent = s.substr(e + 1);
  if (exponent.starts_with('+')) exponent.remove_prefix(1);
  int value = 0;
  std::from_chars(exponent.data(), exponent.data() + exponent.size(), value);
  point = value + 1;
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
}

}  // namespace

Value from_long_double(long double x, Arena& arena) {
  if (x == 0) return std::signbit(x) ? arena.number("-0") : Value::integer(0);
  std::string digits;
  int point = 0;
  shortest(std::fabs(x), digits, point);
  const int count = static_cast<int>(digits.size());
  std::string out = x < 0 ? "-" : "";
  if (x == std::trunc(x)) {
    if (point > static_cast<int>(max_number_digits)) too_many_digits();
    out += digits.substr(0, static_cast<std::size_t>(std::min(count, point)));
    if (point > count) out.append(static_cast<std::size_t>(point - count), '0');
  } else if (const int exponent = point - 1; exponent < -4 || exponent >= 6) {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    const std::string e = std::to_string(std::abs(exponent));
    out += (exponent < 0 ? "e-" : "e+") + std::string(e.size() < 2 ? "0" : "") + e;
  } else if (point <= 0) {
    out += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else {
    out += digits.substr(0, static_cast<std::size_t>(point)) + "." + digits.substr(static_cast<std::size_t>(point));
  }
  return arena.number(out);
}

int compare_numbers(const Value& a, const Value& b) {
  if (a.is_small() && b.is_small()) return a.integer() < b.integer() ? -1 : (a.integer() > b.integer() ? 1 : 0);
  std::array<char, 24> ra{};
  std::array<char, 24> rb{};
  const auto ta = text_of(a, ra);
  const auto tb = text_of(b, rb);
  if (ta == tb) return 0;
  const double x = to_double(a);
  const double y = to_double(b);
  if (std::fabs(x - y) > std::fabs(x) * 1e-9 && std::isfinite(x) && std::isfinite(y)) return x < y ? -1 : 1;
  return compare_decimals(decimal(ta), decimal(tb));
}

double to_double(const Value& v) {
  return v.is_small() ? static_cast<double>(v.integer()) : v.number_node()->approximate;
}

long double to_long_double(const Value& v) {
  if (v.is_small()) return static_cast<long double>(v.integer());
  const auto text = v.number_node()->text();
  long double out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc::result_out_of_range && std::isinf(v.number_node()->approximate)) too_many_digits();
  return out;
}

bool is_integer(const Value& v) { return v.is_small() || !fraction(decimal(v.number_node()->text())); }

std::optional<std::int64_t> to_int(const Value& v) {
  if (v.is_small()) return v.integer();
  const Decimal d = decimal(v.number_node()->text());
  if (fraction(d) || d.point > 19) return std::nullopt;
  std::string digits = (d.negative ? "-" : "") + d.digits;
  digits.append(static_cast<std::size_t>(d.point) - d.digits.size(), '0');
  if (d.digits.empty()) digits = "0";
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (error != std::errc{}) return std::nullopt;
  return out;
}

std::optional<std::string> integer_text(const Value& v) {
  const auto i = big(v);
  if (!i) return std::nullopt;
  return i->str();
}

std::string number_text(const Value& v) {
  std::array<char, 24> room{};
  return std::string(text_of(v, room));
}

namespace {

Value small_arithmetic(Arithmetic op, std::int64_t a, std::int64_t b, bool& done, std::string& problem) {
  std::int64_t r = 0;
  done = true;
  switch (op) {
    case Arithmetic::plus:
      if (!__builtin_add_overflow(a, b, &r)) return Value::integer(r);
      break;
    case Arithmetic::minus:
      if (!__builtin_sub_overflow(a, b, &r)) return Value::integer(r);
      break;
    case Arithmetic::times:
      if (!__builtin_mul_overflow(a, b, &r)) return Value::integer(r);
      break;
    case Arithmetic::remainder:
      if (b == 0) {
        problem = "modulo by zero";
        return {};
      }
      return Value::integer(b == -1 ? 0 : a % b);
    case Arithmetic::divide:
      if (b == 0) {
        problem = "divide by zero";
        return {};
      }
      // Only what fits 32 bits is divided exactly; the rest goes through floating point, as in OPA.
      if (a != 0 && a % b == 0 && std::max(std::abs(a), std::abs(b)) <= 0x7fffffff) return Value::integer(a / b);
      break;
  }
  done = false;
  return {};
}

}  // namespace

Value arithmetic(Arithmetic op, const Value& a, const Value& b, Arena& arena, std::string& problem) {
  if (a.is_small() && b.is_small()) {
    bool done = false;
    const Value v = small_arithmetic(op, a.integer(), b.integer(), done, problem);
    if (done) return v;
  }
  if (op != Arithmetic::divide) {
    const auto x = big(a);
    const auto y = x ? big(b) : std::nullopt;
    if (x && y) {
      switch (op) {
        case Arithmetic::plus: return from_big(*x + *y, arena);
        case Arithmetic::minus: return from_big(*x - *y, arena);
        case Arithmetic::times: return from_big(*x * *y, arena);
        default: break;
      }
      if (*y == 0) {
        problem = "modulo by zero";
        return {};
      }
      return from_big(*x % *y, arena);
    }
    if (op == Arithmetic::remainder) {
      problem = "modulo on floating-point number";
      return {};
    }
  }
  const long double x = to_long_double(a);
  const long double y = to_long_double(b);
  switch (op) {
    case Arithmetic::plus: return from_long_double(x + y, arena);
    case Arithmetic::minus: return from_long_double(x - y, arena);
    case Arithmetic::times: return from_long_double(x * y, arena);
    default: break;
  }
  if (y == 0) {
    problem = "divide by zero";
    return {};
  }
  const long double q = x / y;
  if (!std::isfinite(q)) too_many_digits();
  return from_long_double(q, arena);
}

Value rounding(Rounding op, const Value& a, Arena& arena, std::string&) {
  if (a.is_small() && a.integer() != std::numeric_limits<std::int64_t>::min())
    return op == Rounding::absolute ? Value::integer(std::abs(a.integer())) : a;
  const long double x = to_long_double(a);
  switch (op) {
    case Rounding::absolute: return from_long_double(std::fabs(x), arena);
    case Rounding::round: return from_long_double(std::trunc(std::signbit(x) ? x - 0.5L : x + 0.5L), arena);
    case Rounding::ceil: return from_long_double(std::ceil(x), arena);
    case Rounding::floor: return from_long_double(std::floor(x), arena);
  }
  return {};
}

Value bits(Bits op, const Value& a, const Value& b, Arena& arena, std::string& problem) {
  const auto x = big(a);
  const auto y = op == Bits::negate ? std::optional<cpp_int>(0) : big(b);
  if (!x || !y) {
    problem = x ? "operand 2 must be integer number but got floating-point number"
                : "operand 1 must be integer number but got floating-point number";
    return {};
  }
  if (op == Bits::negate) return from_big(-*x - 1, arena);
  if (op == Bits::left || op == Bits::right) {
    if (*y < 0) {
      problem = "operand 2 must be an unsigned integer number but got a negative integer";
      return {};
    }
    if (op == Bits::right && *y > 1'000'000) return Value::integer(*x < 0 ? -1 : 0);
    if (*y > 4096 && *x != 0) too_many_digits();
    const auto shift = *x == 0 ? 0U : static_cast<unsigned>(*y);
    if (op == Bits::left) return from_big(*x << shift, arena);
    if (*x >= 0) return from_big(*x >> shift, arena);
    return from_big(-((-*x - 1) >> shift) - 1, arena);
  }
  // Two's complement of any length by ~n = -n-1.
  const bool nx = *x < 0;
  const bool ny = *y < 0;
  const cpp_int px = nx ? cpp_int(-*x - 1) : *x;
  const cpp_int py = ny ? cpp_int(-*y - 1) : *y;
  const auto inverse = [](const cpp_int& v) { return cpp_int(-v - 1); };
  const auto without = [](const cpp_int& p, const cpp_int& q) { return cpp_int(p ^ (p & q)); };  // p & ~q
  cpp_int r;
  if (op == Bits::exclusive) {
    r = px ^ py;
    if (nx != ny) r = inverse(r);
  } else if (op == Bits::conjunction) {
    if (nx && ny)
      r = inverse(px | py);
    else if (nx)
      r = without(py, px);
    else if (ny)
      r = without(px, py);
    else
      r = px & py;
  } else {
    if (nx && ny)
      r = inverse(px & py);
    else if (nx)
      r = inverse(without(px, py));
    else if (ny)
      r = inverse(without(py, px));
    else
      r = px | py;
  }
  return from_big(r, arena);
}

std::string format_base(const Value& v, int base) {
  auto i = big(v);
  if (!i) {
    const long double x = std::trunc(to_long_double(v));
    i = cpp_int(x);
  }
  if (base == 10) return i->str();
  const bool negative = *i < 0;
  cpp_int n = negative ? cpp_int(-*i) : *i;
  std::string out;
  do {
    out += "0123456789abcdef"[static_cast<unsigned>(n % base)];
    n /= base;
  } while (n != 0);
  if (negative) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

bool is_number_text(std::string_view s) {
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t from = i;
    while (i < s.size() && s[i] >= '0' && s[i] <= '9') ++i;
    return i - from;
  };
  if (i < s.size() && s[i] == '-') ++i;
  const std::size_t first = i;
  const std::size_t whole = digits();
  if (whole == 0 || (whole > 1 && s[first] == '0')) return false;
  if (i < s.size() && s[i] == '.') {
    ++i;
    if (digits() == 0) return false;
  }
  if (i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    ++i;
    if (i < s.size() && (s[i] == '+' || s[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == s.size();
}

}  // namespace cairn::policy
