// The verdict on a TDX or SGX quote: every check of tdx-dcap §2.5 in its order, through one entry point. Pure: time,
// collateral and trust roots are arguments; nothing is fetched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "evidence/sgx/pck_extension.h"
#include "evidence/tdx/collateral.h"
#include "evidence/tdx/quote.h"
#include "evidence/tdx/trust_root.h"

namespace cairn::tdx {

// Every way to fail; the names (name()) are stable and those of §2.10. Steps in the order they are checked.
enum class Failure : std::uint8_t {
  none,
  invalid_time,               // InvalidTime: the verification time is before any such evidence existed
  crl_issuer,                 // CrlIssuer
  crl_extensions,             // CrlExtensions: also a CRL that does not parse
  crl_signature,              // CrlSignature
  crl_expired,                // CrlExpired: past nextUpdate or before thisUpdate
  chain_format,               // ChainFormat
  cert_name,                  // CertName
  cert_extensions,            // CertExtensions
  cert_constraint,            // CertConstraint: CA flag, path length or key usage
  untrusted,                  // Untrusted: the chain ends in no root of the caller's
  cert_signature,             // CertSignature
  cert_expired,               // CertExpired
  cert_not_yet_valid,         // CertNotYetValid
  tcb_signing_revoked,        // TcbSigningRevoked
  signing_cert_expired,       // SigningCertExpired
  intermediate_revoked,       // IntermediateRevoked
  pck_revoked,                // PckRevoked
  tcb_info_signature,         // TcbInfoSignature
  tcb_info_format,            // TcbInfoFormat
  tcb_info_expired,           // TcbInfoExpired
  tcb_info_not_yet_valid,     // TcbInfoNotYetValid
  qe_identity_signature,      // QeIdentitySignature
  qe_identity_format,         // QeIdentityFormat
  qe_identity_expired,        // QeIdentityExpired
  qe_identity_not_yet_valid,  // QeIdentityNotYetValid
  collateral_replayed,        // CollateralReplayed: evaluation data number below the caller's minimum
  format,                     // Format
  unsupported_quote,          // UnsupportedQuote
  unsupported_cert_data,      // UnsupportedCertData
  tcb_info_id,                // TcbInfoId: TCB info of the other TEE
  fmspc_mismatch,             // FmspcMismatch
  pceid_mismatch,             // PceidMismatch
  tdx_module_mismatch,        // TdxModuleMismatch
  qe_report_signature,        // QeReportSignature
  qe_report_data,             // QeReportData
  qe_identity_id,             // QeIdentityId
  qe_identity_mismatch,       // QeIdentityMismatch
  attestation_key,            // AttestationKey
  quote_signature,            // QuoteSignature
  tcb_not_supported,          // TcbNotSupported
};
[[nodiscard]] std::string_view name(Failure failure);      // "PckRevoked"
[[nodiscard]] std::string_view sentence(Failure failure);  // what it means, for a reader

enum class TcbStatus : std::uint8_t {
  up_to_date,
  sw_hardening_needed,
  configuration_needed,
  configuration_and_sw_hardening_needed,
  out_of_date,
  out_of_date_configuration_needed,
  td_relaunch_advised,
  td_relaunch_advised_configuration_needed,
  revoked,
};
[[nodiscard]] std::string_view name(TcbStatus status);  // "UpToDate"
[[nodiscard]] std::optional<TcbStatus> tcb_status(std::string_view name);
// Intel's sgx_ql_qv_result_t of a status (0, 0xa001, ...), §2.9.
[[nodiscard]] std::uint32_t intel_result(TcbStatus status);

struct TcbLevel {
  TcbStatus status = TcbStatus::revoked;
  Time date{};                            // oldest of the levels used
  std::vector<std::string> advisory_ids;  // sorted, without duplicates
};

// §2.11. Times and numbers of the eight items a verdict rests on.
struct CollateralFacts {
  Time earliest_issue{};
  Time latest_issue{};
  Time earliest_expiration{};
  bool expired = false;            // something is; only with Expiry::flag or within the grace
  std::uint32_t tcb_eval_num = 0;  // the smaller of TCB info and QE identity
  std::uint32_t tcb_info_eval_num = 0;
  std::uint32_t qe_identity_eval_num = 0;
  Bytes root_crl_number;  // CRL numbers, big-endian, at most 20 bytes
  Bytes pck_crl_number;
  Time tcb_info_issued{};
  Time tcb_info_next_update{};
  Time qe_identity_issued{};
  Time qe_identity_next_update{};
};

enum class PckCa : std::uint8_t { processor, platform };

// What the PCK certificate says of the machine.
struct PlatformFacts {
  sgx::PckExtension pck;  // PPID, FMSPC, PCEID, SVNs, configuration
  PckCa ca = PckCa::platform;
  Bytes pck_serial;
  Time pck_not_before{};
  Time pck_not_after{};
};

struct QeFacts {
  sgx::Report report;
  TcbStatus status = TcbStatus::revoked;
  Time date{};
};

struct ModuleFacts {
  std::uint8_t version = 0;         // TEE_TCB_SVN[1]
  std::optional<TcbStatus> status;  // none for version 0
};

struct Verdict {
  Failure failure = Failure::none;
  std::string detail;  // where and why, for a reader; empty without failure

