#include "device/simulator/gpu/gpu_simulator.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "evidence/nvidia/claims.h"

namespace cairn::device {
namespace {

constexpr Time kAt{1795305600};  // 2026-11-22

nvidia::Nonce test_nonce() {
  nvidia::Nonce out{};
  out.fill(0x5A);
  return out;
}

nvidia::Verdict judged(const GpuMachine& machine, nvidia::Policy policy = {}, Time at = kAt) {
  const GpuSimulator s = GpuSimulator::make(machine, kAt).value();
  policy.allow_simulated = true;
  nvidia::Verifier verifier(s.roots());
  return verifier.verify(s.evidence(test_nonce()).value(), s.collateral(kAt).value(),
                         {.time = at, .nonce = test_nonce()}, policy);
}

std::string all_findings(const nvidia::Verdict& v) {
  std::string out;
  for (const auto& d : v.devices)
    for (const auto& line : nvidia::errors(d.findings)) out += d.label + " " + line + "\n";
  for (const auto& line : nvidia::errors(v.findings)) out += line + "\n";
  return out;
}

// Every failure there is in one verdict.
std::set<nvidia::Failure> failures(const nvidia::Verdict& v) {
  std::set<nvidia::Failure> out;
  for (const auto& d : v.devices)
    for (const auto& f : d.findings) out.insert(f.failure);
  for (const auto& f : v.findings) out.insert(f.failure);
  return out;
}

TEST(GpuSimulator, SoundMachinesAreAffirmed) {
  using nvidia::Architecture;
  for (const GpuMachine& m :
       {GpuMachine{}, GpuMachine{.gpus = 8}, GpuMachine{.ppcie = true}, GpuMachine{.nvdaod = true},
        GpuMachine{.arch = Architecture::blackwell, .driver = "575.32"}}) {
    const nvidia::Verdict v = judged(m);
    EXPECT_TRUE(v.affirming()) << all_findings(v);
    EXPECT_EQ(v.ppcie, m.ppcie);
    EXPECT_TRUE(v.simulated);
    EXPECT_EQ(nvidia::set_claims(v).at("gpu_verified_count"), m.ppcie ? 8 : m.gpus);
  }
}

TEST(GpuSimulator, EveryScenarioIsRefusedForItsOwnReason) {
  for (const GpuScenario s : all_gpu_scenarios()) {
    const nvidia::Verdict v = judged({.scenario = s});
    if (s == GpuScenario::none) continue;
    EXPECT_FALSE(v.affirming()) << name(s);
    // Two defects cannot be had alone: another driver has no manifest here, a false link no certificate.
    const bool alone = s != GpuScenario::driver_mixed && s != GpuScenario::ppcie_links;
    const std::set<nvidia::Failure> found = failures(v);
    EXPECT_TRUE(found.contains(expected(s)) && (!alone || found.size() == 1))
        << name(s) << ": wanted " << name(expected(s)) << ", got\n"
        << all_findings(v);
    EXPECT_FALSE(v.result()) << name(s);
    EXPECT_EQ(gpu_scenario_named(name(s)).value(), s);
  }
  EXPECT_FALSE(gpu_scenario_named("no-such"));
}

TEST(GpuSimulator, NothingIsClaimedOfWhatIsNotAuthentic) {
  for (const GpuScenario s : {GpuScenario::report_flip, GpuScenario::report_replay, GpuScenario::chain_other_device,
                              GpuScenario::fwid_other, GpuScenario::leaf_other_key}) {
    const nvidia::Verdict v = judged({.scenario = s});
    EXPECT_FALSE(v.devices.at(0).authentic) << name(s);
    const Json claims = nvidia::device_claims(v.devices.at(0));
    EXPECT_FALSE(claims.contains("ueid")) << name(s);
    EXPECT_EQ(claims.at("verified"), false);
    EXPECT_FALSE(claims.at("errors").empty());
  }
}

TEST(GpuSimulator, PolicyMakesExceptionsOfItsOwnOnly) {
  nvidia::Policy policy;
  policy.allow_cert_hold = true;
  EXPECT_TRUE(judged({.scenario = GpuScenario::ocsp_held}, policy).affirming());
  policy = {};
  policy.require_ocsp = false;
  EXPECT_TRUE(judged({.scenario = GpuScenario::ocsp_missing}, policy).affirming());
  EXPECT_FALSE(judged({.scenario = GpuScenario::rim_revoked}, policy).affirming()) << "revoked stays revoked";
  policy = {};
  policy.ocsp_grace = 3 * 24 * 3600;
  EXPECT_TRUE(judged({.scenario = GpuScenario::ocsp_stale}, policy).affirming());
  policy = {};
  policy.gpus = 2;
  EXPECT_EQ(failures(judged({}, policy)), std::set{nvidia::Failure::device_count});
  policy = {};
  policy.min_driver = "550.144.04";
  EXPECT_EQ(failures(judged({}, policy)), std::set{nvidia::Failure::driver_too_old});
  policy.min_driver = "550.90";
  EXPECT_TRUE(judged({}, policy).affirming());
  policy = {};
  policy.allowed = {nvidia::Architecture::blackwell};
  EXPECT_EQ(failures(judged({}, policy)), std::set{nvidia::Failure::arch_not_allowed});
  // A value, never an index.
  const nvidia::Verdict changed = judged({.scenario = GpuScenario::vbios_changed});
  const nvidia::Mismatch& m = changed.devices.at(0).authentic->mismatches.at(0);
  policy = {};
  policy.exceptions = {{m.source, m.index, *m.runtime}};
  EXPECT_TRUE(judged({.scenario = GpuScenario::vbios_changed}, policy).affirming());
  policy.exceptions[0].value[5] ^= 1;
  EXPECT_FALSE(judged({.scenario = GpuScenario::vbios_changed}, policy).affirming());
}

TEST(GpuSimulator, EnrolledValuesStandInForAManifestNobodyPublishes) {
  const nvidia::Verdict missing = judged({.scenario = GpuScenario::rim_missing});
  const auto& report = missing.devices.at(0).authentic->report;
  nvidia::Policy policy;
  policy.enrolled[missing.devices.at(0).authentic->firmware.id] = {
      {.index = 9, .name = "", .alternatives = {report.measurements[9]}}};
  const nvidia::Verdict v = judged({.scenario = GpuScenario::rim_missing}, policy);
  EXPECT_TRUE(v.affirming()) << all_findings(v);
  EXPECT_EQ(nvidia::device_claims(v.devices[0]).at("x-cairn-reference"), "enrolled");
  policy.enrolled.begin()->second[0].alternatives[0][0] ^= 1;
  EXPECT_FALSE(judged({.scenario = GpuScenario::rim_missing}, policy).affirming());
}

TEST(GpuSimulator, SimulatedRootsNeedTheCallersLeave) {
  const GpuSimulator s = GpuSimulator::make({}, kAt).value();
  const nvidia::Evidence evidence = s.evidence(test_nonce()).value();
  const nvidia::Collateral collateral = s.collateral(kAt).value();
  const nvidia::Options options{.time = kAt, .nonce = test_nonce()};
  nvidia::Verifier named(s.roots()), real(nvidia::nvidia_roots());
  EXPECT_EQ(failures(named.verify(evidence, collateral, options, {})), std::set{nvidia::Failure::simulated});
  EXPECT_EQ(failures(real.verify(evidence, collateral, options, {})), std::set{nvidia::Failure::chain_untrusted});
  // Without a nonce nothing is fresh.
  EXPECT_EQ(failures(named.verify(evidence, collateral, {.time = kAt}, {})), std::set{nvidia::Failure::nonce_mismatch});
}

// What the caches hold cannot outlive what it rests on.
TEST(GpuSimulator, TimeAndRevocationAreJudgedAnewFromWarmCaches) {
  const GpuSimulator s = GpuSimulator::make({}, kAt).value();
  nvidia::Verifier verifier(s.roots());
  nvidia::Policy policy;
  policy.allow_simulated = true;
  const auto at = [&](const nvidia::Collateral& c, Time t) {
    return failures(verifier.verify(s.evidence(test_nonce()).value(), c, {.time = t, .nonce = test_nonce()}, policy));
  };
  nvidia::Collateral good = s.collateral(kAt).value();
  EXPECT_TRUE(at(good, kAt).empty());
  EXPECT_TRUE(at(good, kAt).empty());
  EXPECT_EQ(verifier.cache_use().rims, 2U);
  EXPECT_EQ(verifier.cache_use().chains, 1U);
  const std::int64_t day = 24 * 3600;
  EXPECT_TRUE(at(good, kAt.plus(day)).empty()) << "within the clock's tolerance";
  EXPECT_EQ(at(good, kAt.plus(day + 600)), std::set{nvidia::Failure::ocsp_stale});
  const Time later = kAt.plus(800 * day);
  EXPECT_EQ(at(s.collateral(later).value(), later), std::set{nvidia::Failure::rim_expired});
  const GpuSimulator revoked = GpuSimulator::make({.scenario = GpuScenario::rim_revoked}, kAt).value();
  nvidia::Collateral worse = revoked.collateral(kAt).value();
  worse.rims = good.rims;
  const auto found = at(worse, kAt);
  EXPECT_EQ(found, std::set{nvidia::Failure::certificate_revoked}) << "the same keys, so the same certificate";
}

TEST(GpuSimulator, RequestsAreAnsweredWithTheirNonce) {
  const GpuSimulator s = GpuSimulator::make({}, kAt).value();
  nvidia::Verifier verifier(s.roots());
  const nvidia::Evidence evidence = s.evidence(test_nonce()).value();
  nvidia::Collateral c;
  nvidia::Wanted wanted = verifier.wanted(evidence, c);
  EXPECT_EQ(wanted.rims.size(), 2U);
  EXPECT_EQ(wanted.ocsp.size(), 3U);
  c.rims = s.rims().value();
  wanted = verifier.wanted(evidence, c);
  EXPECT_EQ(wanted.ocsp.size(), 6U) << "the RIM signer's chain too";
  const Bytes nonce(32, 7);
  for (const auto& [id, about] : wanted.ocsp) {
    const Bytes request = nvidia::ocsp_request(about.certificate, about.issuer, nonce).value();
    c.ocsp[id] = {s.answer_ocsp(request, kAt).value(), nonce};
  }
  nvidia::Policy policy;
  policy.allow_simulated = true;
  const nvidia::Options options{.time = kAt, .nonce = test_nonce()};
  const nvidia::Verdict v = verifier.verify(evidence, c, options, policy);
  EXPECT_TRUE(v.affirming()) << all_findings(v);
  EXPECT_EQ(v.devices.at(0).authentic->chain.nonce_matches, true);
  c.ocsp.begin()->second.nonce = Bytes(32, 8);
  EXPECT_EQ(failures(verifier.verify(evidence, c, options, policy)), std::set{nvidia::Failure::ocsp_nonce});
  EXPECT_FALSE(nvidia::ocsp_may_retry(s.answer_ocsp(Bytes{1, 2}, kAt).value()).value());
}

}  // namespace
}  // namespace cairn::device
