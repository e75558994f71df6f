#include "net/http.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "base/encoding.h"

namespace cairn::net {

namespace {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Calls f(part) for every part of a list; stops when f returns true.
template <class F>
bool any_part(std::string_view list, char separator, F&& f) {
  for (;;) {
    const auto cut = list.find(separator);
    if (f(trimmed(list.substr(0, cut)))) return true;
    if (cut == std::string_view::npos) return false;
    list.remove_prefix(cut + 1);
  }
}

constexpr auto kTokenChars = [] {
  std::array<bool, 256> out{};
  for (unsigned c = '0'; c <= '9'; ++c) out[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) out[c] = out[c - 'a' + 'A'] = true;
  for (const char c : {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'})
    out[static_cast<unsigned char>(c)] = true;
  return out;
}();

template <class Int>
std::optional<Int> number(std::string_view text) {
  Int value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Characters a URL may hold as it is written: visible ASCII without those that RFC 3986 excludes everywhere.
bool is_url_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '\\' && c != '^' && c != '`' && c != '{' &&
           c != '|' && c != '}';
  });
}

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '.' || c == '_' ||
           c == '~';
  });
}
bool is_v6(std::string_view host) {
  return host.find(':') != std::string_view::npos && std::ranges::all_of(host, [](char c) {
           return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f') || c == ':' || c == '.';
         });
}

}  // namespace

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool valid_field_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return kTokenChars[static_cast<unsigned char>(c)]; });
}

bool valid_field_value(std::string_view value) {
  return std::ranges::all_of(value, [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= ' ' && u != 0x7f);
  });
}

// ---- Headers

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const Field& f : fields_)
    if (equal_ignoring_case(f.name, name)) return f.value;
  return std::nullopt;
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const Field& f : fields_)
    if (equal_ignoring_case(f.name, name)) out.emplace_back(f.value);
  return out;
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  return std::ranges::any_of(fields_, [&](const Field& f) {
    return equal_ignoring_case(f.name, name) &&
           any_part(f.value, ',', [&](std::string_view part) { return equal_ignoring_case(part, token); });
  });
}

void Headers::add(std::string name, std::string value) { fields_.push_back({std::move(name), std::move(value)}); }

void Headers::set(std::string_view name, std::string value) {
  const auto at = std::ranges::find_if(fields_, [&](const Field& f) { return equal_ignoring_case(f.name, name); });
  if (at == fields_.end()) return add(std::string(name), std::move(value));
  at->value = std::move(value);
  fields_.erase(
      std::remove_if(at + 1, fields_.end(), [&](const Field& f) { return equal_ignoring_case(f.name, name); }),
      fields_.end());
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [&](const Field& f) { return equal_ignoring_case(f.name, name); });
}

void Headers::remove_hop_by_hop() {
  std::vector<std::string> names = {"connection", "keep-alive",        "proxy-connection",   "te",
                                    "trailer",    "transfer-encoding", "proxy-authenticate", "proxy-authorization",
                                    "upgrade"};
  for (const std::string_view list : all("connection"))
    any_part(list, ',', [&](std::string_view part) {
      names.emplace_back(part);
      return false;
    });
  std::erase_if(fields_, [&](const Field& f) {
    return std::ranges::any_of(names, [&](const std::string& n) { return equal_ignoring_case(n, f.name); });
  });
}

// ---- URLs

Result<std::pair<std::string, std::uint16_t>> parse_authority(std::string_view text, std::uint16_t default_port) {
  const auto bad = [&] {
    return fail(ErrorCode::malformed, std::string(text.substr(0, 256)), "expected host or host:port");
  };
  std::string_view host = text, port;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return bad();
    host = text.substr(1, close - 1);
    const auto rest = text.substr(close + 1);
    if (!is_v6(host) || (!rest.empty() && rest[0] != ':')) return bad();
    if (!rest.empty()) port = rest.substr(1);
    if (!rest.empty() && port.empty()) return bad();
  } else {
    if (const auto colon = text.find(':'); colon != std::string_view::npos) {
      host = text.substr(0, colon);
      port = text.substr(colon + 1);
      if (port.empty()) return bad();
    }
    if (!is_host(host)) return bad();
  }
  std::uint16_t value = default_port;
  if (!port.empty()) {
    const auto parsed = number<std::uint16_t>(port);
    if (!parsed) return bad();
    value = *parsed;
  }
  return std::pair(lowered(host), value);
}

