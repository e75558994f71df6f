// The configuration file of Intel's collateral library, which operators of DCAP hosts already have:
// /etc/sgx_default_qcnl.conf, or what QCNL_CONF_PATH names. tdx-dcap §3.4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cairn::device {

enum class TcbUpdate { standard, early };

struct QcnlConfig {
  std::string pccs_url = "https://localhost:8081/sgx/certification/v4/";
  std::string collateral_service;  // where collateral comes from if not from pccs_url
  bool use_secure_cert = true;
  TcbUpdate tcb_update_type = TcbUpdate::standard;
  std::string pccs_api_version = "3.0";
  unsigned retry_times = 0;
  std::optional<unsigned> retry_delay;  // seconds; absent: 1, 2, 4, ...
  unsigned verify_collateral_cache_expire_hours = 0;
  bool local_cache_only = false;

  [[nodiscard]] const std::string& collateral_url() const {
    return collateral_service.empty() ? pccs_url : collateral_service;
  }
};

// JSON with // comments (when it begins with a brace) or lines KEY=VALUE. As in Intel's library unknown keys and values
// of another type are ignored; a wrong update type is an error.
[[nodiscard]] Result<QcnlConfig> parse_qcnl(std::string_view text);

}  // namespace cairn::device
