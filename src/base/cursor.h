// The two cursors that do all binary parsing and writing. They know their bounds; nothing else touches wire bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"

namespace cairn {

// Reads forward over bytes it does not own. Every failure is `malformed` with the absolute offset as `where`;
// after a failure the position is unchanged.
class Reader {
 public:
  explicit Reader(ByteView bytes, std::size_t base_offset = 0) : bytes_(bytes), base_(base_offset) {}

  [[nodiscard]] Result<std::uint8_t> u8() { return integer<std::uint8_t, true>(); }
  [[nodiscard]] Result<std::uint16_t> u16le() { return integer<std::uint16_t, true>(); }
  [[nodiscard]] Result<std::uint32_t> u32le() { return integer<std::uint32_t, true>(); }
  [[nodiscard]] Result<std::uint64_t> u64le() { return integer<std::uint64_t, true>(); }
  [[nodiscard]] Result<std::uint16_t> u16be() { return integer<std::uint16_t, false>(); }
  [[nodiscard]] Result<std::uint32_t> u32be() { return integer<std::uint32_t, false>(); }
  [[nodiscard]] Result<std::uint64_t> u64be() { return integer<std::uint64_t, false>(); }

  // The next n bytes, as a view into the input.
  [[nodiscard]] Result<ByteView> bytes(std::size_t n) {
    if (n > remaining()) return short_by(n);
    const ByteView out = bytes_.subspan(at_, n);
    at_ += n;
    return out;
  }
  [[nodiscard]] Result<std::string_view> text(std::size_t n) { return bytes(n).transform(as_text); }
  template <class Fixed>
  [[nodiscard]] Result<Fixed> fixed() {
    return bytes(Fixed::length).and_then([](ByteView v) { return Fixed::from(v); });
  }
  // A cursor over the next n bytes that keeps absolute offsets in its errors.
  [[nodiscard]] Result<Reader> sub(std::size_t n) {
    const std::size_t start = offset();
    return bytes(n).transform([start](ByteView v) { return Reader(v, start); });
  }
  [[nodiscard]] Result<void> skip(std::size_t n) {
    return bytes(n).transform([](ByteView) {});
  }
  // malformed unless everything was read.
  [[nodiscard]] Result<void> end() const {
    if (remaining() == 0) return {};
    return fail(ErrorCode::malformed, place(), std::to_string(remaining()) + " bytes too many");
  }

  [[nodiscard]] std::size_t remaining() const { return bytes_.size() - at_; }
  [[nodiscard]] bool empty() const { return remaining() == 0; }
  [[nodiscard]] std::size_t offset() const { return base_ + at_; }
  [[nodiscard]] ByteView rest() const { return bytes_.subspan(at_); }
  [[nodiscard]] std::string place() const { return "offset " + std::to_string(offset()); }

 private:
  [[nodiscard]] std::unexpected<Error> short_by(std::size_t n) const {
    return fail(ErrorCode::malformed, place(),
                std::to_string(n) + " bytes needed, " + std::to_string(remaining()) + " left");
  }
  template <class T, bool Little>
  [[nodiscard]] Result<T> integer() {
    if (sizeof(T) > remaining()) return short_by(sizeof(T));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = (value << 8) | bytes_[at_ + (Little ? sizeof(T) - 1 - i : i)];
    at_ += sizeof(T);
    return static_cast<T>(value);
  }

  ByteView bytes_;
  std::size_t at_ = 0;
  std::size_t base_ = 0;
};

// Appends to a byte string it owns.
class Writer {
 public:
  Writer& u8(std::uint8_t v) { return integer<true>(v); }
  Writer& u16le(std::uint16_t v) { return integer<true>(v); }
  Writer& u32le(std::uint32_t v) { return integer<true>(v); }
  Writer& u64le(std::uint64_t v) { return integer<true>(v); }
  Writer& u16be(std::uint16_t v) { return integer<false>(v); }
  Writer& u32be(std::uint32_t v) { return integer<false>(v); }
  Writer& u64be(std::uint64_t v) { return integer<false>(v); }
  Writer& bytes(ByteView v) {
    append(out_, v);
    return *this;
  }
  Writer& text(std::string_view v) { return bytes(as_bytes(v)); }
  Writer& zeros(std::size_t n) {
    out_.resize(out_.size() + n);
    return *this;
  }

  [[nodiscard]] std::size_t size() const { return out_.size(); }
  [[nodiscard]] const Bytes& view() const { return out_; }
  [[nodiscard]] Bytes take() && { return std::move(out_); }

 private:
  template <bool Little, class T>
  Writer& integer(T v) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t shift = 8 * (Little ? i : sizeof(T) - 1 - i);
      out_.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(v) >> shift));
    }
    return *this;
  }
  Bytes out_;
};

}  // namespace cairn
