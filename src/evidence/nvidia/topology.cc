#include "evidence/nvidia/topology.h"

#include <algorithm>

#include "base/encoding.h"

namespace cairn::nvidia {
namespace {

using Authentic = DeviceVerdict::Authentic;
constexpr std::size_t kPpcieGpus = 8, kPpcieSwitches = 4;
constexpr std::uint16_t kLocked = 1;

struct Member {
  const std::string* label;
  const Authentic* device;
};

void note(Verdict& verdict, Failure failure, std::string where, std::string detail) {
  verdict.findings.push_back({failure, std::move(where), std::move(detail)});
}

std::vector<Member> members(const Verdict& verdict, Kind kind) {
  std::vector<Member> out;
  for (const DeviceVerdict& d : verdict.devices)
    if (d.authentic && d.authentic->facts.kind == kind) out.push_back({&d.label, &*d.authentic});
  return out;
}

void check_duplicates(const std::vector<Member>& all, Verdict& verdict) {
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const Authentic &a = *all[i].device, &b = *all[j].device;
      const bool same_pdi = a.identity.pdi && a.identity.pdi == b.identity.pdi;
      if (a.identity.ueid != b.identity.ueid && !same_pdi && a.report.signature != b.report.signature) continue;
      note(verdict, Failure::duplicate_device, *all[i].label, "it is the same device as " + *all[j].label);
      break;
    }
}

void check_alike(const std::vector<Member>& gpus, Verdict& verdict) {
  for (const Member& m : gpus) {
    const Authentic &first = *gpus.front().device, &a = *m.device;
    const auto differs = [&](std::string_view what) {
      note(verdict, Failure::mixed_mode, *m.label, std::string(what) + " differs from " + *gpus.front().label);
    };
    if (a.identity.arch != first.identity.arch) differs("its architecture");
    if (a.facts.driver_version != first.facts.driver_version) differs("its driver version");
    if (a.facts.protected_pcie.value_or(false) != first.facts.protected_pcie.value_or(false))
      differs("its protected PCIe mode");
  }
}

std::vector<Pdi> sorted(std::vector<Pdi> list) {
  std::ranges::sort(list);
  return list;
}
bool distinct(const std::vector<Pdi>& sorted_list) {
  return std::ranges::adjacent_find(sorted_list) == sorted_list.end();
}

// The fabric as the devices report it: GPUs name the same four switches, switches the same eight GPUs.
void check_links(const std::vector<Member>& gpus, const std::vector<Member>& switches, Verdict& verdict) {
  const std::vector<Pdi>& fabric = gpus.front().device->facts.switch_pdis;
  for (const Member& m : gpus)
    if (m.device->facts.switch_pdis.size() != kPpcieSwitches || m.device->facts.switch_pdis != fabric)
      note(verdict, Failure::topology_links, *m.label, "it is not linked to the same four switches as the others");
  const std::vector<Pdi> hosts = sorted(switches.front().device->facts.gpu_pdis);
  for (const Member& m : switches) {
    const Facts& f = m.device->facts;
    if (!std::ranges::contains(fabric, *f.device_pdi))
      note(verdict, Failure::topology_links, *m.label, "no GPU is linked to switch " + hex(*f.device_pdi));
    const std::vector<Pdi> own = sorted(f.gpu_pdis);
    if (own.size() != kPpcieGpus || own != hosts || !distinct(own))
      note(verdict, Failure::topology_links, *m.label, "it is not linked to the same eight GPUs as the others");
  }
}

// The fabric's ids are those of the certificates, so of the keys that signed the reports.
void check_identities(const std::vector<Member>& gpus, const std::vector<Member>& switches, Verdict& verdict) {
  const std::vector<Pdi>& fabric = gpus.front().device->facts.switch_pdis;
  const std::vector<Pdi>& hosts = switches.front().device->facts.gpu_pdis;
  for (const Member& m : gpus)
    if (!m.device->identity.pdi || !std::ranges::contains(hosts, *m.device->identity.pdi))
      note(verdict, Failure::topology_identity, *m.label, "its certificate's device id is not on the fabric");
  for (const Member& m : switches)
    if (!m.device->identity.pdi || *m.device->identity.pdi != *m.device->facts.device_pdi ||
        !std::ranges::contains(fabric, *m.device->identity.pdi))
      note(verdict, Failure::topology_identity, *m.label, "its certificate's device id is not the one it reports");
}

void check_switch_state(const std::vector<Member>& switches, Verdict& verdict) {
  for (std::size_t i = 0; i < switches.size(); ++i) {
    const Facts& f = switches[i].device->facts;
    if (f.lock_status != kLocked) note(verdict, Failure::topology_lock, *switches[i].label, "its lock status is not 1");
    for (std::size_t j = 0; j < i; ++j)
      if (!f.position || f.position == switches[j].device->facts.position)
        note(verdict, Failure::topology_position, *switches[i].label, "its position is that of " + *switches[j].label);
  }
}

void check_ppcie(const Policy& policy, const std::vector<Member>& gpus, const std::vector<Member>& switches,
                 Verdict& verdict) {
  const std::size_t before = verdict.findings.size();
  if (gpus.size() != kPpcieGpus || switches.size() != kPpcieSwitches) {
    note(verdict, Failure::topology_count, "",
         std::to_string(gpus.size()) + " GPUs and " + std::to_string(switches.size()) + " switches hold");
    return;
  }
  for (const Member& m : gpus)
    if (m.device->facts.protected_pcie != true)
      note(verdict, Failure::mixed_mode, *m.label, "it is not in protected PCIe mode");
  check_links(gpus, switches, verdict);
  if (policy.pdi_from_serial) check_identities(gpus, switches, verdict);
  check_switch_state(switches, verdict);
  verdict.ppcie = verdict.findings.size() == before;
}

}  // namespace

void check_set(const Policy& policy, Verdict& verdict) {
  if (verdict.devices.empty()) note(verdict, Failure::no_device, "", "its list is empty");
  if (policy.gpus && verdict.gpus != *policy.gpus)
    note(verdict, Failure::device_count, "",
         std::to_string(verdict.gpus) + " GPUs, not " + std::to_string(*policy.gpus));
  const std::vector<Member> gpus = members(verdict, Kind::gpu), switches = members(verdict, Kind::nvswitch);
  check_duplicates(gpus, verdict);
  check_duplicates(switches, verdict);
  if (!gpus.empty()) check_alike(gpus, verdict);
  const bool protected_gpu =
      std::ranges::any_of(gpus, [](const Member& m) { return m.device->facts.protected_pcie == true; });
  const bool asked = policy.ppcie == Policy::Ppcie::required ||
                     (policy.ppcie == Policy::Ppcie::automatic && (protected_gpu || !switches.empty()));
  if (asked) check_ppcie(policy, gpus, switches, verdict);
}

}  // namespace cairn::nvidia
