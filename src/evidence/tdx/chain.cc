#include "evidence/tdx/chain.h"

#include <algorithm>

#include "evidence/tdx/limits.h"

namespace cairn::tdx {
namespace {

constexpr std::string_view kRootName = "Intel SGX Root CA";
constexpr std::string_view kPlatformName = "Intel SGX PCK Platform CA";
constexpr std::string_view kProcessorName = "Intel SGX PCK Processor CA";
constexpr std::string_view kPckName = "SGX PCK Certificate";
constexpr std::string_view kTcbSigningName = "SGX TCB Signing";

std::string_view what(ChainKind kind) {
  switch (kind) {
    case ChainKind::tcb_signing: return "TCB signing chain";
    case ChainKind::pck_crl_issuer: return "PCK CRL issuer chain";
    case ChainKind::pck: return "PCK chain";
  }
  return "chain";
}

std::string certificate(const pki::Certificate& c) {
  std::string name(c.common_name.substr(0, 64));
  for (char& ch : name)
    if (ch < 0x20 || ch > 0x7e) ch = '?';
  return "certificate \"" + name + "\"";
}

bool leaf_name_fits(std::string_view name, ChainKind kind) {
  switch (kind) {
    case ChainKind::tcb_signing: return name.contains(kTcbSigningName);
    case ChainKind::pck_crl_issuer: return pck_ca(name).has_value();
    case ChainKind::pck: return name.contains(kPckName);
  }
  return false;
}

Checked<> check_order(const Chain& chain) {
  for (std::size_t i = 0; i + 1 < chain.certs.size(); ++i)
    if (!equal(chain.certs[i].issuer, chain.certs[i + 1].subject))
      return fault(Failure::chain_format, certificate(chain.certs[i]) + " is not followed by its issuer");
  if (!equal(chain.root().issuer, chain.root().subject))
    return fault(Failure::chain_format, "the chain does not end in a self-issued certificate");
  return {};
}

Checked<> check_names(const Chain& chain, ChainKind kind) {
  if (!leaf_name_fits(chain.leaf().common_name, kind))
    return fault(Failure::cert_name, certificate(chain.leaf()) + " cannot head a " + std::string(what(kind)));
  if (kind == ChainKind::pck && !pck_ca(chain.certs[1].common_name))
    return fault(Failure::cert_name, certificate(chain.certs[1]) + " is not a PCK CA");
  if (chain.root().common_name != kRootName)
    return fault(Failure::cert_name, certificate(chain.root()) + " is not " + std::string(kRootName));
  return {};
}

Checked<> check_extensions(const pki::Certificate& c) {
  const char* missing = !c.has_authority_key_id          ? "authority key id"
                        : !c.has_subject_key_id          ? "subject key id"
                        : !c.has_crl_distribution_points ? "CRL distribution points"
                        : !c.key_usage                   ? "key usage"
                        : !c.has_basic_constraints       ? "basic constraints"
                                                         : nullptr;
  if (missing != nullptr) return fault(Failure::cert_extensions, certificate(c) + " lacks " + missing);
  if (c.unknown_critical)
    return fault(Failure::cert_extensions, certificate(c) + " has a critical extension that is not known");
  return {};
}

// `below`: how many CA certificates stand below this one; none: it is a leaf.
Checked<> check_constraint(const pki::Certificate& c, std::optional<std::uint32_t> below) {
  const bool ca = below.has_value();
  if (c.ca != ca) return fault(Failure::cert_constraint, certificate(c) + (ca ? " is not a CA" : " is a CA"));
  const std::uint16_t usage = ca ? pki::kKeyCertSign | pki::kCrlSign : pki::kDigitalSignature;
  if ((*c.key_usage & usage) != usage || (!ca && (*c.key_usage & (pki::kKeyCertSign | pki::kCrlSign)) != 0))
    return fault(Failure::cert_constraint, certificate(c) + " has another key usage than its place demands");
  if (c.path_length && (!ca || *c.path_length < *below))
    return fault(Failure::cert_constraint, certificate(c) + " has another path length than its place demands");
  return {};
}

}  // namespace

std::optional<PckCa> pck_ca(std::string_view common_name) {
  if (common_name == kPlatformName) return PckCa::platform;
  if (common_name == kProcessorName) return PckCa::processor;
  return std::nullopt;
}

Checked<Chain> parse_chain(std::string_view pem, ChainKind kind) {
  const std::size_t length = kind == ChainKind::pck ? 3 : 2;
  Result<std::vector<Bytes>> blocks = pki::parse_pem_chain(pem);
  if (!blocks) return fault(Failure::chain_format, what(kind), blocks.error());
  if (blocks->size() != length)
    return fault(Failure::chain_format, std::string(what(kind)) + " of " + std::to_string(blocks->size()) +
                                            " certificates; " + std::to_string(length) + " belong there");
  Chain out;
  out.der = *std::move(blocks);
  for (const Bytes& der : out.der) {
    Result<pki::Certificate> c = pki::parse_certificate(der);
    if (!c) return fault(Failure::chain_format, what(kind), c.error());
    out.certs.push_back(*c);
  }
  return out;
}

Checked<> check_shape(const Chain& chain, ChainKind kind) {
  // A wrong signing certificate is better named than called misplaced.
  if (kind == ChainKind::tcb_signing) {
    CAIRN_CHECK(check_names(chain, kind));
    CAIRN_CHECK(check_order(chain));
  } else {
    CAIRN_CHECK(check_order(chain));
    CAIRN_CHECK(check_names(chain, kind));
  }
  for (const pki::Certificate& c : chain.certs) CAIRN_CHECK(check_extensions(c));
  for (std::size_t i = 0; i < chain.certs.size(); ++i) {
    const bool leaf = i == 0 && kind != ChainKind::pck_crl_issuer;
    const auto below = static_cast<std::uint32_t>(i - (kind == ChainKind::pck_crl_issuer ? 0 : 1));
    CAIRN_CHECK(check_constraint(chain.certs[i], leaf ? std::nullopt : std::optional(below)));
  }
  return {};
}

Checked<> check_root(const Chain& chain, const RootKey& root) {
  if (chain.root().public_key == root.key.point()) return {};
  return fault(Failure::untrusted,
               certificate(chain.root()) + " has another key than the trust root \"" + root.root.name + "\"");
}

AuthorityKeys::AuthorityKeys(std::size_t capacity, const std::vector<RootKey>& roots) : AuthorityKeys(capacity) {
  for (const RootKey& root : roots) roots_.push_back({.key = root.key});
}

const pki::P256Key& AuthorityKeys::used(Entry& entry) {
  if (++entry.uses == kUsesBeforeTable) entry.key.prepare();
  return entry.key;
}

std::optional<pki::P256Key> AuthorityKeys::find(const pki::Point& point) {
  const auto is_it = [&](const Entry& e) { return e.key.point() == point; };
  if (const auto root = std::ranges::find_if(roots_, is_it); root != roots_.end()) return used(*root);
  auto entry = std::ranges::find_if(entries_, is_it);
  if (entry == entries_.end()) {
    Result<pki::P256Key> key = pki::P256Key::from_point(point);
    if (!key) return std::nullopt;
    if (capacity_ == 0) return *std::move(key);
    if (entries_.size() == capacity_) entries_.pop_back();
    entry = entries_.insert(entries_.end(), Entry{.key = *std::move(key)});
  }
  std::rotate(entries_.begin(), entry, entry + 1);
  return used(entries_.front());
}

// From the root down, so that each key is certified before it is used.
Checked<> check_signatures(const Chain& chain, const RootKey& root, ByteView known_ca, AuthorityKeys& keys) {
  const std::size_t last = chain.certs.size() - 1;
  for (std::size_t i = chain.certs.size(); i-- > 0;) {
    const pki::Certificate& c = chain.certs[i];
    if (equal(c.der, i == last ? ByteView(root.root.certificate) : known_ca)) continue;
    const auto issuer = keys.find(i + 1 >= last ? root.key.point() : chain.certs[i + 1].public_key);
    if (!issuer || !c.signed_by(*issuer))
      return fault(Failure::cert_signature, certificate(c) + " is not signed by its issuer");
  }
  return {};
}

Checked<> check_validity(const Chain& chain, Failure expired, std::string_view name, TimeJudge& time) {
  for (const pki::Certificate& c : chain.certs) {
    CAIRN_CHECK(time.not_after(c.not_after, expired, name));
    CAIRN_CHECK(time.not_before(c.not_before, Failure::cert_not_yet_valid, name));
  }
  return {};
}

}  // namespace cairn::tdx
