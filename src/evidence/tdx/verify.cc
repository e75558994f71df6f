#include "evidence/tdx/verify.h"

#include <algorithm>

#include "crypto/hash.h"
#include "evidence/tdx/collateral_set.h"
#include "evidence/tdx/lru.h"

namespace cairn::tdx {
namespace {

// Before 2018-05-21, when Intel's root was made, no such evidence existed: a clock that says so is wrong.
constexpr Time kEarliestTime{1526860800};

// A verified PCK chain: step 7 without what depends on time and revocation.
struct PckChain {
  Chain chain;
  PckCa ca = PckCa::platform;
  sgx::PckExtension extension;
  std::optional<pki::P256Key> key;
  const RootKey* root = nullptr;
};

// A verified attestation key: steps 10, 11 and the key part of 13.
struct Binding {
  pki::P256Key key;
};

// One verification on its way.
struct Run {
  TimeJudge time;
  std::shared_ptr<const CollateralSet> collateral;
  ParsedQuote parsed;
  std::shared_ptr<const PckChain> pck;
  std::shared_ptr<const Binding> binding;

  [[nodiscard]] const Quote& quote() const { return parsed.quote; }
};

Checked<ParsedQuote> parse(ByteView bytes) {
  Result<ParsedQuote> parsed = parse_quote(bytes);
  if (parsed) return *std::move(parsed);
  const bool unsupported = parsed.error().code == ErrorCode::unsupported;
  return fault(unsupported ? Failure::unsupported_quote : Failure::format, "the quote", parsed.error());
}

std::vector<RootKey> root_keys(std::vector<TrustRoot> trusted) {
  std::vector<RootKey> out;
  for (TrustRoot& r : trusted) {
    Result<pki::P256Key> key = pki::P256Key::from_point(ByteView(r.point).subspan(1));
    if (!key) continue;  // trust_root() makes none such
    RootKey& root = out.emplace_back(std::move(r), *std::move(key), pki::Certificate{});
    if (auto c = pki::parse_certificate(root.root.certificate)) root.certificate = *c;
  }
  return out;
}

std::string_view without_nul(ByteView pem) {
  std::string_view text = as_text(pem);
  while (text.ends_with('\0')) text.remove_suffix(1);
  return text;
}

// Lengths of §1.5 for the types that carry an id instead of certificates. Intel's sample quote leaves the PCEID out.
Checked<> check_ppid_data(const CertData& cert) {
  const std::size_t ppid = cert.type == CertDataType::ppid_clear     ? 16
                           : cert.type == CertDataType::ppid_rsa2048 ? 256
                                                                     : 384;
  if (cert.data.size() == ppid + 20 || cert.data.size() == ppid + 18) return {};
  return fault(Failure::format, "certification data of type \"" + std::string(name(cert.type)) + "\" has " +
                                    std::to_string(cert.data.size()) + " bytes");
}

// The PEM of the PCK chain: the quote's own, or the caller's for quotes that carry less.
Checked<std::string_view> pck_pem(const CertData& cert, const Collateral& collateral) {
  if (cert.type == CertDataType::pck_chain) return as_text(cert.data);
  if (cert.type != CertDataType::pck_leaf) CAIRN_CHECK(check_ppid_data(cert));
  if (collateral.pck_chain.empty())
    return fault(Failure::unsupported_cert_data,
                 "the quote carries a " + std::string(name(cert.type)) +
                     " instead of the PCK certificate chain, and the collateral has none");
  return std::string_view(collateral.pck_chain);
}

// A quote with the leaf alone must have the leaf of the chain given.
Checked<> check_leaf(const CertData& cert, const Chain& chain) {
  if (cert.type != CertDataType::pck_leaf) return {};
  const Result<std::vector<Bytes>> leaf = pki::parse_pem_chain(without_nul(cert.data));
  if (!leaf) return fault(Failure::chain_format, "the quote's PCK certificate", leaf.error());
  if (leaf->size() == 1 && leaf->front() == chain.der.front()) return {};
  return fault(Failure::chain_format, "the quote's PCK certificate is not that of the chain given");
}

Checked<std::shared_ptr<const PckChain>> load_pck_chain(std::string_view pem, const CollateralSet& collateral,
                                                        AuthorityKeys& keys) {
  auto out = std::make_shared<PckChain>();
  CAIRN_TRY(out->chain, parse_chain(pem, ChainKind::pck));
  const Chain& chain = out->chain;
  CAIRN_CHECK(check_shape(chain, ChainKind::pck));
  Result<sgx::PckExtension> extension = sgx::parse_pck_extension(chain.leaf().sgx_extension);
  if (!extension) return fault(Failure::cert_extensions, "the PCK certificate's SGX extension", extension.error());
  out->extension = *std::move(extension);
  out->ca = *pck_ca(chain.certs[1].common_name);
  out->root = collateral.root;
  CAIRN_CHECK(check_root(chain, *out->root));
  CAIRN_CHECK(check_signatures(chain, *out->root, collateral.pck_crl_issuer.leaf().der, keys));
  Result<pki::P256Key> key = pki::P256Key::from_point(chain.leaf().public_key);
  if (!key) return fault(Failure::cert_signature, "the PCK certificate", key.error());
  out->key = *std::move(key);
  return out;
}

// What of step 7 must be asked at every use.
Checked<> judge_pck(const PckChain& pck, const CollateralSet& collateral, TimeJudge& time) {
  CAIRN_CHECK(check_root(pck.chain, *collateral.root));
  CAIRN_CHECK(check_validity(pck.chain, Failure::cert_expired, "the PCK chain", time));
  if (collateral.root_crl.lists(pck.chain.certs[1].serial))
    return fault(Failure::intermediate_revoked, "the PCK CA is on the root CRL");
  if (!equal(collateral.pck_crl.issuer, pck.chain.leaf().issuer))
    return fault(Failure::crl_issuer, "the PCK CRL is not of the CA that issued the PCK certificate");
  if (collateral.pck_crl.lists(pck.chain.leaf().serial))
    return fault(Failure::pck_revoked, "the PCK certificate is on the CRL of its issuer");
  return {};
}

// Step 8.
Checked<> check_applies(const TcbInfo& info, const Quote& quote, const sgx::PckExtension& pck) {
  if (info.tee != quote.header.tee_type)
    return fault(Failure::tcb_info_id, "the TCB info is of the other TEE than the quote");
  if (info.fmspc != pck.fmspc) return fault(Failure::fmspc_mismatch, "the TCB info is of another FMSPC than the PCK");
  if (info.pce_id != pck.pce_id) return fault(Failure::pceid_mismatch, "the TCB info is of another PCEID than the PCK");
  return {};
}

// Step 9, §2.8.
Checked<> check_module(const TcbInfo& info, const TdReport& td) {
  const TdxModule* module = module_for(info, td.tee_tcb_svn);
  if (module == nullptr)
    return fault(Failure::tdx_module_mismatch,
                 "the TCB info knows no TDX module of version " + std::to_string(td.tee_tcb_svn[1]));
  if (td.mr_signer_seam != module->mr_signer) return fault(Failure::tdx_module_mismatch, "MRSIGNERSEAM is another");
  if (td.seam_attributes != module->attributes || td.seam_attributes != std::array<std::uint8_t, 8>{})
    return fault(Failure::tdx_module_mismatch, "SEAMATTRIBUTES are not zero");
  return {};
}

// Steps 10 and 11.
Checked<> check_qe_report(const ParsedQuote& parsed, const pki::P256Key& pck) {
  const Quote& q = parsed.quote;
  if (!pck.verify_message(parsed.qe_report_bytes, q.qe_report_signature))
    return fault(Failure::qe_report_signature, "the QE report is not signed by the PCK key");
  Bytes bound = to_bytes(ByteView(q.attestation_key));
  append(bound, q.qe_auth_data);
  const Digest<32> digest = crypto::sha256(bound);
  const ByteView data(q.qe_report.report_data);
  const bool rest_zero = std::ranges::all_of(data.subspan(32), [](std::uint8_t b) { return b == 0; });
  if (!equal(data.first(32), digest) || !rest_zero)
    return fault(Failure::qe_report_data, "the QE report does not bind the attestation key");
  return {};
}

// Step 12.
Checked<> check_qe_identity(const QeIdentity& identity, const Quote& quote) {
  const QeId wanted = quote.header.tee_type == TeeType::tdx ? QeId::td_qe : QeId::qe;
  if (identity.id != wanted) return fault(Failure::qe_identity_id, "the QE identity is of another enclave");
  if (const std::string_view field = identity_mismatch(identity, quote.qe_report); !field.empty())
    return fault(Failure::qe_identity_mismatch,
                 "the QE report's " + std::string(field) + " is not that of the identity");
  return {};
}

Digest<32> binding_key(const ParsedQuote& parsed, const pki::P256Key& pck) {
  const Quote& q = parsed.quote;
  Writer w;
  w.bytes(parsed.qe_report_bytes).bytes(q.qe_report_signature).bytes(q.attestation_key).bytes(pck.point());
  w.bytes(q.qe_auth_data);
  return crypto::sha256(w.view());
}

// Step 14. Without td15, current is launch.
Checked<> judge_tcb(const Run& run, Verdict& out) {
  const auto& [info, identity] = std::tie(run.collateral->tcb_info, run.collateral->qe_identity);
  const Quote& quote = run.quote();
  const TdReport* td = quote.td();
  const auto level = [&](const Svn16* svn) -> Checked<Evaluation> {
    Result<Evaluation> e = evaluate(info, identity, run.pck->extension, quote.qe_report.isv_svn, svn);
    if (!e) return fault(Failure::tcb_not_supported, "no TCB level", e.error());
    return *std::move(e);
  };
  CAIRN_TRY(Evaluation launch, level(td != nullptr ? &td->tee_tcb_svn : nullptr));
  TcbLevel current = launch.level;
  if (td != nullptr && td->td15) {
    CAIRN_TRY(Evaluation e, level(&td->td15->tee_tcb_svn_2));
    current = std::move(e.level);
  }
  out.qe = QeFacts{.report = quote.qe_report, .status = launch.qe_status, .date = launch.qe_date};
  if (td != nullptr) out.module = ModuleFacts{.version = td->tee_tcb_svn[1], .status = launch.module_status};
  out.tcb = launch.level;
  out.tcb->status = td != nullptr && td->td15 ? relaunch(launch.level.status, current.status) : launch.level.status;
  out.launch = std::move(launch.level);
  out.current = std::move(current);
  return {};
}

PlatformFacts platform_facts(const PckChain& pck) {
  const pki::Certificate& leaf = pck.chain.leaf();
  return {.pck = pck.extension,
          .ca = pck.ca,
          .pck_serial = to_bytes(leaf.serial),
          .pck_not_before = leaf.not_before,
          .pck_not_after = leaf.not_after};
}

}  // namespace

struct Verifier::Impl {
  std::vector<RootKey> roots;
  CacheSizes sizes;
  std::vector<std::shared_ptr<const CollateralSet>> collaterals;  // most recently used first
  Lru<PckChain> chains;
  Lru<Binding> bindings;
  AuthorityKeys keys;

