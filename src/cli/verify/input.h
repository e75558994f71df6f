// What `cairn verify` can read: quotes (binary, hex, base64) and evidence JSON of attestation agents.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "evidence/tdx/collateral.h"

namespace cairn::cli {

inline constexpr std::size_t kMaxEvidence = 16 << 20;

struct Evidence {
  Bytes quote;
  Bytes cc_eventlog;                          // CCEL area; empty: none
  std::string aa_eventlog;                    // text log of profile A; empty: none
  Json gpu;                                   // GPU evidence beside the quote; null: none
  std::optional<tdx::Collateral> collateral;  // of a report bundle
};

// malformed or unsupported, with what the file seems to be.
[[nodiscard]] Result<Evidence> parse_evidence(ByteView bytes);
[[nodiscard]] Result<Evidence> read_evidence(const std::filesystem::path& path);

}  // namespace cairn::cli
