// Fetches collateral from Intel's provisioning service (PCS) or a caching one (PCCS), API version 4. tdx-dcap §3.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/collateral/qcnl.h"
#include "evidence/tdx/verify.h"
#include "net/http_client.h"

namespace cairn::device {

inline constexpr std::string_view kIntelPcs = "https://api.trustedservices.intel.com/sgx/certification/v4/";

struct CollateralSource {
  // Tried in order. Each ends in "/sgx/certification/v4/", or is an address to which that is appended.
  std::vector<std::string> urls = {std::string(kIntelPcs)};
  TcbUpdate update = TcbUpdate::standard;
  std::optional<std::uint32_t> eval_num = {};        // ask for this tcbEvaluationDataNumber instead
  bool check_certificate = true;                     // of the service; what it sends is signed either way
  std::string extra_roots_pem = {};                  // for services with a certificate of their own
  unsigned retries = 0;                              // per URL, after transport errors, 429 and 5xx
  std::optional<unsigned> retry_delay_seconds = {};  // absent: 1, 2, 4, ...
  net::Milliseconds timeout{10'000};                 // of one try

  // From a qcnl configuration file.
  [[nodiscard]] static CollateralSource from(const QcnlConfig& config);
};

// Collateral for a platform, unverified. not_found: the service knows no such platform; unavailable, timed_out: no
// service answered; malformed: an answer was not what it must be. Any thread.
class CollateralClient {
 public:
  [[nodiscard]] static Result<std::unique_ptr<CollateralClient>> make(CollateralSource source);
  [[nodiscard]] net::Task<tdx::Collateral> fetch(tdx::CollateralKey key) const;
  [[nodiscard]] const CollateralSource& source() const { return source_; }

 private:
  CollateralClient(CollateralSource source, std::vector<net::Url> bases, net::ClientOptions options);
  [[nodiscard]] net::Task<tdx::Collateral> fetch_from(const net::Url& base, const tdx::CollateralKey& key) const;
  [[nodiscard]] net::Task<net::Response> get(std::string url) const;

  CollateralSource source_;
  std::vector<net::Url> bases_;
  mutable net::HttpClient http_;
};

}  // namespace cairn::device
