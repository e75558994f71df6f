#include "guest/cdh/config.h"

#include <algorithm>

#include "base/log.h"
#include "guest/cdh/api.h"
#include "guest/cdh/limits.h"
#include "kbs_protocol/agent_api.h"
#include "net/http.h"

namespace cairn::cdh {
namespace {

Config defaults() {
  Config config;
  config.socket = api::default_address;
  config.aa_socket = agent::default_address;
  return config;
}

void read_kbc(Fields kbc, Config& config) {
  config.kbc_name = kbc.required<std::string>("name");
  if (config.kbc_name == "online_sev_kbc")
    kbc.problem("name", "online_sev_kbc is for SEV machines and is not offered");
  else if (config.kbc_name != "cc_kbc" && config.kbc_name != "offline_fs_kbc")
    kbc.problem("name", "must be cc_kbc or offline_fs_kbc");
  config.kbc_url = kbc.value_or<std::string>("url", "");
  if (config.kbc_name == "cc_kbc") {
    if (const auto url = net::Url::parse(config.kbc_url); !url)
      kbc.problem("url", "is not an http(s) URL: " + url.error().message);
  }
  config.kbs_cert = kbc.value_or<std::string>("kbs_cert", "");
  kbc.done();
}

void read_credential(Fields& item, Config& config) {
  const auto uri = kbs::ResourceUri::parse(item.required<std::string>("resource_uri"));
  if (!uri) item.problem("resource_uri", uri.error().message);
  const std::filesystem::path path = item.required<std::string>("path");
  if (!is_credential_path(path))
    item.problem("path", "must lie under " + std::string(kDataFolder) + " and contain no \".\" or \"..\"");
  item.done();
  if (uri) config.credentials.push_back({*uri, path});
}

// cdh.kbs_resources=<uri>::<path>,<uri>::<path>
Result<void> add_kernel_credentials(std::string_view list, Config& config) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const auto entry = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    const std::size_t mark = entry.find("::");
    if (mark == std::string_view::npos)
      return fail(ErrorCode::malformed, "cdh.kbs_resources", "an entry must read <uri>::<path>: " + printable(entry));
    CAIRN_TRY(auto uri, kbs::ResourceUri::parse(entry.substr(0, mark)));
    const std::filesystem::path path = entry.substr(mark + 2);
    if (!is_credential_path(path))
      return fail(ErrorCode::invalid_argument, "cdh.kbs_resources",
                  "the path must lie under " + std::string(kDataFolder));
    config.credentials.push_back({std::move(uri), path});
  }
  return {};
}

}  // namespace

bool is_credential_path(const std::filesystem::path& path) {
  const std::string text = path.string();
  if (!text.starts_with(std::string(kDataFolder) + "/") || text.ends_with('/')) return false;
  return std::ranges::none_of(path, [](const auto& part) { return part == "." || part == ".."; });
}

Result<Config> read_config(const Json& file) {
  Config config = defaults();
  Problems problems;
  Fields fields(file, "$", problems);
  config.socket = fields.value_or("socket", config.socket);
  config.aa_socket = fields.value_or("aa_socket", config.aa_socket);
  config.accept_unsigned_secrets = fields.value_or("accept_unsigned_secrets", false);
  if (fields.has("kbc"))
    read_kbc(fields.object("kbc"), config);
  else
    fields.problem("kbc", "is required");
  fields.objects("credentials", [&](Fields& item) { read_credential(item, config); });
  if (config.credentials.size() > limits::credentials) fields.problem("credentials", "too many entries");
  if (fields.has("image")) spdlog::warn("[image] is ignored: this data hub does not pull images");
  fields.done();
  CAIRN_CHECK(problems.result());
  return config;
}

Config config_of(const guest::KbcParams& params) {
  Config config = defaults();
  config.kbc_name = params.name;
  config.kbc_url = params.url;
  return config;
}

Result<Config> load_config(const std::string& file, const guest::Environment& environment,
                           std::string_view command_line) {
  Config config;
  const std::string path = file.empty() ? environment("CDH_CONFIG_PATH").value_or("") : file;
  if (!path.empty()) {
    CAIRN_TRY(const Json json, guest::load_config_file(path, limits::config_bytes));
    auto read = read_config(json);
    if (!read) return fail(std::move(read.error()).in(path));
    config = *std::move(read);
  } else {
    CAIRN_TRY(const auto params, guest::find_kbc_params(environment, command_line));
    config = config_of(params);
  }
  if (const auto list = guest::kernel_parameter(command_line, "cdh.kbs_resources"))
    CAIRN_CHECK(add_kernel_credentials(*list, config));
  if (environment("SKIP_SEALED_SECRET_VERIFICATION") == "true") config.accept_unsigned_secrets = true;
  return config;
}

}  // namespace cairn::cdh
