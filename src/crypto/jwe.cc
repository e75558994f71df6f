#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/aead.h"
#include "crypto/jose.h"
#include "crypto/random.h"

namespace cairn::crypto {
namespace {

constexpr std::string_view kRsa15 = "RSA1_5", kOaep = "RSA-OAEP-256", kEcdh = "ECDH-ES+A256KW", kEnc = "A256GCM";
constexpr std::string_view kOaepSha1 = "RSA-OAEP";  // opened only, and only in the 0.1.0 form
constexpr std::size_t kContentKey = 32, kIv = 12;

// RFC 7518 §4.6.2 with empty PartyUInfo and PartyVInfo: one round gives the 256 bits of A256KW.
Secret key_encryption_key(const Secret& z) {
  const Writer info = [] {
    Writer w;
    w.u32be(static_cast<std::uint32_t>(kEcdh.size())).text(kEcdh).u32be(0).u32be(0).u32be(256);
    return w;
  }();
  constexpr std::uint8_t round[] = {0, 0, 0, 1};
  Hasher hasher(Hash::sha256);
  return Secret::take(hasher.update(round).update(z.view()).update(info.view()).finish());
}

// What goes into the answer for one content key.
struct Wrapped {
  std::string header;  // JSON text: alg, enc, then the rest sorted (clients rebuild it in that order)
  Bytes encrypted_key;
};

std::string plain_header(std::string_view alg) {
  return "{\"alg\":\"" + std::string(alg) + "\",\"enc\":\"" + std::string(kEnc) + "\"}";
}

Result<Wrapped> wrap_ecdh(const PublicKey& peer, const Secret& content_key) {
  CAIRN_TRY(const PrivateKey ephemeral, PrivateKey::generate(peer.type()));
  CAIRN_TRY(const Secret z, ephemeral.ecdh(peer));
  const Secret kek = key_encryption_key(z);
  CAIRN_TRY(Bytes wrapped, aes_key_wrap(kek.view(), content_key.view()));
  const std::string header = "{\"alg\":\"" + std::string(kEcdh) + "\",\"enc\":\"" + std::string(kEnc) +
                             "\",\"epk\":" + compact_json(emit_jwk(ephemeral.public_key(), {})) + "}";
  return Wrapped{header, std::move(wrapped)};
}

Result<Wrapped> wrap(const Jwk& tee, const Secret& content_key, AnswerForm form) {
  const bool rsa = tee.key.type() == KeyType::rsa;
  if (tee.alg == kRsa15 && rsa) {
    CAIRN_TRY(Bytes wrapped, tee.key.rsa_encrypt(RsaPadding::pkcs1_v15, content_key.view()));
    return Wrapped{plain_header(kRsa15), std::move(wrapped)};
  }
  if (form == AnswerForm::kbs_0_1_0)
    return fail(ErrorCode::unsupported, "alg", "protocol 0.1.0 knows TEE keys of algorithm RSA1_5 only");
  if (tee.alg == kOaep && rsa) {
    CAIRN_TRY(Bytes wrapped, tee.key.rsa_encrypt(RsaPadding::oaep_sha256, content_key.view()));
    return Wrapped{plain_header(kOaep), std::move(wrapped)};
  }
  if (tee.alg == kEcdh && (tee.key.type() == KeyType::ec_p256 || tee.key.type() == KeyType::ec_p521))
    return wrap_ecdh(tee.key, content_key);
  return fail(
      ErrorCode::unsupported, "alg",
      "the TEE key's algorithm must be ECDH-ES+A256KW (P-256, P-521), RSA-OAEP-256 or RSA1_5, and fit its type");
}

Result<std::string> member(const Json& answer, const char* name) {
  const auto it = answer.find(name);
  if (it == answer.end() || !it->is_string()) return fail(ErrorCode::malformed, name, "missing, or not text");
  return it->get<std::string>();
}
Result<Bytes> bytes_member(const Json& object, const char* name) {
  CAIRN_TRY(const std::string text, member(object, name));
  auto bytes = from_base64url(text);
  if (!bytes) return fail(ErrorCode::malformed, name, "not base64url");
  return bytes;
}

// Always a 32-byte key: what does not decrypt to one is replaced by a random key, and the tag then fails.
Secret rsa_content_key(const PrivateKey& key, RsaPadding padding, ByteView encrypted) {
  auto opened = key.rsa_decrypt(padding, encrypted);
  Secret substitute = random_secret(kContentKey);
  if (opened && opened->size() == kContentKey) return *std::move(opened);
  return substitute;
}

Result<Secret> content_key(const Json& header, const PrivateKey& key, std::string_view alg, ByteView encrypted) {
  if (alg == kRsa15 || alg == kOaep || alg == kOaepSha1) {
    if (key.type() != KeyType::rsa) return fail(ErrorCode::invalid_argument, "alg", "the TEE key is not an RSA key");
    const auto padding = alg == kRsa15  ? RsaPadding::pkcs1_v15
                         : alg == kOaep ? RsaPadding::oaep_sha256
                                        : RsaPadding::oaep_sha1;
    return rsa_content_key(key, padding, encrypted);
  }
  if (!header.contains("epk")) return fail(ErrorCode::malformed, "epk", "the header lacks the ephemeral key");
  CAIRN_TRY(const Jwk peer, parse_jwk(header["epk"]));
  if (peer.key.type() != key.type()) return fail(ErrorCode::malformed, "epk", "not on the TEE key's curve");
  CAIRN_TRY(const Secret z, key.ecdh(peer.key));
  return aes_key_unwrap(key_encryption_key(z).view(), encrypted);
}

// Member "protected": its header, and the bytes that the content's tag covers besides the ciphertext.
struct Protected {
  Json header;
  std::string aad;
  AnswerForm form;
};
Result<Protected> parse_protected(const Json& answer) {
  CAIRN_TRY(std::string text, member(answer, "protected"));
  if (text.size() > JoseLimits::header_bytes) return fail(ErrorCode::too_large, "protected", "the header is too large");
  const bool old_form = text.starts_with('{');
  std::string json = text;
  if (!old_form) {
    CAIRN_TRY(const Bytes decoded, from_base64url(text));
    json = as_text(decoded);
  }
  CAIRN_TRY(Json header, parse_json(json, {.bytes = JoseLimits::header_bytes, .depth = JoseLimits::depth}));
  if (!header.is_object() || header.contains("crit") || header.contains("zip"))
    return fail(ErrorCode::unsupported, "protected", "the header demands an extension that is not supported");
  return Protected{std::move(header), old_form ? std::string() : std::move(text),
                   old_form ? AnswerForm::kbs_0_1_0 : AnswerForm::rfc7516};
}

}  // namespace

Result<Json> encrypt_answer(const Json& tee_pubkey, ByteView plaintext, AnswerForm form) {
  CAIRN_TRY(const Jwk tee, parse_jwk(tee_pubkey));
  return encrypt_answer(tee, plaintext, form);
}

Result<Json> encrypt_answer(const Jwk& tee, ByteView plaintext, AnswerForm form) {
  if (plaintext.size() > JoseLimits::jwe_plaintext)
    return fail(ErrorCode::too_large, "the resource is too large to send");
  const Secret key = random_secret(kContentKey);
  CAIRN_TRY(const Wrapped wrapped, wrap(tee, key, form));
  const bool old_form = form == AnswerForm::kbs_0_1_0;
  const std::string protected_text = old_form ? wrapped.header : base64url(as_bytes(wrapped.header));
  const Bytes iv = random_bytes(kIv);
  CAIRN_TRY(const Bytes sealed,
            seal(Aead::aes_256_gcm, key.view(), iv, old_form ? ByteView{} : as_bytes(protected_text), plaintext));
  const ByteView all(sealed);
  const ByteView body = old_form ? all : all.first(all.size() - kTagSize);
  return Json{{"protected", protected_text},
              {"encrypted_key", base64url(wrapped.encrypted_key)},
              {"iv", base64url(iv)},
              {"ciphertext", base64url(body)},
              {"tag", old_form ? std::string() : base64url(all.last(kTagSize))}};
}

Result<Secret> decrypt_answer(const Json& answer, const PrivateKey& tee_key, std::string_view alg) {
  if (alg != kRsa15 && alg != kOaep && alg != kEcdh)
    return fail(ErrorCode::invalid_argument, "alg", "TEE key algorithms are ECDH-ES+A256KW, RSA-OAEP-256 and RSA1_5");
  if (!answer.is_object()) return fail(ErrorCode::malformed, "the answer is not a JSON object");
  CAIRN_TRY(const Protected head, parse_protected(answer));
  // Under a key announced for RSA1_5, brokers of 0.1.0 may use the safer padding.
  const bool safer =
      alg == kRsa15 && head.form == AnswerForm::kbs_0_1_0 && head.header.value("alg", Json()) == Json(kOaepSha1);
  if (safer) alg = kOaepSha1;
  if (head.header.value("alg", Json()) != Json(alg))
    return fail(ErrorCode::crypto_failed, "alg", "the answer is not encrypted with the algorithm of the TEE key");
  if (head.header.value("enc", Json()) != Json(kEnc))
    return fail(ErrorCode::unsupported, "enc", "content encryption other than A256GCM is not accepted");
  CAIRN_TRY(const Bytes encrypted_key, bytes_member(answer, "encrypted_key"));
  CAIRN_TRY(const Bytes iv, bytes_member(answer, "iv"));
  CAIRN_TRY(Bytes sealed, bytes_member(answer, "ciphertext"));
  if (sealed.size() > JoseLimits::jwe_plaintext + kTagSize)
    return fail(ErrorCode::too_large, "ciphertext", "too large");
  if (iv.size() != kIv) return fail(ErrorCode::malformed, "iv", "not 12 bytes");
  if (head.form == AnswerForm::rfc7516) {
    CAIRN_TRY(const Bytes tag, bytes_member(answer, "tag"));
    if (tag.size() != kTagSize) return fail(ErrorCode::malformed, "tag", "not 16 bytes");
    append(sealed, tag);
  }
  CAIRN_TRY(const Secret key, content_key(head.header, tee_key, alg, encrypted_key));
  if (key.size() != kContentKey) return fail(ErrorCode::crypto_failed, "encrypted_key", "not a 256-bit content key");
  return open(Aead::aes_256_gcm, key.view(), iv, as_bytes(head.aad), sealed);
}

Result<Json> tee_pubkey(const PublicKey& key, std::string_view alg) {
  const bool rsa = key.type() == KeyType::rsa && (alg == kRsa15 || alg == kOaep);
  const bool ec = (key.type() == KeyType::ec_p256 || key.type() == KeyType::ec_p521) && alg == kEcdh;
  if (!rsa && !ec) return fail(ErrorCode::invalid_argument, "alg", "the algorithm does not fit the TEE key");
  return emit_jwk(key, alg);
}

}  // namespace cairn::crypto
