// SOCKS5 messages (RFC 1928, RFC 1929) as bytes. Pure.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"

namespace cairn::tng::socks5 {

inline constexpr std::uint8_t method_none = 0, method_password = 2, method_unacceptable = 0xFF;
enum class Reply : std::uint8_t {
  succeeded = 0,
  general_failure = 1,
  not_allowed = 2,
  host_unreachable = 4,
  refused = 5,
  command_unsupported = 7,
  address_unsupported = 8
};

// A complete message at the beginning of `bytes` and its length; nullopt: more bytes are needed.
template <class T>
struct Parsed {
  T message;
  std::size_t size;
};
struct Greeting {
  Bytes methods;
};
struct Password {
  std::string username, password;
};
struct Request {
  std::uint8_t command = 0;  // 1: CONNECT
  std::uint8_t address_type = 0;
  std::string host;  // empty for address types that do not exist
  std::uint16_t port = 0;
};
[[nodiscard]] Result<std::optional<Parsed<Greeting>>> parse_greeting(ByteView bytes);
[[nodiscard]] Result<std::optional<Parsed<Password>>> parse_password(ByteView bytes);
[[nodiscard]] Result<std::optional<Parsed<Request>>> parse_request(ByteView bytes);
[[nodiscard]] Bytes reply(Reply code);

}  // namespace cairn::tng::socks5
