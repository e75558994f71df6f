#include "trustee/as/request.h"

#include "base/encoding.h"
#include "base/log.h"
#include "trustee/as/policies.h"
#include "trustee/limits.h"

namespace cairn::trustee::as {
namespace {

std::unexpected<Rejection> bad(std::string field, std::string detail) {
  return reject(Code::invalid_argument, "request", std::move(detail), std::move(field));
}

// Member `name`, nullptr where absent or null: clients write null for what they do not use.
const Json* member(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Outcome<std::string> text(const Json& object, const char* name) {
  const Json* value = member(object, name);
  if (!value || !value->is_string()) return bad(name, "the request lacks the text \"" + std::string(name) + "\"");
  return value->get<std::string>();
}

Outcome<crypto::Hash> hash_named(const Json& object, const char* name) {
  const Json* value = member(object, name);
  if (!value || (value->is_string() && value->get_ref<const std::string&>().empty())) return crypto::Hash::sha384;
  const auto hash = value->is_string() ? crypto::hash_by_name(value->get_ref<const std::string&>()) : std::nullopt;
  if (!hash || *hash == crypto::Hash::sha1) return bad(name, "hash algorithms are sha256, sha384, sha512 and sm3");
  return *hash;
}

Outcome<Bytes> decode(const Json& value, const char* field) {
  auto bytes = value.is_string() ? from_base64url(value.get_ref<const std::string&>()) : fail(ErrorCode::malformed, "");
  if (!bytes)
    return reject(Code::invalid_encoding, "base64url", std::string(field) + " is not base64url without padding", field);
  return *std::move(bytes);
}

// {"raw":b64url} or {"structured":JSON}, absent or null.
Outcome<Bound> bind(const Json& object, const char* name, crypto::Hash hash) {
  const Json* data = member(object, name);
  if (!data) return Bound{};
  if (!data->is_object() || data->size() != 1)
    return bad(name, std::string(name) + " is {\"raw\": …} or {\"structured\": …}");
  if (const auto structured = data->find("structured"); structured != data->end())
    return bind_structured(*structured, hash);
  const auto raw = data->find("raw");
  if (raw == data->end()) return bad(name, std::string(name) + " is {\"raw\": …} or {\"structured\": …}");
  auto bytes = decode(*raw, name);
  if (!bytes) return std::unexpected(bytes.error());
  return Bound{*std::move(bytes), nullptr};
}

Outcome<Bound> bind_new_init_data(const Json& object) {
  const Json* data = member(object, "init_data");
  if (!data) return Bound{};
  if (data->is_object() && data->size() == 1) {
    if (const auto digest = data->find("init_data_digest"); digest != data->end()) {
      auto bytes = decode(*digest, "init_data_digest");
      if (!bytes) return std::unexpected(bytes.error());
      return Bound{*std::move(bytes), nullptr};
    }
    if (const auto toml = data->find("init_data_toml"); toml != data->end() && toml->is_string())
      return bind_init_toml(toml->get_ref<const std::string&>());
  }
  return bad("init_data", "init_data is {\"init_data_digest\": …} or {\"init_data_toml\": …}");
}

Outcome<Evidence> parse_evidence(const Json& object, Form form) {
  if (!object.is_object()) return bad("verification_requests", "a verification request is an object");
  auto tee = text(object, "tee");
  if (!tee) return std::unexpected(tee.error());
  if (tee->size() > limits::kTeeName) return bad("tee", "the TEE's name is too long");
  const auto encoded = text(object, "evidence");
  if (!encoded) return std::unexpected(encoded.error());
  const auto decoded = decode(*encoded, "evidence");
  if (!decoded) return std::unexpected(decoded.error());
  auto evidence = parse_json(as_text(*decoded));
  if (!evidence)
    return reject(Code::invalid_format, "evidence", "the evidence is not JSON: " + evidence.error().text(), "evidence");
  const auto hash = hash_named(object, "runtime_data_hash_algorithm");
  if (!hash) return std::unexpected(hash.error());
  auto runtime = bind(object, "runtime_data", *hash);
  if (!runtime) return std::unexpected(runtime.error());
  const auto init_hash = hash_named(object, "init_data_hash_algorithm");
  if (!init_hash) return std::unexpected(init_hash.error());
  auto init = form == Form::old_form ? bind(object, "init_data", *init_hash) : bind_new_init_data(object);
  if (!init) return std::unexpected(init.error());
  return Evidence{*std::move(tee), *std::move(evidence), *std::move(runtime), *std::move(init)};
}

Outcome<std::vector<std::string>> parse_policy_ids(const Json& body, Form form) {
  const Json* ids = member(body, "policy_ids");
  if (!ids && form == Form::old_form) return bad("policy_ids", "the request lacks the array \"policy_ids\"");
  std::vector<std::string> out;
  if (ids && !ids->is_array()) return bad("policy_ids", "policy_ids is not an array");
  if (ids)
    for (const auto& id : *ids) {
      if (!id.is_string() || !valid_policy_id(id.get_ref<const std::string&>()))
        return bad("policy_ids", "a policy id is 1 to 128 letters, digits, '_' or '-'");
      out.push_back(id.get<std::string>());
    }
  if (out.size() > limits::kPolicyIds) return bad("policy_ids", "more than 16 policies");
  if (out.empty()) out.emplace_back("default");
  return out;
}

}  // namespace

Outcome<Bound> bind_structured(const Json& data, crypto::Hash hash) {
  const auto canonical = canonical_json(data);
  if (!canonical) return bad("runtime_data", "the structured data has no canonical form: " + canonical.error().message);
  return Bound{crypto::digest(hash, as_bytes(*canonical)), data};
}

Outcome<Bound> bind_init_toml(std::string_view text) {
  const auto toml = parse_toml(text, "init data");
  if (!toml) return bad("init_data", "the init data is not TOML: " + toml.error().text());
  const Json version = toml->value("version", Json()), algorithm = toml->value("algorithm", Json());
  if (version != "0.1.0") return bad("init_data", "the init data's version is not 0.1.0");
  const auto hash =
      algorithm.is_string() ? crypto::hash_by_name(algorithm.get_ref<const std::string&>()) : std::nullopt;
  if (!hash || (*hash != crypto::Hash::sha256 && *hash != crypto::Hash::sha384 && *hash != crypto::Hash::sha512))
    return bad("init_data", "the init data's algorithm is not sha256, sha384 or sha512");
  const Json data = toml->value("data", Json::object());
  if (!data.is_object()) return bad("init_data", "[data] of the init data is not a table");
  for (const auto& value : data)
    if (!value.is_string()) return bad("init_data", "[data] of the init data holds something other than texts");
  return Bound{crypto::digest(*hash, as_bytes(text)), data};
}

Outcome<AttestationRequest> parse_attestation_request(std::string_view body) {
  const auto json = parse_json(body, {.bytes = limits::kBody});
  if (!json) return reject(Code::invalid_json, "json", "Json deserialize error: " + json.error().text());
  if (!json->is_object()) return bad("", "the request is not a JSON object");
  AttestationRequest out;
  const Json* many = member(*json, "verification_requests");
  out.form = many ? Form::new_form : Form::old_form;
  auto ids = parse_policy_ids(*json, out.form);
  if (!ids) return std::unexpected(ids.error());
  out.policy_ids = *std::move(ids);
  if (many && (!many->is_array() || many->empty() || many->size() > limits::kEvidences))
    return bad("verification_requests", "verification_requests is an array of 1 to 16 entries");
  const Json one = Json::array({*json});
  for (const auto& entry : many ? *many : one) {
    auto evidence = parse_evidence(entry, out.form);
    if (!evidence) return std::unexpected(evidence.error());
    out.evidences.push_back(*std::move(evidence));
  }
  return out;
}

}  // namespace cairn::trustee::as
