#include "tng/ratls/verifier.h"

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "tng/limits.h"

namespace cairn::tng {
namespace {

constexpr std::size_t remembered_peers = 256;
// Begins the `where` of everything that keeps a peer from being accepted.
constexpr std::string_view attestation_prefix = "ratls.";

// The name the attestation service knows a TEE by.
std::string service_tee(std::string_view tee) { return tee == "sgx-dcap" ? "sgx" : std::string(tee); }

Json one_request(std::string_view tee, ByteView evidence, Json runtime_data) {
  return {{"tee", service_tee(tee)},
          {"evidence", base64url(evidence)},
          {"runtime_data", std::move(runtime_data)},
          {"init_data", nullptr},
          {"runtime_data_hash_algorithm", "sha384"}};
}

net::ClientOptions client_options() {
  net::ClientOptions out;
  out.timeout = limits::as_call;
  out.max_body = limits::token;
  return out;
}

Json verdict_facts(const token::Verified& token, BindingForm form) {
  Json modules = Json::array();
  for (const auto& m : token.submodules)
    modules.push_back(
        {{"name", m.name}, {"status", m.status}, {"policy_ids", m.policy_ids}, {"trust_vector", m.trust_vector}});
  return {{"tee", token.tee},
          {"token", token.kind == token::Kind::ear ? "ear" : "simple"},
          {"simulated", token.simulated},
          {"signer_verified", token.signer_trusted},
          {"binding", form == BindingForm::a ? "a" : "b"},
          {"expires", rfc3339(token.expires)},
          {"submodules", std::move(modules)}};
}

}  // namespace

Result<Json> attestation_request(const CocoEvidence& coco, const std::vector<std::string>& policy_ids) {
  CAIRN_TRY(Json runtime, parse_json(coco.runtime_data, {.bytes = limits::runtime_data, .depth = 16}));
  Json first = one_request(coco.tee, coco.evidence, {{"structured", std::move(runtime)}});
  if (!coco.additional || coco.additional->empty()) {
    first["init_data_hash_algorithm"] = nullptr;
    first["policy_ids"] = policy_ids;
    return first;
  }
  // Devices beside the CPU: the request shape of later services, one entry per component.
  CAIRN_TRY(const Json devices, parse_json(as_text(*coco.additional), {.bytes = limits::evidence, .depth = 32}));
  if (!devices.is_object()) return fail(ErrorCode::malformed, "additional evidence is not a JSON object");
  Json requests = Json::array({std::move(first)});
  for (const auto& [tee, evidence] : devices.items())
    requests.push_back(one_request(
        tee, as_bytes(evidence.is_string() ? evidence.get<std::string>() : compact_json(evidence)), nullptr));
  return Json{{"verification_requests", std::move(requests)}, {"policy_ids", policy_ids}};
}

Result<Verdict> check_token(std::string_view text, const PeerEvidence& peer, const Verify& config,
                            const token::Trust& trust, Time at) {
  auto token = token::verify(text, trust, at);
  if (!token) return fail(std::move(token).error().in("the token of the attestation service is not acceptable"));
  CAIRN_TRY(const Json sent, parse_json(peer.coco.runtime_data, {.bytes = limits::runtime_data, .depth = 16}));
  const token::Demands demands{.policy_ids = config.policy_ids,
                               .runtime_data = &sent,
                               .runtime_data_subset = peer.form == BindingForm::b,
                               .allow_simulated = config.allow_simulated};
  if (auto ok = token::satisfies(*token, demands); !ok) {
    if (ok.error().where == "simulated")
      return fail(ErrorCode::evidence_rejected, "simulated",
                  "the peer's TEE is a simulator; only a verify block with \"allow_simulated\": true accepts it");
    return fail(std::move(ok).error().in("the peer was not accepted"));
  }
  CAIRN_CHECK(check_echo(peer.form, peer.coco.runtime_data, token->runtime_data));
  if (token->tee != service_tee(peer.coco.tee))
    return fail(ErrorCode::evidence_rejected, "tee",
                "the token is about a " + printable(token->tee, 32) + ", the peer's evidence about a " +
                    printable(peer.coco.tee, 32));
  return Verdict{.tee = token->tee,
                 .simulated = token->simulated,
                 .signer_trusted = token->signer_trusted,
                 .form = peer.form,
                 .expires = std::min(token->expires, at.plus(config.max_session_age.count())),
                 .facts = verdict_facts(*token, peer.form)};
}

struct PeerVerifier::Waiter {
  net::Executor loop;
  net::Event event;
};

// Ends the verification under way for its waiters, also when its coroutine is cancelled.
struct PeerVerifier::Flight {
  PeerVerifier& verifier;
  Key key;
  std::optional<Result<VerdictPtr>> outcome;
  ~Flight() {
    verifier.finish(
        key, outcome ? *outcome : Result<VerdictPtr>(fail(ErrorCode::cancelled, "the verification was interrupted")));
  }
};

PeerVerifier::PeerVerifier(Verify config, token::Trust trust, BlockStatusPtr status)
    : config_(std::move(config)), trust_(std::move(trust)), status_(std::move(status)), client_(client_options()) {}

Result<std::shared_ptr<PeerVerifier>> PeerVerifier::create(Verify config, BlockStatusPtr status) {
  token::Trust trust;
  trust.embedded_key = config.trusted_certs_paths.empty();
  for (const auto& path : config.trusted_certs_paths) {
    auto text = read_text(path, kConfigFileMax);
    if (!text) return fail(std::move(text).error().in("trusted_certs_paths"));
    auto roots = crypto::Certificate::from_pem(*text);
    if (!roots) return fail(ErrorCode::malformed, path, "trusted_certs_paths: " + roots.error().message);
    if (roots->empty()) return fail(ErrorCode::malformed, path, "trusted_certs_paths: the file holds no certificate");
    trust.roots.insert(trust.roots.end(), roots->begin(), roots->end());
  }
  return std::shared_ptr<PeerVerifier>(new PeerVerifier(std::move(config), std::move(trust), std::move(status)));
}

std::optional<Result<VerdictPtr>> PeerVerifier::remembered(const Key& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return std::nullopt;
  Entry& entry = it->second;
  if (entry.verdict && now() < entry.verdict->expires) return Result<VerdictPtr>(entry.verdict);
  if (entry.error && monotonic_ms() < entry.error_until_ms) return Result<VerdictPtr>(fail(*entry.error));
  return std::nullopt;
}

net::Task<VerdictPtr> PeerVerifier::verify(Bytes certificate_der) {
  const Key key = crypto::sha256(certificate_der);
  for (;;) {
    std::shared_ptr<Waiter> waiter;
    const net::Executor here = co_await net::this_loop();
    {
      const std::scoped_lock lock(mutex_);
      if (auto known = remembered(key)) co_return *std::move(known);
      make_room();
      Entry& entry = entries_[key];
      if (!entry.in_flight) {
        entry.in_flight = true;
      } else {
        waiter = std::make_shared<Waiter>(here);
        entry.waiters.push_back(waiter);
      }
    }
    if (waiter) {
      CAIRN_CO_CHECK(co_await waiter->event.wait());
      continue;
    }
    Flight flight{*this, key, std::nullopt};
    const auto begin = std::chrono::steady_clock::now();
    flight.outcome = co_await appraise(certificate_der);
    if (!*flight.outcome && !flight.outcome->error().where.starts_with(attestation_prefix))
      flight.outcome->error().where.insert(0, attestation_prefix);
    status_->attestation.observe(std::chrono::steady_clock::now() - begin);
    if (*flight.outcome)
      status_->verified((**flight.outcome)->facts);
    else
      status_->verification_failed(flight.outcome->error());
    co_return *flight.outcome;
  }
}

void PeerVerifier::finish(const Key& key, const Result<VerdictPtr>& outcome) {
  std::vector<std::shared_ptr<Waiter>> waiters;
  {
    const std::scoped_lock lock(mutex_);
    Entry& entry = entries_[key];
    entry.in_flight = false;
    waiters.swap(entry.waiters);
    entry.verdict = outcome ? *outcome : nullptr;
    entry.error.reset();
    if (!outcome && outcome.error().code != ErrorCode::cancelled) {
      entry.error = outcome.error();
      entry.error_until_ms = monotonic_ms() + std::chrono::milliseconds(limits::negative_cache).count();
    }
  }
  for (const auto& waiter : waiters) net::post(waiter->loop, [waiter] { waiter->event.set(); });
}

void PeerVerifier::make_room() {
  if (entries_.size() < remembered_peers) return;
  const Time t = now();
  std::erase_if(entries_, [&](const auto& item) {
    const Entry& e = item.second;
    return !e.in_flight && !(e.verdict && t < e.verdict->expires);
  });
  // All in use by live peers: forget the one that would expire first.
  while (entries_.size() >= remembered_peers) {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it)
      if (!it->second.in_flight &&
          (oldest == entries_.end() || it->second.verdict->expires < oldest->second.verdict->expires))
        oldest = it;
    if (oldest == entries_.end()) return;
    entries_.erase(oldest);
  }
}

