// GPU evidence as it travels: the JSON of NVIDIA's tools, its remote service, Trustee and Alibaba's agent. Texts beside
// report and certificates are hints that nobody signs. nvidia-gpu §3.5, §7.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "evidence/nvidia/report.h"

namespace cairn::nvidia {

struct Device {
  std::string arch;                              // "HOPPER" or ""; upper case
  std::string uuid, name;                        // "" if absent
  std::string driver_version, firmware_version;  // "" if absent
  Bytes report;
  std::string certificate;  // PEM, leaf first
};
struct Evidence {
  std::vector<Device> devices;
  std::optional<Nonce> nonce;  // the one the evidence says it answers
};
// Any of the shapes; D is the value of its member "gpu_evidence". malformed where it is none of them, and where a
// device has no report or certificate: a device that failed to give one is not passed over.
[[nodiscard]] Result<Evidence> parse_evidence(const Json& json);
// Whether `json` looks like one of the shapes.
[[nodiscard]] bool looks_like_evidence(const Json& json);

// Documents to judge devices with, which travel as a bundle {"rims":{id: base64},"ocsp":{certificate id: base64}}.
struct OcspDocument {
  Bytes response;
  Bytes nonce;  // of the request just made; empty for an answer kept from earlier
  bool operator==(const OcspDocument&) const = default;
};
struct Collateral {
  std::map<std::string, Bytes> rims;         // by RIM id
  std::map<std::string, OcspDocument> ocsp;  // by hex of ocsp_certificate_id
};
[[nodiscard]] Result<Collateral> parse_collateral(std::string_view json);
[[nodiscard]] Json to_json(const Collateral& collateral);

// The nonce that a quote's report data stands for: its first 32 bytes, zero-padded. invalid_argument when empty.
[[nodiscard]] Result<Nonce> nonce_of_report_data(ByteView report_data);

}  // namespace cairn::nvidia
