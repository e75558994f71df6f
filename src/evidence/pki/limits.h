// Bounds of what the X.509 parsers of attestation evidence take.
#pragma once

#include <cstddef>

namespace cairn::pki {

inline constexpr std::size_t kMaxPem = 32 << 10;         // a PEM chain
inline constexpr std::size_t kMaxPemBlocks = 8;          // certificates in it
inline constexpr std::size_t kMaxCertificate = 8 << 10;  // one certificate, DER
inline constexpr std::size_t kMaxExtensions = 24;        // of a certificate or CRL
inline constexpr std::size_t kMaxCrl = 4 << 20;          // one CRL, DER
inline constexpr std::size_t kMaxSerial = 20;            // bytes of a serial or CRL number (RFC 5280 §4.1.2.2)

}  // namespace cairn::pki
