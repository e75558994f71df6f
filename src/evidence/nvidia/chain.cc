#include "evidence/nvidia/chain.h"

#include <algorithm>

#include "base/encoding.h"
#include "evidence/pki/der.h"

namespace cairn::nvidia {
namespace {

using crypto::Certificate;

// NVIDIA Device Identity CA, SHA-256 of the DER form
// 102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48, without end (checked by a test).
constexpr std::string_view kDeviceRoot = R"(
-----BEGIN CERTIFICATE-----
MIICCzCCAZCgAwIBAgIQLTZwscoQBBHB/sDoKgZbVDAKBggqhkjOPQQDAzA1MSIw
IAYDVQQDDBlOVklESUEgRGV2aWNlIElkZW50aXR5IENBMQ8wDQYDVQQKDAZOVklE
SUEwIBcNMjExMTA1MDAwMDAwWhgPOTk5OTEyMzEyMzU5NTlaMDUxIjAgBgNVBAMM
GU5WSURJQSBEZXZpY2UgSWRlbnRpdHkgQ0ExDzANBgNVBAoMBk5WSURJQTB2MBAG
ByqGSM49AgEGBSuBBAAiA2IABA5MFKM7+KViZljbQSlgfky/RRnEQScW9NDZF8SX
gAW96r6u/Ve8ZggtcYpPi2BS4VFu6KfEIrhN6FcHG7WP05W+oM+hxj7nyA1r1jkB
2Ry70YfThX3Ba1zOryOP+MJ9vaNjMGEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAQYwHQYDVR0OBBYEFFeF/4PyY8xlfWi3Olv0jUrL+0lfMB8GA1UdIwQY
MBaAFFeF/4PyY8xlfWi3Olv0jUrL+0lfMAoGCCqGSM49BAMDA2kAMGYCMQCPeFM3
TASsKQVaT+8S0sO9u97PVGCpE9d/I42IT7k3UUOLSR/qvJynVOD1vQKVXf0CMQC+
EY55WYoDBvs2wPAH1Gw4LbcwUN8QCff8bFmV4ZxjCRr4WXTLFHBKjbfneGSBWwA=
-----END CERTIFICATE-----
)";
// NVIDIA CoRIM signing Root CA, SHA-256 12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1, to
// 2053-03-08.
constexpr std::string_view kRimRoot = R"(
-----BEGIN CERTIFICATE-----
MIICKTCCAbCgAwIBAgIQRdrjoA5QN73fh1N17LXicDAKBggqhkjOPQQDAzBFMQsw
CQYDVQQGEwJVUzEPMA0GA1UECgwGTlZJRElBMSUwIwYDVQQDDBxOVklESUEgQ29S
SU0gc2lnbmluZyBSb290IENBMCAXDTIzMDMxNjE1MzczNFoYDzIwNTMwMzA4MTUz
NzM0WjBFMQswCQYDVQQGEwJVUzEPMA0GA1UECgwGTlZJRElBMSUwIwYDVQQDDBxO
VklESUEgQ29SSU0gc2lnbmluZyBSb290IENBMHYwEAYHKoZIzj0CAQYFK4EEACID
YgAEuECyi9vNM+Iw2lfUzyBldHAwaC1HF7TCgp12QcEyUTm3Tagxwr48d55+K2VI
lWYIDk7NlAIQdcV/Ff7euGLI+Qauj93HsSI4WX298PpW54RTgz9tC+Q684caR/BX
WEeZo2MwYTAdBgNVHQ4EFgQUpaXrOPK4ZDAk08DBskn594zeZjAwHwYDVR0jBBgw
FoAUpaXrOPK4ZDAk08DBskn594zeZjAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAQYwCgYIKoZIzj0EAwMDZwAwZAIwHGDyscDP6ihHqRvZlI3eqZ4YkvjE
1duaN84tAHRVgxVMvNrp5Tnom3idHYGW/dskAjATvjIx6VzHm/4e2GiZAyZEIUBD
OKPzp5ei/A0iUZpdvngenDwV8Qa/wGdiTmJ7Bp4=
-----END CERTIFICATE-----
)";

constexpr std::string_view kEcdsaSha384 = "1.2.840.10045.4.3.3";
constexpr std::string_view kSubjectKeyId = "2.5.29.14", kAuthorityKeyId = "2.5.29.35", kAlternativeName = "2.5.29.17",
                           kDiceUeid = "2.23.133.5.4.4", kDiceFwid = "2.23.133.5.4.1",
                           kDiceTcbInfo = "2.23.133.5.4.1.1";
constexpr std::uint8_t kOidSha384[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02};
constexpr std::uint8_t kOidDmtfDevice[] = {0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0x1C, 0x82, 0x12, 0x01};

