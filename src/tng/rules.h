// What the configuration says about hosts and paths, compiled once: filters, rewrites, plaintext exemptions.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace re2 {
class RE2;
}

namespace cairn::tng {

// A user's regular expression (RE2: linear time, bounded memory).
class Pattern {
 public:
  [[nodiscard]] static Result<Pattern> compile(std::string_view text);
  [[nodiscard]] bool full_match(std::string_view text) const;
  [[nodiscard]] bool search(std::string_view text) const;
  // The text with $1, ${name} of a full match filled in; nullopt without a match.
  [[nodiscard]] std::optional<std::string> substitute(std::string_view text, std::string_view replacement) const;
  [[nodiscard]] const std::string& text() const;

 private:
  std::shared_ptr<const re2::RE2> regex_;
};

struct PortRange {
  std::uint16_t first = 0, last = 65535;
  [[nodiscard]] bool contains(std::uint16_t port) const { return first <= port && port <= last; }
  bool operator==(const PortRange&) const = default;
};

// An IPv4 or IPv6 network; IPv4 is kept as its mapped form so that both compare alike.
class IpNetwork {
 public:
  // "10.0.0.0/8", "fd00::/8" or a bare address. Host bits must be zero.
  [[nodiscard]] static Result<IpNetwork> parse(std::string_view text);
  [[nodiscard]] bool contains(std::string_view address) const;  // false for what is no address
  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] std::string text() const { return text_; }
  bool operator==(const IpNetwork& other) const { return address_ == other.address_ && bits_ == other.bits_; }

 private:
  std::array<std::uint8_t, 16> address_{};
  unsigned bits_ = 0;
  std::string text_;
};
[[nodiscard]] bool is_ip_literal(std::string_view host);

// One entry of dst_filters: a host by name, pattern or network, and ports.
struct HostFilter {
  // Exact, "*suffix", "prefix*" or "*"; a star elsewhere is an error.
  [[nodiscard]] static Result<void> check_domain(std::string_view domain);
  [[nodiscard]] bool matches(std::string_view host, std::uint16_t port) const;

  std::optional<std::string> domain;
  std::optional<Pattern> domain_regex;  // unanchored
  std::optional<IpNetwork> network;
  PortRange ports{80, 80};
  bool star_matches_addresses = true;  // compat 2.2.4
};

// path_rewrites: the first full match wins.
class PathRewriter {
 public:
  // `substitution` may use $1, ${name} and, as JSON texts do, \1.
  [[nodiscard]] Result<void> add(std::string_view match_regex, std::string_view substitution);
  // What no rule matches becomes "/", or stays where `keep_original`.
  [[nodiscard]] std::string rewrite(std::string_view path) const;
  bool keep_original = false;

 private:
  struct Rule {
    Pattern pattern;
    std::string replacement;
  };
  std::vector<Rule> rules_;
};

// Which requests may arrive without the tunnel (direct_forward, allow_non_tng_traffic_regexes).
class PlaintextRules {
 public:
  [[nodiscard]] Result<void> add(std::string_view regex);
  // `target`: an origin-form request target. Its path must match as a whole, both as sent (percent-decoded once) and
  // after removing dot segments; paths with encoded slashes, backslashes or control characters never match.
  [[nodiscard]] bool allows(std::string_view target) const;
  [[nodiscard]] bool empty() const { return patterns_.empty(); }
  bool anchored = true;  // false: 2.2.4's search, which lets longer paths through

 private:
  std::vector<Pattern> patterns_;
};

// RFC 3986 §5.2.4 on an absolute path.
[[nodiscard]] std::string remove_dot_segments(std::string_view path);

}  // namespace cairn::tng
