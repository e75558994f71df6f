#include "evidence/nvidia/rim.h"

#include <algorithm>
#include <charconv>

#include "base/encoding.h"
#include "crypto/hash.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/xml.h"

namespace cairn::nvidia {
namespace {

constexpr std::string_view kSwid = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
constexpr std::string_view kTcg =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
constexpr std::string_view kSha384 = "http://www.w3.org/2001/04/xmlenc#sha384";
constexpr std::string_view kOpaque = "https://docs.nvidia.com/attestation/specs/latest/opaque-data.html";
constexpr std::string_view kDsig = "http://www.w3.org/2000/09/xmldsig#";
constexpr std::string_view kC14n = "http://www.w3.org/2006/12/xml-c14n11";
constexpr std::string_view kEnveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
constexpr std::string_view kSignatureMethod = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
constexpr std::string_view kDigestMethod = "http://www.w3.org/2001/04/xmldsig-more#sha384";
constexpr std::uint32_t kOpaqueBase = 0x1000;  // index of opaque type 0
constexpr std::size_t kMaxCertificates = 8;

std::unexpected<Error> bad_rim(std::string where, std::string message) {
  return fail(ErrorCode::malformed, std::move(where), std::move(message));
}

// One document on its way; paths in errors are element names.
class RimReader {
 public:
  explicit RimReader(const Xml& xml) : xml_(xml) {}