struct Codes {
  Failure format, untrusted, name, constraint, signature, early, late;
};
constexpr Codes codes(ChainKind kind) {
  if (kind == ChainKind::device)
    return {Failure::chain_format,    Failure::chain_untrusted,     Failure::chain_name,   Failure::chain_constraint,
            Failure::chain_signature, Failure::chain_not_yet_valid, Failure::chain_expired};
  return {Failure::rim_chain, Failure::rim_untrusted,     Failure::rim_chain,  Failure::rim_chain,
          Failure::rim_chain, Failure::rim_not_yet_valid, Failure::rim_expired};
}

Result<void> check_root(const Certificate& c) {
  CAIRN_TRY(const crypto::PublicKey key, c.public_key());
  if (key.type() != crypto::KeyType::ec_p384 || c.subject_der() != c.issuer_der() || !c.signed_by(key))
    return fail(ErrorCode::invalid_argument, "a trust root must be self-signed with a P-384 key");
  if (!c.is_ca() || (c.key_usage().value_or(0) & crypto::kKeyCertSign) == 0)
    return fail(ErrorCode::invalid_argument, "a trust root must be a CA that may sign certificates");
  return {};
}

bool known_critical(std::string_view oid) {
  return oid == "2.5.29.15" || oid == "2.5.29.19" || oid == kAlternativeName || oid == kDiceUeid || oid == kDiceFwid ||
         oid == kDiceTcbInfo || oid == "2.5.29.37";
}

// The key id inside an authority key identifier; empty if there is none.
Result<ByteView> authority_key_id(const Certificate& c) {
  const crypto::Extension* e = c.extension(kAuthorityKeyId);
  if (e == nullptr) return ByteView();
  pki::Der outer(e->value);
  CAIRN_TRY(const pki::Tlv sequence, outer.next(pki::tag::kSequence));
  CAIRN_CHECK(outer.end());
  pki::Der in(sequence);
  if (!in.at(0x80)) return ByteView();
  return in.next(0x80).transform([](const pki::Tlv& t) { return t.value; });
}
Result<ByteView> subject_key_id(const Certificate& c) {
  const crypto::Extension* e = c.extension(kSubjectKeyId);
  if (e == nullptr) return ByteView();
  pki::Der in(e->value);
  CAIRN_TRY(const pki::Tlv id, in.next(pki::tag::kOctetString));
  CAIRN_CHECK(in.end());
  return id.value;
}

// Whether `c` may stand at its place.
Checked<> check_place(const Certificate& c, bool leaf, const Codes& code) {
  const std::string where = c.common_name();
  const Result<crypto::PublicKey> key = c.public_key();
  if (!key || key->type() != crypto::KeyType::ec_p384 || c.signature_algorithm_oid() != kEcdsaSha384)
    return fault(code.format, where, "not a P-384 key signed with ECDSA and SHA-384");
  if (c.version() != 3 || c.serial_negative()) return fault(code.format, where, "not a version 3 certificate");
  for (const crypto::Extension& e : c.extensions())
    if (e.critical && !known_critical(e.oid)) return fault(code.constraint, where, "critical extension " + e.oid);
  const std::uint32_t usage = c.key_usage().value_or(0);
  if (leaf && (c.is_ca() || (usage & crypto::kDigitalSignature) == 0 || (usage & crypto::kKeyCertSign) != 0))
    return fault(code.constraint, where, "the first certificate must be one that signs data and no certificates");
  if (!leaf && (!c.is_ca() || (usage & crypto::kKeyCertSign) == 0))
    return fault(code.constraint, where, "not a CA that may sign certificates");
  return {};
}

Checked<> check_link(const Certificate& c, const Certificate& issuer, const Codes& code) {
  if (c.issuer_der() != issuer.subject_der())
    return fault(code.name, c.common_name(), "issued by another than " + issuer.common_name());
  const Result<ByteView> named = authority_key_id(c);
  const Result<ByteView> own = subject_key_id(issuer);
  if (!named || !own) return fault(code.format, c.common_name(), "a key identifier does not parse");
  if (named->empty() || !equal(*named, *own))
    return fault(code.constraint, c.common_name(), "its issuer's key identifier is another");
  const Result<crypto::PublicKey> key = issuer.public_key();
  if (!key || !c.signed_by(*key))
    return fault(code.signature, c.common_name(), "not signed by " + issuer.common_name());
  return {};
}

// Big-endian magnitude as decimal digits.
std::string decimal(Bytes value) {
  std::string out;
  while (std::ranges::any_of(value, [](std::uint8_t b) { return b != 0; })) {
    unsigned rest = 0;
    for (std::uint8_t& b : value) {
      rest = (rest << 8) | b;
      b = static_cast<std::uint8_t>(rest / 10);
      rest %= 10;
    }
    out.insert(out.begin(), static_cast<char>('0' + rest));
  }
  return out.empty() ? "0" : out;
}

