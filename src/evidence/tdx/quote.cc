#include "evidence/tdx/quote.h"

namespace cairn::tdx {
namespace {

constexpr std::size_t kDescriptorSize = 6;
constexpr std::size_t kKeyAndSignatureSize = 128;

template <std::size_t N>
Result<void> take(Reader& in, std::array<std::uint8_t, N>& out) {
  CAIRN_TRY(const ByteView v, in.bytes(N));
  std::ranges::copy(v, out.begin());
  return {};
}

Result<Header> parse_header(Reader& in) {
  Header h;
  const std::string start = in.place();
  CAIRN_TRY(h.version, in.u16le());
  if (h.version < 3 || h.version > 5)
    return fail(ErrorCode::unsupported, start, "quote version " + std::to_string(h.version) + "; 3, 4 and 5 are known");
  const std::string key_place = in.place();
  CAIRN_TRY(h.key_type, in.u16le());
  if (h.key_type != 2)
    return fail(ErrorCode::unsupported, key_place,
                "attestation key type " + std::to_string(h.key_type) + "; only 2, ECDSA-P256, is known");
  const std::string tee_place = in.place();
  CAIRN_TRY(const std::uint32_t tee, in.u32le());
  h.tee_type = static_cast<TeeType>(tee);
  if (h.tee_type != TeeType::sgx && (h.tee_type != TeeType::tdx || h.version == 3))
    return fail(ErrorCode::unsupported, tee_place,
                "TEE type " + std::to_string(tee) + " in a quote of version " + std::to_string(h.version));
  CAIRN_CHECK(take(in, h.svns));
  const std::string vendor_place = in.place();
  CAIRN_CHECK(take(in, h.vendor_id));
  if (h.vendor_id != kIntelVendorId)
    return fail(ErrorCode::unsupported, vendor_place, "the quoting enclave is not of Intel's vendor id");
  CAIRN_CHECK(take(in, h.user_data));
  return h;
}

// The body type that follows the header: implied before version 5, a descriptor since.
Result<BodyType> parse_body_type(const Header& header, Reader& in) {
  const bool sgx = header.tee_type == TeeType::sgx;
  if (header.version < 5) return sgx ? BodyType::sgx : BodyType::tdx10;
  const std::string place = in.place();
  CAIRN_TRY(const std::uint16_t number, in.u16le());
  CAIRN_TRY(const std::uint32_t size, in.u32le());
  if (number < 1 || number > 4)
    return fail(ErrorCode::malformed, place, "body type " + std::to_string(number) + "; 1 to 4 are known");
  const auto type = static_cast<BodyType>(number);
  if ((type == BodyType::sgx) != sgx)
    return fail(ErrorCode::malformed, place, "body type " + std::to_string(number) + " under the other TEE type");
  if (size != body_size(type))
    return fail(ErrorCode::malformed, place,
                "a body of type " + std::to_string(number) + " has " + std::to_string(body_size(type)) +
                    " bytes, not " + std::to_string(size));
  return type;
}

Result<TdReport> parse_td(Reader& in, BodyType type) {
  CAIRN_TRY(Reader r, in.sub(body_size(type)));
  TdReport t;
  CAIRN_CHECK(take(r, t.tee_tcb_svn));
  CAIRN_CHECK(take(r, t.mr_seam));
  CAIRN_CHECK(take(r, t.mr_signer_seam));
  CAIRN_CHECK(take(r, t.seam_attributes));
  CAIRN_TRY(t.td_attributes, r.u64le());
  CAIRN_TRY(t.xfam, r.u64le());
  for (Register* reg :
       {&t.mr_td, &t.mr_config_id, &t.mr_owner, &t.mr_owner_config, &t.rtmr[0], &t.rtmr[1], &t.rtmr[2], &t.rtmr[3]})
    CAIRN_CHECK(take(r, *reg));
  CAIRN_CHECK(take(r, t.report_data));
  if (type >= BodyType::tdx15) {
    Td15& x = t.td15.emplace();
    CAIRN_CHECK(take(r, x.tee_tcb_svn_2));
    CAIRN_CHECK(take(r, x.mr_service_td));
  }
  if (type == BodyType::tdx15_extended) {
    Td15Extended& x = t.extended.emplace();
    CAIRN_TRY(x.vm_id, r.u8());
    CAIRN_CHECK(take(r, x.td_id));
    CAIRN_CHECK(take(r, x.device_info));
    CAIRN_CHECK(take(r, x.init_service_td));
    CAIRN_TRY(x.init_service_td_attributes, r.u64le());
    CAIRN_CHECK(take(r, x.init_cpu_svn));
    CAIRN_CHECK(take(r, x.init_tee_tcb_svn));
    CAIRN_CHECK(take(r, x.init_fmspc));
    CAIRN_CHECK(take(r, x.current_service_td));
    CAIRN_TRY(x.current_service_td_attributes, r.u64le());
  }
  CAIRN_CHECK(r.end());
  return t;
}

void write(const TdReport& t, Writer& out) {
  out.bytes(t.tee_tcb_svn).bytes(t.mr_seam).bytes(t.mr_signer_seam).bytes(t.seam_attributes);
  out.u64le(t.td_attributes).u64le(t.xfam);
  out.bytes(t.mr_td).bytes(t.mr_config_id).bytes(t.mr_owner).bytes(t.mr_owner_config);
  for (const Register& reg : t.rtmr) out.bytes(reg);
  out.bytes(t.report_data);
  if (t.td15) out.bytes(t.td15->tee_tcb_svn_2).bytes(t.td15->mr_service_td);
  if (!t.extended) return;
  const Td15Extended& x = *t.extended;
  out.u8(x.vm_id).bytes(x.td_id).bytes(x.device_info).bytes(x.init_service_td).u64le(x.init_service_td_attributes);
  out.bytes(x.init_cpu_svn).bytes(x.init_tee_tcb_svn).bytes(x.init_fmspc);
  out.bytes(x.current_service_td).u64le(x.current_service_td_attributes);
}

// QE report, its signature and the QE authentication data: the same in all versions. Gives the report's bytes.
Result<ByteView> parse_qe(Reader& in, Quote& quote) {
  const ByteView rest = in.rest();
  CAIRN_TRY(quote.qe_report, sgx::parse_report(in));
  CAIRN_CHECK(take(in, quote.qe_report_signature));
  CAIRN_TRY(const std::uint16_t auth_size, in.u16le());
  CAIRN_TRY(const ByteView auth, in.bytes(auth_size));
  quote.qe_auth_data = to_bytes(auth);
  return rest.first(sgx::kReportSize);
}

Result<void> parse_cert_data(Reader& in, CertData& cert) {
  const std::string place = in.place();
  CAIRN_TRY(const std::uint16_t type, in.u16le());
  CAIRN_TRY(const std::uint32_t size, in.u32le());
  if (type < 1 || type > 5)
    return fail(ErrorCode::malformed, place,
                "certification data type " + std::to_string(type) + " where 1 to 5 belong");
  if (size > kMaxCertDataSize)
    return fail(ErrorCode::malformed, place,
                std::to_string(size) + " bytes of certification data; at most " + std::to_string(kMaxCertDataSize) +
                    " are read");
  cert.type = static_cast<CertDataType>(type);
  CAIRN_TRY(const ByteView data, in.bytes(size));
  cert.data = to_bytes(data);
  return {};
}

// §1.5 and §1.6: what stands inside `auth_len` bytes. Gives the QE report's bytes.
Result<ByteView> parse_auth(Reader& auth, Quote& quote) {
  CAIRN_CHECK(take(auth, quote.signature));
  CAIRN_CHECK(take(auth, quote.attestation_key));
  if (quote.header.version == 3) {
    CAIRN_TRY(const ByteView qe, parse_qe(auth, quote));
    CAIRN_CHECK(parse_cert_data(auth, quote.cert));
    if (std::ranges::any_of(auth.rest(), [](std::uint8_t b) { return b != 0; }))
      return fail(ErrorCode::malformed, auth.place(), "bytes other than zero after the certification data");
    return qe;
  }
  const std::string place = auth.place();
  CAIRN_TRY(const std::uint16_t type, auth.u16le());
  CAIRN_TRY(const std::uint32_t size, auth.u32le());
  if (type != static_cast<std::uint16_t>(CertDataType::qe_report))
    return fail(ErrorCode::malformed, place,
                "outer certification data type " + std::to_string(type) + " where 6, the QE report, belongs");
  if (size != auth.remaining())
    return fail(ErrorCode::malformed, place,
                "the QE certification data has " + std::to_string(size) + " bytes, " +
                    std::to_string(auth.remaining()) + " are there");
  CAIRN_TRY(const ByteView qe, parse_qe(auth, quote));
  CAIRN_CHECK(parse_cert_data(auth, quote.cert));
  CAIRN_CHECK(auth.end());
  return qe;
}

Result<void> check_encodable(const Quote& quote) {
  const Header& h = quote.header;
  const BodyType type = quote.body_type();
  const bool sgx = type == BodyType::sgx;
  if (h.version < 3 || h.version > 5) return fail(ErrorCode::invalid_argument, "header.version", "not 3, 4 or 5");
  if (sgx != (h.tee_type == TeeType::sgx))
    return fail(ErrorCode::invalid_argument, "header.tee_type", "does not fit the body");
  if (h.version == 3 && !sgx) return fail(ErrorCode::invalid_argument, "header.version", "version 3 carries no TD");
  if (h.version == 4 && !sgx && type != BodyType::tdx10)
    return fail(ErrorCode::invalid_argument, "header.version", "version 4 carries no TD 1.5 report");
  if (quote.qe_auth_data.size() > 0xffff)
    return fail(ErrorCode::invalid_argument, "qe_auth_data", "more than 65535 bytes");
  if (quote.cert.data.size() > kMaxCertDataSize)
    return fail(ErrorCode::invalid_argument, "cert.data", "more than " + std::to_string(kMaxCertDataSize) + " bytes");
  return {};
}

Bytes encode_qe_certification(const Quote& quote) {
  Writer w;
  sgx::write(quote.qe_report, w);
  w.bytes(quote.qe_report_signature);
  w.u16le(static_cast<std::uint16_t>(quote.qe_auth_data.size())).bytes(quote.qe_auth_data);
  w.u16le(static_cast<std::uint16_t>(quote.cert.type));
  w.u32le(static_cast<std::uint32_t>(quote.cert.data.size())).bytes(quote.cert.data);
  return std::move(w).take();
}

}  // namespace

std::size_t body_size(BodyType type) {
  switch (type) {
    case BodyType::sgx: return sgx::kReportSize;
    case BodyType::tdx10: return 584;
    case BodyType::tdx15: return 648;
    case BodyType::tdx15_extended: return 885;
  }
  return 0;
}

std::string_view name(CertDataType type) {
  switch (type) {
    case CertDataType::ppid_clear: return "PPID in clear";
    case CertDataType::ppid_rsa2048: return "PPID encrypted with RSA-2048";
    case CertDataType::ppid_rsa3072: return "PPID encrypted with RSA-3072";
    case CertDataType::pck_leaf: return "PCK certificate";
    case CertDataType::pck_chain: return "PCK certificate chain";
    case CertDataType::qe_report: return "QE report";
    case CertDataType::platform_manifest: return "platform manifest";
  }
  return "unknown";
}

BodyType TdReport::type() const {
  if (extended) return BodyType::tdx15_extended;
  return td15 ? BodyType::tdx15 : BodyType::tdx10;
}

BodyType Quote::body_type() const { return td() != nullptr ? td()->type() : BodyType::sgx; }

const ReportData& Quote::report_data() const { return td() != nullptr ? td()->report_data : enclave()->report_data; }

Result<ParsedQuote> parse_quote(ByteView bytes) {
  if (bytes.size() < kMinQuoteSize)
    return fail(ErrorCode::malformed, "offset " + std::to_string(bytes.size()),
                "a quote has at least " + std::to_string(kMinQuoteSize) + " bytes");
  if (bytes.size() > kMaxQuoteSize)
    return fail(ErrorCode::malformed, "offset " + std::to_string(kMaxQuoteSize),
                "a quote has at most " + std::to_string(kMaxQuoteSize) + " bytes");
  Reader in(bytes);
  ParsedQuote out;
  CAIRN_TRY(out.quote.header, parse_header(in));
  CAIRN_TRY(const BodyType type, parse_body_type(out.quote.header, in));
  if (type == BodyType::sgx) {
    CAIRN_TRY(out.quote.body, sgx::parse_report(in));
  } else {
    CAIRN_TRY(out.quote.body, parse_td(in, type));
  }
  out.signed_bytes = bytes.first(in.offset());
  CAIRN_TRY(const std::uint32_t auth_size, in.u32le());
  CAIRN_TRY(Reader auth, in.sub(auth_size));
  out.bytes = bytes.first(in.offset());
  CAIRN_TRY(out.qe_report_bytes, parse_auth(auth, out.quote));
  return out;
}

Bytes encode_signed_part(const Header& header, const Body& body) {
  Writer w;
  w.u16le(header.version).u16le(header.key_type).u32le(static_cast<std::uint32_t>(header.tee_type));
  w.bytes(header.svns).bytes(header.vendor_id).bytes(header.user_data);
  const TdReport* td = std::get_if<TdReport>(&body);
  const BodyType type = td != nullptr ? td->type() : BodyType::sgx;
  if (header.version >= 5) w.u16le(static_cast<std::uint16_t>(type)).u32le(static_cast<std::uint32_t>(body_size(type)));
  if (td != nullptr)
    write(*td, w);
  else
    sgx::write(std::get<sgx::Report>(body), w);
  return std::move(w).take();
}

Result<Bytes> encode(const Quote& quote) {
  CAIRN_CHECK(check_encodable(quote));
  const Bytes qe = encode_qe_certification(quote);
  const bool nested = quote.header.version >= 4;
  Writer w;
  w.bytes(encode_signed_part(quote.header, quote.body));
  w.u32le(static_cast<std::uint32_t>(kKeyAndSignatureSize + (nested ? kDescriptorSize : 0) + qe.size()));
  w.bytes(quote.signature).bytes(quote.attestation_key);
  if (nested) w.u16le(static_cast<std::uint16_t>(CertDataType::qe_report)).u32le(static_cast<std::uint32_t>(qe.size()));
  w.bytes(qe);
  return std::move(w).take();
}

Result<TdReport> parse_td_report(ByteView bytes, BodyType type) {
  if (type == BodyType::sgx) return fail(ErrorCode::invalid_argument, "an enclave report is not a TD report");
  Reader in(bytes);
  CAIRN_TRY(TdReport out, parse_td(in, type));
  CAIRN_CHECK(in.end());
  return out;
}

Bytes encode(const TdReport& report) {
  Writer w;
  write(report, w);
  return std::move(w).take();
}

}  // namespace cairn::tdx
