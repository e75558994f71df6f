// Sealed secrets: sealed.<header>.<payload>.<signature>. Pure; keys and resources are fetched by the hub. spec/guest.md
// §9.3.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/json.h"
#include "crypto/keys.h"
#include "kbs_protocol/uri.h"

namespace cairn::cdh {

struct VaultSecret {
  std::string name;      // for the provider kbs: a KBS URI
  std::string provider;  // lower case
};
struct EnvelopeSecret {
  std::string key_id, provider, wrap_type;
  Bytes encrypted_key, encrypted_data, iv;
};
using SealedPayload = std::variant<VaultSecret, EnvelopeSecret>;

// A sealed secret taken apart. Nothing in it is trusted before verify() succeeded.
struct SealedSecret {
  std::string signed_part;  // "<header>.<payload>", what the signature covers
  std::string jws;          // "<header>.<payload>.<signature>"
  std::string payload;      // decoded JSON text
};
// Exactly four sections, the first "sealed"; malformed otherwise. The payload is base64url of UTF-8.
[[nodiscard]] Result<SealedSecret> split_sealed_secret(std::string_view text);

// Where the signer's key is, from the header: a KBS URI or the name of a file. crypto_failed for a header that is not
// {"alg":"ES256","kid":…}: the text of an unsigned secret ("fakejwsheader") says so.
using SignerKeyId = std::variant<kbs::ResourceUri, std::string>;
[[nodiscard]] Result<SignerKeyId> signer_of(const SealedSecret& secret);
// A P-256 JWK as files and resources hold it (a private part is ignored).
[[nodiscard]] Result<crypto::PublicKey> signer_key(std::string_view jwk_text);
// ES256 over the signed part.
[[nodiscard]] Result<void> verify(const SealedSecret& secret, const crypto::PublicKey& key);

// version "0.1.0", type vault or envelope, every member of the type present and no other.
[[nodiscard]] Result<SealedPayload> parse_payload(std::string_view json_text);
// The data layer of an envelope: A256GCM with the tag appended. A256CTR is refused: it proves nothing about the data.
[[nodiscard]] Result<Secret> open_wrapped(std::string_view wrap_type, ByteView key, ByteView iv, ByteView data);

}  // namespace cairn::cdh
