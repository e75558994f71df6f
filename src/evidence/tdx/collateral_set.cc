#include "evidence/tdx/collateral_set.h"

#include <algorithm>

namespace cairn::tdx {
namespace {

// The root whose key ends the TCB signing chain; the first one where that chain says nothing.
const RootKey& pick_root(const std::vector<RootKey>& roots, const Checked<Chain>& chain) {
  if (chain)
    for (const RootKey& r : roots)
      if (chain->root().public_key == r.key.point()) return r;
  return roots.front();
}

Checked<> load_crl(pki::Crl& out, ByteView der, const pki::Certificate& issuer, AuthorityKeys& keys,
                   std::string_view what) {
  Result<pki::Crl> crl = pki::parse_crl(der);
  if (!crl) return fault(Failure::crl_extensions, what, crl.error());
  const std::string name(what);
  if (!equal(crl->issuer, issuer.subject)) return fault(Failure::crl_issuer, name + " has another issuer");
  if (!crl->has_authority_key_id || crl->number.empty())
    return fault(Failure::crl_extensions, name + " lacks authority key id or CRL number");
  if (crl->unexpected_extension) return fault(Failure::crl_extensions, name + " has an extension that is not known");
  const auto key = keys.find(issuer.public_key);
  if (!key || !crl->signed_by(*key)) return fault(Failure::crl_signature, name + " is not signed by its issuer");
  out = *std::move(crl);
  return {};
}

Checked<> check_chain(const Chain& chain, ChainKind kind, const RootKey& root, AuthorityKeys& keys) {
  CAIRN_CHECK(check_shape(chain, kind));
  CAIRN_CHECK(check_root(chain, root));
  return check_signatures(chain, root, {}, keys);
}

Checked<> check_not_revoked(const CollateralSet& set, const Chain& chain, Failure failure, std::string_view what) {
  if (!set.root_crl.lists(chain.leaf().serial)) return {};
  return fault(failure, std::string(what) + " is on the root CRL");
}

Checked<> signing_times(const CollateralSet& set, TimeJudge& time) {
  CAIRN_CHECK(check_validity(set.tcb_signing, Failure::signing_cert_expired, "the TCB signing chain", time));
  return check_validity(set.qe_signing(), Failure::signing_cert_expired, "the QE identity signing chain", time);
}

Checked<> crl_times(const CollateralSet& set, TimeJudge& time) {
  CAIRN_CHECK(check_validity(set.pck_crl_issuer, Failure::cert_expired, "the PCK CRL issuer chain", time));
  for (const auto& [crl, what] : {std::pair(&set.root_crl, "the root CRL"), {&set.pck_crl, "the PCK CRL"}}) {
    CAIRN_CHECK(time.not_after(crl->next_update, Failure::crl_expired, what));
    CAIRN_CHECK(time.not_before(crl->this_update, Failure::crl_expired, what));
  }
  return {};
}

Checked<> tcb_info_times(const CollateralSet& set, TimeJudge& time) {
  CAIRN_CHECK(time.not_after(set.tcb_info.next_update, Failure::tcb_info_expired, "the TCB info"));
  return time.not_before(set.tcb_info.issued, Failure::tcb_info_not_yet_valid, "the TCB info");
}

Checked<> qe_identity_times(const CollateralSet& set, TimeJudge& time) {
  CAIRN_CHECK(time.not_after(set.qe_identity.next_update, Failure::qe_identity_expired, "the QE identity"));
  return time.not_before(set.qe_identity.issued, Failure::qe_identity_not_yet_valid, "the QE identity");
}

// Step 2.
Checked<> load_signing_chains(CollateralSet& set, AuthorityKeys& keys, TimeJudge& time) {
  CAIRN_CHECK(check_chain(set.tcb_signing, ChainKind::tcb_signing, *set.root, keys));
  if (set.source.qe_signing_chain != set.source.tcb_signing_chain) {
    CAIRN_TRY(set.other_qe_signing, parse_chain(set.source.qe_signing_chain, ChainKind::tcb_signing));
    CAIRN_CHECK(check_chain(*set.other_qe_signing, ChainKind::tcb_signing, *set.root, keys));
  }
  for (const Chain* chain : {&std::as_const(set.tcb_signing), &set.qe_signing()})
    CAIRN_CHECK(check_not_revoked(set, *chain, Failure::tcb_signing_revoked, "the TCB signing certificate"));
  return signing_times(set, time);
}

// Step 3.
Checked<> load_pck_crl(CollateralSet& set, AuthorityKeys& keys, TimeJudge& time) {
  CAIRN_TRY(set.pck_crl_issuer, parse_chain(set.source.pck_crl_issuer_chain, ChainKind::pck_crl_issuer));
  CAIRN_CHECK(check_chain(set.pck_crl_issuer, ChainKind::pck_crl_issuer, *set.root, keys));
  const pki::Certificate& ca = set.pck_crl_issuer.leaf();
  CAIRN_CHECK(check_not_revoked(set, set.pck_crl_issuer, Failure::intermediate_revoked, "the PCK CA"));
  CAIRN_CHECK(load_crl(set.pck_crl, set.source.pck_crl, ca, keys, "the PCK CRL"));
  return crl_times(set, time);
}

// Steps 4 and 5: parsed with `parse`, signed by the leaf of `chain`.
template <class T, class F>
Checked<> load_signed(T& out, std::string_view body, F parse, const Chain& chain, AuthorityKeys& keys, Failure format,
                      Failure signature, std::string_view what) {
  Result<SignedBody<T>> read = parse(body);
  if (!read) return fault(format, what, read.error());
  const auto key = keys.find(chain.leaf().public_key);
  if (!key || !key->verify_message(as_bytes(read->signed_text), read->signature))
    return fault(signature, std::string(what) + " is not signed by the TCB signing certificate");
  if (!read->value) return fault(format, what, read->value.error());
  out = *std::move(read->value);
  return {};
}

struct Span {
  Time from, to, until;  // earliest and latest issue, earliest expiration
  void add(Time issued, Time expires) {
    from = std::min(from, issued);
    to = std::max(to, issued);
    until = std::min(until, expires);
  }
  void add(const Chain& chain) {
    for (const pki::Certificate& c : chain.certs) add(c.not_before, c.not_after);
  }
};

}  // namespace

Checked<std::unique_ptr<const CollateralSet>> load_collateral(const std::vector<RootKey>& roots,
                                                              const Collateral& source, AuthorityKeys& keys,
                                                              TimeJudge& time) {
  auto set = std::make_unique<CollateralSet>(source);
  Checked<Chain> signing = parse_chain(set->source.tcb_signing_chain, ChainKind::tcb_signing);
  set->root = &pick_root(roots, signing);
  CAIRN_CHECK(load_crl(set->root_crl, set->source.root_crl, set->root->certificate, keys, "the root CRL"));
  CAIRN_TRY(set->tcb_signing, std::move(signing));
  CAIRN_CHECK(load_signing_chains(*set, keys, time));
  CAIRN_CHECK(load_pck_crl(*set, keys, time));
  CAIRN_CHECK(load_signed(set->tcb_info, set->source.tcb_info, parse_tcb_info, set->tcb_signing, keys,
                          Failure::tcb_info_format, Failure::tcb_info_signature, "the TCB info"));
  CAIRN_CHECK(tcb_info_times(*set, time));
  CAIRN_CHECK(load_signed(set->qe_identity, set->source.qe_identity, parse_qe_identity, set->qe_signing(), keys,
                          Failure::qe_identity_format, Failure::qe_identity_signature, "the QE identity"));
  CAIRN_CHECK(qe_identity_times(*set, time));
  return set;
}

Checked<> judge_times(const CollateralSet& set, TimeJudge& time) {
  CAIRN_CHECK(signing_times(set, time));
  CAIRN_CHECK(crl_times(set, time));
  CAIRN_CHECK(tcb_info_times(set, time));
  return qe_identity_times(set, time);
}

CollateralFacts facts(const CollateralSet& set, const Chain* pck, const TimeJudge& time) {
  Span span{.from = set.tcb_info.issued, .to = set.tcb_info.issued, .until = set.tcb_info.next_update};
  span.add(set.qe_identity.issued, set.qe_identity.next_update);
  span.add(set.root_crl.this_update, set.root_crl.next_update);
  span.add(set.pck_crl.this_update, set.pck_crl.next_update);
  span.add(set.tcb_signing);
  span.add(set.qe_signing());
  span.add(set.pck_crl_issuer);
  if (pck != nullptr) span.add(*pck);
  return {.earliest_issue = span.from,
          .latest_issue = span.to,
          .earliest_expiration = span.until,
          .expired = time.expired(),
          .tcb_eval_num = std::min(set.tcb_info.eval_num, set.qe_identity.eval_num),
          .tcb_info_eval_num = set.tcb_info.eval_num,
          .qe_identity_eval_num = set.qe_identity.eval_num,
          .root_crl_number = to_bytes(set.root_crl.number),
          .pck_crl_number = to_bytes(set.pck_crl.number),
          .tcb_info_issued = set.tcb_info.issued,
          .tcb_info_next_update = set.tcb_info.next_update,
          .qe_identity_issued = set.qe_identity.issued,
          .qe_identity_next_update = set.qe_identity.next_update};
}

}  // namespace cairn::tdx