Result<Measurement> sha384_digest(const pki::Tlv& sequence) {
  pki::Der in(sequence);
  CAIRN_TRY(const ByteView algorithm, in.oid());
  if (!equal(algorithm, kOidSha384)) return fail(ErrorCode::malformed, "the firmware id is no SHA-384 digest");
  CAIRN_TRY(const pki::Tlv digest, in.next(pki::tag::kOctetString));
  CAIRN_CHECK(in.end());
  return Measurement::from(digest.value);
}

struct FirmwareId {
  Measurement fwid{};
  std::optional<Bytes> device_key;  // SubjectPublicKeyInfo of the boot ROM, in the older form
};

// CompositeDeviceID of Hopper and LS10: version, device key, digest.
Result<FirmwareId> read_composite(ByteView der) {
  pki::Der outer(der);
  CAIRN_TRY(const pki::Tlv sequence, outer.next(pki::tag::kSequence));
  CAIRN_CHECK(outer.end());
  pki::Der in(sequence);
  CAIRN_TRY(const std::uint32_t version, in.small_integer(1));
  if (version != 1) return fail(ErrorCode::malformed, "a device identity of another version");
  CAIRN_TRY(const pki::Tlv key, in.next(pki::tag::kSequence));
  CAIRN_TRY(const pki::Tlv digest, in.next(pki::tag::kSequence));
  CAIRN_CHECK(in.end());
  FirmwareId out{.device_key = to_bytes(key.whole)};
  CAIRN_TRY(out.fwid, sha384_digest(digest));
  return out;
}

// DICE TcbInfo of Blackwell and later: the first of its firmware ids.
Result<FirmwareId> read_tcb_info(ByteView der) {
  constexpr std::uint8_t kFwids = 0xA6;  // [6]
  pki::Der outer(der);
  CAIRN_TRY(const pki::Tlv sequence, outer.next(pki::tag::kSequence));
  CAIRN_CHECK(outer.end());
  pki::Der in(sequence);
  while (!in.empty()) {
    CAIRN_TRY(const pki::Tlv field, in.next());
    if (field.tag != kFwids) continue;
    pki::Der list(field);
    CAIRN_TRY(const pki::Tlv first, list.next(pki::tag::kSequence));
    FirmwareId out;
    CAIRN_TRY(out.fwid, sha384_digest(first));
    return out;
  }
  return fail(ErrorCode::malformed, "no firmware id");
}

// The DMTF device name in the alternative names; "" if there is none.
Result<std::string> dmtf_device(const Certificate& c) {
  constexpr std::uint8_t kOtherName = 0xA0, kExplicit = 0xA0;
  const crypto::Extension* e = c.extension(kAlternativeName);
  if (e == nullptr) return std::string();
  pki::Der outer(e->value);
  CAIRN_TRY(const pki::Tlv names, outer.next(pki::tag::kSequence));
  CAIRN_CHECK(outer.end());
  pki::Der in(names);
  while (!in.empty()) {
    CAIRN_TRY(const pki::Tlv name, in.next());
    if (name.tag != kOtherName) continue;
    pki::Der other(name);
    CAIRN_TRY(const ByteView type, other.oid());
    if (!equal(type, kOidDmtfDevice)) continue;
    CAIRN_TRY(const pki::Tlv wrapped, other.next(kExplicit));
    pki::Der value(wrapped);
    CAIRN_TRY(const pki::Tlv text, value.next(pki::tag::kUtf8));
    return lossy_utf8(text.value);
  }
  return std::string();
}

constexpr struct {
  std::string_view prefix;
  Architecture arch;
} kChips[] = {{"GH100 ", Architecture::hopper},
              {"GB1", Architecture::blackwell},
              {"GR1", Architecture::rubin},
              {"LS_10 ", Architecture::ls10}};

std::optional<Pdi> pdi_of(const Certificate& boot_rom, Kind kind) {
  const Bytes serial = boot_rom.serial();
  if (serial.size() != 1 + Pdi::length || serial[0] != (kind == Kind::gpu ? 0x41 : 0x50)) return std::nullopt;
  return Pdi::from(ByteView(serial).subspan(1)).value();
}

TrustRoot pinned(std::string_view pem) {
  return {.name = "nvidia", .certificate = Certificate::from_pem(pem).value().front(), .simulated = false};
}

}  // namespace

const TrustRoots& nvidia_roots() {
  static const TrustRoots roots{.device = {pinned(kDeviceRoot)}, .rim = {pinned(kRimRoot)}};
  return roots;
}

