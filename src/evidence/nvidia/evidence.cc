#include "evidence/nvidia/evidence.h"

#include <algorithm>

#include "base/encoding.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/text.h"

namespace cairn::nvidia {
namespace {

std::unexpected<Error> wrong(const std::string& path, std::string message) {
  return fail(ErrorCode::malformed, path, std::move(message));
}

// A text member; "" where absent or null.
Result<std::string> text(const Json& object, const char* key, const std::string& path) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::string();
  if (!found->is_string()) return wrong(path + "." + key, "not a text");
  return found->get<std::string>();
}

// Hex or base64: a report begins with 11 E0, "EeA" in base64, which is no hex.
Result<Bytes> report(const std::string& text, const std::string& path) {
  auto bytes = from_hex(text);
  if (!bytes) bytes = from_base64(text);
  if (!bytes || bytes->size() < 2 || (*bytes)[0] != 0x11 || (*bytes)[1] != 0xE0)
    return wrong(path, "not an attestation report in base64 or hex");
  return *std::move(bytes);
}

Result<std::string> certificate(const std::string& text, const std::string& path) {
  if (text.starts_with("-----BEGIN")) return text;
  const auto bytes = from_base64(text);
  if (!bytes) return wrong(path, "not base64");
  return std::string(as_text(*bytes));
}

Result<Device> device(const Json& json, const std::string& path) {
  if (!json.is_object()) return wrong(path, "not an object");
  Device out;
  CAIRN_TRY(out.arch, text(json, "arch", path));
  out.arch = upper(std::move(out.arch));
  CAIRN_TRY(out.uuid, text(json, "uuid", path));
  CAIRN_TRY(out.name, text(json, "name", path));
  CAIRN_TRY(out.driver_version, text(json, "driver_version", path));
  CAIRN_TRY(out.firmware_version, text(json, "vbios_version", path));
  const char* const key = json.contains("attestation_report") ? "attestation_report" : "evidence";
  CAIRN_TRY(const std::string encoded, text(json, key, path));
  if (encoded.empty()) return wrong(path + "." + key, "the device has no report");
  CAIRN_TRY(out.report, report(encoded, path + "." + key));
  CAIRN_TRY(const std::string pem, text(json, "certificate", path));
  if (pem.empty()) return wrong(path + ".certificate", "the device has no certificates");
  CAIRN_TRY(out.certificate, certificate(pem, path + ".certificate"));
  return out;
}

Result<std::optional<Nonce>> nonce(const Json& object, const std::string& path) {
  CAIRN_TRY(const std::string encoded, text(object, "nonce", path));
  if (encoded.empty()) return std::nullopt;
  const auto bytes = from_hex(encoded).and_then([](const Bytes& b) { return Nonce::from(b); });
  if (!bytes) return wrong(path + ".nonce", "not 32 bytes of hex");
  return *bytes;
}

// The list of devices, wherever the shape has it; nullptr where it has none.
const Json* device_list(const Json& json) {
  if (json.is_array()) return &json;
  if (!json.is_object()) return nullptr;
  for (const char* key : {"evidence_list", "device_evidence_list"})
    if (const auto found = json.find(key); found != json.end() && found->is_array()) return &*found;
  return nullptr;
}

Result<std::map<std::string, Bytes>> documents(const Json& json, const char* member) {
  std::map<std::string, Bytes> out;
  const auto found = json.find(member);
  if (found == json.end()) return out;
  const std::string path = std::string("$.") + member;
  if (!found->is_object() || found->size() > kMaxOcspBundle) return wrong(path, "not an object of documents");
  for (const auto& [id, value] : found->items()) {
    const auto bytes = value.is_string() ? from_base64(value.get_ref<const std::string&>()) : Result<Bytes>(Bytes());
    if (!bytes || bytes->empty()) return wrong(path, "a document that is not base64");
    out.emplace(id, *bytes);
  }
  return out;
}

}  // namespace

bool looks_like_evidence(const Json& json) {
  const Json* list = device_list(json);
  return list != nullptr &&
         (json.is_object() || (!list->empty() && list->front().is_object() && list->front().contains("evidence")));
}

Result<Evidence> parse_evidence(const Json& json) {
  const Json* list = device_list(json);
  if (list == nullptr) return wrong("$", "no list of device evidence");
  if (list->size() > kMaxDevices) return wrong("$", "more than " + std::to_string(kMaxDevices) + " devices");
  Evidence out;
  if (json.is_object()) {
    CAIRN_TRY(out.nonce, nonce(json, "$"));
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string path = "$[" + std::to_string(i) + "]";
    CAIRN_TRY(out.devices.emplace_back(), device((*list)[i], path));
    if (json.is_object()) continue;
    CAIRN_TRY(const auto own, nonce((*list)[i], path));
    if (i > 0 && own != out.nonce) return wrong(path + ".nonce", "the devices name several nonces");
    out.nonce = own;
  }
  return out;
}

Result<Collateral> parse_collateral(std::string_view text) {
  CAIRN_TRY(const Json json, parse_json(text, {.bytes = kMaxBundleJson, .depth = 8}));
  if (!json.is_object() || (!json.contains("rims") && !json.contains("ocsp")))
    return wrong("$", "a bundle of GPU collateral has the members rims and ocsp");
  Collateral out;
  CAIRN_TRY(out.rims, documents(json, "rims"));
  CAIRN_TRY(const auto answers, documents(json, "ocsp"));
  for (const auto& [id, response] : answers) out.ocsp.emplace(id, OcspDocument{response, {}});
  return out;
}

Json to_json(const Collateral& collateral) {
  Json out{{"rims", Json::object()}, {"ocsp", Json::object()}};
  for (const auto& [id, document] : collateral.rims) out["rims"][id] = base64(document);
  for (const auto& [id, answer] : collateral.ocsp) out["ocsp"][id] = base64(answer.response);
  return out;
}

Result<Nonce> nonce_of_report_data(ByteView report_data) {
  if (report_data.empty()) return fail(ErrorCode::invalid_argument, "no report data to bind GPU evidence to");
  Nonce out{};
  std::ranges::copy(report_data.first(std::min(report_data.size(), out.size())), out.begin());
  return out;
}

}  // namespace cairn::nvidia
