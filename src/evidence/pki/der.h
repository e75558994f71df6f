// Strict DER: one-byte tags, definite minimal lengths. The layer under certificates, CRLs and Intel's PCK extension.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/cursor.h"

namespace cairn::pki {

namespace tag {
inline constexpr std::uint8_t kBoolean = 0x01, kInteger = 0x02, kBitString = 0x03, kOctetString = 0x04, kOid = 0x06,
                              kEnumerated = 0x0a, kUtf8 = 0x0c, kPrintable = 0x13, kIa5 = 0x16, kUtcTime = 0x17,
                              kGeneralizedTime = 0x18, kSequence = 0x30, kSet = 0x31;
}

struct Tlv {
  std::uint8_t tag = 0;
  ByteView value;
  ByteView whole;          // with tag and length
  std::size_t offset = 0;  // of `value` in the outermost input
};

// Reads elements forward. Errors are `malformed` at an absolute offset.
class Der {
 public:
  explicit Der(ByteView bytes, std::size_t base_offset = 0) : in_(bytes, base_offset) {}
  explicit Der(const Tlv& element) : in_(element.value, element.offset) {}

  [[nodiscard]] Result<Tlv> next();
  [[nodiscard]] Result<Tlv> next(std::uint8_t tag);
  [[nodiscard]] bool at(std::uint8_t tag) const { return !in_.empty() && in_.rest()[0] == tag; }
  [[nodiscard]] bool empty() const { return in_.empty(); }
  [[nodiscard]] Result<void> end() const { return in_.end(); }
  [[nodiscard]] std::string place() const { return in_.place(); }

  // Content of the element, minimal and in range.
  [[nodiscard]] Result<ByteView> oid();
  [[nodiscard]] Result<bool> boolean();
  [[nodiscard]] Result<std::uint32_t> small_integer(std::uint32_t max, std::uint8_t tag = tag::kInteger);
  // Positive (or zero) big-endian number without leading zeros, at most kMaxSerial bytes.
  [[nodiscard]] Result<ByteView> big_integer();
  // UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 writes them: seconds, Z.
  [[nodiscard]] Result<Time> time();
  // BIT STRING of whole bytes.
  [[nodiscard]] Result<ByteView> bit_string();

 private:
  Reader in_;
};

}  // namespace cairn::pki
