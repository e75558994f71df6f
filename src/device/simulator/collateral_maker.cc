#include "device/simulator/collateral_maker.h"

#include "base/encoding.h"
#include "base/json.h"

namespace cairn::device::simulator {
namespace {

struct Level {
  std::uint8_t svn;
  std::string_view status;
  std::int64_t age_days;
  std::vector<std::string> advisories;
};

const std::vector<Level>& levels() {
  static const std::vector<Level> all = {
      {9, "UpToDate", 90, {}},
      {8, "SWHardeningNeeded", 90, {"INTEL-SA-90001"}},
      {7, "ConfigurationNeeded", 90, {"INTEL-SA-90002"}},
      {6, "ConfigurationAndSWHardeningNeeded", 90, {"INTEL-SA-90001", "INTEL-SA-90002"}},
      {5, "OutOfDate", 450, {"INTEL-SA-90003"}},
      {4, "OutOfDateConfigurationNeeded", 450, {"INTEL-SA-90002", "INTEL-SA-90003"}},
      {3, "Revoked", 900, {"INTEL-SA-90004"}},
  };
  return all;
}

std::string midnight(Time at, std::int64_t days_ago) {
  const std::int64_t day = (at.seconds - days_ago * kDay) / kDay;
  return rfc3339({day * kDay});
}

Json level_json(Json tcb, Time at, std::int64_t age, std::string_view status,
                const std::vector<std::string>& advisories) {
  Json out{{"tcb", std::move(tcb)}, {"tcbDate", midnight(at, age)}, {"tcbStatus", status}};
  if (!advisories.empty()) out["advisoryIDs"] = advisories;
  return out;
}

Json component_list(const std::array<std::uint8_t, 16>& svns) {
  Json out = Json::array();
  for (const auto svn : svns) out.push_back({{"svn", svn}});
  return out;
}

Json platform_levels(Time at) {
  Json out = Json::array();
  for (const auto& level : levels()) {
    auto sgx = components(Scenario::none);
    sgx[0] = sgx[1] = level.svn;
    out.push_back(level_json({{"sgxtcbcomponents", component_list(sgx)},
                              {"pcesvn", kPceSvn},
                              {"tdxtcbcomponents", component_list(kTeeTcbSvn)}},
                             at, level.age_days, level.status, level.advisories));
  }
  return out;
}

Json svn_levels(Time at, std::initializer_list<int> svns, std::string_view advisory) {
  Json out = Json::array();
  const std::string_view statuses[] = {"UpToDate", "OutOfDate", "Revoked"};
  std::size_t i = 0;
  for (const int svn : svns) {
    std::vector<std::string> advisories;
    if (i > 0) advisories.emplace_back(advisory);
    out.push_back(level_json({{"isvsvn", svn}}, at, static_cast<std::int64_t>(90 + 360 * i), statuses[i], advisories));
    ++i;
  }
  return out;
}

struct Validity {
  Time issued, next;
};
Validity validity(Scenario scenario, Time at) {
  if (scenario == Scenario::collateral_expired) return {at.plus(-60 * kDay), at.plus(-kDay)};
  return {at.plus(-kDay), at.plus(30 * kDay)};
}

Json tcb_info(Scenario scenario, Time at) {
  const std::string zero48(96, '0'), zero8(16, '0'), mask8(16, 'F');
  auto fmspc = kFmspc;
  if (scenario == Scenario::wrong_fmspc) fmspc[1] ^= 0xFF;
  const auto dates = validity(scenario, at);
  const Json module{{"id", "TDX_01"},
                    {"mrsigner", zero48},
                    {"attributes", zero8},
                    {"attributesMask", mask8},
                    {"tcbLevels", svn_levels(at, {kTeeTcbSvn[0], 3, 2}, "INTEL-SA-90010")}};
  return {{"id", "TDX"},
          {"version", 3},
          {"issueDate", rfc3339(dates.issued)},
          {"nextUpdate", rfc3339(dates.next)},
          {"fmspc", hex(fmspc)},
          {"pceId", "0000"},
          {"tcbType", 0},
          {"tcbEvaluationDataNumber", 21},
          {"tdxModule", {{"mrsigner", zero48}, {"attributes", zero8}, {"attributesMask", mask8}}},
          {"tdxModuleIdentities", Json::array({module})},
          {"tcbLevels", platform_levels(at)}};
}

Json qe_identity(Scenario scenario, Time at) {
  const auto dates = validity(scenario, at);
  return {{"id", "TD_QE"},
          {"version", 2},
          {"issueDate", rfc3339(dates.issued)},
          {"nextUpdate", rfc3339(dates.next)},
          {"tcbEvaluationDataNumber", 21},
          {"miscselect", "00000000"},
          {"miscselectMask", "FFFFFFFF"},
          {"attributes", "11000000000000000000000000000000"},
          {"attributesMask", "FBFFFFFFFFFFFFFF0000000000000000"},
          {"mrsigner", hex(qe_signer().view())},
          {"isvprodid", kQeProductId},
          {"tcbLevels", svn_levels(at, {kQeSvn, 6, 4}, "INTEL-SA-90020")}};
}

// {"<member>":<body>,"signature":"<r||s in hex>"}: the signature covers the inner object's bytes.
Result<std::string> signed_body(std::string_view member, const Json& body, const crypto::PrivateKey& key, bool spoil) {
  const std::string inner = compact_json(body);
  CAIRN_TRY(auto signature, key.sign(crypto::Signature::ecdsa_raw, crypto::Hash::sha256, as_bytes(inner)));
  if (spoil) signature.back() ^= 1;
  return "{\"" + std::string(member) + "\":" + inner + ",\"signature\":\"" + hex(signature) + "\"}";
}

}  // namespace

Digest<32> qe_signer() { return crypto::sha256(as_bytes("simulated TD quoting enclave: signer")); }

Result<tdx::Collateral> make_collateral(const Keys& keys, const Certificates& certificates, Scenario scenario,
                                        Time at) {
  tdx::Collateral out;
  CAIRN_TRY(out.tcb_info,
            signed_body("tcbInfo", tcb_info(scenario, at), keys.tcb_signing, scenario == Scenario::tcb_info_signature));
  CAIRN_TRY(out.qe_identity, signed_body("enclaveIdentity", qe_identity(scenario, at), keys.tcb_signing, false));
  out.tcb_signing_chain = out.qe_signing_chain = certificates.tcb_chain();
  out.pck_crl_issuer_chain = certificates.pck_issuer_chain();
  CAIRN_TRY(const auto root_crl, make_root_crl(keys, certificates, scenario, at));
  CAIRN_TRY(const auto pck_crl, make_pck_crl(keys, certificates, scenario, at));
  out.root_crl = root_crl.der();
  out.pck_crl = pck_crl.der();
  return out;
}

}  // namespace cairn::device::simulator
