// GPUs in software behind a management library that is loaded as the real one is: from its reports to its ready state.
#include "guest/aa/gpu_ready.h"
#include "base/test_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <format>

#include "../tests/fake_nvml/fake_nvml.h"
#include "base/file.h"
#include "device/collateral/test_gpu_service.h"
#include "evidence/eventlog/measure.h"
#include "evidence/nvidia/claims.h"
#include "guest/aa/test_tee.h"

namespace cairn::aa {
namespace {

namespace fs = std::filesystem;
using device::GpuMachine;
using device::GpuScenario;
using device::kGpuNow;
using testing::HasSubstr;

struct SimulatedDevices final : FakeDevice {
  nvidia::Device device(unsigned index, const nvidia::Nonce& nonce) {
    return simulator->evidence(nonce).value().devices.at(index);
  }
  std::string report(unsigned index, const unsigned char* nonce) override {
    return std::string(as_text(device(index, nvidia::Nonce::from(ByteView(nonce, 32)).value()).report));
  }
  std::string certificate(unsigned index) override { return device(index, {}).certificate; }
  const device::GpuSimulator* simulator = nullptr;
};

class GpuReady : public testing::Test {
 protected:
  void SetUp() override {
    library = nvml();
    plug({});
    ASSERT_TRUE(library->set_ready(false));
  }
  void TearDown() override { unsetenv("FAKE_NVML"); }

  void plug(const GpuMachine& machine) {
    simulator.emplace(device::GpuSimulator::make(machine, kGpuNow).value());
    show(*simulator);
    config.bundles = {write("gpu.json", compact_json(to_json(simulator->collateral(kGpuNow).value())))};
    behave(std::format("count={}", machine.gpus));
  }
  void show(const device::GpuSimulator& made) {
    devices.simulator = &made;
    config.device_roots = {write("device.pem", made.roots().device[0].certificate.pem())};
    config.rim_roots = {write("rim.pem", made.roots().rim[0].certificate.pem())};
  }
  void behave(const std::string& how) {
    FakeDevice* fake = &devices;
    setenv("FAKE_NVML", std::format("device={:x},{}", reinterpret_cast<std::uintptr_t>(fake), how).c_str(), 1);
  }
  std::string write(const char* name, std::string_view text) const {
    EXPECT_TRUE(write_text(folder / name, text));
    return folder / name;
  }
  static std::unique_ptr<device::Nvml> nvml() { return device::Nvml::open(CAIRN_FAKE_NVML).value(); }
  [[nodiscard]] bool ready() const { return library->ready().value(); }

  // One start of the agent.
  Result<void> start(GpuMode mode = GpuMode::required) {
    log.reset();  // one agent at a time has the log
    log = EventLog::open({.path = folder / "log", .form = form}, tee).value();
    CAIRN_TRY(const auto gpu, Gpu::open(mode, CAIRN_FAKE_NVML));
    return net::run_task([&](net::Runtime& runtime) -> net::Task<> {
      co_return co_await make_gpus_ready(runtime, *gpu, with_log ? log.get() : nullptr, config, kGpuNow);
    });
  }
  [[nodiscard]] std::vector<eventlog::AaelEvent> events() const { return log->events().value(); }
  void expect_refused(const Result<void>& started, std::string_view cause) const {
    ASSERT_FALSE(started) << cause;
    EXPECT_THAT(started.error().text(), HasSubstr(cause));
    EXPECT_FALSE(ready()) << cause;
  }

