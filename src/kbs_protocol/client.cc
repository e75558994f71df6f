#include "kbs_protocol/client.h"

#include "base/encoding.h"
#include "crypto/jose.h"
#include "net/http_client.h"
#include "net/retry.h"

namespace cairn::kbs {
namespace {

constexpr std::string_view kUserAgent = "attestation-agent-kbs-client/0.1.0";

ErrorCode code_of(const Refusal& refusal) {
  if (refusal.type == "PolicyDeny") return ErrorCode::permission_denied;
  if (refusal.type == "AttestationError") return ErrorCode::evidence_rejected;
  switch (refusal.status) {
    case 400: return ErrorCode::malformed;
    case 401: return ErrorCode::unauthenticated;
    case 403: return ErrorCode::permission_denied;
    case 404: return ErrorCode::not_found;
    case 413: return ErrorCode::too_large;
    case 422: return ErrorCode::evidence_rejected;
    case 502:
    case 503:
    case 504: return ErrorCode::unavailable;
    default: return ErrorCode::internal;
  }
}

std::unexpected<Error> refused(std::string_view server, std::string_view what, const net::Response& response) {
  const Refusal refusal = parse_refusal(response.status, response.body);
  const std::string kind = refusal.type.empty() ? "http_" + std::to_string(response.status) : refusal.type;
  return fail(code_of(refusal), "kbs." + kind,
              std::string(server) + " refused " + std::string(what) + ": " + refusal.text());
}

Result<std::string> checked_base(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  CAIRN_TRY(const auto parsed, net::Url::parse(url));
  if (parsed.target.find('?') != std::string::npos)
    return fail(ErrorCode::invalid_argument, url, "the server's URL must not have a query");
  return url;
}

Result<void> check_header(std::string_view name, const std::optional<std::string>& value) {
  if (!value || net::valid_field_value(*value)) return {};
  return fail(ErrorCode::invalid_argument, std::string(name), "the value cannot travel in an HTTP header");
}

net::ClientOptions http_options(const std::string& extra_roots, net::Milliseconds timeout) {
  net::ClientOptions options;
  options.user_agent = kUserAgent;
  options.extra_roots_pem = extra_roots;
  options.cookies = true;
  options.timeout = timeout;
  options.max_body = limits::response_bytes;
  return options;
}

void add_common_headers(net::Headers& headers, const std::optional<std::string>& api_key,
                        const std::optional<std::string>& instance_info) {
  headers.add("Content-Type", "application/json");
  if (api_key && !api_key->empty()) headers.add("Authorization", "Bearer " + *api_key);
  if (instance_info && !instance_info->empty()) headers.add("AAInstanceInfo", *instance_info);
}

}  // namespace

struct Client::State {
  State(ClientOptions o, EvidenceProvider* provider, TeeKey k)
      : options(std::move(o)),
        evidence(provider),
        key(std::move(k)),
        http(http_options(options.extra_roots, options.timeout)) {}

  [[nodiscard]] std::string url(std::string_view rest) const { return options.url + "/kbs/v0/" + std::string(rest); }

  net::Task<net::Response> post(std::string_view call, std::string body, bool with_instance_info) {
    net::ClientRequest request{.method = "POST", .url = url(call), .body = std::move(body)};
    add_common_headers(request.headers, options.api_key, with_instance_info ? options.instance_info : std::nullopt);
    auto response = co_await http.send(std::move(request));
    if (!response) co_return fail(std::move(response.error()).in("the key broker at " + options.url));
    if (response->status != 200) co_return refused("the key broker", "the " + std::string(call) + " step", *response);
    co_return response;
  }

  net::Task<Attestation> gather(const Challenge& challenge) {
    Attestation out;
    out.init_data_toml = options.init_data_toml;
    if (options.profile == Profile::p2) {
      CAIRN_CO_TRY(const std::string device_text, device_runtime_data(challenge, key.public_jwk()));
      CAIRN_CO_TRY(out.additional_evidence,
                   co_await evidence->additional_evidence(crypto::digest(challenge.hash, as_bytes(device_text))));
    }
    CAIRN_CO_TRY(const std::string text,
                 runtime_data(options.profile, challenge, key.public_jwk(), out.additional_evidence));
    CAIRN_CO_TRY(out.evidence, co_await evidence->evidence(crypto::digest(challenge.hash, as_bytes(text))));
    co_return out;
  }

  // Request, challenge, attestation, response. Leaves the session's cookie in the jar and the token in `token`.
  net::Task<> handshake() {
    if (tee.empty()) {
      CAIRN_CO_TRY(tee, co_await evidence->tee_type());
    }
    http.clear_cookies();
    CAIRN_CO_TRY(const auto challenged, co_await post("auth", auth_body(options.profile, tee), false));
    CAIRN_CO_TRY(const Challenge challenge, parse_challenge(options.profile, challenged.body));
    CAIRN_CO_TRY(const Attestation attestation, co_await gather(challenge));
    CAIRN_CO_TRY(std::string body, attest_body(options.profile, challenge, key.public_jwk(), attestation));
    CAIRN_CO_TRY(const auto attested, co_await post("attest", std::move(body), true));
    CAIRN_CO_TRY(token, parse_attest_answer(attested.body));
    ++sessions;
    co_return Result<>{};
  }