  Impl(std::vector<TrustRoot> trusted, CacheSizes s)
      : roots(root_keys(std::move(trusted))), sizes(s), chains(s.chains), bindings(s.bindings), keys(s.keys, roots) {}

  // Steps 1 to 5.
  Checked<std::shared_ptr<const CollateralSet>> collateral(const Collateral& source, TimeJudge& time) {
    const auto known = std::ranges::find_if(collaterals, [&](const auto& set) { return set->source == source; });
    if (known != collaterals.end()) {
      std::rotate(collaterals.begin(), known, known + 1);
      CAIRN_CHECK(judge_times(*collaterals.front(), time));
      return collaterals.front();
    }
    CAIRN_TRY(auto loaded, load_collateral(roots, source, keys, time));
    std::shared_ptr<const CollateralSet> set = std::move(loaded);
    if (sizes.collaterals == 0) return set;
    if (collaterals.size() == sizes.collaterals) collaterals.pop_back();
    collaterals.insert(collaterals.begin(), set);
    return set;
  }

  Checked<> run_collateral(const Collateral& source, Run& run, Verdict& out) {
    const Options& options = run.time.options();
    if (options.time < kEarliestTime)
      return fault(Failure::invalid_time, "the verification time " + rfc3339(options.time) + " is before 2018-05-21");
    if (roots.empty()) return fault(Failure::untrusted, "no trust root was given");
    CAIRN_TRY(run.collateral, collateral(source, run.time));
    const TrustRoot& root = run.collateral->root->root;
    out.root_name = root.name;
    out.root_key_id = root.key_id();
    out.simulated = root.simulated;
    out.collateral = facts(*run.collateral, nullptr, run.time);
    if (out.collateral->tcb_eval_num < options.min_tcb_eval_num)
      return fault(Failure::collateral_replayed, "TCB evaluation data number " +
                                                     std::to_string(out.collateral->tcb_eval_num) + " is below " +
                                                     std::to_string(options.min_tcb_eval_num));
    return {};
  }

