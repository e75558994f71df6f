// ECDSA-P256 quotes of version 3 (SGX), 4 and 5 (TDX and SGX): their layout, read and written. tdx-dcap §1.
// Nothing here checks a signature or judges a value; verify.h does.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "evidence/sgx/report.h"

namespace cairn::tdx {

using Svn16 = std::array<std::uint8_t, 16>;  // TEE_TCB_SVN: [0] module minor, [1] module version, [2] SEAM loader
using Register = Digest<48>;                 // MRTD, RTMRs, MRSEAM, MRCONFIGID, ...
using Signature = FixedBytes<64, struct SignatureTag>;  // r || s, each 32 bytes big-endian
using EcPoint = FixedBytes<64, struct EcPointTag>;      // x || y, each 32 bytes big-endian

inline constexpr std::size_t kHeaderSize = 48;
inline constexpr std::size_t kMinQuoteSize = 1020;
inline constexpr std::size_t kMaxQuoteSize = 64 << 10;
inline constexpr std::size_t kMaxCertDataSize = 32 << 10;

enum class TeeType : std::uint32_t { sgx = 0, tdx = 0x81 };
enum class BodyType : std::uint16_t { sgx = 1, tdx10 = 2, tdx15 = 3, tdx15_extended = 4 };
// 384, 584, 648 or 885.
[[nodiscard]] std::size_t body_size(BodyType type);

// Intel's QE vendor id, the only one accepted.
inline constexpr std::array<std::uint8_t, 16> kIntelVendorId = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                                                0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};

// Bits of TdReport::td_attributes, §4.1.
namespace td_attribute {
inline constexpr std::uint64_t kDebug = 1ULL << 0;
inline constexpr std::uint64_t kUnderDebug = 0xff;  // DEBUG and the further debug and profiling bits
inline constexpr std::uint64_t kSeptVeDisable = 1ULL << 28;
inline constexpr std::uint64_t kMigratable = 1ULL << 29;
inline constexpr std::uint64_t kProtectionKeys = 1ULL << 30;
inline constexpr std::uint64_t kKeyLocker = 1ULL << 31;
inline constexpr std::uint64_t kPerfmon = 1ULL << 63;
}  // namespace td_attribute

struct Header {
  std::uint16_t version = 4;
  std::uint16_t key_type = 2;  // ECDSA-P256
  TeeType tee_type = TeeType::tdx;
  std::array<std::uint8_t, 4> svns{};  // v3: QE SVN, PCE SVN (each u16 little-endian); v4, v5: reserved
  std::array<std::uint8_t, 16> vendor_id = kIntelVendorId;
  std::array<std::uint8_t, 20> user_data{};
  bool operator==(const Header&) const = default;
};

// What a TD 1.5 report adds to the 1.0 report.
struct Td15 {
  Svn16 tee_tcb_svn_2{};     // the module that runs now, after a TD-preserving update
  Register mr_service_td{};  // zero when no service TD is bound
  bool operator==(const Td15&) const = default;
};
// What body type 4 adds (nested TDs and service-TD history).
struct Td15Extended {
  std::uint8_t vm_id = 0;
  std::array<std::uint8_t, 32> td_id{};
  Register device_info{};
  Register init_service_td{};
  std::uint64_t init_service_td_attributes = 0;
  Svn16 init_cpu_svn{};
  Svn16 init_tee_tcb_svn{};
  std::array<std::uint8_t, 12> init_fmspc{};
  Register current_service_td{};
  std::uint64_t current_service_td_attributes = 0;
  bool operator==(const Td15Extended&) const = default;
};

// A TD's report as quotes carry it, §1.3.
struct TdReport {
  Svn16 tee_tcb_svn{};
  Register mr_seam{};
  Register mr_signer_seam{};
  std::array<std::uint8_t, 8> seam_attributes{};
  std::uint64_t td_attributes = td_attribute::kSeptVeDisable;
  std::uint64_t xfam = 0;
  Register mr_td{};
  Register mr_config_id{};
  Register mr_owner{};
  Register mr_owner_config{};
  std::array<Register, 4> rtmr{};
  ReportData report_data{};
  std::optional<Td15> td15;              // exactly in body types 3 and 4
  std::optional<Td15Extended> extended;  // exactly in body type 4

  // The body type these members make.
  [[nodiscard]] BodyType type() const;
  bool operator==(const TdReport&) const = default;
};

using Body = std::variant<TdReport, sgx::Report>;

// Kinds of certification data, §1.5. Only 1 to 5 stand inside a quote's QE certification data.
enum class CertDataType : std::uint16_t {
  ppid_clear = 1,
  ppid_rsa2048 = 2,
  ppid_rsa3072 = 3,
  pck_leaf = 4,
  pck_chain = 5,
  qe_report = 6,
  platform_manifest = 7,
};
[[nodiscard]] std::string_view name(CertDataType type);

struct CertData {
  CertDataType type = CertDataType::pck_chain;
  Bytes data;  // type 5: PEM leaf, intermediate, root; often with a final NUL
  bool operator==(const CertData&) const = default;
};

struct Quote {
  Header header;
  Body body;
  Signature signature{};  // by attestation_key over header || [descriptor] || body
  EcPoint attestation_key{};
  sgx::Report qe_report;            // binds attestation_key and qe_auth_data
  Signature qe_report_signature{};  // by the PCK key
  Bytes qe_auth_data;               // 0 to 65535 bytes
  CertData cert;

  [[nodiscard]] const TdReport* td() const { return std::get_if<TdReport>(&body); }
  [[nodiscard]] const sgx::Report* enclave() const { return std::get_if<sgx::Report>(&body); }
  [[nodiscard]] BodyType body_type() const;
  // REPORTDATA of either kind of body.
  [[nodiscard]] const ReportData& report_data() const;
  bool operator==(const Quote&) const = default;
};

// A quote and the places of its bytes. The views point into the bytes parsed.
struct ParsedQuote {
  Quote quote;
  ByteView signed_bytes;     // what `signature` covers
  ByteView qe_report_bytes;  // what `qe_report_signature` covers
  ByteView bytes;            // the quote without what follows it: the identity of this evidence
};

// Strict, §1.6. Bytes after the authentication data are ignored. Errors: `malformed` for what does not parse,
// `unsupported` for other versions, key types, TEE types, vendors and certification data; `where` is the offset.
[[nodiscard]] Result<ParsedQuote> parse_quote(ByteView bytes);

// The bytes a quote signature covers: header, descriptor (v5), body.
[[nodiscard]] Bytes encode_signed_part(const Header& header, const Body& body);
// The whole quote as its producer writes it, without padding. invalid_argument where header and body exclude each
// other (v3 with a TD, v4 with a 1.5 report) or a length does not fit.
[[nodiscard]] Result<Bytes> encode(const Quote& quote);

// The body alone (584, 648 or 885 bytes).
[[nodiscard]] Result<TdReport> parse_td_report(ByteView bytes, BodyType type);
[[nodiscard]] Bytes encode(const TdReport& report);

}  // namespace cairn::tdx
