#include "guest/cdh/hub.h"

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "guest/cdh/limits.h"
#include "guest/cdh/sealed_secret.h"

namespace cairn::cdh {
namespace {

using Clock = std::chrono::steady_clock;

struct AnnotationPacket {
  std::string kid, provider, wrap_type;
  Bytes wrapped_data, iv;
};

// Version 2 has version, provider and settings; version 1 lacks them.
Result<AnnotationPacket> parse_annotation(std::string_view text) {
  CAIRN_TRY(const Json json, parse_json(text, {.bytes = limits::annotation_bytes, .depth = 16}));
  Problems problems;
  Fields fields(json, "$", problems);
  if (fields.value_or<std::string>("version", "0.1.0") != "0.1.0") fields.problem("version", "must be 0.1.0");
  AnnotationPacket packet;
  packet.kid = fields.required<std::string>("kid");
  packet.provider = fields.value_or<std::string>("provider", "kbs");
  packet.wrap_type = fields.required<std::string>("wrap_type");
  auto wrapped = from_base64_lenient(fields.required<std::string>("wrapped_data"));
  auto iv = from_base64_lenient(fields.required<std::string>("iv"));
  if (!wrapped) fields.problem("wrapped_data", "is not base64");
  if (!iv) fields.problem("iv", "is not base64");
  (void)fields.raw("provider_settings");
  (void)fields.raw("annotations");
  fields.done();
  CAIRN_CHECK(problems.result());
  packet.wrapped_data = *std::move(wrapped);
  packet.iv = *std::move(iv);
  return packet;
}

// The annotation packet inside a key provider's input.
Result<std::string> annotation_of(ByteView input) {
  CAIRN_TRY(const Json json, parse_json(as_text(input), {.bytes = limits::annotation_bytes, .depth = 32}));
  if (!json.is_object() || json.value("op", Json()) != "keyunwrap")
    return fail(ErrorCode::malformed, "op", "only keyunwrap is served");
  const auto annotation = json.value(Json::json_pointer("/keyunwrapparams/annotation"), Json());
  if (!annotation.is_string()) return fail(ErrorCode::malformed, "keyunwrapparams.annotation", "must be base64 text");
  CAIRN_TRY(const Bytes packet, from_base64_lenient(annotation.get_ref<const std::string&>()));
  return std::string(as_text(packet));
}

Secret key_provider_output(const Secret& key) {
  std::string text = R"({"keyunwrapresults":{"optsdata":[)";
  text.reserve(text.size() + 4 * key.size() + 8);
  for (std::size_t i = 0; i < key.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(key.view()[i]);
  text += "]}}";
  return Secret::take(std::move(text));
}

Result<void> write_private(const std::filesystem::path& path, ByteView bytes) {
  CAIRN_CHECK(make_dirs(path.parent_path(), 0700));
  return write_file(path, bytes, 0600);
}

}  // namespace

Hub::Hub(ResourceSource& source, kbs::EvidenceProvider* evidence, HubOptions options)
    : source_(source), evidence_(evidence), options_(std::move(options)) {}

net::Task<Secret> Hub::resource(std::string uri) {
  CAIRN_CO_TRY(auto parsed, kbs::ResourceUri::parse(uri));
  co_return co_await source_.get(std::move(parsed));
}

net::Task<> Hub::check_signature(const std::string& sealed) {
  CAIRN_CO_TRY(const SealedSecret secret, split_sealed_secret(sealed));
  CAIRN_CO_TRY(const SignerKeyId signer, signer_of(secret));
  Secret jwk;
  if (const auto* uri = std::get_if<kbs::ResourceUri>(&signer)) {
    CAIRN_CO_TRY(jwk, co_await source_.get(*uri));
  } else {
    CAIRN_CO_TRY(jwk, read_secret(options_.data_folder / "sealed-secret" / std::get<std::string>(signer),
                                  limits::key_file_bytes));
  }
  CAIRN_CO_TRY(const auto key, signer_key(as_text(jwk.view())));
  co_return verify(secret, key);
}

net::Task<Secret> Hub::unseal(std::string sealed) {
  CAIRN_CO_TRY(const SealedSecret secret, split_sealed_secret(sealed));
  if (options_.accept_unsigned_secrets)
    spdlog::warn("opening a sealed secret without verifying its signature, as configured");
  else
    CAIRN_CO_CHECK(co_await check_signature(sealed));
  CAIRN_CO_TRY(const SealedPayload payload, parse_payload(secret.payload));
  if (const auto* vault = std::get_if<VaultSecret>(&payload)) {
    if (vault->provider == "kbs") co_return co_await resource(vault->name);
    co_return fail(ErrorCode::unsupported, "provider",
                   "secrets of the vault provider \"" + printable(vault->provider) + "\" are not opened here; kbs is");
  }
  co_return fail(ErrorCode::unsupported, "provider",
                 "the envelope provider \"" + printable(std::get<EnvelopeSecret>(payload).provider) +
                     "\" is a key management service this program has no client for");
}

net::Task<Secret> Hub::unwrap_annotation(std::string packet_json) {
  CAIRN_CO_TRY(const AnnotationPacket packet, parse_annotation(packet_json));
  if (packet.provider != "kbs")
    co_return fail(ErrorCode::unsupported, "provider",
                   "keys of the provider \"" + printable(packet.provider) + "\" are not unwrapped here; kbs is");
  CAIRN_CO_TRY(const Secret kek, co_await resource(packet.kid));
  co_return open_wrapped(packet.wrap_type, kek.view(), packet.iv, packet.wrapped_data);
}

net::Task<Secret> Hub::unwrap_key(Bytes input_json) {
  CAIRN_CO_TRY(std::string packet, annotation_of(input_json));
  CAIRN_CO_TRY(const Secret key, co_await unwrap_annotation(std::move(packet)));
  co_return key_provider_output(key);
}

Result<std::string> Hub::secure_mount(const api::SecureMountRequest& request) const {
  if (request.volume_type == "alibaba-cloud-oss" || request.volume_type == "BlockDevice")
    return fail(ErrorCode::unsupported, "volume_type",
                "this data hub takes no rights to mount; mount " + request.volume_type +
                    " volumes outside, and encrypted model folders with cairn-cachefs and a key from get-resource");
  return fail(ErrorCode::invalid_argument, "volume_type",
              "unknown volume type \"" + printable(request.volume_type) + "\"");
}

net::Task<api::PrepareInjectionResponse> Hub::prepare_injection(api::PrepareInjectionRequest request) {
  if (evidence_ == nullptr)
    co_return fail(ErrorCode::unsupported, "injection", "resource injection needs an attestation agent");
  if (request.nonce.empty() || request.nonce.size() > limits::injection_nonce_bytes)
    co_return fail(ErrorCode::invalid_argument, "Nonce", "the nonce is empty or too long");
  CAIRN_CO_TRY(const auto uri, request.resource_path.starts_with("kbs:")
                                   ? kbs::ResourceUri::parse(request.resource_path)
                                   : kbs::ResourceUri::from_path(request.resource_path));
  std::erase_if(injections_, [](const auto& entry) { return entry.second.expires < Clock::now(); });
  if (injections_.size() >= limits::injection_sessions)
    co_return fail(ErrorCode::unavailable, "injection", "too many injections are under way");
  CAIRN_CO_TRY(auto key, kbs::TeeKey::generate(kbs::TeeKeyKind::ecdh_p256));
  CAIRN_CO_TRY(const std::string bound, kbs::device_runtime_data({.nonce = request.nonce}, key.public_jwk()));
  api::PrepareInjectionResponse response;
  CAIRN_CO_TRY(const std::string evidence,
               co_await evidence_->evidence(to_bytes(crypto::sha384(as_bytes(bound)).view())));
  response.evidence = to_bytes(evidence);
  response.session_id = base64url(crypto::random_bytes(16));
  response.nonce = request.nonce;
  response.tee_pubkey = compact_json(key.public_jwk());
  injections_.emplace(response.session_id,
                      Injection{uri.path(), std::move(key), Clock::now() + limits::injection_lifetime});
  co_return response;
}

Result<void> Hub::commit_injection(const api::CommitInjectionRequest& request) {
  const auto found = injections_.find(request.session_id);
  if (found == injections_.end() || found->second.expires < Clock::now())
    return fail(ErrorCode::not_found, "SessionId", "no such injection is under way");
  CAIRN_TRY(const auto uri, request.resource_path.starts_with("kbs:")
                                ? kbs::ResourceUri::parse(request.resource_path)
                                : kbs::ResourceUri::from_path(request.resource_path));
  const Injection session = std::move(found->second);
  injections_.erase(found);
  if (uri.path() != session.path)
    return fail(ErrorCode::invalid_argument, "ResourcePath", "the injection was prepared for another resource");
  CAIRN_TRY(const Secret plain, session.key.open(as_text(request.encrypted_resource)));
  return write_private(options_.data_folder / session.path, plain.view());
}

net::Task<> Hub::fetch_credentials(std::vector<Credential> credentials) {
  for (const auto& credential : credentials) {
    auto secret = co_await source_.get(credential.uri);
    if (!secret) co_return fail(std::move(secret.error()).in("credential " + credential.uri.path()));
    CAIRN_CO_CHECK(write_private(credential.path, secret->view()));
    spdlog::info("wrote {} to {}", credential.uri.path(), credential.path.string());
  }
  co_return Result<>{};
}

}  // namespace cairn::cdh
