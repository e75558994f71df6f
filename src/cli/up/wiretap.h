// Records what crosses a TCP port on the loopback interface and searches it: the measured half of the promise that
// prompt and answer are not readable on the wire.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cairn::cli {

// TCP payload of one direction of one connection, as captured; order and duplicates as on the wire.
struct Segment {
  std::uint16_t source = 0, destination = 0;
  std::uint32_t sequence = 0;
  std::string payload;
};
// The TCP segment of an IPv4 or IPv6 packet (from its first byte), if it is one with payload; malformed otherwise.
[[nodiscard]] Result<Segment> parse_packet(std::span<const std::uint8_t> packet);
// Payload of each direction of each connection, put together by sequence number.
[[nodiscard]] std::vector<std::string> reassemble(std::vector<Segment> segments);
// Does any of the streams hold a piece of `text` (16 bytes long, or all of it where shorter), plain or as in JSON?
[[nodiscard]] bool holds_piece_of(const std::vector<std::string>& streams, std::string_view text);

class Wiretap {
 public:
  // Needs CAP_NET_RAW. Records in a thread of its own, at most kWiretapBytes of payload.
  [[nodiscard]] static Result<std::unique_ptr<Wiretap>> start(std::uint16_t port);
  ~Wiretap();
  Wiretap(const Wiretap&) = delete;
  Wiretap& operator=(const Wiretap&) = delete;

  struct Recording {
    std::vector<std::string> streams;
    std::uint64_t bytes = 0, dropped = 0;  // dropped packets: the recording then has gaps
  };
  // What was recorded so far.
  [[nodiscard]] Recording recording();

 private:
  struct State;
  explicit Wiretap(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

inline constexpr std::uint64_t kWiretapBytes = 64U << 20;

}  // namespace cairn::cli
