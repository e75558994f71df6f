// Arithmetic on numbers of any size, as text and as 64-bit integers. Sums, products and remainders of integers are
// exact; everything else is computed with a 64-bit mantissa and written with the fewest digits that read back the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policy/value.h"

namespace cairn::policy {

enum class Arithmetic : std::uint8_t { plus, minus, times, divide, remainder };

// Undefined with `problem` set on division by zero and the like.
[[nodiscard]] Value arithmetic(Arithmetic op, const Value& a, const Value& b, Arena& arena, std::string& problem);
enum class Rounding : std::uint8_t { absolute, round, ceil, floor };
[[nodiscard]] Value rounding(Rounding op, const Value& a, Arena& arena, std::string& problem);
enum class Bits : std::uint8_t { conjunction, disjunction, exclusive, negate, left, right };
[[nodiscard]] Value bits(Bits op, const Value& a, const Value& b, Arena& arena, std::string& problem);

[[nodiscard]] int compare_numbers(const Value& a, const Value& b);
[[nodiscard]] double to_double(const Value& number);
[[nodiscard]] long double to_long_double(const Value& number);
// The exact integer, where the number is one (1.0 and 1e3 are) and fits.
[[nodiscard]] std::optional<std::int64_t> to_int(const Value& number);
[[nodiscard]] bool is_integer(const Value& number);
// The decimal text of an integer-valued number of any size; nullopt for fractions.
[[nodiscard]] std::optional<std::string> integer_text(const Value& number);
[[nodiscard]] std::string number_text(const Value& number);
// A number from a long double, in the shortest form ("f" where integral, "g" otherwise).
[[nodiscard]] Value from_long_double(long double x, Arena& arena);
// Base 2, 8, 10 or 16 text of the integer part.
[[nodiscard]] std::string format_base(const Value& number, int base);
// Is `text` a number as JSON writes it? (json.Number; also what to_number accepts)
[[nodiscard]] bool is_number_text(std::string_view text);

}  // namespace cairn::policy
