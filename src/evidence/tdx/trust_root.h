// Who is believed: named root keys. Intel's is compiled in; any other must be named by the caller and marks what it
// signs as simulated. tdx-dcap §2.2.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace cairn::tdx {

struct TrustRoot {
  std::string name;                      // "intel", or the caller's name
  std::array<std::uint8_t, 65> point{};  // uncompressed P-256 key, 04 || x || y
  Bytes certificate;                     // its self-signed certificate, DER, verified
  bool simulated = true;                 // false only for Intel's

  // SHA-384 of `point`: the claim root_key_id.
  [[nodiscard]] Digest<48> key_id() const;
};

// Intel SGX Root CA (production).
[[nodiscard]] const TrustRoot& intel_root();
// The key of a self-signed P-256 root certificate (PEM or DER) under a name of the caller's. Its signature, CA flag
// and key usage are checked. Intel's own certificate gives intel_root().
[[nodiscard]] Result<TrustRoot> trust_root(std::string name, ByteView certificate);

}  // namespace cairn::tdx