net::Task<VerdictPtr> PeerVerifier::appraise(const Bytes& certificate_der) {
  CAIRN_CO_TRY(const PeerEvidence peer,
               read_peer_certificate(certificate_der, now(), {.max_age_seconds = config_.max_evidence_age.count()}));
  CAIRN_CO_TRY(Json request, attestation_request(peer.coco, config_.policy_ids));
  CAIRN_CO_TRY(const std::string token, co_await ask_service(std::move(request)));
  CAIRN_CO_TRY(Verdict verdict, check_token(token, peer, config_, trust_, now()));
  co_return std::make_shared<const Verdict>(std::move(verdict));
}

net::Task<std::string> PeerVerifier::ask_service(Json request) {
  net::Headers headers{{"Content-Type", "application/json"}};
  for (const auto& [name, value] : config_.as_headers) headers.set(name, value);
  auto response = co_await client_.send({.method = "POST",
                                         .url = config_.as_addr + "/attestation",
                                         .headers = std::move(headers),
                                         .body = compact_json(request)});
  if (!response)
    co_return fail(ErrorCode::unavailable, "ratls.as_unreachable",
                   "the attestation service at " + config_.as_addr + " did not answer: " + response.error().message);
  if (response->status != 200)
    co_return fail(ErrorCode::evidence_rejected, "ratls.as_refused",
                   "the attestation service refused the peer's evidence (HTTP " + std::to_string(response->status) +
                       "): " + printable(response->body, limits::as_error_body));
  std::string token = std::move(response->body);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  co_return token;
}

}  // namespace cairn::tng
