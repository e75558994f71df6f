#include "evidence/tdx/tcb.h"

#include <algorithm>
#include <utility>

namespace cairn::tdx {
namespace {

using Out = TcbStatus;

template <class L>
const L* first_at_most(const std::vector<L>& levels, std::uint16_t isv_svn) {
  const auto found = std::ranges::find_if(levels, [&](const L& l) { return l.isv_svn <= isv_svn; });
  return found == levels.end() ? nullptr : &*found;
}

bool covers(const std::array<std::uint8_t, 16>& have, const std::array<std::uint8_t, 16>& need, std::size_t from) {
  for (std::size_t i = from; i < have.size(); ++i)
    if (have[i] < need[i]) return false;
  return true;
}

// §2.9 (a) to (c): from version 1 on the module's own levels judge SVNs 0 and 1.
const PlatformLevel* platform_level(const TcbInfo& info, const sgx::PckExtension& pck, const Svn16* svn) {
  const std::size_t from = svn != nullptr && (*svn)[1] > 0 ? 2 : 0;
  const auto fits = [&](const PlatformLevel& l) {
    return covers(pck.components, l.sgx, 0) && pck.pce_svn >= l.pce_svn &&
           (svn == nullptr || covers(*svn, l.tdx, from));
  };
  const auto found = std::ranges::find_if(info.levels, fits);
  return found == info.levels.end() ? nullptr : &*found;
}

// The table of §2.9: what module and QE statuses make of the platform's.
TcbStatus converge(TcbStatus platform, TcbStatus other) {
  if (other == Out::revoked) return Out::revoked;
  if (other != Out::out_of_date) return platform;
  switch (platform) {
    case Out::up_to_date:
    case Out::sw_hardening_needed: return Out::out_of_date;
    case Out::configuration_needed:
    case Out::configuration_and_sw_hardening_needed: return Out::out_of_date_configuration_needed;
    default: return platform;
  }
}

void use(const Level& level, TcbLevel& out) {
  out.date = std::min(out.date, level.date);
  for (const std::string_view id : level.advisory_ids) out.advisory_ids.emplace_back(id);
}

bool configuration_needed(TcbStatus s) {
  return s == Out::configuration_needed || s == Out::configuration_and_sw_hardening_needed ||
         s == Out::out_of_date_configuration_needed;
}

constexpr std::pair<TcbStatus, std::string_view> kStatusNames[] = {
    {Out::up_to_date, "UpToDate"},
    {Out::sw_hardening_needed, "SWHardeningNeeded"},
    {Out::configuration_needed, "ConfigurationNeeded"},
    {Out::configuration_and_sw_hardening_needed, "ConfigurationAndSWHardeningNeeded"},
    {Out::out_of_date, "OutOfDate"},
    {Out::out_of_date_configuration_needed, "OutOfDateConfigurationNeeded"},
    {Out::td_relaunch_advised, "TDRelaunchAdvised"},
    {Out::td_relaunch_advised_configuration_needed, "TDRelaunchAdvisedConfigurationNeeded"},
    {Out::revoked, "Revoked"},
};

}  // namespace

std::string_view name(TcbStatus status) {
  for (const auto& [value, text] : kStatusNames)
    if (value == status) return text;
  return "unknown";
}

std::optional<TcbStatus> tcb_status(std::string_view text) {
  for (const auto& [value, known] : kStatusNames)
    if (known == text) return value;
  return std::nullopt;
}

std::uint32_t intel_result(TcbStatus status) {
  switch (status) {
    case Out::up_to_date: return 0;
    case Out::configuration_needed: return 0xa001;
    case Out::out_of_date: return 0xa002;
    case Out::out_of_date_configuration_needed: return 0xa003;
    case Out::revoked: return 0xa005;
    case Out::sw_hardening_needed: return 0xa007;
    case Out::configuration_and_sw_hardening_needed: return 0xa008;
    case Out::td_relaunch_advised: return 0xa009;
    case Out::td_relaunch_advised_configuration_needed: return 0xa00a;
  }
  return 0xa006;
}

std::string_view identity_mismatch(const QeIdentity& identity, const sgx::Report& report) {
  const auto masked = [](const auto& have, const auto& mask, const auto& want) {
    for (std::size_t i = 0; i < have.size(); ++i)
      if ((have[i] & mask[i]) != want[i]) return false;
    return true;
  };
  if (!masked(report.misc_select, identity.misc_select_mask, identity.misc_select)) return "MISCSELECT";
  if (!masked(report.attributes, identity.attributes_mask, identity.attributes)) return "ATTRIBUTES";
  if (report.mr_signer != identity.mr_signer) return "MRSIGNER";
  if (report.isv_prod_id != identity.isv_prod_id) return "ISVPRODID";
  return {};
}

const TdxModule* module_for(const TcbInfo& info, const Svn16& tee_tcb_svn) {
  const std::uint8_t version = tee_tcb_svn[1];
  if (version == 0) return info.base_module ? &*info.base_module : nullptr;
  const auto found = std::ranges::find(info.modules, version, &TdxModule::version);
  return found == info.modules.end() ? nullptr : &*found;
}

Result<Evaluation> evaluate(const TcbInfo& info, const QeIdentity& identity, const sgx::PckExtension& pck,
                            std::uint16_t qe_isv_svn, const Svn16* tee_tcb_svn) {
  const auto none = [](std::string where, std::string what) {
    return fail(ErrorCode::unsupported, std::move(where), what + " is below every level of the collateral");
  };
  const PlatformLevel* platform = platform_level(info, pck, tee_tcb_svn);
  if (platform == nullptr) return none("tcbLevels", "the platform's TCB");
  const SvnLevel* qe = first_at_most(identity.levels, qe_isv_svn);
  if (qe == nullptr)
    return none("enclaveIdentity.tcbLevels", "the quoting enclave's ISVSVN " + std::to_string(qe_isv_svn));
  Evaluation out;
  out.level.status = platform->status;
  out.level.date = platform->date;
  use(*platform, out.level);
  if (tee_tcb_svn != nullptr && (*tee_tcb_svn)[1] > 0) {
    const TdxModule* module = module_for(info, *tee_tcb_svn);
    const SvnLevel* level = module == nullptr ? nullptr : first_at_most(module->levels, (*tee_tcb_svn)[0]);
    if (level == nullptr)
      return none("tdxModuleIdentities",
                  "TDX module " + std::to_string((*tee_tcb_svn)[1]) + " SVN " + std::to_string((*tee_tcb_svn)[0]));
    out.module_status = level->status;
    out.level.status = converge(out.level.status, level->status);
    use(*level, out.level);
  }
  out.qe_status = qe->status;
  out.qe_date = qe->date;
  out.level.status = converge(out.level.status, qe->status);
  use(*qe, out.level);
  auto& ids = out.level.advisory_ids;
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  return out;
}

TcbStatus relaunch(TcbStatus launch, TcbStatus current) {
  const bool was_old = launch == Out::out_of_date || launch == Out::out_of_date_configuration_needed;
  const bool is_new = current == Out::up_to_date || current == Out::sw_hardening_needed ||
                      current == Out::configuration_needed || current == Out::configuration_and_sw_hardening_needed;
  if (!was_old || !is_new) return launch;
  return configuration_needed(launch) || configuration_needed(current) ? Out::td_relaunch_advised_configuration_needed
                                                                       : Out::td_relaunch_advised;
}

}  // namespace cairn::tdx
