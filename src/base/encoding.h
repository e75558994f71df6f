// Text encodings of bytes. Decoders are strict: one accepted spelling per value unless the name says otherwise.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace cairn {

[[nodiscard]] std::string hex(ByteView bytes);                // lower case
[[nodiscard]] Result<Bytes> from_hex(std::string_view text);  // either case, even length

[[nodiscard]] std::string base64(ByteView bytes);                   // RFC 4648 §4, padded
[[nodiscard]] Result<Bytes> from_base64(std::string_view text);     // exactly that; no white space, zero spare bits
[[nodiscard]] std::string base64url(ByteView bytes);                // RFC 4648 §5, no padding
[[nodiscard]] Result<Bytes> from_base64url(std::string_view text);  // exactly that
// Either alphabet, padding optional: for fields whose producers disagree (x5c).
[[nodiscard]] Result<Bytes> from_base64_lenient(std::string_view text);

// Valid UTF-8 per RFC 3629 (no surrogates, no overlong forms)?
[[nodiscard]] bool is_utf8(std::string_view text);
// Appends a code point: at most 0x10FFFF, which is not looked at.
void append_utf8(std::string& out, char32_t c);
// UTF-16, little-endian, without byte-order mark or terminator. malformed on odd length, lone surrogates, invalid
// UTF-8.
[[nodiscard]] Result<std::string> from_utf16le(ByteView bytes);
[[nodiscard]] Result<Bytes> to_utf16le(std::string_view utf8);
// The text with each invalid byte replaced by U+FFFD.
[[nodiscard]] std::string lossy_utf8(ByteView bytes);
// %XX and nothing else; malformed on a bad escape. '+' stays '+'.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text);
[[nodiscard]] std::string percent_encode(std::string_view text);  // all but unreserved characters of RFC 3986

}  // namespace cairn
