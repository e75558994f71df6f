#include <algorithm>

#include "base/json.h"
#include "device/simulator/simulator.h"

namespace cairn::device {
namespace {

constexpr std::pair<Scenario, std::string_view> kNames[] = {
    {Scenario::none, "none"},
    {Scenario::tcb_out_of_date, "tcb-out-of-date"},
    {Scenario::tcb_revoked, "tcb-revoked"},
    {Scenario::tcb_sw_hardening, "tcb-sw-hardening"},
    {Scenario::tcb_configuration, "tcb-configuration"},
    {Scenario::tcb_unsupported, "tcb-unsupported"},
    {Scenario::pck_revoked, "pck-revoked"},
    {Scenario::pck_expired, "pck-expired"},
    {Scenario::ca_revoked, "ca-revoked"},
    {Scenario::tcb_signing_revoked, "tcb-signing-revoked"},
    {Scenario::collateral_expired, "collateral-expired"},
    {Scenario::crl_expired, "crl-expired"},
    {Scenario::wrong_fmspc, "wrong-fmspc"},
    {Scenario::tcb_info_signature, "tcb-info-signature"},
    {Scenario::qe_identity_mismatch, "qe-identity-mismatch"},
    {Scenario::other_root, "other-root"},
    {Scenario::td_debug, "td-debug"},
    {Scenario::td_sept_ve_clear, "td-sept-ve-clear"},
    {Scenario::td_service, "td-service"},
    {Scenario::module_mismatch, "module-mismatch"},
    {Scenario::quote_flip, "quote-flip"},
    {Scenario::quote_signature, "quote-signature"},
    {Scenario::qe_report_signature, "qe-report-signature"},
    {Scenario::qe_report_data, "qe-report-data"},
    {Scenario::quote_replay, "quote-replay"},
    {Scenario::quote_truncated, "quote-truncated"},
};

}  // namespace

std::string_view name(Scenario scenario) {
  return std::ranges::find(kNames, scenario, &std::pair<Scenario, std::string_view>::first)->second;
}

Result<Scenario> scenario_named(std::string_view text) {
  std::vector<std::string> known;
  for (const auto& [scenario, word] : kNames) {
    if (word == text) return scenario;
    known.emplace_back(word);
  }
  const auto near = nearest(text, known);
  return fail(ErrorCode::invalid_argument, "scenario",
              "no scenario of this name" + (near.empty() ? std::string() : "; did you mean " + near + "?"));
}

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> out;
  for (const auto& entry : kNames) out.push_back(entry.first);
  return out;
}

}  // namespace cairn::device
