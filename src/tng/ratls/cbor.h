// The little CBOR (RFC 8949) that attestation evidence is written in, read strictly: definite lengths only, shortest
// heads only, bounded depth, no duplicate text keys, nothing after the value.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/cursor.h"

namespace cairn::tng {

class CborReader {
 public:
  enum class Type : std::uint8_t { uint = 0, nint = 1, bytes = 2, text = 3, array = 4, map = 5, tag = 6, simple = 7 };

  explicit CborReader(ByteView bytes) : in_(bytes) {}

  [[nodiscard]] Result<Type> peek() const;     // the type of the next item; malformed at the end of input
  [[nodiscard]] Result<std::uint64_t> uint();  // an unsigned integer
  [[nodiscard]] Result<ByteView> bytes(std::size_t limit);
  [[nodiscard]] Result<std::string_view> text(std::size_t limit);  // valid UTF-8
  [[nodiscard]] Result<std::uint64_t> array();                     // element count
  [[nodiscard]] Result<std::uint64_t> tag();
  [[nodiscard]] Result<bool> null();  // true and consumed where the next item is null
  [[nodiscard]] Result<void> skip();  // any item, to the depth limit
  [[nodiscard]] Result<void> end() const { return in_.end(); }
  // A map with text keys, in any order, none twice. `each` must read or skip() exactly the value.
  [[nodiscard]] Result<void> map(std::size_t entry_limit,
                                 const std::function<Result<void>(std::string_view key)>& each);

 private:
  struct Head {
    Type type;
    std::uint64_t value;
  };
  [[nodiscard]] Result<Head> head();
  [[nodiscard]] Result<std::uint64_t> expect(Type type);
  Reader in_;
};

// Writes shortest heads.
class CborWriter {
 public:
  CborWriter& uint(std::uint64_t v) { return head(0, v); }
  CborWriter& bytes(ByteView v);
  CborWriter& text(std::string_view v);
  CborWriter& array(std::uint64_t n) { return head(4, n); }
  CborWriter& map(std::uint64_t n) { return head(5, n); }
  CborWriter& tag(std::uint64_t t) { return head(6, t); }
  CborWriter& null();
  [[nodiscard]] Bytes take() && { return std::move(out_).take(); }

 private:
  CborWriter& head(std::uint8_t type, std::uint64_t value);
  Writer out_;
};

}  // namespace cairn::tng
