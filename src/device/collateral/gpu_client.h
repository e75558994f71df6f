// Fetches what GPU evidence is judged with: RIMs from NVIDIA's service or a mirror, revocation answers from the OCSP
// responder; keeps both on disk. nvidia-gpu §5.5, §5.6, §7.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "evidence/nvidia/verify.h"
#include "net/http_client.h"

namespace cairn::device {

inline constexpr std::string_view kNvidiaRims = "https://rim.attestation.nvidia.com/v1/rim/";
inline constexpr std::string_view kNvidiaOcsp = "https://ocsp.ndis.nvidia.com/";

struct GpuSource {
  // Addresses; "": such documents are not fetched, only taken from the folder.
  std::string rim_url = std::string(kNvidiaRims);  // the id is appended
  std::string ocsp_url = std::string(kNvidiaOcsp);
  std::string authorization = {};        // value of that header for the RIM service; "": none
  std::string extra_roots_pem = {};      // for services with a certificate of their own
  std::filesystem::path folder = {};     // kept documents; "": none; made with mode 0700
  std::int64_t rim_seconds = 24 * 3600;  // how long a RIM is taken from there; makers issue them anew
  net::Milliseconds first_retry{100};    // doubled to 30 s, with jitter
  unsigned attempts = 5;
};

// One loop.
class GpuClient {
 public:
  [[nodiscard]] static Result<std::unique_ptr<GpuClient>> make(GpuSource source);

  // Every document that the authentic devices of `evidence` need, those of `have` included, which are not asked for. A
  // document that the service does not have is left out, and the verdict says so. RIMs and answers are verified before
  // they are kept. `fresh`: nothing kept is used, as after a mismatch, when the maker may have issued a RIM anew.
  // Errors: unavailable, timed_out; malformed answers.
  [[nodiscard]] net::Task<nvidia::Collateral> fetch(const nvidia::Evidence& evidence, nvidia::Verifier& verifier,
                                                    const nvidia::TrustRoots& roots, Time now,
                                                    nvidia::Collateral have = {}, bool fresh = false);
  // One document; not_found where the service does not have it, or there is none to ask.
  struct Rim {
    Bytes document;
    Time fetched{};  // from the service
  };
  [[nodiscard]] net::Task<Rim> rim(std::string id, const nvidia::TrustRoots& roots, Time now, bool fresh);
  [[nodiscard]] net::Task<nvidia::OcspDocument> answer(std::string id, nvidia::Wanted::Ocsp about, Time now,
                                                       bool fresh);

 private:
  GpuClient(GpuSource source, net::ClientOptions options);
  [[nodiscard]] net::Task<net::Response> send(net::ClientRequest request);

  GpuSource source_;
  net::HttpClient http_;
  std::map<std::string, Time> absent_;  // RIMs that the service did not have, and when
};

}  // namespace cairn::device
