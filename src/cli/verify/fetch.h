// Collateral for `cairn verify` from a service, kept in the user's cache folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evidence/tdx/verify.h"

namespace cairn::cli {

struct FetchOptions {
  std::vector<std::string> services;  // PCS or PCCS addresses; empty: the qcnl file's, else Intel's
  std::filesystem::path qcnl;         // empty: QCNL_CONF_PATH, else /etc/sgx_default_qcnl.conf where it exists
  bool early = false;                 // the newest TCB data set instead of the one enforced now
  bool offline = false;               // only what the cache folder has
};

// XDG_CACHE_HOME or ~/.cache, then cairn/collateral; empty where neither is known.
[[nodiscard]] std::filesystem::path collateral_folder();
// Collateral for the platform that a quote's certified PCK chain names, verified at `now`.
[[nodiscard]] Result<tdx::Collateral> fetch_collateral(ByteView quote, const std::vector<tdx::TrustRoot>& roots,
                                                       const FetchOptions& options, Time now);

}  // namespace cairn::cli
