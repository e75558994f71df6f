#include "cli/up/wiretap.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <thread>

#include "base/cursor.h"
#include "base/file.h"
#include "base/json.h"

namespace cairn::cli {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::size_t kPiece = 16;

Result<Segment> parse_tcp(Reader r) {
  Segment out;
  CAIRN_TRY(out.source, r.u16be());
  CAIRN_TRY(out.destination, r.u16be());
  CAIRN_TRY(out.sequence, r.u32be());
  CAIRN_CHECK(r.skip(4));
  CAIRN_TRY(const auto offset, r.u8());
  const std::size_t header = static_cast<std::size_t>(offset >> 4) * 4;
  if (header < 20) return fail(ErrorCode::malformed, "TCP header length");
  CAIRN_CHECK(r.skip(7 + header - 20));
  out.payload = as_text(r.rest());
  return out;
}

Result<Segment> parse_ipv4(Reader r, std::uint8_t first) {
  const std::size_t header = static_cast<std::size_t>(first & 15) * 4;
  if (header < 20) return fail(ErrorCode::malformed, "IPv4 header length");
  CAIRN_CHECK(r.skip(1));
  CAIRN_TRY(const auto total, r.u16be());
  CAIRN_CHECK(r.skip(5));
  CAIRN_TRY(const auto protocol, r.u8());
  if (protocol != kTcp || total < header) return fail(ErrorCode::malformed, "not TCP");
  CAIRN_CHECK(r.skip(header - 10));
  // Segmentation offload on loopback leaves a total length of 0 for packets past 64 KiB: take what there is.
  const std::size_t size = total == 0 ? r.remaining() : std::min<std::size_t>(total - header, r.remaining());
  CAIRN_TRY(auto body, r.sub(size));
  return parse_tcp(body);
}

Result<Segment> parse_ipv6(Reader r) {
  CAIRN_CHECK(r.skip(3));
  CAIRN_TRY(const auto length, r.u16be());
  CAIRN_TRY(const auto next, r.u8());
  if (next != kTcp) return fail(ErrorCode::malformed, "not TCP");
  CAIRN_CHECK(r.skip(33));
  CAIRN_TRY(auto body, r.sub(length == 0 ? r.remaining() : std::min<std::size_t>(length, r.remaining())));
  return parse_tcp(body);
}

}  // namespace

Result<Segment> parse_packet(std::span<const std::uint8_t> packet) {
  Reader r(packet);
  CAIRN_TRY(const auto first, r.u8());
  if (first >> 4 == 4) return parse_ipv4(r, first);
  if (first >> 4 == 6) return parse_ipv6(r);
  return fail(ErrorCode::malformed, "not an IP packet");
}

std::vector<std::string> reassemble(std::vector<Segment> segments) {
  std::map<std::uint32_t, std::vector<Segment*>> flows;
  for (auto& s : segments) flows[static_cast<std::uint32_t>(s.source) << 16 | s.destination].push_back(&s);
  std::vector<std::string> out;
  for (auto& [unused, parts] : flows) {
    const std::uint32_t origin = parts.front()->sequence;
    // Distances from the first segment seen, so that numbers may wrap.
    const auto distance = [&](const Segment* s) { return static_cast<std::int32_t>(s->sequence - origin); };
    std::ranges::stable_sort(parts, {}, distance);
    std::string stream;
    std::int64_t next = distance(parts.front());
    for (const Segment* s : parts) {
      const std::int64_t overlap = next - distance(s);
      if (overlap >= static_cast<std::int64_t>(s->payload.size())) continue;
      stream += overlap > 0 ? std::string_view(s->payload).substr(static_cast<std::size_t>(overlap)) : s->payload;
      next = distance(s) + static_cast<std::int64_t>(s->payload.size());
    }
    out.push_back(std::move(stream));
  }
  return out;
}

bool holds_piece_of(const std::vector<std::string>& streams, std::string_view text) {
  std::vector<std::string> forms{std::string(text)};
  std::string quoted = compact_json(Json(std::string(text)));
  forms.push_back(quoted.substr(1, quoted.size() - 2));
  for (const auto& form : forms) {
    if (form.empty()) continue;
    const std::size_t size = std::min(kPiece, form.size());
    for (std::size_t at = 0; at + size <= form.size(); at += size) {
      const std::string_view piece = std::string_view(form).substr(at, size);
      for (const auto& stream : streams)
        if (stream.find(piece) != std::string::npos) return true;
    }
  }
  return false;
}

struct Wiretap::State {
  std::uint16_t port = 0;
  Fd socket, stop;
  std::mutex mutex;
  std::vector<Segment> segments;
  std::uint64_t bytes = 0, dropped = 0;
  std::thread thread;

  void record();
};

void Wiretap::State::record() {
  constexpr std::size_t kPacketMax = 1U << 20;  // segments are joined before they are seen here
  Bytes packet(kPacketMax);
  for (;;) {
    pollfd watched[] = {{socket.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}};
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return;
    if (watched[1].revents != 0) return;
    sockaddr_ll from{};
    socklen_t size = sizeof from;
    const ssize_t n =
        ::recvfrom(socket.get(), packet.data(), packet.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &size);
    // Loopback shows each packet twice, going out and coming in.
    if (n <= 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
    auto segment = parse_packet(ByteView(packet).first(static_cast<std::size_t>(n)));
    if (!segment || (segment->source != port && segment->destination != port)) continue;
    const std::lock_guard lock(mutex);
    if (segment->payload.empty()) continue;
    if (bytes + segment->payload.size() > kWiretapBytes) {
      ++dropped;
      continue;
    }
    bytes += segment->payload.size();
    segments.push_back(std::move(*segment));
  }
}

Result<std::unique_ptr<Wiretap>> Wiretap::start(std::uint16_t port) {
  auto state = std::make_unique<State>();
  state->port = port;
  state->socket = Fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL)));
  state->stop = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!state->socket) return fail(errno_error(errno, "AF_PACKET", "cannot record what crosses the loopback interface"));
  constexpr int room = 64 << 20;  // the kernel's buffer: nothing may be missed
  ::setsockopt(state->socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex("lo"));
  if (::bind(state->socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(errno_error(errno, "lo", "cannot record what crosses the loopback interface"));
  std::unique_ptr<Wiretap> out(new Wiretap(std::move(state)));
  out->state_->thread = std::thread([s = out->state_.get()] { s->record(); });
  return out;
}

Wiretap::Wiretap(std::unique_ptr<State> state) : state_(std::move(state)) {}
Wiretap::~Wiretap() {
  const std::uint64_t one = 1;
  (void)!::write(state_->stop.get(), &one, sizeof one);
  if (state_->thread.joinable()) state_->thread.join();
}

Wiretap::Recording Wiretap::recording() {
  Recording out;
  tpacket_stats statistics{};
  socklen_t size = sizeof statistics;
  (void)::getsockopt(state_->socket.get(), SOL_PACKET, PACKET_STATISTICS, &statistics, &size);
  const std::lock_guard lock(state_->mutex);
  state_->dropped += statistics.tp_drops;
  out.streams = reassemble(state_->segments);
  out.bytes = state_->bytes;
  out.dropped = state_->dropped;
  return out;
}

}  // namespace cairn::cli
