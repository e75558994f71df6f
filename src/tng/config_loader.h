// Inside of parse_config: what its two source files share.
#pragma once

#include "base/json.h"
#include "tng/config.h"

namespace cairn::tng {

// Reads blocks into a Config while collecting problems and warnings.
class ConfigLoader {
 public:
  ConfigLoader(const ConfigOptions& options, Config& config, Problems& problems)
      : options_(options), config_(config), problems_(problems) {}
  void load(const Json& json);

 private:
  // config.cc
  void observability(Fields& top);
  void control(Fields&& f);
  RemoteAttestation remote_attestation(Fields& entry, bool is_ingress);
  Attest attest(Fields f);
  Verify verify(Fields f);
  // config_modes.cc
  void ingress(Fields& entry);
  void egress(Fields& entry);
  MappingIngress mapping(Fields f);
  HttpProxyIngress http_proxy(Fields f);
  Socks5Ingress socks5(Fields f);
  NetfilterIngress ingress_netfilter(Fields f);
  NetfilterEgress egress_netfilter(Fields f);
  std::optional<EncapInHttp> encap(Fields& entry);
  std::optional<DecapFromHttp> decap(Fields& entry, Egress& egress);
  void plaintext_rules(Fields& entry, Egress& egress);
  std::vector<HostFilter> filters(Fields& f, std::string_view key);
  HostFilter filter(Fields f);
  std::vector<CaptureDst> captures(Fields& f, std::string_view key);
  CaptureDst capture(Fields f);
  std::optional<ProxyAuth> proxy_auth(Fields& f, std::string_view key);
  bool unmatched_direct(Fields& f, bool has_filters);
  // Calls `each` for the elements of an array of objects, or for the one object written without an array.
  void one_or_many(Fields& f, std::string_view key, const std::function<void(Fields)>& each);
  std::string only_mode(Fields& entry, const std::vector<std::string>& known, const std::vector<std::string>& refused);
  void netfilter_common(Fields& f, std::optional<std::uint16_t>& listen_port, std::uint32_t& so_mark);

  Endpoint endpoint(Fields f, bool listens);
  std::optional<PortRange> ports(Fields& f);
  // A key that exists upstream and is not available here: present is a problem that says so.
  void refuse(Fields& f, std::string_view key, std::string_view why);
  void finish(Fields& f) {
    if (!options_.lenient) f.done();
  }
  // A choice that weakens protection: a warning, or a problem under strict.
  void weak(const Fields& f, std::string message);
  template <class T>
  void check(Fields& f, std::string_view key, const Result<T>& result) {
    if (!result) f.problem(key, result.error().message);
  }

  ConfigOptions options_;
  Config& config_;
  Problems& problems_;
};

}  // namespace cairn::tng
