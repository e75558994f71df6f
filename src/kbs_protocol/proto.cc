#include "kbs_protocol/proto.h"

#include "base/encoding.h"

namespace cairn::proto {
namespace {

Result<std::uint64_t> get_varint(Reader& reader) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    CAIRN_TRY(const std::uint8_t byte, reader.u8());
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return fail(ErrorCode::malformed, reader.place(), "protobuf integer longer than 64 bits");
}

}  // namespace

Result<Field> next_field(Reader& reader) {
  CAIRN_TRY(const std::uint64_t key, get_varint(reader));
  Field field;
  if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF)
    return fail(ErrorCode::malformed, reader.place(), "protobuf field number out of range");
  field.number = static_cast<std::uint32_t>(key >> 3);
  switch (key & 7) {
    case 0: {
      field.wire = Wire::varint;
      CAIRN_TRY(field.value, get_varint(reader));
      return field;
    }
    case 1: {
      field.wire = Wire::fixed64;
      CAIRN_TRY(field.value, reader.u64le());
      return field;
    }
    case 2: {
      field.wire = Wire::length;
      CAIRN_TRY(const std::uint64_t size, get_varint(reader));
      if (size > reader.remaining())
        return fail(ErrorCode::malformed, reader.place(), "protobuf field ends past its message");
      CAIRN_TRY(field.bytes, reader.bytes(static_cast<std::size_t>(size)));
      return field;
    }
    case 5: {
      field.wire = Wire::fixed32;
      CAIRN_TRY(const std::uint32_t value, reader.u32le());
      field.value = value;
      return field;
    }
    default: return fail(ErrorCode::malformed, reader.place(), "protobuf wire type " + std::to_string(key & 7));
  }
}

Result<void> expect_wire(const Field& field, Wire wire) {
  if (field.wire == wire) return {};
  return fail(ErrorCode::malformed, "field " + std::to_string(field.number), "wrong protobuf wire type");
}

Result<std::string> utf8_member(const Field& field) {
  CAIRN_CHECK(expect_wire(field, Wire::length));
  if (!is_utf8(as_text(field.bytes)))
    return fail(ErrorCode::malformed, "field " + std::to_string(field.number), "not UTF-8");
  return std::string(as_text(field.bytes));
}

void put_varint(Writer& out, std::uint64_t value) {
  for (; value > 0x7F; value >>= 7) out.u8(static_cast<std::uint8_t>(value | 0x80));
  out.u8(static_cast<std::uint8_t>(value));
}

void put_key(Writer& out, std::uint32_t number, Wire wire) {
  put_varint(out, static_cast<std::uint64_t>(number) << 3 | static_cast<std::uint8_t>(wire));
}

void put_bytes(Writer& out, std::uint32_t number, ByteView value) {
  put_key(out, number, Wire::length);
  put_varint(out, value.size());
  out.bytes(value);
}

}  // namespace cairn::proto
