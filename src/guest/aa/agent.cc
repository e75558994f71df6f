#include "guest/aa/agent.h"

#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "guest/aa/instance_info.h"
#include "guest/aa/limits.h"

namespace cairn::aa {
namespace {

using kbs::TeeKey;

// A key pair made ahead: RSA generation would be most of a handshake's time.
class KeyMaker {
 public:
  explicit KeyMaker(net::Runtime& runtime) : runtime_(runtime) {}

  // The prepared pair if it is of this kind, else one made now.
  net::Task<TeeKey> take(kbs::TeeKeyKind kind) {
    if (ready_ && kind_ == kind) {
      TeeKey key = *std::move(ready_);
      ready_.reset();
      co_return key;
    }
    CAIRN_CO_TRY(auto made, co_await runtime_.workers().offload([kind] { return TeeKey::generate(kind); }));
    co_return made;
  }

  static net::Task<> prepare(std::shared_ptr<KeyMaker> self, kbs::TeeKeyKind kind) {
    if (self->ready_) co_return Result<>{};
    CAIRN_CO_TRY(auto made, co_await self->runtime_.workers().offload([kind] { return TeeKey::generate(kind); }));
    if (!made) co_return fail(std::move(made).error());
    self->ready_ = *std::move(made);
    self->kind_ = kind;
    co_return Result<>{};
  }

 private:
  net::Runtime& runtime_;
  std::optional<TeeKey> ready_;
  kbs::TeeKeyKind kind_ = kbs::TeeKeyKind::rsa1_5;
};

}  // namespace

struct Agent::State {
  State(net::Runtime& r, Attester& a, AgentOptions o)
      : runtime(r), attester(a), options(std::move(o)), keys(std::make_shared<KeyMaker>(r)) {}

  [[nodiscard]] kbs::TeeKeyKind key_kind() const {
    const bool chosen = options.profile == kbs::Profile::p2 && options.config.kbs && options.config.kbs->tee_key;
    return chosen ? *options.config.kbs->tee_key : kbs::default_tee_key(options.profile);
  }
  [[nodiscard]] std::optional<std::string> info() const {
    if (options.config.instance_info) return options.config.instance_info;
    return instance_info.empty() ? std::nullopt : std::optional(instance_info);
  }

  net::Runtime& runtime;
  Attester& attester;
  AgentOptions options;
  std::shared_ptr<KeyMaker> keys;
  std::string instance_info;

