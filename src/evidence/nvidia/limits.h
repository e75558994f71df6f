// Bounds of what the parsers of GPU evidence take.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::nvidia {

inline constexpr std::size_t kMaxReport = 16 << 10;    // an SPDM transcript; NVML's own buffer is 8 KiB
inline constexpr std::size_t kMaxTrailing = 15;        // zero bytes after the signature
inline constexpr std::size_t kMaxOpaqueFields = 64;    // of one report
inline constexpr std::size_t kMaxChainPem = 32 << 10;  // a device's certificate chain
inline constexpr std::size_t kMaxRim = 1 << 20;        // a RIM document
inline constexpr std::size_t kMaxXmlNodes = 4096;      // elements and texts of it
inline constexpr std::size_t kMaxXmlAttributes = 32;   // of one element, namespaces included
inline constexpr std::size_t kMaxXmlNamespaces = 8;    // declared by one element
inline constexpr std::size_t kMaxXmlDepth = 16;
inline constexpr std::size_t kMaxGoldenAlternatives = 16;  // digests of one golden measurement
inline constexpr std::size_t kRimMeasurements = 64;        // measurement entries of a RIM
inline constexpr std::size_t kMaxOcsp = 16 << 10;          // an OCSP response
inline constexpr std::size_t kMaxOcspBundle = 4096;        // responses, and RIMs, of one bundle
inline constexpr std::size_t kMaxDevices = 64;             // of one piece of evidence
inline constexpr std::size_t kMaxEvidenceJson = 4 << 20;
inline constexpr std::size_t kMaxBundleJson = 16 << 20;
inline constexpr std::int64_t kClockSkew = 300;         // seconds, for OCSP thisUpdate and nextUpdate
inline constexpr std::int64_t kOcspDefaultLife = 3600;  // seconds, of an answer without nextUpdate

}  // namespace cairn::nvidia
