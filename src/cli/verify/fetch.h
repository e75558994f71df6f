// Collateral for `cairn verify` from services, kept in the user's cache folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evidence/nvidia/nras.h"
#include "evidence/tdx/verify.h"

namespace cairn::cli {

struct FetchOptions {
  std::vector<std::string> services;  // PCS or PCCS addresses; empty: the qcnl file's, else Intel's
  std::filesystem::path qcnl;         // empty: QCNL_CONF_PATH, else /etc/sgx_default_qcnl.conf where it exists
  bool early = false;                 // the newest TCB data set instead of the one enforced now
  std::string rim_service, ocsp;      // for GPU evidence; empty: NVIDIA's
  std::string nras;                   // judges GPUs in place of documents; empty: nobody does
  bool offline = false;               // only what the cache folder has
};

// XDG_CACHE_HOME or ~/.cache, then cairn/collateral; empty where neither is known.
[[nodiscard]] std::filesystem::path collateral_folder();
// Collateral for the platform that a quote's certified PCK chain names, verified at `now`.
[[nodiscard]] Result<tdx::Collateral> fetch_collateral(ByteView quote, const std::vector<tdx::TrustRoot>& roots,
                                                       const FetchOptions& options, Time now);
// Documents for GPU evidence, those of `have` included. `fresh`: none from the cache folder. A document that nobody has
// is left out.
[[nodiscard]] Result<nvidia::Collateral> fetch_gpu_collateral(const nvidia::Evidence& evidence,
                                                              nvidia::Verifier& verifier,
                                                              const nvidia::TrustRoots& roots, nvidia::Collateral have,
                                                              const FetchOptions& options, Time now, bool fresh);
// What the remote service of `options` says.
[[nodiscard]] Result<nvidia::Remote> ask_nras(std::vector<nvidia::NrasRequest> requests, const FetchOptions& options,
                                              Time now);

}  // namespace cairn::cli
