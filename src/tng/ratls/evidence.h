// What a TNG certificate says about its key: the tagged evidence of extension 2.23.133.5.4.9 and how it binds the key
// (spec/tng.md §3.2). Pure: bytes in, bytes out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/json.h"

namespace cairn::tng {

inline constexpr std::string_view evidence_oid = "2.23.133.5.4.9";
inline constexpr std::string_view endorsement_oid = "2.23.133.5.4.2";

// How a key reaches the TEE's report data. A: TNG up to 2.2.4, the claims buffer hashed into an opaque member.
// B: TNG from 2.2.5, the key's hash as a readable member.
enum class BindingForm { a, b };

inline constexpr std::uint64_t tag_tee_evidence = 60000;      // a bare quote (CCC interoperable RA-TLS)
inline constexpr std::uint64_t tag_coco_evidence = 0xC0C000;  // what the attestation agent returns
inline constexpr std::uint64_t tag_coco_token = 0xC0C001;     // an attestation token (passport model)

// Hash identifiers of the IANA named-information registry, as RA-TLS uses them.
inline constexpr std::uint64_t hash_sha256 = 1, hash_sha384 = 7, hash_sha512 = 8;

// [hash id, digest] over the DER SubjectPublicKeyInfo of a certificate.
struct PubkeyHash {
  std::uint64_t algorithm = hash_sha256;
  Bytes digest;
  [[nodiscard]] static PubkeyHash of(ByteView spki);  // SHA-256
  [[nodiscard]] static Result<PubkeyHash> decode(ByteView cbor);
  [[nodiscard]] Bytes encode() const;
  // crypto_failed unless the digest is that of `spki`; unsupported for another hash id.
  [[nodiscard]] Result<void> check(ByteView spki) const;
};

// What the agent is asked to bind, for one key in one form.
struct Binding {
  BindingForm form;
  Bytes claims_buffer;       // empty in form B
  std::string runtime_data;  // canonical JSON text
  Digest<48> report_data;    // SHA-384 of runtime_data: what the agent puts into the TEE's report
  [[nodiscard]] static Binding of(BindingForm form, ByteView spki);
};

// Evidence of the attestation agent with the runtime data it is bound to.
struct CocoEvidence {
  std::string tee;                  // "tdx", "sample", …
  Bytes evidence;                   // the agent's own format, opaque here
  std::optional<Bytes> additional;  // devices; form B writers since 2.5
  bool has_additional = false;      // whether the member is written (as null when `additional` is absent)
  std::string runtime_data;
  [[nodiscard]] Bytes encode() const;
  [[nodiscard]] static Result<CocoEvidence> decode(ByteView cbor);
};

// The extension's value: tag, evidence, claims buffer.
struct TaggedEvidence {
  std::uint64_t tag = 0;
  Bytes evidence;
  Bytes claims_buffer;
  [[nodiscard]] Bytes encode() const;
  // Refuses whatever is not exactly this: trailing bytes, indefinite lengths, sizes past the limits.
  [[nodiscard]] static Result<TaggedEvidence> decode(ByteView cbor);
};

// The "pubkey-hash" entry of a claims buffer; other claims are passed over. not_found without one.
[[nodiscard]] Result<PubkeyHash> claimed_pubkey_hash(ByteView claims_buffer);

// Which form the evidence has, after checking that its claims and runtime data name the key of `spki`. The caller
// still has to learn from an attestation service that the TEE's report covers this runtime data.
[[nodiscard]] Result<BindingForm> check_binding(const TaggedEvidence& tagged, const CocoEvidence& coco, ByteView spki);

// Whether runtime data echoed in a token is that of the evidence: equal (form A), or containing it (form B).
[[nodiscard]] Result<void> check_echo(BindingForm form, std::string_view sent, const Json& echoed);

}  // namespace cairn::tng
