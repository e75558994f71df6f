#include "cli/verify/token.h"

#include <algorithm>
#include <iomanip>
#include <ostream>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/verify/binding.h"
#include "cli/verify/report.h"
#include "evidence/nvidia/nras.h"

namespace cairn::cli {
namespace {

using tdx::Finding;
using token::Trust;
using token::Verified;

constexpr std::size_t kMaxBundle = 4U << 20;
constexpr std::size_t kMaxTrust = 1U << 20;  // a file of certificates or keys

bool looks_like_jwt(std::string_view text) {
  return text.starts_with("eyJ") && std::ranges::count(text, '.') == 2 && text.find_first_of(" \t\r\n") == text.npos;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Text of a claim for a reader; what is no text as JSON.
std::string shown(const Json& value) {
  return printable(value.is_string() ? value.get<std::string>() : compact_json(value), 200);
}

// The claim `path` ("quote.body.mr_td") about the CPU evidence: Simple tokens flatten, EARs nest. Null where absent.
const Json& claim(const Verified& token, const std::string& path) {
  static const Json none;
  if (token.kind == token::Kind::simple) {
    const auto it = token.evidence.find(token.tee + "." + path);
    return it == token.evidence.end() ? none : *it;
  }
  const Json* at = &token.evidence;
  for (std::string rest = token.tee + "." + path; !rest.empty();) {
    const auto dot = std::min(rest.find('.'), rest.size());
    const auto it = at->is_object() ? at->find(rest.substr(0, dot)) : at->end();
    if (!at->is_object() || it == at->end()) return none;
    at = &*it;
    rest.erase(0, dot + 1);
  }
  return *at;
}

std::optional<Bytes> hex_claim(const Json& value) {
  if (!value.is_string()) return std::nullopt;
  auto bytes = from_hex(value.get_ref<const std::string&>());
  return bytes ? std::optional(*std::move(bytes)) : std::nullopt;
}

// The registers that a token reports, against those the caller wants.
void check_registers(const Verified& token, const tdx::Policy& policy, TokenJudgement& out) {
  const std::pair<const char*, const std::vector<tdx::Register>*> wanted[] = {
      {"mr_td", &policy.mr_td},    {"mr_seam", &policy.mr_seam}, {"rtmr_0", &policy.rtmr[0]},
      {"rtmr_1", &policy.rtmr[1]}, {"rtmr_2", &policy.rtmr[2]},  {"rtmr_3", &policy.rtmr[3]},
  };
  for (const auto& [name, list] : wanted) {
    const auto value = hex_claim(claim(token, std::string("quote.body.") + name));
    if (value) out.facts.emplace_back(name, hex(*value));
    if (list->empty()) continue;
    if (!value)
      out.findings.push_back({name, "the token does not say it"});
    else if (std::ranges::none_of(*list, [&](const auto& one) { return equal(one.view(), *value); }))
      out.findings.push_back({name, hex(*value) + " is not among the reference values"});
    else
      out.checked.push_back(std::string(name) + " is a reference value");
  }
}

void check_binding(const Verified& token, const tdx::Policy& policy, TokenJudgement& out) {
  const auto it = token.evidence.is_object() ? token.evidence.find("report_data") : token.evidence.end();
  const auto data = token.evidence.is_object() && it != token.evidence.end() ? hex_claim(*it) : std::nullopt;
  if (policy.report_data && (!data || !equal(*data, policy.report_data->view())))
    out.findings.push_back({"report_data", "the evidence answers something else than expected"});
  if (token.runtime_data.is_null()) return;
  const auto hash = data ? bound_by(token.runtime_data, *data) : std::nullopt;
  if (hash)
    out.checked.push_back("the evidence is bound to the runtime data by " + std::string(crypto::hash_name(*hash)));
  else if (data)
    out.findings.push_back({"runtime_data", "the report data is not the hash of the token's runtime data"});
}

struct Registers {
  std::array<Bytes, 4> value = {Bytes(48), Bytes(48), Bytes(48), Bytes(48)};
  std::array<bool, 4> extended{};
};
Result<Registers> replay(const Json& events) {
  Registers out;
  for (const auto& event : events) {
    const Json index = event.is_object() ? event.value("index", Json()) : Json();
    if (!index.is_number_integer()) return fail(ErrorCode::malformed, "uefi_event_logs", "an event without index");
    if (event.value("type_name", Json()) == "EV_NO_ACTION") continue;
    const auto mr = index.get<std::int64_t>();
    if (mr < 1 || mr > 4) return fail(ErrorCode::evidence_rejected, "uefi_event_logs", "an event of no RTMR");
    std::optional<Bytes> digest;
    for (const auto& one : event.value("digests", Json::array()))
      if (one.is_object() && one.value("alg", Json()) == "SHA-384") digest = hex_claim(one.value("digest", Json()));
    if (!digest || digest->size() != 48)
      return fail(ErrorCode::malformed, "uefi_event_logs", "an event without SHA-384 digest");
    const auto at = static_cast<std::size_t>(mr - 1);
    crypto::Hasher hasher(crypto::Hash::sha384);
    out.value[at] = hasher.update(out.value[at]).update(*digest).finish();
    out.extended[at] = true;
  }
  return out;
}

// RTMR3 may be explained by an agent's log of another form, which tokens do not carry.
void check_event_log(const Verified& token, TokenJudgement& out) {
  const Json& events = claim(token, "uefi_event_logs");
  if (!events.is_array() || events.empty()) return;
  const auto replayed = replay(events);
  if (!replayed) {
    out.findings.push_back({"uefi_event_logs", replayed.error().message});
    return;
  }
  std::string held;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto reported = hex_claim(claim(token, "quote.body.rtmr_" + std::to_string(i)));
    if (reported && equal(*reported, replayed->value[i]))
      held += (held.empty() ? "RTMR" : ", RTMR") + std::to_string(i);
    else if (i < 3 || replayed->extended[i])
      out.findings.push_back({"uefi_event_logs", "the events do not replay to RTMR" + std::to_string(i)});
  }
  if (!held.empty()) out.checked.push_back(std::to_string(events.size()) + " events replay to " + held);
}

std::string vector_text(const Json& vector) {
  std::string out;
  if (vector.is_object())
    for (const auto& [name, tier] : vector.items()) out += (out.empty() ? "" : ", ") + name + " " + shown(tier);
  return out;
}

// Who signed, for a reader: the certificate that a chain vouches for, or the key's id.
std::string signer_of(const std::string& jwt) {
  const auto jws = crypto::parse_jws(jwt);
  if (!jws) return {};
  const Json header = jws->header.value("jwk", Json());
  if (const auto jwk = crypto::parse_jwk(header); jwk && !jwk->x5c.empty())
    return jwk->x5c.front().subject() + ", issued by " + jwk->x5c.front().issuer();
  return "key " + shown(jws->header.value("kid", Json("?")));
}

// Who says so: a name, or an EAR's developer and build.
std::string issuer_of(const Verified& token) {
  const auto text = [](const Json& object, const char* member) {
    const Json value = object.is_object() ? object.value(member, Json()) : Json();
    return value.is_string() ? printable(value.get<std::string>(), 200) : std::string("?");
  };
  if (token.kind == token::Kind::simple) return text(token.claims, "iss");
  const Json id = token.claims.value("ear.verifier-id", Json());
  return text(id, "developer") + ", " + text(id, "build");
}

Result<void> judge_service_token(const std::string& jwt, const Trust& trust, const tdx::Policy& policy, Time at,
                                 TokenJudgement& out) {
  out.form = "token";
  CAIRN_TRY(const Verified v, token::verify(jwt, trust, at));
  out.form = v.kind == token::Kind::ear ? "EAR" : "Simple token";
  out.signer = signer_of(jwt);
  out.issuer = issuer_of(v);
  out.issued = v.issued;
  out.expires = v.expires;
  out.simulated = v.simulated;
  out.claims = v.claims;
  out.facts.emplace_back("TEE", v.tee);
  for (const auto& module : v.submodules) {
    const std::string vector = vector_text(module.trust_vector);
    out.facts.emplace_back(module.name, module.status + " under policy " + joined(module.policy_ids) +
                                            (vector.empty() ? "" : ": " + vector));
    for (const auto& reason : module.reasons) out.facts.emplace_back("", "because " + printable(reason, 300));
  }
  for (const char* name : {"tcb_status", "root"})
    if (const Json& value = claim(v, name); !value.is_null()) out.facts.emplace_back(name, shown(value));
  if (auto good = token::satisfies(v, {.allow_simulated = policy.allow_simulated}); !good)
    out.findings.push_back({good.error().where, good.error().message});
  check_registers(v, policy, out);
  check_binding(v, policy, out);
  check_event_log(v, out);
  return {};
}

void appraise_device(const std::string& name, const Json& claims, TokenJudgement& out) {
  std::string facts;
  for (const char* member : {"hwmodel", "ueid", "x-nvidia-gpu-driver-version", "x-nvidia-gpu-vbios-version", "measres"})
    if (claims.contains(member))
      facts += (facts.empty() ? "" : ", ") + std::string(member) + " " + shown(claims[member]);
  out.facts.emplace_back(name, facts);
  if (claims.contains("x-nvidia-error-details"))
    out.findings.push_back({"device", name + " was refused: " + shown(claims["x-nvidia-error-details"])});
  else if (claims.value("measres", Json()) != "success")
    out.findings.push_back({"measres", name + "'s measurements are not the reference ones"});
}

Result<void> judge_nras(const Json& bundle, const Trust& trust, const tdx::Policy& policy, Time at,
                        TokenJudgement& out) {
  out.form = "NRAS token";
  CAIRN_TRY(const nvidia::NrasAnswer answer, nvidia::verify_nras(bundle, trust.keys, nvidia::kNrasIssuer, at));
  out.claims = answer.overall;
  out.signer = signer_of(bundle[0][1].get<std::string>());
  out.issuer = nvidia::kNrasIssuer;
  out.issued = answer.issued;
  out.expires = answer.expires;
  for (const auto& [label, claims] : answer.devices) appraise_device(printable(label, 32), claims, out);
  out.facts.emplace_back("nonce", answer.nonce);
  if (!answer.positive) out.findings.push_back({"overall", "the service's overall result is not positive"});
  if (policy.report_data && answer.nonce != hex(policy.report_data->view().first(32)))
    out.findings.push_back({"report_data", "the devices answer another nonce than expected"});
  return {};
}

}  // namespace

std::optional<TokenText> find_token(ByteView bytes) {
  const std::string_view text = trimmed(as_text(bytes));
  if (looks_like_jwt(text)) return TokenText{std::string(text), nullptr};
  if (text.empty() || (text.front() != '[' && text.front() != '{')) return std::nullopt;
  const auto json = parse_json(text, {.bytes = kMaxBundle, .depth = 16});
  if (!json) return std::nullopt;
  if (nvidia::looks_like_nras(*json)) return TokenText{{}, *json};
  const Json token = json->is_object() && json->size() == 1 ? json->value("token", Json()) : Json();
  if (token.is_string() && looks_like_jwt(token.get_ref<const std::string&>()))
    return TokenText{token.get<std::string>(), nullptr};
  return std::nullopt;
}

Result<Trust> read_token_trust(const std::vector<std::filesystem::path>& files) {
  Trust out;
  for (const auto& file : files) {
    CAIRN_TRY(const std::string text, read_text(file, kMaxTrust));
    if (text.contains("-----BEGIN")) {
      auto some = crypto::Certificate::from_pem(text);
      if (!some) return fail(std::move(some.error()).in(file.string()));
      out.roots.insert(out.roots.end(), some->begin(), some->end());
      continue;
    }
    auto keys = parse_json(text).and_then([](const Json& set) { return crypto::parse_jwk_set(set); });
    if (!keys) return fail(std::move(keys.error()).in(file.string()));
    for (auto& key : *keys) out.keys.push_back(std::move(key));
  }
  return out;
}

TokenJudgement judge_token(const TokenText& token, const Trust& trust, const tdx::Policy& policy, Time at) {
  TokenJudgement out;
  const auto done = token.jwt.empty() ? judge_nras(token.bundle, trust, policy, at, out)
                                      : judge_service_token(token.jwt, trust, policy, at, out);
  if (done) return out;
  TokenJudgement failed;
  failed.form = out.form;
  failed.failure = done.error().where.empty() ? std::string(name(done.error().code)) : done.error().where;
  failed.detail = done.error().message;
  if (trust.roots.empty() && trust.keys.empty())
    failed.detail += "; name its issuer's authority or keys with --token-root";
  return failed;
}

void print(std::ostream& out, const std::string& file, const TokenJudgement& j, Time at) {
  const auto row = [&](std::string_view label, const std::string& text) {
    out << "  " << std::left << std::setw(14) << label << text << '\n';
  };
  out << file << ": " << (j.affirming() ? "AFFIRMING: " : "NOT AFFIRMING: ") << j.form;
  if (j.simulated) out << " [SIMULATED: the evidence is a simulator's]";
  out << '\n';
  row("checked at", rfc3339(at));
  if (!j.failure.empty()) {
    out << "  - " << j.failure << ": " << j.detail << '\n';
    return;
  }
  row("signed by", j.signer);
  row("issuer", j.issuer);
  row("issued", (j.issued.seconds ? rfc3339(j.issued) : "unknown") + ", expires " + rfc3339(j.expires));
  for (const auto& [label, text] : j.facts) row(label, text);
  out << "  + the signature, its key and the token's times hold\n";
  for (const auto& text : j.checked) out << "  + " << text << '\n';
  for (const auto& f : j.findings) out << "  - " << f.rule << ": " << f.message << '\n';
}

Json to_json(const std::string& file, const TokenJudgement& j, Time at) {
  Json out = {{"file", file},         {"form", j.form},     {"affirming", j.affirming()}, {"checked_at", rfc3339(at)},
              {"failure", j.failure}, {"detail", j.detail}, {"simulated", j.simulated},   {"findings", Json::array()}};
  for (const auto& f : j.findings) out["findings"].push_back({{"rule", f.rule}, {"message", f.message}});
  if (!j.failure.empty()) return out;
  out["signer"] = j.signer;
  out["issuer"] = j.issuer;
  out["issued"] = rfc3339(j.issued);
  out["expires"] = rfc3339(j.expires);
  out["checked"] = j.checked;
  out["claims"] = j.claims;
  return out;
}

}  // namespace cairn::cli
