#include "policy/unicode.h"

#include <algorithm>
#include <iterator>

namespace cairn::policy {
namespace {

// Ranges of capital letters and the distance to their small ones; step 2: capitals and small letters alternate.
struct Range {
  char32_t first;
  char32_t last;
  int distance;
  int step;
};
constexpr Range ranges[] = {
    {0x41, 0x5A, 32, 1},       {0xC0, 0xD6, 32, 1},       {0xD8, 0xDE, 32, 1},       {0x100, 0x12E, 1, 2},
    {0x132, 0x136, 1, 2},      {0x139, 0x147, 1, 2},      {0x14A, 0x176, 1, 2},      {0x178, 0x178, -121, 1},
    {0x179, 0x17D, 1, 2},      {0x370, 0x372, 1, 2},      {0x376, 0x376, 1, 1},      {0x386, 0x386, 38, 1},
    {0x388, 0x38A, 37, 1},     {0x38C, 0x38C, 64, 1},     {0x38E, 0x38F, 63, 1},     {0x391, 0x3A1, 32, 1},
    {0x3A3, 0x3AB, 32, 1},     {0x3D8, 0x3EE, 1, 2},      {0x400, 0x40F, 80, 1},     {0x410, 0x42F, 32, 1},
    {0x460, 0x480, 1, 2},      {0x48A, 0x4BE, 1, 2},      {0x4C0, 0x4C0, 15, 1},     {0x4C1, 0x4CD, 1, 2},
    {0x4D0, 0x52E, 1, 2},      {0x531, 0x556, 48, 1},     {0x10A0, 0x10C5, 7264, 1}, {0x1E00, 0x1E94, 1, 2},
    {0x1EA0, 0x1EFE, 1, 2},    {0x1F08, 0x1F0F, -8, 1},   {0x2160, 0x216F, 16, 1},   {0x24B6, 0x24CF, 26, 1},
    {0x2C00, 0x2C2F, 48, 1},   {0x2C80, 0x2CE2, 1, 2},    {0xA640, 0xA66C, 1, 2},    {0xFF21, 0xFF3A, 32, 1},
    {0x10400, 0x10427, 40, 1}, {0x118A0, 0x118BF, 32, 1}, {0x1E900, 0x1E921, 34, 1},
};

}  // namespace

char32_t to_lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  for (const auto& r : ranges)
    if (c >= r.first && c <= r.last && (c - r.first) % static_cast<char32_t>(r.step) == 0)
      return static_cast<char32_t>(static_cast<int>(c) + r.distance);
  return c;
}

char32_t to_upper(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
  if (c == 0xB5) return 0x39C;
  if (c == 0x17F) return 'S';
  if (c == 0x3C2) return 0x3A3;
  for (const auto& r : ranges) {
    const auto first = static_cast<char32_t>(static_cast<int>(r.first) + r.distance);
    const auto last = static_cast<char32_t>(static_cast<int>(r.last) + r.distance);
    if (c >= first && c <= last && (c - first) % static_cast<char32_t>(r.step) == 0)
      return static_cast<char32_t>(static_cast<int>(c) - r.distance);
  }
  return c;
}

}  // namespace cairn::policy
