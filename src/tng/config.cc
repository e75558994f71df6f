#include "tng/config.h"

#include "base/log.h"
#include "tng/config_loader.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

constexpr std::string_view unix_scheme = "unix://";

std::string without_trailing_slashes(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

}  // namespace

std::string Endpoint::text() const {
  const bool v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Config> parse_config(std::string_view text, const ConfigOptions& options) {
  CAIRN_TRY(const Json json, parse_json(text, {.bytes = limits::config_file, .depth = 32}));
  Config config;
  Problems problems;
  ConfigLoader(options, config, problems).load(json);
  CAIRN_CHECK(problems.result());
  return config;
}

void ConfigLoader::load(const Json& json) {
  Fields top(json, "$", problems_);
  const std::string compat = top.value_or<std::string>("compat", "2.2.4");
  if (compat != "2.2.4" && compat != "latest") top.problem("compat", "must be \"2.2.4\" or \"latest\"");
  config_.compat = options_.compat.value_or(compat == "latest" ? Compat::latest : Compat::v2_2_4);
  options_.strict = config_.strict = top.value_or("strict", false) || options_.strict;
  if (top.has("control_interface")) control(top.object("control_interface"));
  observability(top);
  if (top.has("admin_bind")) {
    (void)endpoint(top.object("admin_bind"), true);
    config_.warnings.emplace_back("admin_bind is accepted and ignored: there is no Envoy to administer");
  }
  const auto at_most = [&](std::string_view key, std::size_t have) {
    if (have >= limits::blocks) top.problem(key, "more than " + std::to_string(limits::blocks) + " blocks");
    return have < limits::blocks;
  };
  top.objects("add_ingress", [&](Fields& entry) {
    if (at_most("add_ingress", config_.ingress.size())) ingress(entry);
  });
  top.objects("add_egress", [&](Fields& entry) {
    if (at_most("add_egress", config_.egress.size())) egress(entry);
  });
  finish(top);
  if (problems_.empty() && config_.ingress.empty() && config_.egress.empty())
    top.problem("", "has neither add_ingress nor add_egress: there is nothing to do");
}

void ConfigLoader::control(Fields&& f) {
  refuse(f, "ttrpc", "the control interface speaks HTTP only: use restful");
  if (f.has("restful"))
    config_.control = endpoint(f.object("restful"), true);
  else if (!f.has("ttrpc"))
    f.problem("", "needs restful");
  finish(f);
}

void ConfigLoader::observability(Fields& top) {
  static constexpr std::string_view instead =
      "pushing exporters are not available; scrape /metrics of control_interface.restful";
  for (const char* key : {"metric", "trace"}) {
    if (!top.has(key)) continue;
    Fields f = top.object(key);
    if (const Json* exporters = f.raw("exporters");
        exporters != nullptr && !(exporters->is_array() && exporters->empty()))
      f.problem("exporters", std::string(instead));
    finish(f);
  }
}

Endpoint ConfigLoader::endpoint(Fields f, bool listens) {
  Endpoint out;
  out.host = f.value_or<std::string>("host", listens ? "0.0.0.0" : "");
  out.port = f.required<std::uint16_t>("port");
  if (!listens && out.host.empty()) f.problem("host", "is required for a destination");
  if (out.host.size() > 255) f.problem("host", "is longer than 255 bytes");
  if (f.has("port") && out.port == 0 && !listens) f.problem("port", "must not be 0");
  finish(f);
  return out;
}

std::optional<PortRange> ConfigLoader::ports(Fields& f) {
  const auto first = f.optional<std::uint16_t>("port");
  const auto last = f.optional<std::uint16_t>("port_end");
  if (!first) {
    if (last) f.problem("port_end", "needs port");
    return std::nullopt;
  }
  if (last && *last < *first) f.problem("port_end", "must not be smaller than port");
  return PortRange{*first, last.value_or(*first)};
}

void ConfigLoader::refuse(Fields& f, std::string_view key, std::string_view why) {
  if (f.has(key)) f.problem(key, "is not available: " + std::string(why));
}

void ConfigLoader::weak(const Fields& f, std::string message) {
  if (options_.strict)
    problems_.add(f.path(), "strict: " + message);
  else
    config_.warnings.push_back(f.path() + ": " + std::move(message));
}

RemoteAttestation ConfigLoader::remote_attestation(Fields& entry, bool is_ingress) {
  RemoteAttestation out;
  const bool no_ra = entry.value_or("no_ra", false);
  const bool has_attest = entry.has("attest"), has_verify = entry.has("verify");
  if (no_ra && (has_attest || has_verify)) entry.problem("no_ra", "excludes attest and verify");
  if (!no_ra && !has_attest && !has_verify)
    entry.problem("", "says neither attest nor verify; write \"no_ra\": true to run without attestation");
  if (has_attest) out.attest = attest(entry.object("attest"));
  if (has_verify) out.verify = verify(entry.object("verify"));
  if (no_ra)
    weak(entry, "no_ra: nobody proves anything, whoever is on the path can read everything");
  else if (is_ingress && !has_verify)
    weak(entry, "attest without verify: the server proves nothing, an impostor on the path can read everything");
  return out;
}

Attest ConfigLoader::attest(Fields f) {
  Attest out;
  if (const auto model = f.value_or<std::string>("model", "background_check"); model != "background_check")
    f.problem("model", "is not available: \"" + printable(model, 32) + "\"; use background_check");
  if (const auto provider = f.value_or<std::string>("aa_provider", "coco"); provider != "coco")
    f.problem("aa_provider", "is not available: \"" + printable(provider, 32) + "\"; use coco");
  if (const auto type = f.value_or<std::string>("aa_type", "uds"); type != "uds")
    f.problem("aa_type", "is not available: \"" + printable(type, 32) + "\"; use uds");
  const auto address = f.required<std::string>("aa_addr");
  if (address.starts_with(unix_scheme) && address.size() > unix_scheme.size() && address[unix_scheme.size()] == '/')
    out.aa_socket = address.substr(unix_scheme.size());
  else if (!address.empty())
    f.problem("aa_addr", "must be unix:///absolute/path");
  if (out.aa_socket.size() > 107) f.problem("aa_addr", "is longer than a socket path may be (107 bytes)");
  const auto refresh = f.value_or<std::uint32_t>("refresh_interval", 600);
  if (refresh > 24 * 3600) f.problem("refresh_interval", "must be at most 86400 seconds");
  out.refresh_interval = std::chrono::seconds(refresh);
  for (const char* key : {"asr_addr", "as_provider", "as_type", "as_addr", "as_headers", "policy_ids", "api_key"})
    refuse(f, key, "the attester uses the background-check model with an attestation agent");
  finish(f);
  return out;
}

Verify ConfigLoader::verify(Fields f) {
  Verify out;
  if (const auto model = f.value_or<std::string>("model", "background_check"); model != "background_check")
    f.problem("model", "is not available: \"" + printable(model, 32) + "\"; use background_check");
  const bool grpc = f.value_or("as_is_grpc", false);
  const auto type = f.value_or<std::string>("as_type", grpc ? "grpc" : "restful");
  if (type != "restful")
    f.problem(grpc ? "as_is_grpc" : "as_type", "is not available: use a RESTful attestation service");
  out.as_addr = without_trailing_slashes(f.required<std::string>("as_addr"));
  if (!out.as_addr.empty() && !out.as_addr.starts_with("http://") && !out.as_addr.starts_with("https://"))
    f.problem("as_addr", "must be an http:// or https:// URL");
  if (const Json* headers = f.raw("as_headers")) {
    if (!headers->is_object())
      f.problem("as_headers", "must be an object of strings");
    else
      for (const auto& [name, value] : headers->items()) {
        const auto* text = value.get_ptr<const std::string*>();
        if (text == nullptr || text->find_first_of("\r\n") != std::string::npos ||
            name.find_first_of(" :\r\n\t") != std::string::npos || name.empty())
          f.problem("as_headers." + name, "must be a header name with a string value of one line");
        else
          out.as_headers.emplace_back(name, *text);
      }
  }
  if (!f.has("policy_ids")) f.problem("policy_ids", "is required");
  out.policy_ids = f.value_or<std::vector<std::string>>("policy_ids", {});
  out.trusted_certs_paths = f.value_or<std::vector<std::string>>("trusted_certs_paths", {});
  out.max_evidence_age = std::chrono::seconds(f.value_or<std::uint32_t>("max_evidence_age", 24 * 3600));
  out.max_session_age = std::chrono::seconds(f.value_or<std::uint32_t>("max_session_age", 3600));
  if (out.max_session_age.count() == 0 || out.max_session_age > limits::session_age)
    f.problem("max_session_age",
              "must be 1 to " + std::to_string(std::chrono::seconds(limits::session_age).count()) + " seconds");
  out.allow_simulated = f.value_or("allow_simulated", false);
  if (out.allow_simulated) weak(f, "allow_simulated: a simulator proves nothing about hardware");
  if (f.has("policy_ids") && out.policy_ids.empty())
    weak(f, "policy_ids is empty: any token of the attestation service is accepted");
  if (out.trusted_certs_paths.empty())
    weak(f,
         "no trusted_certs_paths: the signer of attestation tokens is not checked, whoever answers at as_addr is "
         "believed");
  for (const char* key : {"verify_signer_transparency", "skip_as_token_cert_verify", "attestation_policy",
                          "reference_values", "ita_jwks_addr", "as_provider"})
    refuse(f, key, "peers are verified by a RESTful attestation service");
  finish(f);
  return out;
}

}  // namespace cairn::tng