  std::unique_ptr<device::Nvml> library;  // stays loaded, and with it its ready state
  std::optional<device::GpuSimulator> simulator;
  SimulatedDevices devices;
  GpuConfig config;
  LogForm form = LogForm::text;
  bool with_log = true;
  FakeTee tee;
  std::unique_ptr<EventLog> log;
  TestFolder folder;
};

TEST_F(GpuReady, VerifiedGpusAreRecordedOnceAndSetReady) {
  for (const LogForm f : {LogForm::text, LogForm::tcg2}) {
    form = f;
    fs::remove(folder / "log");
    tee.rtmr = {};
    plug({.gpus = 2});
    ASSERT_TRUE(library->set_ready(false));
    const auto started = start();
    ASSERT_TRUE(started) << started.error().text();
    EXPECT_TRUE(ready());
    ASSERT_EQ(events().size(), 1U);
    EXPECT_EQ(events()[0].domain, "measure.cairn.v1");
    EXPECT_EQ(events()[0].operation, "gpu/inventory");
    // What a verifier computes from other reports of the same devices.
    nvidia::Policy policy;
    policy.allow_simulated = true;
    const auto verdict = nvidia::Verifier(simulator->roots())
                             .verify(simulator->evidence({}).value(), simulator->collateral(kGpuNow).value(),
                                     {.time = kGpuNow, .nonce = nvidia::Nonce{}}, policy);
    EXPECT_EQ(events()[0].content, "sha384:" + hex(nvidia::inventory(verdict).value()));
    EXPECT_TRUE(start()) << "a second start of the agent in one boot";
    EXPECT_EQ(events().size(), 1U);
    // The measurer's run follows, and is whole.
    auto run = eventlog::MeasureRun::begin("boot", events()).value();
    ASSERT_TRUE(log->extend(run.begin_event(), std::nullopt));
    ASSERT_TRUE(log->extend(run.ready().value(), std::nullopt));
    EXPECT_EQ(eventlog::read_measurements(events()).value().inventory, nvidia::inventory(verdict).value());
    EXPECT_TRUE(start());
    EXPECT_EQ(events().size(), 3U);
  }
}

TEST_F(GpuReady, Item30_RefusedGpusLoseTheReadyState) {
  for (const auto& [scenario, cause] : {std::pair(GpuScenario::report_flip, "nvidia.ReportSignature"),
                                        {GpuScenario::vbios_changed, "nvidia.Measurement"},
                                        {GpuScenario::device_revoked, "nvidia.CertificateRevoked"},
                                        {GpuScenario::rim_missing, "nvidia.RimAbsent"},
                                        {GpuScenario::fwid_other, "nvidia.FwidMismatch"}}) {
    ASSERT_TRUE(library->set_ready(true)) << "by somebody else";
    plug({.scenario = scenario});
    expect_refused(start(), cause);
    EXPECT_TRUE(events().empty()) << cause;
    ASSERT_TRUE(library->set_ready(true));
    EXPECT_TRUE(start(GpuMode::automatic)) << "said in the log, and the agent serves";
    EXPECT_FALSE(ready()) << cause;
  }
}

TEST_F(GpuReady, OtherGpusThanRecordedInThisBootAreRefused) {
  ASSERT_TRUE(start());
  plug({.seed = 2});
  expect_refused(start(), "not those that this boot recorded");
  EXPECT_EQ(events().size(), 1U);
}

TEST_F(GpuReady, NothingIsRecordedAfterARunHasBegun) {
  config.ready = GpuConfig::Ready::leave;
  ASSERT_TRUE(start());
  ASSERT_TRUE(log->extend(eventlog::MeasureRun::begin("boot").value().begin_event(), std::nullopt));
  config.ready = GpuConfig::Ready::verified;
  expect_refused(start(), "rebooted");
  EXPECT_EQ(events().size(), 1U);
}

TEST_F(GpuReady, Item30_WhatIsNotRecordedIsNotSetReady) {
  tee.on_extend = [&] { EXPECT_FALSE(ready()) << "recorded first"; };
  ASSERT_TRUE(start());
  fs::remove(folder / "log");
  tee.rtmr = {};
  ASSERT_TRUE(library->set_ready(false));
  log.reset();
  ASSERT_TRUE(EventLog::open({.path = folder / "log", .form = form}, tee));
  tee.fail_extend = true;
  expect_refused(start(), "told to fail");
}

TEST_F(GpuReady, DebuggingModesAndStuckDriversFail) {
  for (const auto& [how, cause] : {std::pair("count=1,dev-tools=1", "debugging"),
                                   {"count=1,environment=1", "debugging"},
                                   {"count=1,ready-stuck=1", "did not take"},
                                   {"count=1,fail-set-ready=29", "rebooted"},
                                   {"count=1,fail-report=15", "fallen off the bus"}}) {
    behave(how);
    expect_refused(start(), cause);
  }
}

TEST_F(GpuReady, WithoutServicesThereIsNoVerdictAndNothingChanges) {
  config.bundles.clear();
  config.rim_url = config.ocsp_url = "http://127.0.0.1:1/";
  for (const bool before : {false, true}) {
    ASSERT_TRUE(library->set_ready(before));
    const auto started = start();
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text(), HasSubstr("GPUs are not made ready"));
    EXPECT_EQ(ready(), before);
    EXPECT_TRUE(events().empty());
  }
}

TEST_F(GpuReady, DocumentsComeFromTheServicesNamed) {
  device::GpuService service;
  show(service.simulator);
  config.bundles.clear();
  {
    const device::Served served(service.handler());
    config.rim_url = served.url + "/v1/rim/";
    config.ocsp_url = served.url;
    const auto started = start();
    ASSERT_TRUE(started) << started.error().text();
  }
  EXPECT_TRUE(ready());
  EXPECT_EQ(service.rims_asked, 2U);
}

TEST_F(GpuReady, TheConfigurationMayLeaveItOrForgoVerification) {
  plug({.scenario = GpuScenario::report_flip});
  config.ready = GpuConfig::Ready::leave;
  EXPECT_TRUE(start());
  EXPECT_FALSE(ready());
  config.ready = GpuConfig::Ready::unverified;
  EXPECT_TRUE(start());
  EXPECT_TRUE(ready());
  EXPECT_TRUE(events().empty());
  behave("count=1,dev-tools=1");
  ASSERT_TRUE(library->set_ready(false));
  expect_refused(start(), "debugging");
}

TEST_F(GpuReady, FilesAreReadStrictly) {
  config.policy = write("policy.json", R"({"gpus":1,"x":2})");
  expect_refused(start(), "$.x");
  config.policy = write("policy.json", R"({"gpus":2})");
  expect_refused(start(), "nvidia.DeviceCount");
  config.policy.clear();
  config.device_roots = {"/nonexistent"};
  expect_refused(start(), "/nonexistent");
}

}  // namespace
}  // namespace cairn::aa