  Result<Rim> read() {
    if (!is(0, kSwid, "SoftwareIdentity")) return bad_rim("/", "the root is no SoftwareIdentity of ISO 19770-2");
    CAIRN_TRY(const std::size_t meta, only_child(0, kSwid, "Meta"));
    CAIRN_TRY(const std::size_t payload, only_child(0, kSwid, "Payload"));
    CAIRN_TRY(const std::size_t signature, only_child(0, kDsig, "Signature"));
    const auto signatures = std::ranges::count_if(
        xml_.nodes, [](const XmlNode& n) { return n.element && n.uri == kDsig && n.local == "Signature"; });
    if (signatures != 1) return bad_rim("Signature", "the document has more than one");
    CAIRN_CHECK(read_meta(meta));
    CAIRN_CHECK(read_payload(payload));
    CAIRN_CHECK(read_signature(signature));
    const std::string document = canonical_xml(xml_, 0, signature);
    out_.document_digest = crypto::sha384(as_bytes(document));
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool is(std::size_t node, std::string_view uri, std::string_view local) const {
    const XmlNode& n = xml_.nodes[node];
    return n.element && n.uri == uri && n.local == local;
  }
  [[nodiscard]] Result<std::size_t> only_child(std::size_t node, std::string_view uri, std::string_view local) const {
    std::size_t found = 0, count = 0;
    for (const std::size_t c : xml_.children(node))
      if (is(c, uri, local)) {
        found = c;
        ++count;
      }
    if (count == 1) return found;
    return bad_rim(std::string(local), "there are " + std::to_string(count) + ", not one");
  }
  // The child elements, which must be exactly these of the signature's namespace.
  [[nodiscard]] Result<std::vector<std::size_t>> exactly(std::size_t node,
                                                         std::initializer_list<std::string_view> names) const {
    std::vector<std::size_t> out = xml_.children(node);
    const bool same =
        std::ranges::equal(out, names, [&](std::size_t c, std::string_view n) { return is(c, kDsig, n); });
    if (!same) return bad_rim(xml_.nodes[node].local, "other elements than a RIM's signature has");
    return out;
  }
  [[nodiscard]] Result<std::string> attribute(std::size_t node, std::string_view uri, std::string_view local) const {
    const std::string* value = xml_.attribute(node, uri, local);
    if (value == nullptr) return bad_rim(xml_.nodes[node].local, "no " + std::string(local));
    return *value;
  }
  [[nodiscard]] Result<void> attribute_is(std::size_t node, std::string_view local, std::string_view wanted) const {
    CAIRN_TRY(const std::string value, attribute(node, "", local));
    if (value == wanted) return {};
    return bad_rim(xml_.nodes[node].local, std::string(local) + " is not " + std::string(wanted));
  }
  [[nodiscard]] Result<std::uint32_t> number(std::size_t node, std::string_view uri, std::string_view local,
                                             std::uint32_t max) const {
    CAIRN_TRY(const std::string text, attribute(node, uri, local));
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value <= max) return value;
    return bad_rim(xml_.nodes[node].local, std::string(local) + " is no number up to " + std::to_string(max));
  }
  [[nodiscard]] Result<bool> boolean(std::size_t node, std::string_view local) const {
    CAIRN_TRY(const std::string text, attribute(node, "", local));
    if (text == "True" || text == "true") return true;
    if (text == "False" || text == "false") return false;
    return bad_rim(xml_.nodes[node].local, std::string(local) + " is neither True nor False");
  }
  // Base64 with white space inside.
  [[nodiscard]] Result<Bytes> base64_text(std::size_t node) const {
    const std::string* text = xml_.text(node);
    if (text == nullptr) return bad_rim(xml_.nodes[node].local, "elements where text is wanted");
    std::string plain = *text;
    std::erase_if(plain, [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
    auto bytes = from_base64(plain);
    return bytes ? std::move(bytes) : bad_rim(xml_.nodes[node].local, "not base64");
  }

  Result<void> read_meta(std::size_t meta) {
    CAIRN_TRY(out_.version, attribute(meta, "", "colloquialVersion"));
    CAIRN_TRY(out_.edition, attribute(meta, "", "edition"));
    CAIRN_TRY(out_.product, attribute(meta, "", "product"));
    if (const std::string* oem = xml_.attribute(meta, kTcg, "FirmwareManufacturerId")) out_.oem_id = *oem;
    if (const std::string* tag = xml_.attribute(0, "", "tagId")) out_.tag_id = *tag;
    return {};
  }

  Result<void> read_payload(std::size_t payload) {
    std::size_t measurements = 0;
    std::vector<bool> seen(kRimMeasurements);
    for (const std::size_t c : xml_.children(payload)) {
      if (!is(c, kSwid, "Resource")) return bad_rim("Payload", "an element that is no Resource");
      CAIRN_TRY(const std::uint32_t index, number(c, "", "index", 0xFFFF + kOpaqueBase));
      if (index >= kOpaqueBase) {
        CAIRN_CHECK(read_minimum(c, index - kOpaqueBase));
        continue;
      }
      if (index >= kRimMeasurements || seen[index])
        return bad_rim("Resource", "measurement " + std::to_string(index) + " is out of range or there twice");
      seen[index] = true;
      ++measurements;
      CAIRN_CHECK(read_measurement(c, index));
    }
    if (measurements != kRimMeasurements)
      return bad_rim("Payload",
                     std::to_string(measurements) + " measurements, not " + std::to_string(kRimMeasurements));
    std::ranges::sort(out_.golden, {}, &Golden::index);
    std::ranges::sort(out_.minimum, {}, &MinimumSvn::type);
    if (std::ranges::adjacent_find(out_.minimum, {}, &MinimumSvn::type) != out_.minimum.end())
      return bad_rim("Payload", "an opaque record is bounded twice");
    return {};
  }

  Result<void> read_measurement(std::size_t node, std::uint32_t index) {
    CAIRN_CHECK(attribute_is(node, "type", "Measurement"));
    CAIRN_CHECK(attribute_is(node, "size", "48"));
    CAIRN_TRY(const bool active, boolean(node, "active"));
    CAIRN_TRY(const std::uint32_t count, number(node, "", "alternatives", kMaxGoldenAlternatives));
    const auto hashes = std::ranges::count(xml_.nodes[node].attributes, kSha384, &XmlAttribute::uri);
    if (count == 0 || hashes != static_cast<std::ptrdiff_t>(count))
      return bad_rim("Resource", "another number of digests than alternatives");
    Golden golden{.index = static_cast<std::uint16_t>(index)};
    if (const std::string* label = xml_.attribute(node, "", "name")) golden.name = *label;
    for (std::uint32_t i = 0; i < count; ++i) {
      CAIRN_TRY(const std::string text, attribute(node, kSha384, "Hash" + std::to_string(i)));
      const auto digest = from_hex(text).and_then([](const Bytes& b) { return Measurement::from(b); });
      if (!digest) return bad_rim("Resource", "a digest that is not 96 hexadecimal digits");
      golden.alternatives.push_back(*digest);
    }
    if (active) out_.golden.push_back(std::move(golden));
    return {};
  }

  Result<void> read_minimum(std::size_t node, std::uint32_t type) {
    CAIRN_TRY(const bool active, boolean(node, "active"));
    CAIRN_TRY(const std::uint32_t value, number(node, kOpaque, "minSvn", 0xFFFF));
    if (!active) return {};
    MinimumSvn out{.type = static_cast<std::uint16_t>(type), .value = static_cast<std::uint16_t>(value)};
    if (const std::string* label = xml_.attribute(node, "", "name")) out.name = *label;
    out_.minimum.push_back(std::move(out));
    return {};
  }

  Result<void> read_signature(std::size_t node) {
    CAIRN_TRY(const auto parts, exactly(node, {"SignedInfo", "SignatureValue", "KeyInfo"}));
    CAIRN_TRY(const auto info, exactly(parts[0], {"CanonicalizationMethod", "SignatureMethod", "Reference"}));
    CAIRN_CHECK(bare(info[0], kC14n));
    CAIRN_CHECK(bare(info[1], kSignatureMethod));
    CAIRN_CHECK(read_reference(info[2]));
    out_.signed_info = canonical_xml(xml_, parts[0], 0);
    CAIRN_TRY(const Bytes value, base64_text(parts[1]));
    if (value.size() != out_.signature.size()) return bad_rim("SignatureValue", "not 96 bytes");
    std::ranges::copy(value, out_.signature.begin());
    return read_certificates(parts[2]);
  }

  // An element with nothing but this Algorithm.
  [[nodiscard]] Result<void> bare(std::size_t node, std::string_view algorithm) const {
    CAIRN_CHECK(exactly(node, {}).transform([](const auto&) {}));
    return attribute_is(node, "Algorithm", algorithm);
  }

  Result<void> read_reference(std::size_t node) {
    CAIRN_CHECK(attribute_is(node, "URI", ""));
    CAIRN_TRY(const auto parts, exactly(node, {"Transforms", "DigestMethod", "DigestValue"}));
    CAIRN_TRY(const auto transforms, exactly(parts[0], {"Transform", "Transform"}));
    CAIRN_CHECK(bare(transforms[0], kEnveloped));
    CAIRN_CHECK(bare(transforms[1], kC14n));
    CAIRN_CHECK(bare(parts[1], kDigestMethod));
    CAIRN_TRY(const Bytes digest, base64_text(parts[2]));
    CAIRN_TRY(out_.named_digest, Measurement::from(digest));
    return {};
  }

  Result<void> read_certificates(std::size_t key_info) {
    CAIRN_TRY(const auto data, exactly(key_info, {"X509Data"}));
    for (const std::size_t c : xml_.children(data[0])) {
      if (!is(c, kDsig, "X509Certificate")) return bad_rim("X509Data", "an element that is no certificate");
      if (out_.certificates.size() == kMaxCertificates) return bad_rim("X509Data", "too many certificates");
      CAIRN_TRY(const Bytes der, base64_text(c));
      auto certificate = crypto::Certificate::from_der(der);
      if (!certificate) return bad_rim("X509Certificate", certificate.error().message);
      out_.certificates.push_back(*std::move(certificate));
    }
    return {};
  }

  const Xml& xml_;
  Rim out_;
};

}  // namespace

std::string_view name(RimSource source) { return source == RimSource::driver ? "Driver" : "Firmware"; }

Result<Rim> parse_rim(ByteView document) {
  CAIRN_TRY(const Xml xml, parse_xml(document));
  return RimReader(xml).read();
}

bool signature_holds(const Rim& rim, const crypto::PublicKey& key) {
  return equal(rim.named_digest, rim.document_digest) &&
         key.verify(crypto::Signature::ecdsa_raw, crypto::Hash::sha384, as_bytes(rim.signed_info), rim.signature)
             .has_value();
}

Checked<VerifiedRim> verify_rim(ByteView document, const std::vector<TrustRoot>& roots) {
  Result<Rim> rim = parse_rim(document);
  if (!rim) return fault(Failure::rim_format, "", rim.error());
  CAIRN_TRY(Chain chain, verify_chain(rim->certificates, ChainKind::rim, roots));
  if (!signature_holds(*rim, chain.key))
    return fault(Failure::rim_signature, chain.certificates.front().common_name(),
                 equal(rim->named_digest, rim->document_digest) ? "the signature is not this signer's"
                                                                : "the document was changed after it was signed");
  return VerifiedRim{.rim = *std::move(rim), .chain = std::move(chain)};
}

}  // namespace cairn::nvidia
