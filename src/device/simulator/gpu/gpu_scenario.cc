// Names of GpuScenario and what a verifier must say.
#include "base/json.h"
#include "device/simulator/gpu/gpu_simulator.h"

namespace cairn::device {
namespace {

using nvidia::Failure;
struct ScenarioRow {
  GpuScenario scenario;
  std::string_view name;
  Failure expected;
};
constexpr ScenarioRow kScenarios[] = {
    {GpuScenario::none, "none", Failure::none},
    {GpuScenario::report_flip, "report-flip", Failure::report_signature},
    {GpuScenario::report_truncated, "report-truncated", Failure::report_format},
    {GpuScenario::report_trailing, "report-trailing", Failure::report_format},
    {GpuScenario::report_replay, "report-replay", Failure::nonce_mismatch},
    {GpuScenario::report_twice, "report-twice", Failure::report_format},
    {GpuScenario::report_newer, "report-newer", Failure::firmware_unsupported},
    {GpuScenario::driver_unnamed, "driver-unnamed", Failure::opaque_format},
    {GpuScenario::vbios_unknown, "vbios-unknown", Failure::rim_absent},
    {GpuScenario::vbios_changed, "vbios-changed", Failure::measurement},
    {GpuScenario::driver_changed, "driver-changed", Failure::measurement},
    {GpuScenario::fwid_other, "fwid-other", Failure::fwid_mismatch},
    {GpuScenario::fwid_missing, "fwid-missing", Failure::fwid_absent},
    {GpuScenario::multi_tenant, "multi-tenant", Failure::multi_tenant},
    {GpuScenario::svn_low, "svn-low", Failure::security_version},
    {GpuScenario::chain_other_root, "chain-other-root", Failure::chain_untrusted},
    {GpuScenario::chain_short, "chain-short", Failure::chain_format},
    {GpuScenario::chain_name, "chain-name", Failure::chain_name},
    {GpuScenario::chain_flip, "chain-flip", Failure::chain_signature},
    {GpuScenario::chain_other_device, "chain-other-device", Failure::report_signature},
    {GpuScenario::leaf_is_ca, "leaf-is-ca", Failure::chain_constraint},
    {GpuScenario::leaf_expired, "leaf-expired", Failure::chain_expired},
    {GpuScenario::leaf_early, "leaf-early", Failure::chain_not_yet_valid},
    {GpuScenario::leaf_without_fwid, "leaf-without-fwid", Failure::fwid_absent},
    {GpuScenario::leaf_other_key, "leaf-other-key", Failure::device_id_mismatch},
    {GpuScenario::chip_unknown, "chip-unknown", Failure::arch_mismatch},
    {GpuScenario::arch_claimed, "arch-claimed", Failure::arch_mismatch},
    {GpuScenario::rim_missing, "rim-missing", Failure::rim_absent},
    {GpuScenario::rim_tampered, "rim-tampered", Failure::rim_signature},
    {GpuScenario::rim_forged, "rim-forged", Failure::rim_signature},
    {GpuScenario::rim_debug_root, "rim-debug-root", Failure::rim_untrusted},
    {GpuScenario::rim_expired, "rim-expired", Failure::rim_expired},
    {GpuScenario::rim_early, "rim-early", Failure::rim_not_yet_valid},
    {GpuScenario::rim_signer_ca, "rim-signer-ca", Failure::rim_chain},
    {GpuScenario::rim_version, "rim-version", Failure::rim_version},
    {GpuScenario::rim_product, "rim-product", Failure::rim_product},
    {GpuScenario::rim_empty, "rim-empty", Failure::rim_empty},
    {GpuScenario::rim_conflict, "rim-conflict", Failure::rim_conflict},
    {GpuScenario::rim_doctype, "rim-doctype", Failure::rim_format},
    {GpuScenario::rim_two_metas, "rim-two-metas", Failure::rim_format},
    {GpuScenario::ocsp_missing, "ocsp-missing", Failure::ocsp_absent},
    {GpuScenario::ocsp_garbage, "ocsp-garbage", Failure::ocsp_format},
    {GpuScenario::ocsp_refused, "ocsp-refused", Failure::ocsp_format},
    {GpuScenario::ocsp_other, "ocsp-other", Failure::ocsp_format},
    {GpuScenario::ocsp_no_eku, "ocsp-no-eku", Failure::ocsp_responder},
    {GpuScenario::ocsp_other_ca, "ocsp-other-ca", Failure::ocsp_responder},
    {GpuScenario::ocsp_flip, "ocsp-flip", Failure::ocsp_signature},
    {GpuScenario::ocsp_stale, "ocsp-stale", Failure::ocsp_stale},
    {GpuScenario::ocsp_future, "ocsp-future", Failure::ocsp_stale},
    {GpuScenario::ocsp_unknown, "ocsp-unknown", Failure::ocsp_unknown},
    {GpuScenario::ocsp_held, "ocsp-held", Failure::certificate_held},
    {GpuScenario::device_revoked, "device-revoked", Failure::certificate_revoked},
    {GpuScenario::rim_revoked, "rim-revoked", Failure::certificate_revoked},
    {GpuScenario::no_device, "no-device", Failure::no_device},
    {GpuScenario::device_twice, "device-twice", Failure::duplicate_device},
    {GpuScenario::driver_mixed, "driver-mixed", Failure::mixed_mode},
    {GpuScenario::ppcie_part, "ppcie-part", Failure::topology_count},
    {GpuScenario::ppcie_links, "ppcie-links", Failure::topology_links},
    {GpuScenario::ppcie_identity, "ppcie-identity", Failure::topology_identity},
    {GpuScenario::ppcie_lock, "ppcie-lock", Failure::topology_lock},
    {GpuScenario::ppcie_position, "ppcie-position", Failure::topology_position},
};

const ScenarioRow& scenario_row(GpuScenario scenario) {
  return *std::ranges::find(kScenarios, scenario, &ScenarioRow::scenario);
}

}  // namespace

std::string_view name(GpuScenario scenario) { return scenario_row(scenario).name; }
nvidia::Failure expected(GpuScenario scenario) { return scenario_row(scenario).expected; }

Result<GpuScenario> gpu_scenario_named(std::string_view wanted) {
  std::vector<std::string> names;
  for (const ScenarioRow& r : kScenarios) {
    if (r.name == wanted) return r.scenario;
    names.emplace_back(r.name);
  }
  const std::string close = nearest(wanted, names);
  return fail(ErrorCode::invalid_argument, std::string(wanted),
              "no such GPU scenario" + (close.empty() ? "" : "; did you mean " + close + "?"));
}

std::vector<GpuScenario> all_gpu_scenarios() {
  std::vector<GpuScenario> out;
  for (const ScenarioRow& r : kScenarios) out.push_back(r.scenario);
  return out;
}

}  // namespace cairn::device
