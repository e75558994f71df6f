#include "device/nvml.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

namespace cairn::device {
namespace {

class NvmlTest : public testing::Test {
 protected:
  void TearDown() override { ::unsetenv("FAKE_NVML"); }
  static void fake(const char* settings) { ::setenv("FAKE_NVML", settings, 1); }
  static std::unique_ptr<Nvml> open() {
    auto out = Nvml::open(CAIRN_FAKE_NVML);
    EXPECT_TRUE(out) << out.error().text();
    return std::move(*out);
  }
  static GpuNonce nonce() {
    GpuNonce out;
    out.fill(0xA5);
    return out;
  }
  static ErrorCode refused(const char* settings) {
    fake(settings);
    const auto out = open()->collect(nonce());
    EXPECT_FALSE(out) << settings;
    return out ? ErrorCode::internal : out.error().code;
  }
};

TEST_F(NvmlTest, NoLibraryIsAnErrorOfItsOwn) {
  EXPECT_EQ(Nvml::open("libcairn-none.so").error().code, ErrorCode::not_found);
  EXPECT_EQ(Nvml::open("libc.so.6").error().code, ErrorCode::unsupported);
  fake("fail-init=9");
  EXPECT_EQ(Nvml::open(CAIRN_FAKE_NVML).error().code, ErrorCode::unavailable);
}

TEST_F(NvmlTest, CollectsEveryGpu) {
  fake("count=3");
  const auto all = open()->collect(nonce());
  ASSERT_TRUE(all) << all.error().text();
  EXPECT_EQ(all->system.driver_version, "580.95.05");
  ASSERT_EQ(all->gpus.size(), 3U);
  EXPECT_EQ(all->gpus[2].uuid, "GPU-2");
  EXPECT_EQ(all->gpus[2].name, "NVIDIA H100");
  EXPECT_EQ(all->gpus[2].architecture, 9U);
  EXPECT_EQ(all->gpus[2].certificate_chain, "PEM");
  EXPECT_EQ(all->gpus[2].report.size(), 100U);
  EXPECT_TRUE(equal(ByteView(all->gpus[2].report).subspan(4, 32), nonce().view()));
}

TEST_F(NvmlTest, OneBadGpuFailsAll) {
  EXPECT_EQ(refused("count=3,fail-report=15"), ErrorCode::io_failed);
  EXPECT_EQ(refused("fail-report=3"), ErrorCode::unsupported);
  EXPECT_EQ(refused("fail-certificate=10"), ErrorCode::timed_out);
  EXPECT_EQ(refused("wrong-nonce=1"), ErrorCode::evidence_rejected);
}

TEST_F(NvmlTest, SizesFromTheDriverAreBounded) {
  for (const char* settings :
       {"report-size=8193", "report-size=35", "report-size=4294967295", "chain-size=5121", "chain-size=0"})
    EXPECT_EQ(refused(settings), ErrorCode::malformed) << settings;
  EXPECT_EQ(refused("count=65"), ErrorCode::too_large);
  EXPECT_EQ(refused("count=0"), ErrorCode::not_found);
  fake("report-size=8192,chain-size=5120,long-name=200");
  const auto all = open()->collect(nonce());
  ASSERT_TRUE(all) << all.error().text();
  EXPECT_EQ(all->gpus[0].name, std::string(96, 'N'));
}

TEST_F(NvmlTest, ModesThatDoNotProtect) {
  EXPECT_EQ(refused("cc=0"), ErrorCode::unsupported);
  EXPECT_EQ(refused("environment=1"), ErrorCode::permission_denied);
  EXPECT_EQ(refused("dev-tools=1"), ErrorCode::permission_denied);
  EXPECT_TRUE(open()->collect(nonce(), true));
  fake("cc=0,multi-gpu=1");
  EXPECT_TRUE(open()->collect(nonce()));  // protected PCIe
  fake("fail-settings=25");
  EXPECT_TRUE(open()->collect(nonce()));  // an older driver, asked the older way
  EXPECT_EQ(open()->collect(GpuNonce{}).error().code, ErrorCode::invalid_argument);
}

TEST_F(NvmlTest, AHungDriverIsGivenUp) {
  fake("delay-report=300");
  const auto gpu = open();
  gpu->set_time_limit(std::chrono::milliseconds(30));
  EXPECT_EQ(gpu->collect(nonce()).error().code, ErrorCode::timed_out);
  EXPECT_EQ(gpu->collect(nonce()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(gpu->ready().error().code, ErrorCode::unavailable);
  std::this_thread::sleep_for(std::chrono::milliseconds(400));  // let the thread end before the test does
}

TEST_F(NvmlTest, ReadyStateIsReadBack) {
  const auto gpu = open();
  EXPECT_FALSE(gpu->ready().value());
  ASSERT_TRUE(gpu->set_ready(true));
  EXPECT_TRUE(gpu->ready().value());
  ASSERT_TRUE(gpu->set_ready(false));
  fake("ready-stuck=1");
  EXPECT_FALSE(gpu->set_ready(true));
  fake("fail-set-ready=4");
  EXPECT_EQ(gpu->set_ready(true).error().code, ErrorCode::permission_denied);
}

// nvidia-gpu §8, the items that are the collector's.
TEST_F(NvmlTest, Item21_TheAttestationChainIsSentAndNotTheOther) {
  fake("count=2");
  const auto all = open()->collect(nonce());
  ASSERT_TRUE(all) << all.error().text();
  for (const auto& gpu : all->gpus) EXPECT_EQ(gpu.certificate_chain, "PEM") << "the driver's other chain says \"bad\"";
  EXPECT_EQ(refused("chain-size=0"), ErrorCode::malformed) << "the other chain is no substitute";
}

TEST_F(NvmlTest, Item30_NothingButTheCallerMakesAGpuReady) {
  const auto gpu = open();
  ASSERT_TRUE(gpu->set_ready(false));
  ASSERT_TRUE(gpu->collect(nonce()));
  EXPECT_FALSE(gpu->ready().value()) << "collecting is no verdict";
  for (const char* mode : {"dev-tools=1", "environment=1", "cc=0"}) {
    fake(mode);
    EXPECT_FALSE(gpu->set_ready(true)) << mode;
    EXPECT_FALSE(gpu->ready().value()) << mode;
    EXPECT_TRUE(gpu->set_ready(false)) << "taking it back is always possible";
  }
  fake("");
  ASSERT_TRUE(gpu->set_ready(true));
  fake("fail-report=15");
  EXPECT_FALSE(gpu->collect(nonce()));
  ASSERT_TRUE(gpu->set_ready(false));
}

TEST_F(NvmlTest, Item34_AFinalReadyStateSaysThatARebootHelps) {
  const auto gpu = open();
  for (const char* code : {"fail-set-ready=2", "fail-set-ready=29"}) {
    fake(code);
    const auto refused_state = gpu->set_ready(true);
    EXPECT_EQ(refused_state.error().code, ErrorCode::conflict) << code;
    EXPECT_NE(refused_state.error().message.find("rebooted"), std::string::npos);
  }
}

}  // namespace
}  // namespace cairn::device
