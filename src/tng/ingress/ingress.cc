#include "tng/ingress/ingress.h"

#include <algorithm>

#include "base/log.h"
#include "net/http.h"
#include "tng/http_forward.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

TunnelOptions tunnel_options(const Ingress& config, std::uint32_t mark) {
  TunnelOptions out;
  out.encap = config.encap_in_http.has_value();
  out.multiplex = config.multiplex || out.encap;
  out.mark = mark;
  if (config.ra.verify) out.max_session_age = config.ra.verify->max_session_age;
  return out;
}

std::uint32_t mark_of(const Ingress& config) {
  const auto* netfilter = std::get_if<NetfilterIngress>(&config.mode);
  return netfilter != nullptr ? netfilter->so_mark : 0;
}

// What has arrived of the head of an HTTP/1 request, put back in front of the stream.
net::Task<std::optional<HeadGlimpse>> look_at_head(net::StreamPtr& stream) {
  Bytes seen;
  std::optional<HeadGlimpse> out;
  stream->set_deadline(limits::head);
  while (!out && seen.size() < limits::http_head) {
    std::array<std::uint8_t, 4096> buffer;
    auto n = co_await stream->read_some(buffer);
    if (!n) co_return fail(std::move(n).error());
    if (*n == 0) break;
    append(seen, ByteView(buffer).first(*n));
    out = glimpse_http1(as_text(seen));
    if (!out && as_text(seen).find("\r\n\r\n") != std::string_view::npos) break;
    if (!std::isupper(seen[0])) break;
  }
  stream->set_deadline(std::nullopt);
  stream = net::with_prefix(std::move(seen), std::move(stream));
  co_return out;
}

}  // namespace

Route route(const std::vector<HostFilter>& filters, bool unmatched_direct, const net::Endpoint& to) {
  if (filters.empty() || std::ranges::any_of(filters, [&](const HostFilter& f) { return f.matches(to.host, to.port); }))
    return Route::tunnel;
  return unmatched_direct ? Route::direct : Route::refuse;
}

std::optional<HeadGlimpse> glimpse_http1(std::string_view bytes) {
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view line = bytes.substr(0, bytes.find("\r\n"));
  const std::size_t a = line.find(' '), b = line.rfind(' ');
  if (a == std::string_view::npos || b <= a || !line.substr(b + 1).starts_with("HTTP/1.")) return std::nullopt;
  HeadGlimpse out;
  std::string_view target = line.substr(a + 1, b - a - 1);
  if (const std::size_t scheme = target.find("://"); scheme != std::string_view::npos && !target.starts_with('/')) {
    target.remove_prefix(scheme + 3);
    const std::size_t slash = std::min(target.find('/'), target.size());
    out.authority = target.substr(0, slash);
    target.remove_prefix(slash);
  }
  out.path = target.substr(0, target.find('?'));
  if (out.path.empty()) out.path = "/";
  for (std::size_t at = line.size() + 2; out.authority.empty() && at < end;) {
    const std::size_t stop = bytes.find("\r\n", at);
    const std::string_view field = bytes.substr(at, stop - at);
    const std::size_t colon = field.find(':');
    if (colon != std::string_view::npos && net::equal_ignoring_case(field.substr(0, colon), "host")) {
      std::string_view value = field.substr(colon + 1);
      while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
      while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
      out.authority = value;
    }
    at = stop + 2;
  }
  if (out.authority.empty() || !net::parse_authority(out.authority, 80)) return std::nullopt;
  return out;
}

IngressShard::IngressShard(net::Executor loop, const Ingress& config, std::shared_ptr<Security> security,
                           BlockStatusPtr status)
    : config_(&config),
      status_(status),
      pool_(std::move(loop), tunnel_options(config, mark_of(config)), std::move(security), std::move(status)),
      mark_(mark_of(config)) {}

net::Task<net::StreamPtr> IngressShard::tunnel(net::Endpoint to, std::string authority, std::string_view path) {
  Destination destination{std::move(to), {}, "/"};
  if (config_->encap_in_http) {  // otherwise they appear nowhere, and must not divide the sessions
    destination.authority = authority.empty() ? destination.to.text() : std::move(authority);
    destination.path = wrapping_path(path);
  }
  return pool_.open(std::move(destination));
}

std::string IngressShard::wrapping_path(std::string_view path) const {
  return config_->encap_in_http ? config_->encap_in_http->path_rewrites.rewrite(path) : "/";
}

net::Task<net::StreamPtr> IngressShard::plain(net::Endpoint to) {
  const std::string name = to.text();
  if (warned_.size() < 1000 && !std::ranges::contains(warned_, name)) {
    warned_.push_back(name);
    spdlog::warn("{}: {} matches no dst_filters entry and is reached in plaintext", status_->name(), printable(name));
  }
  return net::connect(std::move(to), {.timeout = limits::connect, .mark = mark_});
}

net::Task<net::StreamPtr> IngressShard::open(Route how, net::Endpoint to, std::string authority,
                                             std::string_view path) {
  switch (how) {
    case Route::tunnel: co_return co_await tunnel(std::move(to), std::move(authority), path);
    case Route::direct: co_return co_await plain(std::move(to));
    case Route::refuse: break;
  }
  co_return fail(ErrorCode::permission_denied,
                 to.text() + " matches no dst_filters entry, and \"unmatched\" is \"reject\"");
}

net::Task<> IngressShard::carry(net::StreamPtr downstream, Route how, net::Endpoint to) {
  std::optional<HeadGlimpse> glimpse;
  if (how == Route::tunnel && config_->encap_in_http) {
    CAIRN_CO_TRY(glimpse, co_await look_at_head(downstream));
  }
  const HeadGlimpse seen = glimpse.value_or(HeadGlimpse{to.text(), "/"});
  CAIRN_CO_TRY(auto upstream, co_await open(how, std::move(to), seen.authority, seen.path));
  const Busy busy(*status_);
  co_return co_await counted_relay(*downstream, *upstream, *status_);
}

net::Task<> serve_mapping(IngressShard& shard, net::StreamPtr stream) {
  const auto& out = std::get<MappingIngress>(shard.config().mode).out;
  co_return co_await shard.carry(std::move(stream), Route::tunnel, net::Endpoint::tcp(out.host, out.port));
}

}  // namespace cairn::tng
