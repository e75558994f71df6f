// The attested TLS 1.3 of one block: our evidence kept fresh, the peer's verified before any application byte moves.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/tls.h"
#include "tng/config.h"
#include "tng/ratls/verifier.h"
#include "tng/status.h"

namespace cairn::tng {

inline constexpr const char* alpn_h2 = "h2";            // CONNECT streams inside
inline constexpr const char* alpn_direct = "rats-tls";  // the application's bytes inside
inline constexpr const char* server_name = "tng.internal";

// A connection whose peer was accepted.
struct Secured {
  net::TlsStreamPtr stream;
  VerdictPtr peer;  // null where this side verifies nobody
};

class Security {  // any thread after prepare()
 public:
  enum class Side { client, server };
  // `alpn` in order of preference.
  [[nodiscard]] static Result<std::shared_ptr<Security>> create(Side side, RemoteAttestation ra, Compat compat,
                                                                std::vector<std::string> alpn, BlockStatusPtr status);
  // Obtains the first certificate; nothing connects before. On the loop that will run keep_fresh().
  [[nodiscard]] net::Task<> prepare();
  // Renews it until cancelled. Failures are logged; evidence older than twice the interval is no longer shown.
  [[nodiscard]] net::Task<> keep_fresh();

  // TLS handshake and verification. Takes the stream; closes it when either fails.
  [[nodiscard]] net::Task<Secured> handshake(net::StreamPtr stream);

 private:
  Security(Side side, RemoteAttestation ra, BindingForm form, std::vector<std::string> alpn, BlockStatusPtr status)
      : side_(side), ra_(std::move(ra)), form_(form), alpn_(std::move(alpn)), status_(std::move(status)) {}
  [[nodiscard]] Result<std::shared_ptr<const net::TlsContext>> make_context(
      std::shared_ptr<const net::TlsIdentity> identity) const;
  [[nodiscard]] net::Task<std::shared_ptr<const net::TlsContext>> context();
  [[nodiscard]] net::Task<> renew();
  [[nodiscard]] bool per_handshake() const { return ra_.attest && ra_.attest->refresh_interval.count() == 0; }

  Side side_;
  RemoteAttestation ra_;
  BindingForm form_;
  std::vector<std::string> alpn_;
  BlockStatusPtr status_;
  std::shared_ptr<PeerVerifier> verifier_;  // null: nobody is verified
  std::mutex mutex_;
  std::shared_ptr<const net::TlsContext> context_;
  std::int64_t made_at_ms_ = 0;
};

}  // namespace cairn::tng
