// The gateway's configuration (spec/tng.md §2): the union of TNG 2.2.4's schema and its successors', read strictly.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "tng/rules.h"

namespace cairn::tng {

// Whose defaults hold where TNG's versions differ: filter ports, rats_tls.multiplex, the meaning of encap_in_http.
enum class Compat { v2_2_4, latest };

struct Endpoint {
  std::string host;  // "0.0.0.0" for listeners that name none; "" for a destination without
  std::uint16_t port = 0;
  [[nodiscard]] std::string text() const;  // "host:port", IPv6 in brackets
};

// How an HTTP wrapping looks on the wire.
enum class HttpProtocol {
  legacy,  // RA-TLS inside the body of one HTTP/2 POST (2.0 to 2.2.4)
  ohttp,   // chunked Oblivious HTTP (2.2.6 on)
};

struct EncapInHttp {
  HttpProtocol protocol = HttpProtocol::legacy;
  PathRewriter path_rewrites;
};

struct DecapFromHttp {
  bool legacy = true, ohttp = false;  // which wrappings are accepted
};

struct Attest {
  std::string aa_socket;                       // file name, without unix://
  std::chrono::seconds refresh_interval{600};  // 0: fresh evidence for every handshake
};

struct Verify {
  std::string as_addr;  // URL without a trailing slash
  std::vector<std::pair<std::string, std::string>> as_headers;
  std::vector<std::string> policy_ids;
  std::vector<std::string> trusted_certs_paths;  // empty: the token's signer is whoever answers at as_addr
  bool allow_simulated = false;                  // accept TEEs that are simulators under a trusted service
  std::chrono::seconds max_evidence_age{24 * 3600};
  std::chrono::seconds max_session_age{3600};
};

// no_ra is neither.
struct RemoteAttestation {
  std::optional<Attest> attest;
  std::optional<Verify> verify;
};

struct ProxyAuth {
  std::string username, password;
};

struct MappingIngress {
  Endpoint in, out;
};
struct HttpProxyIngress {
  Endpoint listen;
  std::vector<HostFilter> dst_filters;
  bool unmatched_direct = true;  // what no filter matches: straight to its destination, or refused
  std::optional<ProxyAuth> auth;
  std::vector<IpNetwork> allow_cidrs;  // who may use the proxy; empty: anyone who reaches it
};
struct Socks5Ingress {
  Endpoint listen;
  std::vector<HostFilter> dst_filters;
  bool unmatched_direct = true;
  std::optional<ProxyAuth> auth;
};
struct CaptureDst {
  std::optional<IpNetwork> host;
  std::optional<std::string> ipset;
  std::optional<PortRange> ports;
};
struct NetfilterIngress {
  std::vector<CaptureDst> capture_dst;
  std::vector<std::string> capture_cgroup, nocapture_cgroup;
  std::optional<std::uint16_t> listen_port;
  std::uint32_t so_mark = 565;
};

struct Ingress {
  std::variant<MappingIngress, HttpProxyIngress, Socks5Ingress, NetfilterIngress> mode;
  std::optional<EncapInHttp> encap_in_http;
  bool multiplex = true;  // streams of one session, or a session per connection
  RemoteAttestation ra;
};

struct MappingEgress {
  Endpoint in, out;
};
struct NetfilterEgress {
  std::vector<CaptureDst> capture_dst;
  bool capture_local_traffic = false;
  std::optional<std::uint16_t> listen_port;
  std::uint32_t so_mark = 565;
};

struct Egress {
  std::variant<MappingEgress, NetfilterEgress> mode;
  std::optional<DecapFromHttp> decap_from_http;
  std::optional<PlaintextRules> plaintext;  // present, even if empty: every plain connection is inspected
  RemoteAttestation ra;
};

struct Config {
  Compat compat = Compat::v2_2_4;
  bool strict = false;
  std::optional<Endpoint> control;
  std::vector<Ingress> ingress;
  std::vector<Egress> egress;
  std::vector<std::string> warnings;  // each choice that weakens protection, a sentence each
};

struct ConfigOptions {
  std::optional<Compat> compat = {};  // overrides the file's
  bool strict = false;                // weakening choices are errors
  bool lenient = false;               // unknown keys are warnings
};

// All problems at once, each with the path of its key.
[[nodiscard]] Result<Config> parse_config(std::string_view json, const ConfigOptions& options = {});

}  // namespace cairn::tng
