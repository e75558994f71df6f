#include "guest/cdh/sealed_secret.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/encoding.h"
#include "base/log.h"
#include "crypto/aead.h"
#include "crypto/jose.h"
#include "guest/cdh/limits.h"

namespace cairn::cdh {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// A name that stays inside its folder whatever is done with it.
bool is_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.front() != '.' &&
         std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; });
}

Bytes base64_member(Fields& fields, std::string_view key) {
  const auto text = fields.required<std::string>(key);
  auto bytes = from_base64_lenient(text);
  if (!bytes) fields.problem(key, "is not base64");
  return std::move(bytes).value_or(Bytes{});
}

void ignore_objects(Fields& fields) {
  for (const char* key : {"provider_settings", "annotations"}) {
    const Json* value = fields.raw(key);
    if (value != nullptr && !value->is_object()) fields.problem(key, "must be an object");
  }
}

}  // namespace

Result<SealedSecret> split_sealed_secret(std::string_view text) {
  if (text.size() > limits::sealed_secret_bytes)
    return fail(ErrorCode::too_large, "sealed secret", "the sealed secret is too large");
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  std::array<std::string_view, 4> sections;
  std::string_view rest = text;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const std::size_t dot = rest.find('.');
    if ((dot == std::string_view::npos) != (i + 1 == sections.size()))
      return fail(ErrorCode::malformed, "sealed secret",
                  "a sealed secret has exactly four sections: sealed.<header>.<payload>.<signature>");
    sections[i] = rest.substr(0, dot);
    rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
  }
  if (sections[0] != "sealed")
    return fail(ErrorCode::malformed, "sealed secret", "a sealed secret begins with \"sealed.\"");
  CAIRN_TRY(const Bytes payload, from_base64url(sections[2]));
  if (!is_utf8(as_text(payload))) return fail(ErrorCode::malformed, "payload", "the payload is not UTF-8");
  SealedSecret out;
  out.signed_part = std::string(sections[1]) + "." + std::string(sections[2]);
  out.jws = out.signed_part + "." + std::string(sections[3]);
  out.payload = as_text(payload);
  return out;
}

Result<SignerKeyId> signer_of(const SealedSecret& secret) {
  const auto jws = crypto::parse_jws(secret.jws);
  if (!jws)
    return fail(ErrorCode::crypto_failed, "signature",
                "the sealed secret carries no valid signature (" + jws.error().message +
                    "); unsigned ones are opened only with --accept-unsigned-secrets");
  if (jws->alg != crypto::JwsAlg::es256)
    return fail(ErrorCode::crypto_failed, "alg",
                "sealed secrets are signed with ES256, not " + std::string(crypto::jws_alg_name(jws->alg)));
  const auto kid = jws->header.find("kid");
  if (kid == jws->header.end() || !kid->is_string())
    return fail(ErrorCode::crypto_failed, "kid", "the signature names no key");
  const auto& name = kid->get_ref<const std::string&>();
  if (name.starts_with("kbs:")) {
    CAIRN_TRY(auto uri, kbs::ResourceUri::parse(name));
    return uri;
  }
  if (!is_file_name(name))
    return fail(ErrorCode::crypto_failed, "kid", "the key's name is not a plain file name: " + printable(name));
  return name;
}

Result<crypto::PublicKey> signer_key(std::string_view jwk_text) {
  CAIRN_TRY(Json json, parse_json(jwk_text, {.bytes = limits::key_file_bytes, .depth = 4}));
  if (json.is_object()) {
    if (const auto d = json.find("d"); d != json.end() && d->is_string()) {
      auto& text = d->get_ref<std::string&>();
      wipe(text.data(), text.size());
      json.erase(d);
    }
  }
  CAIRN_TRY(const auto jwk, crypto::parse_jwk(json));
  if (jwk.key.type() != crypto::KeyType::ec_p256)
    return fail(ErrorCode::crypto_failed, "jwk", "the key that signs sealed secrets must be P-256");
  return jwk.key;
}

Result<void> verify(const SealedSecret& secret, const crypto::PublicKey& key) {
  CAIRN_TRY(const auto jws, crypto::parse_jws(secret.jws));
  auto verified = crypto::verify_jws(jws, key, crypto::JwsAlg::es256);
  if (!verified) return fail(std::move(verified.error()).in("the sealed secret's signature does not verify"));
  return {};
}

Result<SealedPayload> parse_payload(std::string_view json_text) {
  CAIRN_TRY(const Json json, parse_json(json_text, {.bytes = limits::sealed_secret_bytes, .depth = 16}));
  Problems problems;
  Fields fields(json, "$", problems);
  if (fields.required<std::string>("version") != "0.1.0") fields.problem("version", "must be 0.1.0");
  const auto type = fields.required<std::string>("type");
  const auto provider = lower(fields.required<std::string>("provider"));
  ignore_objects(fields);
  SealedPayload out;
  if (type == "vault") {
    out = VaultSecret{fields.required<std::string>("name"), provider};
  } else if (type == "envelope") {
    EnvelopeSecret envelope{.key_id = fields.required<std::string>("key_id"),
                            .provider = provider,
                            .wrap_type = fields.required<std::string>("wrap_type"),
                            .encrypted_key = {},
                            .encrypted_data = {},
                            .iv = {}};
    envelope.encrypted_key = base64_member(fields, "encrypted_key");
    envelope.encrypted_data = base64_member(fields, "encrypted_data");
    envelope.iv = base64_member(fields, "iv");
    out = std::move(envelope);
  } else {
    fields.problem("type", "must be vault or envelope");
  }
  if (type == "vault" || type == "envelope") fields.done();
  CAIRN_CHECK(problems.result());
  return out;
}

Result<Secret> open_wrapped(std::string_view wrap_type, ByteView key, ByteView iv, ByteView data) {
  if (wrap_type != "A256GCM")
    return fail(ErrorCode::unsupported, "wrap_type",
                "only A256GCM is opened, not " + printable(wrap_type) + ", which does not protect against changes");
  if (key.size() != 32)
    return fail(ErrorCode::crypto_failed, "key",
                "the unwrapping key has " + std::to_string(key.size()) + " bytes, A256GCM needs 32");
  if (iv.size() != 12) return fail(ErrorCode::malformed, "iv", "A256GCM needs an IV of 12 bytes");
  return crypto::open(crypto::Aead::aes_256_gcm, key, iv, {}, data);
}

}  // namespace cairn::cdh