  // Makes a session newer than number `seen`, unless another caller has made one meanwhile.
  net::Task<> new_session(std::uint64_t seen) {
    CAIRN_CO_CHECK(co_await turn.acquire());
    const struct Release {
      net::Semaphore& turn;
      ~Release() { turn.release(); }
    } release{turn};
    if (sessions != seen) co_return Result<>{};
    co_return co_await handshake();
  }

  net::Task<net::Response> get(const ResourceUri& uri) {
    net::ClientRequest request{.url = url("resource/" + uri.path_and_query())};
    const bool has_api_key = options.api_key && !options.api_key->empty();
    if (has_api_key) request.headers.add("Authorization", "Bearer " + *options.api_key);
    if (!evidence && !has_api_key) request.headers.add("Authorization", "Bearer " + token);
    if (options.profile == Profile::p2 || (!evidence && has_api_key)) request.headers.add("Attestation", token);
    auto response = co_await http.send(std::move(request));
    if (!response) co_return fail(std::move(response.error()).in("the key broker at " + options.url));
    co_return response;
  }

  ClientOptions options;
  EvidenceProvider* evidence;  // nullptr: passport
  TeeKey key;
  net::HttpClient http;
  net::Semaphore turn{1};
  std::string tee, token;
  std::uint64_t sessions = 0;
};

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::~Client() = default;
const TeeKey& Client::key() const { return state_->key; }

Result<std::unique_ptr<Client>> Client::create(ClientOptions options, EvidenceProvider& evidence, TeeKey key) {
  CAIRN_TRY(options.url, checked_base(std::move(options.url)));
  CAIRN_CHECK(check_header("API key", options.api_key));
  CAIRN_CHECK(check_header("AAInstanceInfo", options.instance_info));
  return std::unique_ptr<Client>(new Client(std::make_unique<State>(std::move(options), &evidence, std::move(key))));
}

Result<std::unique_ptr<Client>> Client::with_token(ClientOptions options, std::string token, TeeKey key) {
  CAIRN_TRY(options.url, checked_base(std::move(options.url)));
  CAIRN_CHECK(check_header("API key", options.api_key));
  CAIRN_CHECK(check_header("token", token));
  auto state = std::make_unique<State>(std::move(options), nullptr, std::move(key));
  state->token = std::move(token);
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

net::Task<Secret> Client::resource(ResourceUri uri) {
  State& s = *state_;
  for (int attempt = 1;; ++attempt) {
    if (s.evidence && s.sessions == 0) CAIRN_CO_CHECK(co_await s.new_session(0));
    const std::uint64_t session = s.sessions;
    CAIRN_CO_TRY(auto response, co_await s.get(uri));
    if (response.status == 200) {
      auto opened = s.key.open(response.body);
      if (!opened) co_return fail(std::move(opened.error()).in("the key broker's answer for " + uri.path()));
      co_return opened;
    }
    if (response.status != 401 || !s.evidence || attempt >= limits::resource_attempts)
      co_return refused("the key broker", uri.path(), response);
    CAIRN_CO_CHECK(co_await s.new_session(session));
  }
}

net::Task<std::string> Client::token() {
  State& s = *state_;
  if (!s.evidence) co_return s.token;
  const net::RetryPolicy policy{.attempts = limits::handshake_attempts,
                                .first = s.options.handshake_pause,
                                .factor = 1.0,
                                .most = s.options.handshake_pause,
                                .jitter = 0};
  const std::function<net::Task<>()> handshake = [&s] { return s.new_session(s.sessions); };
  CAIRN_CO_CHECK(co_await net::retry(policy, handshake));
  co_return s.token;
}

net::Task<std::string> attestation_service_token(AttestationServiceOptions options, EvidenceProvider& evidence) {
  CAIRN_CO_TRY(const std::string base, checked_base(options.url));
  CAIRN_CO_CHECK(check_header("API key", options.api_key));
  CAIRN_CO_CHECK(check_header("AAInstanceInfo", options.instance_info));
  AttestationRequest request{.additional_data = options.additional_data, .policy_ids = options.policy_ids};
  CAIRN_CO_TRY(request.tee, co_await evidence.tee_type());
  CAIRN_CO_TRY(request.evidence, co_await evidence.evidence({}));
  if (options.profile == Profile::p2) {
    CAIRN_CO_TRY(request.additional_evidence, co_await evidence.additional_evidence({}));
  }
  CAIRN_CO_TRY(std::string body, attestation_service_body(options.profile, request));
  net::HttpClient http(http_options(options.extra_roots, options.timeout));
  net::ClientRequest post{.method = "POST", .url = base + "/attestation", .body = std::move(body)};
  add_common_headers(post.headers, options.api_key, options.instance_info);
  auto response = co_await http.send(std::move(post));
  if (!response) co_return fail(std::move(response.error()).in("the attestation service at " + base));
  if (response->status != 200) co_return refused("the attestation service", "the evidence", *response);
  while (!response->body.empty() && response->body.back() == '\n') response->body.pop_back();
  if (response->body.empty())
    co_return fail(ErrorCode::malformed, "token", "the attestation service's answer is empty");
  co_return std::move(response->body);
}

bool token_is_current(std::string_view token, Time now) {
  const auto jws = crypto::parse_jws(token);
  if (!jws) return false;
  const auto claims = jws->claims();
  return claims && crypto::check_times(*claims, now, {.leeway = 0, .require_exp = false}).has_value();
}

}  // namespace cairn::kbs