  // Step 7.
  Checked<> run_pck(const Collateral& source, Run& run) {
    const CertData& cert = run.quote().cert;
    CAIRN_TRY(const std::string_view pem, pck_pem(cert, source));
    const Digest<32> key = chains.capacity() == 0 ? Digest<32>{} : crypto::sha256(as_bytes(pem));
    run.pck = chains.find(key);
    if (!run.pck || run.pck->root != run.collateral->root) {
      CAIRN_TRY(run.pck, load_pck_chain(pem, *run.collateral, keys));
      chains.insert(key, run.pck);
    }
    CAIRN_CHECK(check_leaf(cert, run.pck->chain));
    return judge_pck(*run.pck, *run.collateral, run.time);
  }

  // Steps 10 to 13.
  Checked<> run_signatures(Run& run) {
    const Quote& quote = run.quote();
    const pki::P256Key& pck = *run.pck->key;
    const Digest<32> key = bindings.capacity() == 0 ? Digest<32>{} : binding_key(run.parsed, pck);
    run.binding = bindings.find(key);
    if (!run.binding) CAIRN_CHECK(check_qe_report(run.parsed, pck));
    CAIRN_CHECK(check_qe_identity(run.collateral->qe_identity, quote));
    if (!run.binding) {
      Result<pki::P256Key> attestation = pki::P256Key::from_point(quote.attestation_key);
      if (!attestation) return fault(Failure::attestation_key, "the attestation key", attestation.error());
      run.binding = std::make_shared<Binding>(*std::move(attestation));
      bindings.insert(key, run.binding);
    }
    if (!run.binding->key.verify_message(run.parsed.signed_bytes, quote.signature))
      return fault(Failure::quote_signature, "the quote is not signed by its attestation key");
    return {};
  }

