// Byte strings: owned, viewed, and of fixed length.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cairn {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

[[nodiscard]] inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline Bytes to_bytes(std::string_view text) { return {text.begin(), text.end()}; }
[[nodiscard]] inline Bytes to_bytes(ByteView bytes) { return {bytes.begin(), bytes.end()}; }
inline void append(Bytes& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }
// For values that are not secret; secrets use constant_time_equal (base/secret.h).
[[nodiscard]] inline bool equal(ByteView a, ByteView b) { return std::ranges::equal(a, b); }

[[nodiscard]] inline bool all_zero(ByteView a) {
  return std::ranges::all_of(a, [](std::uint8_t b) { return b == 0; });
}

// N bytes with a meaning. `Tag` keeps digests, nonces and identifiers of equal length apart.
template <std::size_t N, class Tag>
struct FixedBytes : std::array<std::uint8_t, N> {
  static constexpr std::size_t length = N;
  // malformed unless `bytes` has exactly N bytes.
  [[nodiscard]] static Result<FixedBytes> from(ByteView bytes) {
    if (bytes.size() != N)
      return fail(ErrorCode::malformed,
                  "expected " + std::to_string(N) + " bytes, got " + std::to_string(bytes.size()));
    FixedBytes out{};
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
  }
  [[nodiscard]] ByteView view() const { return {this->data(), N}; }
};
template <std::size_t N>
using Digest = FixedBytes<N, struct DigestTag>;
using ReportData = FixedBytes<64, struct ReportDataTag>;  // TDX REPORTDATA, zero-padded on the right

}  // namespace cairn
