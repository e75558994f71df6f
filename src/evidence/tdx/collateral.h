// What a quote is judged against: Intel's signed statements, as their service delivers them. tdx-dcap §2, §3.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace cairn::tdx {

// Bytes exactly as received: signatures are checked over them, and nothing here is trusted before verify.h did.
struct Collateral {
  std::string tcb_info;              // response body {"tcbInfo":{...},"signature":"<128 hex>"}
  std::string tcb_signing_chain;     // PEM: TCB signing certificate, root
  std::string qe_identity;           // response body {"enclaveIdentity":{...},"signature":"<128 hex>"}
  std::string qe_signing_chain;      // PEM: TCB signing certificate, root
  Bytes root_crl;                    // DER
  Bytes pck_crl;                     // DER
  std::string pck_crl_issuer_chain;  // PEM: PCK platform or processor CA, root
  std::string pck_chain;             // PEM: PCK, CA, root; only for quotes that carry no chain (data types 1 to 4)

  bool operator==(const Collateral&) const = default;
};

// Bounds of what is accepted, each tested at the limit and one past it.
inline constexpr std::size_t kMaxSignedJson = 1 << 20;
inline constexpr std::size_t kMaxCrl = 4 << 20;
inline constexpr std::size_t kMaxChain = 32 << 10;
inline constexpr std::size_t kMaxBundle = 16 << 20;

// The file that travels with a quote: one JSON object with the member names of `Collateral`, CRLs in base64 of DER,
// everything else as text, and "version": 1. Unknown members are errors.
// CRLs may also be given as hex or PEM, the spellings caching services use.
[[nodiscard]] Result<Collateral> parse_collateral(std::string_view json);
[[nodiscard]] std::string serialise(const Collateral& collateral);

// A CRL as DER from any spelling met in the field: DER, PEM, or hex text of the DER.
[[nodiscard]] Result<Bytes> crl_to_der(ByteView body);

}  // namespace cairn::tdx
