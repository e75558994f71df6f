// NVIDIA's remote attestation service (NRAS): what it is asked, and its answers as verified tokens. It replaces the
// reference manifests and revocation answers; signature, certificates, nonce and firmware id of each report are judged
// here all the same. nvidia-gpu §3.5 B, §6.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/jose.h"
#include "evidence/nvidia/verify.h"

namespace cairn::nvidia {

inline constexpr std::string_view kNrasIssuer = "https://nras.attestation.nvidia.com";

// One answer, [["JWT", overall], {"GPU-0": jwt, ...}], all of whose tokens hold.
struct NrasAnswer {
  Json overall;                         // claims
  std::map<std::string, Json> devices;  // claims by label
  std::string nonce;                    // hex, lower case; the same in all
  Time issued{}, expires{};             // issued: 0 where unknown; expires: of the token that ends first
  bool positive = false;                // the service's overall result
};
[[nodiscard]] bool looks_like_nras(const Json& json);
// Every token: ES384 by the key of its `kid` among `keys`, issuer, times (60 s of leeway; exp required), one nonce; the
// device tokens are exactly those that the overall one names by digest. Errors: malformed; else the code of the check
// with `where` "signer" (no such key), "signature", "iss", "exp", "nbf", "iat", "submods" or "eat_nonce".
[[nodiscard]] Result<NrasAnswer> verify_nras(const Json& answer, const std::vector<crypto::Jwk>& keys,
                                             std::string_view issuer, Time now);

// A request: devices of one architecture, which all answer one nonce.
struct NrasRequest {
  std::string_view path;             // "/gpu" or "/switch", below the service's address
  std::vector<std::size_t> devices;  // their positions in the evidence
  std::string body;                  // JSON
};
// For all devices of `local`, which Verifier::verify_remote gave of `evidence`; empty unless all are authentic.
[[nodiscard]] std::vector<NrasRequest> nras_requests(const Evidence& evidence, const Verdict& local);
// What an answer to `request` says of its devices, into `out`. evidence_rejected at "submods" where it is not of
// exactly these devices.
[[nodiscard]] Result<void> take_nras(const NrasRequest& request, const NrasAnswer& answer, Remote& out);

}  // namespace cairn::nvidia
