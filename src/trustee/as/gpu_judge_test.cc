#include "trustee/as/gpu_judge.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/file.h"
#include "base/test_folder.h"
#include "device/simulator/gpu/gpu_simulator.h"

namespace cairn::trustee::as {
namespace {

using device::GpuMachine;
using device::GpuScenario;
using device::GpuSimulator;
constexpr Time kGpuTime{1795305600};  // 2026-11-22

// Evidence of a simulated machine, and a judge that knows its roots and bundle.
class Gpu : public testing::Test {
 protected:
  void make(const GpuMachine& machine) {
    const auto s = GpuSimulator::make(machine, kGpuTime).value();
    roots = s.roots();
    evidence = Json::array();
    const nvidia::Evidence made = s.evidence(nvidia::nonce_of_report_data(report_data).value()).value();
    for (const auto& d : made.devices)
      evidence.push_back({{"arch", d.arch},
                          {"uuid", d.uuid},
                          {"attestation_report", base64(d.report)},
                          {"certificate", base64(as_bytes(d.certificate))},
                          {"cc_enabled", true}});
    evidence = {{"evidence_list", evidence}};
    ASSERT_TRUE(write_text(folder / "bundle.json", compact_json(nvidia::to_json(s.collateral(kGpuTime).value()))));
  }
  [[nodiscard]] std::shared_ptr<const GpuJudge> judge() const {
    GpuOptions options;
    options.roots = roots;
    options.bundles.push_back(folder / "bundle.json");
    options.policy.allow_simulated = true;
    return std::make_shared<const GpuJudge>(std::move(options));
  }
  [[nodiscard]] Json claims() const {
    Json out = Json::object();
    add_gpu_claims(judge()->judge(evidence, report_data, kGpuTime, nullptr).value(), out);
    return out;
  }
  TestFolder folder;
  nvidia::TrustRoots roots;
  Json evidence;
  Bytes report_data = Bytes(48, 0x21);
};

TEST_F(Gpu, VerifiedDevicesBecomeClaimsBesideTheQuote) {
  make({.gpus = 2});
  const Json c = claims();
  EXPECT_FALSE(c.contains("gpu_evidence_unverified")) << c.dump(1);
  EXPECT_EQ(c.at("gpu").at("gpu_verified_count"), 2);
  EXPECT_EQ(c.at("simulated"), true);
  EXPECT_EQ(c.at("nvidia_gpu.1").at("verified"), true);
  EXPECT_EQ(c.at("nvidia_gpu.1").at("vbios_version"), "96.00.9F.00.01");
  EXPECT_EQ(c.at("nvidia_gpu.0").at("claims").at("measres"), "success");
}

TEST_F(Gpu, WhatIsNotVerifiedIsSaidAndNeverLeftOut) {
  for (const GpuScenario s : {GpuScenario::report_flip, GpuScenario::vbios_changed, GpuScenario::rim_revoked,
                              GpuScenario::report_replay, GpuScenario::ocsp_missing}) {
    make({.scenario = s});
    const Json c = claims();
    EXPECT_EQ(c.at("gpu_evidence_unverified"), true) << name(s);
    EXPECT_EQ(c.at("nvidia_gpu.0").at("verified"), false) << name(s);
    EXPECT_FALSE(c.at("nvidia_gpu.0").at("errors").empty()) << name(s);
  }
  make({});
  evidence["evidence_list"] = Json::array();
  EXPECT_EQ(claims().at("gpu_evidence_unverified"), true) << "an empty list proves nothing";
  evidence = "text";
  EXPECT_EQ(judge()->judge(evidence, report_data, kGpuTime, nullptr).error().code, Code::invalid_format);
}

TEST_F(Gpu, ABundleIsReadAgainWhenItChanges) {
  make({});
  const auto j = judge();
  EXPECT_TRUE(j->judge(evidence, report_data, kGpuTime, nullptr)->verdict.affirming());
  const Json kept = evidence;
  make({.scenario = GpuScenario::rim_revoked});
  std::filesystem::last_write_time(folder / "bundle.json",
                                   std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  EXPECT_FALSE(j->judge(kept, report_data, kGpuTime, nullptr)->verdict.affirming())
      << "the new bundle has no manifest for it that is trusted";
}

TEST_F(Gpu, AsTeeOfItsOwn) {
  make({});
  const auto verifier = nvidia_verifier(judge());
  EXPECT_EQ(verifier->tee(), "nvidia");
  EXPECT_EQ(verifier->device(), DeviceClass::gpu);
  const Json devices{{"device_evidence_list", evidence["evidence_list"]}};
  const auto good = verifier->verify(devices, {.report_data = report_data}, kGpuTime, nullptr);
  ASSERT_TRUE(good) << good.error().detail;
  EXPECT_EQ(good->at("verified"), true);
  EXPECT_EQ(verifier->verify(devices, {.report_data = Bytes(48, 1)}, kGpuTime, nullptr).error().reason,
            "nvidia.NonceMismatch");
  EXPECT_FALSE(verifier->verify(devices, {}, kGpuTime, nullptr)) << "nothing to bind it to";
  roots = nvidia::nvidia_roots();
  EXPECT_EQ(nvidia_verifier(judge())->verify(devices, {.report_data = report_data}, kGpuTime, nullptr).error().reason,
            "nvidia.ChainUntrusted");
}

}  // namespace
}  // namespace cairn::trustee::as
