#include "evidence/sgx/pck_extension.h"

#include "evidence/pki/der.h"

namespace cairn::sgx {
namespace {

namespace tag = pki::tag;
using pki::Der;
using pki::Tlv;

// 1.2.840.113741.1.13.1, the stem of every OID inside.
constexpr std::array<std::uint8_t, 9> kStem = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};
constexpr unsigned kEntries = 32;  // of any of the sequences; Intel writes at most 18

// The numbers after `stem` when `oid` is stem.N, N below 128; 0 otherwise.
unsigned arc(ByteView oid, ByteView stem) {
  const bool fits = oid.size() == stem.size() + 1 && equal(oid.first(stem.size()), stem) && oid.back() < 0x80;
  return fits ? oid.back() : 0;
}

// Calls each(arc, Der at the value) for SEQUENCE OF SEQUENCE { OID stem.arc, value }; each arc at most once.
template <class F>
Result<void> each_entry(const Tlv& list, ByteView stem, F each) {
  std::uint64_t seen = 0;
  unsigned count = 0;
  for (Der in(list); !in.empty();) {
    const std::string place = in.place();
    if (++count > kEntries) return fail(ErrorCode::malformed, place, "too many entries");
    CAIRN_TRY(const Tlv entry, in.next(tag::kSequence));
    Der e(entry);
    CAIRN_TRY(const ByteView oid, e.oid());
    const unsigned n = arc(oid, stem);
    if (n > 0 && n < 64) {
      if ((seen >> n & 1U) != 0) return fail(ErrorCode::malformed, place, "an entry stands twice");
      seen |= 1ULL << n;
    }
    CAIRN_TRY(const bool known, each(n, e));
    if (!known) {
      CAIRN_TRY([[maybe_unused]] const Tlv ignored, e.next());
    }
    CAIRN_CHECK(e.end());
  }
  return {};
}

template <std::size_t N>
Result<void> octets(Der& in, std::array<std::uint8_t, N>& out) {
  CAIRN_TRY(const Tlv t, in.next(tag::kOctetString));
  if (t.value.size() != N)
    return fail(ErrorCode::malformed, "offset " + std::to_string(t.offset), "an entry of the wrong length");
  std::ranges::copy(t.value, out.begin());
  return {};
}

Bytes child(ByteView stem, unsigned n) {
  Bytes out = to_bytes(stem);
  out.push_back(static_cast<std::uint8_t>(n));
  return out;
}

Result<void> parse_tcb(const Tlv& list, PckExtension& out) {
  unsigned found = 0;
  const auto each = [&](unsigned n, Der& e) -> Result<bool> {
    if (n < 1 || n > 18) return false;
    ++found;
    if (n == 18) {
      CAIRN_CHECK(octets(e, out.cpu_svn));
      return true;
    }
    CAIRN_TRY(const std::uint32_t svn, e.small_integer(n == 17 ? 0xffff : 0xff));
    if (n == 17)
      out.pce_svn = static_cast<std::uint16_t>(svn);
    else
      out.components[n - 1] = static_cast<std::uint8_t>(svn);
    return true;
  };
  CAIRN_CHECK(each_entry(list, child(kStem, 2), each));
  if (found != 18) return fail(ErrorCode::malformed, "tcb", "the TCB lacks one of its 18 entries");
  return {};
}

Result<void> parse_configuration(const Tlv& list, PckExtension& out) {
  out.has_configuration = true;
  return each_entry(list, child(kStem, 7), [&](unsigned n, Der& e) -> Result<bool> {
    if (n < 1 || n > 3) return false;
    CAIRN_TRY(const bool value, e.boolean());
    (n == 1 ? out.dynamic_platform : n == 2 ? out.cached_keys : out.smt_enabled) = value;
    return true;
  });
}

// Entry `n` of the extension; false if unknown.
Result<bool> parse_entry(unsigned n, Der& e, PckExtension& out) {
  switch (n) {
    case 1: CAIRN_CHECK(octets(e, out.ppid)); return true;
    case 2: {
      CAIRN_TRY(const Tlv list, e.next(tag::kSequence));
      CAIRN_CHECK(parse_tcb(list, out));
      return true;
    }
    case 3: CAIRN_CHECK(octets(e, out.pce_id)); return true;
    case 4: CAIRN_CHECK(octets(e, out.fmspc)); return true;
    case 5: {
      CAIRN_TRY(const std::uint32_t type, e.small_integer(2, tag::kEnumerated));
      out.type = static_cast<PlatformType>(type);
      return true;
    }
    case 6: CAIRN_CHECK(octets(e, out.platform_instance_id.emplace())); return true;
    case 7: {
      CAIRN_TRY(const Tlv list, e.next(tag::kSequence));
      CAIRN_CHECK(parse_configuration(list, out));
      return true;
    }
    default: return false;
  }
}

Bytes tlv(std::uint8_t tag, ByteView value) {
  Writer w;
  w.u8(tag);
  if (value.size() < 0x80)
    w.u8(static_cast<std::uint8_t>(value.size()));
  else if (value.size() <= 0xff)
    w.u8(0x81).u8(static_cast<std::uint8_t>(value.size()));
  else
    w.u8(0x82).u16be(static_cast<std::uint16_t>(value.size()));
  return std::move(w.bytes(value)).take();
}

Bytes integer(std::uint32_t value, std::uint8_t tag = tag::kInteger) {
  Bytes v;
  do {
    v.insert(v.begin(), static_cast<std::uint8_t>(value));
    value >>= 8;
  } while (value != 0);
  if ((v[0] & 0x80U) != 0) v.insert(v.begin(), 0);
  return tlv(tag, v);
}

void entry(Bytes& out, const Bytes& oid, ByteView value) {
  Bytes body = tlv(tag::kOid, oid);
  append(body, value);
  append(out, tlv(tag::kSequence, body));
}

}  // namespace

