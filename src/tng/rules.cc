#include "tng/rules.h"

#include <arpa/inet.h>
#include <re2/re2.h>

#include <algorithm>
#include <charconv>

#include "base/encoding.h"
#include "base/log.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

// Sixteen bytes, IPv4 mapped.
std::optional<std::array<std::uint8_t, 16>> address_bytes(std::string_view text) {
  std::array<std::uint8_t, 16> out{};
  const std::string copy(text);
  if (copy.size() != text.find('\0') && text.find('\0') != std::string_view::npos) return std::nullopt;
  if (inet_pton(AF_INET, copy.c_str(), out.data() + 12) == 1) {
    out[10] = out[11] = 0xFF;
    return out;
  }
  if (inet_pton(AF_INET6, copy.c_str(), out.data()) == 1) return out;
  return std::nullopt;
}

bool prefix_equal(const std::array<std::uint8_t, 16>& a, const std::array<std::uint8_t, 16>& b, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xFF00U >> (bits % 8));
  return (a[whole] & mask) == (b[whole] & mask);
}

// "\1" of a decoded JSON string becomes "${1}"; a doubled backslash is left alone.
std::string backslash_groups(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      const char next = text[i + 1];
      if (next >= '0' && next <= '9') {
        out += std::string("${") + next + "}";
        ++i;
        continue;
      }
      if (next == '\\') {
        out += "\\\\";
        ++i;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

// The group that "$name", "${name}" or "$1" at `at` refers to, and where the reference ends.
std::pair<std::string_view, std::size_t> group_reference(std::string_view text, std::size_t at) {
  std::size_t begin = at + 1, end = begin;
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  if (begin < text.size() && text[begin] == '{') {
    end = text.find('}', begin);
    if (end == std::string_view::npos) return {{}, at};
    return {text.substr(begin + 1, end - begin - 1), end + 1};
  }
  while (end < text.size() && word(text[end])) ++end;
  return {text.substr(begin, end - begin), end};
}

}  // namespace

Result<Pattern> Pattern::compile(std::string_view text) {
  if (text.size() > limits::regex)
    return fail(ErrorCode::too_large, "a pattern is longer than " + std::to_string(limits::regex) + " bytes");
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(static_cast<std::int64_t>(limits::regex_memory));
  auto regex = std::make_shared<const re2::RE2>(std::string(text), options);
  if (!regex->ok()) return fail(ErrorCode::malformed, "not a valid regular expression: " + regex->error());
  Pattern out;
  out.regex_ = std::move(regex);
  return out;
}
bool Pattern::full_match(std::string_view text) const {
  return re2::RE2::FullMatch({text.data(), text.size()}, *regex_);
}
bool Pattern::search(std::string_view text) const {
  return re2::RE2::PartialMatch({text.data(), text.size()}, *regex_);
}
const std::string& Pattern::text() const { return regex_->pattern(); }

std::optional<std::string> Pattern::substitute(std::string_view text, std::string_view replacement) const {
  std::vector<absl::string_view> groups(static_cast<std::size_t>(regex_->NumberOfCapturingGroups()) + 1);
  if (!regex_->Match({text.data(), text.size()}, 0, text.size(), re2::RE2::ANCHOR_BOTH, groups.data(),
                     static_cast<int>(groups.size())))
    return std::nullopt;
  const auto group = [&](std::string_view name) -> std::string_view {
    std::size_t index = groups.size();
    if (const auto r = std::from_chars(name.data(), name.data() + name.size(), index);
        r.ec != std::errc{} || r.ptr != name.data() + name.size()) {
      const auto& named = regex_->NamedCapturingGroups();
      const auto it = named.find(std::string(name));
      index = it == named.end() ? groups.size() : static_cast<std::size_t>(it->second);
    }
    return index < groups.size() && groups[index].data() != nullptr
               ? std::string_view(groups[index].data(), groups[index].size())
               : std::string_view{};
  };
  std::string out;
  for (std::size_t i = 0; i < replacement.size();) {
    if (replacement[i] != '$') {
      out.push_back(replacement[i++]);
    } else if (i + 1 < replacement.size() && replacement[i + 1] == '$') {
      out.push_back('$');
      i += 2;
    } else {
      const auto [name, end] = group_reference(replacement, i);
      if (name.empty()) {
        out.push_back(replacement[i++]);
      } else {
        out += group(name);
        i = end;
      }
    }
  }
  return out;
}

Result<IpNetwork> IpNetwork::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = address_bytes(text.substr(0, slash));
  if (!address) return fail(ErrorCode::malformed, "\"" + printable(text) + "\" is not an IP address or network");
  IpNetwork out;
  out.address_ = *address;
  const bool v4 = text.substr(0, slash).find(':') == std::string_view::npos;
  const unsigned width = v4 ? 32 : 128;
  unsigned bits = width;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto r = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (r.ec != std::errc{} || r.ptr != digits.data() + digits.size() || bits > width)
      return fail(ErrorCode::malformed, "\"" + printable(text) + "\" has no valid prefix length");
  }
  out.bits_ = bits + (v4 ? 96 : 0);
  std::array<std::uint8_t, 16> network = out.address_;
  for (unsigned bit = out.bits_; bit < 128; ++bit) network[bit / 8] &= static_cast<std::uint8_t>(~(0x80U >> (bit % 8)));
  if (network != out.address_)
    return fail(ErrorCode::malformed, "\"" + printable(text) + "\" has host bits set; write the network's own address");
  out.text_ = std::string(text);
  return out;
}

