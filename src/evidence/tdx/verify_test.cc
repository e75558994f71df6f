#include "evidence/tdx/verify.h"

#include <gtest/gtest.h>

#include "evidence/tdx/test_world.h"
#include "evidence/tdx/verdict_json.h"

namespace cairn::tdx {
namespace {

using testing::kNow;
using testing::Made;
using testing::World;

class Caches : public ::testing::Test {
 protected:
  Made made = World().make();
  Verifier verifier{made.roots};

  Failure verify(const Made& m) { return verifier.verify(m.quote, m.collateral, m.options).failure; }
  // Every cache holds what belongs to `made`.
  void SetUp() override {
    for (int i = 0; i < 2; ++i) ASSERT_EQ(verify(made), Failure::none);
    const auto use = verifier.cache_use();
    ASSERT_EQ(use.collaterals, 1U);
    ASSERT_EQ(use.chains, 1U);
    ASSERT_EQ(use.bindings, 1U);
  }
  // The same quote with the collateral of another world.
  Failure with_collateral_of(const World& w) {
    Made m = made;
    m.collateral = w.make().collateral;
    return verify(m);
  }
  Failure at(Time t) {
    Made m = made;
    m.options.time = t;
    return verify(m);
  }
};

TEST_F(Caches, RevocationTakesEffectAtOnce) {
  World w;
  w.pck_crl.revoked = {{{3}, kNow, 1}};
  EXPECT_EQ(with_collateral_of(w), Failure::pck_revoked);
  w = World();
  w.root_crl.revoked = {{{2}, kNow, 1}};
  EXPECT_EQ(with_collateral_of(w), Failure::intermediate_revoked);
  w = World();
  w.root_crl.revoked = {{{4}, kNow, 1}};
  EXPECT_EQ(with_collateral_of(w), Failure::tcb_signing_revoked);
  w = World();
  w.tcb_info["tcbLevels"][0]["tcbStatus"] = "Revoked";
  Made m = made;
  m.collateral = w.make().collateral;
  EXPECT_EQ(verifier.verify(m.quote, m.collateral, m.options).outcome(), "Revoked");
  EXPECT_EQ(verify(made), Failure::none);
}

TEST_F(Caches, ExpiryTakesEffectAtOnce) {
  EXPECT_EQ(at(from_civil(2026, 7, 1, 0, 0, 0)), Failure::none);
  EXPECT_EQ(at(from_civil(2026, 7, 1, 0, 0, 1)), Failure::crl_expired);
  EXPECT_EQ(at(from_civil(2026, 5, 31, 0, 0, 0)), Failure::crl_expired);
  EXPECT_EQ(at(from_civil(2033, 1, 1, 0, 0, 1)), Failure::signing_cert_expired);
  EXPECT_EQ(at(from_civil(2025, 12, 31, 0, 0, 0)), Failure::cert_not_yet_valid);
  EXPECT_EQ(at(kNow), Failure::none);
}

// A PCK chain that was cached while valid: only it expires here.
TEST(CachesOfChains, PckExpiryTakesEffectAtOnce) {
  World w;
  w.pck_cert.not_after = kNow.plus(10);
  Made m = w.make();
  Verifier verifier(m.roots);
  EXPECT_EQ(verifier.verify(m.quote, m.collateral, m.options).failure, Failure::none);
  m.options.time = kNow.plus(11);
  EXPECT_EQ(verifier.verify(m.quote, m.collateral, m.options).failure, Failure::cert_expired);
  m.options.grace_seconds = 1;
  const Verdict v = verifier.verify(m.quote, m.collateral, m.options);
  EXPECT_EQ(v.failure, Failure::none);
  EXPECT_TRUE(v.collateral->expired);
  m.options.time = kNow.plus(12);
  EXPECT_EQ(verifier.verify(m.quote, m.collateral, m.options).failure, Failure::cert_expired);
}

TEST_F(Caches, OneChangedByteIsAnotherContent) {
  const auto failure = [&](auto change) {
    Made m = made;
    change(m);
    return verify(m);
  };
  EXPECT_EQ(failure([](Made& m) { m.collateral.pck_crl.back() ^= 1; }), Failure::crl_signature);
  EXPECT_EQ(failure([](Made& m) { m.collateral.tcb_info.replace(m.collateral.tcb_info.find("21"), 2, "22"); }),
            Failure::tcb_info_signature);
  const std::size_t qe = 636 + 134;
  EXPECT_EQ(failure([&](Made& m) { m.quote[qe] ^= 1; }), Failure::qe_report_signature);
  EXPECT_EQ(failure([&](Made& m) { m.quote[qe + 384] ^= 1; }), Failure::qe_report_signature);
  EXPECT_EQ(failure([&](Made& m) { m.quote[qe + 384 + 64 + 2] ^= 1; }), Failure::qe_report_data);
  EXPECT_EQ(failure([](Made& m) { m.quote[636] ^= 1; }), Failure::quote_signature);
  EXPECT_EQ(failure([](Made& m) { m.quote[300] ^= 1; }), Failure::quote_signature);
}

// The attestation key is bound to this PCK: the same QE report under another machine's certificate is not known.
TEST_F(Caches, ABindingBelongsToItsPck) {
  World w;
  w.pck_issuer = &World::keys().ca;
  Made other = w.make();
  const ParsedQuote parsed = parse_quote(made.quote).value();
  Quote q = parsed.quote;
  crypto::CertificateTemplate leaf = w.pck_cert;
  leaf.serial = {9};
  leaf.extra.push_back({.oid = std::string(sgx::kPckExtensionOid), .critical = false, .value = encode(w.pck)});
  const std::string pem = crypto::issue(leaf, World::keys().other.public_key(), World::keys().ca)->pem();
  const std::string chain(as_text(q.cert.data));
  q.cert.data = to_bytes(pem + chain.substr(chain.find("-----BEGIN", 1)));
  other.quote = encode(q).value();
  EXPECT_EQ(verify(other), Failure::qe_report_signature);
}

TEST_F(Caches, AreBounded) {
  Verifier small(made.roots, {.collaterals = 2, .chains = 2, .bindings = 2});
  for (std::uint8_t i = 0; i < 5; ++i) {
    World w;
    w.quote.qe_auth_data.assign(1, i);
    const Made m = w.make();  // new signatures throughout
    ASSERT_EQ(small.verify(m.quote, m.collateral, m.options).failure, Failure::none);
    EXPECT_LE(small.cache_use().collaterals, 2U);
    EXPECT_LE(small.cache_use().chains, 2U);
    EXPECT_LE(small.cache_use().bindings, 2U);
  }
  EXPECT_EQ(small.cache_use().bindings, 2U);
  EXPECT_EQ(verify(made), Failure::none);
}

TEST_F(Caches, NothingRefusedIsKept) {
  Verifier fresh(made.roots);
  Made bad = made;
  bad.collateral.pck_crl.back() ^= 1;
  (void)fresh.verify(bad.quote, bad.collateral, bad.options);
  EXPECT_EQ(fresh.cache_use().collaterals, 0U);
  bad = made;
  bad.quote[636 + 134] ^= 1;
  (void)fresh.verify(bad.quote, bad.collateral, bad.options);
  EXPECT_EQ(fresh.cache_use().collaterals, 1U);
  EXPECT_EQ(fresh.cache_use().bindings, 0U);
}

TEST(Relaunch, LaunchAndCurrentAreJudgedApart) {
  struct Row {
    Svn16 launch, current;
    const char *status, *now;
  };
  const Row rows[] = {
      {{5, 1, 7}, {5, 1, 7}, "UpToDate", "UpToDate"},          {{3, 1, 7}, {5, 1, 7}, "TDRelaunchAdvised", "UpToDate"},
      {{5, 1, 5}, {5, 1, 7}, "TDRelaunchAdvised", "UpToDate"}, {{5, 1, 7}, {3, 1, 7}, "UpToDate", "OutOfDate"},
      {{2, 1, 7}, {5, 1, 7}, "Revoked", "UpToDate"},           {{3, 1, 7}, {3, 1, 7}, "OutOfDate", "OutOfDate"},
  };
  for (const Row& row : rows) {
    World w;
    w.td().tee_tcb_svn = row.launch;
    w.to_v5(row.current);
    const Verdict v = w.make().verify();
    ASSERT_TRUE(v.authentic()) << v.detail;
    EXPECT_EQ(v.outcome(), row.status);
    EXPECT_EQ(name(v.current->status), row.now);
  }
  World w;
  w.td().tee_tcb_svn = {3, 1, 7};
  w.pck.components[0] = 7;
  w.to_v5({5, 1, 7});
  EXPECT_EQ(w.make().outcome(), "TDRelaunchAdvisedConfigurationNeeded");
  w.to_v5({5, 9, 7});  // a module nobody knows runs now
  EXPECT_EQ(w.make().outcome(), "TcbNotSupported");
}

TEST(CertData, ChainsMayComeFromTheCaller) {
  World w;
  const Made plain = w.make();
  const std::string chain(as_text(parse_quote(plain.quote)->quote.cert.data));
  const std::string leaf = chain.substr(0, chain.find("-----BEGIN", 1));
  const auto outcome = [&](CertDataType type, Bytes data, const std::string& given) {
    World v;
    v.quote.cert = {.type = type, .data = std::move(data)};
    Made m = v.make();
    m.collateral.pck_chain = given;
    return m.outcome();
  };
  EXPECT_EQ(outcome(CertDataType::pck_leaf, to_bytes(leaf), chain), "UpToDate");
  EXPECT_EQ(outcome(CertDataType::pck_leaf, to_bytes(leaf), ""), "UnsupportedCertData");
  const std::string another(as_text(parse_quote(World().make().quote)->quote.cert.data));
  EXPECT_EQ(outcome(CertDataType::pck_leaf, to_bytes(another.substr(0, another.find("-----BEGIN", 1))), chain),
            "ChainFormat");
  EXPECT_EQ(outcome(CertDataType::ppid_clear, Bytes(36), chain), "UpToDate");
  EXPECT_EQ(outcome(CertDataType::ppid_clear, Bytes(36), ""), "UnsupportedCertData");
  EXPECT_EQ(outcome(CertDataType::ppid_clear, Bytes(35), chain), "Format");
  EXPECT_EQ(outcome(CertDataType::ppid_rsa2048, Bytes(276), chain), "UpToDate");
  EXPECT_EQ(outcome(CertDataType::ppid_rsa3072, Bytes(404), chain), "UpToDate");
  EXPECT_EQ(outcome(CertDataType::ppid_rsa3072, Bytes(276), chain), "Format");
}

TEST(Verify, CollateralAloneAndItsKey) {
  const Made m = World().make();
  Verifier verifier(m.roots);
  const Verdict v = verifier.verify_collateral(m.collateral, m.options);
  EXPECT_EQ(v.failure, Failure::none);
  EXPECT_EQ(v.collateral->tcb_eval_num, 21U);
  EXPECT_EQ(v.collateral->tcb_info_eval_num, 21U);
  EXPECT_EQ(v.collateral->qe_identity_eval_num, 22U);
  EXPECT_EQ(rfc3339(v.collateral->earliest_issue), "2026-01-01T00:00:00Z");
  EXPECT_EQ(rfc3339(v.collateral->latest_issue), "2026-06-01T00:00:00Z");
  EXPECT_EQ(rfc3339(v.collateral->earliest_expiration), "2026-07-01T00:00:00Z");
  const CollateralKey key = collateral_key(m.quote).value();
  EXPECT_EQ(hex(key.fmspc), "c0aa01000000");
  EXPECT_EQ(key.ca, PckCa::platform);
  EXPECT_EQ(key.tee, TeeType::tdx);
  EXPECT_FALSE(collateral_key(ByteView(m.quote).first(2000)));
  EXPECT_EQ(collateral_key(m.quote, m.roots).value(), key);
  EXPECT_EQ(collateral_key(m.quote, {intel_root()}).error().where, "tdx.Untrusted");
  World w;
  w.pck_issuer = &World::keys().other;
  EXPECT_EQ(collateral_key(w.make().quote, m.roots).error().where, "tdx.CertSignature");
}

TEST(Verify, ProcessorCaPlatformsAreJudgedToo) {
  World w;
  w.ca_cert.subject = w.pck_cert.issuer = w.pck_crl.issuer = World::intel("Intel SGX PCK Processor CA");
  w.pck.platform_instance_id.reset();
  w.pck.dynamic_platform = w.pck.cached_keys = w.pck.smt_enabled = std::nullopt;
  const Verdict v = w.make().verify();
  EXPECT_EQ(v.outcome(), "UpToDate") << v.detail;
  EXPECT_EQ(v.platform->ca, PckCa::processor);
}

TEST(Verify, EveryFailureHasANameAndASentence) {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Failure::tcb_not_supported); ++i) {
    names.push_back(name(static_cast<Failure>(i)));
    EXPECT_FALSE(sentence(static_cast<Failure>(i)).empty());
  }
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(Verdict, AsJsonHidesWhatIdentifiesTheMachine) {
  const Verdict v = World().make().verify();
  const std::string instance(32, '7');
  EXPECT_FALSE(to_json(v).dump().contains(instance));
  EXPECT_TRUE(to_json(v, true).dump().contains(instance));
  const Json claims = supplemental_claims(v);
  EXPECT_EQ(claims.at("tcb_status"), "UpToDate");
  EXPECT_EQ(claims.at("collateral_expiration_status"), "0");
  EXPECT_EQ(claims.at("tcb_eval_num"), 21);
  EXPECT_EQ(claims.at("td_attributes").at("septve_disable"), true);
  EXPECT_EQ(claims.at("tcb_verification").at("tcb_level_date_tag"), from_civil(2026, 3, 1, 0, 0, 0).seconds);
  EXPECT_EQ(claims.at("simulated"), true);
  const Json quote = quote_claims(*v.quote);
  EXPECT_EQ(quote.at("header").at("version"), "0400");
  EXPECT_EQ(quote.at("header").at("tee_type"), "81000000");
  EXPECT_EQ(quote.at("body").at("xfam"), "e702060000000000");
  EXPECT_EQ(quote.at("body").at("td_attributes"), "0000001000000000");

  World w;
  w.quote_key = &World::keys().other;
  EXPECT_EQ(supplemental_claims(w.make().verify()), Json::object());
}

TEST(TrustRoots, IntelsIsPinnedAndOthersAreSimulated) {
  EXPECT_EQ(hex(intel_root().key_id()),
            "46e403bd34f05a3f2817ab9badcaacc7ffc98e0f261008cd30dae936cace18d5dcf58eef31463613de1570d516200993");
  EXPECT_EQ(hex(crypto::sha256(intel_root().certificate)),
            "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3");
  EXPECT_FALSE(intel_root().simulated);
  EXPECT_EQ(trust_root("mine", intel_root().certificate)->name, "intel");

  const World w;
  auto t = w.root_cert;
  const auto root_of = [&](const crypto::CertificateTemplate& what, const crypto::PrivateKey& signer) {
    return trust_root("x", crypto::issue(what, World::keys().root.public_key(), signer)->der());
  };
  EXPECT_TRUE(root_of(t, World::keys().root)->simulated);
  EXPECT_FALSE(root_of(t, World::keys().other));
  t.ca = false;
  EXPECT_FALSE(root_of(t, World::keys().root));
  t = w.root_cert;
  t.key_usage = crypto::kDigitalSignature;
  EXPECT_FALSE(root_of(t, World::keys().root));
  EXPECT_FALSE(trust_root("x", {}));
  EXPECT_FALSE(trust_root("x", as_bytes("not a certificate")));
}

}  // namespace
}  // namespace cairn::tdx
