#include "cli/verify/gpu.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <sstream>

#include "base/encoding.h"
#include "base/file.h"
#include "cli/verify/verify.h"
#include "device/simulator/gpu/gpu_simulator.h"
#include "device/simulator/gpu/test_shapes.h"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
constexpr Time kGpuAt{1795305600};  // 2026-11-22

class GpuFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("cairn-gpu-test-" + std::to_string(::getpid()));
    fs::create_directories(folder);
    nonce.fill(3);
  }
  void TearDown() override { fs::remove_all(folder); }

  void write(const char* name, std::string_view content) {
    ASSERT_TRUE(write_file(folder / name, as_bytes(content), 0600));
  }
  // Evidence, bundle and roots of a simulated machine.
  void make(const device::GpuMachine& machine) {
    const auto s = device::GpuSimulator::make(machine, kGpuAt).value();
    write("evidence.json", compact_json(device::trustee_shape(s.evidence(nonce).value())));
    write("bundle.json", compact_json(nvidia::to_json(s.collateral(kGpuAt).value())));
    write("device.pem", s.roots().device[0].certificate.pem());
    write("rim.pem", s.roots().rim[0].certificate.pem());
  }
  int verify(const std::string& with_nonce, bool roots = true) {
    VerifyOptions o;
    o.files = {folder / "evidence.json"};
    o.at = rfc3339(kGpuAt);
    o.gpu.collateral = {folder / "bundle.json"};
    o.gpu.nonce = with_nonce;
    if (roots) {
      o.gpu.device_roots = {folder / "device.pem"};
      o.gpu.rim_roots = {folder / "rim.pem"};
    }
    std::ostringstream out, err;
    const int code = run_verify(o, out, err);
    text = out.str() + err.str();
    o.json = true;
    std::ostringstream json_out;
    EXPECT_EQ(run_verify(o, json_out, err), code);
    if (code != kUnreadable) {
      json = parse_json(json_out.str()).value().at(0);
    }
    return code;
  }
  fs::path folder;
  nvidia::Nonce nonce{};
  std::string text;
  Json json;
};

TEST_F(GpuFiles, SoundEvidenceIsAffirmed) {
  make({.ppcie = true});
  EXPECT_EQ(verify(hex(nonce)), kAffirming) << text;
  EXPECT_TRUE(text.contains("8 of 8 GPUs and 4 of 4 switches verified [SIMULATED")) << text;
  EXPECT_EQ(json.at("gpu_verified_count"), 8);
  EXPECT_EQ(json.at("ppcie"), true);
}

TEST_F(GpuFiles, WhatIsWrongIsNamed) {
  make({});
  EXPECT_EQ(verify(""), kNotAffirming);
  EXPECT_TRUE(text.contains("NonceMismatch")) << text;
  EXPECT_EQ(verify(std::string(64, '0')), kNotAffirming);
  EXPECT_EQ(verify(hex(nonce), false), kNotAffirming);
  EXPECT_TRUE(text.contains("ChainUntrusted")) << text;
  EXPECT_EQ(verify("12"), kUnreadable);
  make({.scenario = device::GpuScenario::vbios_changed});
  EXPECT_EQ(verify(hex(nonce)), kNotAffirming);
  EXPECT_TRUE(text.contains("Firmware index 9")) << text;
  make({.scenario = device::GpuScenario::rim_revoked});
  EXPECT_EQ(verify(hex(nonce)), kNotAffirming);
  EXPECT_TRUE(text.contains("CertificateRevoked")) << text;
  write("evidence.json", R"({"device_evidence_list":[{"arch":"HOPPER","evidence":null}]})");
  EXPECT_EQ(verify(hex(nonce)), kUnreadable);
}

}  // namespace
}  // namespace cairn::cli
