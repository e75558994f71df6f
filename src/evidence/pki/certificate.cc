#include "evidence/pki/certificate.h"

#include <algorithm>

#include "base/encoding.h"
#include "evidence/pki/der.h"
#include "evidence/pki/limits.h"

namespace cairn::pki {
namespace {

using namespace std::string_view_literals;

constexpr std::uint8_t context(unsigned n) { return static_cast<std::uint8_t>(0xa0U + n); }

// AlgorithmIdentifier ecdsa-with-SHA256 and the SubjectPublicKeyInfo of a P-256 key up to its point.
constexpr std::string_view kEcdsaSha256 = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"sv;
constexpr std::string_view kP256Prefix =
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"sv;

constexpr std::string_view kCommonName = "\x55\x04\x03"sv;
constexpr std::string_view kAuthorityKeyId = "\x55\x1d\x23"sv;
constexpr std::string_view kSubjectKeyId = "\x55\x1d\x0e"sv;
constexpr std::string_view kKeyUsage = "\x55\x1d\x0f"sv;
constexpr std::string_view kBasicConstraints = "\x55\x1d\x13"sv;
constexpr std::string_view kCrlDistributionPoints = "\x55\x1d\x1f"sv;
constexpr std::string_view kCrlNumber = "\x55\x1d\x14"sv;
constexpr std::string_view kReasonCode = "\x55\x1d\x15"sv;
constexpr std::string_view kInvalidityDate = "\x55\x1d\x18"sv;
constexpr std::string_view kSgx = "\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01"sv;

std::unexpected<Error> bad(const std::string& place, const char* what) {
  return fail(ErrorCode::malformed, place, what);
}

Result<void> expect_algorithm(Der& in) {
  const std::string place = in.place();
  CAIRN_TRY(const Tlv t, in.next(tag::kSequence));
  if (as_text(t.whole) != kEcdsaSha256) return bad(place, "signed with something else than ecdsa-with-SHA256");
  return {};
}

// The outermost SEQUENCE { tbs, algorithm, signature } of certificates and CRLs alike.
struct Signed {
  Tlv tbs;
  std::array<std::uint8_t, 64> signature;
};
Result<Signed> parse_signed(ByteView der) {
  Der outer(der);
  CAIRN_TRY(const Tlv all, outer.next(tag::kSequence));
  CAIRN_CHECK(outer.end());
  Der in(all);
  Signed out{};
  CAIRN_TRY(out.tbs, in.next(tag::kSequence));
  CAIRN_CHECK(expect_algorithm(in));
  CAIRN_TRY(const ByteView bits, in.bit_string());
  CAIRN_TRY(out.signature, raw_signature(bits));
  CAIRN_CHECK(in.end());
  return out;
}

struct Extension {
  std::string_view oid;
  bool critical = false;
  Tlv value;
};
// Calls each(Extension) for the SEQUENCE OF Extension in `list`; no extension may stand twice.
template <class F>
Result<void> each_extension(const Tlv& list, F each) {
  std::array<std::string_view, kMaxExtensions> seen{};
  std::size_t count = 0;
  for (Der in(list); !in.empty();) {
    const std::string place = in.place();
    CAIRN_TRY(const Tlv one, in.next(tag::kSequence));
    Der e(one);
    Extension x;
    CAIRN_TRY(const ByteView oid, e.oid());
    x.oid = as_text(oid);
    if (e.at(tag::kBoolean)) {
      CAIRN_TRY(x.critical, e.boolean());
    }
    CAIRN_TRY(x.value, e.next(tag::kOctetString));
    CAIRN_CHECK(e.end());
    if (count == seen.size()) return bad(place, "too many extensions");
    if (std::find(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(count), x.oid) !=
        seen.begin() + static_cast<std::ptrdiff_t>(count))
      return bad(place, "an extension stands twice");
    seen[count++] = x.oid;
    CAIRN_CHECK(each(x));
  }
  return {};
}

Result<std::string_view> common_name(const Tlv& name) {
  std::string_view out;
  for (Der in(name); !in.empty();) {
    CAIRN_TRY(const Tlv set, in.next(tag::kSet));
    for (Der parts(set); !parts.empty();) {
      CAIRN_TRY(const Tlv pair, parts.next(tag::kSequence));
      Der p(pair);
      CAIRN_TRY(const ByteView oid, p.oid());
      CAIRN_TRY(const Tlv text, p.next());
      CAIRN_CHECK(p.end());
      if (as_text(oid) != kCommonName) continue;
      if (text.tag != tag::kUtf8 && text.tag != tag::kPrintable)
        return bad(p.place(), "a common name of an unusual string type");
      if (!out.empty()) return bad(p.place(), "two common names");
      out = as_text(text.value);
    }
  }
  return out;
}

Result<std::uint16_t> key_usage(const Tlv& value) {
  Der in(value);
  CAIRN_TRY(const Tlv bits, in.next(tag::kBitString));
  CAIRN_CHECK(in.end());
  if (bits.value.size() < 2 || bits.value.size() > 3 || bits.value[0] > 7) return bad(in.place(), "a broken key usage");
  std::uint16_t out = 0;
  for (std::size_t i = 1; i < bits.value.size(); ++i)
    for (unsigned b = 0; b < 8; ++b)
      if ((bits.value[i] & (0x80U >> b)) != 0) out = static_cast<std::uint16_t>(out | (1U << (8 * (i - 1) + b)));
  return out;
}

Result<void> basic_constraints(const Tlv& value, Certificate& out) {
  Der outer(value);
  CAIRN_TRY(const Tlv sequence, outer.next(tag::kSequence));
  CAIRN_CHECK(outer.end());
  Der in(sequence);
  out.has_basic_constraints = true;
  if (in.at(tag::kBoolean)) {
    CAIRN_TRY(out.ca, in.boolean());
  }
  if (in.at(tag::kInteger)) {
    CAIRN_TRY(out.path_length, in.small_integer(255));
  }
  return in.end();
}

Result<void> take_extension(const Extension& x, Certificate& out) {
  if (x.oid == kAuthorityKeyId) {
    out.has_authority_key_id = true;
  } else if (x.oid == kSubjectKeyId) {
    out.has_subject_key_id = true;
  } else if (x.oid == kCrlDistributionPoints) {
    out.has_crl_distribution_points = true;
  } else if (x.oid == kKeyUsage) {
    CAIRN_TRY(out.key_usage, key_usage(x.value));
  } else if (x.oid == kBasicConstraints) {
    CAIRN_CHECK(basic_constraints(x.value, out));
  } else if (x.oid == kSgx) {
    out.sgx_extension = x.value.value;
  } else if (x.critical) {
    out.unknown_critical = true;
  }
  return {};
}

Result<void> extensions(Der& tbs, auto take) {
  CAIRN_TRY(const Tlv wrapped, tbs.next());
  Der outer(wrapped);
  CAIRN_TRY(const Tlv list, outer.next(tag::kSequence));
  CAIRN_CHECK(outer.end());
  return each_extension(list, take);
}

Result<void> validity(Der& tbs, Certificate& out) {
  CAIRN_TRY(const Tlv pair, tbs.next(tag::kSequence));
  Der in(pair);
  CAIRN_TRY(out.not_before, in.time());
  CAIRN_TRY(out.not_after, in.time());
  return in.end();
}

Result<void> revoked_entries(const Tlv& list, Crl& out) {
  for (Der in(list); !in.empty();) {
    CAIRN_TRY(const Tlv entry, in.next(tag::kSequence));
    Der e(entry);
    CAIRN_TRY(const ByteView serial, e.big_integer());
    CAIRN_TRY([[maybe_unused]] const Time when, e.time());
    if (!e.empty()) {
      CAIRN_TRY(const Tlv extras, e.next(tag::kSequence));
      CAIRN_CHECK(each_extension(extras, [&](const Extension& x) -> Result<void> {
        out.unexpected_extension |= x.oid != kReasonCode && x.oid != kInvalidityDate;
        return {};
      }));
    }
    CAIRN_CHECK(e.end());
    out.revoked.push_back(serial);
  }
  std::ranges::sort(out.revoked, std::ranges::lexicographical_compare);
  return {};
}

Result<void> crl_extension(const Extension& x, Crl& out) {
  if (x.oid == kAuthorityKeyId) {
    out.has_authority_key_id = true;
  } else if (x.oid == kCrlNumber) {
    Der in(x.value);
    CAIRN_TRY(out.number, in.big_integer());
    CAIRN_CHECK(in.end());
  } else {
    out.unexpected_extension = true;
  }
  return {};
}

}  // namespace

Result<Certificate> parse_certificate(ByteView der) {
  if (der.size() > kMaxCertificate) return bad("offset " + std::to_string(kMaxCertificate), "a certificate too large");
  CAIRN_TRY(const Signed outer, parse_signed(der));
  Certificate out;
  out.der = der;
  out.tbs = outer.tbs.whole;
  out.signature = outer.signature;
  Der in(outer.tbs);
  CAIRN_TRY(const Tlv version, in.next(context(0)));
  if (!equal(version.value, std::array<std::uint8_t, 3>{0x02, 0x01, 0x02}))
    return bad(in.place(), "not a version 3 certificate");
  CAIRN_TRY(out.serial, in.big_integer());
  CAIRN_CHECK(expect_algorithm(in));
  CAIRN_TRY(const Tlv issuer, in.next(tag::kSequence));
  out.issuer = issuer.whole;
  CAIRN_CHECK(validity(in, out));
  CAIRN_TRY(const Tlv subject, in.next(tag::kSequence));
  out.subject = subject.whole;
  CAIRN_TRY(out.common_name, common_name(subject));
  CAIRN_TRY(const Tlv key, in.next(tag::kSequence));
  if (key.whole.size() != kP256Prefix.size() + 64 || !as_text(key.whole).starts_with(kP256Prefix))
    return bad(in.place(), "a key other than an uncompressed point of P-256");
  std::ranges::copy(key.whole.subspan(kP256Prefix.size()), out.public_key.begin());
  if (!in.at(context(3))) return bad(in.place(), "a certificate without extensions");
  CAIRN_CHECK(extensions(in, [&](const Extension& x) { return take_extension(x, out); }));
  CAIRN_CHECK(in.end());
  return out;
}

Result<Crl> parse_crl(ByteView der) {
  if (der.size() > kMaxCrl) return bad("offset " + std::to_string(kMaxCrl), "a CRL too large");
  CAIRN_TRY(const Signed outer, parse_signed(der));
  Crl out;
  out.tbs = outer.tbs.whole;
  out.signature = outer.signature;
  Der in(outer.tbs);
  CAIRN_TRY(const std::uint32_t version, in.small_integer(255));
  if (version != 1) return bad(in.place(), "not a version 2 CRL");
  CAIRN_CHECK(expect_algorithm(in));
  CAIRN_TRY(const Tlv issuer, in.next(tag::kSequence));
  out.issuer = issuer.whole;
  CAIRN_TRY(out.this_update, in.time());
  CAIRN_TRY(out.next_update, in.time());
  if (in.at(tag::kSequence)) {
    CAIRN_TRY(const Tlv list, in.next());
    CAIRN_CHECK(revoked_entries(list, out));
  }
  if (in.at(context(0))) CAIRN_CHECK(extensions(in, [&](const Extension& x) { return crl_extension(x, out); }));
  CAIRN_CHECK(in.end());
  return out;
}

bool Crl::lists(ByteView serial) const {
  return std::ranges::binary_search(revoked, serial, std::ranges::lexicographical_compare);
}

Result<std::vector<Bytes>> parse_pem_chain(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----", kEnd = "-----END CERTIFICATE-----";
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t size = text.size();
  if (size > kMaxPem) return bad("offset " + std::to_string(kMaxPem), "a PEM chain too large");
  while (text.ends_with('\0')) text.remove_suffix(1);
  const auto place = [&] { return "offset " + std::to_string(size - text.size()); };
  std::vector<Bytes> out;
  std::string base64;
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty()) return out;
    if (!text.starts_with(kBegin)) return bad(place(), "PEM: something else than a CERTIFICATE block");
    if (out.size() == kMaxPemBlocks) return bad(place(), "PEM: too many certificates");
    text.remove_prefix(kBegin.size());
    const std::size_t length = text.find(kEnd);
    if (length == std::string_view::npos) return bad(place(), "PEM: a block without its end");
    base64.clear();
    for (std::string_view rest = text.substr(0, length); !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find_first_of(kSpace));
      base64 += line;
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    }
    Result<Bytes> der = from_base64(base64);
    if (!der) return bad(place(), "PEM: a block is not base64");
    out.push_back(*std::move(der));
    text.remove_prefix(length + kEnd.size());
  }
}

}  // namespace cairn::pki
