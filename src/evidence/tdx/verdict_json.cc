#include "evidence/tdx/verdict_json.h"

#include "base/encoding.h"
#include "crypto/hash.h"

namespace cairn::tdx {
namespace {

std::string hex_le(std::uint64_t value) { return hex(Writer().u64le(value).view()); }

// A machine's identity: itself, or its digest.
std::string identity(ByteView value, bool clear) { return clear ? hex(value) : "sha256:" + hex(crypto::sha256(value)); }

std::string_view text(PckCa ca) { return ca == PckCa::platform ? "platform" : "processor"; }

Json level(const TcbLevel& l) {
  return {{"status", name(l.status)}, {"date", rfc3339(l.date)}, {"advisory_ids", l.advisory_ids}};
}

Json collateral_json(const CollateralFacts& c) {
  return {{"earliest_issue_date", rfc3339(c.earliest_issue)},
          {"latest_issue_date", rfc3339(c.latest_issue)},
          {"earliest_expiration_date", rfc3339(c.earliest_expiration)},
          {"expired", c.expired},
          {"tcb_eval_num", c.tcb_eval_num},
          {"tcb_info_eval_num", c.tcb_info_eval_num},
          {"qe_identity_eval_num", c.qe_identity_eval_num},
          {"tcb_info_issued", rfc3339(c.tcb_info_issued)},
          {"tcb_info_next_update", rfc3339(c.tcb_info_next_update)},
          {"qe_identity_issued", rfc3339(c.qe_identity_issued)},
          {"qe_identity_next_update", rfc3339(c.qe_identity_next_update)},
          {"root_crl_number", hex(c.root_crl_number)},
          {"pck_crl_number", hex(c.pck_crl_number)}};
}

Json platform_json(const PlatformFacts& p, bool identities) {
  const sgx::PckExtension& x = p.pck;
  Json out{{"fmspc", hex(x.fmspc)},
           {"pce_id", hex(x.pce_id)},
           {"pce_svn", x.pce_svn},
           {"cpu_svn", hex(x.cpu_svn)},
           {"components", x.components},
           {"ppid", identity(x.ppid, identities)},
           {"sgx_type", name(x.type)},
           {"pck_ca", text(p.ca)},
           {"pck_not_before", rfc3339(p.pck_not_before)},
           {"pck_not_after", rfc3339(p.pck_not_after)}};
  if (identities) out["pck_serial"] = hex(p.pck_serial);
  if (x.platform_instance_id) out["platform_instance_id"] = identity(*x.platform_instance_id, identities);
  if (x.dynamic_platform) out["dynamic_platform"] = *x.dynamic_platform;
  if (x.cached_keys) out["cached_keys"] = *x.cached_keys;
  if (x.smt_enabled) out["smt_enabled"] = *x.smt_enabled;
  return out;
}

Json td_claims(const TdReport& t) {
  Json out{{"tcb_svn", hex(t.tee_tcb_svn)},
           {"mr_seam", hex(t.mr_seam)},
           {"mrsigner_seam", hex(t.mr_signer_seam)},
           {"seam_attributes", hex(t.seam_attributes)},
           {"td_attributes", hex_le(t.td_attributes)},
           {"xfam", hex_le(t.xfam)},
           {"mr_td", hex(t.mr_td)},
           {"mr_config_id", hex(t.mr_config_id)},
           {"mr_owner", hex(t.mr_owner)},
           {"mr_owner_config", hex(t.mr_owner_config)},
           {"report_data", hex(t.report_data)}};
  for (std::size_t i = 0; i < t.rtmr.size(); ++i) out["rtmr_" + std::to_string(i)] = hex(t.rtmr[i]);
  if (t.td15) {
    out["tee_tcb_svn2"] = hex(t.td15->tee_tcb_svn_2);
    out["mr_servicetd"] = hex(t.td15->mr_service_td);
  }
  return out;
}

Json enclave_claims(const sgx::Report& r) {
  return {{"cpu_svn", hex(r.cpu_svn)},
          {"misc_select", hex(r.misc_select)},
          {"isv_ext_prod_id", hex(r.isv_ext_prod_id)},
          {"attributes.flags", hex(ByteView(r.attributes).first(8))},
          {"attributes.xfrm", hex(ByteView(r.attributes).subspan(8))},
          {"mr_enclave", hex(r.mr_enclave)},
          {"mr_signer", hex(r.mr_signer)},
          {"config_id", hex(r.config_id)},
          {"isv_prod_id", hex(Writer().u16le(r.isv_prod_id).view())},
          {"isv_svn", hex(Writer().u16le(r.isv_svn).view())},
          {"config_svn", hex(Writer().u16le(r.config_svn).view())},
          {"isv_family_id", hex(r.isv_family_id)},
          {"report_data", hex(r.report_data)}};
}

// A CRL number as profile C writes it. Intel's are small; one of more than 8 bytes keeps its low ones.
std::uint64_t number(ByteView big_endian) {
  std::uint64_t out = 0;
  for (const std::uint8_t b : big_endian) out = (out << 8) | b;
  return out;
}

Json profile_b(const Verdict& v) {
  const CollateralFacts& c = *v.collateral;
  std::string advisories;
  for (const std::string& id : v.tcb->advisory_ids) advisories += (advisories.empty() ? "" : ",") + id;
  return {{"tcb_status", name(v.tcb->status)},
          {"tcb_status_code", intel_result(v.tcb->status)},
          {"collateral_expired", c.expired},
          {"earliest_issue_date", c.earliest_issue.seconds},
          {"latest_issue_date", c.latest_issue.seconds},
          {"earliest_expiration_date", c.earliest_expiration.seconds},
          {"tcb_level_date_tag", v.tcb->date.seconds},
          {"tcb_eval_ref_num", c.tcb_eval_num},
          {"advisory_ids", advisories},
          {"tee_type", static_cast<std::uint32_t>(v.quote->header.tee_type)}};
}

void td_attribute_claims(const TdReport& t, Json& out) {
  const auto bit = [&](std::uint64_t mask) { return (t.td_attributes & mask) != 0; };
  out["td_attributes"] = {{"debug", bit(td_attribute::kDebug)},
                          {"septve_disable", bit(td_attribute::kSeptVeDisable)},
                          {"protection_keys", bit(td_attribute::kProtectionKeys)},
                          {"key_locker", bit(td_attribute::kKeyLocker)},
                          {"perfmon", bit(td_attribute::kPerfmon)}};
}

}  // namespace

Json quote_claims(const Quote& quote) {
  const Header& h = quote.header;
  Json header{{"version", hex(Writer().u16le(h.version).view())},
              {"att_key_type", hex(Writer().u16le(h.key_type).view())},
              {"tee_type", hex(Writer().u32le(static_cast<std::uint32_t>(h.tee_type)).view())},
              {"vendor_id", hex(h.vendor_id)},
              {"user_data", hex(h.user_data)}};
  if (h.version == 3) {
    header["qe_svn"] = hex(ByteView(h.svns).first(2));
    header["pce_svn"] = hex(ByteView(h.svns).subspan(2));
  } else {
    header["reserved"] = hex(h.svns);
  }
  Json out{{"header", std::move(header)},
           {"body", quote.td() != nullptr ? td_claims(*quote.td()) : enclave_claims(*quote.enclave())}};
  if (h.version >= 5) {
    const BodyType type = quote.body_type();
    out["type"] = hex(Writer().u16le(static_cast<std::uint16_t>(type)).view());
    out["size"] = hex(Writer().u32le(static_cast<std::uint32_t>(body_size(type))).view());
  }
  return out;
}

Json supplemental_claims(const Verdict& v) {
  if (!v.authentic() || !v.tcb || !v.quote) return Json::object();
  const CollateralFacts& c = *v.collateral;
  const sgx::PckExtension& pck = v.platform->pck;
  Json out{{"tcb_verification", profile_b(v)},
           {"tcb_status", name(v.tcb->status)},
           {"tcb_date", rfc3339(v.tcb->date)},
           {"advisory_ids", v.tcb->advisory_ids},
           {"tcb_status_current", name(v.current->status)},
           {"tcb_date_current", rfc3339(v.current->date)},
           {"advisory_ids_current", v.current->advisory_ids},
           {"collateral_expiration_status", c.expired ? "1" : "0"},
           {"earliest_issue_date", rfc3339(c.earliest_issue)},
           {"latest_issue_date", rfc3339(c.latest_issue)},
           {"earliest_expiration_date", rfc3339(c.earliest_expiration)},
           {"tcb_eval_num", c.tcb_eval_num},
           {"pck_crl_num", number(c.pck_crl_number)},
           {"root_ca_crl_num", number(c.root_crl_number)},
           {"root_key_id", hex(v.root_key_id)},
           {"platform_provider_id", hex(pck.ppid)},
           {"sgx_type", name(pck.type)},
           {"fmspc", hex(pck.fmspc)},
           {"simulated", v.simulated}};
  if (pck.platform_instance_id) out["platform_instance_id"] = hex(*pck.platform_instance_id);
  if (pck.dynamic_platform) out["is_dynamic_platform"] = *pck.dynamic_platform;
  if (pck.cached_keys) out["is_cached_keys"] = *pck.cached_keys;
  if (pck.smt_enabled) out["is_smt_enabled"] = *pck.smt_enabled;
  if (const TdReport* td = v.quote->td()) td_attribute_claims(*td, out);
  return out;
}

Json to_json(const Verdict& v, bool identities) {
  Json out{{"outcome", v.outcome()}, {"authentic", v.authentic()}};
  if (!v.authentic())
    out["failure"] = {{"code", name(v.failure)}, {"sentence", sentence(v.failure)}, {"detail", v.detail}};
  if (!v.root_name.empty()) {
    out["root"] = {{"name", v.root_name}, {"key_id", hex(v.root_key_id)}};
    out["simulated"] = v.simulated;
  }
  if (v.collateral) out["collateral"] = collateral_json(*v.collateral);
  if (v.platform) out["platform"] = platform_json(*v.platform, identities);
  if (v.qe)
    out["qe"] = {{"mr_enclave", hex(v.qe->report.mr_enclave)},
                 {"mr_signer", hex(v.qe->report.mr_signer)},
                 {"isv_prod_id", v.qe->report.isv_prod_id},
                 {"isv_svn", v.qe->report.isv_svn},
                 {"status", name(v.qe->status)},
                 {"date", rfc3339(v.qe->date)}};
  if (v.module) {
    out["module"] = {{"version", v.module->version}};
    if (v.module->status) out["module"]["status"] = name(*v.module->status);
  }
  if (v.tcb) out["tcb"] = level(*v.tcb);
  if (v.launch) out["launch"] = level(*v.launch);
  if (v.current) out["current"] = level(*v.current);
  if (v.quote) out["quote"] = quote_claims(*v.quote);
  return out;
}

}  // namespace cairn::tdx