Result<Url> Url::parse(std::string_view text) {
  const auto bad = [&](const char* why) { return fail(ErrorCode::malformed, std::string(text.substr(0, 256)), why); };
  if (text.size() > limits::kUrl) return fail(ErrorCode::too_large, "the URL is longer than 16 KiB");
  if (!is_url_text(text)) return bad("the URL has characters that must be percent-encoded");
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return bad("the URL needs a scheme: http://, https:// or http+unix://");
  Url url;
  url.scheme = lowered(text.substr(0, colon));
  std::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find('#'));
  const auto cut = rest.find_first_of("/?");
  const std::string_view authority = rest.substr(0, cut);
  if (cut != std::string_view::npos) url.target = (rest[cut] == '?' ? "/" : "") + std::string(rest.substr(cut));
  if (authority.find('@') != std::string_view::npos) return bad("user names and passwords in URLs are not accepted");
  if (url.scheme == "http+unix") {
    CAIRN_TRY(url.host, percent_decode(authority));
    if (!url.host.starts_with('/') || url.host.find('\0') != std::string::npos)
      return bad("http+unix:// needs the percent-encoded absolute path of a socket as its host");
    return url;
  }
  if (url.scheme != "http" && url.scheme != "https") return bad("the scheme must be http, https or http+unix");
  CAIRN_TRY(auto parsed, parse_authority(authority, url.scheme == "https" ? 443 : 80));
  std::tie(url.host, url.port) = std::move(parsed);
  if (url.port == 0) return bad("port 0 cannot be connected to");
  return url;
}

std::string Url::authority() const {
  if (scheme == "http+unix") return "localhost";
  const std::string name = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return port == (secure() ? 443 : 80) ? name : name + ":" + std::to_string(port);
}

std::string Url::text() const {
  return scheme + "://" + (scheme == "http+unix" ? percent_encode(host) : authority()) + target;
}

Url Url::under(std::string_view suffix) const {
  Url out = *this;
  out.target = target.substr(0, target.find('?'));
  while (out.target.ends_with('/')) out.target.pop_back();
  while (suffix.starts_with('/')) suffix.remove_prefix(1);
  out.target += '/';
  out.target += suffix;
  return out;
}

Result<std::string> normalised_path(std::string_view raw_path) {
  CAIRN_TRY(const std::string path, percent_decode(raw_path));
  if (!path.starts_with('/') || path.find('\0') != std::string::npos)
    return fail(ErrorCode::malformed, "path", "a path begins with / and holds no NUL");
  std::vector<std::string_view> segments;
  std::string_view rest = std::string_view(path).substr(1);
  bool climbed = false, folder = false;
  for (;;) {
    const auto cut = rest.find('/');
    const std::string_view segment = rest.substr(0, cut);
    folder = segment.empty() || segment == "." || segment == "..";
    if (segment == "..") {
      if (segments.empty())
        climbed = true;
      else
        segments.pop_back();
    } else if (segment != "." && (!segment.empty() || cut != std::string_view::npos)) {
      segments.push_back(segment);
    }
    if (cut == std::string_view::npos) break;
    rest.remove_prefix(cut + 1);
  }
  if (climbed) return fail(ErrorCode::malformed, "path", "the path climbs above the root");
  std::string out;
  for (const auto segment : segments) (out += '/') += segment;
  if (folder || out.empty()) out += '/';
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  Error error{ErrorCode::malformed, {}, {}};
  const auto decode = [&](std::string_view text, std::string& to) {
    std::string plain(text);
    std::ranges::replace(plain, '+', ' ');
    auto decoded = percent_decode(plain);
    if (!decoded) {
      error = std::move(decoded).error();
      return false;
    }
    to = *std::move(decoded);
    return true;
  };
  const bool failed = any_part(query, '&', [&](std::string_view part) {
    if (part.empty()) return false;
    const auto equals = part.find('=');
    auto& [key, value] = out.emplace_back();
    return !decode(part.substr(0, equals), key) ||
           (equals != std::string_view::npos && !decode(part.substr(equals + 1), value));
  });
  if (failed) return fail(std::move(error));
  return out;
}

// ---- heads

std::string_view RequestHead::path() const { return std::string_view(target).substr(0, target.find('?')); }

std::string_view RequestHead::query() const {
  const auto at = target.find('?');
  return at == std::string::npos ? std::string_view{} : std::string_view(target).substr(at + 1);
}

std::optional<std::string> RequestHead::parameter(std::string_view name) const {
  auto pairs = parse_query(query());
  if (!pairs) return std::nullopt;
  for (auto& [key, value] : *pairs)
    if (key == name) return std::move(value);
  return std::nullopt;
}

std::optional<std::string> RequestHead::cookie(std::string_view name) const {
  std::optional<std::string> out;
  for (const std::string_view line : headers.all("cookie")) {
    const bool found = any_part(line, ';', [&](std::string_view pair) {
      const auto equals = pair.find('=');
      if (equals == std::string_view::npos || pair.substr(0, equals) != name) return false;
      out = std::string(pair.substr(equals + 1));
      return true;
    });
    if (found) break;
  }
  return out;
}

Response Response::text(int status, std::string body) {
  return {status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body)};
}
Response Response::json(int status, std::string body) {
  return {status, {{"Content-Type", "application/json"}}, std::move(body)};
}

std::string_view status_text(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 418: return "I'm a teapot";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 508: return "Loop Detected";
    case 511: return "Network Authentication Required";
    default: return "Unknown";
  }
}