  // Steps 6 to 14.
  Checked<> run_quote(ByteView bytes, const Collateral& source, Run& run, Verdict& out) {
    CAIRN_TRY(run.parsed, parse(bytes));
    out.quote_size = run.parsed.bytes.size();
    CAIRN_CHECK(run_pck(source, run));
    CAIRN_CHECK(check_applies(run.collateral->tcb_info, run.quote(), run.pck->extension));
    if (const TdReport* td = run.quote().td()) CAIRN_CHECK(check_module(run.collateral->tcb_info, *td));
    CAIRN_CHECK(run_signatures(run));
    out.collateral = facts(*run.collateral, &run.pck->chain, run.time);
    out.platform = platform_facts(*run.pck);
    const Checked<> tcb = judge_tcb(run, out);
    out.quote = std::move(run.parsed.quote);
    return tcb;
  }
};

Verifier::Verifier(std::vector<TrustRoot> roots) : Verifier(std::move(roots), CacheSizes()) {}
Verifier::Verifier(std::vector<TrustRoot> roots, CacheSizes sizes)
    : impl_(std::make_unique<Impl>(std::move(roots), sizes)) {}
Verifier::Verifier(Verifier&&) noexcept = default;
Verifier& Verifier::operator=(Verifier&&) noexcept = default;
Verifier::~Verifier() = default;

Verdict Verifier::verify(ByteView quote, const Collateral& collateral, const Options& options) {
  Verdict out;
  Run run{.time = TimeJudge(options), .collateral = {}, .parsed = {}, .pck = {}, .binding = {}};
  Checked<> done = impl_->run_collateral(collateral, run, out);
  if (done) done = impl_->run_quote(quote, collateral, run, out);
  if (!done) {
    out.failure = done.error().failure;
    out.detail = std::move(done.error().detail);
  }
  return out;
}

Verdict Verifier::verify_collateral(const Collateral& collateral, const Options& options) {
  Verdict out;
  Run run{.time = TimeJudge(options), .collateral = {}, .parsed = {}, .pck = {}, .binding = {}};
  if (Checked<> done = impl_->run_collateral(collateral, run, out); !done) {
    out.failure = done.error().failure;
    out.detail = std::move(done.error().detail);
  }
  return out;
}

Verifier::CacheUse Verifier::cache_use() const {
  return {impl_->collaterals.size(), impl_->chains.size(), impl_->bindings.size()};
}

Verdict verify(ByteView quote, const Collateral& collateral, const std::vector<TrustRoot>& roots,
               const Options& options) {
  return Verifier(roots, {.collaterals = 0, .chains = 0, .bindings = 0}).verify(quote, collateral, options);
}

std::string_view Verdict::outcome() const {
  return failure == Failure::none && tcb ? name(tcb->status) : name(failure);
}

Result<void> Verdict::result() const {
  if (authentic()) return {};
  return fail(ErrorCode::evidence_rejected, "tdx." + std::string(name(failure)),
              std::string(sentence(failure)) + (detail.empty() ? "" : ": " + detail));
}

namespace {

struct KeyAndChain {
  CollateralKey key;
  Chain chain;
};
Result<KeyAndChain> read_collateral_key(ByteView bytes) {
  CAIRN_TRY(const ParsedQuote parsed, parse_quote(bytes));
  if (parsed.quote.cert.type != CertDataType::pck_chain)
    return fail(ErrorCode::unsupported, "the quote carries a " + std::string(name(parsed.quote.cert.type)) +
                                            " instead of the PCK certificate chain");
  Checked<Chain> chain = parse_chain(as_text(parsed.quote.cert.data), ChainKind::pck);
  if (!chain) return fail(ErrorCode::malformed, std::move(chain.error().detail));
  CAIRN_TRY(const sgx::PckExtension pck, sgx::parse_pck_extension(chain->leaf().sgx_extension));
  const std::optional<PckCa> ca = pck_ca(chain->certs[1].common_name);
  if (!ca) return fail(ErrorCode::malformed, "the PCK certificate's issuer is no PCK CA");
  return KeyAndChain{.key = {.tee = parsed.quote.header.tee_type, .fmspc = pck.fmspc, .ca = *ca},
                     .chain = *std::move(chain)};
}

}  // namespace

Result<CollateralKey> collateral_key(ByteView bytes) {
  return read_collateral_key(bytes).transform([](const KeyAndChain& read) { return read.key; });
}

Result<CollateralKey> collateral_key(ByteView bytes, const std::vector<TrustRoot>& roots) {
  CAIRN_TRY(const KeyAndChain read, read_collateral_key(bytes));
  Checked<> done = check_shape(read.chain, ChainKind::pck);
  if (done) done = fault(Failure::untrusted, "the PCK chain ends in no trust root");
  for (const RootKey& root : root_keys(roots)) {
    if (done || done.error().failure != Failure::untrusted || !check_root(read.chain, root)) continue;
    AuthorityKeys keys;
    done = check_signatures(read.chain, root, {}, keys);
  }
  if (!done)
    return fail(ErrorCode::evidence_rejected, "tdx." + std::string(name(done.error().failure)), done.error().detail);
  return read.key;
}

}  // namespace cairn::tdx
