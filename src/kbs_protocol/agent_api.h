// The messages of the attestation agent's ttrpc service, as its server (guest/aa) and its clients (aa_client.h) use
// them. Field numbers: spec/guest.md §2.4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace cairn::agent {

inline constexpr std::string_view service_name = "attestation_agent.AttestationAgentService";
inline constexpr std::string_view default_address =
    "unix:///run/confidential-containers/attestation-agent/attestation-agent.sock";

struct Empty {
  static void fields(auto&, auto&&) {}
};
struct RuntimeDataRequest {  // GetEvidence, GetAdditionalEvidence
  Bytes runtime_data;
  static void fields(auto& m, auto&& field) { field(1, m.runtime_data); }
};
struct EvidenceResponse {
  Bytes evidence;
  static void fields(auto& m, auto&& field) { field(1, m.evidence); }
};
struct TokenRequest {
  std::string token_type;
  std::optional<std::string> additional_data;
  static void fields(auto& m, auto&& field) {
    field(1, m.token_type);
    field(2, m.additional_data);
  }
};
struct TokenResponse {
  Bytes token;
  static void fields(auto& m, auto&& field) { field(1, m.token); }
};
struct ExtendRequest {
  std::string domain, operation, content;
  std::optional<std::uint64_t> register_index;  // a PCR number, not an RTMR
  static void fields(auto& m, auto&& field) {
    field(1, m.domain);
    field(2, m.operation);
    field(3, m.content);
    field(4, m.register_index);
  }
};
struct ExtendResponse {
  std::int32_t result = 0;  // 0 done, 1 not supported, 2 not enabled (upstream P2)
  static void fields(auto& m, auto&& field) { field(1, m.result); }
};
struct BindInitDataRequest {
  Bytes digest;
  static void fields(auto& m, auto&& field) { field(1, m.digest); }
};
struct UpdateConfigurationRequest {
  std::string config;
  static void fields(auto& m, auto&& field) { field(1, m.config); }
};
struct TeeTypeResponse {
  std::string tee;
  static void fields(auto& m, auto&& field) { field(1, m.tee); }
};
struct AdditionalTeesResponse {
  std::vector<std::string> additional_tees;
  static void fields(auto& m, auto&& field) { field(1, m.additional_tees); }
};

}  // namespace cairn::agent
