// Protocol Buffers wire format (proto3) for the small messages of ttrpc services: one description of a message's
// fields gives both its encoder and its decoder, over the cursors of base.
//
//   struct GetTokenRequest {
//     std::string token_type;
//     std::optional<std::string> additional_data;
//     static void fields(auto& m, auto&& field) {
//       field(1, m.token_type);
//       field(2, m.additional_data);
//     }
//   };
//   Bytes wire = proto::encode(GetTokenRequest{"kbs", {}});
//   CAIRN_TRY(auto request, proto::decode<GetTokenRequest>(wire));
//
// Members may be Bytes, std::string (UTF-8, checked), bool, std::uint64_t, std::int64_t, std::int32_t (enums), a
// nested message, std::optional, std::vector of strings, bytes or messages, and std::map<std::string, std::string>.
// Rules of proto3: members at their default are not written (unless optional), unknown members are skipped, the last
// value of a repeated singular member wins. Groups, bad varints, wrong wire types and lengths past the end are
// `malformed` with the offset.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/cursor.h"

namespace cairn::proto {

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

// One member as it lies on the wire; `bytes` views the input and is set for Wire::length only.
struct Field {
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;
  ByteView bytes;
};

// The next member. Call only while the reader is not empty.
[[nodiscard]] Result<Field> next_field(Reader& reader);
[[nodiscard]] Result<std::string> utf8_member(const Field& field);
[[nodiscard]] Result<void> expect_wire(const Field& field, Wire wire);

void put_varint(Writer& out, std::uint64_t value);
void put_key(Writer& out, std::uint32_t number, Wire wire);
void put_bytes(Writer& out, std::uint32_t number, ByteView value);

template <class Message>
[[nodiscard]] Bytes encode(const Message& message);
template <class Message>
[[nodiscard]] Result<Message> decode(ByteView wire);

namespace detail {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = !std::is_same_v<T, std::uint8_t>;
using StringMap = std::map<std::string, std::string>;

struct MapEntry {
  std::string key, value;
  static void fields(auto& m, auto&& field) {
    field(1, m.key);
    field(2, m.value);
  }
};

// Writes `value` even when it is the default: the caller decides about presence.
template <class T>
void put(Writer& out, std::uint32_t number, const T& value) {
  if constexpr (std::is_same_v<T, Bytes>) {
    put_bytes(out, number, value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    put_bytes(out, number, as_bytes(value));
  } else if constexpr (std::is_integral_v<T>) {
    put_key(out, number, Wire::varint);
    put_varint(out, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)));
  } else {
    put_bytes(out, number, encode(value));
  }
}

struct Encoder {
  Writer& out;
  template <class T>
  void operator()(std::uint32_t number, const T& member) const {
    if constexpr (is_optional<T>) {
      if (member) put(out, number, *member);
    } else if constexpr (is_list<T>) {
      for (const auto& item : member) put(out, number, item);
    } else if constexpr (std::is_same_v<T, StringMap>) {
      for (const auto& [key, value] : member) put(out, number, MapEntry{key, value});
    } else if constexpr (std::is_integral_v<T>) {
      if (member != T{}) put(out, number, member);
    } else if constexpr (std::is_same_v<T, Bytes> || std::is_same_v<T, std::string>) {
      if (!member.empty()) put(out, number, member);
    } else {
      put(out, number, member);
    }
  }
};

template <class T>
Result<T> get(const Field& field) {
  if constexpr (std::is_same_v<T, Bytes>) {
    CAIRN_CHECK(expect_wire(field, Wire::length));
    return to_bytes(field.bytes);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return utf8_member(field);
  } else if constexpr (std::is_integral_v<T>) {
    CAIRN_CHECK(expect_wire(field, Wire::varint));
    return static_cast<T>(field.value);
  } else {
    CAIRN_CHECK(expect_wire(field, Wire::length));
    return decode<T>(field.bytes);
  }
}

// Offers one wire field to every member; the one with its number takes it.
struct Decoder {
  const Field& wire;
  Result<void>& outcome;
  template <class T>
  void operator()(std::uint32_t number, T& member) const {
    if (number != wire.number || !outcome) return;
    if constexpr (is_list<T>) {
      store(get<typename T::value_type>(wire), [&](auto&& v) { member.push_back(std::forward<decltype(v)>(v)); });
    } else if constexpr (is_optional<T>) {
      store(get<typename T::value_type>(wire), [&](auto&& v) { member = std::forward<decltype(v)>(v); });
    } else if constexpr (std::is_same_v<T, StringMap>) {
      store(get<MapEntry>(wire), [&](MapEntry&& v) { member.insert_or_assign(std::move(v.key), std::move(v.value)); });
    } else {
      store(get<T>(wire), [&](auto&& v) { member = std::forward<decltype(v)>(v); });
    }
  }
  template <class T, class Take>
  void store(Result<T>&& value, Take take) const {
    if (value)
      take(*std::move(value));
    else
      outcome = std::unexpected(std::move(value).error());
  }
};

}  // namespace detail

template <class Message>
Bytes encode(const Message& message) {
  Writer out;
  Message::fields(message, detail::Encoder{out});
  return std::move(out).take();
}

template <class Message>
Result<Message> decode(ByteView wire) {
  Message message{};
  Reader reader(wire);
  while (!reader.empty()) {
    CAIRN_TRY(const Field field, next_field(reader));
    Result<void> outcome;
    Message::fields(message, detail::Decoder{field, outcome});
    CAIRN_CHECK(outcome);
  }
  return message;
}

}  // namespace cairn::proto
