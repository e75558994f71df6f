#include "tng/ingress/socks5_wire.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/cursor.h"

namespace cairn::tng::socks5 {
namespace {

constexpr std::uint8_t version = 5, password_version = 1;
constexpr std::uint8_t ipv4 = 1, domain = 3, ipv6 = 4;

std::string address_text(int family, ByteView bytes) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(family, bytes.data(), text, sizeof text);
  return text;
}

// Names are sent on as they are: only what a host name or address consists of.
bool plausible_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_' || c == ':';
  });
}

}  // namespace

Result<std::optional<Parsed<Greeting>>> parse_greeting(ByteView bytes) {
  if (!bytes.empty() && bytes[0] != version)
    return fail(ErrorCode::malformed, "not SOCKS5 (version " + std::to_string(bytes[0]) + ")");
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t n = bytes[1];
  if (n == 0) return fail(ErrorCode::malformed, "the SOCKS5 client offers no authentication method");
  if (bytes.size() < 2 + n) return std::nullopt;
  return Parsed<Greeting>{{to_bytes(bytes.subspan(2, n))}, 2 + n};
}

Result<std::optional<Parsed<Password>>> parse_password(ByteView bytes) {
  if (!bytes.empty() && bytes[0] != password_version)
    return fail(ErrorCode::malformed, "unknown SOCKS5 password version");
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t user = bytes[1];
  if (bytes.size() < 3 + user) return std::nullopt;
  const std::size_t pass = bytes[2 + user];
  if (bytes.size() < 3 + user + pass) return std::nullopt;
  return Parsed<Password>{
      {std::string(as_text(bytes.subspan(2, user))), std::string(as_text(bytes.subspan(3 + user, pass)))},
      3 + user + pass};
}

Result<std::optional<Parsed<Request>>> parse_request(ByteView bytes) {
  if (!bytes.empty() && bytes[0] != version) return fail(ErrorCode::malformed, "not a SOCKS5 request");
  if (bytes.size() < 5) return std::nullopt;
  Request out;
  out.command = bytes[1];
  if (bytes[2] != 0) return fail(ErrorCode::malformed, "the reserved byte of a SOCKS5 request is not 0");
  out.address_type = bytes[3];
  const std::size_t length = out.address_type == ipv4     ? 4
                             : out.address_type == ipv6   ? 16
                             : out.address_type == domain ? bytes[4]
                                                          : 0;
  const std::size_t begin = out.address_type == domain ? 5 : 4;
  if (length == 0) {
    if (out.address_type == domain) return fail(ErrorCode::malformed, "the SOCKS5 request names an empty host");
    return Parsed<Request>{std::move(out), bytes.size()};
  }
  if (bytes.size() < begin + length + 2) return std::nullopt;
  const ByteView address = bytes.subspan(begin, length);
  out.host = out.address_type == domain ? std::string(as_text(address))
                                        : address_text(out.address_type == ipv4 ? AF_INET : AF_INET6, address);
  if (!plausible_host(out.host)) return fail(ErrorCode::malformed, "the SOCKS5 request names no valid host");
  CAIRN_TRY(out.port, Reader(bytes.subspan(begin + length, 2)).u16be());
  return Parsed<Request>{std::move(out), begin + length + 2};
}

Bytes reply(Reply code) { return {version, static_cast<std::uint8_t>(code), 0, ipv4, 0, 0, 0, 0, 0, 0}; }

}  // namespace cairn::tng::socks5
