#include "evidence/pki/der.h"

#include "evidence/pki/limits.h"

namespace cairn::pki {
namespace {

std::unexpected<Error> bad(const Tlv& t, const char* what) {
  return fail(ErrorCode::malformed, "offset " + std::to_string(t.offset), what);
}

Result<std::uint32_t> length_of(Reader& in) {
  const std::string_view what = "a DER length is not minimal or not definite";
  CAIRN_TRY(const std::uint8_t first, in.u8());
  if (first < 0x80) return first;
  const std::size_t count = first & 0x7fU;
  if (count == 0 || count > 4) return fail(ErrorCode::malformed, in.place(), std::string(what));
  CAIRN_TRY(const ByteView bytes, in.bytes(count));
  std::uint32_t n = 0;
  for (const std::uint8_t b : bytes) n = (n << 8) | b;
  if (n < 0x80 || bytes[0] == 0) return fail(ErrorCode::malformed, in.place(), std::string(what));
  return n;
}

// Two decimal digits at `at`; so far below zero where they are not digits that no sum of fields becomes a date.
int two(std::string_view text, std::size_t at) {
  const auto digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : -1'000'000; };
  return digit(at) * 10 + digit(at + 1);
}

int days_in(int year, int month) {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

}  // namespace

Result<Tlv> Der::next() {
  Reader probe = in_;
  const ByteView start = probe.rest();
  CAIRN_TRY(const std::uint8_t tag, probe.u8());
  if ((tag & 0x1fU) == 0x1f) return fail(ErrorCode::malformed, in_.place(), "a DER tag of several bytes");
  CAIRN_TRY(const std::uint32_t length, length_of(probe));
  Tlv out{.tag = tag, .value = {}, .whole = {}, .offset = probe.offset()};
  CAIRN_TRY(out.value, probe.bytes(length));
  out.whole = start.first(start.size() - probe.remaining());
  in_ = probe;
  return out;
}

Result<Tlv> Der::next(std::uint8_t tag) {
  if (!at(tag))
    return fail(ErrorCode::malformed, in_.place(),
                "DER tag " + std::to_string(tag) + " expected, " +
                    (in_.empty() ? "nothing left" : std::to_string(in_.rest()[0]) + " found"));
  return next();
}

Result<ByteView> Der::oid() {
  CAIRN_TRY(const Tlv t, next(tag::kOid));
  if (t.value.empty() || (t.value.back() & 0x80U) != 0) return bad(t, "an OID ends inside a number");
  return t.value;
}

Result<bool> Der::boolean() {
  CAIRN_TRY(const Tlv t, next(tag::kBoolean));
  if (t.value.size() != 1 || (t.value[0] != 0 && t.value[0] != 0xff)) return bad(t, "a BOOLEAN other than 00 and FF");
  return t.value[0] != 0;
}

Result<std::uint32_t> Der::small_integer(std::uint32_t max, std::uint8_t tag) {
  CAIRN_TRY(const Tlv t, next(tag));
  const ByteView v = t.value;
  if (v.empty() || (v[0] & 0x80U) != 0) return bad(t, "an INTEGER is empty or negative");
  if (v.size() > 1 && v[0] == 0 && (v[1] & 0x80U) == 0) return bad(t, "an INTEGER has a leading zero");
  if (v.size() > 5) return bad(t, "an INTEGER is out of range");
  std::uint64_t n = 0;
  for (const std::uint8_t b : v) n = (n << 8) | b;
  if (n > max) return bad(t, "an INTEGER is out of range");
  return static_cast<std::uint32_t>(n);
}

Result<ByteView> Der::big_integer() {
  CAIRN_TRY(const Tlv t, next(tag::kInteger));
  ByteView v = t.value;
  if (v.empty() || (v[0] & 0x80U) != 0) return bad(t, "a number is empty or negative");
  if (v.size() > 1 && v[0] == 0) {
    v = v.subspan(1);
    if ((v[0] & 0x80U) == 0) return bad(t, "a number has a leading zero");
  }
  if (v.size() > kMaxSerial) return bad(t, "a number has more than 20 bytes");
  return v;
}

Result<Time> Der::time() {
  const bool utc = at(tag::kUtcTime);
  CAIRN_TRY(const Tlv t, next(utc ? tag::kUtcTime : tag::kGeneralizedTime));
  std::string_view text = as_text(t.value);
  if (text.size() != (utc ? 13U : 15U) || text.back() != 'Z') return bad(t, "a time is not written as RFC 5280 wants");
  int year = two(text, 0);
  if (utc) {
    year += year < 50 ? 2000 : 1900;
    text.remove_prefix(2);
  } else {
    year = year * 100 + two(text, 2);
    text.remove_prefix(4);
  }
  const int month = two(text, 0), day = two(text, 2), hour = two(text, 4), minute = two(text, 6), second = two(text, 8);
  const bool ok = year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days_in(year, month) && hour >= 0 &&
                  hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60;
  if (!ok) return bad(t, "no such date or time");
  return from_civil(year, month, day, hour, minute, second);
}

Result<ByteView> Der::bit_string() {
  CAIRN_TRY(const Tlv t, next(tag::kBitString));
  if (t.value.empty() || t.value[0] != 0) return bad(t, "a BIT STRING is not of whole bytes");
  return t.value.subspan(1);
}

}  // namespace cairn::pki
