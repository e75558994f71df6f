#include "base/log.h"
#include "tng/config_loader.h"
#include "tng/limits.h"

namespace cairn::tng {

std::string ConfigLoader::only_mode(Fields& entry, const std::vector<std::string>& known,
                                    const std::vector<std::string>& refused) {
  std::vector<std::string> present;
  for (const auto& mode : known)
    if (entry.has(mode)) present.push_back(mode);
  bool any_refused = false;
  for (const auto& mode : refused)
    if (entry.has(mode)) {
      refuse(entry, mode, "this mode is not supported");
      any_refused = true;
    }
  if (present.size() == 1 && !any_refused) return present.front();
  if (present.size() > 1) entry.problem("", "has more than one of its modes: " + present[0] + ", " + present[1]);
  if (present.empty() && !any_refused) {
    std::string names;
    for (const auto& mode : known) names += (names.empty() ? "" : ", ") + mode;
    entry.problem("", "needs one of " + names);
  }
  return {};
}

void ConfigLoader::ingress(Fields& entry) {
  Ingress out;
  const auto mode = only_mode(entry, {"mapping", "http_proxy", "socks5", "netfilter"}, {"hook", "mapping_udp"});
  if (mode == "mapping") out.mode = mapping(entry.object(mode));
  if (mode == "http_proxy") out.mode = http_proxy(entry.object(mode));
  if (mode == "socks5") out.mode = socks5(entry.object(mode));
  if (mode == "netfilter") out.mode = ingress_netfilter(entry.object(mode));
  out.encap_in_http = encap(entry);
  out.multiplex = config_.compat == Compat::v2_2_4;
  if (entry.has("rats_tls")) {
    if (out.encap_in_http) entry.problem("rats_tls", "excludes encap_in_http and ohttp");
    Fields f = entry.object("rats_tls");
    out.multiplex = f.value_or("multiplex", out.multiplex);
    finish(f);
  }
  refuse(entry, "quic", "datagrams are not carried");
  if (entry.value_or("web_page_inject", false)) entry.problem("web_page_inject", "is not implemented");
  out.ra = remote_attestation(entry, true);
  finish(entry);
  config_.ingress.push_back(std::move(out));
}

void ConfigLoader::egress(Fields& entry) {
  Egress out;
  const auto mode = only_mode(entry, {"mapping", "netfilter"}, {"hook", "mapping_udp"});
  if (mode == "mapping") {
    const auto m = mapping(entry.object(mode));
    out.mode = MappingEgress{m.in, m.out};
  }
  if (mode == "netfilter") out.mode = egress_netfilter(entry.object(mode));
  out.decap_from_http = decap(entry, out);
  plaintext_rules(entry, out);
  if (entry.has("rats_tls")) {
    // Both ALPN protocols are served on one port; the key only documents what clients use.
    Fields f = entry.object("rats_tls");
    (void)f.optional<bool>("multiplex");
    finish(f);
  }
  refuse(entry, "quic", "datagrams are not carried");
  out.ra = remote_attestation(entry, false);
  finish(entry);
  config_.egress.push_back(std::move(out));
}

MappingIngress ConfigLoader::mapping(Fields f) {
  MappingIngress out;
  refuse(f, "rules", "write one block for each pair of in and out");
  if (!f.has("in"))
    f.problem("in", "is required");
  else
    out.in = endpoint(f.object("in"), true);
  if (!f.has("out"))
    f.problem("out", "is required");
  else
    out.out = endpoint(f.object("out"), false);
  finish(f);
  return out;
}

HttpProxyIngress ConfigLoader::http_proxy(Fields f) {
  HttpProxyIngress out;
  if (!f.has("proxy_listen"))
    f.problem("proxy_listen", "is required");
  else
    out.listen = endpoint(f.object("proxy_listen"), true);
  out.dst_filters = filters(f, f.has("dst_filter") && !f.has("dst_filters") ? "dst_filter" : "dst_filters");
  out.unmatched_direct = unmatched_direct(f, !out.dst_filters.empty());
  out.auth = proxy_auth(f, "proxy_auth");
  for (const auto& text : f.value_or<std::vector<std::string>>("allow_cidrs", {})) {
    auto network = IpNetwork::parse(text);
    check(f, "allow_cidrs", network);
    if (network) out.allow_cidrs.push_back(*std::move(network));
  }
  finish(f);
  return out;
}

Socks5Ingress ConfigLoader::socks5(Fields f) {
  Socks5Ingress out;
  if (!f.has("proxy_listen"))
    f.problem("proxy_listen", "is required");
  else
    out.listen = endpoint(f.object("proxy_listen"), true);
  out.dst_filters = filters(f, "dst_filters");
  out.unmatched_direct = unmatched_direct(f, !out.dst_filters.empty());
  out.auth = proxy_auth(f, "auth");
  finish(f);
  return out;
}

bool ConfigLoader::unmatched_direct(Fields& f, bool has_filters) {
  const auto unmatched = f.value_or<std::string>("unmatched", config_.compat == Compat::v2_2_4 ? "direct" : "reject");
  if (unmatched != "direct" && unmatched != "reject") f.problem("unmatched", "must be \"direct\" or \"reject\"");
  const bool direct = unmatched == "direct";
  if (direct && has_filters)
    weak(f,
         "destinations that no dst_filters entry matches are reached in plaintext; \"unmatched\": \"reject\" refuses "
         "them");
  return direct;
}

std::optional<ProxyAuth> ConfigLoader::proxy_auth(Fields& f, std::string_view key) {
  if (!f.has(key)) return std::nullopt;
  Fields a = f.object(key);
  ProxyAuth out{a.required<std::string>("username"), a.required<std::string>("password")};
  if (out.username.empty() || out.username.size() > 255 || out.username.find(':') != std::string::npos)
    a.problem("username", "must be 1 to 255 bytes without a colon");
  if (out.password.empty() || out.password.size() > 255) a.problem("password", "must be 1 to 255 bytes");
  finish(a);
  return out;
}

void ConfigLoader::one_or_many(Fields& f, std::string_view key, const std::function<void(Fields)>& each) {
  const Json* value = f.raw(key);
  if (value == nullptr || value->is_null()) return;
  const std::string path = f.path() + "." + std::string(key);
  if (!value->is_array()) return each(Fields(*value, path, problems_));
  if (value->size() > limits::rules_per_block)
    f.problem(key, "has more than " + std::to_string(limits::rules_per_block) + " entries");
  for (std::size_t i = 0; i < std::min(value->size(), limits::rules_per_block); ++i)
    each(Fields((*value)[i], path + "[" + std::to_string(i) + "]", problems_));
}

std::vector<HostFilter> ConfigLoader::filters(Fields& f, std::string_view key) {
  std::vector<HostFilter> out;
  one_or_many(f, key, [&](Fields entry) { out.push_back(filter(std::move(entry))); });
  return out;
}

HostFilter ConfigLoader::filter(Fields f) {
  HostFilter out;
  const bool legacy = config_.compat == Compat::v2_2_4;
  out.star_matches_addresses = legacy;
  out.domain = f.optional<std::string>("domain");
  const auto regex = f.optional<std::string>("domain_regex"), ip = f.optional<std::string>("ip"),
             cidr = f.optional<std::string>("ip_cidr");
  if (out.domain.has_value() + regex.has_value() + ip.has_value() + cidr.has_value() > 1)
    f.problem("", "has more than one of domain, domain_regex, ip and ip_cidr");
  if (out.domain) check(f, "domain", HostFilter::check_domain(*out.domain));
  if (regex) {
    auto pattern = Pattern::compile(*regex);
    check(f, "domain_regex", pattern);
    if (pattern) out.domain_regex = *std::move(pattern);
  }
  if (ip || cidr) {
    auto network = IpNetwork::parse(ip ? *ip : *cidr);
    if (ip && network && ip->find('/') != std::string::npos) f.problem("ip", "is a network; write ip_cidr");
    check(f, ip ? "ip" : "ip_cidr", network);
    if (network) out.network = *std::move(network);
  }
  out.ports = ports(f).value_or(legacy ? PortRange{80, 80} : PortRange{});
  finish(f);
  return out;
}

std::vector<CaptureDst> ConfigLoader::captures(Fields& f, std::string_view key) {
  std::vector<CaptureDst> out;
  one_or_many(f, key, [&](Fields entry) { out.push_back(capture(std::move(entry))); });
  return out;
}

CaptureDst ConfigLoader::capture(Fields f) {
  CaptureDst out;
  if (const auto host = f.optional<std::string>("host")) {
    auto network = IpNetwork::parse(*host);
    check(f, "host", network);
    if (network) out.host = *std::move(network);
  }
  out.ipset = f.optional<std::string>("ipset");
  if (out.ipset && (out.ipset->empty() || out.ipset->size() > 31 ||
                    out.ipset->find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") !=
                        std::string::npos))
    f.problem("ipset", "must be 1 to 31 letters, digits, '_', '.' or '-'");
  if (f.has("host") && out.ipset) f.problem("", "has both host and ipset");
  out.ports = ports(f);
  if (!f.has("host") && !out.ipset && !out.ports) f.problem("", "needs host, ipset or port");
  finish(f);
  return out;
}

void ConfigLoader::netfilter_common(Fields& f, std::optional<std::uint16_t>& listen_port, std::uint32_t& so_mark) {
  listen_port = f.optional<std::uint16_t>("listen_port");
  if (listen_port == 0) f.problem("listen_port", "must not be 0");
  so_mark = f.value_or<std::uint32_t>("so_mark", so_mark);
  if (so_mark == 0) f.problem("so_mark", "must not be 0: it tells the gateway's own connections apart");
}

NetfilterIngress ConfigLoader::ingress_netfilter(Fields f) {
  NetfilterIngress out;
  out.capture_dst = captures(f, "capture_dst");
  out.capture_cgroup = f.value_or<std::vector<std::string>>("capture_cgroup", {});
  out.nocapture_cgroup = f.value_or<std::vector<std::string>>("nocapture_cgroup", {});
  for (const auto* list : {&out.capture_cgroup, &out.nocapture_cgroup})
    for (const auto& path : *list)
      if (path.empty() || path.size() > 4096 || path.find_first_of("\"\n\\") != std::string::npos)
        f.problem(list == &out.capture_cgroup ? "capture_cgroup" : "nocapture_cgroup",
                  "holds a path that is empty, too long or quoted");
  if (out.capture_dst.empty() && out.capture_cgroup.empty() && !f.has("capture_dst"))
    f.problem("", "needs capture_dst or capture_cgroup");
  netfilter_common(f, out.listen_port, out.so_mark);
  finish(f);
  return out;
}

NetfilterEgress ConfigLoader::egress_netfilter(Fields f) {
  NetfilterEgress out;
  if (!f.has("capture_dst")) f.problem("capture_dst", "is required");
  out.capture_dst = captures(f, "capture_dst");
  for (const auto& dst : out.capture_dst)
    if (!dst.ports && f.has("capture_dst"))
      f.problem("capture_dst", "needs port in every entry: the gateway serves ports, not hosts");
  refuse(f, "capture_cgroup", "egress captures by destination");
  refuse(f, "nocapture_cgroup", "egress captures by destination");
  out.capture_local_traffic = f.value_or("capture_local_traffic", false);
  netfilter_common(f, out.listen_port, out.so_mark);
  finish(f);
  return out;
}

std::optional<EncapInHttp> ConfigLoader::encap(Fields& entry) {
  const bool both = entry.has("encap_in_http") && entry.has("ohttp");
  if (both) entry.problem("ohttp", "is the later name of encap_in_http: write one of them");
  if (!entry.has("encap_in_http") && !entry.has("ohttp")) return std::nullopt;
  const bool named_ohttp = entry.has("ohttp");
  Fields f = entry.object(named_ohttp ? "ohttp" : "encap_in_http");
  EncapInHttp out;
  const bool later = named_ohttp || config_.compat == Compat::latest;
  const auto protocol = f.value_or<std::string>("protocol", later ? "ohttp" : "legacy");
  if (protocol == "ohttp")
    out.protocol = HttpProtocol::ohttp;
  else if (protocol != "legacy")
    f.problem("protocol", "must be \"legacy\" or \"ohttp\"");
  if (out.protocol == HttpProtocol::ohttp)
    f.problem("protocol",
              "is not available: Oblivious HTTP on the client side; use \"legacy\" (RA-TLS in HTTP) or no wrapping");
  std::size_t count = 0;
  f.objects("path_rewrites", [&](Fields& rule) {
    if (++count == limits::rules_per_block + 1)
      rule.problem("", "is past the limit of " + std::to_string(limits::rules_per_block) + " rules");
    if (count > limits::rules_per_block) return;
    const auto match = rule.required<std::string>("match_regex"),
               substitution = rule.required<std::string>("substitution");
    check(rule, "match_regex", out.path_rewrites.add(match, substitution));
    finish(rule);
  });
  const auto path_default = f.value_or<std::string>("path_default", "root");
  if (path_default != "root" && path_default != "original")
    f.problem("path_default", "must be \"root\" or \"original\"");
  out.path_rewrites.keep_original = path_default == "original";
  for (const char* key : {"header_passthrough", "tls", "tls_ca_certs"}) refuse(f, key, "it belongs to Oblivious HTTP");
  finish(f);
  return out;
}

std::optional<DecapFromHttp> ConfigLoader::decap(Fields& entry, Egress& egress) {
  if (entry.has("decap_from_http") && entry.has("ohttp"))
    entry.problem("ohttp", "is the later name of decap_from_http: write one of them");
  if (!entry.has("decap_from_http") && !entry.has("ohttp")) return std::nullopt;
  const bool named_ohttp = entry.has("ohttp");
  Fields f = entry.object(named_ohttp ? "ohttp" : "decap_from_http");
  DecapFromHttp out;
  if (const auto rules = f.optional<std::vector<std::string>>("allow_non_tng_traffic_regexes")) {
    if (entry.has("direct_forward")) entry.problem("direct_forward", "excludes allow_non_tng_traffic_regexes");
    egress.plaintext.emplace();
    for (const auto& rule : *rules) check(f, "allow_non_tng_traffic_regexes", egress.plaintext->add(rule));
  }
  if (named_ohttp || config_.compat == Compat::latest)
    f.problem("", "is not available: Oblivious HTTP; compat \"2.2.4\" with decap_from_http accepts RA-TLS in HTTP");
  for (const char* key : {"header_passthrough", "cors", "key"}) refuse(f, key, "it belongs to Oblivious HTTP");
  finish(f);
  return out;
}

void ConfigLoader::plaintext_rules(Fields& entry, Egress& egress) {
  const bool anchored = entry.value_or("allow_non_tng_traffic_anchor", true);
  if (entry.has("direct_forward")) {
    if (!egress.plaintext) egress.plaintext.emplace();
    entry.objects("direct_forward", [&](Fields& rule) {
      check(rule, "http_path", egress.plaintext->add(rule.required<std::string>("http_path")));
      finish(rule);
    });
  }
  if (!anchored) {
    weak(entry,
         "allow_non_tng_traffic_anchor is false: a pattern that occurs anywhere in a path lets the request pass in "
         "plaintext");
    if (egress.plaintext) egress.plaintext->anchored = false;
  }
}

}  // namespace cairn::tng
