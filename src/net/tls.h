// TLS 1.2/1.3 over any Stream.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/secret.h"
#include "net/stream.h"

namespace cairn::net {

// A certificate chain, leaf first, and its private key; both PEM.
struct TlsIdentity {
  std::string certificate_pem;
  Secret private_key_pem;
};

// What the handshake agreed on.
struct TlsInfo {
  std::string version;                  // "TLSv1.3"
  std::string cipher;                   // "TLS_AES_256_GCM_SHA384"
  std::string group;                    // "X25519MLKEM768", "x25519", "secp256r1"
  std::string alpn;                     // empty: none
  std::string server_name;              // SNI, as sent or received
  std::vector<Bytes> peer_chain;        // DER, leaf first; empty when the peer showed none
  bool certificate_compressed = false;  // the peer's Certificate message came compressed (RFC 8879)
};

class TlsStream : public Stream {
 public:
  [[nodiscard]] const TlsInfo& info() const { return *tls(); }
  // RFC 5705 / RFC 8446 §7.5 exporter; `context` may be empty.
  [[nodiscard]] virtual Result<Bytes> export_keying_material(std::string_view label, ByteView context,
                                                             std::size_t size) const = 0;
};
using TlsStreamPtr = std::unique_ptr<TlsStream>;

// Decides about a peer after the handshake (its possession of the leaf's key is then proven) and before one byte of
// application data is passed on or accepted. An error closes the connection and becomes the handshake's error.
using PeerVerifier = std::function<Task<>(const TlsInfo&)>;

enum class TlsTrust {
  system,   // the system's roots and `extra_roots_pem`, host name checked
  given,    // only `extra_roots_pem`, host name checked
  verifier  // no check but `verifier`, which is then mandatory: chain, names and dates are its business
};

struct TlsOptions {
  bool tls13_only = false;
  std::shared_ptr<const TlsIdentity> identity = {};  // servers: mandatory
  std::vector<std::string> alpn = {};  // in order of preference; a server with a list refuses clients whose
                                       // list has nothing in common (no_application_protocol)
  TlsTrust trust = TlsTrust::system;   // clients; servers: of client certificates, where required
  std::string extra_roots_pem = {};
  PeerVerifier verifier = {};               // with `system`/`given`: runs in addition
  bool require_client_certificate = false;  // servers
  bool check_host_name = true;              // clients with system/given
  bool resumption = true;                   // false: no tickets, no sessions, no 0-RTT (0-RTT is never on)
  std::size_t max_certificate_message = limits::kCertificateMessage;
  std::string groups = {};  // OpenSSL list, e.g. "X25519:P-256"; empty: its default
};

// Immutable configuration, shared by connections of any loop. Make a new one to rotate an identity.
class TlsContext {
 public:
  [[nodiscard]] static Result<std::shared_ptr<const TlsContext>> client(TlsOptions options);
  [[nodiscard]] static Result<std::shared_ptr<const TlsContext>> server(TlsOptions options);
  ~TlsContext();
  struct State;
  [[nodiscard]] const State& state() const { return *state_; }

 private:
  explicit TlsContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Takes the stream; closes it on failure. `server_name` is sent as SNI (unless it is an address) and checked.
// crypto_failed: certificate or handshake; unavailable: the peer went away; timed_out.
[[nodiscard]] Task<TlsStreamPtr> tls_connect(StreamPtr stream, std::shared_ptr<const TlsContext> context,
                                             std::string server_name, Milliseconds timeout = limits::kTlsHandshake);
[[nodiscard]] Task<TlsStreamPtr> tls_accept(StreamPtr stream, std::shared_ptr<const TlsContext> context,
                                            Milliseconds timeout = limits::kTlsHandshake);

// Names of the certificate compression algorithms of this OpenSSL, e.g. {"zlib", "zstd"}.
[[nodiscard]] std::vector<std::string> certificate_compressions();

}  // namespace cairn::net
