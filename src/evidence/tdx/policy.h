// What a relying party accepts of an authentic quote, as data. tdx-dcap §4.1, §4.2.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "evidence/tdx/verify.h"

namespace cairn::tdx {

struct MaskedBits {
  std::uint64_t mask = 0;
  std::uint64_t value = 0;
  bool operator==(const MaskedBits&) const = default;
};

// Empty lists and absent values are not checked, but for the defaults spelled out here.
struct Policy {
  // Platform
  std::set<TcbStatus> accepted_statuses = {TcbStatus::up_to_date};
  bool check_current = true;                                 // the current status must be accepted too
  std::optional<std::set<std::string>> accepted_advisories;  // if set, any other advisory rejects
  std::optional<std::int64_t> max_tcb_age_seconds;           // of tcb_date at the verification time
  std::uint32_t min_tcb_eval_num = 0;
  std::vector<Bytes> fmspc, ppid, platform_instance_id;
  std::set<sgx::PlatformType> sgx_types;
  std::optional<bool> dynamic_platform, cached_keys, smt_enabled;
  bool allow_simulated = false;  // a root other than Intel's
  bool allow_expired_collateral = false;
  // "status X is accepted for FMSPC Y until Z" instead of editing signed data
  struct Exception {
    Bytes fmspc;
    TcbStatus status;
    Time until;
    bool operator==(const Exception&) const = default;
  };
  std::vector<Exception> exceptions;
  // Header (v3 only: QE and PCE SVN)
  std::uint16_t minimum_qe_svn = 0;
  std::uint16_t minimum_pce_svn = 0;
  // TD body
  bool allow_debug = false;        // DEBUG of TDs and of enclaves
  bool allow_under_debug = false;  // TDATTRIBUTES bits 1 to 7
  bool allow_migratable = false;
  bool allow_perfmon = false;
  bool require_sept_ve_disable = true;
  bool allow_extended_body = false;  // v5 body type 4
  std::optional<MaskedBits> td_attributes;
  std::uint64_t td_attributes_reserved = 0;  // further bits that must be zero
  std::optional<MaskedBits> xfam;
  std::uint64_t xfam_fixed_one = 0x3;        // bits 0 and 1 of a real TD
  std::optional<Svn16> minimum_tee_tcb_svn;  // componentwise
  std::vector<Register> mr_seam, mr_td, mr_config_id, mr_owner, mr_owner_config;
  std::array<std::vector<Register>, 4> rtmr;
  std::vector<Register> mr_service_td;  // besides zero, which is always accepted
  std::optional<ReportData> report_data;
  // Enclave body
  std::vector<Digest<32>> mr_enclave, mr_signer;

  bool operator==(const Policy&) const = default;
};

// JSON with the member names above (lists of hex strings, statuses by name, times in RFC 3339); all problems at once.
[[nodiscard]] Result<Policy> parse_policy(const Json& json);
[[nodiscard]] Json to_json(const Policy& policy);

struct Finding {
  std::string rule;     // stable: "debug", "sept_ve_disable", "tcb_status", "mr_td", ...
  std::string message;  // what was found and what would be accepted
};
// Everything `policy` rejects in an authentic verdict; empty means accepted. A verdict that is not authentic gives one
// finding, rule "authentic".
[[nodiscard]] std::vector<Finding> appraise(const Verdict& verdict, const Policy& policy, Time at);

}  // namespace cairn::tdx