bool IpNetwork::contains(std::string_view address) const {
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  const auto bytes = address_bytes(address);
  return bytes && prefix_equal(*bytes, address_, bits_);
}
bool IpNetwork::is_v4() const { return text_.find(':') == std::string::npos; }

bool is_ip_literal(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return address_bytes(host).has_value();
}

Result<void> HostFilter::check_domain(std::string_view domain) {
  const std::size_t star = domain.find('*');
  if (star == std::string_view::npos || domain == "*") return {};
  if (domain.find('*', star + 1) != std::string_view::npos || (star != 0 && star + 1 != domain.size()))
    return fail(ErrorCode::malformed, "a star may only stand at the beginning or the end of a domain");
  return {};
}

bool HostFilter::matches(std::string_view host, std::uint16_t port) const {
  if (!ports.contains(port)) return false;
  if (network && !network->contains(host)) return false;
  if (domain_regex && !domain_regex->search(host)) return false;
  if (!domain) return true;
  const std::string_view d = *domain;
  if (d == "*") return star_matches_addresses || !is_ip_literal(host);
  if (d.starts_with('*')) return host.ends_with(d.substr(1));
  if (d.ends_with('*')) return host.starts_with(d.substr(0, d.size() - 1));
  return host == d;
}

Result<void> PathRewriter::add(std::string_view match_regex, std::string_view substitution) {
  CAIRN_TRY(Pattern pattern, Pattern::compile(match_regex));
  rules_.push_back({std::move(pattern), backslash_groups(substitution)});
  return {};
}

std::string PathRewriter::rewrite(std::string_view path) const {
  for (const auto& rule : rules_)
    if (auto out = rule.pattern.substitute(path, rule.replacement)) return out->starts_with('/') ? *out : "/" + *out;
  return keep_original ? std::string(path) : "/";
}

std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  bool slash_at_end = false;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view segment = path.substr(at, end - at);
    slash_at_end = false;
    if (segment == "..") {
      if (!kept.empty()) kept.pop_back();
      slash_at_end = true;
    } else if (segment == ".") {
      slash_at_end = true;
    } else {
      kept.push_back(segment);
    }
    at = end + 1;
  }
  std::string out;
  for (const auto segment : kept) out.append("/").append(segment);
  if (slash_at_end || out.empty()) out += "/";
  return out;
}

Result<void> PlaintextRules::add(std::string_view regex) {
  CAIRN_TRY(Pattern pattern, Pattern::compile(regex));
  patterns_.push_back(std::move(pattern));
  return {};
}

bool PlaintextRules::allows(std::string_view target) const {
  const std::string_view raw = target.substr(0, target.find('?'));
  if (!raw.starts_with('/') || raw.find('#') != std::string_view::npos) return false;
  const auto decoded = percent_decode(raw);
  if (!decoded || !is_utf8(*decoded)) return false;
  // A slash that only decoding reveals splits the path for some servers and not for others.
  if (std::ranges::count(*decoded, '/') != std::ranges::count(raw, '/')) return false;
  if (std::ranges::any_of(*decoded,
                          [](char c) { return c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }))
    return false;
  const std::string normal = remove_dot_segments(*decoded);
  return std::ranges::any_of(patterns_, [&](const Pattern& p) {
    return anchored ? p.full_match(*decoded) && p.full_match(normal) : p.search(*decoded) && p.search(normal);
  });
}

}  // namespace cairn::tng
