// What `cairn verify` can read: quotes (binary, hex, base64), evidence JSON of attestation agents alone or inside the
// messages that carry it, report bundles, and dstack's answers. Tokens are token.h's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "evidence/tdx/collateral.h"

namespace cairn::cli {

inline constexpr std::size_t kMaxEvidence = 16 << 20;

struct Evidence {
  Bytes quote;
  Bytes cc_eventlog;                          // CCEL area; empty: none
  std::string aa_eventlog;                    // text log of profile A; empty: none
  std::string dstack_log;                     // dstack's JSON log; empty: none
  std::optional<Bytes> report_data;           // what the file says the quote answers
  Json runtime_data;                          // what it says the quote is bound to; null: nothing
  std::map<std::string, Json> devices;        // further evidence, by TEE
  Json device_data;                           // what that is bound to; null: the file does not say
  Json gpu;                                   // GPU evidence beside the quote; null: none
  std::optional<tdx::Collateral> collateral;  // of a report bundle
};

// malformed or unsupported, with what the file seems to be.
[[nodiscard]] Result<Evidence> parse_evidence(ByteView bytes);

}  // namespace cairn::cli
