#include "cli/verify/report.h"

#include <algorithm>
#include <iomanip>
#include <ostream>

#include "base/encoding.h"
#include "evidence/nvidia/claims.h"
#include "evidence/tdx/verdict_json.h"

namespace cairn::cli {
namespace {

void row(std::ostream& out, std::string_view label, const std::string& text) {
  out << "  " << std::left << std::setw(14) << label << text << '\n';
}

std::string headline(const Judgement& j) {
  std::string out = j.affirming() ? "AFFIRMING" : "NOT AFFIRMING";
  out += ": " + std::string(j.verdict.outcome());
  if (j.verdict.simulated) out += " [SIMULATED: the root is not Intel's]";
  return out;
}

std::string level(const tdx::TcbLevel& l) {
  return std::string(tdx::name(l.status)) + " of " + rfc3339(l.date) + ", advisories: " + joined(l.advisory_ids);
}

void print_collateral(std::ostream& out, const tdx::Verdict& v) {
  const tdx::CollateralFacts& c = *v.collateral;
  row(out, "root", v.root_name + ", key id " + hex(v.root_key_id).substr(0, 16));
  row(out, "collateral",
      "TCB evaluation " + std::to_string(c.tcb_eval_num) + ", issued " + rfc3339(c.tcb_info_issued) + ", valid until " +
          rfc3339(c.earliest_expiration) + (c.expired ? " (EXPIRED)" : ""));
}

void print_quote(std::ostream& out, const tdx::Quote& q) {
  const bool td = q.td() != nullptr;
  row(out, "quote",
      "version " + std::to_string(q.header.version) + ", " + (td ? "TDX" : "SGX") + ", body type " +
          std::to_string(static_cast<int>(q.body_type())));
  if (td) {
    const tdx::TdReport& t = *q.td();
    row(out, "MRTD", hex(t.mr_td));
    for (std::size_t i = 0; i < t.rtmr.size(); ++i) row(out, "RTMR" + std::to_string(i), hex(t.rtmr[i]));
    row(out, "MRCONFIGID", hex(t.mr_config_id));
    row(out, "MRSEAM", hex(t.mr_seam));
    row(out, "TDATTRIBUTES",
        hex(Writer().u64le(t.td_attributes).view()) + ", XFAM " + hex(Writer().u64le(t.xfam).view()));
  } else {
    const sgx::Report& r = *q.enclave();
    row(out, "MRENCLAVE", hex(r.mr_enclave));
    row(out, "MRSIGNER", hex(r.mr_signer));
    row(out, "ISVSVN", std::to_string(r.isv_svn) + ", ISVPRODID " + std::to_string(r.isv_prod_id));
  }
  row(out, "REPORTDATA", hex(q.report_data()));
}

}  // namespace

std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& s : list) out += (out.empty() ? "" : ", ") + s;
  return out.empty() ? "none" : out;
}

void print(std::ostream& out, const std::string& file, const Judgement& j, Time at) {
  const tdx::Verdict& v = j.verdict;
  out << file << ": " << headline(j) << '\n';
  row(out, "checked at", rfc3339(at));
  if (v.collateral) print_collateral(out, v);
  if (v.platform) {
    const sgx::PckExtension& p = v.platform->pck;
    row(out, "platform",
        "FMSPC " + hex(p.fmspc) + ", SGX type " + std::string(sgx::name(p.type)) + ", PCK of the " +
            (v.platform->ca == tdx::PckCa::platform ? "platform" : "processor") + " CA");
  }
  if (v.tcb) row(out, "TCB", level(*v.tcb));
  if (v.quote && v.quote->td() != nullptr && v.quote->td()->td15 && v.current) row(out, "TCB now", level(*v.current));
  if (v.quote) print_quote(out, *v.quote);
  for (const std::string& log : j.logs) row(out, "event log", log + " replays");
  for (const std::string& bound : j.bindings) row(out, "bound to", bound);
  if (v.authentic()) {
    out << "  + every certificate, revocation list, collateral and quote signature was verified\n";
  } else {
    out << "  - " << tdx::name(v.failure) << ": " << tdx::sentence(v.failure);
    out << (v.detail.empty() ? "" : " (" + v.detail + ")") << '\n';
    return;
  }
  for (const tdx::Finding& f : j.findings) out << "  - " << f.rule << ": " << f.message << '\n';
  if (j.gpu) print_devices(out, j.gpu->verdict);
}

Json to_json(const std::string& file, const Judgement& j, Time at, bool identities) {
  Json out = tdx::to_json(j.verdict, identities);
  out["file"] = file;
  out["affirming"] = j.affirming();
  out["checked_at"] = rfc3339(at);
  out["event_logs"] = j.logs;
  out["bound_to"] = j.bindings;
  out["findings"] = Json::array();
  if (j.verdict.authentic())
    for (const tdx::Finding& f : j.findings) out["findings"].push_back({{"rule", f.rule}, {"message", f.message}});
  if (j.gpu) out["gpu"] = nvidia::set_claims(j.gpu->verdict);
  return out;
}

void print(std::ostream& out, const std::vector<CaseResult>& cases) {
  std::size_t different = 0;
  for (const CaseResult& c : cases) {
    out << std::left << std::setw(8) << c.id << ' ' << std::setw(38) << c.wanted << ' ' << c.got;
    if (!c.as_wanted) {
      ++different;
      out << "  DIFFERS" << (c.detail.empty() ? "" : ": " + c.detail);
    }
    out << '\n';
  }
  out << cases.size() << " cases, " << different << " differ\n";
}

Json to_json(const std::vector<CaseResult>& cases) {
  Json out{{"cases", Json::array()}, {"differ", std::ranges::count(cases, false, &CaseResult::as_wanted)}};
  for (const CaseResult& c : cases)
    out["cases"].push_back(
        {{"id", c.id}, {"wanted", c.wanted}, {"got", c.got}, {"as_wanted", c.as_wanted}, {"detail", c.detail}});
  return out;
}

}  // namespace cairn::cli