  net::Task<Secret> kbs_token(kbs::EvidenceProvider& provider);
  net::Task<Secret> coco_as_token(kbs::EvidenceProvider& provider, std::optional<std::string> additional_data);
};

Agent::Agent(net::Runtime& runtime, Attester& attester, AgentOptions options)
    : state_(std::make_shared<State>(runtime, attester, std::move(options))) {}
Agent::~Agent() = default;
const AgentOptions& Agent::options() const { return state_->options; }
const std::string& Agent::instance_info() const { return state_->instance_info; }

net::Task<> Agent::start() {
  CAIRN_CO_TRY(state_->instance_info,
               co_await collect_instance_info(state_->options.config.instance_type, guest::process_environment));
  if (state_->options.config.kbs) CAIRN_CO_CHECK(co_await KeyMaker::prepare(state_->keys, state_->key_kind()));
  co_return Result<>{};
}

net::Task<std::string> Agent::tee_type() { co_return state_->attester.tee(); }

net::Task<std::string> Agent::evidence(Bytes runtime_data) {
  CAIRN_CO_CHECK(as_report_data(runtime_data));
  auto state = state_;
  CAIRN_CO_TRY(auto text, co_await state->runtime.workers().offload(
                              [state, data = std::move(runtime_data)] { return state->attester.evidence(data); }));
  co_return text;
}

net::Task<std::string> Agent::additional_evidence(Bytes runtime_data) {
  CAIRN_CO_CHECK(as_report_data(runtime_data));
  auto state = state_;
  CAIRN_CO_TRY(auto devices, co_await state->runtime.workers().offload(
                                 [state, runtime_data] { return state->attester.devices(runtime_data); }));
  if (!devices) co_return fail(std::move(devices).error());
  if (state->options.sample_device) (*devices)["sampledevice"] = {{"svn", "2"}, {"report_data", base64(runtime_data)}};
  co_return devices->empty() ? std::string() : compact_json(*devices);
}

std::vector<std::string> Agent::additional_tees() const {
  auto names = state_->attester.device_names();
  if (state_->options.sample_device) names.emplace_back("sampledevice");
  return names;
}

net::Task<Secret> Agent::State::kbs_token(kbs::EvidenceProvider& provider) {
  if (!options.config.kbs)
    co_return fail(ErrorCode::not_found, "token_configs.kbs", "kbs token config not configured in config file");
  CAIRN_CO_TRY(TeeKey key, co_await keys->take(key_kind()));
  net::spawn(co_await net::this_loop(), KeyMaker::prepare(keys, key_kind()), "TEE key");
  kbs::ClientOptions client_options{.url = options.config.kbs->url,
                                    .profile = options.profile,
                                    .extra_roots = options.config.kbs->cert,
                                    .api_key = options.config.api_key,
                                    .instance_info = info(),
                                    .init_data_toml = std::nullopt};
  if (options.init_data) client_options.init_data_toml = options.init_data->text;
  CAIRN_CO_TRY(auto client, kbs::Client::create(std::move(client_options), provider, std::move(key)));
  CAIRN_CO_TRY(const std::string token, co_await client->token());
  Json answer = {{"token", token}, {"tee_keypair", as_text(client->key().pem().view())}};
  std::string text = compact_json(answer);
  auto& pem = answer["tee_keypair"].get_ref<std::string&>();
  wipe(pem.data(), pem.size());
  co_return Secret::take(std::move(text));
}

net::Task<Secret> Agent::State::coco_as_token(kbs::EvidenceProvider& provider,
                                              std::optional<std::string> additional_data) {
  if (!options.config.coco_as_url)
    co_return fail(ErrorCode::not_found, "token_configs.coco_as", "coco_as token config not configured in config file");
  kbs::AttestationServiceOptions service{.url = *options.config.coco_as_url,
                                         .profile = options.profile,
                                         .extra_roots = options.config.kbs ? options.config.kbs->cert : "",
                                         .api_key = options.config.api_key,
                                         .instance_info = info(),
                                         .additional_data = std::move(additional_data),
                                         .policy_ids = options.config.policy_ids};
  CAIRN_CO_TRY(std::string token, co_await kbs::attestation_service_token(std::move(service), provider));
  co_return Secret::take(std::move(token));
}

net::Task<Secret> Agent::token(std::string type, std::optional<std::string> additional_data) {
  if (type == "kbs") co_return co_await state_->kbs_token(*this);
  if (type == "coco_as") co_return co_await state_->coco_as_token(*this, std::move(additional_data));
  co_return fail(ErrorCode::invalid_argument, printable(type, limits::token_type_bytes), "Unsupported token type");
}

net::Task<> Agent::extend(eventlog::AaelEvent event, std::optional<std::uint64_t> pcr) {
  auto state = state_;
  CAIRN_CO_TRY(auto done, co_await state->runtime.workers().offload(
                              [state, event = std::move(event), pcr] { return state->attester.extend(event, pcr); }));
  co_return done;
}

net::Task<> Agent::bind_init_data(Bytes digest) {
  auto state = state_;
  CAIRN_CO_TRY(auto done, co_await state->runtime.workers().offload(
                              [state, digest = std::move(digest)] { return state->attester.check_init_data(digest); }));
  co_return done;
}

Result<void> Agent::update_configuration(std::string_view text) {
  if (text.size() > limits::config_bytes) return fail(ErrorCode::too_large, "config", "the configuration is too large");
  auto json = parse_json(text);
  if (!json) json = parse_toml(text, "config");
  CAIRN_CHECK(json);
  CAIRN_TRY(Config config, read_config(*json, state_->options.profile));
  CAIRN_CHECK(apply_environment(config, guest::process_environment));
  config.heartbeat = state_->options.config.heartbeat;
  state_->options.config = std::move(config);
  return {};
}

}  // namespace cairn::aa
