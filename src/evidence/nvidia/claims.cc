#include "evidence/nvidia/claims.h"

#include <algorithm>

#include "base/encoding.h"
#include "crypto/hash.h"

namespace cairn::nvidia {
namespace {

using Authentic = DeviceVerdict::Authentic;

std::string_view text(ChainFacts::State state) {
  switch (state) {
    case ChainFacts::State::valid: return "valid";
    case ChainFacts::State::expired: return "expired";
    case ChainFacts::State::not_yet_valid: return "invalid";
    case ChainFacts::State::revoked: return "revoked";
  }
  return "invalid";
}

Json chain_json(const ChainFacts& c) {
  Json out{{"x-nvidia-cert-status", text(c.state)},       {"x-nvidia-cert-expiration-date", rfc3339(c.not_after)},
           {"x-nvidia-cert-ocsp-status", nullptr},        {"x-nvidia-cert-revocation-reason", nullptr},
           {"x-nvidia-cert-ocsp-nonce-matches", nullptr}, {"x-nvidia-cert-ocsp-response-valid", c.answers_fresh}};
  if (c.ocsp) out["x-nvidia-cert-ocsp-status"] = name(*c.ocsp);
  if (c.revocation_reason) out["x-nvidia-cert-revocation-reason"] = revocation_reason(*c.revocation_reason);
  if (c.nonce_matches) out["x-nvidia-cert-ocsp-nonce-matches"] = *c.nonce_matches;
  return out;
}

void add_rim(const RimFacts& rim, const std::string& prefix, Json& out) {
  out[prefix + "fetched"] = rim.fetched;
  out[prefix + "schema-validated"] = rim.schema_validated;
  out[prefix + "signature-verified"] = rim.signature_verified;
  out[prefix + "version-match"] = rim.version_match;
  out[prefix + "measurements-available"] = rim.measurements_available;
  out[prefix + "cert-chain"] = rim.chain ? chain_json(*rim.chain) : Json();
  if (rim.enrolled) out["x-cairn-reference"] = "enrolled";
}

Json mismatch_json(const Mismatch& m) {
  Json golden = Json::array();
  for (const Measurement& g : m.golden) golden.push_back(hex(g));
  return {{"index", m.index},
          {"goldenSize", Measurement::length},
          {"goldenValue", golden.size() == 1 ? golden[0] : std::move(golden)},
          {"runtimeSize", m.runtime ? Json(Measurement::length) : Json()},
          {"runtimeValue", m.runtime ? Json(hex(*m.runtime)) : Json()},
          {"measurementSource", name(m.source)}};
}

Json svn_json(const SvnMismatch& m) {
  return {{"id", m.minimum.type},
          {"name", m.minimum.name},
          {"goldenType", "MIN_SVN"},
          {"goldenValue", m.minimum.value},
          {"runtimeType", m.runtime ? Json("MIN_SVN") : Json()},
          {"runtimeValue", m.runtime ? Json(*m.runtime) : Json()}};
}

Json pdis(const std::vector<Pdi>& list) {
  Json out = Json::array();
  for (const Pdi& id : list) out.push_back(hex(id));
  return out;
}

void add_report(const Authentic& a, const std::string& prefix, Json& out) {
  const std::string report = prefix + "attestation-report-";
  out[prefix + "arch-check"] = true;
  out[report + "parsed"] = true;
  out[report + "nonce-match"] = true;
  out[report + "signature-verified"] = true;
  out[report + "cert-chain-fwid-match"] = a.fwid_in_report || a.facts.kind == Kind::nvswitch;
  out[report + "cert-chain"] = chain_json(a.chain);
}

void add_measurements(const Authentic& a, Json& out) {
  const bool good = a.measurements_hold();
  out["measres"] = good ? "success" : "fail";
  out["secboot"] = good ? Json(true) : Json();
  out["dbgstat"] = good ? Json("disabled") : Json();
  out["x-nvidia-attestation-warning"] = nullptr;
  if (!a.mismatches.empty()) {
    Json& list = out["x-nvidia-mismatch-measurement-records"] = Json::array();
    for (const Mismatch& m : a.mismatches) list.push_back(mismatch_json(m));
  }
  if (a.svn_mismatches.empty()) return;
  Json& list = out["x-nvidia-mismatch-opaque-data-records"] = Json::array();
  for (const SvnMismatch& m : a.svn_mismatches) list.push_back(svn_json(m));
}

void add_gpu(const Authentic& a, Json& out) {
  out["x-nvidia-device-type"] = "gpu";
  out["x-nvidia-gpu-claims-version"] = "3.0";
  out["x-nvidia-gpu-driver-version"] = a.facts.driver_version;
  out["x-nvidia-gpu-vbios-version"] = a.facts.firmware_version;
  out["x-nvidia-gpu-vbios-index-no-conflict"] = a.no_conflict;
  add_rim(a.driver, "x-nvidia-gpu-driver-rim-", out);
  add_rim(a.firmware, "x-nvidia-gpu-vbios-rim-", out);
  if (!a.facts.switch_pdis.empty()) out["x-nvidia-gpu-switch-pdis"] = pdis(a.facts.switch_pdis);
  const std::string& oem = a.driver.oem_id.empty() ? a.firmware.oem_id : a.driver.oem_id;
  out["oemid"] = oem.empty() ? Json() : Json(oem);
}

void add_switch(const Authentic& a, Json& out) {
  out["x-nvidia-device-type"] = "nvswitch";
  out["x-nvidia-switch-bios-version"] = a.facts.firmware_version;
  out["x-nvidia-switch-pdi"] = hex(*a.facts.device_pdi);
  out["x-nvidia-switch-gpu-pdis"] = pdis(a.facts.gpu_pdis);
  add_rim(a.firmware, "x-nvidia-switch-bios-rim-", out);
  out["oemid"] = a.firmware.oem_id.empty() ? Json() : Json(a.firmware.oem_id);
}

// What the remote service claims, but for what is known here.
void add_remote(const Json& claims, Json& out) {
  for (const auto& [name, value] : claims.items())
    if (name.starts_with("x-nvidia-") || name == "measres" || name == "secboot" || name == "dbgstat" || name == "oemid")
      out[name] = value;
  out["x-cairn-verifier"] = "NRAS";
}

}  // namespace

Result<Digest<48>> inventory(const Verdict& verdict) {
  if (!verdict.affirming()) return fail(ErrorCode::evidence_rejected, "GPU inventory", "not every device is verified");
  std::vector<std::string> lines;
  for (const DeviceVerdict& d : verdict.devices) {
    const DeviceIdentity& id = d.authentic->identity;
    lines.push_back(id.ueid + ":" + (id.pdi ? hex(*id.pdi) : "") + ":" + hex(id.fwid) + "\n");
  }
  std::ranges::sort(lines);
  std::string all;
  for (const std::string& line : lines) all += line;
  return crypto::sha384(as_bytes(all));
}

std::vector<std::string> errors(const std::vector<Finding>& findings) {
  std::vector<std::string> out;
  for (const Finding& f : findings) {
    std::string line = std::string(name(f.failure)) + ": " + std::string(sentence(f.failure));
    if (!f.where.empty()) line += " (" + f.where + ")";
    if (!f.detail.empty()) line += ": " + f.detail;
    out.push_back(std::move(line));
  }
  return out;
}

Json device_claims(const DeviceVerdict& device) {
  Json out{{"verified", device.verified()}, {"errors", errors(device.findings)}};
  if (!device.findings.empty()) out["error_code"] = nvidia_code(device.findings.front().failure);
  if (!device.authentic) return out;
  const Authentic& a = *device.authentic;
  const bool is_switch = a.facts.kind == Kind::nvswitch;
  if (!a.remote.is_null()) add_remote(a.remote, out);
  out["eat_nonce"] = hex(a.nonce);
  out["hwmodel"] = a.identity.hwmodel;
  out["ueid"] = a.identity.ueid;
  out["fwid"] = hex(a.identity.fwid);
  out["simulated"] = a.simulated;
  if (a.simulated) out["x-cairn-test-roots"] = true;
  if (!a.remote.is_null()) return out;
  if (is_switch) {
    add_switch(a, out);
  } else {
    add_gpu(a, out);
  }
  add_report(a, is_switch ? "x-nvidia-switch-" : "x-nvidia-gpu-", out);
  add_measurements(a, out);
  return out;
}

Json gpu_claims(const Device& evidence, const DeviceVerdict& device) {
  Json out{{"uuid", evidence.uuid},
           {"name", evidence.name},
           {"verified", device.verified()},
           {"errors", errors(device.findings)}};
  if (!device.authentic) return out;
  const Authentic& a = *device.authentic;
  Bytes all;
  for (const Measurement& m : a.report.measurements) append(all, m);
  out["driver_version"] = a.facts.driver_version;
  out["vbios_version"] = a.facts.firmware_version;
  out["cc_enabled"] = device.verified();
  out["measurement"] = hex(crypto::sha384(all));
  out["certificate"] = base64(as_bytes(evidence.certificate));
  out["ueid"] = a.identity.ueid;
  out["hwmodel"] = a.identity.hwmodel;
  out["fwid"] = hex(a.identity.fwid);
  out["pdi"] = a.identity.pdi ? Json(hex(*a.identity.pdi)) : Json();
  out["ppcie"] = a.facts.protected_pcie.value_or(false);
  out["measres"] = a.measurements_hold() ? "success" : "fail";
  out["claims"] = device_claims(device);
  return out;
}

Json set_claims(const Verdict& verdict) {
  Json devices = Json::object();
  for (const DeviceVerdict& d : verdict.devices) devices[d.label] = device_claims(d);
  return {{"gpu_count", verdict.gpus},        {"gpu_verified_count", verdict.verified_gpus},
          {"switch_count", verdict.switches}, {"switch_verified_count", verdict.verified_switches},
          {"ppcie", verdict.ppcie},           {"verified", verdict.affirming()},
          {"simulated", verdict.simulated},   {"errors", errors(verdict.findings)},
          {"devices", std::move(devices)}};
}

}  // namespace cairn::nvidia
