#include "guest/aa/config.h"

#include <algorithm>

#include "base/log.h"
#include "crypto/hash.h"
#include "guest/aa/limits.h"
#include "net/http.h"

namespace cairn::aa {
namespace {

void check_url(Fields& fields, std::string_view key, const std::string& url) {
  if (const auto parsed = net::Url::parse(url); !parsed)
    fields.problem(key, "is not an http(s) URL: " + parsed.error().message);
}

void read_tokens(Fields tokens, Config& config) {
  if (tokens.has("kbs")) {
    Fields section = tokens.object("kbs");
    KbsConfig kbs{
        .url = section.required<std::string>("url"), .cert = section.value_or<std::string>("cert", ""), .tee_key = {}};
    check_url(section, "url", kbs.url);
    if (const auto name = section.optional<std::string>("tee_key_algorithm")) {
      const auto kind = kbs::tee_key_kind(*name);
      if (kind)
        kbs.tee_key = *kind;
      else
        section.problem("tee_key_algorithm", kind.error().message);
    }
    section.done();
    config.kbs = std::move(kbs);
  }
  if (tokens.has("coco_as")) {
    Fields section = tokens.object("coco_as");
    config.coco_as_url = section.required<std::string>("url");
    check_url(section, "url", *config.coco_as_url);
    section.done();
  }
  tokens.done();
}

void read_event_log(Fields section, kbs::Profile profile, Config& config) {
  config.eventlog = section.value_or("enable_eventlog", false);
  config.init_pcr = section.value_or<std::uint64_t>("init_pcr", 17);
  if (config.init_pcr > 23) section.problem("init_pcr", "must be a PCR number, 0 to 23");
  const auto hash = section.value_or<std::string>("eventlog_algorithm", "sha384");
  if (profile == kbs::Profile::p1 && hash != "sha384")
    section.problem("eventlog_algorithm", "must be sha384: no other log can match the registers of a TDX guest");
  section.done();
}

void read_instance(Fields section, Config& config) {
  config.instance_type = section.value_or<std::string>("instance_type", "");
  if (!config.instance_type.empty() && config.instance_type != "aliyun_ecs" && config.instance_type != "aliyun_eas")
    section.problem("instance_type", "must be aliyun_ecs or aliyun_eas");
  Fields beat = section.object("heartbeat");
  config.heartbeat.enabled = beat.value_or("enabled", false);
  config.heartbeat.trustee_url = beat.value_or<std::string>("trustee_url", "");
  if (!config.heartbeat.trustee_url.empty()) check_url(beat, "trustee_url", config.heartbeat.trustee_url);
  config.heartbeat.interval_minutes = beat.value_or<std::uint32_t>("interval_minutes", 5);
  if (config.heartbeat.interval_minutes < 1 || config.heartbeat.interval_minutes > limits::heartbeat_minutes_max)
    beat.problem("interval_minutes", "must be 1 to " + std::to_string(limits::heartbeat_minutes_max));
  beat.done();
  section.done();
}

void read_gpu(Fields section, GpuConfig& out) {
  const auto ready = section.value_or<std::string>("ready", "verified");
  if (ready != "verified" && ready != "unverified" && ready != "leave")
    section.problem("ready", "must be verified, unverified or leave");
  out.ready = ready == "leave"        ? GpuConfig::Ready::leave
              : ready == "unverified" ? GpuConfig::Ready::unverified
                                      : GpuConfig::Ready::verified;
  out.policy = section.value_or<std::string>("policy", "");
  out.bundles = section.value_or<std::vector<std::string>>("bundles", {});
  for (const auto& [key, url] : {std::pair("rim_url", &out.rim_url), {"ocsp_url", &out.ocsp_url}})
    if (*url = section.optional<std::string>(key); *url) check_url(section, key, **url);
  section.objects("extra_roots", [&](Fields& root) {
    const auto of = root.required<std::string>("of");
    if (of != "device" && of != "rim") root.problem("of", "is neither \"device\" nor \"rim\"");
    (of == "rim" ? out.rim_roots : out.device_roots).push_back(root.required<std::string>("path"));
    if (!root.required<bool>("simulated"))
      root.problem("simulated", "must be true: only NVIDIA's roots, which are built in, stand for genuine devices");
    root.done();
  });
  section.done();
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) out.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

}  // namespace

Result<Config> read_config(const Json& file, kbs::Profile profile) {
  Config config;
  Problems problems;
  Fields fields(file, "$", problems);
  read_tokens(fields.object("token_configs"), config);
  read_event_log(fields.object("eventlog_config"), profile, config);
  read_instance(fields.object("aa_instance"), config);
  read_gpu(fields.object("gpu"), config.gpu);
  Fields log = fields.object("log");
  config.log_level = log.optional<std::string>("level");
  log.done();
  fields.done();
  CAIRN_CHECK(problems.result());
  return config;
}

Config config_of(const guest::KbcParams& params) {
  Config config;
  if (params.url.empty()) return config;
  config.kbs = KbsConfig{.url = params.url, .cert = {}, .tee_key = {}};
  config.coco_as_url = params.url;
  return config;
}

Result<void> apply_environment(Config& config, const guest::Environment& environment) {
  if (auto url = environment("TRUSTEE_URL")) {
    while (url->ends_with('/')) url->pop_back();
    if (const auto parsed = net::Url::parse(*url); !parsed)
      return fail(ErrorCode::invalid_argument, "TRUSTEE_URL", "is not an http(s) URL: " + parsed.error().message);
    if (!config.kbs) config.kbs.emplace();
    config.kbs->url = *url;
    config.coco_as_url = *url + "/attestation-service";
    config.heartbeat.trustee_url = *url;
  }
  if (const auto ids = environment("COCO_AS_POLICY_ID")) config.policy_ids = split_list(*ids);
  config.api_key = environment("TRUSTEE_API_KEY");
  config.instance_info = environment("AA_INSTANCE_INFO");
  if (config.instance_info &&
      (config.instance_info->size() > limits::instance_info_bytes || !net::valid_field_value(*config.instance_info)))
    return fail(ErrorCode::invalid_argument, "AA_INSTANCE_INFO", "cannot travel in an HTTP header");
  return {};
}

Result<InitData> read_init_data(std::string text) {
  if (text.size() > limits::init_data_bytes) return fail(ErrorCode::too_large, "initdata", "the document is too large");
  CAIRN_TRY(const Json json, parse_toml(text, "initdata"));
  Problems problems;
  Fields fields(json, "$", problems);
  (void)fields.required<std::string>("version");
  const auto algorithm = fields.required<std::string>("algorithm");
  const Json* data = fields.raw("data");
  if (data == nullptr || !data->is_object() || !std::ranges::all_of(*data, [](const Json& v) { return v.is_string(); }))
    fields.problem("data", "must be a table of strings");
  fields.done();
  const auto hash = crypto::hash_by_name(algorithm);
  if (!hash || *hash == crypto::Hash::sha1) fields.problem("algorithm", "must be sha256, sha384, sha512 or sm3");
  CAIRN_CHECK(problems.result());
  Bytes digest = crypto::digest(*hash, as_bytes(text));
  return InitData{std::move(text), std::move(digest)};
}

Digest<48> as_config_id(ByteView digest) {
  Digest<48> out{};
  std::copy_n(digest.begin(), std::min<std::size_t>(digest.size(), out.size()), out.begin());
  return out;
}

}  // namespace cairn::aa