std::string_view name(PlatformType type) {
  switch (type) {
    case PlatformType::standard: return "Standard";
    case PlatformType::scalable: return "Scalable";
    case PlatformType::scalable_with_integrity: return "ScalableWithIntegrity";
  }
  return "unknown";
}

Result<PckExtension> parse_pck_extension(ByteView der) {
  Der outer(der);
  CAIRN_TRY(const Tlv list, outer.next(tag::kSequence));
  CAIRN_CHECK(outer.end());
  PckExtension out;
  unsigned required = 0;
  CAIRN_CHECK(each_entry(list, kStem, [&](unsigned n, Der& e) -> Result<bool> {
    if (n >= 1 && n <= 5) ++required;
    return parse_entry(n, e, out);
  }));
  if (required != 5) return fail(ErrorCode::malformed, "the PCK extension lacks PPID, TCB, PCEID, FMSPC or SGX type");
  return out;
}

Bytes encode(const PckExtension& x) {
  Bytes tcb, all;
  const Bytes tcb_stem = child(kStem, 2), configuration_stem = child(kStem, 7);
  for (unsigned i = 0; i < 16; ++i) entry(tcb, child(tcb_stem, i + 1), integer(x.components[i]));
  entry(tcb, child(tcb_stem, 17), integer(x.pce_svn));
  entry(tcb, child(tcb_stem, 18), tlv(tag::kOctetString, x.cpu_svn));
  entry(all, child(kStem, 1), tlv(tag::kOctetString, x.ppid));
  entry(all, child(kStem, 2), tlv(tag::kSequence, tcb));
  entry(all, child(kStem, 3), tlv(tag::kOctetString, x.pce_id));
  entry(all, child(kStem, 4), tlv(tag::kOctetString, x.fmspc));
  entry(all, child(kStem, 5), integer(static_cast<std::uint32_t>(x.type), tag::kEnumerated));
  if (x.platform_instance_id) entry(all, child(kStem, 6), tlv(tag::kOctetString, *x.platform_instance_id));
  if (x.has_configuration || x.dynamic_platform || x.cached_keys || x.smt_enabled) {
    Bytes list;
    const std::optional<bool> flags[] = {x.dynamic_platform, x.cached_keys, x.smt_enabled};
    for (unsigned i = 0; i < 3; ++i)
      if (flags[i]) {
        const std::uint8_t value = *flags[i] ? 0xff : 0;
        entry(list, child(configuration_stem, i + 1), tlv(tag::kBoolean, {&value, 1}));
      }
    entry(all, child(kStem, 7), tlv(tag::kSequence, list));
  }
  return tlv(tag::kSequence, all);
}

}  // namespace cairn::sgx