int status_for(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::malformed: return 400;
    case ErrorCode::unauthenticated: return 401;
    case ErrorCode::permission_denied:
    case ErrorCode::evidence_rejected: return 403;
    case ErrorCode::not_found: return 404;
    case ErrorCode::already_exists:
    case ErrorCode::conflict: return 409;
    case ErrorCode::too_large: return 413;
    case ErrorCode::unsupported: return 501;
    case ErrorCode::unavailable: return 503;
    case ErrorCode::timed_out: return 504;
    case ErrorCode::crypto_failed:
    case ErrorCode::io_failed:
    case ErrorCode::cancelled:
    case ErrorCode::internal: return 500;
  }
  return 500;
}

// ---- dates

namespace {
constexpr std::array<std::string_view, 7> kDays = {"Thu", "Fri", "Sat", "Sun",
                                                   "Mon", "Tue", "Wed"};  // the epoch's first
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
}  // namespace

std::string http_date(Time t) {
  const std::string iso = rfc3339(t);  // 2026-01-31T12:00:00Z
  if (iso.size() != 20) return {};
  const auto day = static_cast<std::size_t>(((t.seconds / 86400) % 7 + 7) % 7);
  const auto month = static_cast<std::size_t>((iso[5] - '0') * 10 + iso[6] - '0' - 1);
  std::string out(kDays[day]);
  out.append(", ").append(iso, 8, 2).append(" ").append(kMonths[month]).append(" ").append(iso, 0, 4).append(" ");
  return out.append(iso, 11, 8).append(" GMT");
}

Result<Time> parse_http_date(std::string_view text) {
  const auto bad = [&] { return fail(ErrorCode::malformed, std::string(text.substr(0, 64)), "not an HTTP date"); };
  if (text.size() != 29 || text.substr(3, 2) != ", " || !text.ends_with(" GMT")) return bad();
  const auto month = std::ranges::find(kMonths, text.substr(8, 3));
  const auto day = number<unsigned>(text.substr(5, 2)), year = number<unsigned>(text.substr(12, 4));
  if (month == kMonths.end() || !day || !year || text[7] != ' ' || text[11] != ' ' || text[16] != ' ') return bad();
  std::array<char, 32> iso{};
  std::snprintf(iso.data(), iso.size(), "%04u-%02u-%02uT%.8sZ", *year,
                static_cast<unsigned>(month - kMonths.begin() + 1), *day, std::string(text.substr(17, 8)).c_str());
  auto time = parse_rfc3339(iso.data());
  return time && http_date(*time) == text ? time : bad();
}

// ---- cookies

void CookieJar::store(const Url& origin, const Headers& response, Time now) {
  for (const std::string_view line : response.all("set-cookie")) {
    Cookie cookie;
    cookie.host = origin.host;
    const std::string_view path = std::string_view(origin.target).substr(0, origin.target.find('?'));
    cookie.path = std::string(path.substr(0, std::max<std::size_t>(1, path.rfind('/'))));
    bool first = true, usable = true, has_max_age = false;
    any_part(line, ';', [&](std::string_view part) {
      const auto equals = part.find('=');
      const std::string_view key = trimmed(part.substr(0, equals));
      const std::string_view value =
          equals == std::string_view::npos ? std::string_view{} : trimmed(part.substr(equals + 1));
      if (std::exchange(first, false)) {
        usable = equals != std::string_view::npos && valid_field_name(key);
        cookie.name = key;
        cookie.value = value;
      } else if (equal_ignoring_case(key, "path") && value.starts_with('/')) {
        cookie.path = value;
      } else if (equal_ignoring_case(key, "secure")) {
        cookie.secure = true;
      } else if (equal_ignoring_case(key, "max-age")) {
        if (const auto seconds = number<std::int64_t>(value)) {
          has_max_age = true;
          cookie.expires = now.plus(std::clamp<std::int64_t>(*seconds, 0, std::int64_t{1} << 32));
        }
      } else if (equal_ignoring_case(key, "expires") && !has_max_age) {
        if (const auto time = parse_http_date(value)) cookie.expires = *time;
      } else if (equal_ignoring_case(key, "domain")) {
        std::string_view domain = value;
        if (domain.starts_with('.')) domain.remove_prefix(1);
        if (!equal_ignoring_case(domain, origin.host)) usable = false;  // host-only cookies is all we keep
      }
      return false;
    });
    if (!usable || (cookie.secure && !origin.secure())) continue;
    std::erase_if(cookies_, [&](const Cookie& c) {
      return c.name == cookie.name && c.host == cookie.host && c.path == cookie.path;
    });
    if (cookie.expires && *cookie.expires <= now) continue;
    if (cookies_.size() >= limits::kCookies) cookies_.erase(cookies_.begin());
    cookies_.push_back(std::move(cookie));
  }
}

std::string CookieJar::header(const Url& target, Time now) const {
  const std::string_view path = std::string_view(target.target).substr(0, target.target.find('?'));
  std::string out;
  for (const Cookie& c : cookies_) {
    const bool below =
        path == c.path || (path.starts_with(c.path) && (c.path.ends_with('/') || path[c.path.size()] == '/'));
    if (c.host != target.host || !below || (c.secure && !target.secure()) || (c.expires && *c.expires <= now)) continue;
    if (!out.empty()) out += "; ";
    out += c.name + "=" + c.value;
  }
  return out;
}

}  // namespace cairn::net
