// Every bound of the networking area, in one place. A test stands at each limit and one past it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace cairn::net::limits {

using namespace std::chrono_literals;

// HTTP heads.
inline constexpr std::size_t kHeadBytes = 64U << 10;  // whole request or response head; past it 431
inline constexpr std::size_t kHeaders = 128;          // header fields in a head or trailer section; past it 431
inline constexpr std::size_t kTarget = 16U << 10;     // request target; past it 414
inline constexpr std::size_t kUrl = 16U << 10;
inline constexpr std::size_t kCookies = 64;  // per jar
inline constexpr std::size_t kInterim = 16;  // 1xx responses before the final one

// Buffers.
inline constexpr std::size_t kReadBuffer = 16U << 10;      // what a connection reads at a time
inline constexpr std::size_t kRelayBuffer = 256U << 10;    // per direction of relay()
inline constexpr std::size_t kTlsWriteBatch = 256U << 10;  // ciphertext gathered before it is written
inline constexpr std::size_t kMemoryPipe = 256U << 10;     // per direction of memory_pair()

// HTTP servers (defaults of ServerOptions).
inline constexpr std::size_t kConnections = 10'000;
inline constexpr std::size_t kBody = 2U << 20;  // Exchange::body()
inline constexpr auto kHeadTimeout = 10s;       // from the first byte of a head to its last
inline constexpr auto kIdleTimeout = 75s;       // keep-alive, no request
inline constexpr auto kStallTimeout = 60s;      // a body or response that makes no progress
inline constexpr auto kTlsHandshake = 10s;

// HTTP clients.
inline constexpr auto kConnectTimeout = 5s;
inline constexpr auto kRequestTimeout = 60s;
inline constexpr std::size_t kResponseBody = 64U << 20;
inline constexpr std::size_t kIdlePerHost = 32;
inline constexpr auto kClientIdle = 30s;                  // pooled connections older than this are not reused
inline constexpr std::size_t kDrainForReuse = 64U << 10;  // unread body bytes worth reading to keep a connection

// HTTP/2 (defaults of Http2Options).
inline constexpr std::uint32_t kStreamWindow = 1U << 20;
inline constexpr std::uint32_t kConnectionWindow = 16U << 20;
inline constexpr std::uint32_t kFrame = 1U << 20;
inline constexpr std::uint32_t kStreams = 1000;
inline constexpr auto kPingInterval = 30s;
inline constexpr auto kPingTimeout = 10s;

// TLS.
inline constexpr std::size_t kCertificateMessage = 4U << 20;  // Certificate message, compressed or not

// ttrpc.
inline constexpr std::size_t kTtrpcMessage = 4'194'304;
inline constexpr std::size_t kTtrpcCalls = 256;  // running calls per connection; further frames wait unread
inline constexpr std::size_t kTtrpcConnections = 256;

// Server-sent events.
inline constexpr std::size_t kSseEvent = 1U << 20;  // one event, all its lines

// Workers.
inline constexpr std::size_t kOffloadQueue = 1024;  // jobs waiting for a worker; past it `unavailable`

}  // namespace cairn::net::limits
