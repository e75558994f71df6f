#include "tng/ratls/evidence.h"

#include "base/encoding.h"
#include "crypto/hash.h"
#include "tng/limits.h"
#include "tng/ratls/cbor.h"

namespace cairn::tng {
namespace {

constexpr std::string_view pubkey_hash_key = "pubkey-hash";
constexpr std::string_view raw_runtime_data_key = "rats-rs.raw_runtime_data";

Bytes claims_buffer_of(ByteView pubkey_hash) {
  CborWriter out;
  out.map(1).text(pubkey_hash_key).bytes(pubkey_hash);
  return std::move(out).take();
}

std::string runtime_data_a(ByteView claims_buffer) {
  return compact_json({{std::string(raw_runtime_data_key), base64url(crypto::sha256(claims_buffer).view())}});
}

Result<Json> runtime_object(std::string_view text) {
  CAIRN_TRY(Json value, parse_json(text, {.bytes = limits::runtime_data, .depth = 16}));
  if (!value.is_object()) return fail(ErrorCode::malformed, "runtime data is not a JSON object");
  return value;
}

// Form B: the member names the key itself.
Result<PubkeyHash> runtime_pubkey_hash(const Json& runtime) {
  const auto it = runtime.find(pubkey_hash_key);
  if (it == runtime.end() || !it->is_string())
    return fail(ErrorCode::evidence_rejected, "ratls.pubkey_hash", "the runtime data has no pubkey-hash");
  CAIRN_TRY(const Bytes cbor, from_base64(it->get_ref<const std::string&>()));
  return PubkeyHash::decode(cbor);
}

}  // namespace

PubkeyHash PubkeyHash::of(ByteView spki) { return {hash_sha256, to_bytes(crypto::sha256(spki).view())}; }

Bytes PubkeyHash::encode() const {
  CborWriter out;
  out.array(2).uint(algorithm).bytes(digest);
  return std::move(out).take();
}

Result<PubkeyHash> PubkeyHash::decode(ByteView cbor) {
  CborReader in(cbor);
  CAIRN_TRY(const std::uint64_t n, in.array());
  if (n != 2) return fail(ErrorCode::malformed, "pubkey-hash is not [hash id, digest]");
  PubkeyHash out;
  CAIRN_TRY(out.algorithm, in.uint());
  CAIRN_TRY(const ByteView digest, in.bytes(64));
  out.digest = to_bytes(digest);
  CAIRN_CHECK(in.end());
  return out;
}

Result<void> PubkeyHash::check(ByteView spki) const {
  Bytes expected;
  switch (algorithm) {
    case hash_sha256: expected = crypto::digest(crypto::Hash::sha256, spki); break;
    case hash_sha384: expected = crypto::digest(crypto::Hash::sha384, spki); break;
    case hash_sha512: expected = crypto::digest(crypto::Hash::sha512, spki); break;
    default:
      return fail(ErrorCode::unsupported, "ratls.pubkey_hash", "pubkey-hash uses hash id " + std::to_string(algorithm));
  }
  if (!equal(expected, digest))
    return fail(ErrorCode::evidence_rejected, "ratls.pubkey_hash",
                "the evidence was made for another key than the certificate's");
  return {};
}

Binding Binding::of(BindingForm form, ByteView spki) {
  const Bytes hash = PubkeyHash::of(spki).encode();
  Binding out{form, {}, {}, {}};
  if (form == BindingForm::a) {
    out.claims_buffer = claims_buffer_of(hash);
    out.runtime_data = runtime_data_a(out.claims_buffer);
  } else {
    out.runtime_data = compact_json({{std::string(pubkey_hash_key), base64(hash)}});
  }
  out.report_data = crypto::sha384(as_bytes(out.runtime_data));
  return out;
}

Bytes CocoEvidence::encode() const {
  CborWriter out;
  out.map(has_additional ? 5 : 4).text("tee_type").text(tee).text("aa_evidence").bytes(evidence);
  if (has_additional) {
    out.text("aa_additional_evidence");
    if (additional)
      out.bytes(*additional);
    else
      out.null();
  }
  out.text("aa_runtime_data").text(runtime_data).text("aa_runtime_data_hash_algo").uint(hash_sha384);
  return std::move(out).take();
}

Result<CocoEvidence> CocoEvidence::decode(ByteView cbor) {
  CborReader in(cbor);
  CocoEvidence out;
  bool tee = false, evidence = false, runtime = false, algorithm = false;
  const auto entry = [&](std::string_view key) -> Result<void> {
    if (key == "tee_type") {
      CAIRN_TRY(out.tee, in.text(64));
      tee = true;
    } else if (key == "aa_evidence") {
      CAIRN_TRY(const ByteView bytes, in.bytes(limits::evidence));
      out.evidence = to_bytes(bytes);
      evidence = true;
    } else if (key == "aa_additional_evidence") {
      out.has_additional = true;
      CAIRN_TRY(const bool absent, in.null());
      if (absent) return {};
      CAIRN_TRY(const ByteView bytes, in.bytes(limits::evidence));
      out.additional = to_bytes(bytes);
    } else if (key == "aa_runtime_data") {
      CAIRN_TRY(out.runtime_data, in.text(limits::runtime_data));
      runtime = true;
    } else if (key == "aa_runtime_data_hash_algo") {
      CAIRN_TRY(const std::uint64_t id, in.uint());
      if (id != hash_sha384)
        return fail(ErrorCode::unsupported, "ratls.hash",
                    "runtime data hashed with id " + std::to_string(id) + "; SHA-384 (7) is required");
      algorithm = true;
    } else {
      return fail(ErrorCode::malformed, "unknown evidence member \"" + std::string(key) + "\"");
    }
    return {};
  };
  CAIRN_CHECK(in.map(limits::claim_count, entry));
  CAIRN_CHECK(in.end());
  if (!tee || !evidence || !runtime || !algorithm)
    return fail(ErrorCode::malformed,
                "evidence lacks tee_type, aa_evidence, aa_runtime_data or aa_runtime_data_hash_algo");
  return out;
}

Bytes TaggedEvidence::encode() const {
  CborWriter out;
  out.tag(tag).array(2).bytes(evidence).bytes(claims_buffer);
  return std::move(out).take();
}

Result<TaggedEvidence> TaggedEvidence::decode(ByteView cbor) {
  CborReader in(cbor);
  TaggedEvidence out;
  CAIRN_TRY(out.tag, in.tag());
  CAIRN_TRY(const std::uint64_t n, in.array());
  if (n != 2) return fail(ErrorCode::malformed, "tagged evidence has " + std::to_string(n) + " elements, not two");
  CAIRN_TRY(const ByteView evidence, in.bytes(limits::evidence));
  CAIRN_TRY(const ByteView claims, in.bytes(limits::claims));
  CAIRN_CHECK(in.end());
  out.evidence = to_bytes(evidence);
  out.claims_buffer = to_bytes(claims);
  return out;
}

Result<PubkeyHash> claimed_pubkey_hash(ByteView claims_buffer) {
  CborReader in(claims_buffer);
  std::optional<Bytes> hash;
  CAIRN_CHECK(in.map(limits::claim_count, [&](std::string_view key) -> Result<void> {
    if (key != pubkey_hash_key) return in.skip();
    CAIRN_TRY(const ByteView value, in.bytes(limits::claims));
    hash = to_bytes(value);
    return {};
  }));
  CAIRN_CHECK(in.end());
  if (!hash) return fail(ErrorCode::not_found, "ratls.pubkey_hash", "the claims have no pubkey-hash");
  return PubkeyHash::decode(*hash);
}

Result<BindingForm> check_binding(const TaggedEvidence& tagged, const CocoEvidence& coco, ByteView spki) {
  if (tagged.claims_buffer.empty()) {
    CAIRN_TRY(const Json runtime, runtime_object(coco.runtime_data));
    CAIRN_TRY(const PubkeyHash hash, runtime_pubkey_hash(runtime));
    CAIRN_CHECK(hash.check(spki));
    return BindingForm::b;
  }
  CAIRN_TRY(const PubkeyHash hash, claimed_pubkey_hash(tagged.claims_buffer));
  CAIRN_CHECK(hash.check(spki));
  // The bytes as received are hashed, never a re-encoding: claims need not be in canonical order.
  if (coco.runtime_data != runtime_data_a(tagged.claims_buffer))
    return fail(ErrorCode::evidence_rejected, "ratls.runtime_data",
                "the runtime data does not name the certificate's claims");
  return BindingForm::a;
}

Result<void> check_echo(BindingForm form, std::string_view sent, const Json& echoed) {
  CAIRN_TRY(const Json expected, runtime_object(sent));
  const auto mismatch = [] {
    return fail(ErrorCode::evidence_rejected, "ratls.token_runtime_data",
                "the attestation token is about another key than the peer's");
  };
  if (form == BindingForm::a) {
    if (echoed != expected) return mismatch();
    return {};
  }
  if (!echoed.is_object()) return mismatch();
  for (const auto& [key, value] : expected.items()) {
    const auto it = echoed.find(key);
    if (it == echoed.end() || *it != value) return mismatch();
  }
  return {};
}

}  // namespace cairn::tng
