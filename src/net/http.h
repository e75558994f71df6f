// HTTP as data: heads, fields, URLs, cookies. No I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "net/limits.h"

namespace cairn::net {

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);  // ASCII

// Header fields in order; names compare without case. Holds what it is given: check input with valid().
class Headers {
 public:
  struct Field {
    std::string name, value;
    bool operator==(const Field&) const = default;
  };
  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const;  // the first
  [[nodiscard]] std::vector<std::string_view> all(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return get(name).has_value(); }
  // Is `token` in the comma-separated list(s) of that name? Without case.
  [[nodiscard]] bool has_token(std::string_view name, std::string_view token) const;
  void add(std::string name, std::string value);
  void set(std::string_view name, std::string value);  // replaces all of that name
  void remove(std::string_view name);
  // Removes Connection, the fields it names, and the other hop-by-hop fields (RFC 9110 §7.6.1).
  void remove_hop_by_hop();
  [[nodiscard]] std::size_t size() const { return fields_.size(); }
  [[nodiscard]] bool empty() const { return fields_.empty(); }
  [[nodiscard]] auto begin() const { return fields_.begin(); }
  [[nodiscard]] auto end() const { return fields_.end(); }
  bool operator==(const Headers&) const = default;

 private:
  std::vector<Field> fields_;
};
[[nodiscard]] bool valid_field_name(std::string_view name);    // RFC 9110 token
[[nodiscard]] bool valid_field_value(std::string_view value);  // visible, SP, HTAB, obs-text; no CR LF NUL

// An absolute http(s) URL, or a unix socket target "http+unix://%2Frun%2Fx.sock/path".
struct Url {
  std::string scheme;  // lower case
  std::string host;    // without brackets, lower case; the socket path for http+unix
  std::uint16_t port = 0;
  std::string target = "/";  // path and query as they go on the wire; never a fragment

  // malformed on user information, control characters, spaces, bad ports, unknown schemes, more than limits::kUrl.
  [[nodiscard]] static Result<Url> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string authority() const;  // host[:port] with brackets, without the scheme's default port
  [[nodiscard]] bool secure() const { return scheme == "https"; }
  // The same URL with `suffix` appended to its path ("/" between them exactly once); a query of the base is dropped.
  [[nodiscard]] Url under(std::string_view suffix) const;
  bool operator==(const Url&) const = default;
};
// "host", "host:port", "[::1]:port" -> host and port (default_port when absent).
[[nodiscard]] Result<std::pair<std::string, std::uint16_t>> parse_authority(std::string_view text,
                                                                            std::uint16_t default_port);
// Decoded once, "." and ".." segments resolved; malformed on bad escapes, NUL, or ".." above the root.
[[nodiscard]] Result<std::string> normalised_path(std::string_view raw_path);
// "a=1&b=x%20y" -> decoded pairs ('+' is a space).
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view query);

enum class HttpVersion { http1_0, http1_1, http2 };

struct RequestHead {
  std::string method = {};
  std::string scheme = {};     // "http", "https"
  std::string authority = {};  // of an absolute target, of CONNECT, :authority, or Host
  std::string target = {};     // origin form "/path?query", "*", or empty for CONNECT
  bool absolute_form = false;  // an HTTP/1 proxy request; `target` is already the origin form
  HttpVersion version = HttpVersion::http1_1;
  Headers headers = {};  // Host is kept as received

  [[nodiscard]] std::string_view path() const;   // raw, before '?'
  [[nodiscard]] std::string_view query() const;  // raw, after '?'
  // Decoded value of a query parameter, the first of that name.
  [[nodiscard]] std::optional<std::string> parameter(std::string_view name) const;
  [[nodiscard]] std::optional<std::string> cookie(std::string_view name) const;
};

struct ResponseHead {
  int status = 200;
  Headers headers = {};
};

struct Response {
  int status = 200;
  Headers headers = {};
  std::string body = {};

  [[nodiscard]] static Response text(int status, std::string body);  // text/plain; charset=utf-8
  [[nodiscard]] static Response json(int status, std::string body);  // application/json
  [[nodiscard]] static Response empty(int status) { return {status, {}, {}}; }
};

[[nodiscard]] std::string_view status_text(int status);  // "Not Found"; "Unknown" where there is none
// The HTTP status that tells a client about an error: malformed 400, not_found 404, too_large 413, ...
[[nodiscard]] int status_for(ErrorCode code);
[[nodiscard]] std::string http_date(Time t);                        // IMF-fixdate
[[nodiscard]] Result<Time> parse_http_date(std::string_view text);  // IMF-fixdate only

// RFC 6265, as much as talking to one service needs: Domain host-only, Path, Expires, Max-Age, Secure.
class CookieJar {
 public:
  void store(const Url& origin, const Headers& response, Time now);
  [[nodiscard]] std::string header(const Url& target, Time now) const;  // value of Cookie; empty: none
  void clear() { cookies_.clear(); }
  [[nodiscard]] std::size_t size() const { return cookies_.size(); }

 private:
  struct Cookie {
    std::string name, value, host, path;
    bool secure = false;
    std::optional<Time> expires;
  };
  std::vector<Cookie> cookies_;
};

// ASCII letters to lower case, the rest as it is.
[[nodiscard]] std::string lowered(std::string_view text);

}  // namespace cairn::net