  // Facts are present once the check that proves them has passed, and none that depends on the quote's signatures is
  // reported when one of them failed.
  std::optional<Quote> quote;  // once all its signatures hold
  std::size_t quote_size = 0;  // bytes of the input that are the quote
  std::string root_name;       // the trust root reached
  Digest<48> root_key_id{};
  bool simulated = false;  // that root is not Intel's
  std::optional<CollateralFacts> collateral;
  std::optional<PlatformFacts> platform;
  std::optional<QeFacts> qe;
  std::optional<ModuleFacts> module;
  std::optional<TcbLevel> tcb;      // the status, after convergence and relaunch advice
  std::optional<TcbLevel> launch;   // with TEE_TCB_SVN alone
  std::optional<TcbLevel> current;  // with TEE_TCB_SVN_2; equals launch for bodies without it

  // All signatures hold and the platform's TCB is known: quote, platform and tcb are present and true. Whether the
  // status is good enough is policy's to say (policy.h).
  [[nodiscard]] bool authentic() const { return failure == Failure::none; }
  // The status name, or the failure's.
  [[nodiscard]] std::string_view outcome() const;
  // The failure as an Error: evidence_rejected, where = "tdx.PckRevoked".
  [[nodiscard]] Result<void> result() const;
};

enum class Expiry : std::uint8_t {
  strict,  // anything expired is a failure
  flag,    // expiry becomes CollateralFacts::expired and the evaluation goes on (as Intel's QvE does)
};

struct Options {
  Time time{};  // at which everything must be valid; required
  Expiry expiry = Expiry::strict;
  std::int64_t grace_seconds = 0;      // strict: how long past its expiry an item is still taken (and flagged)
  std::uint32_t min_tcb_eval_num = 0;  // smaller numbers are CollateralReplayed
};

// Judges quotes against trust roots. Keeps bounded caches keyed by content: verified collateral sets, PCK chains,
// and bindings of attestation keys to QE reports. An entry holds only what bytes and root keys prove for all time;
// validity periods and revocation are judged anew on every use, so nothing outlives what it depends on.
// One thread at a time; keep one per worker thread.
class Verifier {
 public:
  struct CacheSizes {
    std::size_t collaterals = 16;
    std::size_t chains = 1024;
    std::size_t bindings = 1024;
    // Of authorities beside the roots, 150 KiB each once it has been used a thousand times: tables with which a
    // signature check takes a third of the time. They remember arithmetic, not answers. A root's is kept always.
    std::size_t keys = 16;  // 0 anywhere: no such cache
  };
  // Roots are tried by key; at least one.
  explicit Verifier(std::vector<TrustRoot> roots);
  Verifier(std::vector<TrustRoot> roots, CacheSizes sizes);
  Verifier(Verifier&&) noexcept;
  Verifier& operator=(Verifier&&) noexcept;
  ~Verifier();

  [[nodiscard]] Verdict verify(ByteView quote, const Collateral& collateral, const Options& options);
  // Steps 1 to 5 alone: what a fetcher asks before it keeps a collateral set.
  [[nodiscard]] Verdict verify_collateral(const Collateral& collateral, const Options& options);

  // Entries now held: collateral sets, chains, bindings.
  struct CacheUse {
    std::size_t collaterals, chains, bindings;
  };
  [[nodiscard]] CacheUse cache_use() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One verification without any cache.
[[nodiscard]] Verdict verify(ByteView quote, const Collateral& collateral, const std::vector<TrustRoot>& roots,
                             const Options& options);

// What a fetcher must know to choose collateral, read from the quote alone: unverified.
struct CollateralKey {
  TeeType tee = TeeType::tdx;
  std::array<std::uint8_t, 6> fmspc{};
  PckCa ca = PckCa::platform;
  bool operator==(const CollateralKey&) const = default;
};
[[nodiscard]] Result<CollateralKey> collateral_key(ByteView quote);
// The same from a quote whose PCK chain is signed under one of the roots, so that nobody can make a service fetch for
// platforms of his invention. Time, revocation and the quote's own signatures are verify's to judge.
[[nodiscard]] Result<CollateralKey> collateral_key(ByteView quote, const std::vector<TrustRoot>& roots);

}  // namespace cairn::tdx
