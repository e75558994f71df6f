// Decides whether a peer's certificate belongs to an accepted TEE: the attestation service appraises the evidence, its
// token is checked, the token is tied back to the certificate's key (spec/tng.md §3.2, §5.2, §5.3).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "kbs_protocol/token/token.h"
#include "net/http_client.h"
#include "net/task.h"
#include "tng/config.h"
#include "tng/ratls/certificate.h"
#include "tng/status.h"

namespace cairn::tng {

// A peer that was accepted, until `expires`.
struct Verdict {
  std::string tee;
  bool simulated = false;
  bool signer_trusted = false;  // the token's signer chains to trusted_certs_paths
  BindingForm form = BindingForm::a;
  Time expires;  // of the token, or of the longest session age, whichever is sooner
  Json facts;    // for status and access log: tee, kind, policy ids, trust vectors
};
using VerdictPtr = std::shared_ptr<const Verdict>;

// The body of POST {as_addr}/attestation for this evidence.
[[nodiscard]] Result<Json> attestation_request(const CocoEvidence& coco, const std::vector<std::string>& policy_ids);

// A token received for `peer`, checked under `trust` and the block's demands.
[[nodiscard]] Result<Verdict> check_token(std::string_view token, const PeerEvidence& peer, const Verify& config,
                                          const token::Trust& trust, Time at);

// Any thread. Accepted certificates are remembered until their verdict expires, so that only the first connection to a
// peer costs a call to the attestation service; refusals are remembered for limits::negative_cache.
class PeerVerifier {
 public:
  // Reads trusted_certs_paths.
  [[nodiscard]] static Result<std::shared_ptr<PeerVerifier>> create(Verify config, BlockStatusPtr status);
  // Concurrent calls for one certificate share one verification.
  [[nodiscard]] net::Task<VerdictPtr> verify(Bytes certificate_der);

 private:
  PeerVerifier(Verify config, token::Trust trust, BlockStatusPtr status);
  struct Waiter;
  struct Entry {
    VerdictPtr verdict;
    std::optional<Error> error;
    std::int64_t error_until_ms = 0;
    bool in_flight = false;
    std::vector<std::shared_ptr<Waiter>> waiters;
  };
  struct Flight;
  using Key = Digest<32>;

  [[nodiscard]] net::Task<VerdictPtr> appraise(const Bytes& certificate_der);
  [[nodiscard]] net::Task<std::string> ask_service(Json request);
  [[nodiscard]] std::optional<Result<VerdictPtr>> remembered(const Key& key);  // under the lock
  void finish(const Key& key, const Result<VerdictPtr>& outcome);
  void make_room();

  Verify config_;
  token::Trust trust_;
  BlockStatusPtr status_;
  net::HttpClient client_;
  std::mutex mutex_;
  std::map<Key, Entry> entries_;
};

}  // namespace cairn::tng
