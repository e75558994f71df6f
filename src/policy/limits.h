// Every bound of the policy language, by name. Past one: too_large (timed_out for the deadline), never a verdict.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::policy {

struct CompileLimits {
  std::size_t source_bytes = 1U << 20;  // one text
  std::size_t sources = 256;            // texts per compilation
  std::size_t nesting = 128;            // brackets, terms and bodies inside each other
  std::size_t tokens = 400'000;         // of all texts together
  std::size_t rules = 50'000;           // of all texts together
  std::size_t tries = 4'000'000;        // of expressions, while all bodies are put in order
};

struct EvalLimits {
  std::uint64_t instructions = 50'000'000;
  std::size_t memory = 256U << 20;       // bytes of values made while evaluating
  std::size_t call_depth = 512;          // rules, functions and comprehensions inside each other
  std::size_t output_bytes = 16U << 20;  // of the result
};

inline constexpr std::size_t max_value_depth = 256;         // arrays, objects and sets inside each other
inline constexpr std::size_t max_value_nodes = 8'000'000;   // values inside one value
inline constexpr std::size_t max_number_digits = 1024;      // of one number
inline constexpr std::size_t max_json_bytes = 32U << 20;    // of one JSON text
inline constexpr std::size_t max_string_bytes = 32U << 20;  // of one string made by a built-in
inline constexpr std::size_t max_regex_bytes = 16U << 10;   // of one pattern
inline constexpr std::int64_t max_regex_memory = 8 << 20;   // of one compiled pattern
inline constexpr std::size_t max_certificates = 64;         // of one text
inline constexpr std::size_t max_range = 1'000'000;         // elements of numbers.range, hosts of net.cidr_expand

}  // namespace cairn::policy
