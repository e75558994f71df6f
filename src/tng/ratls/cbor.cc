#include "tng/ratls/cbor.h"

#include <algorithm>
#include <vector>

#include "base/encoding.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {
constexpr std::uint8_t null_byte = 0xF6;
}

Result<CborReader::Type> CborReader::peek() const {
  if (in_.empty()) return fail(ErrorCode::malformed, in_.place(), "CBOR ends where an item is expected");
  return static_cast<Type>(in_.rest()[0] >> 5);
}

Result<CborReader::Head> CborReader::head() {
  const std::string place = in_.place();
  CAIRN_TRY(const std::uint8_t first, in_.u8());
  const auto type = static_cast<Type>(first >> 5);
  const std::uint8_t info = first & 31;
  if (info < 24) return Head{type, info};
  std::uint64_t value = 0;
  std::uint64_t least = 0;  // anything smaller has a shorter head
  switch (info) {
    case 24: {
      CAIRN_TRY(value, in_.u8());
      least = 24;
      break;
    }
    case 25: {
      CAIRN_TRY(value, in_.u16be());
      least = 0x100;
      break;
    }
    case 26: {
      CAIRN_TRY(value, in_.u32be());
      least = 0x10000;
      break;
    }
    case 27: {
      CAIRN_TRY(value, in_.u64be());
      least = 0x100000000;
      break;
    }
    case 31: return fail(ErrorCode::malformed, place, "indefinite-length CBOR is not accepted");
    default: return fail(ErrorCode::malformed, place, "reserved CBOR head");
  }
  // Floats carry bit patterns, not counts.
  if (value < least && !(type == Type::simple && info > 24))
    return fail(ErrorCode::malformed, place, "CBOR head is not in its shortest form");
  return Head{type, value};
}

Result<std::uint64_t> CborReader::expect(Type type) {
  static constexpr const char* names[] = {
      "an unsigned integer", "a negative integer", "a byte string", "a text string", "an array", "a map", "a tag",
      "a simple value"};
  CAIRN_TRY(const Type found, peek());
  if (found != type)
    return fail(ErrorCode::malformed, in_.place(),
                std::string("CBOR has ") + names[static_cast<int>(found)] + " where " + names[static_cast<int>(type)] +
                    " is expected");
  return head().transform([](Head h) { return h.value; });
}

Result<std::uint64_t> CborReader::uint() { return expect(Type::uint); }
Result<std::uint64_t> CborReader::array() { return expect(Type::array); }
Result<std::uint64_t> CborReader::tag() { return expect(Type::tag); }

Result<ByteView> CborReader::bytes(std::size_t limit) {
  CAIRN_TRY(const std::uint64_t n, expect(Type::bytes));
  if (n > limit)
    return fail(ErrorCode::too_large, in_.place(),
                "byte string of " + std::to_string(n) + " bytes, limit " + std::to_string(limit));
  return in_.bytes(n);
}

Result<std::string_view> CborReader::text(std::size_t limit) {
  CAIRN_TRY(const std::uint64_t n, expect(Type::text));
  if (n > limit)
    return fail(ErrorCode::too_large, in_.place(),
                "text of " + std::to_string(n) + " bytes, limit " + std::to_string(limit));
  CAIRN_TRY(const std::string_view out, in_.text(n));
  if (!is_utf8(out)) return fail(ErrorCode::malformed, in_.place(), "CBOR text is not UTF-8");
  return out;
}

Result<bool> CborReader::null() {
  if (in_.empty() || in_.rest()[0] != null_byte) return false;
  return in_.skip(1).transform([] { return true; });
}

// Iterative: `open` holds how many items each enclosing container still expects.
Result<void> CborReader::skip() {
  std::vector<std::uint64_t> open{1};
  while (!open.empty()) {
    if (open.back() == 0) {
      open.pop_back();
      continue;
    }
    --open.back();
    CAIRN_TRY(const Head h, head());
    std::uint64_t children = 0;
    switch (h.type) {
      case Type::bytes:
      case Type::text:
        if (h.value > in_.remaining()) return fail(ErrorCode::malformed, in_.place(), "CBOR string runs past the end");
        CAIRN_CHECK(in_.skip(h.value));
        continue;
      case Type::array: children = h.value; break;
      case Type::map:
        if (h.value > in_.remaining()) return fail(ErrorCode::malformed, in_.place(), "CBOR map runs past the end");
        children = 2 * h.value;
        break;
      case Type::tag: children = 1; break;
      default: continue;
    }
    if (children > in_.remaining()) return fail(ErrorCode::malformed, in_.place(), "CBOR container runs past the end");
    if (open.size() > limits::cbor_depth) return fail(ErrorCode::too_large, in_.place(), "CBOR nested too deeply");
    open.push_back(children);
  }
  return {};
}

Result<void> CborReader::map(std::size_t entry_limit, const std::function<Result<void>(std::string_view)>& each) {
  CAIRN_TRY(const std::uint64_t n, expect(Type::map));
  if (n > entry_limit)
    return fail(ErrorCode::too_large, in_.place(),
                "CBOR map of " + std::to_string(n) + " entries, limit " + std::to_string(entry_limit));
  std::vector<std::string_view> seen;
  for (std::uint64_t i = 0; i < n; ++i) {
    CAIRN_TRY(const std::string_view key, text(256));
    if (std::ranges::contains(seen, key))
      return fail(ErrorCode::malformed, in_.place(), "CBOR map has the key \"" + std::string(key) + "\" twice");
    seen.push_back(key);
    CAIRN_CHECK(each(key));
  }
  return {};
}

CborWriter& CborWriter::head(std::uint8_t type, std::uint64_t value) {
  const auto major = static_cast<std::uint8_t>(type << 5);
  const auto lead = [&](std::uint8_t info) { out_.u8(static_cast<std::uint8_t>(major | info)); };
  if (value < 24) {
    lead(static_cast<std::uint8_t>(value));
  } else if (value < 0x100) {
    lead(24);
    out_.u8(static_cast<std::uint8_t>(value));
  } else if (value < 0x10000) {
    lead(25);
    out_.u16be(static_cast<std::uint16_t>(value));
  } else if (value < 0x100000000) {
    lead(26);
    out_.u32be(static_cast<std::uint32_t>(value));
  } else {
    lead(27);
    out_.u64be(value);
  }
  return *this;
}
CborWriter& CborWriter::bytes(ByteView v) {
  head(2, v.size());
  out_.bytes(v);
  return *this;
}
CborWriter& CborWriter::text(std::string_view v) {
  head(3, v.size());
  out_.text(v);
  return *this;
}
CborWriter& CborWriter::null() {
  out_.u8(null_byte);
  return *this;
}

}  // namespace cairn::tng
