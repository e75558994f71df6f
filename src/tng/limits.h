// Where the gateway's limits live. Sizes in bytes unless the name says otherwise.
#pragma once

#include <chrono>
#include <cstddef>

namespace cairn::tng::limits {

// Evidence and certificates (spec/tng.md §13.7).
inline constexpr std::size_t certificate = 4U << 20;    // DER of a peer's certificate, also after decompression
inline constexpr std::size_t evidence = 4U << 20;       // evidence byte string inside the extension
inline constexpr std::size_t claims = 64U << 10;        // claims buffer
inline constexpr std::size_t runtime_data = 64U << 10;  // aa_runtime_data text
inline constexpr std::size_t claim_count = 64;          // entries of one CBOR map
inline constexpr std::size_t cbor_depth = 8;
inline constexpr std::size_t token = 1U << 20;     // attestation token
inline constexpr std::size_t as_error_body = 512;  // how much of a refusal is quoted

// Configuration.
inline constexpr std::size_t config_file = 1U << 20;
inline constexpr std::size_t blocks = 256;             // ingress plus egress blocks
inline constexpr std::size_t rules_per_block = 256;    // filters, rewrites, plaintext rules, capture entries
inline constexpr std::size_t regex = 4096;             // pattern length
inline constexpr std::size_t regex_memory = 1U << 20;  // compiled

// Attestation.
inline constexpr std::chrono::seconds certificate_build{120};
inline constexpr int certificate_attempts = 3;
inline constexpr std::chrono::seconds certificate_retry{1};
inline constexpr std::chrono::hours certificate_life{6};
inline constexpr std::chrono::seconds as_call{30};
inline constexpr std::chrono::hours session_age{1};       // hard maximum; a token's exp is usually sooner
inline constexpr std::chrono::hours evidence_age{24};     // of a peer's certificate, by notBefore
inline constexpr std::chrono::seconds clock_skew{300};    // tolerated when a peer's notBefore lies ahead
inline constexpr std::chrono::seconds negative_cache{1};  // how long a failed verification is remembered

// Connections.
inline constexpr std::size_t connections = 8192;     // per block
inline constexpr std::size_t http_head = 64U << 10;  // one request or response head
inline constexpr std::size_t relay_buffer = 128U << 10;
inline constexpr std::size_t handshakes = 1024;  // SOCKS negotiations at once
inline constexpr std::chrono::seconds first_byte{5};
inline constexpr std::chrono::seconds head{10};
inline constexpr std::chrono::seconds connect{10};
inline constexpr std::chrono::seconds handshake{30};
inline constexpr std::chrono::seconds idle_connection{75};  // between two requests of a keep-alive client
inline constexpr std::chrono::seconds drain{10};
inline constexpr std::chrono::seconds credit_stall{10};  // §3.5

// Outer HTTP/2 credit of a 2.2.4 peer that never returns any (§3.5).
inline constexpr std::size_t legacy_credit_client = 32U << 10;
inline constexpr std::size_t legacy_credit_server = 16U << 10;

// Sessions of one client to one peer.
inline constexpr std::size_t idle_streams = 64;  // kept-alive tunnel streams per destination

}  // namespace cairn::tng::limits
