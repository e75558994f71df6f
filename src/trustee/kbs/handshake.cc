#include "trustee/kbs/handshake.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/log.h"
#include "crypto/jose.h"
#include "trustee/api.h"
#include "trustee/limits.h"

namespace cairn::trustee::kbs {
namespace {

using as::AttestationRequest;
using as::Code;
using as::Outcome;

constexpr std::string_view kTees[] = {
    "azsnpvtpm", "aztdxvtpm", "az-snp-vtpm", "az-tdx-vtpm",  "sev",    "sgx", "snp",    "tdx",      "cca",
    "csv",       "se",        "sample",      "sampledevice", "system", "tpm", "nvidia", "hygondcu", "hygontpm"};

std::unexpected<as::Rejection> bad(std::string detail, std::string field) {
  return as::reject(Code::invalid_argument, "request", std::move(detail), std::move(field));
}

// The client's key is what answers are encrypted to: refuse early what could not be used later.
Outcome<> check_tee_key(const Json& key, Protocol protocol) {
  const auto parsed = crypto::parse_jwk(key);
  if (!parsed) return bad("tee-pubkey is not a usable key: " + parsed.error().text(), "tee-pubkey");
  const auto& alg = parsed->alg;
  if (protocol == Protocol::v0_1_0 && alg != "RSA1_5")
    return bad("protocol 0.1.0 knows TEE keys of algorithm RSA1_5 only", "tee-pubkey");
  if (!crypto::tee_pubkey(parsed->key, alg))
    return bad("tee-pubkey's algorithm is not supported, or does not fit its type", "tee-pubkey");
  if (protocol == Protocol::v0_4_0 && alg == "RSA1_5")
    spdlog::warn("a client of protocol 0.4.0 uses a key for RSA1_5, which is deprecated");
  return {};
}

Outcome<as::Evidence> evidence(std::string tee, Json value, const Json& runtime_data, as::Bound init) {
  auto bound = as::bind_structured(runtime_data, crypto::Hash::sha384);
  if (!bound) return std::unexpected(bound.error());
  return as::Evidence{std::move(tee), std::move(value), *std::move(bound), std::move(init)};
}

Outcome<AttestationRequest> parse_0_1_0(const Json& body, const Session& session) {
  const auto text = text_member(body, "tee-evidence");
  if (!text || !body.contains("tee-pubkey")) return bad("the body is {\"tee-pubkey\": …, \"tee-evidence\": text}", "");
  if (auto checked = check_tee_key(body["tee-pubkey"], session.protocol); !checked)
    return std::unexpected(checked.error());
  auto value = parse_json(*text, {.bytes = limits::kBody});
  if (!value)
    return as::reject(Code::invalid_format, "evidence", "the evidence is not JSON: " + value.error().text(),
                      "tee-evidence");
  auto one =
      evidence(session.tee, *std::move(value), {{"nonce", session.nonce}, {"tee-pubkey", body["tee-pubkey"]}}, {});
  if (!one) return std::unexpected(one.error());
  return AttestationRequest{as::Form::old_form, {*std::move(one)}, {"default"}};
}

Outcome<as::Bound> init_data(const Json& body) {
  const Json init = body.value("init-data", Json());
  if (init.is_null()) return as::Bound{};
  const auto format = text_member(init, "format"), text = text_member(init, "body");
  if (format != "toml" || !text) return bad("init-data is {\"format\": \"toml\", \"body\": text}", "init-data");
  return as::bind_init_toml(*text);
}

// Additional evidence is a text: "" or a JSON object of TEE and evidence. Each is bound to nonce and key alone.
Outcome<> add_devices(const std::string& text, const Json& runtime_data, std::vector<as::Evidence>& out) {
  if (text.empty()) return {};
  const auto devices = parse_json(text, {.bytes = limits::kBody});
  if (!devices || !devices->is_object() || devices->size() >= limits::kEvidences)
    return bad("additional_evidence is not the text of a JSON object", "tee-evidence");
  for (const auto& [tee, value] : devices->items()) {
    auto one = evidence(tee, value, runtime_data, {});
    if (!one) return std::unexpected(one.error());
    out.push_back(*std::move(one));
  }
  return {};
}

Outcome<AttestationRequest> parse_0_4_0(const Json& body, const Session& session) {
  const Json runtime = body.value("runtime-data", Json()), tee_evidence = body.value("tee-evidence", Json());
  const auto nonce = text_member(runtime, "nonce");
  const auto additional = text_member(tee_evidence, "additional_evidence");
  if (!nonce || !runtime.contains("tee-pubkey") || !additional || !tee_evidence.contains("primary_evidence"))
    return bad(
        "the body lacks runtime-data (nonce, tee-pubkey) or tee-evidence (primary_evidence, additional_evidence)", "");
  if (*nonce != session.nonce)
    return as::reject(Code::binding_mismatch, "nonce", "the nonce is not the one that this session was given",
                      "runtime-data");
  if (auto checked = check_tee_key(runtime["tee-pubkey"], session.protocol); !checked)
    return std::unexpected(checked.error());
  auto init = init_data(body);
  if (!init) return std::unexpected(init.error());
  const Json device_data = {{"nonce", *nonce}, {"tee-pubkey", runtime["tee-pubkey"]}};
  Json primary_data = device_data;
  primary_data["additional-evidence"] = *additional;
  auto primary = evidence(session.tee, tee_evidence["primary_evidence"], primary_data, *std::move(init));
  if (!primary) return std::unexpected(primary.error());
  AttestationRequest out{as::Form::new_form, {*std::move(primary)}, {"default"}};
  if (auto added = add_devices(*additional, device_data, out.evidences); !added) return std::unexpected(added.error());
  return out;
}

}  // namespace

Result<AuthRequest> parse_auth(std::string_view body) {
  CAIRN_TRY(const Json json, parse_json(body, {.bytes = limits::kBody}));
  const auto version = text_member(json, "version"), tee = text_member(json, "tee");
  if (!version || !tee) return fail(ErrorCode::malformed, "the request lacks the texts \"version\" and \"tee\"");
  Protocol protocol{};
  if (*version == "0.1.0")
    protocol = Protocol::v0_1_0;
  else if (*version == "0.4.0")
    protocol = Protocol::v0_4_0;
  else
    return fail(ErrorCode::invalid_argument, "version",
                "KBS Client Protocol Version Mismatch: expect =0.1.0 or =0.4.0 while the request is " +
                    printable(*version, 32));
  if (std::ranges::find(kTees, *tee) == std::end(kTees))
    return fail(ErrorCode::invalid_argument, "tee", "unknown TEE \"" + printable(*tee, 32) + "\"");
  return AuthRequest{protocol, *tee};
}

as::Outcome<AttestationRequest> parse_attest(std::string_view body, const Session& session) {
  const auto json = parse_json(body, {.bytes = limits::kBody});
  if (!json) return as::reject(Code::invalid_json, "json", "the body is not JSON: " + json.error().text());
  if (!json->is_object()) return bad("the body is not a JSON object", "");
  return session.protocol == Protocol::v0_1_0 ? parse_0_1_0(*json, session) : parse_0_4_0(*json, session);
}

int failure_status(Protocol protocol) { return protocol == Protocol::v0_1_0 ? 500 : 401; }

}  // namespace cairn::trustee::kbs