Result<TrustRoot> trust_root(std::string name, ByteView certificate) {
  const bool der = !certificate.empty() && certificate[0] == pki::tag::kSequence;
  auto read =
      der ? Certificate::from_der(certificate).transform([](Certificate c) { return std::vector{std::move(c)}; })
          : Certificate::from_pem(as_text(certificate), 1);
  if (!read) return fail(std::move(read.error()));
  if (read->size() != 1) return fail(ErrorCode::invalid_argument, "a trust root is exactly one certificate");
  CAIRN_CHECK(check_root(read->front()));
  for (const auto* list : {&nvidia_roots().device, &nvidia_roots().rim})
    for (const TrustRoot& r : *list)
      if (equal(r.certificate.der(), read->front().der())) return r;
  return TrustRoot{.name = std::move(name), .certificate = std::move(read->front()), .simulated = true};
}

Time Chain::earliest_not_after() const {
  Time out = certificates.front().not_after();
  for (const Certificate& c : certificates) out = std::min(out, c.not_after());
  return out;
}

Checked<Chain> verify_chain(std::vector<Certificate> certificates, ChainKind kind,
                            const std::vector<TrustRoot>& roots) {
  const Codes code = codes(kind);
  const std::size_t wanted = kind == ChainKind::device ? 5 : 4;
  if (certificates.empty()) return fault(code.format, "", "no certificate");
  const auto root = std::ranges::find_if(
      roots, [&](const TrustRoot& r) { return equal(r.certificate.der(), certificates.back().der()); });
  if (root == roots.end())
    return fault(code.untrusted, certificates.back().common_name(), "not one of the roots that are trusted here");
  if (certificates.size() != wanted)
    return fault(code.format, "", std::to_string(certificates.size()) + " certificates, not " + std::to_string(wanted));
  certificates.back() = root->certificate;
  for (std::size_t i = 0; i < certificates.size(); ++i) CAIRN_CHECK(check_place(certificates[i], i == 0, code));
  for (std::size_t i = 0; i + 1 < certificates.size(); ++i)
    CAIRN_CHECK(check_link(certificates[i], certificates[i + 1], code));
  Result<crypto::PublicKey> key = certificates.front().public_key();
  if (!key) return fault(code.format, certificates.front().common_name(), key.error());
  return Chain{.certificates = std::move(certificates), .key = *std::move(key), .root = &*root};
}

Checked<> check_validity(const Chain& chain, ChainKind kind, Time at) {
  const Codes code = codes(kind);
  for (const Certificate& c : chain.certificates) {
    if (at < c.not_before()) return fault(code.early, c.common_name(), "valid from " + rfc3339(c.not_before()) + " on");
    if (at > c.not_after()) return fault(code.late, c.common_name(), "expired at " + rfc3339(c.not_after()));
  }
  return {};
}

std::string_view name(Architecture arch) {
  switch (arch) {
    case Architecture::hopper: return "HOPPER";
    case Architecture::blackwell: return "BLACKWELL";
    case Architecture::rubin: return "RUBIN";
    case Architecture::ls10: return "LS10";
  }
  return "";
}
std::string_view chip(Architecture arch) {
  switch (arch) {
    case Architecture::hopper: return "GH100";
    case Architecture::blackwell: return "GB1";
    case Architecture::rubin: return "GR1";
    case Architecture::ls10: return "LS10";
  }
  return "";
}

Checked<DeviceIdentity> read_identity(const Chain& chain) {
  const Certificate &leaf = chain.certificates[0], &boot_rom = chain.certificates[1];
  DeviceIdentity out{.hwmodel = boot_rom.common_name(), .ueid = decimal(leaf.serial())};
  const auto known = std::ranges::find_if(kChips, [&](const auto& row) { return out.hwmodel.starts_with(row.prefix); });
  if (known == std::end(kChips)) return fault(Failure::arch_mismatch, out.hwmodel, "a chip that is not known");
  out.arch = known->arch;
  out.pdi = pdi_of(boot_rom, out.kind());
  const crypto::Extension* composite = leaf.extension(kDiceFwid);
  const crypto::Extension* tcb_info = leaf.extension(kDiceTcbInfo);
  if (composite == nullptr && tcb_info == nullptr)
    return fault(Failure::fwid_absent, leaf.common_name(), "its certificate has no firmware id");
  const Result<FirmwareId> id =
      composite != nullptr ? read_composite(composite->value) : read_tcb_info(tcb_info->value);
  if (!id) return fault(Failure::chain_format, leaf.common_name(), id.error());
  if (id->device_key && *id->device_key != boot_rom.spki_der())
    return fault(Failure::device_id_mismatch, leaf.common_name(), "it names another device key than its issuer's");
  out.fwid = id->fwid;
  Result<std::string> device = dmtf_device(leaf);
  if (!device) return fault(Failure::chain_format, leaf.common_name(), device.error());
  out.san_device = *std::move(device);
  return out;
}

}  // namespace cairn::nvidia
