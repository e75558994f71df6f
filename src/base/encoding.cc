#include "base/encoding.h"

#include <array>

namespace cairn {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::array<std::int8_t, 256> table(std::string_view alphabet) {
  std::array<std::int8_t, 256> out{};
  out.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    out[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return out;
}
constexpr auto kStandardTable = table(kStandard);
constexpr auto kUrlTable = table(kUrl);
constexpr auto kEitherTable = [] {
  auto out = kStandardTable;
  out['-'] = 62;
  out['_'] = 63;
  return out;
}();

std::string encode(ByteView bytes, std::string_view alphabet, bool pad) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = static_cast<std::uint32_t>(bytes[i]) << 16;
    if (n > 1) group |= static_cast<std::uint32_t>(bytes[i + 1]) << 8;
    if (n > 2) group |= bytes[i + 2];
    for (std::size_t k = 0; k <= n; ++k) out.push_back(alphabet[(group >> (18 - 6 * k)) & 63]);
    if (pad) out.append(3 - n, '=');
  }
  return out;
}

Result<Bytes> decode(std::string_view text, const std::array<std::int8_t, 256>& values) {
  if (text.size() % 4 == 1) return fail(ErrorCode::malformed, "base64 of an impossible length");
  const auto value = [&](std::size_t i) { return int{values[static_cast<unsigned char>(text[i])]}; };
  Bytes out(text.size() * 3 / 4);
  std::size_t i = 0, at = 0;
  std::int32_t group = 0;
  for (; i + 4 <= text.size(); i += 4) {
    group = value(i) * (1 << 18) | value(i + 1) * (1 << 12) | value(i + 2) * (1 << 6) | value(i + 3);
    if (group < 0) break;  // one of the four is negative: found below
    out[at++] = static_cast<std::uint8_t>(group >> 16);
    out[at++] = static_cast<std::uint8_t>(group >> 8);
    out[at++] = static_cast<std::uint8_t>(group);
  }
  group = 0;
  int bits = 0;
  for (; i < text.size(); ++i) {
    const int v = value(i);
    if (v < 0) return fail(ErrorCode::malformed, "character " + std::to_string(i), "not a base64 character");
    group = group << 6 | v;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out[at++] = static_cast<std::uint8_t>(group >> bits);
    group &= (1 << bits) - 1;
  }
  if (group != 0) return fail(ErrorCode::malformed, "base64 with spare bits set");
  return out;
}

}  // namespace

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xE0 | c >> 12);
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
    }
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

std::string hex(ByteView bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const auto b : bytes) {
    out.push_back(kHex[b >> 4]);
    out.push_back(kHex[b & 15]);
  }
  return out;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(ErrorCode::malformed, "hex text of odd length");
  Bytes out(text.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return fail(ErrorCode::malformed, "character " + std::to_string(2 * i), "not a hex digit");
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return out;
}

std::string base64(ByteView bytes) { return encode(bytes, kStandard, true); }
std::string base64url(ByteView bytes) { return encode(bytes, kUrl, false); }

Result<Bytes> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return fail(ErrorCode::malformed, "base64 without its padding");
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode(text, kStandardTable);
}
Result<Bytes> from_base64url(std::string_view text) { return decode(text, kUrlTable); }
Result<Bytes> from_base64_lenient(std::string_view text) {
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode(text, kEitherTable);
}

namespace {

constexpr std::uint32_t kInvalid = 0xFFFF'FFFF;

// The code point at `i`, which moves past it; kInvalid (and `i` past one byte) where none starts there.
std::uint32_t next_code_point(std::string_view text, std::size_t& i) {
  const auto c = static_cast<unsigned char>(text[i++]);
  std::size_t extra = 0;
  std::uint32_t value = c, least = 0;
  if (c < 0x80) return c;
  if (c >= 0xC2 && c <= 0xDF) {
    extra = 1, value = c & 0x1FU, least = 0x80;
  } else if (c >= 0xE0 && c <= 0xEF) {
    extra = 2, value = c & 0x0FU, least = 0x800;
  } else if (c >= 0xF0 && c <= 0xF4) {
    extra = 3, value = c & 0x07U, least = 0x10000;
  } else {
    return kInvalid;
  }
  if (text.size() - i < extra) return kInvalid;
  for (std::size_t k = 0; k < extra; ++k) {
    const auto next = static_cast<unsigned char>(text[i + k]);
    if ((next & 0xC0U) != 0x80) return kInvalid;
    value = (value << 6) | (next & 0x3FU);
  }
  if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return kInvalid;
  i += extra;
  return value;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();)
    if (next_code_point(text, i) == kInvalid) return false;
  return true;
}

std::string lossy_utf8(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = next_code_point(text, i);
    append_utf8(out, c == kInvalid ? 0xFFFD : c);
  }
  return out;
}

Result<std::string> from_utf16le(ByteView bytes) {
  if (bytes.size() % 2 != 0) return fail(ErrorCode::malformed, "UTF-16 text of odd length");
  const auto unit = [&](std::size_t i) { return static_cast<std::uint32_t>(bytes[i] | bytes[i + 1] << 8); };
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    std::uint32_t c = unit(i);
    if (c >= 0xD800 && c <= 0xDFFF) {
      const std::uint32_t low = i + 2 < bytes.size() ? unit(i + 2) : 0;
      if (c > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
        return fail(ErrorCode::malformed, "byte " + std::to_string(i), "lone surrogate in UTF-16 text");
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
      i += 2;
    }
    append_utf8(out, c);
  }
  return out;
}

Result<Bytes> to_utf16le(std::string_view utf8) {
  Bytes out;
  out.reserve(utf8.size() * 2);
  const auto put = [&](std::uint32_t unit) {
    out.push_back(static_cast<std::uint8_t>(unit));
    out.push_back(static_cast<std::uint8_t>(unit >> 8));
  };
  for (std::size_t i = 0; i < utf8.size();) {
    const std::size_t at = i;
    const auto c = next_code_point(utf8, i);
    if (c == kInvalid) return fail(ErrorCode::malformed, "byte " + std::to_string(at), "not UTF-8");
    if (c >= 0x10000) {
      put(0xD800 + ((c - 0x10000) >> 10));
      put(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      put(c);
    }
  }
  return out;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (text.size() - i < 3 || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0)
      return fail(ErrorCode::malformed, "character " + std::to_string(i), "bad percent escape");
    out.push_back(static_cast<char>(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2])));
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      const auto b = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back("0123456789ABCDEF"[b >> 4]);
      out.push_back("0123456789ABCDEF"[b & 15]);
    }
  }
  return out;
}

}  // namespace cairn
