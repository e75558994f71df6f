#include "guest/cdh/source.h"

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "guest/cdh/limits.h"

namespace cairn::cdh {
namespace {

class KbsSource final : public ResourceSource {
 public:
  KbsSource(net::Runtime& runtime, agent::Client& agent, KbsSourceOptions options)
      : runtime_(runtime), evidence_(agent), options_(std::move(options)) {}

  net::Task<Secret> get(kbs::ResourceUri uri) override {
    CAIRN_CO_CHECK(co_await connect());
    co_return co_await client_->resource(std::move(uri));
  }

 private:
  net::Task<> connect() {
    if (client_) co_return Result<>{};
    CAIRN_CO_TRY(auto key,
                 co_await runtime_.workers().offload([kind = options_.key] { return kbs::TeeKey::generate(kind); }));
    if (!key) co_return fail(std::move(key).error());
    if (client_) co_return Result<>{};  // another call was faster
    CAIRN_CO_TRY(client_, kbs::Client::create(options_.client, evidence_, *std::move(key)));
    co_return Result<>{};
  }

  net::Runtime& runtime_;
  kbs::AgentEvidence evidence_;
  KbsSourceOptions options_;
  std::unique_ptr<kbs::Client> client_;
};

class OfflineSource final : public ResourceSource {
 public:
  Result<void> add(const std::filesystem::path& file) {
    auto text = read_secret(file, limits::offline_file_bytes);
    if (!text && text.error().code == ErrorCode::not_found) {
      spdlog::warn("offline_fs_kbc: {} is not there", file.string());
      return {};
    }
    if (!text) return fail(std::move(text).error());
    auto json = parse_json(as_text(text->view()), {.bytes = limits::offline_file_bytes, .depth = 2});
    if (!json) return fail(std::move(json.error()).in(file.string()));
    Problems problems;
    Fields fields(*json, "$", problems);
    for (auto& [name, value] : json->items()) {
      const auto path = kbs::ResourceUri::from_path(name);
      auto bytes = from_base64(fields.required<std::string>(name));
      if (!path) fields.problem(name, path.error().message);
      if (!bytes) fields.problem(name, "is not base64");
      if (value.is_string()) wipe(value.get_ref<std::string&>().data(), value.get_ref<std::string&>().size());
      if (path && bytes) resources_.insert_or_assign(path->path(), Secret::take(*std::move(bytes)));
    }
    return problems.result();
  }

  net::Task<Secret> get(kbs::ResourceUri uri) override {
    const auto found = resources_.find(uri.path());
    if (found == resources_.end())
      co_return fail(ErrorCode::not_found, uri.path(), "the offline files hold no such resource");
    co_return found->second.clone();
  }

 private:
  std::map<std::string, Secret> resources_;
};

}  // namespace

std::unique_ptr<ResourceSource> kbs_source(net::Runtime& runtime, agent::Client& agent, KbsSourceOptions options) {
  return std::make_unique<KbsSource>(runtime, agent, std::move(options));
}

Result<std::unique_ptr<ResourceSource>> offline_source(const std::filesystem::path& folder) {
  auto source = std::make_unique<OfflineSource>();
  CAIRN_CHECK(source->add(folder / "aa-offline_fs_kbc-keys.json"));
  CAIRN_CHECK(source->add(folder / "aa-offline_fs_kbc-resources.json"));
  return source;
}

}  // namespace cairn::cdh
