// Asks NVIDIA's remote attestation service about devices, and keeps its keys and its last answers. nvidia-gpu §6, §7.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/hash.h"
#include "device/collateral/counts.h"
#include "device/collateral/limits.h"
#include "evidence/nvidia/nras.h"
#include "net/http_client.h"
#include "net/task.h"

namespace cairn::device {

inline constexpr std::string_view kNvidiaNras = "https://nras.attestation.nvidia.com/v4/attest";

struct NrasSource {
  std::string url = std::string(kNvidiaNras);  // "/gpu" or "/switch" is appended
  std::string jwks_url = {};                   // "": /.well-known/jwks.json of the same host
  std::string issuer = {};                     // that tokens must name; "": scheme and host of `url`
  std::string authorization = {};              // value of that header; "": none
  std::string extra_roots_pem = {};            // for a service with a certificate of its own
  net::Milliseconds first_retry{100};          // doubled to 5 s, with jitter
  unsigned attempts = 4;
};

// One loop. Its key set is trusted because of the connection it came over: make() refuses http, but of this machine.
class NrasClient {
 public:
  [[nodiscard]] static Result<std::unique_ptr<NrasClient>> make(NrasSource source);

  // What the service says of the devices that `requests` are about: every token verified. A key that is not known
  // fetches the key set anew, at most once a minute. Errors: unavailable, timed_out; permission_denied (of the service
  // key); malformed answers; evidence_rejected and others of nvidia::verify_nras for tokens that do not hold.
  [[nodiscard]] net::Task<nvidia::Remote> attest(std::vector<nvidia::NrasRequest> requests, Time now);

 private:
  NrasClient(NrasSource source, net::ClientOptions options);
  [[nodiscard]] net::Task<Json> send(net::ClientRequest request);
  [[nodiscard]] net::Task<> fetch_keys(Time now);
  [[nodiscard]] net::Task<nvidia::NrasAnswer> verified(Json answer, Time now);

  NrasSource source_;
  net::HttpClient http_;
  std::vector<crypto::Jwk> keys_;
  std::optional<Time> keys_at_;  // when they were fetched
};

// The client behind a worker thread's calls: an answer is asked for once, and serves for a minute the evidence that it
// is about. Any thread.
class NrasCache {
 public:
  [[nodiscard]] static Result<std::shared_ptr<NrasCache>> open(net::Executor loop, NrasSource source);
  ~NrasCache();
  NrasCache(const NrasCache&) = delete;
  NrasCache& operator=(const NrasCache&) = delete;

  // The answer to these requests, or why there was none a moment ago; nullopt: ask().
  [[nodiscard]] std::optional<Result<nvidia::Remote>> find(const std::vector<nvidia::NrasRequest>& requests, Time now);
  // Ends when find() knows. One request of the same content is under way at a time.
  [[nodiscard]] net::Task<> ask(std::vector<nvidia::NrasRequest> requests, Time now);

  [[nodiscard]] CollateralCounts counts(Time now) const;
  [[nodiscard]] std::string last_error() const;
  [[nodiscard]] const std::string& url() const;
  [[nodiscard]] net::Task<> stop();

 private:
  struct State;
  explicit NrasCache(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace cairn::device
