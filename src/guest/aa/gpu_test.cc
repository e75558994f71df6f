#include "guest/aa/gpu.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace cairn::aa {
namespace {

device::GpuCollection two_gpus() {
  device::GpuCollection c;
  c.system = {.driver_version = "550.1", .count = 2, .confidential = true, .production = true};
  c.gpus.push_back({.index = 0,
                    .uuid = "GPU-a",
                    .name = "H100",
                    .vbios_version = "96",
                    .architecture = 9,
                    .report = {1, 2},
                    .certificate_chain = "PEM"});
  c.gpus.push_back({.index = 1,
                    .uuid = "GPU-b",
                    .name = "B200",
                    .vbios_version = "97",
                    .architecture = 10,
                    .report = {3},
                    .certificate_chain = "PEM2"});
  return c;
}

TEST(Gpu, BothWireForms) {
  const Json p1 = gpu_evidence(two_gpus(), Time{0});
  EXPECT_EQ(p1["collection_time"], "1970-01-01T00:00:00Z");
  EXPECT_EQ(p1["evidence_list"][0], (Json{{"index", 0},
                                          {"uuid", "GPU-a"},
                                          {"name", "H100"},
                                          {"driver_version", "550.1"},
                                          {"vbios_version", "96"},
                                          {"attestation_report", "AQI="},
                                          {"certificate", base64(as_bytes("PEM"))},
                                          {"cc_enabled", true}}));
  const Json p2 = nvidia_evidence(two_gpus());
  EXPECT_EQ(p2["device_evidence_list"][0]["arch"], "HOPPER");
  EXPECT_EQ(p2["device_evidence_list"][1]["arch"], "BLACKWELL");
  EXPECT_EQ(p2["device_evidence_list"][1]["evidence"], "Aw==");
  EXPECT_TRUE(gpu_evidence({}, Time{0}).is_null());
}

TEST(Gpu, AbsentLibraryMattersOnlyWhenRequired) {
  const auto open = [](GpuMode mode) { return Gpu::open(mode, "/nonexistent/libnvidia-ml.so"); };
  EXPECT_EQ(*open(GpuMode::off), nullptr);
  EXPECT_EQ(*open(GpuMode::automatic), nullptr);
  EXPECT_FALSE(open(GpuMode::required));
  EXPECT_EQ(*gpu_mode_named("auto"), GpuMode::automatic);
  EXPECT_FALSE(gpu_mode_named("on"));
}

}  // namespace
}  // namespace cairn::aa
